//! The node: it starts a worker for every pod that the cluster places here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_client::{
    Api, Backoff, Change, Clock, Collection, Informer, InformerOptions, Jitter, Recorder, RecorderOptions,
};
use cluster_objects::{Object, Status};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::container::PodFolder;
use super::environment::Surroundings;
use super::eviction::{Guard, pressures_at_start};
use super::heartbeat::{Heartbeat, beat};
use super::images::ImageFetcher;
use super::measured::{BeatCounts, Beats};
use super::mounts::remove_folder;
use super::network::{NetworkFailure, PodNetwork};
use super::pod::Pod;
use super::pressure::{EvictionThresholds, Pressures};
use super::registration::{Machine, Registration};
use super::tasks;
use super::volumes;
use super::worker::{Eviction, Orders, Worker};
use crate::image::{ImageError, ImageStore};
use crate::runtime::{
    ContainerId, EmbeddedConfig, LogLimits, Runtime, RuntimeByClass, RuntimeChoice, RuntimeError, Sandbox,
    ShimCommand,
};

/// What a pod of a node that goes for good gets to stop.
const LAST_GRACE: Duration = Duration::from_secs(3);
/// Time for the API to take note that a node has stopped: nothing depends on it but how soon another place may have its name.
const GIVE_UP_TIMEOUT: Duration = Duration::from_millis(500);

/// How a node works, and where it keeps things.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Name of the node.
    pub name: String,
    /// Folder of its state; one node for a folder.
    pub root: PathBuf,
    /// Folder of the image store; may be shared with others.
    pub images: PathBuf,
    /// Folder of the logs of containers.
    pub logs: PathBuf,
    /// What makes the containers of pods without a runtime class.
    pub runtime: RuntimeChoice,
    /// The socket of the container engine; one is looked for where it is needed and not given.
    pub engine: Option<PathBuf>,
    /// How helper processes are started.
    pub shim: ShimCommand,
    /// Control group of its containers, as `/tug`; one node for a group.
    pub cgroup: String,
    /// Addresses of the machine, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Further labels of the node object.
    pub labels: BTreeMap<String, String>,
    /// Addresses of its pods, as `10.244.0.0/24`, for the node object.
    pub pod_cidr: Option<String>,
    /// Port at which servers reach the node's containers, for the node object.
    pub endpoint_port: Option<u16>,
    /// How often it says that it lives; a change is followed at once.
    pub heartbeat: watch::Receiver<Heartbeat>,
    /// Randomness of the time between signs of life.
    pub jitter: Jitter,
    /// Where the agent works, such as which folder on which machine: no other place may go by the node's name at the same
    /// time. Nothing where that is certain otherwise.
    pub place: Option<String>,
    /// Most pods.
    pub pods_max: u32,
    /// Most processes and threads of a container.
    pub container_pids_max: u64,
    /// How large logs may grow.
    pub log_limits: LogLimits,
    /// Waits between restarts of a container that ends, and between pulls of an image that fail.
    pub restart_backoff: Backoff,
    /// Waits between other tries.
    pub retry_backoff: Backoff,
    /// What a hook that follows the start of a container gets.
    pub hook_timeout: Duration,
    /// What the node keeps free.
    pub eviction: EvictionThresholds,
    /// How long the node is under pressure after it was last short of something.
    pub pressure_stays: Duration,
    /// Between two looks at what is left of memory and disk, and at what pods hold that have a limit.
    pub housekeeping: Duration,
}

