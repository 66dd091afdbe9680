//! A request as the parts of the server get it: with who asks, and when.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::answer::Refusal;
use crate::auth::User;

/// How long a client may send nothing in the midst of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// A request.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Vec<(String, String)>,
    /// In a lock only so that a request can be looked at by several at once.
    pub(crate) body: Mutex<Body>,
    pub(crate) user: User,
    pub(crate) now: Timestamp,
    /// The server's address as the client sees it: `https://charts.example.com`.
    pub(crate) base: String,
}

impl Request {
    /// A parameter of the address.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter that says yes by being there, unless it says no.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name)
            .is_some_and(|value| !matches!(value, "false" | "0" | "no"))
    }

    /// A count in the address.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.parameter(name) else {
            return Ok(None);
        };
        let wrong = |_| Refusal::bad_request(format!("`{name}` must be a number"));
        text.parse().map(Some).map_err(wrong)
    }

    /// A header that is a text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Refuses a body that says it is too long before any of it is read.
    pub(crate) fn check_length(&self, what: &str, limit: u64) -> Result<(), Refusal> {
        let length = self
            .header(CONTENT_LENGTH)
            .and_then(|text| text.parse::<u64>().ok());
        match length {
            Some(length) if length > limit => Err(Refusal::too_large(what, limit)),
            _ => Ok(()),
        }
    }

    /// The body, taken away.
    pub(crate) fn take_body(&mut self) -> Body {
        std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// The whole body in memory.
    pub(crate) async fn read_body(&mut self, what: &str, limit: u64) -> Result<Bytes, Refusal> {
        self.check_length(what, limit)?;
        let mut body = self.take_body();
        let mut bytes = BytesMut::new();
        while let Some(data) = next_data(&mut body).await? {
            if bytes.len() as u64 + data.len() as u64 > limit {
                return Err(Refusal::too_large(what, limit));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }
}

/// The next piece of a body. A client that sends nothing for long is given up.
pub(crate) async fn next_data(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let late = |_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "UNKNOWN",
                "the body comes too slowly",
            )
        };
        let Some(frame) = timeout(BODY_TIMEOUT, body.frame()).await.map_err(late)? else {
            return Ok(None);
        };
        let frame = frame.map_err(|_| Refusal::bad_request("the body ends too early"))?;
        // Trailers say nothing here.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}
