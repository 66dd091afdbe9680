//! Walking values along their schema: what fields they have, how they differ, how they merge.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff`: a map has its keys, a list of a set or with keys has its
//! items, and everything else (scalars, atomic lists and maps, lists that nothing is known of) is one field.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::field_set::{FieldSet, field};
use super::field_text::write_text;
use crate::schema::types::{ListKind, ListShape, Shape};

/// What a value is by its schema.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    shape: &'a Shape,
    /// Whether the field that holds the value says that it is one field, or is not.
    atomic: Option<bool>,
}

/// How a value divides into fields.
enum Division<'a> {
    /// It is one field.
    Whole,
    /// It has fields by name.
    Fields,
    /// It has items, which are called so.
    Items(&'a ListShape, Vec<String>),
}

/// How two values differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// An item of a list that cannot be told apart from the others; where, and why.
#[derive(Debug)]
pub(super) struct ItemFault {
    path: String,
    why: String,
}

/// Lists up to so many items are searched.
const SEARCHED_MAX: usize = 8;

static UNKNOWN: Shape = Shape::Any;

/// Structs that are part of their owner in Go, not optional: they are no fields of their own.
const EMBEDDED: [&str; 9] = [
    "metadata",
    "spec",
    "status",
    "template",
    "jobTemplate",
    "strategy",
    "updateStrategy",
    "roleRef",
    "scaleTargetRef",
];

impl<'a> Typed<'a> {
    pub(super) fn of(shape: &'a Shape) -> Self {
        Self { shape, atomic: None }
    }

