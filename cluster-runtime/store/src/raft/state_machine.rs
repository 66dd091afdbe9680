//! The tables as openraft's state machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use openraft::storage::RaftStateMachine;
use openraft::{
    Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, LogIdOptionExt, OptionalSend, RaftSnapshotBuilder,
};

use tokio::sync::watch;

use crate::Limits;
use crate::directory::sync_directory;
use crate::raft::health::Health;
use crate::raft::types::{Membership, Snapshot, SnapshotFile, SnapshotMeta, StorageError, TypeConfig};
use crate::seal::Sealer;
use crate::shared_tables::SharedTables;
use crate::snapshot::{Before, Past, read_snapshot, remove_older, snapshot_path, write_snapshot};
use crate::tables::TablesView;

/// Below this, one thread decodes faster than several are started.
const DECODE_TOGETHER_BYTES: usize = 1 << 20;

/// What is done with committed entries.
pub(crate) struct StateMachine {
    pub(crate) tables: Arc<SharedTables>,
    pub(crate) limits: Limits,
    pub(crate) last_applied: Option<LogId<u64>>,
    pub(crate) membership: Membership,
    pub(crate) snapshots: Arc<Snapshots>,
    /// Tells how many entries are done.
    pub(crate) applied: watch::Sender<u64>,
}

/// The folder of snapshots and the one that is in it.
#[derive(Debug)]
pub(crate) struct Snapshots {
    pub(crate) dir: PathBuf,
    pub(crate) health: Health,
    pub(crate) current: Mutex<Option<(SnapshotMeta, PathBuf)>>,
    /// Size of the current one.
    pub(crate) bytes: AtomicU64,
    /// Whether one is being written.
    pub(crate) is_building: AtomicBool,
    /// How the last one that was written ended.
    pub(crate) outcome: watch::Sender<Result<(), String>>,
    /// Numbers what is being received.
    pub(crate) received: AtomicU64,
    pub(crate) sealer: Option<Arc<Sealer>>,
}

/// Writes the tables as they were when it was made.
pub(crate) struct SnapshotBuilder {
    view: Option<TablesView>,
    last_applied: Option<LogId<u64>>,
    membership: Membership,
    snapshots: Arc<Snapshots>,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, Membership), StorageError> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        decode_together(&entries);
        let mut responses = Vec::new();
        for entry in entries {
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    self.membership = Membership::new(Some(entry.log_id), membership.clone());
                }
                EntryPayload::Normal(batch) => {
                    let mut transactions = Vec::with_capacity(batch.proposals().len());
                    for proposal in batch.proposals() {
                        transactions.push(proposal.take().map_err(|error| {
                            let error = io::Error::new(io::ErrorKind::InvalidData, error);
                            let subject = ErrorSubject::Apply(entry.log_id);
                            StorageError::from_io_error(subject, ErrorVerb::Read, error)
                        })?);
                    }
                    let outcomes = self.tables.change(|tables| {
                        let outcomes = transactions.into_iter();
                        let outcomes =
                            outcomes.map(|(transaction, reply)| (tables.apply(transaction), reply));
                        outcomes.collect::<Vec<_>>()
                    });
                    for (outcome, reply) in outcomes {
                        // Who no longer waits does not want to know.
                        _ = reply.map(|reply| reply.send(outcome));
                    }
                }
            }
            self.last_applied = Some(entry.log_id);
            responses.push(());
        }
        self.applied.send_replace(self.last_applied.next_index());
        Ok(responses)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.snapshots.is_building.store(true, Ordering::SeqCst);
        SnapshotBuilder {
            view: Some(self.tables.read().view()),
            last_applied: self.last_applied,
            membership: self.membership.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        Ok(Box::new(self.snapshots.incoming()))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let (snapshots, limits) = (self.snapshots.clone(), self.limits.clone());
        let meta = meta.clone();
        let installed = meta.clone();
        let work = move || {
            let read = read_snapshot(&snapshot.path, limits, snapshots.sealer.as_deref());
            let (_, tables) = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let path = snapshots.path(&meta);
            File::open(&snapshot.path)?.sync_all()?;
            fs::rename(&snapshot.path, &path)?;
            sync_directory(&snapshots.dir)?;
            let bytes = fs::metadata(&path)?.len();
            snapshots.replace(meta, &path, bytes)?;
            Ok(tables)
        };
        let tables = blocking(work)
            .await
            .map_err(|error| self.snapshots.failed(error))?;
        self.tables.change(|old| old.replace(tables));
        self.last_applied = installed.last_log_id;
        self.membership = installed.last_membership;
        self.applied.send_replace(self.last_applied.next_index());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.snapshots.current().map(|(meta, path)| Snapshot {
            meta,
            snapshot: Box::new(SnapshotFile { path }),
        }))
    }
}

