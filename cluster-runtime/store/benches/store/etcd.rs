//! An etcd of our own on a loopback port.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire;

/// A running etcd; it ends with this.
pub(crate) struct Etcd {
    process: Child,
    pub(crate) address: String,
    pub(crate) version: String,
}

impl Etcd {
    /// Starts etcd on a free port; nothing if there is no such program.
    pub(crate) async fn start(dir: &Path) -> Option<Self> {
        let peer = format!("http://{}", free_address());
        let cluster = format!("bench={peer}");
        let etcd = Self::run(dir, "bench", &peer, &cluster, &[])?;
        // The first write waits for the election.
        for _ in 0..200 {
            if wire::answers(&etcd.address).await {
                return Some(etcd);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd does not answer");
    }

    /// Runs one member, which other members reach by the URL `peer`; nothing if there is no such program.
    fn run(dir: &Path, name: &str, peer: &str, cluster: &str, further: &[&str]) -> Option<Self> {
        let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
        let version = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&version.stdout);
        let address = free_address();
        let client = format!("http://{address}");
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(dir)
            .args(["--name", name, "--logger", "zap", "--log-level", "error"])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", cluster])
            .args(further)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self {
            process,
            address,
            version: version.lines().next().unwrap_or_default().to_owned(),
        })
    }

    /// Three of them that replicate over TLS, with certificates of their own making; nothing if there is no such
    /// program. The first one of the three leads.
    pub(crate) async fn start_three(dir: &Path) -> Option<Vec<Self>> {
        let names = ["one", "two", "three"];
        let peers = names.map(|_| format!("https://{}", free_address()));
        let all = names
            .iter()
            .zip(&peers)
            .map(|(name, peer)| format!("{name}={peer}"));
        let cluster = all.collect::<Vec<_>>().join(",");
        let members = names.iter().zip(&peers);
        let members = members
            .map(|(name, peer)| Self::run(&dir.join(name), name, peer, &cluster, &["--peer-auto-tls"]));
        let mut members: Vec<Self> = members.collect::<Option<_>>()?;
        for _ in 0..400 {
            for place in 0..members.len() {
                if leads(&members[place].address).await && wire::answers(&members[place].address).await {
                    members.swap(0, place);
                    return Some(members);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no etcd leads");
    }

    /// Processor time that it has used.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// An address on loopback that nobody has at this time.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Whether the etcd at an address says that it leads.
async fn leads(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let request = b"GET /metrics HTTP/1.0\r\n\r\n";
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(request).await?;
        stream.read_to_end(&mut answer).await
    };
    asked.await.is_ok() && String::from_utf8_lossy(&answer).contains("\netcd_server_is_leader 1")
}
