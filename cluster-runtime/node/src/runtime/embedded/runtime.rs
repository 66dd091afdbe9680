//! The embedded runtime, as the agent sees it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{ExecExit, ExecRequest, ExecSession, TerminalSize};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::api::{
    Container, ContainerExit, ContainerId, ContainerSpec, DiskUsage, NamespaceMode, Runtime, RuntimeError,
    Sandbox, SandboxSpec, Usage,
};
use super::super::entry::Entry;
use super::cgroup::Cgroups;
use super::paths::{STARTED, read_json};
use super::processes::{Processes, holder, holder_id, is_shared, make_holder_root};
use super::protocol::{Answer, ExecAnswer, ExecCommand, Request, Started, send};
use super::shims::connect;
use super::streams::{ExecControl, Streams, attend_command, reader, resize_as_asked, writer};
use super::terminal::Terminal;
use crate::disk_usage::disk_usage;

const RESIZES_WAITING_MAX: usize = 8;

/// Where the embedded runtime keeps its state, and how it starts helpers.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Folder of its state; one runtime for a folder.
    pub root: PathBuf,
    /// How a shim is started.
    pub shim: ShimCommand,
    /// Control group that holds those of the containers, as `/tug`. Two runtimes need two.
    pub cgroup: String,
}

/// How a shim is started: the arguments of [`shim_main`](super::shim_main) are put behind these.
#[derive(Clone, Debug)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub args: Vec<OsString>,
}

/// Containers with nothing but a Linux kernel.
#[derive(Clone)]
pub struct EmbeddedRuntime {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: EmbeddedConfig,
    pub(super) cgroups: Cgroups,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    sandboxes: HashMap<String, Sandbox>,
    containers: HashMap<ContainerId, Entry>,
}

impl Default for ShimCommand {
    /// This program itself, with the hidden subcommand `__shim`.
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            args: vec!["__shim".into()],
        }
    }
}

impl EmbeddedRuntime {
    /// Opens the runtime on its folder and finds again what runs there. Must be called within a tokio runtime.
    ///
    /// What was left half-made is removed: a container whose shim is gone is killed and counts as ended.
    pub async fn open(config: EmbeddedConfig) -> Result<Self, RuntimeError> {
        let failed = |error: io::Error| RuntimeError::machine("open the state of the runtime", error);
        if !rustix::process::geteuid().is_root() {
            let what = "running without root rights".to_owned();
            return Err(RuntimeError::Unsupported {
                what,
                runtime: "embedded",
            });
        }
        for folder in ["sandboxes", "containers"] {
            fs::create_dir_all(config.root.join(folder)).map_err(failed)?;
        }
        let cgroups = Cgroups::detect().map_err(failed)?;
        let runtime = Self {
            inner: Arc::new(Inner {
                config,
                cgroups,
                state: Mutex::default(),
            }),
        };
        let finding = runtime.clone();
        let found = blocking(move || finding.inner.find()).await.map_err(failed)?;
        let mut state = runtime.inner.state();
        for sandbox in found.sandboxes {
            state.sandboxes.insert(sandbox.spec.id.clone(), sandbox);
        }
        for (container, alive) in found.containers {
            let folder = runtime.inner.container_folder(&container.id);
            let exit = container.exit.clone();
            let id = container.id.clone();
            let exit = if alive {
                runtime.inner.watch(&id, &container.sandbox, folder, None)
            } else {
                watch::channel(exit).1
            };
            state.containers.insert(id, Entry { container, exit });
        }
        drop(state);
        Ok(runtime)
    }

    fn entry(&self, id: &ContainerId) -> Result<Entry, RuntimeError> {
        self.inner
            .state()
            .containers
            .get(id)
            .cloned()
            .ok_or_else(|| RuntimeError::no_container(id))
    }

    /// Asks the shim of a container for something that is answered at once.
    async fn ask(&self, id: &ContainerId, request: &Request) -> Result<(), RuntimeError> {
        let not_running = |_| RuntimeError::NotRunning { id: id.to_string() };
        let stream = connect(&self.inner.container_folder(id))
            .await
            .map_err(not_running)?;
        send(&stream, request, &[]).map_err(not_running)?;
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .await
            .map_err(not_running)?;
        match serde_json::from_str(&line) {
            Ok(Answer::Done | Answer::Exited(_)) => Ok(()),
            Ok(Answer::Failed(reason)) => Err(RuntimeError::machine("reach the container", reason)),
            Err(_) => Err(RuntimeError::NotRunning { id: id.to_string() }),
        }
    }

