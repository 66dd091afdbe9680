//! Checking a file against the shapes.

use std::collections::HashMap;

use super::compose::FILE;
use super::shape::{BOOLEAN, INTEGER, Keys, Kinds, NULL, NUMBER, Object, STRING, Shape};
use crate::error::Fault;
use crate::nearest::nearest;
use crate::node::{Data, Map, Node, Path, Place, Sources};

/// Checks a merged file: all that is wrong, what is deepest in the tree first, as `docker compose` names that.
pub(crate) fn check(root: &Node, file: &str, sources: &Sources) -> Vec<Fault> {
    let mut found = Vec::new();
    faults(&FILE, root, &mut Path::default(), &mut found);
    found.sort_by_key(|wrong| std::cmp::Reverse(wrong.depth));
    // After the one that `docker compose` names, the order of the file is easier to work with.
    if let Some((_, rest)) = found.split_first_mut() {
        rest.sort_by_key(|wrong| (wrong.at.file, wrong.at.line, wrong.at.column));
    }
    found
        .into_iter()
        .map(|wrong| Fault {
            message: format!("validating {file}: {} {}", wrong.path, wrong.what),
            position: sources.position(wrong.at),
            also_at: (wrong.also_at.into_iter())
                .filter_map(|at| sources.position(at))
                .collect(),
            hint: wrong.hint,
        })
        .collect()
}

/// One thing that is wrong.
#[derive(Debug)]
struct Wrong {
    path: String,
    depth: usize,
    what: String,
    hint: Option<String>,
    at: Place,
    also_at: Vec<Place>,
}

impl Wrong {
    fn new(path: &Path, at: Place, what: impl Into<String>) -> Self {
        Wrong {
            path: path.to_string(),
            depth: path.steps().len(),
            what: what.into(),
            hint: None,
            at,
            also_at: Vec::new(),
        }
    }
}

fn faults(shape: &Shape, node: &Node, path: &mut Path, found: &mut Vec<Wrong>) {
    match shape {
        Shape::Scalar(kinds) => {
            if !is_of(node, *kinds) {
                found.push(mistyped(path, node, &kinds.words()));
            }
        }
        Shape::Within(least, most) => match &node.data {
            Data::Int(number) if number < least => {
                found.push(Wrong::new(
                    path,
                    node.at,
                    format!("must be greater than or equal to {least}"),
                ));
            }
            Data::Int(number) if number > most => {
                found.push(Wrong::new(
                    path,
                    node.at,
                    format!("must be less than or equal to {most}"),
                ));
            }
            Data::Int(_) => {}
            _ => found.push(mistyped(path, node, "integer")),
        },
        Shape::OneOf(texts) => match &node.data {
            Data::Text(text) if texts.contains(&text.as_str()) => {}
            Data::Text(text) => {
                let quoted: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
                let what = match quoted.as_slice() {
                    [only] => format!("value must be {only}"),
                    several => format!("value must be one of {}", several.join(", ")),
                };
                let mut wrong = Wrong::new(path, node.at, what);
                wrong.hint =
                    nearest(text, texts.iter().copied()).map(|near| format!("the nearest is `{near}`"));
                found.push(wrong);
            }
            _ => found.push(mistyped(path, node, "string")),
        },
        Shape::Text { fits, pattern } => match &node.data {
            Data::Text(text) if fits(text) => {}
            Data::Text(text) => {
                let what = format!("'{text}' does not match pattern '{pattern}'");
                found.push(Wrong::new(path, node.at, what));
            }
            _ => found.push(mistyped(path, node, "string")),
        },
        Shape::List { items, unique } => {
            let Data::List(list) = &node.data else {
                found.push(mistyped(path, node, "array"));
                return;
            };
            if *unique && let Some((first, second)) = repeated(list) {
                let what = format!("items at {first} and {second} are equal");
                found.push(Wrong::new(path, list[second].at, what));
            }
            for (index, item) in list.iter().enumerate() {
                path.push(index.to_string());
                faults(items, item, path, found);
                path.pop();
            }
        }
        Shape::Map { entries, keys } => match &node.data {
            Data::Map(map) => map_faults(entries, *keys, map, node.at, path, found),
            _ => found.push(mistyped(path, node, "mapping")),
        },
        Shape::Object(object) => match &node.data {
            Data::Map(map) => object_faults(object, map, node.at, path, found),
            Data::Null if object.null => {}
            _ if object.null => found.push(mistyped(path, node, "mapping or null")),
            _ => found.push(mistyped(path, node, "mapping")),
        },
        Shape::Any(shapes) => nearest_shape(shapes, node, path, found),
    }
}

