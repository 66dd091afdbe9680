//! Snapshots: all tables with their retained past, in one checksummed file.
//!
//! ```text
//! frame 0       header: the revision, and what the log says of the moment
//! tables        one frame for each: name, and the revision that it begins with
//! objects       many in a frame, as they were at that revision
//! events        many in a frame, all that happened since, in order
//! last frame    how many objects and events there are
//! ```
//!
//! Frames are those of the log, each sealed where there is a key. A reader goes through the events to come to the newest state, and can then show
//! and watch the past that they tell. Only the newest events are written.

mod before;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Revision;

pub(crate) use before::Before;
pub(crate) use read::{Bodies, ReadSnapshotError, read_snapshot, read_snapshot_from};
pub(crate) use write::{Frames, Past, write_frames, write_snapshot};

const HEADER: u8 = 0;
const TABLE: u8 = 1;
const OBJECTS: u8 = 2;
const EVENTS: u8 = 3;
const END: u8 = 4;
/// A frame of any kind that is sealed.
const SEALED: u8 = 5;

const SUFFIX: &str = "snapshot";

/// What stands at the front of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotHeader {
    /// The newest revision.
    pub(crate) revision: Revision,
    /// What the log says of the moment; not looked at here.
    pub(crate) log: serde_json::Value,
}

/// Where the snapshot up to a log index is kept.
pub(crate) fn snapshot_path(dir: &Path, next_index: u64) -> PathBuf {
    dir.join(format!("{next_index:016x}.{SUFFIX}"))
}

/// The snapshots in a folder, oldest first.
///
/// There are two when a process ended between making the newer one durable and removing the older.
pub(crate) fn list_snapshots(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Removes the snapshots in a folder but one.
pub(crate) fn remove_others(dir: &Path, kept: &Path) -> io::Result<()> {
    remove_those(dir, |path| path != kept)
}

/// Removes the snapshots in a folder that are older than one that is in it.
///
/// One that is newer was installed while this one was written, and the log before it is gone.
pub(crate) fn remove_older(dir: &Path, kept: &Path) -> io::Result<()> {
    remove_those(dir, |path| path < kept)
}

fn remove_those(dir: &Path, goes: impl Fn(&Path) -> bool) -> io::Result<()> {
    let mut paths = list_snapshots(dir)?.into_iter();
    paths.try_for_each(|path| {
        if goes(&path) {
            fs::remove_file(path)
        } else {
            Ok(())
        }
    })
}

/// Removes what was being written or received when the process before this one ended.
pub(crate) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
