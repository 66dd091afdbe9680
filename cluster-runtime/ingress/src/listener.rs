//! A port that takes HTTP connections, with or without TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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

use crate::proxy::{Proxy, Sender};

/// Connections that are open at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 8192;
/// For a client to finish the TLS handshake, and to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A listening port; it is closed when this is dropped. Connections end with it.
pub(crate) struct Listener {
    stop: CancellationToken,
}

impl Listener {
    /// Listens, and passes requests on.
    ///
    /// # Errors
    /// The port cannot be had.
    pub(crate) async fn open(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        proxy: Arc<Proxy>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let stop = CancellationToken::new();
        let accepting = accept(listener, tls.map(TlsAcceptor::from), proxy, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self { stop })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, proxy: Arc<Proxy>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, mostly: connections that end give some back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let sender = Sender {
            address,
            is_secure: tls.is_some(),
            port,
        };
        let (tls, proxy, stop) = (tls.clone(), proxy.clone(), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let served = serve(stream, tls, proxy, sender);
            if let Some(Err(error)) = stop.run_until_cancelled(served).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    proxy: Arc<Proxy>,
    sender: Sender,
) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    match tls {
        Some(tls) => http(timeout(HEAD_TIMEOUT, tls.accept(stream)).await??, proxy, sender).await,
        None => http(stream, proxy, sender).await,
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    proxy: Arc<Proxy>,
    sender: Sender,
) -> Result<(), Fault> {
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.handle(request, sender).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
}
