//! The API's own errors: `Status` objects, worded as Kubernetes words them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::GroupVersionResource;

/// Why a request was refused, as the `Status` object that the API answers with.
///
/// Reasons, codes and wordings follow `k8s.io/apimachinery/pkg/api/errors`, since clients and people look for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Reason that programs look at.
    pub reason: StatusReason,
    /// Message for people.
    pub message: String,
    /// Name of the object that the request was about.
    pub name: Option<String>,
    /// API group of that object.
    pub group: Option<String>,
    /// Kind or resource of that object.
    pub kind: Option<String>,
    /// What is wrong field by field.
    pub causes: Vec<StatusCause>,
    /// Seconds after which another try may succeed.
    pub retry_after_seconds: Option<u32>,
}

/// One fault of a refused object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCause {
    /// Kind of fault, as `FieldValueInvalid`.
    pub reason: String,
    /// Message for people.
    pub message: String,
    /// Path of the field, as `spec.replicas`.
    pub field: String,
}

/// The reasons of `metav1.StatusReason` that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as Kubernetes names them")]
pub enum StatusReason {
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    ServiceUnavailable,
}

impl Status {
    /// A refusal with a message and nothing else.
    pub fn new(code: u16, reason: StatusReason, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            name: None,
            group: None,
            kind: None,
            causes: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// 404: the object is not there.
    pub fn not_found(resource: &GroupVersionResource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.group_resource());
        Self::new(404, StatusReason::NotFound, message).about(resource, name)
    }

    /// 409: an object of that name is there.
    pub fn already_exists(resource: &GroupVersionResource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.group_resource());
        Self::new(409, StatusReason::AlreadyExists, message).about(resource, name)
    }

    /// 409: the object is not in the state that the request assumed.
    pub fn conflict(resource: &GroupVersionResource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.group_resource()
        );
        Self::new(409, StatusReason::Conflict, message).about(resource, name)
    }

    /// 409: the object was changed since the client read it.
    pub fn stale(resource: &GroupVersionResource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: the object is not valid, with one cause a fault.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<StatusCause>) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let texts: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let joined = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status = Self::new(
            422,
            StatusReason::Invalid,
            format!("{qualified} {name:?} is invalid: {joined}"),
        );
        status.name = Some(name.to_owned());
        status.group = Some(group.to_owned());
        status.kind = Some(kind.to_owned());
        status.causes = causes;
        status
    }

    /// 400: the request itself cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, StatusReason::BadRequest, message)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(resource: &GroupVersionResource, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.group_resource())
        } else {
            format!("{} {name:?} is forbidden: {why}", resource.group_resource())
        };
        Self::new(403, StatusReason::Forbidden, message).about(resource, name)
    }

    /// 410: the asked revision is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, StatusReason::Expired, message)
    }

    /// 500: a fault of ours.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(
            500,
            StatusReason::InternalError,
            format!("Internal error occurred: {message}"),
        )
    }

    /// 503: not able to answer now; the same request may succeed later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, StatusReason::ServiceUnavailable, message)
    }

    /// Whether the object was not there.
    pub fn is_not_found(&self) -> bool {
        self.reason == StatusReason::NotFound
    }

    /// Whether the object was changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.reason == StatusReason::Conflict
    }

    /// Whether an object of that name was there.
    pub fn is_already_exists(&self) -> bool {
        self.reason == StatusReason::AlreadyExists
    }

    /// Whether the same request may succeed when sent again.
    pub fn is_retriable(&self) -> bool {
        matches!(self.code, 429 | 500 | 503 | 504)
    }

    fn about(mut self, resource: &GroupVersionResource, name: &str) -> Self {
        self.name = Some(name.to_owned()).filter(|name| !name.is_empty());
        self.group = Some(resource.group.clone());
        self.kind = Some(resource.resource.clone());
        self
    }

    /// The `Status` object of the wire.
    pub fn to_value(&self) -> Value {
        let mut details = serde_json::Map::new();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind)] {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                details.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            details.insert("causes".into(), json!(self.causes));
        }
        if let Some(seconds) = self.retry_after_seconds {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        let mut value = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if self.reason == StatusReason::Unknown {
            value.as_object_mut().expect("made above").remove("reason");
        }
        if !details.is_empty() {
            value["details"] = details.into();
        }
        value
    }

    /// Reads the `Status` object of the wire; what is missing reads as unknown.
    pub fn from_value(value: &Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            code: value["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or(500),
            reason: StatusReason::deserialize(&value["reason"]).unwrap_or(StatusReason::Unknown),
            message: text("/message").unwrap_or_default(),
            name: text("/details/name"),
            group: text("/details/group"),
            kind: text("/details/kind"),
            causes: Vec::deserialize(&value["details"]["causes"]).unwrap_or_default(),
            retry_after_seconds: u32::deserialize(&value["details"]["retryAfterSeconds"]).ok(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_wire() {
        let pods = GroupVersionResource::new("v1", "pods");
        let status = Status::not_found(&pods, "web");
        assert_eq!(status.message, "pods \"web\" not found");
        let read = Status::from_value(&status.to_value());
        assert_eq!(read.reason, StatusReason::NotFound);
        assert_eq!(read.to_value(), status.to_value());
    }
}
