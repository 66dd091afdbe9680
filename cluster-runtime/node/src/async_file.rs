//! Files of the kernel that tell when they are ready: terminals, notices of changed folders.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Makes a descriptor known to the runtime; must be called within one. The descriptor is made not to block.
#[expect(
    unsafe_code,
    reason = "the file is owned, and gives the same descriptor as long as it lives"
)]
pub(crate) fn register(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&file, true)?;
    // SAFETY: an `OwnedFd` keeps its descriptor open and the same until it is dropped, with the `AsyncFd`.
    let registered = unsafe { AsyncFd::register(file)? };
    Ok(registered)
}
