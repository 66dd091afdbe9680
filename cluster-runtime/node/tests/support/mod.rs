//! What the tests of this crate share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    reason = "each test file uses a part of it"
)]

pub mod archive;
pub mod conformance;
pub mod registry;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use cluster_node::image::{BUILTIN_IMAGE, Image, ImageStore};
use cluster_node::runtime::{
    ContainerId, ContainerSpec, EmbeddedConfig, EmbeddedRuntime, LogLimits, ProcessSpec, Resources,
    SandboxSpec, ShimCommand,
};

/// How long a test waits for what should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// Whether the test may make containers. Without root rights it says so, and fails where peers are required.
pub fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
        "this test needs root rights"
    );
    println!("skipped: needs root rights");
    false
}

/// A folder of its own for a runtime and a store, with a control group of its own.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub store: ImageStore,
    pub cgroup: String,
    has_small_disk: bool,
    _turn: Turn,
}

/// The right to make containers, which one test of a process has at a time: container starts of several tests at
/// the very same moment wait for each other in the kernel (mount namespaces, RCU) for longer than tests wait.
struct Turn;

static TAKEN: Mutex<bool> = Mutex::new(false);
static GIVEN_BACK: Condvar = Condvar::new();

impl Turn {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = GIVEN_BACK
            .wait_while(taken, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        GIVEN_BACK.notify_one();
    }
}

impl Lab {
    pub fn new() -> Self {
        Self::with_disk(None)
    }

    /// A lab on a disk of its own, which holds so much.
    pub fn on_small_disk(mebibytes: u32) -> Self {
        Self::with_disk(Some(mebibytes))
    }

    fn with_disk(mebibytes: Option<u32>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let turn = Turn::take();
        let dir = tempfile::tempdir().unwrap();
        if let Some(mebibytes) = mebibytes {
            let options = std::ffi::CString::new(format!("size={mebibytes}m,mode=0755")).unwrap();
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, options.as_c_str()).unwrap();
        }
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            dir,
            store,
            cgroup: format!("/tug-test-{}-{number}", std::process::id()),
            has_small_disk: mebibytes.is_some(),
            _turn: turn,
        }
    }

    pub fn config(&self) -> EmbeddedConfig {
        EmbeddedConfig {
            root: self.dir.path().join("run"),
            shim: ShimCommand {
                program: env!("CARGO_BIN_EXE_tug-shim").into(),
                args: Vec::new(),
            },
            cgroup: self.cgroup.clone(),
        }
    }

    pub async fn runtime(&self) -> EmbeddedRuntime {
        EmbeddedRuntime::open(self.config()).await.unwrap()
    }

    pub fn hello(&self) -> Image {
        self.store.resolve(BUILTIN_IMAGE).unwrap()
    }

    /// An image of Debian's static busybox, made into an OCI archive and loaded; says so where there is none.
    pub fn busybox(&self) -> Option<Image> {
        let program = ["/bin/busybox", "/usr/bin/busybox"]
            .iter()
            .find_map(|path| std::fs::read(path).ok());
        let Some(program) = program else {
            assert!(
                std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
                "this test needs busybox"
            );
            println!("skipped: needs the program busybox, linked statically");
            return None;
        };
        let tools = [
            "sh", "cat", "stty", "tar", "trap", "sleep", "seq", "id", "ls", "head", "wc", "kill", "ps",
            "stat", "touch",
        ];
        let mut items = vec![
            archive::folder("bin/"),
            archive::folder("tmp/"),
            archive::folder("etc/"),
        ];
        items.push(archive::Item {
            mode: 0o755,
            content: program,
            ..archive::file("bin/busybox", "")
        });
        items.extend(
            tools
                .iter()
                .map(|tool| archive::link(format!("bin/{tool}").leak(), "busybox")),
        );
        let layer = archive::layer(&items);
        let process = serde_json::json!({ "Env": ["PATH=/bin"], "Cmd": ["sh"] });
        let image = archive::parts(archive::gzip(&layer), &layer, &process);
        let loaded = self
            .store
            .load(archive::gzip(&archive::tar(&archive::oci(&image, "busybox:test"))).as_slice());
        assert_eq!(loaded.unwrap(), ["docker.io/library/busybox:test"]);
        Some(self.store.resolve("busybox:test").unwrap())
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    /// What the kernel still holds of this lab: mounts, control groups and processes.
    pub fn leaks(&self) -> Vec<String> {
        let mut found = Vec::new();
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        found.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&dir))
                .skip(usize::from(self.has_small_disk))
                .map(str::to_owned),
        );
        found.extend(groups_below(Path::new("/sys/fs/cgroup"), &self.cgroup));
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&dir) {
                found.push(line);
            }
        }
        found
    }
}