    fn division(self, value: &Value) -> Division<'a> {
        match (self.shape, value) {
            (Shape::Object(of), Value::Object(_)) if !self.atomic.unwrap_or(of.atomic) => Division::Fields,
            (Shape::Map(of), Value::Object(_)) if !self.atomic.unwrap_or(of.atomic) => Division::Fields,
            (Shape::Any, Value::Object(_)) if self.atomic != Some(true) => Division::Fields,
            (Shape::List(list), Value::Array(items)) if list.kind != ListKind::Atomic => {
                // A list whose items cannot be told apart is compared as a whole.
                match elements(list, items) {
                    Ok(names) => Division::Items(list, names),
                    Err(_) => Division::Whole,
                }
            }
            _ => Division::Whole,
        }
    }

    /// What the value of a key is.
    fn child(self, key: &str) -> Self {
        match self.shape {
            Shape::Object(of) => of.field(key).map_or(Self::of(&UNKNOWN), |field| Self {
                shape: &field.shape,
                atomic: field.atomic,
            }),
            Shape::Map(map) => Self::of(&map.values),
            _ => Self::of(&UNKNOWN),
        }
    }

    /// Whether the schema names the key, and not only allows it.
    fn names(self, key: &str) -> bool {
        matches!(self.shape, Shape::Object(of) if of.field(key).is_some())
    }

    /// Whether the field of a key is there in Go even when nothing is in it.
    fn embeds(self, key: &str) -> bool {
        match self.shape {
            Shape::Object(of) => of.field(key).is_some_and(|field| {
                field.required || (EMBEDDED.contains(&key) && matches!(field.shape, Shape::Object(_)))
            }),
            _ => false,
        }
    }

    /// Finds items that cannot be told apart from the others of their list.
    pub(super) fn check_items(self, value: &Value) -> Result<(), ItemFault> {
        self.check_items_at(value, "")
    }

    fn check_items_at(self, value: &Value, path: &str) -> Result<(), ItemFault> {
        match (self.shape, value) {
            (Shape::List(list), Value::Array(items)) if list.kind != ListKind::Atomic => {
                elements(list, items).map_err(|why| ItemFault {
                    path: path.to_owned(),
                    why,
                })?;
                let item = Self::of(&list.items);
                items
                    .iter()
                    .try_for_each(|value| item.check_items_at(value, path))
            }
            (Shape::Object(_) | Shape::Map(_), Value::Object(fields)) => fields
                .iter()
                .try_for_each(|(key, value)| self.child(key).check_items_at(value, &format!("{path}.{key}"))),
            _ => Ok(()),
        }
    }

    /// The fields that a value has.
    pub(super) fn set_of(self, value: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        self.collect(value, &mut set);
        set.prune();
        set
    }

    fn collect(self, value: &Value, set: &mut FieldSet) {
        match (self.division(value), value) {
            (Division::Fields, Value::Object(fields)) => {
                for (key, value) in fields {
                    let below = set.child_mut(&field(key));
                    self.child(key).collect(value, below);
                    let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                    if empty || !self.names(key) {
                        below.set_member();
                    }
                }
            }
            (Division::Items(list, names), Value::Array(items)) => {
                let item = Self::of(&list.items);
                for (element, value) in names.into_iter().zip(items) {
                    let below = set.child_mut(&element);
                    item.collect(value, below);
                    below.set_member();
                }
            }
            _ => set.set_member(),
        }
    }

    /// How a value became another one.
    pub(super) fn compare(self, old: &Value, new: &Value) -> Comparison {
        let mut comparison = Comparison::default();
        self.compare_into(Some(old), Some(new), &mut Vec::new(), &mut comparison);
        comparison
    }

    /// How the fields of an object became others.
    pub(super) fn compare_maps(self, old: &Map<String, Value>, new: &Map<String, Value>) -> Comparison {
        let mut comparison = Comparison::default();
        self.compare_fields(old, new, &mut Vec::new(), &mut comparison);
        comparison
    }

    fn compare_into(
        self,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<String>,
        found: &mut Comparison,
    ) {
        let old = old.filter(|value| !value.is_null());
        let new = new.filter(|value| !value.is_null());
        let insert = |set: &mut FieldSet, path: &[String]| {
            set.insert(&path.iter().map(String::as_str).collect::<Vec<_>>());
        };
        match (old, new) {
            (None, None) => {}
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => match (self.division(old), self.division(new)) {
                (Division::Fields, Division::Fields) => {
                    if let (Value::Object(old), Value::Object(new)) = (old, new) {
                        self.compare_fields(old, new, path, found);
                    }
                }
                (Division::Items(list, old_names), Division::Items(_, new_names)) => {
                    if let (Value::Array(old), Value::Array(new)) = (old, new) {
                        let before = old_names.into_iter().zip(old).collect();
                        let after = new_names.into_iter().zip(new).collect();
                        compare_items(list, &before, &after, path, found);
                    }
                }
                _ => {
                    insert(&mut found.modified, path);
                    self.below(old, path, &mut found.removed);
                    self.below(new, path, &mut found.added);
                }
            },
            (None, Some(new)) => {
                insert(&mut found.added, path);
                self.below(new, path, &mut found.added);
            }
            (Some(old), None) => {
                insert(&mut found.removed, path);
                self.below(old, path, &mut found.removed);
            }
        }
    }

    /// All fields below a value that is only on one side.
    fn below(self, value: &Value, path: &[String], set: &mut FieldSet) {
        let below = path.iter().fold(set, |set, element| set.child_mut(element));
        self.collect_all(value, below);
    }

    /// Like `collect`, with what holds fields being a field too, unless it is always there.
    fn collect_all(self, value: &Value, set: &mut FieldSet) {
        match (self.division(value), value) {
            (Division::Fields, Value::Object(fields)) => {
                for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    let child = self.child(key);
                    let below = set.child_mut(&field(key));
                    child.collect_all(value, below);
                    if below.is_empty() || !self.embeds(key) {
                        below.set_member();
                    }
                }
            }
            (Division::Items(list, names), Value::Array(items)) => {
                let item = Self::of(&list.items);
                for (element, value) in names.into_iter().zip(items) {
                    let below = set.child_mut(&element);
                    item.collect_all(value, below);
                    below.set_member();
                }
            }
            _ => {}
        }
    }

    fn compare_fields(
        self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        path: &mut Vec<String>,
        found: &mut Comparison,
    ) {
        let added = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(added) {
            let (before, after) = (old.get(key), new.get(key));
            if before == after {
                continue;
            }
            let child = self.child(key);
            path.push(field(key));
            if before.is_none_or(Value::is_null) && self.embeds(key) {
                // It was there before, with nothing in it.
                let nothing = if after.is_some_and(Value::is_array) {
                    Value::Array(Vec::new())
                } else {
                    Value::Object(Map::new())
                };
                child.compare_into(Some(&nothing), after, path, found);
            } else {
                child.compare_into(before, after, path, found);
            }
            path.pop();
        }
    }

    /// Merges an applied value into the one that is there.
    pub(super) fn merge(self, live: Value, applied: &Value) -> Value {
        match (self.division(&live), self.division(applied), live, applied) {
            (Division::Fields, Division::Fields, Value::Object(mut live), Value::Object(applied)) => {
                for (key, value) in applied {
                    let merged = match live.remove(key) {
                        Some(before) => self.child(key).merge(before, value),
                        None => value.clone(),
                    };
                    live.insert(key.clone(), merged);
                }
                Value::Object(live)
            }
            (
                Division::Items(list, live_names),
                Division::Items(_, applied_names),
                Value::Array(live),
                Value::Array(applied),
            ) => Value::Array(merge_items(list, (&live_names, live), (&applied_names, applied))),
            _ => applied.clone(),
        }
    }

    /// Takes the fields of a set out of a value; `None` when nothing of it is left.
    pub(super) fn without(self, value: Value, set: &FieldSet) -> Option<Value> {
        match (self.division(&value), value) {
            (Division::Fields, Value::Object(fields)) => {
                let fields: Map<String, Value> = fields
                    .into_iter()
                    .filter_map(|(key, value)| match set.child(&field(&key)) {
                        None => Some((key, value)),
                        Some(below) if below.is_member() => None,
                        Some(below) => {
                            let value = self.child(&key).without(value, below)?;
                            Some((key, value))
                        }
                    })
                    .collect();
                (!fields.is_empty()).then_some(Value::Object(fields))
            }
            (Division::Items(list, names), Value::Array(items)) => {
                let item = Self::of(&list.items);
                let items: Vec<Value> = names
                    .into_iter()
                    .zip(items)
                    .filter_map(|(element, value)| match set.child(&element) {
                        None => Some(value),
                        Some(below) if below.is_member() => None,
                        Some(below) => {
                            let keys = key_fields(list, &value);
                            let mut left = item.without(value, below)?;
                            // An item that stays keeps what tells it apart, whoever owns that: without it, the whole
                            // list would be one value.
                            if let Some(fields) = left.as_object_mut() {
                                fields.extend(keys);
                            }
                            Some(left)
                        }
                    })
                    .collect();
                (!items.is_empty()).then_some(Value::Array(items))
            }
            (_, value) => Some(value),
        }
    }

    /// The set with every field that the schema names a member, when something below it is.
    pub(super) fn with_named_members(self, set: &FieldSet) -> FieldSet {
        let mut named = FieldSet::default();
        if set.is_member() {
            named.set_member();
        }
        for (element, below) in set.children() {
            let (prefix, key) = element.split_at(2.min(element.len()));
            let child = match (prefix, self.shape) {
                ("f:", _) => self.child(key),
                (_, Shape::List(list)) => Self::of(&list.items),
                _ => Self::of(&UNKNOWN),
            };
            let mut below = child.with_named_members(below);
            if prefix == "f:" && self.names(key) {
                below.set_member();
            }
            *named.child_mut(element) = below;
        }
        named
    }
}