/// Decodes what was read back from the log with several threads, where it is much: at start-up.
fn decode_together(entries: &[Entry<TypeConfig>]) {
    let proposals = entries.iter().flat_map(|entry| match &entry.payload {
        EntryPayload::Normal(batch) => batch.proposals(),
        _ => &[],
    });
    let encoded: Vec<_> = proposals.filter(|proposal| proposal.is_encoded()).collect();
    let bytes: usize = encoded.iter().map(|proposal| proposal.bytes()).sum();
    if bytes < DECODE_TOGETHER_BYTES {
        return;
    }
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(4));
    thread::scope(|scope| {
        for first in 0..threads {
            let share = encoded.iter().skip(first).step_by(threads);
            scope.spawn(move || share.for_each(|proposal| proposal.decode()));
        }
    });
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let meta = SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
            snapshot_id: self.last_applied.map(|id| id.to_string()).unwrap_or_default(),
        };
        let path = self.snapshots.path(&meta);
        let (view, snapshots) = (self.view.take(), self.snapshots.clone());
        let past = if snapshots.health.waits_for_room() {
            Past::Nothing
        } else {
            Past::Newest
        };
        let work = move || {
            let Some(view) = view else {
                return Err(io::Error::other("a snapshot is built only once"));
            };
            let log = serde_json::to_value(&meta)?;
            let before = snapshots.current();
            // What cannot be copied is written.
            let before = before.and_then(|(_, path)| Before::open(&path, snapshots.sealer.clone()).ok());
            let sealer = snapshots.sealer.as_deref();
            let bytes = write_snapshot(&path, log, &view, past, sealer, before)?;
            snapshots.replace(meta, &path, bytes)
        };
        let outcome = blocking(work).await;
        let snapshots = &self.snapshots;
        snapshots.is_building.store(false, Ordering::SeqCst);
        let told = outcome.as_ref().map(|&()| ()).map_err(ToString::to_string);
        _ = snapshots.outcome.send_replace(told);
        if let Err(error) = outcome {
            // The one before and the log after it still hold everything.
            if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                return Err(snapshots.failed(error));
            }
            tracing::warn!(%error, "a snapshot could not be written, the one before stays");
        }
        Ok(snapshots.newest())
    }
}

/// Does what waits for the disk away from the log's own thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl Snapshots {
    fn path(&self, meta: &SnapshotMeta) -> PathBuf {
        snapshot_path(&self.dir, meta.last_log_id.map_or(0, |id| id.index + 1))
    }

    /// A place for a snapshot that another member sends.
    pub(crate) fn incoming(&self) -> SnapshotFile {
        let number = self.received.fetch_add(1, Ordering::SeqCst);
        SnapshotFile {
            path: self.dir.join(format!("incoming-{number}.tmp")),
        }
    }

    fn current(&self) -> Option<(SnapshotMeta, PathBuf)> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes a snapshot on disk the current one, and removes the one before.
    ///
    /// Nothing becomes of one that another member's has overtaken while it was written: the log between them is gone.
    fn replace(&self, meta: SnapshotMeta, path: &Path, bytes: u64) -> io::Result<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newest = current
            .as_ref()
            .is_none_or(|(before, _)| before.last_log_id <= meta.last_log_id);
        if is_newest {
            self.bytes.store(bytes, Ordering::SeqCst);
            *current = Some((meta, path.to_owned()));
        }
        let newest = current.as_ref().map_or(path, |(_, path)| path);
        remove_older(&self.dir, newest)
    }

    /// The one that is there, or one of nothing.
    fn newest(&self) -> Snapshot {
        let (meta, path) = self.current().unwrap_or_default();
        Snapshot {
            meta,
            snapshot: Box::new(SnapshotFile { path }),
        }
    }

    fn failed(&self, error: io::Error) -> StorageError {
        self.health.fail(&error.to_string());
        StorageError::from_io_error(ErrorSubject::Snapshot(None), ErrorVerb::Write, error)
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;
    use tempfile::TempDir;

    use super::*;
    use crate::snapshot::list_snapshots;

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(LogId::new(CommittedLeaderId::new(1, 1), index)),
            ..SnapshotMeta::default()
        }
    }

    fn snapshots(dir: &Path) -> Snapshots {
        Snapshots {
            dir: dir.to_owned(),
            health: Health::new(dir.to_owned()),
            current: Mutex::default(),
            bytes: AtomicU64::new(0),
            is_building: AtomicBool::new(false),
            outcome: watch::Sender::new(Ok(())),
            received: AtomicU64::new(0),
            sealer: None,
        }
    }

    /// Writes a file as a snapshot up to an index, and makes it the current one.
    fn add(snapshots: &Snapshots, index: u64) -> PathBuf {
        let path = snapshots.path(&meta(index));
        fs::write(&path, "").unwrap();
        snapshots.replace(meta(index), &path, 0).unwrap();
        path
    }

    /// An older one may be finished later, if another member's is installed while it is written.
    #[test]
    fn the_newer_snapshot_stays_whichever_is_finished_first() {
        for order in [[7, 300], [300, 7]] {
            let dir = TempDir::new().unwrap();
            let snapshots = snapshots(dir.path());
            for index in order {
                add(&snapshots, index);
            }
            let newer = snapshots.path(&meta(300));
            assert_eq!(list_snapshots(dir.path()).unwrap(), [newer], "{order:?}");
            assert_eq!(snapshots.newest().meta, meta(300), "{order:?}");
        }
    }

    /// A store that was shut down may still be at it when the same folder is opened again.
    #[test]
    fn one_that_is_written_late_removes_none_that_is_newer() {
        let dir = TempDir::new().unwrap();
        let late = snapshots(dir.path());
        let newer = add(&snapshots(dir.path()), 300);
        add(&late, 7);
        assert_eq!(list_snapshots(dir.path()).unwrap().last(), Some(&newer));
    }
}