impl NodeConfig {
    /// The usual configuration of a node of that name, with everything below one folder.
    pub fn new(name: &str, root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            name: name.to_owned(),
            images: root.join("images"),
            logs: root.join("logs"),
            root,
            runtime: RuntimeChoice::default(),
            engine: None,
            shim: ShimCommand::default(),
            cgroup: "/tug".to_owned(),
            addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
            labels: BTreeMap::new(),
            pod_cidr: None,
            endpoint_port: None,
            heartbeat: watch::channel(Heartbeat::default()).1,
            jitter: Jitter::none(),
            place: None,
            pods_max: 250,
            container_pids_max: 8192,
            log_limits: LogLimits::default(),
            restart_backoff: Backoff {
                initial: Duration::from_secs(10),
                max: Duration::from_secs(300),
            },
            retry_backoff: Backoff {
                initial: Duration::from_millis(250),
                max: Duration::from_secs(30),
            },
            hook_timeout: Duration::from_secs(600),
            eviction: EvictionThresholds::default(),
            pressure_stays: Duration::from_secs(300),
            housekeeping: Duration::from_secs(10),
        }
    }
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The image store cannot be opened.
    #[error("cannot open the image store")]
    Images(#[from] ImageError),
    /// The runtime cannot be opened.
    #[error("cannot open the container runtime")]
    Runtime(#[from] RuntimeError),
    /// The cluster refused the node.
    #[error("the cluster refused the node `{name}`: {status}")]
    Refused {
        /// Its name.
        name: String,
        /// What the cluster said.
        status: Status,
    },
    /// Another agent goes by the node's name.
    #[error("the agent of another place goes by the name of the node `{name}` (its lease is held by {by})")]
    Superseded {
        /// The name.
        name: String,
        /// Where the other works.
        by: String,
    },
    /// The network cannot be cleaned.
    #[error("cannot take pods that are gone off the network: {0}")]
    Network(#[from] NetworkFailure),
}

/// The agent of a node.
#[derive(Debug)]
pub struct Node;

/// A node that runs. Clones are the same node. It implements [`NodeStreams`](cluster_client::NodeStreams).
#[derive(Clone)]
pub struct NodeHandle {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    stop: CancellationToken,
    tasks: TaskTracker,
    ready: watch::Receiver<bool>,
    superseded: watch::Receiver<Option<String>>,
}

/// What all workers share.
pub(crate) struct Shared {
    pub config: NodeConfig,
    pub api: Arc<dyn Api>,
    pub runtime: Arc<dyn Runtime>,
    pub network: Arc<dyn PodNetwork>,
    pub images: ImageFetcher,
    pub recorder: Recorder,
    pub clock: Clock,
    pub machine: Machine,
    pub beats: Beats,
    /// The pressures that the node is under.
    pub pressures: watch::Sender<Pressures>,
    /// The turn to walk through what pods hold on disk.
    pub walking: Semaphore,
}

impl Node {
    /// Starts a node with the runtimes of its machine, on the current tokio runtime.
    ///
    /// It registers itself, takes over what runs from before, removes what belongs to no pod any more, and follows the
    /// pods that are placed on it. [`NodeHandle::ready`] tells when that is done.
    pub async fn start(
        config: NodeConfig,
        api: Arc<dyn Api>,
        network: Arc<dyn PodNetwork>,
    ) -> Result<NodeHandle, NodeError> {
        let embedded = EmbeddedConfig {
            root: config.root.join("run"),
            shim: config.shim.clone(),
            cgroup: config.cgroup.clone(),
        };
        let store = open_store(&config).await?;
        let (root, socket) = (config.root.join("engine"), config.engine.clone());
        let runtime = RuntimeByClass::open(config.runtime, embedded, root, socket, store.clone()).await?;
        Self::start_on(config, api, network, Arc::new(runtime), store).await
    }

    /// Starts a node with another runtime.
    pub async fn start_with(
        config: NodeConfig,
        api: Arc<dyn Api>,
        network: Arc<dyn PodNetwork>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<NodeHandle, NodeError> {
        let store = open_store(&config).await?;
        Self::start_on(config, api, network, runtime, store).await
    }

    async fn start_on(
        config: NodeConfig,
        api: Arc<dyn Api>,
        network: Arc<dyn PodNetwork>,
        runtime: Arc<dyn Runtime>,
        store: ImageStore,
    ) -> Result<NodeHandle, NodeError> {
        let clock = Clock::system();
        let options = RecorderOptions {
            component: "kubelet".to_owned(),
            host: config.name.clone(),
            ..RecorderOptions::default()
        };
        let shared = Arc::new(Shared {
            recorder: Recorder::start(api.clone(), clock.clone(), options),
            machine: Machine::look(config.addresses.clone(), &config.root),
            pressures: watch::Sender::new(pressures_at_start(&config, clock.now())),
            walking: Semaphore::new(1),
            images: ImageFetcher::new(store),
            config,
            api,
            runtime,
            network,
            clock,
            beats: Beats::default(),
        });
        let registration = shared.registration();
        let node = registration
            .register(
                &*shared.api,
                &shared.machine,
                &shared.image_list().await,
                *shared.pressures.borrow(),
                shared.clock.now(),
            )
            .await
            .map_err(|status| NodeError::Refused {
                name: shared.config.name.clone(),
                status,
            })?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (superseded_sender, superseded) = watch::channel(None);
        let beating = beat(
            shared.clone(),
            registration,
            node.uid().to_owned(),
            superseded_sender,
        );
        tasks.spawn(stop.clone().run_until_cancelled_owned(beating));
        let pods = Collection::all("v1", "pods");
        let options = InformerOptions {
            field_selector: format!("spec.nodeName={}", shared.config.name),
            ..InformerOptions::default()
        };
        let pods = Informer::start(shared.api.clone(), pods, options);
        let workers = Arc::new(Workers::new(shared.clone(), tasks.clone()));
        let guard = Guard::new(shared.clone(), workers.clone(), node);
        tasks.spawn(stop.clone().run_until_cancelled_owned(guard.run()));
        let (ready_sender, ready) = watch::channel(false);
        let following = follow(shared.clone(), workers.clone(), pods, ready_sender);
        tasks.spawn(stop.clone().run_until_cancelled_owned(following));
        Ok(NodeHandle {
            inner: Arc::new(Inner {
                shared,
                workers,
                stop,
                tasks,
                ready,
                superseded,
            }),
        })
    }
}

async fn open_store(config: &NodeConfig) -> Result<ImageStore, NodeError> {
    let images = config.images.clone();
    let opened = tokio::task::spawn_blocking(move || ImageStore::open(images)).await;
    Ok(opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
}

impl NodeHandle {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Waits until what ran before is taken over and pods are followed.
    pub async fn ready(&self) {
        let mut ready = self.inner.ready.clone();
        // The sender is gone only when the node has stopped.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Waits until the agent of another place goes by the node's name; gives which. This one gives no signs of life then.
    pub async fn superseded(&self) -> String {
        let mut superseded = self.inner.superseded.clone();
        match superseded.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(by)) => by.clone(),
            // The sender is gone: the node has stopped.
            _ => std::future::pending().await,
        }
    }

    /// Stops the agent. Containers go on running; the next agent on the same folder takes them over.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.workers.let_go();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        let shared = &self.inner.shared;
        if shared.config.place.is_some() {
            let registration = shared.registration();
            let giving_up = timeout(GIVE_UP_TIMEOUT, registration.give_up(&*shared.api));
            if !matches!(giving_up.await, Ok(Ok(()))) {
                tracing::debug!("the lease of the node is still held");
            }
        }
    }

    /// Stops the agent and then removes every pod from this machine, without asking the cluster: for a node that goes
    /// for good. What could not be removed is logged.
    pub async fn stop_pods(&self) {
        self.stop().await;
        let shared = &self.inner.shared;
        let sandboxes = shared.runtime.list().await.unwrap_or_default();
        futures::future::join_all(
            sandboxes
                .iter()
                .map(|sandbox| shared.remove_sandbox(sandbox, LAST_GRACE)),
        )
        .await;
    }

    /// Its signs of life since it was started.
    pub fn beats(&self) -> BeatCounts {
        self.inner.shared.beats.counts()
    }

    /// How many pods it looks after.
    pub fn pods(&self) -> usize {
        self.inner.workers.state().running.len()
    }

    /// The image store that the node uses.
    pub fn images(&self) -> &ImageStore {
        self.inner.shared.images.store()
    }
}

impl Shared {
    pub(crate) fn folder(&self, pod: &Pod) -> PodFolder {
        PodFolder::new(&self.config.root, &self.config.logs, pod)
    }

    pub(crate) fn surroundings(&self, pod_ips: &[IpAddr]) -> Surroundings {
        Surroundings {
            node_name: self.config.name.clone(),
            host_ip: self.machine.host_ip(),
            pod_ips: pod_ips.to_vec(),
            cpu_millis: self.machine.cpu_millis,
            memory_bytes: self.machine.memory_bytes,
        }
    }

    pub(crate) async fn containers_of(&self, pod_uid: &str) -> Vec<ContainerId> {
        let sandboxes = self.runtime.list().await.unwrap_or_default();
        let sandbox = sandboxes.into_iter().find(|sandbox| sandbox.spec.id == pod_uid);
        sandbox
            .into_iter()
            .flat_map(|sandbox| sandbox.containers)
            .map(|container| container.id)
            .collect()
    }

    fn registration(&self) -> Registration {
        Registration {
            name: self.config.name.clone(),
            labels: self.config.labels.clone(),
            pods_max: self.config.pods_max,
            pod_cidr: self.config.pod_cidr.clone(),
            endpoint_port: self.config.endpoint_port,
            eviction: self.config.eviction.clone(),
            runtime_version: self.runtime.version(),
            place: self.config.place.clone(),
        }
    }

    /// Names and sizes of the images here, for the node object.
    pub(super) async fn image_list(&self) -> Vec<(Vec<String>, u64)> {
        let store = self.images.store().clone();
        let listed = tokio::task::spawn_blocking(move || store.list()).await;
        let images = listed.ok().and_then(Result::ok).unwrap_or_default();
        images
            .into_iter()
            .map(|image| (vec![image.name], image.size))
            .collect()
    }

    /// Removes a sandbox whose pod is gone.
    async fn remove_sandbox(&self, sandbox: &Sandbox, grace: Duration) {
        let running = sandbox
            .containers
            .iter()
            .filter(|container| container.is_running());
        futures::future::join_all(running.map(|container| async {
            if let Err(error) = self.runtime.stop_container(&container.id, "SIGTERM", grace).await {
                tracing::warn!(container = %container.id, %error, "cannot stop");
            }
        }))
        .await;
        let spec = &sandbox.spec;
        let folders = vec![
            self.config.root.join("pods").join(&spec.id),
            self.config
                .logs
                .join(format!("{}_{}_{}", spec.namespace, spec.pod, spec.id)),
        ];
        if let Err(message) = tasks::remove_all(self, &spec.id, folders).await {
            tracing::warn!(
                pod = spec.pod,
                uid = spec.id,
                message,
                "cannot remove what is left of a pod"
            );
        }
    }
}

/// Takes over what runs, removes what belongs to nobody, and hands changes of pods to their workers.
async fn follow(shared: Arc<Shared>, workers: Arc<Workers>, pods: Informer, ready: watch::Sender<bool>) {
    pods.synced().await;
    let sandboxes = match shared.runtime.list().await {
        Ok(sandboxes) => sandboxes,
        Err(error) => {
            tracing::error!(%error, "cannot list what runs");
            return;
        }
    };
    let known: BTreeSet<String> = pods.list().iter().map(|pod| pod.uid().to_owned()).collect();
    let (found, lost): (Vec<Sandbox>, Vec<Sandbox>) = sandboxes
        .into_iter()
        .partition(|sandbox| known.contains(&sandbox.spec.id));
    futures::future::join_all(
        lost.iter()
            .map(|sandbox| shared.remove_sandbox(sandbox, LAST_GRACE)),
    )
    .await;
    clean_folders(&shared, &known).await;
    let kept: Vec<&str> = known.iter().map(String::as_str).collect();
    if let Err(error) = shared.network.retain(&kept).await {
        tracing::warn!(%error, "cannot take pods that are gone off the network");
    }
    workers.found(found);
    let handing = workers.clone();
    pods.add_handler(move |change| handing.hear(change));
    ready.send_replace(true);
    // The informer stops when it is dropped, so it is held here.
    std::future::pending::<()>().await;
    drop(pods);
}

/// Removes folders of pods that are gone.
async fn clean_folders(shared: &Shared, known: &BTreeSet<String>) {
    let (pods, logs) = (shared.config.root.join("pods"), shared.config.logs.clone());
    let known = known.clone();
    let store = shared.images.store().clone();
    let running: BTreeSet<String> = match shared.runtime.list().await {
        Ok(sandboxes) => {
            let containers = sandboxes.into_iter().flat_map(|sandbox| sandbox.containers);
            containers.map(|container| container.id.to_string()).collect()
        }
        Err(_) => return,
    };
    let cleaned = tokio::task::spawn_blocking(move || {
        let list = |folder: &PathBuf| -> Vec<PathBuf> {
            std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect()
        };
        let uid_of = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.rsplit('_').next().unwrap_or_default().to_owned()
        };
        for path in list(&pods)
            .into_iter()
            .chain(list(&logs))
            .filter(|path| !known.contains(&uid_of(path)))
        {
            if let Err(error) = remove_folder(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove what is left of a pod");
            }
        }
        // Leases of other users of the store have other names.
        if let Err(error) = store.release_all_but("", &running) {
            tracing::warn!(%error, "cannot give unused layers free");
        }
    });
    let _ = cleaned.await;
}

/// The workers by UID of their pod.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    state: Mutex<WorkersState>,
    /// Informers of what volumes are made of, started when the first pod needs them.
    sources: Mutex<BTreeMap<Source, Informer>>,
}

