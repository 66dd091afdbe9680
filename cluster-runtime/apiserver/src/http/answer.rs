//! Answers: values as JSON or YAML, statuses, warnings.

use axum::body::Body;
use axum::response::Response;
use cluster_objects::Status;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::compress;
use super::negotiate::Format;

/// Media type of a format.
pub(crate) fn content_type(format: Format) -> HeaderValue {
    HeaderValue::from_static(match format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
    })
}

/// Writes a value.
pub(crate) fn encode<T: Serialize>(format: Format, value: &T) -> Vec<u8> {
    // Objects are maps with text for keys, so neither writer has a reason to fail.
    match format {
        Format::Json => serde_json::to_vec(value).unwrap_or_default(),
        Format::Yaml => serde_yaml::to_string(value).unwrap_or_default().into_bytes(),
    }
}

/// An answer that is known whole.
pub(crate) fn whole(code: u16, content_type: HeaderValue, body: Vec<u8>, gzip: bool) -> Response {
    if gzip && body.len() >= compress::BYTES_MIN {
        return compress::whole(answer(code, content_type, Body::empty()), &body);
    }
    answer(code, content_type, body.into())
}

/// An answer with a body of any kind.
pub(crate) fn answer(code: u16, content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A refusal.
pub(crate) fn refusal(format: Format, status: &Status) -> Response {
    let body = encode(format, &status.to_value());
    let mut response = whole(status.code, content_type(format), body, false);
    if let Some(seconds) = status.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds warnings, each as the header that clients print.
pub(crate) fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings {
        let quoted: String = warning
            .chars()
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c if c.is_control() => vec![' '],
                c => vec![c],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// The answer to a deletion that left nothing.
pub(crate) fn deleted(resource: &str, group: &str, name: &str, uid: &str) -> Value {
    let mut details = serde_json::json!({"name": name, "kind": resource, "uid": uid});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    })
}
