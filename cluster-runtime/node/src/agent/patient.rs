//! A running container, as probes and hooks reach it: by commands, TCP, HTTP and gRPC.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{ExecExit, ExecRequest};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::pod::{ContainerConfig, ExecAction, Grpc, Handler, HttpGet, Probe, TcpSocket};
use super::{grpc, netns, tls};
use crate::runtime::{ContainerId, Runtime};

const OUTPUT_BYTES_MAX: u64 = 10 * 1024;
const HEAD_BYTES_MAX: u64 = 16 * 1024;
const USER_AGENT: &str = "kube-probe/1.37";

/// A running container, as probes and hooks reach it.
#[derive(Clone)]
pub(crate) struct Patient {
    pub runtime: Arc<dyn Runtime>,
    pub id: ContainerId,
    pub container: Arc<ContainerConfig>,
    pub netns: Option<PathBuf>,
    pub ip: IpAddr,
}

impl Patient {
    /// Carries out a probe once; the error is what the event says.
    pub(crate) async fn check(&self, probe: &Probe) -> Result<(), String> {
        let limit = probe.timeout();
        if let Some(get) = &probe.http_get {
            return self.http(get, limit).await;
        }
        if let Some(tcp) = &probe.tcp_socket {
            return self.tcp(tcp, limit).await;
        }
        if let Some(health) = &probe.grpc {
            return self.grpc(health, limit).await;
        }
        match &probe.exec {
            Some(exec) => self.exec(exec, limit).await,
            None => Ok(()),
        }
    }

    /// Carries out a hook; the error says what went wrong.
    pub(crate) async fn run_hook(&self, hook: &Handler, limit: Duration) -> Result<(), String> {
        if let Some(exec) = &hook.exec {
            return self.exec(exec, limit).await;
        }
        if let Some(get) = &hook.http_get {
            return self.http(get, limit).await;
        }
        if hook.tcp_socket.is_some() {
            // So does the kubelet: the API has the field for old objects only.
            return Err("invalid handler: hooks by `tcpSocket` are not supported".to_owned());
        }
        if let Some(wanted) = &hook.sleep {
            sleep(Duration::from_secs(wanted.seconds).min(limit)).await;
        }
        Ok(())
    }

    async fn exec(&self, action: &ExecAction, limit: Duration) -> Result<(), String> {
        let request = ExecRequest {
            command: action.command.clone(),
            stdout: true,
            stderr: true,
            ..ExecRequest::default()
        };
        let running = async {
            let session = self
                .runtime
                .exec(&self.id, &request)
                .await
                .map_err(|error| error.to_string())?;
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let read = |stream: Option<std::pin::Pin<Box<dyn AsyncRead + Send>>>| async {
                let mut bytes = Vec::new();
                if let Some(stream) = stream {
                    let mut limited = stream.take(OUTPUT_BYTES_MAX);
                    let _ = limited.read_to_end(&mut bytes).await;
                    // What is too much is read as well, so that the command does not wait.
                    let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
                }
                bytes
            };
            let (one, two) = tokio::join!(read(session.stdout), read(session.stderr));
            out.extend(one);
            err.extend(two);
            out.append(&mut err);
            match session.exit.await {
                Ok(ExecExit::Code(0)) => Ok(()),
                Ok(ExecExit::Code(code)) if out.is_empty() => {
                    Err(format!("command ended with exit code {code}"))
                }
                Ok(ExecExit::Code(_)) => Err(String::from_utf8_lossy(&out).into_owned()),
                Ok(ExecExit::Failed(reason)) => Err(reason),
                Err(_) => Err("the command was lost".to_owned()),
            }
        };
        let command = action.command.join(" ");
        let late = |_| {
            Err(format!(
                "command timed out: {command:?} timed out after {}s",
                limit.as_secs()
            ))
        };
        timeout(limit, running).await.unwrap_or_else(late)
    }

    async fn tcp(&self, tcp: &TcpSocket, limit: Duration) -> Result<(), String> {
        let address = self.address(&tcp.host, &tcp.port)?;
        self.connect(address, &tcp.host, limit).await.map(drop)
    }

