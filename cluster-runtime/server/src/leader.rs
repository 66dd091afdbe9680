//! The way to the server that leads, for requests that only it can answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use cluster_apiserver::Forward;
use cluster_objects::{Status, StatusReason};
use cluster_store::{Leadership, RaftStore};
use http::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::Mutex;

use crate::tls::{self, SERVER_NAME};

/// How often the leader is asked for a sign of life while it has requests to answer, and how long it may take to give it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends requests on to the server that leads, over one connection that is kept.
pub(crate) struct LeaderLink {
    store: Arc<RaftStore>,
    tls: Arc<ClientConfig>,
    kept: Mutex<Option<(SocketAddr, SendRequest<Body>)>>,
}

impl LeaderLink {
    /// `tls` must speak HTTP/2 and have a server's certificate.
    pub(crate) fn new(store: Arc<RaftStore>, tls: Arc<ClientConfig>) -> Self {
        Self {
            store,
            tls,
            kept: Mutex::new(None),
        }
    }

    fn leadership(&self) -> Leadership {
        self.store.leadership().borrow().clone()
    }

    /// A connection to the leader at an address.
    async fn sender(&self, address: SocketAddr) -> Result<SendRequest<Body>, Status> {
        let mut kept = self.kept.lock().await;
        if let Some((known, sender)) = &*kept
            && *known == address
            && !sender.is_closed()
        {
            return Ok(sender.clone());
        }
        let stream = tls::connect(&self.tls, address, SERVER_NAME).await;
        let stream =
            stream.map_err(|error| later(&format!("cannot reach the server that leads: {error}")))?;
        // Requests must not wait for a machine that is gone without a word.
        let shaken = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(LOOK_EVERY))
            .keep_alive_timeout(ANSWER_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) =
            shaken.map_err(|error| later(&format!("the server that leads: {error}")))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the leader ended");
            }
        });
        *kept = Some((address, sender.clone()));
        Ok(sender)
    }
}

/// The request was not done.
fn later(message: &str) -> Status {
    let mut status = Status::unavailable(format!("{message}: the request was not done"));
    status.retry_after_seconds = Some(1);
    status
}

#[async_trait]
impl Forward for LeaderLink {
    fn is_elsewhere(&self) -> bool {
        !self.leadership().is_self
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response, Status> {
        let leader = self.leadership().leader;
        let address = leader.and_then(|(_, address)| address.parse::<SocketAddr>().ok());
        let address = address.ok_or_else(|| later("no server leads at this time"))?;
        let mut sender = self.sender(address).await?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("https://{address}{path}").parse();
        *request.uri_mut() = uri.map_err(|_| Status::bad_request("the path cannot be sent on"))?;
        *request.version_mut() = http::Version::HTTP_2;
        match sender.send_request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) => {
                *self.kept.lock().await = None;
                Err(Status::new(
                    504,
                    StatusReason::Timeout,
                    format!(
                        "the server that leads was lost while it answered, and may have done what was asked: {error}"
                    ),
                ))
            }
        }
    }
}
