//! The data directory: who it belongs to, in which format it is, and how small files in it are replaced.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::OpenError;

/// Version of the layout and of the encodings in it.
pub(crate) const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";

/// A data directory that belongs to this process.
///
/// ```text
/// format      which version of the layout this is, and whose
/// lock        held while a process uses the directory
/// vote        for whom this member voted last
/// log/        segments of the write-ahead log
/// snapshots/  the newest snapshot
/// ```
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

/// What the format file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FormatFile {
    format: u32,
    member: u64,
}

impl Directory {
    /// Opens or makes a directory, and locks it.
    pub(crate) fn open(path: &Path, member: u64) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        for dir in [path.to_owned(), path.join("log"), path.join("snapshots")] {
            create_private(&dir).map_err(unusable)?;
        }
        let lock = lock(path)?;
        let directory = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        directory.check_format(member)?;
        Ok(directory)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    pub(crate) fn vote(&self) -> PathBuf {
        self.path.join("vote")
    }

    fn check_format(&self, member: u64) -> Result<(), OpenError> {
        let path = self.path.join(FORMAT_FILE);
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let format = FormatFile {
                    format: FORMAT,
                    member,
                };
                let text = serde_json::to_vec(&format).map_err(|error| io(error.into()))?;
                // The directory itself must not be lost either.
                let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
                return replace_file(&path, &text)
                    .and_then(|()| parent.map_or(Ok(()), sync_directory))
                    .map_err(io);
            }
            Err(error) => return Err(io(error)),
        };
        let damaged = |error: serde_json::Error| OpenError::Damaged {
            path: path.clone(),
            offset: 0,
            reason: error.to_string(),
        };
        // Only the number is asked for first: a newer file may have any other shape.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_slice(&text).map_err(damaged)?;
        if format > FORMAT {
            return Err(OpenError::NewerFormat {
                path: self.path.clone(),
                found: format,
                supported: FORMAT,
            });
        }
        let found: FormatFile = serde_json::from_slice(&text).map_err(damaged)?;
        if found.member != member {
            return Err(OpenError::OtherMember {
                path: self.path.clone(),
                found: found.member,
                asked: member,
            });
        }
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Makes a folder that only its owner may enter: secrets are in it.
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir)
}

/// Replaces a file so that after a crash either the old content is there or the new one.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes renames and removals in a folder durable.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