/// A test that failed leaves nothing either: shims are killed, containers die with them, mounts and groups go.
impl Drop for Lab {
    fn drop(&mut self) {
        let containers = self.config().root.join("containers");
        for entry in std::fs::read_dir(containers).into_iter().flatten().flatten() {
            if entry.path().join("exit.json").exists() {
                continue;
            }
            let pid = std::fs::read_to_string(entry.path().join("shim.lock")).unwrap_or_default();
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.dir.path())) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
        for group in groups_below(Path::new("/sys/fs/cgroup"), &self.cgroup)
            .iter()
            .rev()
        {
            let _ = std::fs::remove_dir(group);
        }
    }
}

fn groups_below(root: &Path, group: &str) -> Vec<String> {
    let trees = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found = Vec::new();
    for tree in trees.chain([root.to_owned()]) {
        let folder = tree.join(group.trim_start_matches('/'));
        if folder.is_dir() {
            found.push(folder.display().to_string());
        }
        for child in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if child.path().is_dir() {
                found.push(child.path().display().to_string());
            }
        }
    }
    found
}

pub fn sandbox(id: &str) -> SandboxSpec {
    SandboxSpec {
        id: id.into(),
        namespace: "default".into(),
        pod: id.into(),
        hostname: id.into(),
        ..SandboxSpec::default()
    }
}

pub fn container(sandbox: &str, name: &str, image: &Image, log: &Path, args: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: ContainerId::of(sandbox, name, 0),
        sandbox: sandbox.into(),
        processes_of: None,
        name: name.into(),
        attempt: 0,
        image: image.name.clone(),
        image_id: image.id.to_string(),
        image_config: Some(image.id.clone()),
        layers: image.layers.clone(),
        process: ProcessSpec {
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: image.config.config.env.clone(),
            ..ProcessSpec::default()
        },
        stop_signal: "SIGTERM".into(),
        mounts: Vec::new(),
        read_only_root: false,
        privileged: false,
        masked: true,
        seccomp: Default::default(),
        resources: Resources::default(),
        stdin: false,
        stdin_once: false,
        log: log.to_owned(),
        log_limits: LogLimits::default(),
    }
}

