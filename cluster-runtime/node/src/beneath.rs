//! Paths that are resolved with a folder as their root, by the kernel: whatever links are on the way, they lead
//! nowhere else.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a path below a folder.
pub(crate) fn open(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            // The kernel asks for another try when a rename happened elsewhere at the same time.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens a folder below a folder.
pub(crate) fn open_folder(root: impl AsFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a folder below a folder, and makes what is missing on the way.
///
/// A link that leads nowhere is not followed by making its target: the answer is [`Errno::EXIST`].
pub(crate) fn make_folders(root: impl AsFd, parts: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
    let mut at = open_folder(&root, b"")?;
    for depth in 1..=parts.len() {
        let prefix = parts[..depth].join(&b'/');
        at = match open_folder(&root, &prefix) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&at, parts[depth - 1], Mode::from_raw_mode(0o755))?;
                open_folder(&root, &prefix)?
            }
            other => other?,
        };
    }
    Ok(at)
}
