//! Patches: RFC 6902 JSON patch, RFC 7386 merge patch, Kubernetes' strategic merge patch.
//!
//! Each takes the object as it is and gives the object as it shall be; neither is defaulted or validated here.

mod json;
mod strategic;

use serde_json::Value;

use crate::nesting;
use crate::{Object, Status};

pub use json::json;
pub use strategic::strategic;

/// Applies a JSON merge patch: maps merge, `null` removes, everything else replaces.
///
/// Fails with 400 when the patch is no map or is nested too deep.
pub fn merge(target: &Object, patch: &Value) -> Result<Object, Status> {
    nesting::check(patch)?;
    if !patch.is_object() {
        return Err(Status::bad_request("a merge patch must be a JSON object"));
    }
    let mut value = target.clone().into_value();
    json_patch::merge(&mut value, patch);
    into_object(value)
}

fn into_object(value: Value) -> Result<Object, Status> {
    Object::from_value(value).map_err(|error| Status::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_merges_maps_and_removes_nulls() {
        let target = Object::from_value(json!({"a": {"b": 1, "c": 2}, "list": [1, 2]})).unwrap();
        let patched = merge(&target, &json!({"a": {"b": null, "d": 3}, "list": [3]})).unwrap();
        assert_eq!(patched.into_value(), json!({"a": {"c": 2, "d": 3}, "list": [3]}));
    }

    #[test]
    fn err_a_merge_patch_must_be_a_map() {
        for patch in [json!([]), json!(null), json!("x")] {
            assert_eq!(merge(&Object::default(), &patch).unwrap_err().code, 400);
        }
    }
}
