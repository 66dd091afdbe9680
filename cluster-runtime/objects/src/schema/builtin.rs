//! The built-in types, read from a text that `generate` writes.
//!
//! The text is part of the program; the list of types is made when the first type is asked for, and a type is read
//! when it is asked for itself. Names and descriptions stay in the text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::types::{Field, ListKind, ListShape, MapShape, PatchStrategy, Shape, TypeDef, TypeRef};

static TEXT: &str = include_str!("types.txt");

/// A type in the text.
pub struct Entry {
    name: &'static str,
    shape: &'static str,
    flags: &'static str,
    description: &'static str,
    /// The lines of its fields.
    fields: &'static str,
    parsed: OnceLock<TypeDef>,
}

/// The built-in type of a short name, as `core.v1.Pod`.
pub fn entry(name: &str) -> Option<&'static Entry> {
    index().get(name)
}

/// All built-in types by short name.
pub fn index() -> &'static BTreeMap<&'static str, Entry> {
    static INDEX: OnceLock<BTreeMap<&'static str, Entry>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = BTreeMap::new();
        let mut rest = TEXT;
        while !rest.is_empty() {
            let (header, body) = rest.split_once('\n').unwrap_or((rest, ""));
            let end = if body.starts_with('\t') {
                end_of_fields(body)
            } else {
                0
            };
            let (fields, next) = body.split_at(end);
            let [name, shape, flags, description] = columns(header);
            let entry = Entry {
                name,
                shape,
                flags,
                description,
                fields,
                parsed: OnceLock::new(),
            };
            index.insert(name, entry);
            rest = next;
        }
        index
    })
}

/// Where the lines that start with a tab end.
fn end_of_fields(body: &str) -> usize {
    let breaks = body.match_indices('\n').map(|(at, _)| at + 1);
    breaks
        .into_iter()
        .find(|at| !body[*at..].starts_with('\t'))
        .unwrap_or(body.len())
}

fn columns(line: &'static str) -> [&'static str; 4] {
    let mut columns = line.splitn(4, '\t');
    std::array::from_fn(|_| columns.next().unwrap_or_default())
}

fn flag(flags: &'static str, name: &str) -> Option<&'static str> {
    flags.split(' ').find_map(|flag| {
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        (key == name).then_some(value)
    })
}

/// Line breaks and tabs of a description are escaped in the text.
fn unescape(text: &'static str) -> Cow<'static, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                other => plain.extend(other),
            },
            _ => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

impl Entry {
    /// Short name, as `core.v1.Pod`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, for people.
    pub fn description(&self) -> Cow<'static, str> {
        unescape(self.description)
    }

    /// The type itself.
    pub fn type_def(&'static self) -> &'static TypeDef {
        self.parsed.get_or_init(|| {
            let kind = flag(self.flags, "kind").and_then(|kind| kind.split_once(':'));
            let mut fields: Vec<Field> = self
                .fields
                .lines()
                .map(|line| field(line.trim_start_matches('\t')))
                .collect();
            fields.sort_by(|a, b| a.name.cmp(&b.name));
            TypeDef {
                name: Cow::Borrowed(self.name),
                description: unescape(self.description),
                kind: kind.map(|(version, kind)| (Cow::Borrowed(version), Cow::Borrowed(kind))),
                atomic: flag(self.flags, "map") == Some("atomic"),
                fields,
                open: false,
            }
        })
    }

    /// What a value of this type is: most are objects, some are scalars with a name.
    pub fn shape(&'static self) -> Shape {
        match self.shape {
            "object" => Shape::Object(TypeRef::BuiltIn(self)),
            "quantity" => Shape::Quantity,
            "int-or-string" => Shape::IntOrString,
            "time" => Shape::Time,
            "micro-time" => Shape::MicroTime,
            _ => Shape::Any,
        }
    }
}

fn field(line: &'static str) -> Field {
    let [name, text, flags, description] = columns(line);
    let atomic = flag(flags, "map").map(|kind| kind == "atomic");
    Field {
        name: Cow::Borrowed(name),
        description: unescape(description),
        required: flag(flags, "required").is_some(),
        shape: shape(text, flags),
        atomic,
        patch: flag(flags, "patch").map(patch_strategy).unwrap_or_default(),
        default: flag(flags, "default").and_then(|value| serde_json::from_str(value).ok()),
    }
}

fn shape(text: &'static str, flags: &'static str) -> Shape {
    if let Some(name) = text.strip_prefix('@') {
        return entry(name).map(Entry::shape).unwrap_or_default();
    }
    if let Some(items) = text.strip_prefix("[]") {
        let kind = match flag(flags, "list").map(|kind| kind.split_once(':').unwrap_or((kind, ""))) {
            Some(("map", keys)) => ListKind::Map(keys.split(',').map(Cow::Borrowed).collect()),
            Some(("set", _)) => ListKind::Set,
            _ => ListKind::Atomic,
        };
        return Shape::List(Arc::new(ListShape {
            items: shape(items, ""),
            kind,
        }));
    }
    if let Some(values) = text.strip_prefix("{}") {
        let atomic = flag(flags, "map") == Some("atomic");
        return Shape::Map(Arc::new(MapShape {
            values: shape(values, ""),
            atomic,
        }));
    }
    match text {
        "string" => Shape::Text,
        "byte" => Shape::Bytes,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "double" => Shape::Double,
        "boolean" => Shape::Boolean,
        _ => Shape::Any,
    }
}

fn patch_strategy(text: &'static str) -> PatchStrategy {
    let (names, key) = text
        .split_once(':')
        .map_or((text, None), |(names, key)| (names, Some(key)));
    let named = |wanted| names.split(',').any(|name| name == wanted);
    PatchStrategy {
        merge: named("merge"),
        replace: named("replace"),
        retain_keys: named("retainKeys"),
        merge_key: key.map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_text_can_be_read() {
        assert!(index().len() > 400, "{}", index().len());
        for (name, entry) in index() {
            let definition = entry.type_def();
            assert_eq!(definition.name, *name);
            for field in &definition.fields {
                if let Shape::List(list) = &field.shape
                    && let (ListKind::Map(keys), Shape::Object(item)) = (&list.kind, &list.items)
                {
                    for key in keys {
                        assert!(item.field(key).is_some(), "{name}.{}: no key {key}", field.name);
                    }
                }
            }
        }
    }

    #[test]
    fn lists_know_their_keys() {
        let container = entry("core.v1.Container").unwrap().type_def();
        let ports = container.field("ports").unwrap();
        let Shape::List(list) = &ports.shape else {
            panic!("ports are {:?}", ports.shape)
        };
        assert_eq!(
            list.kind,
            ListKind::Map(vec!["containerPort".into(), "protocol".into()])
        );
        assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
        let volumes = entry("core.v1.PodSpec")
            .unwrap()
            .type_def()
            .field("volumes")
            .unwrap();
        assert!(volumes.patch.merge && volumes.patch.retain_keys);
        let claims = entry("apps.v1.StatefulSetSpec")
            .unwrap()
            .type_def()
            .field("volumeClaimTemplates")
            .unwrap();
        assert_eq!(claims.patch, PatchStrategy::default());
        assert!(
            entry("apimachinery.pkg.apis.meta.v1.LabelSelector")
                .unwrap()
                .type_def()
                .atomic
        );
    }
}
