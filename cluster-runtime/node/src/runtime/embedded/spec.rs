//! The runtime specification of a container, as libcontainer reads it: pure data from what was asked.
//!
//! The format is the [OCI runtime specification](https://github.com/opencontainers/runtime-spec).

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api::{ContainerSpec, NamespaceMode, ProcessSpec, Resources, SandboxSpec, SeccompProfile};
use super::super::seccomp::{Filter, Profile, compile, runtime_default};
use super::namespaces::pins;
use super::processes::{Joined, Processes};
use super::user::Identity;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CPU_PERIOD: u64 = 100_000;
const CPU_QUOTA_MIN: u64 = 1000;

/// What Docker and containerd give by default.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All that Linux has, in the order of their numbers.
const ALL_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What the machine is able to do.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Numbers of the capabilities that may be given, as bits.
    pub capabilities: u64,
    /// Whether control groups keep a container from devices. Where they do not, it may not make device nodes.
    pub filters_devices: bool,
    /// Whether the second version of control groups holds everything.
    pub unified: bool,
}

/// Makes the specification of a container.
#[expect(clippy::too_many_arguments, reason = "each is a part of one specification")]
pub(super) fn runtime_spec(
    container: &ContainerSpec,
    sandbox: &SandboxSpec,
    sandbox_folder: &Path,
    processes: (&Processes, Option<&Joined>),
    cgroup: &str,
    identity: &Identity,
    machine: &Machine,
    borrowed: &[String],
) -> Value {
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": process(&container.process, identity, container.privileged, machine, borrowed),
        "root": { "path": "rootfs", "readonly": container.read_only_root },
        "mounts": mounts(container, machine),
        "linux": {
            "namespaces": namespaces(sandbox, sandbox_folder, processes, machine),
            "cgroupsPath": cgroup,
            "resources": resources(&container.resources, container.privileged, machine),
            "rootfsPropagation": propagation(container),
        },
    });
    if container.masked && !container.privileged {
        spec["linux"]["maskedPaths"] = json!(MASKED);
        spec["linux"]["readonlyPaths"] = json!(READ_ONLY);
    }
    spec
}

/// The filter of a container's system calls.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub filter: Filter,
    /// Capabilities that the process is given to put the filter on, and gives up with that.
    pub borrowed: Vec<String>,
}

/// Makes the filter of a container, where it has one.
pub(super) fn guard(container: &ContainerSpec, machine: &Machine) -> Result<Option<Guard>, String> {
    let profile = match &container.seccomp {
        _ if container.privileged => return Ok(None),
        SeccompProfile::Unconfined => return Ok(None),
        SeccompProfile::RuntimeDefault => runtime_default(),
        SeccompProfile::Profile(value) => Profile::deserialize(value)
            .map_err(|error| format!("the seccomp profile cannot be read: {error}"))?,
    };
    let own = capabilities(&container.process, false, machine);
    let filter = compile(&profile, &own);
    let needed = if container.process.no_new_privileges {
        &[][..]
    } else {
        BORROWED
    };
    let borrowed = needed.iter().filter(|name| !own.iter().any(|one| one == *name));
    Ok(Some(Guard {
        filter,
        borrowed: borrowed.map(|&name| name.to_owned()).collect(),
    }))
}

/// Without "no new privileges", a filter takes the right to administer; giving rights up takes one as well.
const BORROWED: &[&str] = &["CAP_SETPCAP", "CAP_SYS_ADMIN"];

/// The process part, also of a command that joins the container.
pub(super) fn process(
    process: &ProcessSpec,
    identity: &Identity,
    privileged: bool,
    machine: &Machine,
    borrowed: &[String],
) -> Value {
    let mut env = process.env.clone();
    if !env.iter().any(|one| one.starts_with("PATH=")) {
        env.push(DEFAULT_PATH.to_owned());
    }
    if process.tty && !env.iter().any(|one| one.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    let mut capabilities = capabilities(process, privileged, machine);
    capabilities.extend_from_slice(borrowed);
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    json!({
        "terminal": process.tty,
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
        "args": process.args,
        "env": env,
        "cwd": cwd,
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            "inheritable": [], "ambient": [],
        },
        "noNewPrivileges": process.no_new_privileges,
    })
}

fn capabilities(process: &ProcessSpec, privileged: bool, machine: &Machine) -> Vec<String> {
    let plain = |name: &str| name.strip_prefix("CAP_").unwrap_or(name).to_ascii_uppercase();
    let added: Vec<String> = process.capabilities_add.iter().map(|name| plain(name)).collect();
    let dropped: Vec<String> = process.capabilities_drop.iter().map(|name| plain(name)).collect();
    let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
    let wanted = |name: &str| {
        if privileged || has(&added, name) {
            return true;
        }
        if has(&dropped, name) {
            return false;
        }
        let unsafe_here = name == "MKNOD" && !machine.filters_devices;
        let by_default = CAPABILITIES.contains(&name) && !unsafe_here && !has(&dropped, "ALL");
        by_default || has(&added, "ALL")
    };
    ALL_CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(number, name)| machine.capabilities >> number & 1 == 1 && wanted(name))
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

