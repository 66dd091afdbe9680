//! The shims of containers, as the agent sees them: started, watched, and cleaned up after.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::super::api::{
    ContainerExit, ContainerId, ContainerSpec, MountSpec, NamespaceMode, RuntimeError, SandboxSpec,
};
use super::cgroup::Cgroups;
use super::paths::{EXIT, SHIM_LOG, SOCKET, SPEC, ShortPath, read_json, remove_folder, write_json};
use super::processes::Processes;
use super::protocol::{Answer, Request, StartAnswer, Started, send};
use super::runtime::{Inner, blocking};
use super::start::ShimSpec;

const KILLED: i32 = 137;
/// How long a shim may take to end when its container has ended.
const SHIMS_END_MAX: Duration = Duration::from_secs(10);
const SHIMS_END_PAUSE: Duration = Duration::from_millis(5);

impl Inner {
    pub(super) fn spawn(&self, what: &str, folder: &Path, control: StdUnixStream) -> io::Result<Child> {
        let errors = File::options()
            .create(true)
            .append(true)
            .open(folder.join(SHIM_LOG))?;
        // The shim and what it forks hold the lock until they have ended or have become the command.
        errors.try_lock_shared()?;
        Command::new(&self.config.shim.program)
            .args(&self.config.shim.args)
            .arg(what)
            .arg(folder)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(control)))
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
    }

    pub(super) async fn start_shim(
        &self,
        folder: &Path,
        spec: &ContainerSpec,
        sandbox: SandboxSpec,
        processes: Processes,
    ) -> Result<(Started, Child), RuntimeError> {
        let failed = |error: io::Error| RuntimeError::machine("start the shim", error);
        fs::create_dir_all(folder).map_err(failed)?;
        let sandbox_folder = self.sandbox_folder(&sandbox.id);
        let mut container = spec.clone();
        if !container
            .mounts
            .iter()
            .any(|mount| mount.target == Path::new("/dev/shm"))
        {
            let own = sandbox.ipc == NamespaceMode::Own;
            container.mounts.push(MountSpec {
                source: if own {
                    sandbox_folder.join("shm")
                } else {
                    "/dev/shm".into()
                },
                target: "/dev/shm".into(),
                ..MountSpec::default()
            });
        }
        let shim_spec = ShimSpec {
            cgroup: self.cgroup_of(&spec.sandbox, &spec.id),
            shim_cgroup: self.shim_cgroup(),
            container,
            sandbox,
            sandbox_folder,
            processes,
        };
        write_json(&folder.join(SPEC), &shim_spec).map_err(failed)?;
        let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
        let mut child = self.spawn("run", folder, theirs).map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let mut line = String::new();
        let reading = UnixStream::from_std(ours).map_err(failed)?;
        BufReader::new(reading)
            .read_line(&mut line)
            .await
            .map_err(failed)?;
        match serde_json::from_str(&line) {
            Ok(StartAnswer::Started(started)) => Ok((started, child)),
            Ok(StartAnswer::Failed(reason)) => {
                let _ = child.wait().await;
                Err(RuntimeError::Start { reason })
            }
            Err(_) => {
                let status = child.wait().await.map_err(failed)?;
                let said = fs::read_to_string(folder.join(SHIM_LOG)).unwrap_or_default();
                self.give_up(&spec.sandbox, &spec.id);
                Err(RuntimeError::machine(
                    "start the container",
                    format!("the shim ended ({status}) {said}"),
                ))
            }
        }
    }

    /// Watches a container whose shim lives.
    pub(super) fn watch(
        self: &Arc<Self>,
        id: &ContainerId,
        sandbox: &str,
        folder: PathBuf,
        child: Option<Child>,
    ) -> watch::Receiver<Option<ContainerExit>> {
        let (sender, exit) = watch::channel(None);
        let (cgroups, group) = (self.cgroups.clone(), self.cgroup_of(sandbox, id));
        tokio::spawn(async move {
            let exit = watch_shim(&folder).await;
            if let Some(mut child) = child {
                let _ = child.wait().await;
            }
            let exit = match exit {
                Some(exit) => exit,
                None => blocking(move || bury(&folder, &cgroups, &group)).await,
            };
            sender.send_replace(Some(exit));
        });
        exit
    }

    /// Removes what is left of a container that has ended.
    ///
    /// A command whose start began before the end makes the control group of the container anew when it joins it:
    /// such commands are ended first, and the lock keeps others out.
    pub(super) fn remove_remains(&self, sandbox: &str, id: &ContainerId) -> io::Result<()> {
        let folder = self.container_folder(id);
        let lock = match File::options().append(true).open(folder.join(SHIM_LOG)) {
            Ok(lock) => lock,
            // Somebody else is removing it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return remove_folder(&folder),
            Err(error) => return Err(error),
        };
        let group = self.cgroup_of(sandbox, id);
        let until = Instant::now() + SHIMS_END_MAX;
        while let Err(error) = lock.try_lock() {
            if Instant::now() > until {
                return Err(error.into());
            }
            self.cgroups.kill(&group);
            thread::sleep(SHIMS_END_PAUSE);
        }
        self.cgroups.remove(&group)?;
        remove_folder(&folder)
    }

    /// Removes what a shim left that is gone.
    pub(super) fn give_up(&self, sandbox: &str, id: &ContainerId) {
        if let Err(error) = self.cgroups.remove(&self.cgroup_of(sandbox, id)) {
            tracing::warn!(container = %id, %error, "the control group of a lost container stays");
        }
    }
}

/// Sees to it that nothing is left of a container whose shim is gone, and gives its exit: what the shim wrote, or a
/// guess.
pub(super) fn bury(folder: &Path, cgroups: &Cgroups, group: &str) -> ContainerExit {
    if let Err(error) = cgroups.remove(group) {
        tracing::warn!(group, %error, "a control group stays");
    }
    if let Ok(Some(exit)) = read_json(&folder.join(EXIT)) {
        return exit;
    }
    let exit = ContainerExit {
        code: KILLED,
        signal: None,
        oom_killed: false,
        finished: Timestamp::now(),
        unseen: true,
    };
    if let Err(error) = write_json(&folder.join(EXIT), &exit) {
        tracing::warn!(folder = %folder.display(), %error, "the exit of a lost container is not written down");
    }
    exit
}

/// Waits until the shim is gone; gives what it said about the end of its container.
async fn watch_shim(folder: &Path) -> Option<ContainerExit> {
    let stream = connect(folder).await.ok()?;
    send(&stream, &Request::Watch, &[]).ok()?;
    let mut lines = BufReader::new(stream).lines();
    let mut told = None;
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(Answer::Exited(exit)) = serde_json::from_str(&line) {
            told = Some(exit);
        }
    }
    told
}

pub(super) async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let path = ShortPath::new(folder, SOCKET)?;
    UnixStream::connect(path.as_path()).await
}
