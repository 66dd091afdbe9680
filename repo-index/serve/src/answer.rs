//! Answers, and why a request is refused.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::digest::DigestError;
use crate::name::NameError;

/// An answer under way.
pub(crate) type Answer = Response<Body>;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The distribution specification's word for it.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Headers beside it.
    pub(crate) headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "DENIED", message)
    }

    pub(crate) fn too_large(what: &str, limit: u64) -> Self {
        let message = format!("{what} is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            format!("only {allowed} is possible here"),
        )
        .with(ALLOW, allowed)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As the distribution specification has errors.
    pub(crate) fn into_registry_answer(self) -> Answer {
        let body = json!({"errors": [{"code": self.code, "message": self.message, "detail": {}}]});
        self.into_answer("application/json", body.to_string())
    }

    /// As ChartMuseum has errors.
    pub(crate) fn into_api_answer(self) -> Answer {
        let body = json!({"error": self.message});
        self.into_answer("application/json", body.to_string())
    }

    pub(crate) fn into_text_answer(self) -> Answer {
        let body = format!("{}\n", self.message);
        self.into_answer("text/plain; charset=utf-8", body)
    }

    pub(crate) fn into_answer(self, content_type: &'static str, body: impl Into<Body>) -> Answer {
        let mut answer = whole(self.status, content_type, body);
        for (name, value) in self.headers {
            header(&mut answer, name, &value);
        }
        answer
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        if [Errno::NOSPC, Errno::DQUOT]
            .map(|errno| Some(errno.raw_os_error()))
            .contains(&error.raw_os_error())
        {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN", "the disk is full");
        }
        tracing::error!(%error, "the storage fails");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the storage fails")
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        let code = match error.kind {
            "tag" => "MANIFEST_INVALID",
            _ => "NAME_INVALID",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<DigestError> for Refusal {
    fn from(error: DigestError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
    }
}

impl From<tokio::task::JoinError> for Refusal {
    fn from(error: tokio::task::JoinError) -> Self {
        tracing::error!(%error, "work on a request ended early");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "an internal fault")
    }
}

/// An answer with a whole body.
pub(crate) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub(crate) fn json_answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    whole(status, "application/json", body.into())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// An answer without a body that says where something is.
pub(crate) fn located(status: StatusCode, location: &str) -> Answer {
    let mut answer = empty(status);
    header(&mut answer, LOCATION, location);
    answer
}

/// Sets a header; what cannot stand in one is left out.
pub(crate) fn header(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