fn namespaces(
    sandbox: &SandboxSpec,
    folder: &Path,
    (processes, joined): (&Processes, Option<&Joined>),
    machine: &Machine,
) -> Value {
    let [network, ipc, uts] = pins(folder);
    let mut list = vec![json!({ "type": "mount" })];
    match (processes, joined) {
        (Processes::Own, _) => list.push(json!({ "type": "pid" })),
        (Processes::Of { .. }, Some(joined)) => list.push(json!({ "type": "pid", "path": joined.path() })),
        _ => {}
    }
    if sandbox.network == NamespaceMode::Own {
        list.push(json!({ "type": "network", "path": network }));
        list.push(json!({ "type": "uts", "path": uts }));
    }
    if sandbox.ipc == NamespaceMode::Own {
        list.push(json!({ "type": "ipc", "path": ipc }));
    }
    if machine.unified {
        list.push(json!({ "type": "cgroup" }));
    }
    list.into()
}

fn mounts(container: &ContainerSpec, machine: &Machine) -> Value {
    let special = |kind: &str, target: &str, options: &[&str]| json!({ "type": kind, "source": kind, "destination": target, "options": options });
    let system = if container.privileged { "rw" } else { "ro" };
    let mut list = vec![
        special("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        special(
            "tmpfs",
            "/dev",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        special(
            "devpts",
            "/dev/pts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        special("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        special("sysfs", "/sys", &["nosuid", "noexec", "nodev", system]),
    ];
    if !container
        .mounts
        .iter()
        .any(|mount| mount.target == Path::new("/dev/shm"))
    {
        list.push(special(
            "tmpfs",
            "/dev/shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ));
    }
    if machine.unified {
        list.push(json!({
            "type": "cgroup", "source": "cgroup", "destination": "/sys/fs/cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", system],
        }));
    }
    // Outer folders first, so that an inner mount is not hidden by them.
    let mut own: Vec<_> = container.mounts.iter().collect();
    own.sort_by_key(|mount| mount.target.components().count());
    for mount in own {
        let access = if mount.read_only { "ro" } else { "rw" };
        let propagation = if mount.propagation.is_empty() {
            "rprivate"
        } else {
            &mount.propagation
        };
        list.push(json!({
            "type": "bind", "source": mount.source, "destination": mount.target,
            "options": ["rbind", propagation, access],
        }));
    }
    list.into()
}

/// How mounts of the machine and of the container reach each other: as the most open mount asks.
fn propagation(container: &ContainerSpec) -> &'static str {
    let asks = |wanted| container.mounts.iter().any(|mount| mount.propagation == wanted);
    if asks("rshared") {
        "shared"
    } else if asks("rslave") {
        "slave"
    } else {
        "private"
    }
}

fn resources(resources: &Resources, privileged: bool, machine: &Machine) -> Value {
    let mut value = json!({});
    if machine.filters_devices {
        value["devices"] = json!([{ "allow": privileged, "access": "rwm" }]);
    }
    let mut cpu = json!({});
    if resources.cpu_shares > 0 {
        cpu["shares"] = resources.cpu_shares.into();
    }
    if resources.cpu_limit_millis > 0 {
        cpu["period"] = CPU_PERIOD.into();
        cpu["quota"] = (resources.cpu_limit_millis * CPU_PERIOD / 1000)
            .max(CPU_QUOTA_MIN)
            .into();
    }
    value["cpu"] = cpu;
    if resources.memory_bytes > 0 {
        value["memory"] = json!({ "limit": resources.memory_bytes });
    }
    if resources.pids_max > 0 {
        value["pids"] = json!({ "limit": resources.pids_max });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(add: &[&str], drop: &[&str], privileged: bool, machine: &Machine) -> Vec<String> {
        let process = ProcessSpec {
            capabilities_add: add.iter().map(|&name| name.to_owned()).collect(),
            capabilities_drop: drop.iter().map(|&name| name.to_owned()).collect(),
            ..ProcessSpec::default()
        };
        capabilities(&process, privileged, machine)
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_kubernetes_does() {
        let machine = Machine {
            capabilities: !0,
            filters_devices: true,
            unified: false,
        };
        assert_eq!(given(&[], &[], false, &machine).len(), CAPABILITIES.len());
        assert_eq!(given(&[], &["ALL"], false, &machine), Vec::<String>::new());
        assert_eq!(
            given(&["NET_BIND_SERVICE"], &["ALL"], false, &machine),
            ["CAP_NET_BIND_SERVICE"]
        );
        assert_eq!(
            given(&["ALL"], &["NET_RAW"], false, &machine).len(),
            ALL_CAPABILITIES.len() - 1
        );
        assert!(given(&["CAP_SYS_TIME"], &[], false, &machine).contains(&"CAP_SYS_TIME".to_owned()));
        assert_eq!(given(&[], &[], true, &machine).len(), ALL_CAPABILITIES.len());
    }

    #[test]
    fn nothing_is_given_that_the_machine_has_not() {
        let without_resource = Machine {
            capabilities: !(1 << 24),
            filters_devices: true,
            unified: false,
        };
        assert!(!given(&["ALL"], &[], true, &without_resource).contains(&"CAP_SYS_RESOURCE".to_owned()));
        let open_devices = Machine {
            capabilities: !0,
            filters_devices: false,
            unified: true,
        };
        assert!(!given(&[], &[], false, &open_devices).contains(&"CAP_MKNOD".to_owned()));
        assert!(given(&["MKNOD"], &[], false, &open_devices).contains(&"CAP_MKNOD".to_owned()));
    }
}
