//! Connections: accepting, TLS, HTTP/1.1 and HTTP/2, stopping.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handle::handle;
use crate::server::Server;

/// Connections that are open at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 250;
/// Time for a client to finish the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection may be idle before its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for requests under way to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause when the system has no more file handles to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until `shutdown`, then lets requests under way end.
pub(crate) async fn serve(
    server: &Arc<Server>,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        let (server, acceptor, shutdown) = (Arc::clone(server), acceptor.clone(), shutdown.clone());
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = connection(server, stream, peer, acceptor, shutdown).await {
                tracing::debug!(%peer, error, "connection ended");
            }
        });
    }
    // Those who come now are told at once that nobody is here.
    drop(listener);
    connections.close();
    if timeout(STOP_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("connections were cut off");
    }
    Ok(())
}

async fn connection(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => requests(server, stream, peer, shutdown).await,
        Some(acceptor) => {
            let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
            requests(server, stream, peer, shutdown).await
        }
    }
}

async fn requests(
    server: Arc<Server>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(handle(&server, peer, request.map(Body::new)).await) }
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
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
