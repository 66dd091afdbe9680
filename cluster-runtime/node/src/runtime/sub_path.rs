//! Mounts of a path below a volume.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::mount::{MsFlags, mount};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::api::MountSpec;
use crate::beneath;

/// Replaces the source of a mount that is below a volume by a bind mount, in a folder, of exactly that file: resolved
/// within the volume, so that links in the volume lead nowhere else. A source that is not below a volume is only
/// looked for.
pub(super) fn pin(folder: &Path, number: usize, one: &mut MountSpec) -> io::Result<()> {
    if one.sub_path.is_empty() {
        return fs::metadata(&one.source).map(|_| ());
    }
    let path = Path::new(&one.sub_path);
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::other("a sub path leads out of its volume"));
    }
    let parts: Vec<&[u8]> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        })
        .collect();
    let volume = rustix::fs::open(
        &one.source,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let found = match beneath::open(&volume, path.as_os_str().as_bytes(), OFlags::PATH) {
        Err(Errno::NOENT) => beneath::make_folders(&volume, &parts)?,
        other => other?,
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
    let pinned = folder.join(number.to_string());
    if kind == FileType::Directory {
        fs::create_dir_all(&pinned)?;
    } else {
        fs::create_dir_all(folder)?;
        fs::File::create(&pinned)?;
    }
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    mount(
        Some(source.as_str()),
        &pinned,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?;
    one.source = pinned;
    one.sub_path.clear();
    Ok(())
}
