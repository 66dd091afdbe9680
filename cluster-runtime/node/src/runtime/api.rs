//! What a runtime offers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{ExecRequest, ExecSession};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::Digest;

/// Makes sandboxes and containers, and remembers them when the agent does not.
///
/// A sandbox is what the containers of a pod share. Containers outlive the process that started them: a runtime that
/// is opened again on the same folder knows them all.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version, as a node reports them: `tug://0.1.0`.
    fn version(&self) -> String;

    /// Makes a sandbox.
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError>;

    /// Kills and removes everything of a sandbox. One that is not there is no error.
    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError>;

    /// Creates and starts a container.
    async fn start_container(&self, spec: ContainerSpec) -> Result<Container, RuntimeError>;

    /// Asks a container to stop, and kills it when the grace period is over. Returns when it has ended; one that has
    /// ended already is no error.
    async fn stop_container(
        &self,
        id: &ContainerId,
        signal: &str,
        grace: Duration,
    ) -> Result<ContainerExit, RuntimeError>;

    /// Waits until a container has ended.
    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError>;

    /// Removes a container, killing it first where it runs. Its log stays. One that is not there is no error.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Runs a command in a running container.
    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError>;

    /// Joins the streams of a container's main process.
    async fn attach(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError>;

    /// All sandboxes with their containers.
    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError>;

    /// What a running container uses.
    async fn usage(&self, id: &ContainerId) -> Result<Usage, RuntimeError>;

    /// What the writable layer of a container holds on disk, whether it runs or has ended; a layer in memory holds
    /// nothing there. It is found by walking, so it is asked for seldom.
    async fn disk_usage(&self, id: &ContainerId) -> Result<DiskUsage, RuntimeError>;
}

/// Why a runtime refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No such sandbox or container.
    #[error("no {what} `{id}`")]
    NotFound {
        /// A sandbox or a container.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A sandbox or container of that id is there.
    #[error("the {what} `{id}` is there already")]
    Exists {
        /// A sandbox or a container.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The container has ended or was never started.
    #[error("the container `{id}` is not running")]
    NotRunning {
        /// Its id.
        id: String,
    },
    /// The container could not be started; the specification or the image is at fault.
    #[error("{reason}")]
    Start {
        /// What is wrong.
        reason: String,
    },
    /// The specification asks for what this runtime does not do.
    #[error("{what} is not supported by the {runtime} runtime")]
    Unsupported {
        /// What was asked.
        what: String,
        /// Which runtime.
        runtime: &'static str,
    },
    /// The machine refused.
    #[error("cannot {action}: {reason}")]
    Machine {
        /// What was tried.
        action: String,
        /// What the kernel or a helper said.
        reason: String,
    },
}

/// Name of a container, unique on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

/// Whose a linux namespace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Own,
    /// One for all containers of the sandbox; of processes, which each container has for itself otherwise.
    Shared,
    /// The machine's.
    Host,
}

/// What the containers of a pod share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxSpec {
    /// The pod's UID: the id of the sandbox.
    pub id: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Host name that its containers see.
    pub hostname: String,
    /// Network.
    pub network: NamespaceMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceMode,
    /// Processes: each container's own, one namespace for all of them, or the machine's.
    pub pid: NamespaceMode,
    /// Kernel parameters of the namespaces.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Which runtime is wanted, where there are several; empty for the usual one.
    #[serde(default)]
    pub runtime: String,
}

/// A sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// What it was made from.
    pub spec: SandboxSpec,
    /// When it was made.
    pub created: Timestamp,
    /// The file that pins its network namespace; absent where it is the machine's.
    pub netns: Option<PathBuf>,
    /// Its containers.
    #[serde(default)]
    pub containers: Vec<Container>,
}

/// A container to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSpec {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox that it is in.
    pub sandbox: String,
    /// The running container of the sandbox whose processes it sees, where each has its own.
    #[serde(default)]
    pub processes_of: Option<ContainerId>,
    /// Its name in the pod.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
    /// Name of the image, as the pod has it.
    pub image: String,
    /// Identity of the image, as `docker.io/library/nginx@sha256:...`.
    pub image_id: String,
    /// Digest of the image's configuration.
    pub image_config: Option<Digest>,
    /// Folders of the image's layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// Its process.
    pub process: ProcessSpec,
    /// The signal that asks it to stop, as `SIGTERM`.
    pub stop_signal: String,
    /// What it sees of the machine's files.
    pub mounts: Vec<MountSpec>,
    /// Whether its root is read-only.
    pub read_only_root: bool,
    /// Whether it may do what the machine may.
    pub privileged: bool,
    /// Whether the sensitive parts of `/proc` are hidden.
    pub masked: bool,
    /// Which system calls it may make.
    #[serde(default)]
    pub seccomp: SeccompProfile,
    /// Its share of the machine.
    pub resources: Resources,
    /// Whether its input stays open for clients to attach.
    pub stdin: bool,
    /// Whether its input closes when the first client leaves.
    pub stdin_once: bool,
    /// The file for its output, in the format of the container runtime interface.
    pub log: PathBuf,
    /// How large its log may grow.
    pub log_limits: LogLimits,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SeccompProfile {
    /// All.
    #[default]
    Unconfined,
    /// Those that an ordinary program needs.
    RuntimeDefault,
    /// As a profile says, in the format of the OCI runtime specification.
    Profile(serde_json::Value),
}

