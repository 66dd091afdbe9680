//! Starting a container: what the short-lived child of the shim does.
//!
//! It works in a mount namespace of its own, so that the root of the container is mounted nowhere else and goes when
//! the container goes.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::super::api::{ContainerSpec, SandboxSpec};
use super::super::sub_path;
use super::cgroup::Cgroups;
use super::executor::FreshExecutor;
use super::paths::{BUNDLE, CONSOLE, OCI_STATE};
use super::processes::Processes;
use super::protocol::Started;
use super::spec::{Machine, guard, runtime_spec};
use super::user::identify;
use crate::beneath;
use crate::causes::with_causes;

/// What the shim of a container is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShimSpec {
    pub container: ContainerSpec,
    pub sandbox: SandboxSpec,
    pub sandbox_folder: PathBuf,
    /// Whose processes it sees.
    #[serde(default)]
    pub processes: Processes,
    /// Control group of the container.
    pub cgroup: String,
    /// Control group of the shims.
    pub shim_cgroup: String,
}

/// The container's side of its streams. With a terminal there are none: the file of the terminal comes back through
/// the console socket.
pub(super) struct Streams {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Creates and starts the container of a folder.
pub(super) fn start(
    folder: &Path,
    spec: &ShimSpec,
    cgroups: &Cgroups,
    streams: Option<Streams>,
    report: OwnedFd,
) -> Result<Started, String> {
    let failed = |action: &'static str| move |error: io::Error| format!("cannot {action}: {error}");
    if !spec.processes.end_with_the_first() {
        // Others end with their first process; these can only be found by their group.
        let joined = cgroups.join_unified(&spec.cgroup);
        joined.map_err(failed("join the control group"))?;
    }
    adjust_oom_score(spec.container.resources.oom_score_adjust);
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| {
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_SLAVE | MsFlags::MS_REC,
                None::<&str>,
            )
        })
        .map_err(|errno| failed("make a mount namespace")(errno.into()))?;
    let bundle = folder.join(BUNDLE);
    let root = bundle.join("rootfs");
    mount_root(folder, &root, &spec.container.layers).map_err(failed("mount the root of the container"))?;
    make_working_folder(&root, &spec.container.process.cwd).map_err(failed("make the working directory"))?;
    let identity = identify(&root, &spec.container.process.user)?;
    let mut container = spec.container.clone();
    for (number, one) in container.mounts.iter_mut().enumerate() {
        let asked = one.source.join(&one.sub_path);
        sub_path::pin(&bundle.join("sub"), number, one).map_err(|error| {
            format!(
                "cannot mount `{}` at `{}`: {error}",
                asked.display(),
                one.target.display()
            )
        })?;
    }
    let machine = machine(cgroups).map_err(failed("look at the machine"))?;
    let guard = guard(&container, &machine)?;
    let joined = spec.processes.open().map_err(failed("join the processes"))?;
    let document = runtime_spec(
        &container,
        &spec.sandbox,
        &spec.sandbox_folder,
        (&spec.processes, joined.as_ref()),
        &spec.cgroup,
        &identity,
        &machine,
        guard.as_ref().map_or(&[], |guard| guard.borrowed.as_slice()),
    );
    fs::write(bundle.join("config.json"), document.to_string()).map_err(failed("write the specification"))?;

    let id = spec.container.id.as_str().to_owned();
    let mut builder = ContainerBuilder::new(id, SyscallType::default())
        .with_executor(FreshExecutor::new(report, guard))
        .with_root_path(folder.join(OCI_STATE))
        .map_err(|error| describe(&error))?;
    match streams {
        Some(streams) => {
            builder = builder
                .with_stdin(streams.stdin)
                .with_stdout(streams.stdout)
                .with_stderr(streams.stderr);
        }
        None => builder = builder.with_console_socket(Some(folder.join(CONSOLE))),
    }
    // As a sibling: the first process of the container becomes a child of the shim, which waits for it.
    let built = builder
        .as_init(&bundle)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build();
    let mut container = built.map_err(|error| describe(&error))?;
    let started = Timestamp::now();
    container.start().map_err(|error| describe(&error))?;
    let pid = container.pid().ok_or("the container has no process")?.as_raw();
    Ok(Started {
        pid,
        start_ticks: start_ticks(pid).unwrap_or(0),
        started,
        shim_pid: 0,
    })
}

