//! The write-ahead log as openraft sees it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogReader, Vote,
};
use tokio::sync::oneshot;

use crate::directory::{replace_file_in_spare, verified, with_checksum};
use crate::raft::batch::{Proposal, SEALED, decode_entry, encode_entry};
use crate::raft::health::Health;
use crate::raft::types::{StorageError, TypeConfig, log_id, position};
use crate::seal::Sealer;
use crate::wal::{self, Position, Wal};

/// Entries that are kept in memory beside the log, to be done and sent without reading them back.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// Entries that are sent to another member at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log and the vote of this member.
#[derive(Clone)]
pub(crate) struct LogStorage {
    wal: Wal,
    vote_path: PathBuf,
    health: Health,
    sealer: Option<Arc<Sealer>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
    cache: Cache,
}

/// The newest entries, without holes.
#[derive(Default)]
struct Cache {
    entries: VecDeque<(Entry<TypeConfig>, usize)>,
    bytes: usize,
}

impl LogStorage {
    /// Takes the log, the position up to which it was known to be committed, and reads the vote.
    pub(crate) fn new(
        wal: Wal,
        committed: Option<LogId<u64>>,
        vote_path: PathBuf,
        health: Health,
        sealer: Option<Arc<Sealer>>,
    ) -> io::Result<Self> {
        let vote = read_vote(&vote_path)?;
        let state = State {
            vote,
            committed,
            cache: Cache::default(),
        };
        Ok(Self {
            wal,
            vote_path,
            health,
            sealer,
            state: Arc::new(Mutex::new(state)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the log for something, and waits until it is durable.
    async fn durable(
        &self,
        subject: ErrorSubject<u64>,
        ask: impl FnOnce(&Wal, Box<dyn FnOnce(io::Result<()>) + Send>),
    ) -> Result<(), StorageError> {
        let (sender, receiver) = oneshot::channel();
        ask(&self.wal, Box::new(move |outcome| _ = sender.send(outcome)));
        let outcome = receiver
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the log was closed")));
        outcome.map_err(|error| {
            self.health.fail(&error.to_string());
            StorageError::from_io_error(subject, ErrorVerb::Write, error)
        })
    }

    fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry<TypeConfig>>> {
        let (cached_from, cached) = self.state().cache.range(start, end);
        let mut entries = Vec::new();
        if start < cached_from {
            for entry in self.wal.read(start, end.min(cached_from))? {
                entries.push(from_disk(entry, self.sealer.as_deref())?);
            }
        }
        entries.extend(cached);
        Ok(entries)
    }
}

/// Reads for whom a member voted last.
pub(crate) fn read_vote(path: &Path) -> io::Result<Option<Vote<u64>>> {
    let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
    match fs::read(path) {
        Ok(content) => Ok(Some(serde_json::from_slice(
            verified(&content).map_err(invalid)?,
        )?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what [`read_vote`] reads.
pub(crate) fn write_vote(path: &Path, vote: &Vote<u64>) -> io::Result<()> {
    replace_file_in_spare(path, &with_checksum(&serde_json::to_vec(vote)?))
}

/// Decodes an entry as it was read from the disk.
pub(crate) fn from_disk(mut entry: wal::Entry, sealer: Option<&Sealer>) -> io::Result<Entry<TypeConfig>> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    if let [SEALED, sealed @ ..] = entry.payload.as_slice() {
        let sealer = sealer.ok_or_else(|| invalid("it is sealed, and no key was given".to_owned()))?;
        let opened = sealer.open(&place(entry.position), sealed);
        entry.payload = opened.map_err(|error| invalid(error.to_string()))?;
    }
    decode_entry(&entry).map_err(|error| invalid(error.to_string()))
}

/// Encodes an entry for the disk.
fn to_disk(entry: &Entry<TypeConfig>, sealer: Option<&Sealer>) -> wal::Entry {
    let mut encoded = encode_entry(entry);
    if let Some(sealer) = sealer {
        let mut sealed = vec![SEALED];
        sealer.seal(&place(encoded.position), &encoded.payload, &mut sealed);
        encoded.payload = sealed;
    }
    encoded
}

/// What an entry is bound to when it is sealed.
fn place(position: Position) -> [u8; 24] {
    let mut place = [0; 24];
    let numbers = [position.term, position.member, position.index];
    for (bytes, number) in place.chunks_mut(8).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    place
}

fn cannot_read(error: io::Error) -> StorageError {
    StorageError::from_io_error(ErrorSubject::Logs, ErrorVerb::Read, error)
}

impl RaftLogReader<TypeConfig> for LogStorage {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end).map_err(cannot_read)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError> {
        let mut entries = self.read(start, end).map_err(cannot_read)?;
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            let is_room = bytes < READ_BYTES_MAX;
            bytes += entry_bytes(entry);
            is_room
        });
        let count = fits.count();
        entries.truncate(count);
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let (last, purged) = self.wal.state();
        Ok(LogState {
            last_purged_log_id: purged.map(log_id),
            last_log_id: last.map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError> {
        let (path, written) = (self.vote_path.clone(), *vote);
        let write = Box::new(move || write_vote(&path, &written));
        self.durable(ErrorSubject::Vote, |wal, done| wal.run(write, done))
            .await?;
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        Ok(self.state().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError> {
        // Only a hint how much may be done again at start-up, so it needs no sync of its own.
        if let Some(committed) = &committed {
            self.wal.set_committed(position(committed));
        }
        self.state().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError> {
        Ok(self.state().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        {
            let mut state = self.state();
            for entry in entries {
                encoded.push(to_disk(&entry, self.sealer.as_deref()));
                let committed = state.committed.map(|id| id.index);
                state.cache.push(entry, committed);
            }
        }
        let health = self.health.clone();
        let done = Box::new(move |outcome: io::Result<()>| {
            if let Err(error) = &outcome {
                health.fail(&error.to_string());
            }
            callback.log_io_completed(outcome);
        });
        self.wal.append(encoded, done);
        Ok(())
    }

    async fn truncate(&mut self, since: LogId<u64>) -> Result<(), StorageError> {
        self.state().cache.truncate(since.index);
        self.durable(ErrorSubject::Logs, |wal, done| wal.truncate(since.index, done))
            .await
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), StorageError> {
        self.state().cache.purge(upto.index);
        self.durable(ErrorSubject::Logs, |wal, done| wal.purge(position(&upto), done))
            .await
    }
}

impl Cache {
    /// Adds the entry that comes next. What is committed is on disk and being done, and makes room; before that an
    /// entry carries who waits for it.
    fn push(&mut self, entry: Entry<TypeConfig>, committed: Option<u64>) {
        let index = entry.log_id.index;
        if self
            .entries
            .back()
            .is_some_and(|(last, _)| last.log_id.index + 1 != index)
        {
            *self = Self::default();
        }
        let bytes = entry_bytes(&entry);
        while self.bytes + bytes > CACHE_BYTES_MAX
            && let Some((oldest, bytes)) = self.entries.front()
            && Some(oldest.log_id.index) <= committed
        {
            self.bytes -= bytes;
            self.entries.pop_front();
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
    }

    fn truncate(&mut self, since_index: u64) {
        while self
            .entries
            .back()
            .is_some_and(|(entry, _)| entry.log_id.index >= since_index)
        {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
    }

    fn purge(&mut self, upto_index: u64) {
        while self
            .entries
            .front()
            .is_some_and(|(entry, _)| entry.log_id.index <= upto_index)
        {
            self.bytes -= self.entries.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The index from which on entries are here, and those of the range.
    fn range(&self, start: u64, end: u64) -> (u64, Vec<Entry<TypeConfig>>) {
        let Some((first, _)) = self.entries.front() else {
            return (u64::MAX, Vec::new());
        };
        let first = first.log_id.index;
        let skipped = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let entries = self.entries.iter().skip(skipped).map(|(entry, _)| entry);
        let entries = entries.take_while(|entry| entry.log_id.index < end);
        (first, entries.cloned().collect())
    }
}

fn entry_bytes(entry: &Entry<TypeConfig>) -> usize {
    let content = match &entry.payload {
        EntryPayload::Normal(batch) => batch.proposals().iter().map(Proposal::bytes).sum(),
        _ => 0,
    };
    content + size_of::<Entry<TypeConfig>>()
}