/// A cluster in memory with one node of ours.
pub struct Cluster {
    pub lab: Lab,
    pub api: std::sync::Arc<dyn cluster_client::Api>,
    pub node: cluster_node::NodeHandle,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_with(Lab::new(), |_| {}).await
    }

    /// Starts a node that is configured in another way.
    pub async fn start_with(lab: Lab, change: impl FnOnce(&mut cluster_node::NodeConfig)) -> Self {
        let api: std::sync::Arc<dyn cluster_client::Api> =
            std::sync::Arc::new(cluster_apiserver::LocalApi::in_memory().await.unwrap());
        let node = start_node_with(&lab, api.clone(), change).await;
        Self { lab, api, node }
    }

    pub async fn create(
        &self,
        resource: &str,
        object: serde_json::Value,
    ) -> std::sync::Arc<cluster_objects::Object> {
        let object = cluster_objects::Object::from_value(object).unwrap();
        let collection = cluster_client::Collection::namespaced("v1", resource, "default");
        self.api
            .create(&collection, object, &Default::default())
            .await
            .unwrap()
    }

    /// Creates a pod on the node.
    pub async fn pod(&self, name: &str, spec: serde_json::Value) -> std::sync::Arc<cluster_objects::Object> {
        let mut spec = spec;
        spec["nodeName"] = "n1".into();
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec,
        });
        self.create("pods", pod).await
    }

    /// Waits until a pod is as wanted, and gives it.
    pub async fn until(
        &self,
        name: &str,
        wanted: impl Fn(&cluster_objects::Object) -> bool,
    ) -> std::sync::Arc<cluster_objects::Object> {
        use futures::StreamExt;
        let options = cluster_client::WatchOptions {
            field_selector: format!("metadata.name={name}"),
            ..Default::default()
        };
        let collection = cluster_client::Collection::namespaced("v1", "pods", "default");
        let mut changes = self.api.watch(&collection, &options).await.unwrap();
        let mut last = None;
        let found = tokio::time::timeout(SOON, async {
            while let Some(change) = changes.next().await {
                if let cluster_client::WatchEvent::Added(pod) | cluster_client::WatchEvent::Modified(pod) =
                    change
                {
                    if wanted(&pod) {
                        return pod;
                    }
                    last = Some(pod);
                }
            }
            panic!("the watch ended");
        });
        match found.await {
            Ok(pod) => pod,
            Err(_) => {
                let status = last
                    .and_then(|pod| pod.at(&["status"]).cloned())
                    .unwrap_or_default();
                let events = self.events(name).await;
                panic!("{name} did not get there: {status:#}\n{events:#?}")
            }
        }
    }

    pub async fn until_ready(&self, name: &str) -> std::sync::Arc<cluster_objects::Object> {
        self.until(name, |pod| condition(pod, "Ready") == "True").await
    }

    /// Waits until the node is as wanted, and gives it.
    pub async fn until_node(
        &self,
        wanted: impl Fn(&cluster_objects::Object) -> bool,
    ) -> std::sync::Arc<cluster_objects::Object> {
        use futures::StreamExt;
        let collection = cluster_client::Collection::all("v1", "nodes");
        let mut changes = self.api.watch(&collection, &Default::default()).await.unwrap();
        let found = tokio::time::timeout(SOON, async {
            loop {
                let node = self.api.get(&collection.target("n1")).await.unwrap();
                if wanted(&node) {
                    return node;
                }
                changes.next().await.expect("the watch goes on");
            }
        });
        found.await.expect("the node did not get there")
    }

    /// Waits until a pod is gone.
    pub async fn until_gone(&self, name: &str) {
        use futures::StreamExt;
        let collection = cluster_client::Collection::namespaced("v1", "pods", "default");
        let options = cluster_client::WatchOptions {
            field_selector: format!("metadata.name={name}"),
            ..Default::default()
        };
        let mut changes = self.api.watch(&collection, &options).await.unwrap();
        let gone = tokio::time::timeout(SOON, async {
            loop {
                if self.api.get(&collection.target(name)).await.is_err() {
                    return;
                }
                changes.next().await.expect("the watch goes on");
            }
        });
        gone.await.unwrap_or_else(|_| panic!("{name} is still there"));
    }

    pub async fn delete(&self, name: &str) {
        let target = cluster_client::Target::namespaced("v1", "pods", "default", name);
        self.api.delete(&target, &Default::default()).await.unwrap();
        self.until_gone(name).await;
    }

    /// Reasons and messages of the events about a pod.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let collection = cluster_client::Collection::namespaced("v1", "events", "default");
        let list = self.api.list(&collection, &Default::default()).await.unwrap();
        let about = list
            .items
            .iter()
            .filter(|event| event.text(&["involvedObject", "name"]) == Some(name));
        let text =
            |event: &cluster_objects::Object, key: &str| event.text(&[key]).unwrap_or_default().to_owned();
        about
            .map(|event| (text(event, "reason"), text(event, "message")))
            .collect()
    }

    pub async fn until_event(&self, name: &str, reason: &str, part: &str) {
        use futures::StreamExt;
        let collection = cluster_client::Collection::namespaced("v1", "events", "default");
        let mut changes = self.api.watch(&collection, &Default::default()).await.unwrap();
        let found = tokio::time::timeout(SOON, async {
            loop {
                if self
                    .events(name)
                    .await
                    .iter()
                    .any(|(is, message)| is == reason && message.contains(part))
                {
                    return;
                }
                changes.next().await.expect("the watch goes on");
            }
        });
        if found.await.is_err() {
            panic!("no event {reason} with `{part}`: {:#?}", self.events(name).await);
        }
    }

    pub async fn finish(self) {
        self.node.stop_pods().await;
        assert_eq!(self.lab.leaks(), Vec::<String>::new());
    }
}

pub async fn start_node(lab: &Lab, api: std::sync::Arc<dyn cluster_client::Api>) -> cluster_node::NodeHandle {
    start_node_with(lab, api, |_| {}).await
}

async fn start_node_with(
    lab: &Lab,
    api: std::sync::Arc<dyn cluster_client::Api>,
    change: impl FnOnce(&mut cluster_node::NodeConfig),
) -> cluster_node::NodeHandle {
    let mut config = cluster_node::NodeConfig::new("n1", lab.dir.path());
    config.shim = lab.config().shim;
    config.cgroup = lab.cgroup.clone();
    // Enough for what tests do, and soon reached by a bomb.
    config.container_pids_max = 256;
    config.restart_backoff = cluster_client::Backoff {
        initial: Duration::from_millis(200),
        max: Duration::from_secs(2),
    };
    change(&mut config);
    let network = std::sync::Arc::new(cluster_node::LoopbackNetwork);
    let node = cluster_node::Node::start(config, api, network).await.unwrap();
    tokio::time::timeout(SOON, node.ready()).await.unwrap();
    node
}

pub fn condition<'a>(pod: &'a cluster_objects::Object, kind: &str) -> &'a str {
    let conditions = pod.list(&["status", "conditions"]);
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or_default()
}
