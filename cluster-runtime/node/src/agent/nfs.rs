//! NFS volumes: what `mount.nfs` does, with the kernel's own client.
//!
//! The options are those of nfs(5). Server and path come from the volume, further options from a persistent volume.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use tokio::net::TcpStream;

use super::mounts::is_mounted;
use super::pod::NfsVolume;

const PORT: u16 = 2049;
/// The kernel would wait for minutes for a server that does not answer, and nobody could call it back.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Tried one after the other, as `mount.nfs` does.
const VERSIONS: [&str; 4] = ["4.2", "4.1", "4.0", "3"];
/// What `mount` itself understands, and leaves out where it calls the kernel.
const OF_MOUNT: [&str; 6] = ["auto", "defaults", "noauto", "nofail", "rw", "_netdev"];

/// How a volume is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NfsMount {
    source: String,
    flags: MsFlags,
    tries: Vec<Try>,
}

/// A file system type and the options for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Try {
    kind: &'static str,
    options: String,
}

/// Mounts a volume at a path, unless it is there. The error says what to do.
pub(crate) async fn mount_nfs(volume: &NfsVolume, options: &[String], path: &Path) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    fs::create_dir_all(path).map_err(failed)?;
    if is_mounted(path).map_err(failed)? {
        return Ok(());
    }
    if !kernel_has_nfs() {
        return Err("this kernel has no NFS client: load its module `nfs` (`modprobe nfs`)".to_owned());
    }
    let address = reach(&volume.server, port_of(options)).await?;
    let planned = plan(volume, options, address);
    let path = path.to_owned();
    let mounted = tokio::task::spawn_blocking(move || carry_out(&planned, &path));
    mounted.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// The address of a server that takes connections.
async fn reach(server: &str, port: u16) -> Result<IpAddr, String> {
    let host = server.trim_start_matches('[').trim_end_matches(']').to_owned();
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found
        .map_err(|error| format!("cannot find the NFS server `{server}`: {error}"))?
        .collect();
    let mut last = format!("the NFS server `{server}` has no address");
    for address in addresses {
        last = match tokio::time::timeout(ANSWER_MAX, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address.ip()),
            Ok(Err(error)) => format!("cannot reach the NFS server {address}: {error}"),
            Err(_) => format!("the NFS server {address} does not answer"),
        };
    }
    Err(last)
}

