//! wip
use crate::value::{Map, Value};
/// Lays `over` over `under`: tables merge, anything else replaces.
pub fn overlay(under: &mut Map, over: Map) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Map(below)), Value::Map(above)) => overlay(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}
