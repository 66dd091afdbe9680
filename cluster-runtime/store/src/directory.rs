//! The data directory: who it belongs to, in which format it is, and how small files in it are replaced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crc32fast::hash as crc32;
use serde::{Deserialize, Serialize};

use crate::{OpenError, StorageKey};

/// Version of the layout and of the encodings in it.
///
/// Since 2, small files bear a checksum, and entries and frames may be sealed. Directories of format 1 are brought to
/// 2 when they are opened.
pub(crate) const FORMAT: u32 = 2;

const FORMAT_FILE: &str = "format";
const VOTE_FILE: &str = "vote";
const SEGMENTS_FILE: &str = "segments";
const LOG_DIR: &str = "log";
const SNAPSHOTS_DIR: &str = "snapshots";
/// Bytes of the file that keeps room for the next vote.
const SPARE_BYTES: usize = 512;
const LOCK_FILE: &str = "lock";

/// A data directory that belongs to this process.
///
/// ```text
/// format      which version of the layout this is, whose, and which key opens it
/// lock        held while a process uses the directory
/// vote        for whom this member voted last; vote.tmp keeps room for the next one
/// segments    number of the newest segment of the log
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FormatFile {
    format: u32,
    member: u64,
    /// The key that is in use, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyMark>,
}

/// Tells a key from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeyMark {
    number: u32,
    check: String,
}

impl Directory {
    /// Opens or makes a directory, and locks it.
    ///
    /// A directory without a key gets the one that is given; from then on it is not opened without it.
    pub(crate) fn open(path: &Path, member: u64, key: Option<&StorageKey>) -> Result<Self, OpenError> {
        let directory = Self::make(path)?;
        if directory.check_format(member, key)? {
            return Ok(directory);
        }
        if let Some(found) = directory.content()? {
            return Err(OpenError::Incomplete {
                path: path.to_owned(),
                missing: FORMAT_FILE.to_owned(),
                found,
            });
        }
        directory.write_format(member, key)?;
        Ok(directory)
    }

    /// Makes a directory that nothing is in yet, and locks it; it can be opened once [`Self::write_format`] is done.
    pub(crate) fn make_empty(path: &Path) -> Result<Option<Self>, OpenError> {
        let directory = Self::make(path)?;
        let is_empty = !path.join(FORMAT_FILE).exists() && directory.content()?.is_none();
        Ok(is_empty.then_some(directory))
    }

    /// Makes the folders where they are absent, and takes the lock.
    fn make(path: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        for dir in [path.to_owned(), path.join(LOG_DIR), path.join(SNAPSHOTS_DIR)] {
            create_private(&dir).map_err(unusable)?;
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join(SNAPSHOTS_DIR)
    }

    pub(crate) fn vote(&self) -> PathBuf {
        self.path.join(VOTE_FILE)
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.path.join(SEGMENTS_FILE)
    }

    /// A file of a member that is here.
    fn content(&self) -> Result<Option<String>, OpenError> {
        for name in [VOTE_FILE, SEGMENTS_FILE] {
            if self.path.join(name).exists() {
                return Ok(Some(name.to_owned()));
            }
        }
        for name in [LOG_DIR, SNAPSHOTS_DIR] {
            let dir = self.path.join(name);
            let io = |source| OpenError::Io {
                path: dir.clone(),
                source,
            };
            if let Some(entry) = fs::read_dir(&dir).map_err(io)?.next() {
                let file = entry.map_err(io)?.file_name();
                return Ok(Some(format!("{name}/{}", file.display())));
            }
        }
        Ok(None)
    }

    /// Refuses a directory that is not this member's, or that the key does not open; false where there is no format
    /// file.
    fn check_format(&self, member: u64, key: Option<&StorageKey>) -> Result<bool, OpenError> {
        let path = self.path.join(FORMAT_FILE);
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io(error)),
        };
        let damaged = |reason: String| OpenError::Damaged {
            path: path.clone(),
            offset: 0,
            reason,
        };
        // Only the number is asked for first: a newer file may have any other shape.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = verified(&bytes);
        let Version { format } = match serde_json::from_slice(text.unwrap_or(first_line)) {
            Ok(version) => version,
            Err(error) => return Err(damaged(error.to_string())),
        };
        if format > FORMAT {
            return Err(OpenError::NewerFormat {
                path: self.path.clone(),
                found: format,
                supported: FORMAT,
            });
        }
        let is_old = format == 1 && first_line.len() == bytes.len();
        let text = match text {
            Ok(text) => text,
            Err(_) if is_old => &bytes,
            Err(reason) => return Err(damaged(reason.to_owned())),
        };
        let found: FormatFile = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if found.member != member {
            return Err(OpenError::OtherMember {
                path: self.path.clone(),
                found: found.member,
                asked: member,
            });
        }
        match (&found.key, key) {
            (Some(found), None) => {
                return Err(OpenError::KeyMissing {
                    path: self.path.clone(),
                    number: found.number,
                });
            }
            (Some(found), Some(given)) if *found != KeyMark::of(given) => {
                return Err(OpenError::WrongKey {
                    path: self.path.clone(),
                    number: found.number,
                    given: given.number(),
                });
            }
            _ => {}
        }
        if is_old {
            self.bring_up_vote()?;
        }
        if is_old || found.key.is_none() && key.is_some() {
            self.write_format(member, key)?;
        }
        Ok(true)
    }

    /// Gives the vote of a directory of format 1 its checksum.
    fn bring_up_vote(&self) -> Result<(), OpenError> {
        let path = self.vote();
        let done = match fs::read(&path) {
            Ok(text) if verified(&text).is_err() => replace_file(&path, &with_checksum(&text)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        done.map_err(|source| OpenError::Io { path, source })
    }

    /// Says whose the directory is; only with this it can be opened.
    pub(crate) fn write_format(&self, member: u64, key: Option<&StorageKey>) -> Result<(), OpenError> {
        let path = self.path.join(FORMAT_FILE);
        let format = FormatFile {
            format: FORMAT,
            member,
            key: key.map(KeyMark::of),
        };
        let text = serde_json::to_vec(&format).map_err(io::Error::from);
        // The directory itself must not be lost either.
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        text.and_then(|text| replace_file(&path, &with_checksum(&text)))
            .and_then(|()| parent.map_or(Ok(()), sync_directory))
            .map_err(|source| OpenError::Io { path, source })
    }
}

impl KeyMark {
    fn of(key: &StorageKey) -> Self {
        Self {
            number: key.number(),
            check: key.check(),
        }
    }
}

/// The content of a small file: a line, and its checksum on a second one.
pub(crate) fn with_checksum(line: &[u8]) -> Vec<u8> {
    let mut content = line.to_vec();
    content.extend_from_slice(format!("\n{:08x}\n", crc32(line)).as_bytes());
    content
}

/// The line of such a file, if it is as it was written.
pub(crate) fn verified(content: &[u8]) -> Result<&[u8], &'static str> {
    let place = content
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(content.len());
    let line = &content[..place];
    if content == with_checksum(line) {
        Ok(line)
    } else {
        Err("the checksum does not match")
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

/// Does the same for a file of less than [`SPARE_BYTES`] that must be replaceable on a full disk: its successor's room is taken
/// beforehand, by a file that lies beside it.
pub(crate) fn replace_file_in_spare(path: &Path, content: &[u8]) -> io::Result<()> {
    let spare = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&spare)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()?;
    fs::rename(&spare, path)?;
    // Where that fails, the next one may as well, and says so then.
    _ = fs::write(&spare, [0; SPARE_BYTES]);
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes renames and removals in a folder durable.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
