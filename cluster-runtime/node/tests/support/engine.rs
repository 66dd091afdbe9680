//! A container engine of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An engine with its data and its socket in a folder; it ends with the test.
pub struct Engine {
    daemon: Child,
    folder: PathBuf,
}

const SOCKET: &str = "engine.sock";

fn skip(why: &str) {
    assert!(std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(), "{why}");
    println!("skipped: {why}");
}

fn installed(program: &str, what: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].iter();
    let found = folders
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists());
    if found.is_none() {
        skip(&format!("{what} is not installed"));
    }
    found
}

impl Engine {
    /// Starts Docker's daemon; says why, and gives nothing, where that is not possible.
    pub fn docker(folder: &Path) -> Option<Self> {
        let mut daemon = Command::new(installed("dockerd", "Docker's daemon")?);
        daemon
            .arg("--data-root")
            .arg(folder.join("engine"))
            .arg("--exec-root")
            .arg(folder.join("engine-run"))
            .arg("--pidfile")
            .arg(folder.join("engine.pid"))
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .arg("--host")
            .arg(format!("unix://{}", folder.join(SOCKET).display()));
        Self::start(daemon, folder)
    }

    /// Starts Podman's service, which speaks as Docker does; says why, and gives nothing, where that is not possible.
    pub fn podman(folder: &Path) -> Option<Self> {
        let mut daemon = Command::new(installed("podman", "Podman")?);
        // It asks for more open files than a test machine may allow.
        let most = |limit| rustix::process::getrlimit(limit).maximum.unwrap_or(1 << 20);
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile={0}:{0}\", \"nproc={1}:{1}\"]\n",
            most(rustix::process::Resource::Nofile).min(1 << 16),
            most(rustix::process::Resource::Nproc).min(1 << 12),
        );
        std::fs::write(folder.join("containers.conf"), settings).unwrap();
        daemon.env("CONTAINERS_CONF", folder.join("containers.conf"));
        for (option, name) in [
            ("--root", "engine"),
            ("--runroot", "engine-run"),
            ("--tmpdir", "engine-tmp"),
        ] {
            daemon.arg(option).arg(folder.join(name));
        }
        daemon
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"])
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", folder.join(SOCKET).display()));
        Self::start(daemon, folder)
    }

    fn start(mut daemon: Command, folder: &Path) -> Option<Self> {
        let log = std::fs::File::create(folder.join("engine.log")).unwrap();
        let mut daemon = daemon.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        let socket = folder.join(SOCKET);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let over = daemon.try_wait().unwrap().is_some() || began.elapsed() > Duration::from_secs(60);
            if over {
                let _ = daemon.kill();
                let _ = daemon.wait();
                let log = std::fs::read_to_string(folder.join("engine.log")).unwrap_or_default();
                skip(&format!("the engine does not start:\n{log}"));
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
        self.folder.join(SOCKET)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
        // It makes its data folder a mount, and leaves that behind.
        let _ = rustix::mount::unmount(self.folder.join("engine"), rustix::mount::UnmountFlags::DETACH);
    }
}
