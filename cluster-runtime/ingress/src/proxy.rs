//! One request: found a backend, passed on, answered.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::routes::Routes;

/// For an endpoint to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an endpoint to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// For connections to endpoints to stay open without requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Names that speak of one connection alone (RFC 9110, section 7.6.1).
const OF_CONNECTION: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Passes requests on, by the routes as they are at the moment.
pub(crate) struct Proxy {
    routes: RwLock<Arc<Routes>>,
    client: Client<HttpConnector, Body>,
}

/// Who sends a request, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) address: SocketAddr,
    pub(crate) is_secure: bool,
    pub(crate) port: u16,
}

impl Proxy {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self {
            routes: RwLock::default(),
            client,
        }
    }

    pub(crate) fn set(&self, routes: Arc<Routes>) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Answers a request, and says so in the log.
    pub(crate) async fn handle(&self, request: Request<Incoming>, sender: Sender) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let host = host_of(&request).to_owned();
        let (backend, answer) = self.answer(request, &host, sender).await;
        let status = answer.status().as_u16();
        tracing::info!(target: "ingress", client = %sender.address.ip(), %method, host, path, status, backend);
        answer
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        host: &str,
        sender: Sender,
    ) -> (String, Response<Body>) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(backend) = routes.find(host, request.uri().path()) else {
            let why = format!("no Ingress has a rule for {host}{}\n", request.uri().path());
            return (String::new(), plain(StatusCode::NOT_FOUND, why));
        };
        let name = backend.name.clone();
        let mut turn = backend.turn().peekable();
        if turn.peek().is_none() {
            let why = format!("the service {name} has no endpoint that is ready\n");
            return (name, plain(StatusCode::SERVICE_UNAVAILABLE, why));
        }
        let upgrade = request
            .headers()
            .get(UPGRADE)
            .cloned()
            .filter(|_| is_upgrade(request.headers()));
        forward_headers(&mut request, host, sender);
        let answer = match upgrade {
            Some(protocol) => upgraded(request, turn, protocol).await,
            None => self.plain_request(request, turn).await,
        };
        (name, answer)
    }

    async fn plain_request(
        &self,
        request: Request<Incoming>,
        turn: impl Iterator<Item = SocketAddrV4>,
    ) -> Response<Body> {
        // A request without a body can be sent again where an endpoint does not take the connection.
        let is_empty = request.body().is_end_stream();
        let (parts, body) = request.into_parts();
        let mut body = Some(body);
        let mut fault = None;
        for endpoint in turn {
            let sent_body = match body.take() {
                Some(body) => body.boxed(),
                None if is_empty => Empty::new().map_err(|never| match never {}).boxed(),
                None => break,
            };
            let mut sent = Request::new(sent_body);
            *sent.method_mut() = parts.method.clone();
            *sent.headers_mut() = parts.headers.clone();
            *sent.uri_mut() = uri(endpoint, &parts.uri);
            match timeout(ANSWER_TIMEOUT, self.client.request(sent)).await {
                Ok(Ok(answer)) => return passed_on(answer),
                Ok(Err(error)) => {
                    let may_try_again = is_empty && error.is_connect();
                    fault = Some(plain(
                        StatusCode::BAD_GATEWAY,
                        format!("{endpoint} does not answer: {error}\n"),
                    ));
                    if !may_try_again {
                        break;
                    }
                }
                Err(_) => {
                    let why = format!(
                        "{endpoint} did not answer within {} s\n",
                        ANSWER_TIMEOUT.as_secs()
                    );
                    return plain(StatusCode::GATEWAY_TIMEOUT, why);
                }
            }
        }
        fault.unwrap_or_else(|| plain(StatusCode::BAD_GATEWAY, "no endpoint answers\n"))
    }
}

