//! The docker runtime, as the agent sees it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerState, ExecConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, RemoveContainerOptions, ResizeContainerTTYOptions, ResizeExecOptions,
    StartContainerOptions, StatsOptions,
};
use cluster_client::{ExecExit, ExecRequest, ExecSession, TerminalSize};
use futures::StreamExt;
use jiff::Timestamp;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot, watch};

use super::super::api::{
    Container, ContainerExit, ContainerId, ContainerSpec, DiskUsage, NamespaceMode, Runtime, RuntimeError,
    Sandbox, SandboxSpec, Usage,
};
use super::super::entry::Entry;
use super::super::sub_path;
use super::describe::{self, Kept, Names};
use super::engine::{Engine, exit_of, is_conflict, is_not_found, start_failure, words};
use super::follow::follow;
use super::images::EngineImages;
use super::streams::{EngineOutput, Writers, input, pipes};
use crate::image::{BUILTIN_IMAGE, Digest, ImageStore};

const RESIZES_WAITING_MAX: usize = 8;
/// The engine says that a command is over a moment after its streams have ended: so often it is asked again.
const EXIT_QUESTIONS_MAX: u32 = 50;
const EXIT_QUESTION_WAIT: Duration = Duration::from_millis(20);

/// Where the docker runtime keeps what is not in the engine, and which engine it uses.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// Folder of its state; one runtime for a folder. Its name is also the sign on everything in the engine.
    pub root: PathBuf,
    /// The socket that the engine listens on.
    pub socket: PathBuf,
    /// Where images come from.
    pub images: ImageStore,
}

/// Containers made by Docker or Podman. Clones share them.
#[derive(Clone)]
pub struct DockerRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    engine: Arc<Engine>,
    images: EngineImages,
    names: Names,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sandboxes: HashMap<String, Sandbox>,
    containers: HashMap<ContainerId, Entry>,
}

impl DockerRuntime {
    /// Connects to the engine and finds again what runs there. Must be called within a tokio runtime.
    ///
    /// What was left half-made is removed, and so is what has lost the container that holds its sandbox.
    pub async fn open(config: DockerConfig) -> Result<Self, RuntimeError> {
        let failed = |error| RuntimeError::machine("open the state of the runtime", error);
        fs::create_dir_all(&config.root).map_err(failed)?;
        let root = config.root.canonicalize().map_err(failed)?;
        let engine = Arc::new(Engine::connect(&config.socket).await?);
        let instance = Digest::of(root.as_os_str().as_encoded_bytes()).hex()[..12].to_owned();
        let inner = Arc::new(Inner {
            images: EngineImages::new(config.images, &instance),
            root,
            engine,
            names: Names { instance },
            state: Mutex::default(),
        });
        unpin(&inner.root.join("pinned"));
        inner.find().await?;
        inner.images.collect(&inner.engine).await;
        Ok(Self { inner })
    }

    fn entry(&self, id: &ContainerId) -> Result<Entry, RuntimeError> {
        let state = self.inner.state();
        let entry = state.containers.get(id).cloned();
        entry.ok_or_else(|| RuntimeError::no_container(id))
    }

