//! The embedded runtime, as the agent sees it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cluster_client::{ExecExit, ExecRequest, ExecSession, TerminalSize};
use jiff::Timestamp;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::api::{
    Container, ContainerExit, ContainerId, ContainerSpec, DiskUsage, MountSpec, NamespaceMode, Runtime,
    RuntimeError, Sandbox, SandboxSpec, Usage,
};
use super::super::entry::Entry;
use super::cgroup::Cgroups;
use super::family::kill_family;
use super::namespaces;
use super::paths::{EXIT, LOCK, SANDBOX, SHIM_LOG, SOCKET, SPEC, STARTED, ShortPath, read_json, write_json};
use super::processes::{Processes, holder, holder_id, is_shared, make_holder_root};
use super::protocol::{Answer, ExecAnswer, ExecCommand, Request, StartAnswer, Started, send};
use super::start::ShimSpec;
use super::streams::{ExecControl, Streams, attend_command, reader, resize_as_asked, writer};
use super::terminal::Terminal;
use crate::disk_usage::disk_usage;

const KILLED: i32 = 137;
const RESIZES_WAITING_MAX: usize = 8;
/// How long a shim may take to end when its container has ended.
const SHIMS_END_MAX: Duration = Duration::from_secs(10);
const SHIMS_END_PAUSE: Duration = Duration::from_millis(5);

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

struct Inner {
    config: EmbeddedConfig,
    cgroups: Cgroups,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
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
        let container = container_of(&spec, &started);
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

/// What is on disk when the runtime is opened; containers with whether their shim lives.
struct Found {
    sandboxes: Vec<Sandbox>,
    containers: Vec<(Container, bool)>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container_folder(&self, id: &ContainerId) -> PathBuf {
        self.config.root.join("containers").join(id.as_str())
    }

    fn sandbox_folder(&self, id: &str) -> PathBuf {
        self.config.root.join("sandboxes").join(id)
    }

    fn pod_cgroup(&self, sandbox: &str) -> String {
        format!("{}/pod{sandbox}", self.config.cgroup)
    }

    fn shim_cgroup(&self) -> String {
        format!("{}/shims", self.config.cgroup)
    }

    fn cgroup_of(&self, sandbox: &str, id: &ContainerId) -> String {
        format!("{}/{id}", self.pod_cgroup(sandbox))
    }

    // ---- sandboxes ----

    fn make_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let folder = self.sandbox_folder(&spec.id);
        let made = self.try_make_sandbox(&folder, spec);
        if made.is_err() {
            namespaces::remove(&folder);
            let _ = umount2(&folder.join("shm"), MntFlags::MNT_DETACH);
            let _ = fs::remove_dir_all(&folder);
        }
        made
    }

    fn try_make_sandbox(&self, folder: &Path, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let failed = |error: io::Error| RuntimeError::machine("make the sandbox", error);
        let shm = folder.join("shm");
        fs::create_dir_all(&shm).map_err(failed)?;
        namespaces::create(folder, &spec)?;
        if spec.ipc == NamespaceMode::Own {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(
                Some("shm"),
                &shm,
                Some("tmpfs"),
                flags,
                Some("mode=1777,size=65536k"),
            )
            .map_err(|errno| failed(errno.into()))?;
        }
        let own_network = spec.network == NamespaceMode::Own;
        let netns = own_network.then(|| namespaces::pins(folder)[0].clone());
        let sandbox = Sandbox {
            spec,
            created: Timestamp::now(),
            netns,
            containers: Vec::new(),
        };
        write_json(&folder.join(SANDBOX), &sandbox).map_err(failed)?;
        Ok(sandbox)
    }