/// Passes a request on that changes the protocol, as WebSockets do, and then what both sides say.
async fn upgraded(
    mut request: Request<Incoming>,
    turn: impl Iterator<Item = SocketAddrV4>,
    protocol: HeaderValue,
) -> Response<Body> {
    let refused = |why: String| plain(StatusCode::BAD_GATEWAY, why);
    let mut stream = None;
    for endpoint in turn {
        if let Ok(Ok(connected)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await {
            stream = Some(connected);
            break;
        }
    }
    let Some(stream) = stream else {
        return refused("no endpoint takes the connection\n".to_owned());
    };
    let client = hyper::upgrade::on(&mut request);
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let Ok(path) = path.parse() else {
        return plain(StatusCode::BAD_REQUEST, "the path cannot be passed on\n");
    };
    *request.uri_mut() = path;
    *request.version_mut() = Version::HTTP_11;
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, protocol);
    let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok(made) => made,
        Err(error) => return refused(format!("the endpoint does not speak HTTP: {error}\n")),
    };
    tokio::spawn(connection.with_upgrades());
    let mut answer = match timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return refused(format!("the endpoint does not answer: {error}\n")),
        Err(_) => return plain(StatusCode::GATEWAY_TIMEOUT, "the endpoint does not answer\n"),
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return passed_on(answer);
    }
    let server = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            // Either side may end it, at any time.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    answer.map(BodyExt::boxed)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let tokens = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    tokens
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// The host that a request is for, without a port.
fn host_of<B>(request: &Request<B>) -> &str {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().host().or(named).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Tells the endpoint who asked for what, and leaves out what speaks of the connection.
fn forward_headers<B>(request: &mut Request<B>, host: &str, sender: Sender) {
    let original = request.headers().get(HOST).cloned().or_else(|| {
        HeaderValue::from_str(
            request
                .uri()
                .authority()
                .map_or(host, |authority| authority.as_str()),
        )
        .ok()
    });
    let headers = request.headers_mut();
    drop_connection_headers(headers);
    headers.remove(UPGRADE);
    if let Some(original) = original {
        headers.insert("x-forwarded-host", original.clone());
        headers.insert(HOST, original);
    }
    let address = match sender.address.ip() {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        address @ IpAddr::V4(_) => address,
    };
    let before = headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok());
    let chain = before.map_or_else(|| address.to_string(), |before| format!("{before}, {address}"));
    let scheme = if sender.is_secure { "https" } else { "http" };
    for (name, text) in [
        ("x-forwarded-for", chain),
        ("x-forwarded-proto", scheme.to_owned()),
        ("x-forwarded-port", sender.port.to_string()),
        ("x-real-ip", address.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn drop_connection_headers(headers: &mut HeaderMap) {
    let listed: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .collect();
    for name in listed.iter().map(String::as_str).chain(OF_CONNECTION) {
        headers.remove(name);
    }
}

fn uri(endpoint: SocketAddrV4, asked: &Uri) -> Uri {
    let path = asked.path_and_query().map_or("/", |path| path.as_str());
    let built = Uri::builder()
        .scheme("http")
        .authority(endpoint.to_string())
        .path_and_query(path);
    built.build().unwrap_or_default()
}

fn passed_on(answer: Response<Incoming>) -> Response<Body> {
    let mut answer = answer.map(BodyExt::boxed);
    drop_connection_headers(answer.headers_mut());
    answer
}

fn plain(status: StatusCode, why: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(why.into()).map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: Sender = Sender {
        address: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 1),
        is_secure: true,
        port: 443,
    };

    #[test]
    fn hosts_have_no_port() {
        let check = |uri: &str, header: Option<&str>, expected: &str| {
            let mut request = Request::builder().uri(uri);
            if let Some(header) = header {
                request = request.header(HOST, header);
            }
            assert_eq!(host_of(&request.body(()).unwrap()), expected);
        };
        check("/", Some("a.example:8080"), "a.example");
        check("/", Some("a.example"), "a.example");
        check("https://b.example/x", None, "b.example");
        check("/", None, "");
    }

    #[test]
    fn an_endpoint_is_told_who_asked_and_nothing_of_the_connection() {
        let mut request = Request::builder()
            .uri("/")
            .header(HOST, "a.example")
            .header("connection", "close, x-secret")
            .header("x-secret", "1")
            .header("x-forwarded-for", "198.51.100.1")
            .header("accept", "*/*")
            .body(())
            .unwrap();
        forward_headers(&mut request, "a.example", SENDER);
        let headers = request.headers();
        assert_eq!(headers["x-forwarded-for"], "198.51.100.1, 192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers[HOST], "a.example");
        assert_eq!(headers["accept"], "*/*");
        for gone in ["connection", "x-secret"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
    }
}