/// Single options of all texts.
fn each(options: &[String]) -> impl Iterator<Item = &str> {
    let parts = options.iter().flat_map(|text| text.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn port_of(options: &[String]) -> u16 {
    let given = each(options).find_map(|option| option.strip_prefix("port=")?.parse().ok());
    given.filter(|port| *port > 0).unwrap_or(PORT)
}

/// What to try for a volume of a server at an address.
fn plan(volume: &NfsVolume, options: &[String], address: IpAddr) -> NfsMount {
    let mut flags = MsFlags::empty();
    flags.set(MsFlags::MS_RDONLY, volume.read_only);
    let mut passed: Vec<&str> = Vec::new();
    let mut version = None;
    for option in each(options) {
        let flag = match option {
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "sync" => MsFlags::MS_SYNCHRONOUS,
            other => {
                match other.strip_prefix("vers=").or(other.strip_prefix("nfsvers=")) {
                    Some(given) => version = Some(given),
                    None if OF_MOUNT.contains(&other) => {}
                    None => passed.push(other),
                }
                continue;
            }
        };
        flags |= flag;
    }
    let tried = |version: &str| {
        let is_old = !version.starts_with('4');
        let mut options = vec![format!("vers={version}"), format!("addr={address}")];
        options.extend(passed.iter().map(|&option| option.to_owned()));
        // Locks of old versions need a daemon on the node; without it they hold on this node alone.
        if is_old
            && !passed
                .iter()
                .any(|option| option.ends_with("lock") || option.starts_with("local_lock"))
        {
            options.push("nolock".to_owned());
        }
        Try {
            kind: if is_old { "nfs" } else { "nfs4" },
            options: options.join(","),
        }
    };
    let host = match volume.server.as_str() {
        server if server.contains(':') && !server.starts_with('[') => format!("[{server}]"),
        server => server.to_owned(),
    };
    NfsMount {
        source: format!("{host}:{}", volume.path),
        flags,
        tries: match version {
            Some(version) => vec![tried(version)],
            None => VERSIONS.into_iter().map(tried).collect(),
        },
    }
}

fn carry_out(planned: &NfsMount, path: &Path) -> Result<(), String> {
    let mut last = Errno::EPROTONOSUPPORT;
    for Try { kind, options } in &planned.tries {
        let source = Some(planned.source.as_str());
        last = match mount(source, path, Some(*kind), planned.flags, Some(options.as_str())) {
            Ok(()) => return Ok(()),
            Err(errno) => errno,
        };
        // Another version may be spoken: the server does not know this one, or the kernel does not.
        if !matches!(last, Errno::EPROTONOSUPPORT | Errno::EINVAL | Errno::ENODEV) {
            break;
        }
    }
    let source = &planned.source;
    Err(match last {
        Errno::EACCES | Errno::EPERM => {
            format!("the server does not export `{source}` to this node ({last})")
        }
        Errno::ENOENT => format!("the server has no `{source}`"),
        Errno::EPROTONOSUPPORT => {
            format!("the server speaks no version of NFS that was tried for `{source}`")
        }
        Errno::EINVAL => format!("the kernel does not take the options of `{source}`"),
        other => format!("cannot mount `{source}`: {other}"),
    })
}

/// Whether the kernel can mount NFS, with a module that it loads by itself if it may.
fn kernel_has_nfs() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let is_nfs = |line: &str| matches!(line.split_whitespace().last(), Some("nfs" | "nfs4"));
    // The kernel looks for the type before anything else. Nothing can come of a mount without a source.
    known.lines().any(is_nfs)
        || ["nfs4", "nfs"].iter().any(|kind| {
            let nothing = None::<&str>;
            mount(nothing, "/", Some(*kind), MsFlags::empty(), nothing) != Err(Errno::ENODEV)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(server: &str, read_only: bool) -> NfsVolume {
        NfsVolume {
            server: server.to_owned(),
            path: "/srv/data".to_owned(),
            read_only,
        }
    }

    fn planned(server: &str, read_only: bool, options: &[&str]) -> NfsMount {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        plan(&volume(server, read_only), &options, "10.0.0.9".parse().unwrap())
    }

    #[test]
    fn newer_versions_are_tried_first() {
        let mount = planned("files", false, &[]);
        assert_eq!(mount.source, "files:/srv/data");
        assert_eq!(mount.flags, MsFlags::empty());
        let tries: Vec<(&str, &str)> = mount
            .tries
            .iter()
            .map(|it| (it.kind, it.options.as_str()))
            .collect();
        let expected = [
            ("nfs4", "vers=4.2,addr=10.0.0.9"),
            ("nfs4", "vers=4.1,addr=10.0.0.9"),
            ("nfs4", "vers=4.0,addr=10.0.0.9"),
            ("nfs", "vers=3,addr=10.0.0.9,nolock"),
        ];
        assert_eq!(tries, expected);
    }

    #[test]
    fn options_become_flags_or_go_to_the_kernel() {
        let check = |options: &[&str], flags: MsFlags, kind: &str, text: &str| {
            let mount = planned("files", false, options);
            assert_eq!(mount.flags, flags, "{options:?}");
            assert_eq!(
                (mount.tries[0].kind, mount.tries[0].options.as_str()),
                (kind, text)
            );
        };
        let none = MsFlags::empty();
        check(
            &["hard,timeo=600"],
            none,
            "nfs4",
            "vers=4.2,addr=10.0.0.9,hard,timeo=600",
        );
        check(
            &["ro", "noatime"],
            MsFlags::MS_RDONLY | MsFlags::MS_NOATIME,
            "nfs4",
            "vers=4.2,addr=10.0.0.9",
        );
        check(&["nfsvers=4.1"], none, "nfs4", "vers=4.1,addr=10.0.0.9");
        check(&["vers=3", "lock"], none, "nfs", "vers=3,addr=10.0.0.9,lock");
        check(
            &["vers=3", "rw", "_netdev"],
            none,
            "nfs",
            "vers=3,addr=10.0.0.9,nolock",
        );
        assert_eq!(planned("files", false, &["vers=3"]).tries.len(), 1);
        assert_eq!(planned("files", true, &[]).flags, MsFlags::MS_RDONLY);
        assert_eq!(port_of(&["hard,port=20049".to_owned()]), 20049);
        assert_eq!(port_of(&["hard".to_owned()]), PORT);
    }

    #[test]
    fn addresses_of_version_6_stand_in_brackets() {
        assert_eq!(planned("fd00::1", false, &[]).source, "[fd00::1]:/srv/data");
        assert_eq!(planned("[fd00::1]", false, &[]).source, "[fd00::1]:/srv/data");
    }
}