    fn running(&self, id: &ContainerId) -> Result<Entry, RuntimeError> {
        self.entry(id)?.must_run()
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn version(&self) -> String {
        self.inner.engine.version.clone()
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let inner = self.inner.clone();
        unbroken(async move { inner.make_sandbox(spec).await }).await
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        let containers: Vec<ContainerId> = {
            let state = self.inner.state();
            let all = state.containers.values().map(|entry| &entry.container);
            all.filter(|container| container.sandbox == sandbox)
                .map(|container| container.id.clone())
                .collect()
        };
        let all = futures::future::join_all(containers.iter().map(|id| self.remove_container(id))).await;
        let failed = containers.iter().zip(all).filter(|(_, removed)| removed.is_err());
        // Podman keeps a container while others share something with it: now those are gone.
        futures::future::try_join_all(failed.map(|(id, _)| self.remove_container(id))).await?;
        self.inner.remove(&self.inner.names.sandbox(sandbox)).await?;
        self.inner.state().sandboxes.remove(sandbox);
        Ok(())
    }

    async fn start_container(&self, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        // In a task of its own: a caller that gives up must not leave a container that nobody knows.
        let inner = self.inner.clone();
        unbroken(async move { inner.start(spec).await }).await
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        signal: &str,
        grace: Duration,
    ) -> Result<ContainerExit, RuntimeError> {
        let mut entry = self.entry(id)?;
        if !grace.is_zero() && entry.is_running() {
            self.inner.signal(id, signal).await?;
            if let Ok(ended) = tokio::time::timeout(grace, entry.ended()).await {
                return ended;
            }
        }
        if entry.is_running() {
            self.inner.signal(id, "SIGKILL").await?;
        }
        entry.ended().await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        self.entry(id)?.ended().await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        if self.entry(id).is_err() {
            return Ok(());
        }
        self.stop_container(id, "SIGKILL", Duration::ZERO).await?;
        self.inner
            .remove(&self.inner.names.container(id.as_str()))
            .await?;
        self.inner.state().containers.remove(id);
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.running(id)?;
        let failed = |error| RuntimeError::machine("run the command", words(&error));
        let engine = &self.inner.engine;
        let config = ExecConfig {
            attach_stdin: Some(request.stdin),
            // Always: their end is the end of the command.
            attach_stdout: Some(true),
            attach_stderr: Some(!request.tty),
            tty: Some(request.tty),
            cmd: Some(request.command.clone()),
            ..ExecConfig::default()
        };
        let name = self.inner.names.container(id.as_str());
        let made = engine.docker.create_exec(&name, config).await.map_err(failed)?;
        let options = StartExecOptions {
            detach: false,
            tty: request.tty,
            output_capacity: None,
        };
        let started = engine
            .docker
            .start_exec(&made.id, Some(options))
            .await
            .map_err(failed)?;
        let StartExecResults::Attached { output, input: stdin } = started else {
            return Err(RuntimeError::machine("run the command", "the engine let it go"));
        };
        let (readers, writers) = pipes(request.stdout, request.stderr && !request.tty);
        let (sender, exit) = oneshot::channel();
        let resize = request.tty.then(|| {
            let (sizes, asked) = mpsc::channel(RESIZES_WAITING_MAX);
            tokio::spawn(resize_command(engine.clone(), made.id.clone(), asked));
            sizes
        });
        tokio::spawn(attend(engine.clone(), made.id, writers, output, sender));
        Ok(ExecSession {
            stdin: request.stdin.then(|| input(stdin)),
            stdout: readers.stdout,
            stderr: readers.stderr,
            resize,
            exit,
        })
    }

    async fn attach(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        let mut exit = self.running(id)?.exit;
        let engine = &self.inner.engine;
        let name = self.inner.names.container(id.as_str());
        let options = AttachContainerOptions {
            stream: true,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr && !request.tty,
            ..AttachContainerOptions::default()
        };
        let attached = engine.docker.attach_container(&name, Some(options)).await;
        let attached =
            attached.map_err(|error| RuntimeError::machine("attach to the container", words(&error)))?;
        let (readers, writers) = pipes(request.stdout, request.stderr && !request.tty);
        let resize = request.tty.then(|| {
            let (sizes, asked) = mpsc::channel(RESIZES_WAITING_MAX);
            tokio::spawn(resize_container(engine.clone(), name, asked));
            sizes
        });
        let (mut sender, told) = oneshot::channel();
        tokio::spawn(async move {
            let filled = async {
                writers.fill(attached.output).await;
                exit.wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|exit| exit.clone())
            };
            let ended = tokio::select! {
                ended = filled => ended,
                () = sender.closed() => None,
            };
            if let Some(ended) = ended {
                let _ = sender.send(ExecExit::Code(ended.code));
            }
        });
        Ok(ExecSession {
            stdin: request.stdin.then(|| input(attached.input)),
            stdout: readers.stdout,
            stderr: readers.stderr,
            resize,
            exit: told,
        })
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let state = self.inner.state();
        let mut sandboxes: Vec<Sandbox> = state.sandboxes.values().cloned().collect();
        for sandbox in &mut sandboxes {
            let inside = |entry: &&Entry| entry.container.sandbox == sandbox.spec.id;
            let containers = state.containers.values().filter(inside).map(Entry::now);
            sandbox.containers = containers.collect();
        }
        Ok(sandboxes)
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, RuntimeError> {
        self.running(id)?;
        let options = StatsOptions {
            stream: false,
            one_shot: true,
        };
        let name = self.inner.names.container(id.as_str());
        let mut stats = std::pin::pin!(self.inner.engine.docker.stats(&name, Some(options)));
        let Some(Ok(stats)) = stats.next().await else {
            return Err(RuntimeError::NotRunning { id: id.to_string() });
        };
        let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage);
        let memory = stats.memory_stats.unwrap_or_default();
        let used = memory.usage.unwrap_or(0);
        let details = memory.stats.unwrap_or_default();
        // The first name is that of the first version of control groups.
        let inactive = ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|key| details.get(*key));
        Ok(Usage {
            cpu_nanoseconds: cpu.unwrap_or(0),
            memory_bytes: used,
            working_set_bytes: used.saturating_sub(inactive.copied().unwrap_or(0)),
            pids: stats.pids_stats.and_then(|pids| pids.current).unwrap_or(0),
        })
    }

    async fn disk_usage(&self, id: &ContainerId) -> Result<DiskUsage, RuntimeError> {
        self.entry(id)?;
        let options = InspectContainerOptions { size: true };
        let name = self.inner.names.container(id.as_str());
        let found = self
            .inner
            .engine
            .docker
            .inspect_container(&name, Some(options))
            .await;
        let found = found.map_err(|error| RuntimeError::machine("measure the container", words(&error)))?;
        let bytes = found.size_rw.and_then(|bytes| u64::try_from(bytes).ok());
        Ok(DiskUsage {
            bytes: bytes.unwrap_or(0),
            inodes: 0,
        })
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- sandboxes ----

    async fn make_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let exists = |id: &str| RuntimeError::Exists {
            what: "sandbox",
            id: id.to_owned(),
        };
        if self.state().sandboxes.contains_key(&spec.id) {
            return Err(exists(&spec.id));
        }
        let store = self.images.store().clone();
        let builtin = tokio::task::spawn_blocking(move || store.resolve(BUILTIN_IMAGE)).await;
        let builtin = builtin
            .map_err(|error| error.to_string())
            .and_then(|found| found.map_err(|error| error.to_string()))
            .map_err(|reason| RuntimeError::machine("find the image of the sandbox", reason))?;
        let image = self.images.ensure(&self.engine, &builtin.id).await?;
        let name = self.names.sandbox(&spec.id);
        self.create(&name, describe::holder(&spec, &image, &self.names))
            .await
            .map_err(|error| match is_conflict(&error) {
                true => exists(&spec.id),
                false => RuntimeError::machine("make the sandbox", words(&error)),
            })?;
        match self.start_or_remove(&name).await {
            Ok(found) => {
                let sandbox = sandbox_of(spec, &found);
                self.state()
                    .sandboxes
                    .insert(sandbox.spec.id.clone(), sandbox.clone());
                Ok(sandbox)
            }
            Err(error) => Err(RuntimeError::machine("make the sandbox", words(&error))),
        }
    }

    // ---- containers ----

    async fn start(self: Arc<Self>, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        if spec.process.args.is_empty() {
            return Err(RuntimeError::Start {
                reason: "no command specified".to_owned(),
            });
        }
        let sandbox = {
            let state = self.state();
            if state.containers.contains_key(&spec.id) {
                return Err(RuntimeError::Exists {
                    what: "container",
                    id: spec.id.to_string(),
                });
            }
            let sandbox = state.sandboxes.get(&spec.sandbox).cloned();
            sandbox.ok_or_else(|| RuntimeError::no_sandbox(&spec.sandbox))?
        };
        let user = &spec.process.user;
        if user.groups_as_given && (user.uid.is_none() || user.gid.is_none()) {
            // An engine leaves out the groups of the image where both are given, and only then.
            return Err(RuntimeError::Unsupported {
                what: "`supplementalGroupsPolicy: Strict` without `runAsUser` and `runAsGroup`".to_owned(),
                runtime: "docker",
            });
        }
        self.require_holder(&sandbox.spec.id).await?;
        let config = spec
            .image_config
            .clone()
            .ok_or_else(|| RuntimeError::Unsupported {
                what: "a container without an image".to_owned(),
                runtime: "docker",
            })?;
        let image = self.images.ensure(&self.engine, &config).await?;
        let pinned = self.root.join("pinned").join(spec.id.as_str());
        let started = self.start_of(spec, &sandbox.spec, &image, &pinned).await;
        // The container holds what is mounted in it by itself.
        let _ = tokio::task::spawn_blocking(move || unpin(&pinned)).await;
        let (container, kept) = started?;
        let exit = self.watch(&kept);
        let entry = Entry {
            container: container.clone(),
            exit,
        };
        self.state().containers.insert(container.id.clone(), entry);
        Ok(container)
    }

    /// Sees to it that a sandbox is still held. An engine that was started anew has ended what held it, and nothing can
    /// join it any more: it is removed, so that it can be made again.
    async fn require_holder(&self, sandbox: &str) -> Result<(), RuntimeError> {
        let name = self.names.sandbox(sandbox);
        let state = match self.inspect(&name).await {
            Ok(found) => found.state.unwrap_or_default(),
            Err(error) if is_not_found(&error) => Default::default(),
            Err(error) => return Err(RuntimeError::machine("look at the sandbox", words(&error))),
        };
        if state.running == Some(true) {
            return Ok(());
        }
        let containers: Vec<ContainerId> = {
            let state = self.state();
            let all = state.containers.values().map(|entry| &entry.container);
            all.filter(|container| container.sandbox == sandbox)
                .map(|container| container.id.clone())
                .collect()
        };
        for id in containers {
            self.remove(&self.names.container(id.as_str())).await?;
            self.state().containers.remove(&id);
        }
        self.remove(&name).await?;
        self.state().sandboxes.remove(sandbox);
        Err(RuntimeError::no_sandbox(sandbox))
    }

    async fn start_of(
        &self,
        mut spec: ContainerSpec,
        sandbox: &SandboxSpec,
        image: &str,
        pinned: &Path,
    ) -> Result<(Container, Kept), RuntimeError> {
        for (number, one) in spec.mounts.iter_mut().enumerate() {
            let (source, target) = (one.source.join(&one.sub_path), one.target.clone());
            sub_path::pin(pinned, number, one).map_err(|error| RuntimeError::Start {
                reason: format!(
                    "cannot mount `{}` at `{}`: {error}",
                    source.display(),
                    target.display()
                ),
            })?;
        }
        let mut container = spec.running(Timestamp::now(), 0);
        let kept = Kept {
            container: container.clone(),
            log_limits: spec.log_limits,
            tty: spec.process.tty,
        };
        let name = self.names.container(spec.id.as_str());
        let body = describe::container(&spec, sandbox, image, &self.names, &kept);
        if let Err(error) = self.create(&name, body).await {
            return Err(match is_conflict(&error) {
                true => RuntimeError::Exists {
                    what: "container",
                    id: spec.id.to_string(),
                },
                false => start_failure(&error),
            });
        }
        match self.start_or_remove(&name).await {
            Ok(found) => {
                let state = found.state.unwrap_or_default();
                container.pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
                if let Some(time) = state.started_at.and_then(|text| text.parse().ok()) {
                    container.started = time;
                }
                Ok((container, kept))
            }
            Err(error) => Err(start_failure(&error)),
        }
    }

    /// Starts what was created, and tells what it is; what does not start is removed.
    async fn start_or_remove(&self, name: &str) -> Result<ContainerInspectResponse, bollard::errors::Error> {
        let started = async {
            let options = None::<StartContainerOptions>;
            self.engine.docker.start_container(name, options).await?;
            self.inspect(name).await
        };
        let outcome = started.await;
        if outcome.is_err() {
            let _ = self.remove(name).await;
        }
        outcome
    }

    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), bollard::errors::Error> {
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        self.engine
            .docker
            .create_container(Some(options), body)
            .await
            .map(drop)
    }

    async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse, bollard::errors::Error> {
        self.engine
            .docker
            .inspect_container(name, None::<InspectContainerOptions>)
            .await
    }

    /// Kills and removes a container with its volumes; one that is not there is no error.
    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            ..RemoveContainerOptions::default()
        };
        match self.engine.docker.remove_container(name, Some(options)).await {
            // Refused where somebody else removes it already.
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => {
                Err(RuntimeError::machine("remove the container", words(&error)))
            }
            _ => Ok(()),
        }
    }

    async fn signal(&self, id: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptions {
            signal: signal.to_owned(),
        };
        let name = self.names.container(id.as_str());
        match self.engine.docker.kill_container(&name, Some(options)).await {
            // It ends at this moment.
            Ok(()) => Ok(()),
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(()),
            Err(error) if words(&error).to_ascii_lowercase().contains("invalid signal") => {
                Err(RuntimeError::Unsupported {
                    what: format!("the signal `{signal}`"),
                    runtime: "docker",
                })
            }
            Err(error) => Err(RuntimeError::machine(
                "send a signal to the container",
                words(&error),
            )),
        }
    }

    fn watch(&self, kept: &Kept) -> watch::Receiver<Option<ContainerExit>> {
        let (sender, exit) = watch::channel(None);
        let container = &kept.container;
        let following = follow(
            self.engine.clone(),
            self.names.container(container.id.as_str()),
            container.log.clone(),
            kept.log_limits,
        );
        tokio::spawn(async move {
            let ended = following.await;
            sender.send_replace(Some(ended));
        });
        exit
    }

    // ---- finding again ----

    async fn find(self: &Arc<Self>) -> Result<(), RuntimeError> {
        let failed = |error| RuntimeError::machine("list what the engine runs", words(&error));
        let options = ListContainersOptions {
            all: true,
            filters: Some(describe::filter(&self.names)),
            ..ListContainersOptions::default()
        };
        let listed = self
            .engine
            .docker
            .list_containers(Some(options))
            .await
            .map_err(failed)?;
        let mut containers = Vec::new();
        for summary in listed {
            let (Some(name), labels) = (summary.id, summary.labels.unwrap_or_default()) else {
                continue;
            };
            let found = match self.inspect(&name).await {
                Ok(found) => found,
                Err(error) if is_not_found(&error) => continue,
                Err(error) => return Err(failed(error)),
            };
            let runs = found
                .state
                .as_ref()
                .is_some_and(|state| state.running == Some(true));
            let spec = labels
                .get(describe::SANDBOX)
                .and_then(|text| serde_json::from_str(text).ok());
            let kept = labels
                .get(describe::CONTAINER)
                .and_then(|text| serde_json::from_str(text).ok());
            match (spec, kept) {
                (Some(spec), _) if runs => {
                    let sandbox = sandbox_of(spec, &found);
                    self.state().sandboxes.insert(sandbox.spec.id.clone(), sandbox);
                }
                (None, Some(kept)) => containers.push((name, kept, found)),
                _ => self.remove(&name).await?,
            }
        }
        for (name, kept, found) in containers {
            let state = found.state.unwrap_or_default();
            let began = state
                .started_at
                .as_deref()
                .and_then(|text| text.parse::<Timestamp>().ok());
            // An engine says the beginning of time of a container that was made and never started.
            let began = began.filter(|time| time.as_second() > 0);
            let is_held = |kept: &Kept| self.state().sandboxes.contains_key(&kept.container.sandbox);
            match began {
                Some(began) if is_held(&kept) => self.adopt(kept, began, &state),
                _ => self.remove(&name).await?,
            }
        }
        Ok(())
    }

    fn adopt(&self, kept: Kept, began: Timestamp, state: &ContainerState) {
        // Also of one that has ended: its last words may have come while nobody wrote them down.
        let watched = self.watch(&kept);
        let mut container = kept.container;
        container.started = began;
        let exit = if state.running == Some(true) {
            container.pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
            watched
        } else {
            container.exit = Some(exit_of(state));
            watch::channel(container.exit.clone()).1
        };
        self.state()
            .containers
            .insert(container.id.clone(), Entry { container, exit });
    }
}

