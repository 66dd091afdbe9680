//! The state folder of the embedded runtime, and files that appear whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) const SPEC: &str = "spec.json";
pub(super) const STARTED: &str = "started.json";
pub(super) const EXIT: &str = "exit.json";
pub(super) const LOCK: &str = "shim.lock";
/// What shims say that nobody hears; its lock tells whether one lives.
pub(super) const SHIM_LOG: &str = "shim.log";
pub(super) const SOCKET: &str = "shim.sock";
pub(super) const CONSOLE: &str = "console.sock";
pub(super) const BUNDLE: &str = "bundle";
pub(super) const OCI_STATE: &str = "oci";
pub(super) const SANDBOX: &str = "sandbox.json";

/// Writes a document under a name at which readers find all of it or the one before.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value).map_err(io::Error::other)?;
    let next = path.with_extension("next");
    File::create(&next)?.write_all(&text)?;
    fs::rename(&next, path)
}

/// Reads a document; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A short path to a file of a folder however long the folder's path is, since sockets allow 107 bytes. It holds
/// while the descriptor is open.
pub(super) struct ShortPath {
    _folder: OwnedFd,
    path: PathBuf,
}

impl ShortPath {
    pub(super) fn new(folder: &Path, name: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
        Ok(Self {
            _folder: opened,
            path,
        })
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}

/// Removes a folder, which somebody else may be doing too.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
