//! Patches: RFC 6902 JSON patch, RFC 7386 merge patch, Kubernetes' strategic merge patch.

use serde_json::Value;

use crate::schema::Schema;
use crate::{Object, Status, StatusReason};

/// Applies a JSON patch, a list of operations.
///
/// Fails with 400 when the patch is none, with 422 when an operation does not fit the object.
pub fn json(target: &Object, patch: &Value) -> Result<Object, Status> {
    let patch: json_patch::Patch = serde::Deserialize::deserialize(patch)
        .map_err(|error: serde_json::Error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut value = target.clone().into_value();
    json_patch::patch(&mut value, &patch).map_err(|_| {
        let message = "the server rejected our request due to an error in our request";
        Status::new(422, StatusReason::Invalid, message)
    })?;
    Object::from_value(value).map_err(|error| Status::bad_request(error.to_string()))
}

/// Applies a JSON merge patch: maps merge, `null` removes, everything else replaces.
pub fn merge(target: &Object, patch: &Value) -> Result<Object, Status> {
    let mut value = target.clone().into_value();
    json_patch::merge(&mut value, patch);
    Object::from_value(value).map_err(|error| Status::bad_request(error.to_string()))
}

/// Applies a strategic merge patch: lists merge by the keys that the schema names.
pub fn strategic(target: &Object, patch: &Value, _schema: &Schema) -> Result<Object, Status> {
    merge(target, patch)
}
