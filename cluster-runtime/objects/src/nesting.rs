//! A limit on how deep values are nested, so that functions that walk them by recursion keep within their stack.

use serde_json::Value;

use crate::{Object, Status};

/// Most levels of maps and lists inside each other.
pub const DEPTH_MAX: usize = 128;

/// Refuses values that are nested deeper than [`DEPTH_MAX`].
pub fn check(value: &Value) -> Result<(), Status> {
    check_all(vec![(value, 0)])
}

/// Refuses objects that are nested deeper than [`DEPTH_MAX`].
pub fn check_object(object: &Object) -> Result<(), Status> {
    check_all(object.fields().values().map(|value| (value, 1)).collect())
}

fn check_all(mut open: Vec<(&Value, usize)>) -> Result<(), Status> {
    while let Some((value, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(Status::bad_request(format!(
                "the object is nested deeper than {DEPTH_MAX} levels"
            )));
        }
        match value {
            Value::Array(list) => open.extend(list.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn err_deep_values_are_refused() {
        let nested = |levels| (0..levels).fold(Value::Null, |value, _| Value::Array(vec![value]));
        assert!(check(&nested(DEPTH_MAX)).is_ok());
        assert!(check(&nested(DEPTH_MAX + 1)).is_err());
    }
}