/// What the machine allows.
pub(super) fn machine(cgroups: &Cgroups) -> io::Result<Machine> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let capabilities = bounding.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    Ok(Machine {
        capabilities: capabilities.unwrap_or(0),
        filters_devices: cgroups.has_legacy(),
        unified: !cgroups.has_legacy(),
    })
}

/// When a process began, in clock ticks since boot; `None` when it is gone or only waits to be reaped.
pub(super) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything, so the fields are counted from its end.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Without the right to lower it, as in many containers, it stays what it is.
fn adjust_oom_score(score: i32) {
    if score != 0 {
        let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
    }
}

/// Mounts the layers under the writable folder of the container.
///
/// Where the disk cannot hold such a folder, as when it is an overlay itself, the folder is in memory, and goes with the
/// container.
fn mount_root(folder: &Path, root: &Path, layers: &[PathBuf]) -> io::Result<()> {
    fs::create_dir_all(root)?;
    match mount_layers(folder, folder, root, layers) {
        Err(Errno::INVAL) => {
            let memory = folder.join("memory");
            fs::create_dir_all(&memory)?;
            mount(
                Some("tmpfs"),
                &memory,
                Some("tmpfs"),
                MsFlags::MS_NODEV,
                Some("mode=0755"),
            )?;
            Ok(mount_layers(folder, &memory, root, layers)?)
        }
        other => Ok(other?),
    }
}

/// Folders are named through open descriptors: the options of a mount must fit into one page, and a path may hold the
/// characters that separate them.
fn mount_layers(folder: &Path, writable: &Path, root: &Path, layers: &[PathBuf]) -> Result<(), Errno> {
    let mut opened = Vec::new();
    let mut name = |path: &Path| -> Result<String, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let name = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        opened.push(descriptor);
        Ok(name)
    };
    let make = |within: &Path, name: &str| -> Result<PathBuf, Errno> {
        let path = within.join(name);
        fs::create_dir_all(&path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(path)
    };
    let mut lower = layers
        .iter()
        .rev()
        .map(|layer| name(layer))
        .collect::<Result<Vec<_>, _>>()?;
    if lower.is_empty() {
        lower.push(name(&make(folder, "empty")?)?);
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        name(&make(writable, "upper")?)?,
        name(&make(writable, "work")?)?
    );
    let mounted = |options: &str| {
        let flags = MsFlags::MS_NODEV;
        let made = mount(Some("overlay"), root, Some("overlay"), flags, Some(options));
        made.map_err(|errno| Errno::from_raw_os_error(errno as i32))
    };
    // Volatile: the end of a container does not wait until the whole disk is written. Kernels before 5.10 do not
    // know it.
    match mounted(&format!("{options},volatile")) {
        Err(Errno::INVAL) => mounted(&options),
        other => other,
    }
}

fn make_working_folder(root: &Path, cwd: &str) -> io::Result<()> {
    let parts: Vec<&[u8]> = cwd
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let opened = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    match beneath::make_folders(&opened, &parts) {
        // Something else than a folder is there: the start says so.
        Ok(_) | Err(Errno::EXIST | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What libcontainer says, without the layers of wrapping around it.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let text = with_causes(error);
    // The end of the chain is the first process, which speaks of the program that was asked for.
    text.find("exec: \"")
        .map(|at| text[at..].trim_end_matches(['"', '}', ')']).to_owned())
        .unwrap_or(text)
}