/// What an engine shows of the container that holds a sandbox.
fn sandbox_of(spec: SandboxSpec, found: &ContainerInspectResponse) -> Sandbox {
    let pid = found.state.as_ref().and_then(|state| state.pid).unwrap_or(0);
    let pinned = found
        .network_settings
        .as_ref()
        .and_then(|network| network.sandbox_key.clone());
    let netns = pinned
        .filter(|path| !path.is_empty() && Path::new(path).exists())
        .map_or_else(|| PathBuf::from(format!("/proc/{pid}/ns/net")), PathBuf::from);
    Sandbox {
        netns: (spec.network != NamespaceMode::Host).then_some(netns),
        spec,
        created: Timestamp::now(),
        containers: Vec::new(),
    }
}

/// Does something to its end, also when the caller gives up.
async fn unbroken<T: Send + 'static>(
    work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(RuntimeError::machine("speak to the engine", error)))
}

/// Takes the mounts below a folder away, and the folder: what a start needs only until the container has it.
fn unpin(folder: &Path) {
    let inner = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in inner.map(|entry| entry.path()) {
        if umount2(&path, MntFlags::MNT_DETACH).is_err() && path.is_dir() {
            unpin(&path);
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// Hands the output of a command on, and tells its end. A command that nobody wants any more is killed.
async fn attend(
    engine: Arc<Engine>,
    command: String,
    writers: Writers,
    output: EngineOutput,
    mut sender: oneshot::Sender<ExecExit>,
) {
    let filled = tokio::select! {
        () = writers.fill(output) => true,
        () = sender.closed() => false,
    };
    if !filled {
        // The engine's API has no way to end a command, but it tells its process.
        if let Ok(found) = engine.docker.inspect_exec(&command).await
            && found.running == Some(true)
            && let Some(pid) = found
                .pid
                .and_then(|pid| i32::try_from(pid).ok())
                .filter(|pid| *pid > 1)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        return;
    }
    for _ in 0..EXIT_QUESTIONS_MAX {
        match engine.docker.inspect_exec(&command).await {
            Ok(found) if found.running == Some(true) => tokio::time::sleep(EXIT_QUESTION_WAIT).await,
            Ok(found) => {
                let code = found.exit_code.and_then(|code| i32::try_from(code).ok());
                let _ = sender.send(ExecExit::Code(code.unwrap_or(-1)));
                return;
            }
            Err(error) => {
                let _ = sender.send(ExecExit::Failed(words(&error)));
                return;
            }
        }
    }
    let _ = sender.send(ExecExit::Failed(
        "the command closed its streams and runs on".to_owned(),
    ));
}

async fn resize_command(engine: Arc<Engine>, command: String, mut asked: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = asked.recv().await {
        let options = ResizeExecOptions {
            h: size.height.into(),
            w: size.width.into(),
        };
        let _ = engine.docker.resize_exec(&command, options).await;
    }
}

async fn resize_container(engine: Arc<Engine>, name: String, mut asked: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = asked.recv().await {
        let options = ResizeContainerTTYOptions {
            h: size.height.into(),
            w: size.width.into(),
        };
        let _ = engine.docker.resize_container_tty(&name, options).await;
    }
}