    fn unmake_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let folder = self.sandbox_folder(id);
        if !folder.exists() {
            return Ok(());
        }
        namespaces::remove(&folder);
        let _ = umount2(&folder.join("shm"), MntFlags::MNT_DETACH);
        let failed = |error: io::Error| RuntimeError::machine("remove the sandbox", error);
        self.cgroups.remove(&self.pod_cgroup(id)).map_err(failed)?;
        remove_folder(&folder).map_err(failed)
    }

    // ---- shims ----

    fn spawn(&self, what: &str, folder: &Path, control: StdUnixStream) -> io::Result<Child> {
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

    async fn start_shim(
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
    fn watch(
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
    fn remove_remains(&self, sandbox: &str, id: &ContainerId) -> io::Result<()> {
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
    fn give_up(&self, sandbox: &str, id: &ContainerId) {
        if let Err(error) = self.cgroups.remove(&self.cgroup_of(sandbox, id)) {
            tracing::warn!(container = %id, %error, "the control group of a lost container stays");
        }
    }

    // ---- finding again ----

    fn find(&self) -> io::Result<Found> {
        let mut found = Found {
            sandboxes: Vec::new(),
            containers: Vec::new(),
        };
        for folder in folders(&self.config.root.join("sandboxes"))? {
            match read_json::<Sandbox>(&folder.join(SANDBOX)) {
                Ok(Some(sandbox)) if namespaces::are_kept(&folder, &sandbox.spec) => {
                    found.sandboxes.push(sandbox);
                }
                _ => {
                    let id = folder
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    if let Err(error) = self.unmake_sandbox(&id) {
                        tracing::warn!(sandbox = id, %error, "a half-made sandbox stays");
                    }
                }
            }
        }
        for folder in folders(&self.config.root.join("containers"))? {
            let known = |id: &str| found.sandboxes.iter().any(|sandbox| sandbox.spec.id == id);
            match self.find_container(&folder)? {
                Some((container, alive)) if alive || known(&container.sandbox) => {
                    found.containers.push((container, alive));
                }
                _ => fs::remove_dir_all(&folder)?,
            }
        }
        Ok(found)
    }

    /// What a folder says of its container; `None` when it never ran.
    fn find_container(&self, folder: &Path) -> io::Result<Option<(Container, bool)>> {
        let spec = read_json::<ShimSpec>(&folder.join(SPEC)).unwrap_or_default();
        let Some(spec) = spec else { return Ok(None) };
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))?;
        let tried = fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive);
        let mut alive = matches!(tried, Err(Errno::AGAIN | Errno::ACCESS));
        let mut started = read_json::<Started>(&folder.join(STARTED))?;
        if alive && started.is_none() {
            // The agent before this one ended while the container was being started. Nobody is told of it any more.
            let holder = fs::read_to_string(folder.join(LOCK))?;
            if let Ok(pid) = holder.trim().parse() {
                kill_family(pid);
            }
            fcntl_lock(&lock, FlockOperation::LockExclusive)?;
            alive = false;
            started = None;
        }
        let Some(started) = started else {
            self.give_up(&spec.container.sandbox, &spec.container.id);
            return Ok(None);
        };
        let mut container = container_of(&spec.container, &started);
        if !alive {
            container.exit = Some(bury(folder, &self.cgroups, &spec.cgroup));
        }
        Ok(Some((container, alive)))
    }
}

/// Sees to it that nothing is left of a container whose shim is gone, and gives its exit: what the shim wrote, or a
/// guess.
fn bury(folder: &Path, cgroups: &Cgroups, group: &str) -> ContainerExit {
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

async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let path = ShortPath::new(folder, SOCKET)?;
    UnixStream::connect(path.as_path()).await
}

fn container_of(spec: &ContainerSpec, started: &Started) -> Container {
    Container {
        id: spec.id.clone(),
        sandbox: spec.sandbox.clone(),
        name: spec.name.clone(),
        attempt: spec.attempt,
        image: spec.image.clone(),
        image_id: spec.image_id.clone(),
        stop_signal: spec.stop_signal.clone(),
        log: spec.log.clone(),
        started: started.started,
        pid: started.pid,
        exit: None,
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

/// Removes a folder, which somebody else may be doing too.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(parent)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
