//! What differs between two states of an object, field by field.

use cluster_objects::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where it is: `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// What it was; absent where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it will be; absent where it will not be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Metadata that the server keeps for itself.
const SERVERS_OWN: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
    "selfLink",
    "deletionGracePeriodSeconds",
];

/// Fields by which the items of a list are known, the first that all items have.
const ITEM_KEYS: [&str; 5] = ["name", "containerPort", "mountPath", "port", "key"];

/// What stands for a value of a Secret.
pub const HIDDEN: &str = "(hidden)";

/// The fields that differ, in the order of their paths. Status and what the server keeps for itself do not count;
/// values of Secrets are hidden.
pub fn fields(before: Option<&Object>, after: Option<&Object>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let (before, after) = (before.map(wish), after.map(wish));
    compare("", before.as_ref(), after.as_ref(), &mut changes);
    let secret = |object: &Option<Value>| object.as_ref().is_some_and(|object| object["kind"] == "Secret");
    // The kind itself is compared before.
    if secret(&before) || secret(&after) {
        changes.iter_mut().for_each(hide);
    }
    changes
}

fn hide(change: &mut FieldChange) {
    let values = [&mut change.before, &mut change.after];
    if change.path.is_empty() {
        for data in values.into_iter().flatten().flat_map(|object| {
            let fields = object.as_object_mut().into_iter().flat_map(Map::iter_mut);
            fields.filter(|(key, _)| matches!(key.as_str(), "data" | "stringData"))
        }) {
            hide_values(data.1);
        }
        return;
    }
    let is_data = ["data", "stringData"].iter().any(|data| {
        change.path == *data
            || change.path.starts_with(&format!("{data}."))
            || change.path.starts_with(&format!("{data}["))
    });
    if !is_data {
        return;
    }
    values.into_iter().flatten().for_each(hide_values);
}

fn hide_values(value: &mut Value) {
    *value = match value {
        Value::Object(map) => map.keys().map(|key| (key.clone(), Value::from(HIDDEN))).collect(),
        _ => HIDDEN.into(),
    };
}

/// An object without its state.
fn wish(object: &Object) -> Value {
    let mut fields: Map<String, Value> = object.fields().clone();
    fields.remove("status");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in SERVERS_OWN {
            metadata.remove(key);
        }
    }
    fields.into()
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (None, None) => {}
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                compare(&below(path, key), before.get(key), after.get(key), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            compare_lists(path, before, after, changes);
        }
        _ => changes.push(FieldChange {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], changes: &mut Vec<FieldChange>) {
    let Some(key) = ITEM_KEYS
        .into_iter()
        .find(|key| is_known_by(key, before) && is_known_by(key, after))
    else {
        let longest = before.len().max(after.len());
        for index in 0..longest {
            compare(
                &format!("{path}[{index}]"),
                before.get(index),
                after.get(index),
                changes,
            );
        }
        return;
    };
    let find = |items: &'_ [Value], wanted: &Value| items.iter().position(|item| item[key] == *wanted);
    let added = after.iter().filter(|item| find(before, &item[key]).is_none());
    for item in before.iter().chain(added) {
        let wanted = &item[key];
        let shown = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
        let (old, new) = (find(before, wanted), find(after, wanted));
        compare(
            &format!("{path}[{key}={shown}]"),
            old.map(|place| &before[place]),
            new.map(|place| &after[place]),
            changes,
        );
    }
}

/// Whether every item has this field, and no two the same.
fn is_known_by(key: &str, items: &[Value]) -> bool {
    let mut seen = Vec::new();
    items.iter().all(|item| {
        let value = item
            .get(key)
            .filter(|value| value.is_string() || value.is_number());
        value.is_some_and(|value| {
            !seen.contains(&value) && {
                seen.push(value);
                true
            }
        })
    })
}

fn below(path: &str, key: &str) -> String {
    let plain = key
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match (path, plain) {
        ("", true) => key.to_owned(),
        (path, true) => format!("{path}.{key}"),
        (path, false) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(before: Value, after: Value, expected: &[&str]) {
        let object = |value: Value| (!value.is_null()).then(|| Object::from_value(value).unwrap());
        let shown: Vec<String> = fields(object(before).as_ref(), object(after).as_ref())
            .iter()
            .map(|change| {
                let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
                format!("{} {} {}", change.path, text(&change.before), text(&change.after))
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn fields_are_named_by_their_path() {
        check(
            json!({"metadata": {"name": "a", "uid": "1", "labels": {"x/y": "1"}}, "spec": {"n": 1, "gone": true}, "status": {"s": 1}}),
            json!({"metadata": {"name": "a", "uid": "2", "labels": {"x/y": "2"}}, "spec": {"n": 2, "new": []}, "status": {"s": 2}}),
            &[
                r#"metadata.labels["x/y"] "1" "2""#,
                "spec.gone true -",
                "spec.n 1 2",
                "spec.new - []",
            ],
        );
    }

    #[test]
    fn items_are_known_by_their_name() {
        check(
            json!({"c": [{"name": "a", "image": "1"}, {"name": "b"}], "l": [1, 2]}),
            json!({"c": [{"name": "b"}, {"name": "a", "image": "2"}, {"name": "c"}], "l": [1, 3, 4]}),
            &[
                r#"c[name=a].image "1" "2""#,
                r#"c[name=c] - {"name":"c"}"#,
                "l[1] 2 3",
                "l[2] - 4",
            ],
        );
    }

    #[test]
    fn values_of_secrets_are_hidden() {
        check(
            json!({"kind": "Secret", "data": {"a": "MQ==", "b": "MQ=="}}),
            json!({"kind": "Secret", "data": {"a": "Mg==", "b": "MQ=="}}),
            &[r#"data.a "(hidden)" "(hidden)""#],
        );
        check(
            Value::Null,
            json!({"kind": "Secret", "data": {"a": "Mg=="}}),
            &[r#" - {"data":{"a":"(hidden)"},"kind":"Secret"}"#],
        );
    }
}