/// A process of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory; made where it is missing.
    pub cwd: String,
    /// Who it runs as.
    pub user: UserSpec,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Capabilities to add to the default set: `NET_ADMIN`, `ALL`.
    pub capabilities_add: Vec<String>,
    /// Capabilities to take away.
    pub capabilities_drop: Vec<String>,
    /// Whether set-user-id programs gain nothing.
    pub no_new_privileges: bool,
}

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// What the image says: `user`, `user:group`, names or numbers; looked up in the image's own files.
    pub image_user: String,
    /// The user, before what the image says.
    pub uid: Option<u32>,
    /// The group, before what the image says.
    pub gid: Option<u32>,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether the image's own groups of the user are left out.
    #[serde(default)]
    pub groups_as_given: bool,
}

/// A file or folder of the machine that a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountSpec {
    /// Where it is on the machine.
    pub source: PathBuf,
    /// A path below the source, resolved with the source as its root; empty for the source itself.
    #[serde(default)]
    pub sub_path: String,
    /// Where the container sees it.
    pub target: PathBuf,
    /// Whether it can only be read.
    pub read_only: bool,
    /// `rprivate`, `rslave` or `rshared`; empty is private.
    #[serde(default)]
    pub propagation: String,
}

/// Limits of a container; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Weight among others, 1024 a processor.
    pub cpu_shares: u64,
    /// Thousandths of a processor.
    pub cpu_limit_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids_max: u64,
    /// How early the kernel kills it when memory is short, -1000 to 1000.
    pub oom_score_adjust: i32,
}

/// How large a log may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLimits {
    /// Bytes of one file.
    pub bytes_max: u64,
    /// Files, with the one being written.
    pub files_max: u32,
}

/// A container that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox that it is in.
    pub sandbox: String,
    /// Its name in the pod.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
    /// Name of the image.
    pub image: String,
    /// Identity of the image.
    pub image_id: String,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// The file of its output.
    pub log: PathBuf,
    /// When its process began.
    pub started: Timestamp,
    /// Its first process, as the machine numbers it; 0 when it has ended.
    pub pid: i32,
    /// How it ended; absent while it runs.
    pub exit: Option<ContainerExit>,
}

/// Whether a container runs, for those who watch it.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    /// It runs.
    Running,
    /// It has ended.
    Exited(ContainerExit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerExit {
    /// Its exit code; 128 + N when signal N killed it.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Whether the kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// When it ended.
    pub finished: Timestamp,
    /// Whether nobody saw it end, so that the rest is a guess.
    #[serde(default)]
    pub unseen: bool,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since it started, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Bytes of memory, with the page cache.
    pub memory_bytes: u64,
    /// Bytes of memory that cannot be given back easily.
    pub working_set_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// What something holds on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes.
    pub bytes: u64,
    /// Files and folders; 0 where they are not counted.
    pub inodes: u64,
}

impl std::ops::AddAssign for DiskUsage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

impl ContainerId {
    /// The id of a container of a pod: the same parts make the same id.
    pub fn of(pod_uid: &str, container: &str, attempt: u32) -> Self {
        Self(Digest::of(format!("{pod_uid}/{container}/{attempt}").as_bytes()).hex())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for LogLimits {
    /// What the kubelet takes: 5 files of 10 MiB.
    fn default() -> Self {
        Self {
            bytes_max: 10 << 20,
            files_max: 5,
        }
    }
}

impl ContainerSpec {
    /// The container that runs since `started`, as the process `pid`.
    pub(crate) fn running(&self, started: Timestamp, pid: i32) -> Container {
        Container {
            id: self.id.clone(),
            sandbox: self.sandbox.clone(),
            name: self.name.clone(),
            attempt: self.attempt,
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            stop_signal: self.stop_signal.clone(),
            log: self.log.clone(),
            started,
            pid,
            exit: None,
        }
    }
}

impl Container {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.exit.is_none()
    }
}

impl RuntimeError {
    pub(crate) fn machine(action: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Machine {
            action: action.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn no_container(id: &ContainerId) -> Self {
        Self::NotFound {
            what: "container",
            id: id.to_string(),
        }
    }

    pub(crate) fn no_sandbox(id: &str) -> Self {
        Self::NotFound {
            what: "sandbox",
            id: id.to_owned(),
        }
    }
}
