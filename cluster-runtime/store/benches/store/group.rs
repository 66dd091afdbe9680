//! Three stores, each in a process of its own, that replicate over TLS on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use cluster_store::{Connect, RaftStore, RaftStoreConfig, StorageKey, Stream, StreamTransport};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::served::serve_clients;

/// Three members; they end with this.
pub(crate) struct Group {
    members: Vec<Process>,
}

struct Process {
    child: Child,
    say: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
    address: String,
}

impl Group {
    /// Starts three members in folders of their own; the first one leads.
    pub(crate) fn start(dir: &Path, how: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(dir.join("certificate"), pair.cert.der()).unwrap();
        std::fs::write(dir.join("key"), pair.signing_key.serialize_der()).unwrap();
        let mut members: Vec<Process> = (1..=3).map(|number| Process::start(dir, number, how)).collect();
        let peers: Vec<String> = members.iter_mut().map(Process::line).collect();
        writeln!(members[0].say.as_mut().unwrap(), "{} {}", peers[1], peers[2]).unwrap();
        assert_eq!(members[0].line(), "ready");
        Self { members }
    }

    /// Where clients reach the leader.
    pub(crate) fn address(&self) -> &str {
        &self.members[0].address
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.child.id()).collect()
    }
}

impl Process {
    fn start(dir: &Path, number: u64, how: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--bench", "member", &number.to_string(), how])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self {
            say: child.stdin.take(),
            hear: BufReader::new(child.stdout.take().unwrap()),
            child,
            address: String::new(),
        };
        process.address = process.line();
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Connects with TLS; the certificate is the same for all.
struct Tls {
    connector: TlsConnector,
}

#[async_trait]
impl Connect for Tls {
    async fn connect(&self, _: u64, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}

/// Is one member until standard input ends, as it does with whoever started this.
pub(crate) async fn member(number: u64, how: &str, dir: &Path) {
    let (tls, acceptor) = tls(dir);
    let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = peers.local_addr().unwrap().to_string();
    let mut config = RaftStoreConfig::new(dir.join(number.to_string()));
    config.member = number;
    config.address.clone_from(&own);
    config.bootstrap = number == 1;
    config.transport = Some(Arc::new(StreamTransport::new(Arc::new(tls))));
    config.encryption = (how == "sealed").then(|| StorageKey::new(1, [7; 32]));
    let store = Arc::new(RaftStore::open(config).await.unwrap());
    println!("{}\n{own}", clients.local_addr().unwrap());
    let served = store.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = peers.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (served, acceptor) = (served.clone(), acceptor.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                _ = served.serve_peer(stream).await;
            });
        }
    });
    let (told, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut input = BufReader::new(io::stdin());
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        _ = told.send(line);
        _ = input.read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    if number == 1 {
        let line = lines.recv().await.unwrap();
        for (number, address) in (2..).zip(line.split_whitespace()) {
            store.add_member(number, address).await.unwrap();
        }
        store.set_voters([1, 2, 3].into()).await.unwrap();
        println!("ready");
    }
    serve_clients(clients, store).await;
}

fn tls(dir: &Path) -> (Tls, TlsAcceptor) {
    let certificate = CertificateDer::from(std::fs::read(dir.join("certificate")).unwrap());
    let key = PrivatePkcs8KeyDer::from(std::fs::read(dir.join("key")).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.unwrap().with_no_client_auth();
    let server = server
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(key))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    (Tls { connector }, TlsAcceptor::from(Arc::new(server)))
}
