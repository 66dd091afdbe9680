//! A group of one made of what there is: from a backup, or from the directory of a member whose group is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use openraft::{BasicNode, EntryPayload, LogId, Membership, StoredMembership, Vote};
use serde_json::json;

use crate::directory::Directory;
use crate::raft::log_storage::{from_disk, read_vote, write_vote};
use crate::raft::membership::Member;
use crate::raft::membership::members_of;
use crate::raft::start::check_whole;
use crate::raft::store::{RaftStore, RaftStoreConfig};
use crate::raft::types::{SnapshotMeta, TypeConfig, log_id};
use crate::seal::Sealer;
use crate::snapshot::{
    Past, ReadSnapshotError, list_snapshots, read_snapshot, read_snapshot_from, remove_others, snapshot_path,
    write_frames, write_snapshot,
};
use crate::tables::{Tables, TablesView};
use crate::wal::{Position, Wal, WalOptions};
use crate::{OpenError, Revision, StorageKey};

/// What the header of a backup says in place of a position in a log.
const BACKUP: &str = "tug store backup";

/// How far revisions go on after those that a recovered member has: further than whoever is lost can have come.
///
/// Clients may have seen revisions that are lost. They must not take other changes for those.
const LOST_REVISIONS_MAX: u64 = 1_000_000_000;

/// Entries of a log that are gone through at once.
const READ_ENTRIES: u64 = 256;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the backup")]
pub struct BackupError {
    #[from]
    source: io::Error,
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something is in the directory; nothing in it was changed.
    #[error("`{}` is not empty", .dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// What was given is no backup, or damaged.
    #[error("this is no whole backup: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The backup is encrypted, and no key was given.
    #[error("the backup is encrypted, and no key was given")]
    KeyMissing,
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] OpenError),
}

/// What became of a member that was made a group of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The newest revision that is there. What others acknowledged after it is lost.
    pub revision: Revision,
    /// Where revisions go on. Whoever watches after an earlier one has to begin anew.
    pub goes_on_at: Revision,
    /// Entries of the log that are there, counted from the beginning of the group.
    pub last_index: u64,
    /// Entries of which this member knew that they were agreed on.
    pub committed_index: u64,
    /// Transactions that were in the log without this member knowing that they were agreed on: they are done now, and
    /// clients may have been told that they were not.
    pub uncertain_transactions: u64,
    /// The term of the last entry.
    pub term: u64,
    /// The members that no longer belong to the group, and must not come back with what they have.
    pub dropped: Vec<Member>,
}

impl RaftStore {
    /// Writes all that is there at one revision, while writes go on; gives the writer back, and the revision.
    ///
    /// With a key the backup is encrypted. On any member; call [`crate::Store::ensure_newest`] before, to have what the
    /// others acknowledged.
    pub async fn backup<W: Write + Send + 'static>(
        &self,
        writer: W,
        key: Option<StorageKey>,
    ) -> Result<(W, Revision), BackupError> {
        let view = self.running.tables.read().view();
        let write = tokio::task::spawn_blocking(move || {
            let sealer = key.map(Sealer::new).transpose()?;
            // Who watches starts anew after a restore.
            let frames = write_frames(writer, json!(BACKUP), &view, Past::Nothing, sealer.as_ref(), None)?;
            let mut writer = frames.file;
            writer.flush()?;
            Ok((writer, view.revision))
        });
        let written = write.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        Ok(written?)
    }
}

