//! An etcd of our own on a loopback port, spoken to in gRPC.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::measure::{Figures, measure};
use crate::{KEYS, ROUND, VALUE_BYTES};

const CONNECTIONS: usize = 16;

/// A running etcd; it ends with this.
pub(crate) struct Etcd {
    process: Child,
    connections: Arc<Vec<SendRequest<Full<Bytes>>>>,
}

impl Etcd {
    /// Starts etcd on a free port; nothing if there is no such program.
    pub(crate) async fn start(dir: &Path) -> Option<Self> {
        let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
        let [client, peer] = [(); 2].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        });
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(dir)
            .args(["--name", "bench", "--logger", "zap", "--log-level", "error"])
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--initial-cluster", &format!("bench={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut etcd = Self {
            process,
            connections: Arc::default(),
        };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(connect(&client.to_string()).await);
        }
        etcd.connections = Arc::new(connections);
        // The first write waits for the election.
        for _ in 0..200 {
            if !call(&etcd.connections[0], "Put", put(0)).await.is_empty() {
                return Some(etcd);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd does not answer");
    }

    pub(crate) async fn write(&self, clients: usize) -> Figures {
        let connections = self.connections.clone();
        let write = move |number: usize| {
            let connections = connections.clone();
            async move {
                let answer = call(&connections[number / 7919 % CONNECTIONS], "Put", put(number)).await;
                assert!(!answer.is_empty(), "etcd refused a write");
            }
        };
        measure(clients, ROUND, write).await
    }

    /// Reads as they are by default, or `serializable` ones, which need no word with the other members.
    pub(crate) async fn read(&self, clients: usize, serializable: bool) -> Figures {
        let connections = self.connections.clone();
        let read = move |number: usize| {
            let connections = connections.clone();
            async move {
                let request = range(number, serializable);
                let answer = call(&connections[number / 7919 % CONNECTIONS], "Range", request).await;
                assert!(answer.len() > VALUE_BYTES, "etcd did not find a key");
            }
        };
        measure(clients, ROUND, read).await
    }

    /// Writes every key.
    pub(crate) async fn fill(&self) {
        for first in (0..KEYS).step_by(100) {
            let calls = (first..first + 100)
                .map(|number| call(&self.connections[number % CONNECTIONS], "Put", put(number)));
            futures::future::join_all(calls).await;
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

async fn connect(address: &str) -> SendRequest<Full<Bytes>> {
    let stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// Calls a method of etcd's key-value service; the answer is empty when it failed.
async fn call(connection: &SendRequest<Full<Bytes>>, method: &str, message: Vec<u8>) -> Bytes {
    // A message is preceded by a byte for no compression and its length.
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let request = Request::post(format!("http://etcd/etcdserverpb.KV/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = connection.clone().send_request(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

fn put(number: usize) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, key(number).as_bytes());
    field(&mut message, 2, &[b'x'; VALUE_BYTES]);
    message
}

fn range(number: usize, serializable: bool) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, key(number).as_bytes());
    if serializable {
        message.extend_from_slice(&[7 << 3, 1]);
    }
    message
}

fn key(number: usize) -> String {
    format!("/registry/configmaps/default/key-{:06}", number % KEYS)
}

/// Appends a byte-string field of a protocol buffer.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}
