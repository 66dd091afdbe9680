//! JSON patch: a list of operations.

use json_patch::{PatchOperation, jsonptr};
use serde::Deserialize as _;
use serde_json::Value;

use crate::nesting::DEPTH_MAX;
use crate::{Object, Status, StatusCause, StatusReason};

/// Most operations of a patch, as in Kubernetes.
const OPERATIONS_MAX: usize = 10_000;
/// Most values that the operations of a patch may copy and move in all: a few operations could otherwise double an
/// object again and again.
const MOVED_VALUES_MAX: usize = 1_000_000;

/// Applies a JSON patch, a list of operations.
///
/// Fails with 400 when the patch is none, with 413 when it does too much, with 422 when an operation does not fit
/// the object.
pub fn json(target: &Object, patch: &Value) -> Result<Object, Status> {
    let operations = patch.as_array().map_or(0, Vec::len);
    if operations > OPERATIONS_MAX {
        let message =
            format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {operations}");
        return Err(Status::new(413, StatusReason::RequestEntityTooLarge, message));
    }
    let patch = json_patch::Patch::deserialize(patch)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut value = target.clone().into_value();
    let mut moved = 0;
    for operation in patch.0 {
        let path = operation.path().to_string();
        check_growth(&value, &operation, &mut moved)?;
        json_patch::patch(&mut value, &[operation])
            .map_err(|error| refused(&path, &error.kind.to_string()))?;
    }
    super::into_object(value)
}

/// The 422 of an operation that does not fit: Kubernetes' message, with what was wrong as its cause.
fn refused(path: &str, why: &str) -> Status {
    let message = "the server rejected our request due to an error in our request";
    let mut status = Status::new(422, StatusReason::Invalid, message);
    status.causes.push(StatusCause {
        reason: "UnexpectedServerResponse".to_owned(),
        message: why.to_owned(),
        field: path.to_owned(),
    });
    status
}

/// Keeps what the operations copy and how deep they nest within bounds.
fn check_growth(value: &Value, operation: &PatchOperation, moved: &mut usize) -> Result<(), Status> {
    let at = |pointer: &jsonptr::PointerBuf| value.pointer(&pointer.to_string());
    let inserted = match operation {
        PatchOperation::Add(add) => Some(&add.value),
        PatchOperation::Replace(replace) => Some(&replace.value),
        PatchOperation::Move(from) => at(&from.from),
        PatchOperation::Copy(from) => at(&from.from),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
    };
    let Some(inserted) = inserted else {
        return Ok(());
    };
    let (count, depth) = measure(inserted);
    *moved += count;
    if *moved > MOVED_VALUES_MAX {
        let message = format!("the patch copies and moves more than {MOVED_VALUES_MAX} values");
        return Err(Status::new(413, StatusReason::RequestEntityTooLarge, message));
    }
    if operation.path().count() + depth > DEPTH_MAX {
        return Err(refused(
            operation.path().as_ref(),
            "the object would be nested too deep",
        ));
    }
    Ok(())
}

/// How many values there are in a value, and how deep they are nested.
fn measure(value: &Value) -> (usize, usize) {
    let mut open = vec![(value, 0)];
    let (mut count, mut deepest) = (0, 0);
    while let Some((value, depth)) = open.pop() {
        count += 1;
        deepest = deepest.max(depth);
        match value {
            Value::Array(list) => open.extend(list.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    (count, deepest)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_change_the_object_in_order() {
        let target = Object::from_value(json!({"spec": {"list": [1, 2], "a/b": 1}})).unwrap();
        let patched = json_patched(
            &target,
            json!([
                {"op": "test", "path": "/spec/list/0", "value": 1},
                {"op": "add", "path": "/spec/list/-", "value": 3},
                {"op": "remove", "path": "/spec/list/0"},
                {"op": "replace", "path": "/spec/a~1b", "value": 2},
                {"op": "copy", "from": "/spec/list", "path": "/spec/copy"},
            ]),
        );
        assert_eq!(
            patched.unwrap(),
            json!({"spec": {"list": [2, 3], "copy": [2, 3], "a/b": 2}})
        );
    }

    fn json_patched(target: &Object, patch: Value) -> Result<Value, Status> {
        super::json(target, &patch).map(Object::into_value)
    }

    #[test]
    fn err_patches_that_do_not_fit_are_refused() {
        let target = Object::from_value(json!({"a": 1})).unwrap();
        let code = |patch| json_patched(&target, patch).unwrap_err().code;
        assert_eq!(code(json!([{"op": "test", "path": "/a", "value": 2}])), 422);
        assert_eq!(code(json!([{"op": "remove", "path": "/b"}])), 422);
        assert_eq!(code(json!([{"op": "frobnicate", "path": "/b"}])), 400);
        assert_eq!(code(json!({"a": 1})), 400);
        assert_eq!(code(json!([{"op": "replace", "path": "", "value": 3}])), 400);
        let operations = vec![json!({"op": "add", "path": "/a", "value": 1}); OPERATIONS_MAX + 1];
        assert_eq!(code(operations.into()), 413);
    }

    #[test]
    fn err_patches_that_grow_without_bound_are_refused() {
        let target = Object::from_value(json!({"a": [0]})).unwrap();
        let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 64];
        assert!(matches!(
            json_patched(&target, doubling.into()).unwrap_err().code,
            413 | 422
        ));
        let wide: Vec<Value> = (0..64)
            .map(|index| json!({"op": "copy", "from": "", "path": format!("/b{index}")}))
            .collect();
        assert!(matches!(
            json_patched(&target, wide.into()).unwrap_err().code,
            413 | 422
        ));
        let deep: Vec<Value> = (0..2000)
            .map(|index| json!({"op": "add", "path": "/a".repeat(index + 1), "value": {}}))
            .collect();
        assert_eq!(json_patched(&target, deep.into()).unwrap_err().code, 422);
    }
}
