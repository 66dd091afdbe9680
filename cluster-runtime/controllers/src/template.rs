//! Pod templates: when two are the same, their hash, and the pod that one makes.

use cluster_objects::Object;
use serde_json::{Map, Value, json};

/// The label that tells the replica sets of a deployment apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Fields whose values are maps from names to text: an entry with an empty text is an entry.
const TEXT_MAPS: [&str; 6] = [
    "labels",
    "annotations",
    "nodeSelector",
    "matchLabels",
    "limits",
    "requests",
];

/// Whether two templates ask for the same pod. Absent, null and empty fields are the same, as they are to the API,
/// and the hash label is not looked at.
pub(crate) fn same(one: &Value, two: &Value) -> bool {
    let without_hash = |template: &Value| {
        let mut template = template.clone();
        if let Some(labels) = template
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.remove(HASH_LABEL);
        }
        template
    };
    let has_hash = |template: &Value| {
        template
            .pointer("/metadata/labels")
            .is_some_and(|labels| !labels[HASH_LABEL].is_null())
    };
    match (has_hash(one), has_hash(two)) {
        (false, false) => same_value(one, two),
        (true, false) => same_value(&without_hash(one), two),
        (false, true) => same_value(one, &without_hash(two)),
        (true, true) => same_value(&without_hash(one), &without_hash(two)),
    }
}

fn same_value(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => covers(one, two) && covers(two, one),
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same_value(one, two))
        }
        _ => one == two || (is_empty(one) && is_empty(two)),
    }
}

/// The directive with which kept templates replace present ones; it is no part of the template.
const PATCH_DIRECTIVE: &str = "$patch";

/// Whether every field of the first map is the same in the second.
fn covers(one: &Map<String, Value>, two: &Map<String, Value>) -> bool {
    one.iter().all(|(key, value)| match two.get(key) {
        Some(other) if TEXT_MAPS.contains(&key.as_str()) => {
            value == other || (is_empty_field(key, value) && is_empty_field(key, other))
        }
        Some(other) => same_value(value, other),
        None => key == PATCH_DIRECTIVE || is_empty_field(key, value),
    })
}

fn is_empty_field(key: &str, value: &Value) -> bool {
    match value {
        Value::Object(entries) if TEXT_MAPS.contains(&key) => entries.is_empty(),
        other => is_empty(other),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.iter().all(|(key, value)| is_empty_field(key, value)),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The hash of a template, as label value; `collisions` makes another one where the first is taken.
///
/// The same template has the same hash whatever the order of its fields.
pub(crate) fn hash(template: &Value, collisions: i64) -> String {
    let mut hasher = Fnv32::new();
    write_canonical(template, &mut hasher);
    if collisions > 0 {
        hasher.write(&collisions.to_le_bytes());
    }
    safe_encode(&hasher.0.to_string())
}

struct Fnv32(u32);

impl Fnv32 {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

fn write_canonical(value: &Value, hasher: &mut Fnv32) {
    match value {
        Value::Object(fields) => {
            hasher.write(b"{");
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(key, value)| !is_empty_field(key, value))
                .collect();
            fields.sort_by_key(|(key, _)| *key);
            for (key, value) in fields {
                hasher.write(key.as_bytes());
                hasher.write(b"\0");
                write_canonical(value, hasher);
            }
            hasher.write(b"}");
        }
        Value::Array(items) => {
            hasher.write(b"[");
            for item in items {
                write_canonical(item, hasher);
                hasher.write(b",");
            }
            hasher.write(b"]");
        }
        scalar => hasher.write(scalar.to_string().as_bytes()),
    }
}

/// Writes a number with letters that make neither words nor label values that need quotes, as Kubernetes does.
fn safe_encode(digits: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
    digits.bytes().map(letter).collect()
}

/// The pod that a template makes for its controller; the API server finishes the name.
pub(crate) fn pod_of(owner: &Object, template: &Value) -> Object {
    let mut pod = Object::new("v1", "Pod", owner.namespace(), "");
    let metadata = pod.at_mut(&["metadata"]);
    metadata.remove("name");
    metadata.insert("generateName".into(), generate_name(owner.name()).into());
    for key in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"]
            .get(key)
            .filter(|value| !is_empty_field(key, value))
        {
            metadata.insert(key.into(), value.clone());
        }
    }
    metadata.insert("ownerReferences".into(), json!([owner.controller_reference()]));
    pod.set(&["spec"], template["spec"].clone());
    pod
}

/// `web-`, cut so that the made name fits.
pub(crate) fn generate_name(owner: &str) -> String {
    let room = 63 - 6;
    let cut = owner.char_indices().map(|(at, _)| at).find(|at| *at >= room);
    format!("{}-", cut.map_or(owner, |at| &owner[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_the_same_up_to_empty_fields_and_the_hash_label() {
        let cases = [
            (
                json!({"metadata": {"labels": {"a": "b", HASH_LABEL: "x"}}}),
                json!({"metadata": {"labels": {"a": "b"}}}),
                true,
            ),
            (
                json!({"metadata": {"labels": {HASH_LABEL: "x"}}}),
                json!({}),
                true,
            ),
            (
                json!({"metadata": {"labels": {"a": "c"}}}),
                json!({"metadata": {"labels": {"a": "b"}}}),
                false,
            ),
            (
                json!({"metadata": {"annotations": {HASH_LABEL: "x"}}}),
                json!({}),
                false,
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "resources": {}}]}}),
                json!({"spec": {"containers": [{"name": "a"}]}}),
                true,
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "command": ["x"]}]}}),
                json!({"spec": {"containers": [{"name": "a"}]}}),
                false,
            ),
            (
                json!({"spec": {"a": null, "hostNetwork": false}}),
                json!({"spec": {"hostNetwork": false}}),
                true,
            ),
            (
                json!({"metadata": {"labels": {"a": ""}}}),
                json!({"metadata": {"labels": {}}}),
                false,
            ),
            (
                json!({"spec": {"hostNetwork": false}}),
                json!({"spec": {}}),
                false,
            ),
        ];
        for (one, two, expected) in cases {
            assert_eq!(same(&one, &two), expected, "{one} and {two}");
            assert_eq!(same(&two, &one), expected, "{two} and {one}");
        }
    }

    #[test]
    fn the_hash_depends_on_what_is_asked_and_on_nothing_else() {
        let one = json!({"metadata": {"labels": {"a": "b", "c": "d"}}, "spec": {"x": 1, "y": {}}});
        let two = json!({"spec": {"x": 1}, "metadata": {"labels": {"c": "d", "a": "b"}, "creationTimestamp": null}});
        assert_eq!(hash(&one, 0), hash(&two, 0));
        assert_ne!(hash(&one, 0), hash(&one, 1));
        assert_ne!(hash(&one, 0), hash(&json!({"spec": {"x": 2}}), 0));
        assert!(
            hash(&one, 0)
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }

    #[test]
    fn a_long_owner_name_leaves_room_for_the_made_part() {
        assert_eq!(generate_name("web"), "web-");
        assert_eq!(generate_name(&"x".repeat(80)).len(), 58);
    }
}