    async fn http(&self, get: &HttpGet, limit: Duration) -> Result<(), String> {
        let address = self.address(&get.host, &get.port)?;
        let path = if get.path.is_empty() {
            "/"
        } else {
            get.path.as_str()
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let host = get
            .http_headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("host"));
        let host = host.map_or_else(|| address.to_string(), |header| header.value.clone());
        let mut request = format!("GET {slash}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let has = |name: &str| {
            get.http_headers
                .iter()
                .any(|header| header.name.eq_ignore_ascii_case(name))
        };
        if !has("user-agent") {
            request.push_str(&format!("User-Agent: {USER_AGENT}\r\n"));
        }
        if !has("accept") {
            request.push_str("Accept: */*\r\n");
        }
        for header in get
            .http_headers
            .iter()
            .filter(|header| !header.name.eq_ignore_ascii_case("host"))
        {
            request.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
        request.push_str("\r\n");
        let secure = get.scheme.eq_ignore_ascii_case("https");
        let scheme = if secure { "https" } else { "http" };
        let url = format!("Get \"{scheme}://{address}{slash}{path}\"");
        let asking = async {
            let connection = self.connect(address, &get.host, limit).await;
            let connection = connection.map_err(|why| format!("{url}: {why}"))?;
            let asked = if secure {
                match tls::connect(connection, address).await {
                    Ok(connection) => exchange(connection, request.as_bytes()).await,
                    Err(error) => Err(error),
                }
            } else {
                exchange(connection, request.as_bytes()).await
            };
            asked.map_err(|error| format!("{url}: {error}"))
        };
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        let code = timeout(limit, asking)
            .await
            .unwrap_or_else(|_| Err(format!("{url}: {late}")))?;
        match code {
            200..=399 => Ok(()),
            code => Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    }

    async fn grpc(&self, health: &Grpc, limit: Duration) -> Result<(), String> {
        let address = SocketAddr::new(self.ip, health.port);
        let asking = async {
            let connection = self.connect(address, "", limit).await?;
            let serving = grpc::check_health(connection, &address.to_string(), &health.service).await;
            serving.map_err(|error| error.to_string())
        };
        let late = || {
            format!(
                "timeout: failed to connect service {address:?} within {}s",
                limit.as_secs()
            )
        };
        timeout(limit, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// A named host is reached from the machine, the pod itself from inside.
    async fn connect(
        &self,
        address: SocketAddr,
        host: &str,
        limit: Duration,
    ) -> Result<tokio::net::TcpStream, String> {
        let netns = self.netns.as_deref().filter(|_| host.is_empty());
        match timeout(limit, netns::connect(netns, address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("dial tcp {address}: {}", dial_error(&error))),
            Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
        }
    }

    fn address(&self, host: &str, port: &Value) -> Result<SocketAddr, String> {
        let ip = if host.is_empty() {
            self.ip
        } else {
            host.parse()
                .map_err(|_| format!("the host {host:?} of a probe is no address"))?
        };
        Ok(SocketAddr::new(ip, self.port(port)?))
    }

    fn port(&self, port: &Value) -> Result<u16, String> {
        let number = match port {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Value::String(name) => {
                let named = self.container.ports.iter().find(|one| one.name == *name);
                named.map(|one| one.container_port).or_else(|| name.parse().ok())
            }
            _ => None,
        };
        number.ok_or_else(|| format!("couldn't find the port {port} of a probe"))
    }
}

/// The words of Go for what people meet most often.
fn dial_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Sends a request and gives the code of the answer.
async fn exchange(mut connection: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<u16> {
    connection.write_all(request).await?;
    let mut head = Vec::new();
    let mut limited = connection.take(HEAD_BYTES_MAX);
    let mut piece = [0; 1024];
    while !head.contains(&b'\n') {
        let length = limited.read(&mut piece).await?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "EOF"));
        }
        head.extend_from_slice(&piece[..length]);
    }
    let line = String::from_utf8_lossy(&head);
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    code.ok_or_else(|| io::Error::other("malformed HTTP response"))
}
