//! Columns of custom resources: `additionalPrinterColumns` with their JSON paths.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::Object;

use super::columns::{Column, Columns};
use super::duration;

/// A column that a custom resource definition asks for.
#[derive(Clone, Debug)]
pub struct CustomColumn {
    definition: Column,
    path: Vec<Step>,
}

/// One step of a JSON path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    All,
    /// Items whose field has a value: `[?(@.type=="Ready")]`.
    Where(Vec<String>, String),
}

impl Columns {
    /// The columns of a version of a custom resource definition, from its `additionalPrinterColumns`; name and age
    /// where it asks for none. A path that cannot be read gives empty cells.
    pub fn of_definition(columns: &[Value]) -> Self {
        if columns.is_empty() {
            return Columns::NameAndAge;
        }
        Columns::Custom(columns.iter().map(CustomColumn::new).collect::<Arc<[_]>>())
    }
}

impl CustomColumn {
    fn new(column: &Value) -> Self {
        let text = |key: &str| {
            let text = column.get(key).and_then(Value::as_str).unwrap_or_default();
            Cow::Owned(text.to_owned())
        };
        Self {
            definition: Column {
                name: text("name"),
                kind: text("type"),
                format: text("format"),
                description: text("description"),
                priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            },
            path: parse(&text("jsonPath")).unwrap_or_default(),
        }
    }

    pub(super) fn definition(&self) -> Column {
        self.definition.clone()
    }

    pub(super) fn cell(&self, object: &Object, now: Timestamp) -> Value {
        let Some((first, rest)) = self.path.split_first() else {
            return Value::Null;
        };
        let Step::Key(key) = first else {
            return Value::Null;
        };
        let mut found: Vec<&Value> = object.fields().get(key).into_iter().collect();
        for step in rest {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        let Some(value) = found.first().filter(|value| !value.is_null()) else {
            return Value::Null;
        };
        match self.definition.kind.as_ref() {
            "integer" | "number" if value.is_number() => (*value).clone(),
            "boolean" if value.is_boolean() => (*value).clone(),
            "date" => duration::since(Some(value), now).into(),
            "string" => {
                let texts: Vec<String> = found.iter().map(|value| plain(value)).collect();
                texts.join(",").into()
            }
            _ => Value::Null,
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Step::Key(key) => value.get(key).into_iter().collect(),
            Step::Index(index) => value.get(index).into_iter().collect(),
            Step::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(entries) => entries.values().collect(),
                _ => Vec::new(),
            },
            Step::Where(path, wanted) => {
                let holds = |item: &&Value| {
                    let found = path.iter().try_fold(*item, |value, key| value.get(key));
                    found.is_some_and(|found| plain(found) == *wanted)
                };
                value.as_array().into_iter().flatten().filter(holds).collect()
            }
        }
    }
}

/// Reads the part of JSONPath that definitions use: keys, indexes, `[*]` and equality filters.
fn parse(path: &str) -> Option<Vec<Step>> {
    let path = path.trim();
    let path = path
        .strip_prefix('{')
        .and_then(|path| path.strip_suffix('}'))
        .unwrap_or(path);
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (key, next) = take_key(after);
            if !key.is_empty() {
                steps.push(if key == "*" { Step::All } else { Step::Key(key) });
            } else if !next.starts_with('[') {
                return None;
            }
            rest = next;
        } else if let Some(after) = rest.strip_prefix("[?(") {
            let (filter, next) = after.split_once(")]")?;
            let (path, value) = filter.split_once("==")?;
            let path = path
                .trim()
                .strip_prefix("@.")?
                .split('.')
                .map(str::to_owned)
                .collect();
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            steps.push(Step::Where(path, value));
            rest = next;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inner, next) = after.split_once(']')?;
            let quoted = inner.trim_matches(['"', '\'']);
            steps.push(match (inner, inner.parse()) {
                ("*", _) => Step::All,
                (_, Ok(index)) => Step::Index(index),
                _ if quoted.len() < inner.len() => Step::Key(quoted.to_owned()),
                _ => return None,
            });
            rest = next;
        } else {
            return None;
        }
    }
    Some(steps)
}

/// A key up to the next step; a backslash keeps a dot in it.
fn take_key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (key, &text[at..]),
            '\\' => key.extend(chars.next().map(|(_, c)| c)),
            _ => key.push(c),
        }
    }
    (key, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_definitions_find_their_value() {
        let object = Object::from_value(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a.b/c": "x"}},
            "spec": {"size": 3, "hosts": ["a", "b"], "on": true},
            "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        let now = "2026-01-01T00:05:03Z".parse().unwrap();
        let cases = [
            (".spec.size", "integer", json!(3)),
            (".spec.on", "boolean", json!(true)),
            (".spec.hosts[1]", "string", json!("b")),
            (".spec.hosts[*]", "string", json!("a,b")),
            (".spec.hosts", "string", json!("[\"a\",\"b\"]")),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                "string",
                json!("True"),
            ),
            (
                ".status.conditions[?(@.type=='Gone')].status",
                "string",
                Value::Null,
            ),
            (".metadata.creationTimestamp", "date", json!("5m3s")),
            (".metadata.labels.a\\.b/c", "string", json!("x")),
            (".metadata.labels['a.b/c']", "string", json!("x")),
            (".spec.absent", "string", Value::Null),
            ("spec", "string", Value::Null),
            (".spec[", "string", Value::Null),
            ("", "string", Value::Null),
        ];
        for (path, kind, wanted) in cases {
            let column = CustomColumn::new(&json!({"name": "X", "type": kind, "jsonPath": path}));
            assert_eq!(column.cell(&object, now), wanted, "{path}");
        }
    }
}
