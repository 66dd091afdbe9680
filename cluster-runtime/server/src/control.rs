//! Starting, stopping and asking after a server that runs in the background.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use cluster_network::Network;
use cluster_node::runtime::{EmbeddedConfig, EmbeddedRuntime, Runtime, RuntimeError, ShimCommand};
use nix::mount::{MntFlags, umount2};

use crate::ClusterDir;
use crate::dir::SettingsError;
use crate::handshake::shake_hands;
use crate::lock::{self, ServerProcess};
use crate::machine::{cgroup, network_config};
use crate::options::ClusterOptions;

/// What the server prints, alone on a line, once it is ready.
pub(crate) const READY: &str = "ready";
/// The hidden command by which the program runs as a server.
pub const SERVER_COMMAND: &str = "__server";
/// A server that is not ready by then is not going to be.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Pods get their own grace periods, and the server a little more.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// A server that is there answers at once, and a busy one soon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// What a process that was killed needs to be gone.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// What to do with pods when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopPods {
    /// They are stopped, and start again with the server.
    Stop,
    /// They go on running, and the next server takes them over.
    Keep,
}

/// A server that was found or made running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The server.
    pub process: ServerProcess,
    /// Whether it was started now.
    pub started: bool,
}

/// Why a server could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Containers, networks and mounts are made by root.
    #[error("the bundled cluster needs root rights to make containers and networks")]
    NotRoot,
    /// The data folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file of the data folder.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The server said why it did not start.
    #[error("the cluster did not start: {reason}")]
    Refused {
        /// Its words.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// The server ended or hung without a word.
    #[error("the cluster did not become ready")]
    NotReady {
        /// Its log.
        log: PathBuf,
    },
    /// The server does not stop.
    #[error("the cluster (process {pid}) did not stop within {} s", .after.as_secs())]
    StillRunning {
        /// Its process.
        pid: u32,
        /// How long it was waited for.
        after: Duration,
    },
    /// The process cannot be signalled.
    #[error("cannot stop process {pid}")]
    Signal {
        /// The process.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something of the cluster could not be removed from the host.
    #[error("cannot remove the cluster's {what} from this host")]
    Remove {
        /// Links or containers.
        what: &'static str,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The server of a folder, if one runs. Its `api` is `None` while it is starting.
pub fn running(dir: &ClusterDir) -> Result<Option<ServerProcess>, ControlError> {
    let path = dir.lock();
    lock::holder(&path).map_err(|source| ControlError::File { path, source })
}

/// Makes sure that a server runs: one that is there is waited for, else one is started in the background.
///
/// `program` is this program; it is run with the hidden command [`SERVER_COMMAND`], the folder and the options as
/// JSON, and must call [`serve`](crate::serve) with them. When this returns, the API answers and the kubeconfig is
/// written.
pub fn ensure_running(
    dir: &ClusterDir,
    options: &ClusterOptions,
    program: &Path,
) -> Result<Running, ControlError> {
    if let Some(process) = running(dir)?.filter(|process| process.api.is_some()) {
        if answers(dir, &process) {
            return Ok(Running {
                process,
                started: false,
            });
        }
        // A server that was killed holds its lock a little longer than its port.
        wait_until_gone(dir, process.pid, LAST_BREATH)?;
    }
    if !geteuid().is_root() {
        return Err(ControlError::NotRoot);
    }
    dir.create()?;
    let log = dir.log();
    let log_file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&log)
        .map_err(|source| ControlError::File {
            path: log.clone(),
            source,
        })?;
    let mut child = Command::new(program)
        .arg(SERVER_COMMAND)
        .arg(dir.path())
        .arg(serde_json::to_string(options).expect("options are texts and numbers"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .map_err(|source| ControlError::File {
            path: program.to_owned(),
            source,
        })?;
    let output = child.stdout.take().expect("it was asked for");
    match first_line(output, START_TIMEOUT).as_deref() {
        Some(READY) => {
            let process = running(dir)?.ok_or(ControlError::NotReady { log })?;
            Ok(Running {
                process,
                started: true,
            })
        }
        Some(reason) => {
            let reason = reason.to_owned();
            // It says why and ends; nothing more is to be learned from how.
            let _ = child.wait();
            Err(ControlError::Refused { reason, log })
        }
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(ControlError::NotReady { log })
        }
    }
}

/// The first line of a stream, unless it ends or takes too long.
fn first_line(stream: impl io::Read + Send + 'static, timeout: Duration) -> Option<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(stream).read_line(&mut line).is_ok() {
            // Nobody listens any more after the timeout.
            let _ = send.send(line.trim_end().to_owned());
        }
    });
    receive.recv_timeout(timeout).ok().filter(|line| !line.is_empty())
}

