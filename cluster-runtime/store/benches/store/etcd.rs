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
        let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
        let version = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&version.stdout);
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
        let etcd = Self {
            process,
            address: client.to_string(),
            version: version.lines().next().unwrap_or_default().to_owned(),
        };
        // The first write waits for the election.
        for _ in 0..200 {
            if wire::answers(&etcd.address).await {
                return Some(etcd);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd does not answer");
    }

    /// Three of them that replicate over TLS, with certificates of their own making; nothing if there is no such
    /// program. The first one of the three leads.
    pub(crate) async fn start_three(dir: &Path) -> Option<Vec<Self>> {
        let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
        let version = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&version.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let address = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let peers = [address(), address(), address()];
        let names = ["one", "two", "three"];
        let all: Vec<String> = names
            .iter()
            .zip(&peers)
            .map(|(name, peer)| format!("{name}=https://{peer}"))
            .collect();
        let mut members = Vec::new();
        for (name, peer) in names.iter().zip(&peers) {
            let (client, peer_url) = (address(), format!("https://{peer}"));
            let client_url = format!("http://{client}");
            let process = Command::new(&program)
                .arg("--data-dir")
                .arg(dir.join(name))
                .args([
                    "--name",
                    name,
                    "--logger",
                    "zap",
                    "--log-level",
                    "error",
                    "--peer-auto-tls",
                ])
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
                .args(["--initial-cluster", &all.join(",")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            members.push(Self {
                process,
                address: client,
                version: version.clone(),
            });
        }
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
