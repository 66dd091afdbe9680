//! The linux namespaces of a sandbox, kept by bind mounts, so that no process has to wait in them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::super::api::{NamespaceMode, RuntimeError, SandboxSpec};

/// Where a sandbox keeps its namespaces.
pub(super) fn pins(sandbox: &Path) -> [PathBuf; 3] {
    ["net", "ipc", "uts"].map(|name| sandbox.join("ns").join(name))
}

/// Kernel parameters that belong to a namespace, so that a pod may set them.
fn is_namespaced(name: &str) -> bool {
    let exact = [
        "kernel.shmmax",
        "kernel.shmall",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
    ];
    exact.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")
}

/// Makes the namespaces of a sandbox and sets them up: host name, loopback device, kernel parameters.
///
/// It is done by a thread that ends: namespaces of this kind belong to a thread, not to the process.
pub(super) fn create(folder: &Path, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    if let Some(name) = spec.sysctls.keys().find(|name| !is_namespaced(name)) {
        return Err(RuntimeError::Start {
            reason: format!("the kernel parameter `{name}` is the machine's"),
        });
    }
    thread::scope(|scope| {
        let made = scope.spawn(|| create_here(folder, spec)).join();
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn create_here(folder: &Path, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    let failed = |action: &'static str| {
        move |error: io::Error| RuntimeError::machine(format!("{action} of the sandbox"), error)
    };
    let own_network = spec.network == NamespaceMode::Own;
    let mut flags = CloneFlags::empty();
    if own_network {
        // A pod in the machine's network has the machine's host name.
        flags |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    }
    if spec.ipc == NamespaceMode::Own {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    unshare(flags).map_err(|errno| failed("make the namespaces")(errno.into()))?;
    if own_network {
        rustix::system::sethostname(spec.hostname.as_bytes())
            .map_err(|errno| failed("set the host name")(errno.into()))?;
        raise_loopback().map_err(failed("raise the loopback device"))?;
        // As containerd does: any user may listen on any port, and send echo requests.
        let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    }
    for (name, value) in &spec.sysctls {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value)
            .map_err(|error| RuntimeError::machine(format!("set the kernel parameter `{name}`"), error))?;
    }
    fs::create_dir_all(folder.join("ns")).map_err(failed("keep the namespaces"))?;
    let wanted = [
        CloneFlags::CLONE_NEWNET,
        CloneFlags::CLONE_NEWIPC,
        CloneFlags::CLONE_NEWUTS,
    ];
    for (pin, flag) in pins(folder)
        .iter()
        .zip(wanted)
        .filter(|(_, flag)| flags.contains(*flag))
    {
        File::create(pin).map_err(failed("keep the namespaces"))?;
        let source = Path::new("/proc/thread-self/ns").join(pin.file_name().unwrap_or_default());
        mount(Some(&source), pin, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| failed("keep the namespaces")(errno.into()))?;
        debug_assert!(flags.contains(flag));
    }
    Ok(())
}

/// Whether the namespaces of a sandbox are still there: a start of the machine takes them.
pub(super) fn are_kept(folder: &Path, spec: &SandboxSpec) -> bool {
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    let [network, ipc, _] = pins(folder);
    let wanted = [(spec.network, network), (spec.ipc, ipc)];
    wanted
        .iter()
        .filter(|(mode, _)| *mode == NamespaceMode::Own)
        .all(|(_, pin)| rustix::fs::statfs(pin).is_ok_and(|found| found.f_type == NSFS_MAGIC))
}

/// Lets the namespaces of a sandbox go. They end with their last process.
pub(super) fn remove(folder: &Path) {
    for pin in pins(folder) {
        // Not mounted, or not there: nothing to let go.
        let _ = umount2(&pin, MntFlags::MNT_DETACH);
    }
}

/// Raises `lo` of this thread's network namespace: one netlink message, index 1 is always the loopback device.
fn raise_loopback() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    const NLMSG_ERROR: u16 = 2;
    let mut message = Vec::with_capacity(32);
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(1i32.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // The first protocol of this family: routes and links.
        None,
    )?;
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    if length < 20 || kind != NLMSG_ERROR {
        return Err(io::Error::other("an odd answer from the kernel"));
    }
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