/// Stops the server of a folder and waits until it is gone. Says whether one was running.
pub fn stop(dir: &ClusterDir, pods: StopPods) -> Result<bool, ControlError> {
    let Some(process) = running(dir)? else {
        return Ok(false);
    };
    let pid = process.pid;
    let signal = match pods {
        StopPods::Stop => Signal::SIGUSR1,
        StopPods::Keep => Signal::SIGTERM,
    };
    let raw = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let target = raw.ok_or(ControlError::NotReady { log: dir.log() })?;
    match kill(Pid::from_raw(target), signal) {
        Ok(()) | Err(nix::Error::ESRCH) => {}
        Err(error) => {
            return Err(ControlError::Signal {
                pid,
                source: error.into(),
            });
        }
    }
    wait_until_gone(dir, pid, STOP_TIMEOUT)?;
    Ok(true)
}

/// Whether a server is there and alive.
fn answers(dir: &ClusterDir, process: &ServerProcess) -> bool {
    let address = process
        .api
        .as_deref()
        .and_then(|api| api.strip_prefix("https://")?.parse().ok());
    address.is_some_and(|address| shake_hands(address, &dir.pki(), ANSWER_TIMEOUT).is_ok())
}

/// Waits until nobody holds the lock of a folder.
fn wait_until_gone(dir: &ClusterDir, pid: u32, limit: Duration) -> Result<(), ControlError> {
    let path = dir.lock();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(lock::wait_until_free(&path)));
    match receive.recv_timeout(limit) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(ControlError::File {
            path: dir.lock(),
            source,
        }),
        Err(_) => Err(ControlError::StillRunning { pid, after: limit }),
    }
}

/// Stops the server, removes its pods and network from the host, and deletes the folder's contents.
///
/// Only what a cluster writes is deleted: a folder that also holds something else stays, with that in it.
/// The rules of the kernel are removed with `nft` of the options.
pub fn delete(dir: &ClusterDir, options: &ClusterOptions) -> Result<(), ControlError> {
    if !dir.is_initialised() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(ControlError::NotRoot);
    }
    stop(dir, StopPods::Stop)?;
    remove_from_host(dir, options)?;
    for name in ["store", "pki", "node", "network", "images", "volumes"] {
        let path = dir.path().join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ControlError::File { path, source: error });
            }
            _ => {}
        }
    }
    // The settings go last: until then, deleting can be repeated.
    for path in [
        dir.kubeconfig(),
        dir.log(),
        dir.lock(),
        dir.path().join("peers.json"),
        dir.path().join("cluster.json"),
    ] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ControlError::File { path, source: error });
            }
            _ => {}
        }
    }
    // Fails when something else is in it, which then stays.
    let _ = fs::remove_dir(dir.path());
    Ok(())
}

/// Removes what a stopped server leaves on the host for the next one: containers, mounts, links and rules.
fn remove_from_host(dir: &ClusterDir, options: &ClusterOptions) -> Result<(), ControlError> {
    let Some(settings) = dir.settings()? else {
        return Ok(());
    };
    fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: &'static str,
    ) -> impl Fn(E) -> ControlError {
        move |error| ControlError::Remove {
            what,
            source: error.into(),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("containers"))?;
    runtime
        .block_on(remove_containers(dir))
        .map_err(failed("containers"))?;
    unmount_below(dir.path()).map_err(failed("mounts"))?;
    let config = network_config(dir, &settings, options);
    runtime
        .block_on(Network::remove(&config))
        .map_err(failed("network"))
}

async fn remove_containers(dir: &ClusterDir) -> Result<(), RuntimeError> {
    let runtime = EmbeddedRuntime::open(EmbeddedConfig {
        root: dir.node().join("run"),
        shim: ShimCommand::default(),
        cgroup: cgroup(dir),
    })
    .await?;
    for sandbox in runtime.list().await? {
        runtime.remove_sandbox(&sandbox.spec.id).await?;
    }
    Ok(())
}

/// Unmounts everything that is mounted below a folder, the innermost first.
fn unmount_below(dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // The fifth field is the mount point (proc_pid_mountinfo(5)); ours have no characters that would be escaped.
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new);
    let mut ours: Vec<&Path> = points
        .filter(|point| point.starts_with(dir) && *point != dir)
        .collect();
    ours.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in ours {
        match umount2(point, MntFlags::MNT_DETACH) {
            // Gone with one that was unmounted before.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
