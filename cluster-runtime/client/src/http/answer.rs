//! What a server answered, as values of the seam.

use std::sync::Arc;

use cluster_objects::{Object, Status, StatusReason};
use http::StatusCode;
use serde_json::Value;

use crate::{Deleted, List};

/// Reads a refusal: a `Status` object, or whatever a proxy in between said.
pub(super) fn refusal(code: StatusCode, body: &[u8]) -> Status {
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && value["kind"] == "Status"
    {
        let mut status = Status::from_value(&value);
        status.code = code.as_u16();
        if status.message.is_empty() {
            status.message = format!("the server answered {code}");
        }
        return status;
    }
    let reason = match code.as_u16() {
        400 => StatusReason::BadRequest,
        401 => StatusReason::Unauthorized,
        403 => StatusReason::Forbidden,
        404 => StatusReason::NotFound,
        405 => StatusReason::MethodNotAllowed,
        409 => StatusReason::Conflict,
        410 => StatusReason::Gone,
        413 => StatusReason::RequestEntityTooLarge,
        429 => StatusReason::TooManyRequests,
        500 => StatusReason::InternalError,
        503 => StatusReason::ServiceUnavailable,
        504 => StatusReason::Timeout,
        _ => StatusReason::Unknown,
    };
    let text = String::from_utf8_lossy(body);
    let said = text.trim();
    let message = if said.is_empty() {
        format!("the server answered {code}")
    } else {
        let short: String = said.chars().take(300).collect();
        format!("the server answered {code}: {short}")
    };
    Status::new(code.as_u16(), reason, message)
}

/// Reads an object.
pub(super) fn object(body: &[u8]) -> Result<Arc<Object>, Status> {
    let value = json(body)?;
    let object = Object::from_value(value).map_err(|error| not_understood(&error))?;
    Ok(Arc::new(object))
}

/// Reads a list. Items of built-in kinds come without their type; it is the list's.
pub(super) fn list(body: &[u8]) -> Result<List, Status> {
    let mut value = json(body)?;
    let text = |value: &Value, pointer: &str| {
        let found = value.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let api_version = text(&value, "/apiVersion");
    let list_kind = text(&value, "/kind");
    let kind = list_kind.strip_suffix("List").unwrap_or_default();
    let items = value.get_mut("items").map(Value::take).unwrap_or_default();
    let mut objects = Vec::new();
    if let Value::Array(items) = items {
        for item in items {
            let mut object = Object::from_value(item).map_err(|error| not_understood(&error))?;
            if object.kind().is_empty() && !kind.is_empty() {
                object.set(&["kind"], kind);
                object.set(&["apiVersion"], api_version.as_str());
            }
            objects.push(Arc::new(object));
        }
    }
    Ok(List {
        items: objects,
        resource_version: text(&value, "/metadata/resourceVersion"),
        continue_token: text(&value, "/metadata/continue"),
    })
}

/// Reads the answer to a deletion: a `Status`, or the object as it is or was.
pub(super) fn deleted(code: StatusCode, body: &[u8]) -> Result<Deleted, Status> {
    let object = object(body)?;
    if object.kind() == "Status" || (code == StatusCode::OK && object.deletion_timestamp().is_none()) {
        return Ok(Deleted::Gone);
    }
    let held_by_finalizer = !object.list(&["metadata", "finalizers"]).is_empty();
    let held_by_grace = object
        .integer(&["metadata", "deletionGracePeriodSeconds"])
        .is_some_and(|seconds| seconds > 0);
    if held_by_finalizer || held_by_grace {
        Ok(Deleted::Marked(object))
    } else {
        Ok(Deleted::Gone)
    }
}

/// An answer that is not what the API promises.
pub(super) fn not_understood(error: &dyn std::error::Error) -> Status {
    Status::new(
        500,
        StatusReason::Unknown,
        format!("the server's answer cannot be understood: {error}"),
    )
}

/// Reads JSON.
pub(super) fn json(body: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|error| not_understood(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_a_list_get_its_type() {
        let body = br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"c"},
            "items":[{"metadata":{"name":"p"}}]}"#;
        let list = list(body).unwrap();
        assert_eq!(list.items[0].kind(), "Pod");
        assert_eq!(list.items[0].api_version(), "v1");
        assert_eq!(
            (list.resource_version.as_str(), list.continue_token.as_str()),
            ("7", "c")
        );
    }

    #[test]
    fn err_a_proxy_answers_in_html() {
        let status = refusal(StatusCode::BAD_GATEWAY, b"<html>no upstream</html>");
        assert_eq!(status.code, 502);
        assert_eq!(
            status.message,
            "the server answered 502 Bad Gateway: <html>no upstream</html>"
        );
    }

    #[test]
    fn a_pod_in_its_grace_period_is_marked() {
        let marked = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","deletionTimestamp":"t",
            "deletionGracePeriodSeconds":30}}"#;
        assert!(matches!(deleted(StatusCode::OK, marked), Ok(Deleted::Marked(_))));
        let status = br#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#;
        assert!(matches!(deleted(StatusCode::OK, status), Ok(Deleted::Gone)));
    }
}
