//! Writes that another server takes: sent on as they came, with the word of this server on who sent them.

use async_trait::async_trait;
use axum::body::Body as HttpBody;
use axum::response::Response;
use cluster_objects::Status;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request};

use crate::user::{AUTHENTICATED, User};

/// Headers by which a server says who has sent what it sends on, as those of Kubernetes' authenticating proxies.
pub(super) const REMOTE_USER: &str = "x-remote-user";
pub(super) const REMOTE_GROUP: &str = "x-remote-group";

/// What belongs to one connection, and not to what is sent over it (RFC 9110, section 7.6.1).
const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The way to the server that takes writes.
#[async_trait]
pub trait Forward: Send + Sync + 'static {
    /// Whether writes are taken elsewhere, or nowhere, at this time.
    fn is_elsewhere(&self) -> bool;

    /// Sends a request there and gives the answer; 503 where nobody takes it.
    ///
    /// # Errors
    /// No server leads, or the one that does cannot be reached: whether the request was done may be unknown then, which
    /// the status says.
    async fn send(&self, request: Request<HttpBody>) -> Result<Response, Status>;
}

/// Writes are taken here.
pub(super) struct Here;

#[async_trait]
impl Forward for Here {
    fn is_elsewhere(&self) -> bool {
        false
    }

    async fn send(&self, _request: Request<HttpBody>) -> Result<Response, Status> {
        Err(Status::unavailable("there is no other server"))
    }
}

/// Whether a request may change something, so that only the server that leads can answer it.
pub(super) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Makes a request ready to be sent on; `certificate` is whom the certificate of its connection names.
///
/// Tokens and wishes to act as somebody else stay in it: the other server judges them as this one would have.
pub(super) fn prepare(request: &mut Request<HttpBody>, certificate: Option<&User>) -> Result<(), Status> {
    let headers = request.headers_mut();
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    headers.remove(REMOTE_USER);
    headers.remove(REMOTE_GROUP);
    let anonymous = User::anonymous();
    let user = certificate.unwrap_or(&anonymous);
    let value = |text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| Status::bad_request(format!("the user {text:?} is no plain text")))
    };
    headers.insert(REMOTE_USER, value(&user.name)?);
    for group in user.groups.iter().filter(|group| *group != AUTHENTICATED) {
        headers.append(REMOTE_GROUP, value(group)?);
    }
    Ok(())
}