/// Of several shapes one must fit. When none does, the one whose fault is deepest was meant; of equals, the first.
fn nearest_shape(shapes: &[Shape], node: &Node, path: &mut Path, found: &mut Vec<Wrong>) {
    let mut meant: Option<Vec<Wrong>> = None;
    for shape in shapes {
        let mut wrong = Vec::new();
        faults(shape, node, path, &mut wrong);
        let deepest = |wrong: &[Wrong]| wrong.iter().map(|wrong| wrong.depth).max();
        let depth = deepest(&wrong);
        if depth.is_none() {
            return;
        }
        // A value of the right type is nearer than one of another.
        let fits_type = matches!(
            (shape, &node.data),
            (Shape::Object(_) | Shape::Map { .. }, Data::Map(_)) | (Shape::List { .. }, Data::List(_))
        );
        if fits_type || meant.as_deref().is_none_or(|meant| depth > deepest(meant)) {
            meant = Some(wrong);
            if fits_type {
                break;
            }
        }
    }
    found.extend(meant.unwrap_or_default());
}

fn map_faults(entries: &Shape, keys: Keys, map: &Map, at: Place, path: &mut Path, found: &mut Vec<Wrong>) {
    let mut unknown: Vec<&str> = Vec::new();
    let mut place = at;
    for (key, entry) in map {
        let fits = match keys {
            Keys::Any => !key.is_empty(),
            Keys::Names | Keys::NamesOrUnchecked => is_name(key),
            Keys::LowerOrUnchecked => !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase()),
        };
        if fits {
            path.push(key.as_str());
            faults(entries, entry, path, found);
            path.pop();
        } else if matches!(keys, Keys::Any | Keys::Names) {
            if unknown.is_empty() {
                place = entry.at;
            }
            unknown.push(key);
        }
    }
    if !unknown.is_empty() {
        found.push(Wrong::new(path, place, not_allowed(&unknown)));
    }
}

fn object_faults(object: &Object, map: &Map, at: Place, path: &mut Path, found: &mut Vec<Wrong>) {
    let missing: Vec<&str> = object
        .required
        .iter()
        .filter(|key| !map.contains_key(**key))
        .copied()
        .collect();
    if !missing.is_empty() {
        found.push(Wrong::new(path, at, missing_words(&missing)));
    }
    let mut unknown: Vec<(&str, Place)> = Vec::new();
    for (key, entry) in map {
        if let Some((_, shape)) = object.fields.iter().find(|(name, _)| name == key) {
            path.push(key.as_str());
            faults(shape, entry, path, found);
            path.pop();
        } else if !(object.open || object.extensions && key.starts_with("x-")) {
            unknown.push((key, entry.at));
        }
    }
    unknown.sort_by_key(|(_, at)| (at.line, at.column));
    if let Some((first, place)) = unknown.first() {
        let names: Vec<&str> = unknown.iter().map(|(key, _)| *key).collect();
        let mut wrong = Wrong::new(path, *place, not_allowed(&names));
        wrong.also_at = unknown[1..].iter().map(|(_, at)| *at).collect();
        let hints: Vec<String> = unknown
            .iter()
            .filter_map(|(key, _)| Some((key, nearest(key, object.fields.iter().map(|(name, _)| *name))?)))
            .map(|(key, near)| {
                if unknown.len() == 1 {
                    format!("the nearest known key is `{near}`")
                } else {
                    format!("the nearest known key to `{key}` is `{near}`")
                }
            })
            .collect();
        wrong.hint = if !hints.is_empty() {
            Some(hints.join("; "))
        } else if path.steps().is_empty() && map[*first].as_map().is_some_and(|map| map.contains_key("image"))
        {
            Some("services stand under `services:`".to_owned())
        } else {
            None
        };
        found.push(wrong);
    }
}

fn not_allowed(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    format!("additional properties {} not allowed", quoted.join(", "))
}

fn missing_words(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    let word = if keys.len() == 1 { "property" } else { "properties" };
    format!("missing {word} {}", quoted.join(", "))
}

fn is_name(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn mistyped(path: &Path, node: &Node, wanted: &str) -> Wrong {
    let what = if let Data::Time(_) = node.data {
        "invalid jsonType time.Time".to_owned()
    } else {
        format!("must be a {wanted}")
    };
    let mut wrong = Wrong::new(path, node.at, what);
    if let Data::Time(text) = &node.data {
        wrong.hint = Some(format!("write it as a text: `\"{text}\"`"));
    }
    wrong
}

fn is_of(node: &Node, kinds: Kinds) -> bool {
    let kind = match &node.data {
        Data::Null => NULL,
        Data::Bool(_) => BOOLEAN,
        Data::Int(_) => INTEGER | NUMBER,
        Data::Float(number) if number.fract() == 0.0 => INTEGER | NUMBER,
        Data::Float(_) => NUMBER,
        Data::Text(_) => STRING,
        Data::Time(_) | Data::List(_) | Data::Map(_) => return false,
    };
    kinds.has(kind)
}

/// The first two equal items of a list.
fn repeated(list: &[Node]) -> Option<(usize, usize)> {
    let mut texts: HashMap<&str, usize> = HashMap::new();
    for (index, item) in list.iter().enumerate() {
        let earlier = match &item.data {
            Data::Text(text) => texts.insert(text, index),
            _ => list[..index].iter().position(|known| known.same(item)),
        };
        if let Some(first) = earlier {
            return Some((first, index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined() {
        assert_eq!(
            Kinds(BOOLEAN | NULL | NUMBER | STRING).words(),
            "boolean, null, number or string"
        );
    }
}