#[derive(Default)]
struct WorkersState {
    running: HashMap<String, Entry>,
    found: HashMap<String, Sandbox>,
    stopped: bool,
}

/// Resource, namespace and name of what a volume is made of.
type Source = (&'static str, String, String);

struct Entry {
    orders: watch::Sender<Orders>,
    namespace: String,
    config_maps: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl Entry {
    fn sources(&self) -> impl Iterator<Item = Source> {
        let of = |resource, names: &BTreeSet<String>| -> Vec<Source> {
            let source = |name: &String| (resource, self.namespace.clone(), name.clone());
            names.iter().map(source).collect()
        };
        let config_maps = of("configmaps", &self.config_maps).into_iter();
        config_maps.chain(of("secrets", &self.secrets))
    }
}

impl Workers {
    fn new(shared: Arc<Shared>, tasks: TaskTracker) -> Self {
        Self {
            shared,
            tasks,
            state: Mutex::default(),
            sources: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, WorkersState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, sandboxes: Vec<Sandbox>) {
        let by_uid = sandboxes
            .into_iter()
            .map(|sandbox| (sandbox.spec.id.clone(), sandbox));
        self.state().found.extend(by_uid);
    }

    /// Lets all workers end; what they look after goes on.
    fn let_go(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.running.clear();
    }

    /// Hands a change of a pod to its worker.
    fn hear(self: &Arc<Self>, change: &Change) {
        match change {
            Change::Added(object) | Change::Updated { new: object, .. } => self.put(object),
            Change::Deleted(object) => {
                if let Some(entry) = self.state().running.get(object.uid()) {
                    entry.orders.send_modify(|orders| orders.object = None);
                }
            }
        }
    }

    fn put(self: &Arc<Self>, object: &Arc<Object>) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        if let Some(entry) = state.running.get(object.uid()) {
            entry
                .orders
                .send_modify(|orders| orders.object = Some(object.clone()));
            return;
        }
        let pod = match Pod::read(object.clone()) {
            Ok(pod) => pod,
            Err(error) => {
                tracing::error!(pod = %object.key(), %error, "a pod that cannot be read is not run");
                return;
            }
        };
        let found = state.found.remove(object.uid());
        let (orders, receiver) = watch::channel(Orders {
            object: Some(object.clone()),
            ..Orders::default()
        });
        let (config_maps, secrets) = volumes::references(&pod);
        let needs_sources = !(config_maps.is_empty() && secrets.is_empty());
        let namespace = pod.namespace().to_owned();
        let uid = object.uid().to_owned();
        state.running.insert(
            uid.clone(),
            Entry {
                orders,
                namespace,
                config_maps,
                secrets,
            },
        );
        drop(state);
        if needs_sources {
            self.follow_sources();
        }
        let worker = Worker::new(self.shared.clone(), receiver, pod, found);
        let workers = self.clone();
        self.tasks.spawn(async move {
            worker.run().await;
            workers.state().running.remove(&uid);
            if needs_sources {
                workers.follow_sources();
            }
        });
    }

    /// The pods that have begun and not ended, and that were not told to go for others yet.
    pub(crate) fn staying_pods(&self) -> Vec<Pod> {
        let state = self.state();
        let stays = state.running.values().filter_map(|entry| {
            let orders = entry.orders.borrow();
            orders.object.clone().filter(|_| orders.eviction.is_none())
        });
        // One that has not begun has no status, and one that is held until the next look gets none.
        let is_here = |object: &Object| {
            let phase = object.text(&["status", "phase"]);
            object.at(&["status", "startTime"]).is_some() && !matches!(phase, Some("Succeeded" | "Failed"))
        };
        let objects: Vec<Arc<Object>> = stays.filter(|object| is_here(object)).collect();
        drop(state);
        // One that cannot be read now could be read before; its worker goes by that.
        objects
            .into_iter()
            .filter_map(|object| Pod::read(object).ok())
            .collect()
    }

    /// Tells a pod to go. Gives what is cancelled when it has left its room; `None` where there is no such pod.
    pub(crate) fn evict(&self, uid: &str, message: String) -> Option<CancellationToken> {
        let state = self.state();
        let entry = state.running.get(uid)?;
        let left = CancellationToken::new();
        let eviction = Eviction {
            message,
            left: left.clone(),
        };
        entry
            .orders
            .send_modify(|orders| orders.eviction = Some(eviction));
        Some(left)
    }

    /// Follows the config maps and secrets of the pods that run, each by its name, so that volumes made of them change
    /// with them.
    fn follow_sources(self: &Arc<Self>) {
        let state = self.state();
        let wanted: BTreeSet<Source> = state.running.values().flat_map(Entry::sources).collect();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        drop(state);
        sources.retain(|source, _| wanted.contains(source));
        for source in wanted {
            sources
                .entry(source)
                .or_insert_with_key(|(resource, namespace, name)| {
                    let options = InformerOptions {
                        field_selector: format!("metadata.name={name}"),
                        ..InformerOptions::default()
                    };
                    let collection = Collection::namespaced("v1", resource, namespace);
                    let informer = Informer::start(self.shared.api.clone(), collection, options);
                    let (workers, resource) = (Arc::downgrade(self), *resource);
                    informer.add_handler(move |change| {
                        // What was there at first is what the volumes were made of.
                        if let (Change::Updated { new, .. }, Some(workers)) = (change, workers.upgrade()) {
                            workers.refresh(resource, new);
                        }
                    });
                    informer
                });
        }
    }

    fn refresh(&self, resource: &str, object: &Object) {
        let state = self.state();
        for entry in state.running.values() {
            let names = if resource == "secrets" {
                &entry.secrets
            } else {
                &entry.config_maps
            };
            if object.namespace() == Some(entry.namespace.as_str()) && names.contains(object.name()) {
                entry.orders.send_modify(|orders| orders.refresh += 1);
            }
        }
    }
}
