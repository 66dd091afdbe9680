//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
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
}

impl Lab {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            dir,
            store,
            cgroup: format!("/tug-test-{}-{number}", std::process::id()),
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

fn groups_below(root: &Path, group: &str) -> Vec<String> {
    let trees = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found = Vec::new();
    for tree in trees.chain([root.to_owned()]) {
        let folder = tree.join(group.trim_start_matches('/'));
        for child in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            // The group of the shims stays; it is empty and shared.
            if child.path().is_dir() && child.file_name() != "shims" {
                found.push(child.path().display().to_string());
            }
        }
    }
    found
}

impl Drop for Lab {
    fn drop(&mut self) {
        let trees = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let group = tree.join(self.cgroup.trim_start_matches('/'));
            let _ = std::fs::remove_dir(group.join("shims"));
            let _ = std::fs::remove_dir(group);
        }
    }
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
        mounts: Vec::new(),
        read_only_root: false,
        privileged: false,
        masked: true,
        resources: Resources::default(),
        stdin: false,
        stdin_once: false,
        log: log.to_owned(),
        log_limits: LogLimits::default(),
    }
}
