//! Whose processes a container sees: its own, another container's, or the machine's.
//!
//! Where a sandbox shares its processes, a container of ours holds them: its process is the first of their namespace,
//! lets go what others leave behind, and does nothing else. Nobody who lists the containers of a sandbox sees it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::api::{
    ContainerId, ContainerSpec, LogLimits, NamespaceMode, ProcessSpec, Resources, SandboxSpec,
    SeccompProfile, UserSpec,
};
use super::protocol::Started;
use super::start::start_ticks;
use crate::image::BUILTIN_PROGRAM;

/// As the pause container of Kubernetes.
const NOBODY: u32 = 65535;
const HOLDER_PIDS_MAX: u64 = 8;

/// Whose processes a container sees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Processes {
    /// Its own: they end with its first.
    #[default]
    Own,
    /// Those of another container.
    Of {
        /// First process of that.
        pid: i32,
        /// When that began, which tells it from a later one with its number.
        start_ticks: u64,
    },
    /// The machine's.
    Host,
}

/// A namespace of processes that stays open while a container joins it.
pub(super) struct Joined {
    namespace: File,
}

impl Processes {
    pub(super) fn of(started: &Started) -> Self {
        Self::Of {
            pid: started.pid,
            start_ticks: started.start_ticks,
        }
    }

    /// Whether all of the container's processes end with its first, because the kernel sees to it.
    pub(super) fn end_with_the_first(&self) -> bool {
        matches!(self, Self::Own)
    }

    /// Opens the namespace to join, where there is one.
    pub(super) fn open(&self) -> io::Result<Option<Joined>> {
        let Self::Of {
            pid,
            start_ticks: began,
        } = self
        else {
            return Ok(None);
        };
        let namespace = File::open(format!("/proc/{pid}/ns/pid"))?;
        // Looked at after it was opened: if the process still runs, this is its namespace.
        if start_ticks(*pid) != Some(*began) {
            return Err(io::Error::other(
                "the container whose processes are shared has ended",
            ));
        }
        Ok(Some(Joined { namespace }))
    }
}

impl Joined {
    /// A path to it, for this process and what it forks.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.namespace.as_raw_fd()).into()
    }
}

/// The id of the container that holds the processes of a sandbox. Others have names.
pub(super) fn holder_id(sandbox: &str) -> ContainerId {
    ContainerId::of(sandbox, "", 0)
}

/// Makes the root of all holders, which has nothing but their program.
pub(super) fn make_holder_root(root: &Path) -> io::Result<PathBuf> {
    let folder = root.join("holder");
    let program = folder.join("pause");
    if fs::metadata(&program).is_ok_and(|found| found.len() == BUILTIN_PROGRAM.len() as u64) {
        return Ok(folder);
    }
    for place in ["", "proc", "dev", "sys"] {
        fs::create_dir_all(folder.join(place))?;
    }
    // Under another name first, so that it is never run half written.
    let next = folder.join(format!(".pause-{}", std::process::id()));
    let mut file = File::create(&next)?;
    file.write_all(BUILTIN_PROGRAM)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    drop(file);
    fs::rename(&next, &program)?;
    Ok(folder)
}

/// The container that holds the processes of a sandbox.
pub(super) fn holder(sandbox: &SandboxSpec, root: PathBuf, sandbox_folder: &Path) -> ContainerSpec {
    ContainerSpec {
        id: holder_id(&sandbox.id),
        sandbox: sandbox.id.clone(),
        processes_of: None,
        name: String::new(),
        attempt: 0,
        image: String::new(),
        image_id: String::new(),
        image_config: None,
        layers: vec![root],
        process: ProcessSpec {
            args: vec!["/pause".to_owned()],
            user: UserSpec {
                uid: Some(NOBODY),
                gid: Some(NOBODY),
                ..UserSpec::default()
            },
            capabilities_drop: vec!["ALL".to_owned()],
            no_new_privileges: true,
            ..ProcessSpec::default()
        },
        stop_signal: "SIGKILL".to_owned(),
        mounts: Vec::new(),
        read_only_root: true,
        privileged: false,
        masked: true,
        seccomp: SeccompProfile::RuntimeDefault,
        resources: Resources {
            pids_max: HOLDER_PIDS_MAX,
            // It must be the last to go.
            oom_score_adjust: -998,
            ..Resources::default()
        },
        stdin: false,
        stdin_once: false,
        log: sandbox_folder.join("holder.log"),
        log_limits: LogLimits::default(),
    }
}

/// Whose processes a container sees that is no holder, as far as the sandbox says.
pub(super) fn is_shared(sandbox: &SandboxSpec, container: &ContainerSpec) -> bool {
    sandbox.pid == NamespaceMode::Shared && container.id != holder_id(&sandbox.id)
}