/// Makes a backup a group of one, in an empty directory; gives its revision.
///
/// The configuration says where, as which member, at which address, and with which key; the backup's own key is given
/// apart. What is left behind by a restore that broke off is refused, and has to be removed. It reads and writes files
/// until it is done.
pub fn restore(
    config: &RaftStoreConfig,
    backup: impl Read + Send,
    key: Option<StorageKey>,
) -> Result<Revision, RestoreError> {
    let io = |source| OpenError::Io {
        path: config.dir.clone(),
        source,
    };
    let not_empty = || RestoreError::NotEmpty {
        dir: config.dir.clone(),
    };
    // Looked at first: a directory that is not ours gets no folders.
    let is_foreign = fs::read_dir(&config.dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_foreign {
        return Err(not_empty());
    }
    let key = key.map(Sealer::new).transpose().map_err(io)?;
    let read = read_snapshot_from(backup, config.limits.clone(), key.as_ref());
    let (header, tables) = read.map_err(|error| match error {
        ReadSnapshotError::Sealed => RestoreError::KeyMissing,
        error => RestoreError::Damaged {
            reason: error.to_string(),
        },
    })?;
    if header.log != json!(BACKUP) {
        let reason = "it is something else of a store".to_owned();
        return Err(RestoreError::Damaged { reason });
    }
    let directory = Directory::make_empty(&config.dir)?.ok_or_else(not_empty)?;
    let first = Position {
        term: 1,
        member: config.member,
        index: 0,
    };
    let wal = open_log(config, &directory)?.0;
    let outcome = found(config, &directory, &wal, &tables.view(), first).map_err(io);
    wal.close();
    outcome?;
    directory.write_format(config.member, config.encryption.as_ref())?;
    Ok(tables.revision())
}

/// Makes a stopped member a group of its own, of what its log has.
///
/// For when the others are lost for good: what they agreed on without this member is lost with them. The configuration
/// says where, as which member, at which address, and with which key. It reads and writes files until it is done; when
/// it breaks off, the directory is as it was, or as it will be.
pub fn recover(config: &RaftStoreConfig) -> Result<RecoveryReport, OpenError> {
    if !config.dir.join("format").exists() {
        let source = io::Error::new(io::ErrorKind::NotFound, "there is no member");
        let path = config.dir.clone();
        return Err(OpenError::Io { path, source });
    }
    let io = |source| OpenError::Io {
        path: config.dir.clone(),
        source,
    };
    let directory = Directory::open(&config.dir, config.member, config.encryption.as_ref())?;
    let sealer = config.sealer().map_err(io)?;
    let (mut tables, meta) = match list_snapshots(&directory.snapshots()).map_err(io)?.pop() {
        None => (Tables::new(config.limits.clone()), SnapshotMeta::default()),
        Some(path) => {
            let damaged = |reason: String| OpenError::Damaged {
                path: path.clone(),
                offset: 0,
                reason,
            };
            let read = read_snapshot(&path, config.limits.clone(), sealer.as_deref());
            let (header, tables) = read.map_err(|error| damaged(error.to_string()))?;
            let meta = serde_json::from_value(header.log).map_err(|error| damaged(error.to_string()))?;
            (tables, meta)
        }
    };
    let (wal, committed) = open_log(config, &directory)?;
    if let Err(error) = check_whole(config, &directory, &wal, &meta) {
        wal.close();
        return Err(error);
    }
    let recovered = (|| {
        let next = meta.last_log_id.map_or(0, |id: LogId<u64>| id.index + 1);
        let committed_index = committed.map_or(0, |committed| committed.index + 1).max(next);
        let mut replay = Replay {
            members: members_of(meta.last_membership.membership()),
            last: meta.last_log_id,
            committed_index,
            uncertain: 0,
        };
        replay.run(&wal, sealer.as_deref(), &mut tables)?;
        let last = replay
            .last
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "nothing was ever written"))?;
        let position = Position {
            term: last.leader_id.term,
            member: last.leader_id.node_id,
            index: last.index,
        };
        let goes_on_at = Revision(tables.revision().0 + LOST_REVISIONS_MAX);
        found(
            config,
            &directory,
            &wal,
            &tables.view().raised(goes_on_at),
            position,
        )?;
        let dropped = replay
            .members
            .into_iter()
            .filter(|member| member.number != config.member);
        Ok(RecoveryReport {
            revision: tables.revision(),
            goes_on_at,
            last_index: last.index + 1,
            committed_index: committed_index.min(last.index + 1),
            uncertain_transactions: replay.uncertain,
            term: last.leader_id.term,
            dropped: dropped.collect(),
        })
    })();
    wal.close();
    recovered.map_err(io)
}

/// What going through a log comes to.
struct Replay {
    members: Vec<Member>,
    last: Option<LogId<u64>>,
    committed_index: u64,
    uncertain: u64,
}

impl Replay {
    fn run(&mut self, wal: &Wal, sealer: Option<&Sealer>, tables: &mut Tables) -> io::Result<()> {
        loop {
            let next = self.last.map_or(0, |id| id.index + 1);
            let entries = wal.read(next, next + READ_ENTRIES)?;
            if entries.is_empty() {
                tables.take_wakes();
                return Ok(());
            }
            for entry in entries {
                self.apply(&from_disk(entry, sealer)?, tables)?;
            }
        }
    }

    fn apply(&mut self, entry: &openraft::Entry<TypeConfig>, tables: &mut Tables) -> io::Result<()> {
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
                self.members = members_of(stored.membership());
            }
            EntryPayload::Normal(batch) => {
                for proposal in batch.proposals() {
                    let taken = proposal.take();
                    let (transaction, _) =
                        taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    // Refused here as it would have been there.
                    _ = tables.apply(transaction);
                }
                if entry.log_id.index >= self.committed_index {
                    self.uncertain += batch.proposals().len() as u64;
                }
            }
        }
        self.last = Some(entry.log_id);
        Ok(())
    }
}

fn open_log(config: &RaftStoreConfig, directory: &Directory) -> Result<(Wal, Option<Position>), OpenError> {
    let options = WalOptions {
        segment_bytes: config.segment_bytes,
        first_segment_bytes: config.segment_bytes.min(1 << 20),
        newest_path: Some(directory.segments()),
        before_write: config.before_write.clone(),
    };
    Ok(Wal::open(&directory.log(), options)?)
}

/// Makes the tables the state of a group of one at a position of the log, and gives up the log before.
///
/// The snapshot comes first, and says by itself who is in the group; what comes after it can be done again.
fn found(
    config: &RaftStoreConfig,
    directory: &Directory,
    wal: &Wal,
    tables: &TablesView,
    position: Position,
) -> io::Result<()> {
    let id = log_id(position);
    let nodes = BTreeMap::from([(config.member, BasicNode::new(&config.address))]);
    let membership = Membership::new(vec![BTreeSet::from([config.member])], nodes);
    let meta = SnapshotMeta {
        last_log_id: Some(id),
        last_membership: StoredMembership::new(Some(id), membership),
        snapshot_id: format!("{id} alone"),
    };
    let path: &Path = &snapshot_path(&directory.snapshots(), position.index + 1);
    let sealer: Option<Arc<Sealer>> = config.sealer()?;
    let log = serde_json::to_value(&meta)?;
    // Who watched the group before begins anew.
    write_snapshot(path, log, tables, Past::Nothing, sealer.as_deref(), None)?;
    remove_others(&directory.snapshots(), path)?;
    let (sender, done) = mpsc::channel();
    wal.set_committed(position);
    wal.purge(position, Box::new(move |outcome| _ = sender.send(outcome)));
    done.recv().unwrap_or_else(|error| Err(io::Error::other(error)))?;
    let before = read_vote(&directory.vote())?;
    let term = before.map_or(position.term, |vote| vote.leader_id().term.max(position.term));
    write_vote(&directory.vote(), &Vote::new(term + 1, config.member))
}
