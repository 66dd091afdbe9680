//! A container engine of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Docker's daemon, with its data and its socket in a folder; it ends with the test.
pub struct DockerEngine {
    daemon: Child,
    folder: PathBuf,
}

impl DockerEngine {
    /// Starts the daemon; says why, and gives nothing, where that is not possible.
    pub fn start(folder: &Path) -> Option<Self> {
        let skip = |why: &str| {
            assert!(std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(), "{why}");
            println!("skipped: {why}");
        };
        let programs = ["/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd"];
        let Some(program) = programs.iter().find(|path| Path::new(path).exists()) else {
            skip("Docker's daemon is not installed");
            return None;
        };
        let log = std::fs::File::create(folder.join("engine.log")).unwrap();
        let mut daemon = Command::new(program)
            .arg("--data-root")
            .arg(folder.join("engine"))
            .arg("--exec-root")
            .arg(folder.join("engine-run"))
            .arg("--pidfile")
            .arg(folder.join("engine.pid"))
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .arg("--host")
            .arg(format!("unix://{}", folder.join("engine.sock").display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let began = Instant::now();
        let socket = folder.join("engine.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let over = daemon.try_wait().unwrap().is_some() || began.elapsed() > Duration::from_secs(60);
            if over {
                let _ = daemon.kill();
                let _ = daemon.wait();
                let log = std::fs::read_to_string(folder.join("engine.log")).unwrap_or_default();
                skip(&format!("Docker's daemon does not start:\n{log}"));
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self {
            daemon,
            folder: folder.to_owned(),
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("engine.sock")
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
    }
}