    async fn make(self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        if self.inner.state().sandboxes.contains_key(&spec.id) {
            return Err(RuntimeError::Exists {
                what: "sandbox",
                id: spec.id,
            });
        }
        let inner = self.inner.clone();
        let sandbox = blocking(move || inner.make_sandbox(spec)).await?;
        self.inner
            .state()
            .sandboxes
            .insert(sandbox.spec.id.clone(), sandbox.clone());
        if sandbox.spec.pid == NamespaceMode::Shared
            && let Err(error) = self.start_holder(sandbox.spec.clone()).await
        {
            self.remove_sandbox(&sandbox.spec.id).await?;
            return Err(error);
        }
        Ok(sandbox)
    }

    /// Starts the container that holds the processes of a sandbox.
    async fn start_holder(&self, sandbox: SandboxSpec) -> Result<(), RuntimeError> {
        let failed = |error: io::Error| RuntimeError::machine("make the sandbox", error);
        let root = make_holder_root(&self.inner.config.root).map_err(failed)?;
        let spec = holder(&sandbox, root, &self.inner.sandbox_folder(&sandbox.id));
        self.start_container(spec).await.map(drop)
    }

    /// Whose processes a container shall see. A sandbox whose holder has ended is of no use any more: it is removed,
    /// and has to be made again.
    async fn processes(
        &self,
        sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<Processes, RuntimeError> {
        let other = match sandbox.pid {
            NamespaceMode::Host => return Ok(Processes::Host),
            NamespaceMode::Shared if is_shared(sandbox, spec) => holder_id(&sandbox.id),
            NamespaceMode::Shared => return Ok(Processes::Own),
            NamespaceMode::Own => match &spec.processes_of {
                None => return Ok(Processes::Own),
                Some(target) => target.clone(),
            },
        };
        let entry = self.entry(&other).and_then(Entry::must_run);
        let started = read_json::<Started>(&self.inner.container_folder(&other).join(STARTED));
        match (entry, started) {
            (Ok(_), Ok(Some(started))) => Ok(Processes::of(&started)),
            (Err(error), _) if sandbox.pid == NamespaceMode::Own => Err(error),
            (_, Err(error)) => Err(RuntimeError::machine("join the processes", error)),
            _ => {
                self.remove_sandbox(&sandbox.id).await?;
                Err(RuntimeError::no_sandbox(&sandbox.id))
            }
        }
    }

    async fn start(self, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        if spec.process.args.is_empty() {
            return Err(RuntimeError::Start {
                reason: "no command specified".to_owned(),
            });
        }
        let sandbox = {
            let state = self.inner.state();
            if state.containers.contains_key(&spec.id) {
                return Err(RuntimeError::Exists {
                    what: "container",
                    id: spec.id.to_string(),
                });
            }
            let sandbox = state.sandboxes.get(&spec.sandbox);
            sandbox
                .cloned()
                .ok_or_else(|| RuntimeError::no_sandbox(&spec.sandbox))?
        };
        let folder = self.inner.container_folder(&spec.id);
        let processes = self.processes(&sandbox.spec, &spec).await?;
        let started = self
            .inner
            .start_shim(&folder, &spec, sandbox.spec, processes)
            .await;
        let (started, child) = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                return Err(error);
            }
        };
        let container = spec.running(started.started, started.pid);
        let exit = self.inner.watch(&spec.id, &spec.sandbox, folder, Some(child));
        self.inner.state().containers.insert(
            spec.id,
            Entry {
                container: container.clone(),
                exit,
            },
        );
        Ok(container)
    }
}

