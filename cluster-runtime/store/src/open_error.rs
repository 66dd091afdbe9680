//! Why a data directory could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a data directory could not be opened; nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("`{}` is in use by another process", .path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory was written by a newer version.
    #[error("`{}` has format {found}, this version reads up to {supported}: it takes the tug that wrote it, or a newer one", .path.display())]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that can be read.
        supported: u32,
    },
    /// The directory belongs to another member of the group.
    #[error("`{}` belongs to member {found}, not {asked}", .path.display())]
    OtherMember {
        /// The data directory.
        path: PathBuf,
        /// The member that it belongs to.
        found: u64,
        /// The member that wants to open it.
        asked: u64,
    },
    /// Parts of the directory are missing: it was copied halfway, or something in it was removed.
    #[error("`{}` is incomplete: `{found}` is there and `{missing}` is not", .path.display())]
    Incomplete {
        /// The data directory.
        path: PathBuf,
        /// What is missing.
        missing: String,
        /// What shows that it should be there.
        found: String,
    },
    /// The directory is encrypted, and no key was given.
    #[error("`{}` is encrypted with key {number}, and no key was given", .path.display())]
    KeyMissing {
        /// The data directory.
        path: PathBuf,
        /// The number of its key.
        number: u32,
    },
    /// The directory is encrypted with another key.
    #[error("`{}` is encrypted with another key of number {number} than the one given, which has number {given}", .path.display())]
    WrongKey {
        /// The data directory.
        path: PathBuf,
        /// The number of its key.
        number: u32,
        /// The number of the key that was given.
        given: u32,
    },
    /// A file does not hold what was once synced to it.
    #[error("`{}` is damaged at byte {offset}: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot use `{}`", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log could not be brought into force.
    #[error("cannot start: {reason}")]
    Start {
        /// What happened.
        reason: String,
    },
}