/// Compares the items of two lists by what they are called.
fn compare_items(
    list: &ListShape,
    before: &BTreeMap<String, &Value>,
    after: &BTreeMap<String, &Value>,
    path: &mut Vec<String>,
    found: &mut Comparison,
) {
    let added = after.keys().filter(|element| !before.contains_key(*element));
    for element in before.keys().chain(added) {
        let (old, new) = (before.get(element).copied(), after.get(element).copied());
        if old == new {
            continue;
        }
        path.push(element.clone());
        Typed::of(&list.items).compare_into(old, new, path, found);
        path.pop();
    }
}

/// Merges the items of two lists. Applied items come in the order in which they are applied, the others keep their
/// place among those that both have.
fn merge_items(
    list: &ListShape,
    (live_names, live): (&[String], Vec<Value>),
    (applied_names, applied): (&[String], &[Value]),
) -> Vec<Value> {
    let mut live_items: BTreeMap<&String, Value> = live_names.iter().zip(live).collect();
    let is_applied: HashSet<&String> = applied_names.iter().collect();
    let shared: Vec<&String> = applied_names
        .iter()
        .filter(|name| live_items.contains_key(name))
        .collect();
    let mut shared = shared.into_iter().peekable();
    let mut rest = applied_names.iter().zip(applied);
    let mut merged = Vec::with_capacity(live_names.len().max(applied.len()));
    let take = |name: &String, value: &Value, live_items: &mut BTreeMap<&String, Value>| match live_items
        .remove(name)
    {
        Some(before) => Typed::of(&list.items).merge(before, value),
        None => value.clone(),
    };
    for name in live_names {
        if !is_applied.contains(name) {
            merged.extend(live_items.remove(name));
        } else if shared.next_if(|next| *next == name).is_some() {
            for (applied, value) in rest.by_ref() {
                merged.push(take(applied, value, &mut live_items));
                if applied == name {
                    break;
                }
            }
        }
    }
    for (applied, value) in rest {
        merged.push(take(applied, value, &mut live_items));
    }
    merged
}