#[async_trait]
impl Runtime for EmbeddedRuntime {
    fn version(&self) -> String {
        format!("tug://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        // In a task of its own: a caller that gives up must not leave a sandbox that nobody knows.
        let making = tokio::spawn(self.clone().make(spec));
        making
            .await
            .unwrap_or_else(|error| Err(RuntimeError::machine("make the sandbox", error)))
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        let containers: Vec<ContainerId> = {
            let state = self.inner.state();
            let all = state
                .containers
                .values()
                .filter(|entry| entry.container.sandbox == sandbox);
            all.map(|entry| entry.container.id.clone()).collect()
        };
        futures::future::try_join_all(containers.iter().map(|id| self.remove_container(id))).await?;
        let inner = self.inner.clone();
        let id = sandbox.to_owned();
        blocking(move || inner.unmake_sandbox(&id)).await?;
        let is_last = {
            let mut state = self.inner.state();
            state.sandboxes.remove(sandbox);
            state.sandboxes.is_empty()
        };
        if is_last {
            let inner = self.inner.clone();
            blocking(move || {
                let is_of_use = || !inner.state().sandboxes.is_empty();
                inner.cgroups.remove_if_empty(&inner.shim_cgroup(), is_of_use);
                inner.cgroups.remove_if_empty(&inner.config.cgroup, is_of_use);
            })
            .await;
        }
        Ok(())
    }

    async fn start_container(&self, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        // In a task of its own: a caller that gives up must not leave a container that nobody knows.
        let starting = tokio::spawn(self.clone().start(spec));
        starting
            .await
            .unwrap_or_else(|error| Err(RuntimeError::machine("start the container", error)))
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        signal: &str,
        grace: Duration,
    ) -> Result<ContainerExit, RuntimeError> {
        let mut entry = self.entry(id)?;
        if !grace.is_zero() && entry.is_running() {
            match self.ask(id, &Request::Signal(signal_number(signal)?)).await {
                // It ends at this moment.
                Ok(()) | Err(RuntimeError::NotRunning { .. } | RuntimeError::Machine { .. }) => {}
                Err(error) => return Err(error),
            }
            if let Ok(ended) = tokio::time::timeout(grace, entry.ended()).await {
                return ended;
            }
        }
        if entry.is_running() && self.ask(id, &Request::Kill).await.is_err() {
            // The shim does not answer; its end is seen by the watch.
            self.inner
                .cgroups
                .kill(&self.inner.cgroup_of(&entry.container.sandbox, id));
        }
        entry.ended().await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        self.entry(id)?.ended().await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok(entry) = self.entry(id) else { return Ok(()) };
        self.stop_container(id, "SIGKILL", Duration::ZERO).await?;
        let inner = self.inner.clone();
        let (sandbox, own) = (entry.container.sandbox, id.clone());
        blocking(move || inner.remove_remains(&sandbox, &own))
            .await
            .map_err(|error| RuntimeError::machine("remove the container", error))?;
        self.inner.state().containers.remove(id);
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.entry(id)?.must_run()?;
        let failed = |error: io::Error| RuntimeError::machine("run the command", error);
        let folder = self.inner.container_folder(id);
        let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
        let child = self.inner.spawn("exec", &folder, theirs).map_err(failed)?;
        let streams = if request.tty {
            Streams::default()
        } else {
            Streams::new(request).map_err(failed)?
        };
        let command = ExecCommand {
            args: request.command.clone(),
            tty: request.tty,
        };
        let nowhere = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(failed)?;
        let theirs = streams
            .theirs
            .iter()
            .map(|file| file.as_ref().map_or(nowhere.as_fd(), AsFd::as_fd));
        let theirs: Vec<BorrowedFd<'_>> = if request.tty { Vec::new() } else { theirs.collect() };
        send(&ours, &command, &theirs).map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let mut control = ExecControl::new(ours).map_err(failed)?;
        let (exit_sender, exit) = oneshot::channel();
        let terminal = match control.receive().await.map_err(failed)? {
            Some((ExecAnswer::Running, files)) => files.into_iter().next(),
            Some((ExecAnswer::Failed(reason), _)) => {
                let _ = exit_sender.send(ExecExit::Failed(reason));
                return Ok(ExecSession {
                    stdin: None,
                    stdout: None,
                    stderr: None,
                    resize: None,
                    exit,
                });
            }
            _ => return Err(RuntimeError::NotRunning { id: id.to_string() }),
        };
        let mut session = ExecSession {
            stdin: None,
            stdout: None,
            stderr: None,
            resize: None,
            exit,
        };
        if let Some(terminal) = terminal {
            let terminal = Terminal::new(terminal).map_err(failed)?;
            let (sizes, asked) = mpsc::channel(RESIZES_WAITING_MAX);
            tokio::spawn(resize_as_asked(terminal.clone(), asked));
            session.stdin = request.stdin.then(|| Box::pin(terminal.clone()) as _);
            session.stdout = Some(Box::pin(terminal));
            session.resize = Some(sizes);
        } else {
            let [stdin, stdout, stderr] = streams.ours;
            session.stdin = stdin.map(writer).transpose().map_err(failed)?;
            session.stdout = stdout.map(reader).transpose().map_err(failed)?;
            session.stderr = stderr.map(reader).transpose().map_err(failed)?;
        }
        tokio::spawn(attend_command(control, child, exit_sender));
        Ok(session)
    }

    async fn attach(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        let not_running = |_| RuntimeError::NotRunning { id: id.to_string() };
        let failed = |error: io::Error| RuntimeError::machine("attach to the container", error);
        let stream = connect(&self.inner.container_folder(id))
            .await
            .map_err(not_running)?;
        let streams = Streams::new(request).map_err(failed)?;
        let [stdin, stdout, stderr] = &streams.theirs;
        let asked = Request::Attach {
            stdin: stdin.is_some(),
            stdout: stdout.is_some(),
            stderr: stderr.is_some(),
        };
        let files: Vec<BorrowedFd<'_>> = streams.theirs.iter().flatten().map(AsFd::as_fd).collect();
        send(&stream, &asked, &files).map_err(failed)?;
        let [stdin, stdout, stderr] = streams.ours;
        let (exit_sender, exit) = oneshot::channel();
        let (sizes, mut asked) = mpsc::channel::<TerminalSize>(RESIZES_WAITING_MAX);
        let session = ExecSession {
            stdin: stdin.map(writer).transpose().map_err(failed)?,
            stdout: stdout.map(reader).transpose().map_err(failed)?,
            stderr: stderr.map(reader).transpose().map_err(failed)?,
            resize: Some(sizes),
            exit,
        };
        tokio::spawn(async move {
            let (from, to) = stream.into_split();
            let mut lines = BufReader::new(from).lines();
            let mut exit_sender = exit_sender;
            loop {
                tokio::select! {
                    line = lines.next_line() => match line {
                        Ok(Some(line)) => if let Ok(Answer::Exited(exit)) = serde_json::from_str(&line) {
                            let _ = exit_sender.send(ExecExit::Code(exit.code));
                            return;
                        },
                        _ => return,
                    },
                    Some(size) = asked.recv() => {
                        let _ = send(to.as_ref(), &Request::Resize(size.into()), &[]);
                    }
                    // Nobody listens any more: hang up.
                    () = exit_sender.closed() => return,
                }
            }
        });
        Ok(session)
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let state = self.inner.state();
        let mut sandboxes: Vec<Sandbox> = state.sandboxes.values().cloned().collect();
        for sandbox in &mut sandboxes {
            let containers = state
                .containers
                .values()
                .filter(|entry| entry.container.sandbox == sandbox.spec.id)
                .filter(|entry| entry.container.id != holder_id(&sandbox.spec.id));
            sandbox.containers = containers.map(Entry::now).collect();
            sandbox
                .containers
                .sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
        }
        sandboxes.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        Ok(sandboxes)
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, RuntimeError> {
        let entry = self.entry(id)?.must_run()?;
        let group = self.inner.cgroup_of(&entry.container.sandbox, id);
        self.inner
            .cgroups
            .usage(&group)
            .map_err(|error| RuntimeError::machine("measure the container", error))
    }

    async fn disk_usage(&self, id: &ContainerId) -> Result<DiskUsage, RuntimeError> {
        self.entry(id)?;
        let upper = self.inner.container_folder(id).join("upper");
        Ok(blocking(move || disk_usage(&upper)).await)
    }
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn container_folder(&self, id: &ContainerId) -> PathBuf {
        self.config.root.join("containers").join(id.as_str())
    }

    pub(super) fn sandbox_folder(&self, id: &str) -> PathBuf {
        self.config.root.join("sandboxes").join(id)
    }

    pub(super) fn pod_cgroup(&self, sandbox: &str) -> String {
        format!("{}/pod{sandbox}", self.config.cgroup)
    }

    pub(super) fn shim_cgroup(&self) -> String {
        format!("{}/shims", self.config.cgroup)
    }

    pub(super) fn cgroup_of(&self, sandbox: &str, id: &ContainerId) -> String {
        format!("{}/{id}", self.pod_cgroup(sandbox))
    }
}

/// The number of a signal: `SIGTERM`, `TERM` or `15`.
fn signal_number(text: &str) -> Result<i32, RuntimeError> {
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    let named = Signal::from_str(&full).ok().map(|signal| signal as i32);
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    named.or(number).ok_or_else(|| RuntimeError::Unsupported {
        what: format!("the signal `{text}`"),
        runtime: "embedded",
    })
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
