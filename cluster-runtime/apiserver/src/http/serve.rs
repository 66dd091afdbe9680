//! Connections: accepting, TLS, HTTP/1.1 and HTTP/2, stopping.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authenticate::{TokenTable, Tokens};
use super::forward::{Forward, Here};
use super::handle::Server;
use super::metrics::Measured;
use super::protocol::Protocol;
use crate::engine::Engine;
use crate::user::User;

/// Connections that are open at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 250;
/// Time for a client to finish the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that an HTTP/1.1 connection may be idle before its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for requests under way to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTPS server of an engine.
pub struct ApiServer {
    engine: Engine,
    tokens: Arc<dyn Tokens>,
    forward: Arc<dyn Forward>,
    protocols: Protocols,
    measured: Vec<Arc<dyn Measured>>,
}

/// What is spoken besides HTTP, by the names of ALPN.
type Protocols = HashMap<&'static str, Arc<dyn Protocol>>;

impl ApiServer {
    /// A server that knows clients by their certificates alone.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            tokens: Arc::new(TokenTable::default()),
            forward: Arc::new(Here),
            protocols: Protocols::new(),
            measured: Vec::new(),
        }
    }

    /// Sends writes on to the server that takes them, while that is another one.
    #[must_use]
    pub fn forward(mut self, forward: Arc<dyn Forward>) -> Self {
        self.forward = forward;
        self
    }

    /// Tells at `/metrics` what another part of the server measures.
    #[must_use]
    pub fn measured(mut self, part: Arc<dyn Measured>) -> Self {
        self.measured.push(part);
        self
    }

    /// Speaks another protocol on the same port, with clients that ask for this name by ALPN (RFC 7301).
    #[must_use]
    pub fn protocol(mut self, name: &'static str, protocol: Arc<dyn Protocol>) -> Self {
        self.protocols.insert(name, protocol);
        self
    }

    /// Knows clients by bearer tokens besides.
    #[must_use]
    pub fn tokens(mut self, tokens: impl Tokens) -> Self {
        self.tokens = Arc::new(tokens);
        self
    }

    /// Serves until `shutdown`, then lets requests under way end, for a few seconds at most.
    ///
    /// `tls` holds the server's certificate, and decides which client certificates are good; for clients without
    /// one it must allow unauthenticated connections. Its ALPN protocols are set here.
    pub async fn serve(
        self,
        listener: TcpListener,
        mut tls: ServerConfig,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let others = self.protocols.keys().map(|name| name.as_bytes().to_vec());
        tls.alpn_protocols.extend(others);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let server = Server::new(
            self.engine,
            self.tokens,
            self.forward,
            self.measured,
            shutdown.clone(),
        );
        let (server, protocols) = (Arc::new(server), Arc::new(self.protocols));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    // Out of file handles, mostly: connections that end give some back.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, server) = (acceptor.clone(), Arc::clone(&server));
            let protocols = Arc::clone(&protocols);
            connections.spawn(async move {
                let _place = place;
                if let Err(error) = connection(stream, &acceptor, server, &protocols).await {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
        connections.close();
        if timeout(STOP_TIMEOUT, connections.wait()).await.is_err() {
            tracing::debug!("connections were cut off");
        }
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    server: Arc<Server>,
    protocols: &Protocols,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let user = certificates
        .and_then(<[_]>::first)
        .and_then(User::of_certificate)
        .map(Arc::new);
    let stop = server.stop.clone();
    let asked = stream.get_ref().1.alpn_protocol();
    let asked = asked.and_then(|name| protocols.get(std::str::from_utf8(name).ok()?));
    if let Some(protocol) = asked.map(Arc::clone) {
        let serving = protocol.serve(Box::new(stream), user.as_deref());
        stop.run_until_cancelled(serving).await;
        return Ok(());
    }
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (server, user) = (Arc::clone(&server), user.clone());
        async move {
            let response = server.handle(user.as_deref(), request.map(Body::new)).await;
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Duration::from_secs(30));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
