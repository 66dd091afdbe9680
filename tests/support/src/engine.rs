//! Container engines of a test's own.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::peers::{peer, skip};

const LIMIT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(50);
const SOCKET: &str = "engine.sock";

/// A running engine with its data and its socket in a folder; it ends with this, which has to be before the folder goes.
pub struct Engine {
    daemon: Child,
    folder: PathBuf,
}

impl Engine {
    /// What Docker's daemon is told so that it leaves networks alone.
    pub const NO_NETWORKS: &[&str] = &["--bridge", "none", "--iptables=false", "--ip6tables=false"];

    /// Starts Docker's daemon in the network of a laboratory, as [`Engine::docker`] does.
    pub fn docker_in(lab: &Lab, options: &'static [&str]) -> Option<Self> {
        let folder = lab.folder().to_owned();
        lab.inside(move || Self::docker(&folder, options))
    }

    /// Starts Docker's daemon, with options besides those of its folders. `None`, with a word, where that is not possible.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn docker(folder: &Path, options: &[&str]) -> Option<Self> {
        let mut daemon = Command::new(Self::installed("dockerd", "Docker's engine")?);
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        daemon
            .env("PATH", path)
            .arg("--data-root")
            .arg(folder.join("engine"))
            .arg("--exec-root")
            .arg(folder.join("engine-run"))
            .arg("--pidfile")
            .arg(folder.join("engine.pid"))
            .arg("--host")
            .arg(format!("unix://{}", folder.join(SOCKET).display()))
            .args(options);
        Self::start(daemon, folder)
    }

    /// Starts Podman's service, which speaks as Docker does. `None`, with a word, where that is not possible.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn podman(folder: &Path) -> Option<Self> {
        let mut daemon = Command::new(Self::installed("podman", "Podman")?);
        // It asks for more open files than a test machine may allow.
        let most = |limit| getrlimit(limit).map_or(1 << 20, |(_, most)| most);
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile={0}:{0}\", \"nproc={1}:{1}\"]\n",
            most(Resource::RLIMIT_NOFILE).min(1 << 16),
            most(Resource::RLIMIT_NPROC).min(1 << 12),
        );
        fs::write(folder.join("containers.conf"), settings).expect("the folder can be written");
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

    fn installed(program: &str, what: &str) -> Option<PathBuf> {
        let found = peer(program);
        if found.is_none() {
            skip(&format!("{what} is not installed"));
        }
        found
    }

    fn start(mut daemon: Command, folder: &Path) -> Option<Self> {
        let log = folder.join("engine.log");
        let errors = File::create(&log).expect("the folder can be written");
        let daemon = daemon.stdout(Stdio::null()).stderr(errors).spawn();
        let mut engine = Self {
            daemon: daemon.expect("the engine can be run"),
            folder: folder.to_owned(),
        };
        let began = Instant::now();
        while UnixStream::connect(engine.socket()).is_err() {
            if !matches!(engine.daemon.try_wait(), Ok(None)) || began.elapsed() > LIMIT {
                let said = fs::read_to_string(&log).unwrap_or_default();
                skip(&format!("the engine does not start:\n{said}"));
                return None;
            }
            thread::sleep(INTERVAL);
        }
        Some(engine)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// The same, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if matches!(self.daemon.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.daemon.id().cast_signed()), Signal::SIGTERM);
            let _ = self.daemon.wait();
        }
        // It makes its data folder a mount, and leaves that behind.
        let _ = umount2(&self.folder.join("engine"), MntFlags::MNT_DETACH);
    }
}
