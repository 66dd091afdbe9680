//! An etcd of our own on a loopback port.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