/// The fields by which an item is told apart, as far as it has them.
fn key_fields(list: &ListShape, item: &Value) -> Vec<(String, Value)> {
    let ListKind::Map(keys) = &list.kind else {
        return Vec::new();
    };
    let present = keys
        .iter()
        .filter_map(|key| Some((key.clone().into_owned(), item.get(key.as_ref())?.clone())));
    present.collect()
}

/// The path elements of the items of a list.
fn elements(list: &ListShape, items: &[Value]) -> Result<Vec<String>, String> {
    let mut elements: Vec<String> = Vec::with_capacity(items.len());
    // Looked up and not searched where it is long, as a stranger's may be.
    let mut seen = (items.len() > SEARCHED_MAX).then(HashSet::new);
    for item in items {
        let element = match &list.kind {
            ListKind::Set if item.is_array() || item.is_object() => {
                return Err("associative list without keys has an element that's a map or a list".to_owned());
            }
            ListKind::Set => format!("v:{item}"),
            ListKind::Map(keys) => keys_of(list, keys, item)?,
            ListKind::Atomic => return Err("an atomic list has no items of its own".to_owned()),
        };
        let is_known = match &mut seen {
            Some(seen) => !seen.insert(element.clone()),
            None => elements.contains(&element),
        };
        if is_known {
            let readable = element.split_at(2).1;
            return Err(format!("duplicate entries for key {}", readable_keys(readable)));
        }
        elements.push(element);
    }
    Ok(elements)
}

fn readable_keys(keys: &str) -> String {
    let keys = serde_json::from_str::<Map<String, Value>>(keys);
    keys.map_or_else(
        |_| "of a set".to_owned(),
        |keys| {
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        },
    )
}

/// The path element of an item: its keys as JSON; a key that the item lacks has the default that the schema gives.
fn keys_of<K: AsRef<str>>(list: &ListShape, keys: &[K], item: &Value) -> Result<String, String> {
    let Value::Object(fields) = item else {
        return Err("associative list with keys may not have non-map elements".to_owned());
    };
    let default = |key: &str| match &list.items {
        Shape::Object(of) => of.field(key)?.default.as_ref(),
        _ => None,
    };
    let keys = keys.iter().map(AsRef::as_ref);
    let mut found: Vec<(&str, &Value)> = keys
        .clone()
        .filter_map(|key| {
            let own = fields.get(key).filter(|value| !value.is_null());
            Some((key, own.or_else(|| default(key))?))
        })
        .collect();
    if found.is_empty() {
        let keys: Vec<String> = keys.map(|key| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
             values for any key fields)",
            keys.join(" ")
        ));
    }
    found.sort_unstable_by_key(|(key, _)| *key);
    let mut element = "k:".to_owned();
    for (index, (key, value)) in found.into_iter().enumerate() {
        element.push(if index == 0 { '{' } else { ',' });
        write_text(key, &mut element);
        element.push(':');
        match value {
            Value::String(text) => write_text(text, &mut element),
            other => element.push_str(&other.to_string()),
        }
    }
    element.push('}');
    Ok(element)
}

impl std::fmt::Display for ItemFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}
