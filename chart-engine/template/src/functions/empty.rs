//! What `default`, `empty`, `coalesce` and `compact` take for empty.

use crate::value::{Kind, Value};

/// Whether a value is nil, zero, false, or holds nothing; structs never are.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => match object.kind() {
            Kind::Struct | Kind::Pointer => false,
            _ => !object.truth(),
        },
        value => !value.truth(),
    }
}
