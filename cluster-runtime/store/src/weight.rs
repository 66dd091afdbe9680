//! How much memory an object holds, and how deep it nests.

use cluster_objects::Object;
use serde_json::{Map, Value};

/// Bytes of bookkeeping for each stored object or event: keys, reference counts, places in the maps.
pub(crate) const ENTRY_BYTES: usize = 320;

/// Bytes that an allocation costs beside its content.
const ALLOCATION_BYTES: usize = 16;

/// Estimates the heap bytes of an object, near enough to bound memory with.
pub(crate) fn weigh(object: &Object) -> usize {
    weigh_map(object.fields())
}

/// How deep an object nests; an empty one is 1 deep.
pub(crate) fn depth(object: &Object) -> usize {
    1 + object.fields().values().map(value_depth).max().unwrap_or(0)
}

fn value_depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(value_depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(value_depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn weigh_map(map: &Map<String, Value>) -> usize {
    // A node of the map is allocated whole, so small maps cost nearly as much as eleven entries.
    let slots = map.len().next_multiple_of(11);
    let entries = map
        .iter()
        .map(|(key, value)| key.len() + ALLOCATION_BYTES + weigh_value(value));
    slots * (size_of::<String>() + size_of::<Value>()) + entries.sum::<usize>()
}

fn weigh_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + ALLOCATION_BYTES,
        Value::Array(items) => {
            let inside = items.iter().map(weigh_value);
            items.len() * size_of::<Value>() + ALLOCATION_BYTES + inside.sum::<usize>()
        }
        Value::Object(map) => ALLOCATION_BYTES + weigh_map(map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_weight_follows_the_content() {
        let weight = |value: Value| weigh(&Object::from_value(value).unwrap());
        let small = weight(json!({"data": "x"}));
        let large = weight(json!({"data": "x".repeat(100_000)}));
        assert!(small < 1_000, "{small}");
        assert!((100_000..101_000).contains(&large), "{large}");
    }
}
