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

#[cfg(test)]
mod tests {
    use cluster_objects::Object;
    use futures::{SinkExt, StreamExt};
    use serde_json::json;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    use tokio_tungstenite::tungstenite::http::HeaderValue;
    use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
    use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

    use super::*;
    use crate::routes::routes;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A server of WebSockets at `/chat`: it greets, says everything back, and forbids other paths.
    async fn chat(listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut told = String::new();
                let answer = |request: &Request, mut answer: Response| {
                    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
                    let text = |name| header(name).unwrap_or_default();
                    told = format!("{} for {}", text("x-forwarded-host"), text("x-forwarded-for"));
                    if request.uri().path() != "/chat" {
                        let refusal = Response::builder().status(403).body(Some("not here".to_owned()));
                        return Err(refusal.unwrap());
                    }
                    let spoken = HeaderValue::from_static("chat.v2");
                    answer.headers_mut().insert("sec-websocket-protocol", spoken);
                    Ok(answer)
                };
                let Ok(mut socket) = accept_hdr_async(stream, answer).await else {
                    return;
                };
                socket.send(Message::text(told)).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    }

    /// The address of a listener whose `ws.example` leads to an endpoint.
    async fn ingress(endpoint: SocketAddr) -> SocketAddr {
        let object = |value| Arc::new(Object::from_value(value).unwrap());
        let backend = json!({"service": {"name": "chat", "port": {"number": 80}}});
        let path = json!({"pathType": "Prefix", "path": "/", "backend": backend});
        let ingress = json!({
            "metadata": {"namespace": "shop", "name": "chat"},
            "spec": {"rules": [{"host": "ws.example", "http": {"paths": [path]}}]},
        });
        let service = json!({
            "metadata": {"namespace": "shop", "name": "chat"},
            "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 80}]},
        });
        let slice = json!({
            "metadata": {"namespace": "shop", "name": "chat", "labels": {"kubernetes.io/service-name": "chat"}},
            "ports": [{"port": endpoint.port()}], "endpoints": [{"addresses": [endpoint.ip()]}],
        });
        let proxy = Proxy::new();
        proxy.set(Arc::new(routes(
            &[object(ingress)],
            &[],
            &[object(service)],
            &[object(slice)],
        )));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, None, Arc::new(proxy), CancellationToken::new()));
        address
    }

    async fn connect(address: SocketAddr, path: &str) -> Result<(WebSocketStream<TcpStream>, String), Error> {
        let mut request = format!("ws://ws.example{path}").into_client_request()?;
        let spoken = HeaderValue::from_static("chat.v2");
        request.headers_mut().insert("sec-websocket-protocol", spoken);
        let stream = TcpStream::connect(address).await?;
        let (socket, answer) = timeout(LIMIT, client_async(request, stream)).await.unwrap()?;
        let spoken = answer.headers()["sec-websocket-protocol"].to_str();
        Ok((socket, spoken.unwrap().to_owned()))
    }

    #[tokio::test]
    async fn a_websocket_is_passed_on_both_ways() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ingress(server.local_addr().unwrap()).await;
        tokio::spawn(chat(server));

        let (mut socket, spoken) = connect(address, "/chat").await.unwrap();
        assert_eq!(spoken, "chat.v2");
        let large = Bytes::from(vec![7; 1 << 20]);
        let said = [
            Message::text("to and fro"),
            Message::binary(large),
            Message::text(""),
        ];
        let expected = [&[Message::text("ws.example for 127.0.0.1")], said.as_slice()].concat();
        let talk = async {
            for message in said {
                socket.send(message).await.unwrap();
            }
            let mut heard = Vec::new();
            while heard.len() < expected.len() {
                heard.push(socket.next().await.unwrap().unwrap());
            }
            assert!(heard == expected, "something else was heard");
            socket.send(Message::Ping("are you there".into())).await.unwrap();
            assert_eq!(
                socket.next().await.unwrap().unwrap(),
                Message::Pong("are you there".into())
            );
            socket.close(None).await.unwrap();
            assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
            assert!(socket.next().await.is_none(), "the end is passed on as well");
        };
        timeout(LIMIT, talk).await.unwrap();

        let Err(Error::Http(refused)) = connect(address, "/else").await else {
            panic!("the server forbids it");
        };
        assert_eq!(refused.status(), 403);
        let body = String::from_utf8_lossy(refused.body().as_deref().unwrap_or_default());
        assert!(body.contains("not here"), "{body}");
    }

    #[tokio::test]
    async fn err_a_websocket_without_a_server_is_refused() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ingress(server.local_addr().unwrap()).await;
        drop(server);
        let Err(Error::Http(refused)) = connect(address, "/chat").await else {
            panic!("nobody is there");
        };
        assert_eq!(refused.status(), 502);
    }
}
