//! One server a folder: the lock that says who it is, and that ends with it however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// The lock of a data folder, held while the server lives.
#[derive(Debug)]
pub(crate) struct ServerLock(Flock<File>);

/// What a running server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerProcess {
    /// Process id.
    pub pid: u32,
    /// URL of the API, absent until it is served.
    pub api: Option<String>,
    /// Version of the program.
    pub version: String,
}

impl ServerLock {
    /// Takes the lock; `None` when another process has it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self(lock))),
            Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Writes down who holds it.
    pub(crate) fn announce(&mut self, process: &ServerProcess) -> io::Result<()> {
        let bytes = serde_json::to_vec(process)?;
        self.0.seek(SeekFrom::Start(0))?;
        self.0.set_len(0)?;
        self.0.write_all(&bytes)
    }
}

/// The server that holds the lock of a folder, if there is one.
pub(crate) fn holder(path: &Path) -> io::Result<Option<ServerProcess>> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_free) => Ok(None),
        Err((mut file, nix::Error::EWOULDBLOCK)) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            // It holds the lock and has not said who it is yet.
            let unknown = ServerProcess {
                pid: 0,
                api: None,
                version: String::new(),
            };
            Ok(Some(serde_json::from_str(&text).unwrap_or(unknown)))
        }
        Err((_, error)) => Err(error.into()),
    }
}

/// Waits, on the calling thread, until nobody holds the lock of a folder.
pub(crate) fn wait_until_free(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    loop {
        match Flock::lock(file.try_clone()?, FlockArg::LockShared) {
            Ok(_free) => return Ok(()),
            Err((_, nix::Error::EINTR)) => {}
            Err((_, error)) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_the_lock_and_others_see_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(holder(&path).unwrap(), None);
        let mut lock = ServerLock::try_take(&path).unwrap().unwrap();
        let process = ServerProcess {
            pid: 7,
            api: Some("https://127.0.0.1:1".into()),
            version: "0".into(),
        };
        lock.announce(&process).unwrap();
        assert!(ServerLock::try_take(&path).unwrap().is_none());
        assert_eq!(holder(&path).unwrap(), Some(process));
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        wait_until_free(&path).unwrap();
    }
}
