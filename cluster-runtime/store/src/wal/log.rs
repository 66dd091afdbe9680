//! The handle of the log.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crc32fast::hash as crc32;

use crate::wal::index::{Index, Slot};
use crate::wal::record::{Entry, Position};
use crate::wal::recovery::{RecoveryError, check_newest, recover};
use crate::wal::segment::{remove_spare, room_of_segment, segment_path};
use crate::wal::writer::{Command, Writer, serve};

/// Bytes that are read from a segment at once.
const READ_BYTES_MAX: u64 = 4 << 20;

/// Entries that are written at once, without the writer's thread: for these, changing threads takes longer than
/// writing.
const WRITE_AT_ONCE_BYTES: usize = 16 << 10;

/// Called when what was asked is durable, or with the reason why it is not.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// How a log is kept.
#[derive(Clone)]
pub(crate) struct WalOptions {
    /// Size of a segment; one frame that is larger gets a segment of its own.
    pub(crate) segment_bytes: u64,
    /// Size of the very first segment, so that a new log is there at once.
    pub(crate) first_segment_bytes: u64,
    /// File that says which segment is the newest, to notice when it is missing.
    pub(crate) newest_path: Option<PathBuf>,
    /// Called before every write to the disk, to let it fail in tests.
    pub(crate) before_write: Option<Arc<dyn Fn() -> io::Result<()> + Send + Sync>>,
}

/// The write-ahead log of one member.
///
/// Writing happens in the order of the calls, by a thread of its own or, where it is little, at once. After a write
/// fails nothing more is written: what the failed sync left behind is not known, and only reading the disk anew can
/// tell. A full disk need not come to that: room is [reserved](Self::reserve) first.
#[derive(Clone)]
pub(crate) struct Wal {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// How many commands were given to the thread and are not done.
    waiting: Arc<AtomicUsize>,
    writer: Arc<Mutex<Writer>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the handles and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    index: Mutex<Index>,
    /// How far the log is committed; it is written with whatever is written next.
    committed: Mutex<Option<Position>>,
    /// Bytes of frames that were written and are still needed.
    pub(crate) bytes: AtomicU64,
    /// Bytes of frames that were there at the start or written since.
    pub(crate) written: AtomicU64,
    /// Bytes of the current segment that are not written yet.
    pub(crate) rest: AtomicU64,
    /// Bytes of the segment that is prepared.
    pub(crate) spare: AtomicU64,
}

impl Wal {
    /// Reads the log of a folder, cuts off a torn tail, and starts the writer.
    ///
    /// Gives the log and the newest position that was known to be committed.
    pub(crate) fn open(dir: &Path, options: WalOptions) -> Result<(Self, Option<Position>), RecoveryError> {
        let recovered = recover(dir)?;
        if let Some(path) = &options.newest_path {
            check_newest(dir, path, recovered.segments.last().map(|segment| segment.number))?;
        }
        let unusable = |source| RecoveryError::Read {
            path: dir.to_owned(),
            source,
        };
        remove_spare(dir).map_err(unusable)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            index: Mutex::default(),
            committed: Mutex::new(recovered.committed),
            bytes: AtomicU64::new(0),
            written: AtomicU64::new(0),
            rest: AtomicU64::new(0),
            spare: AtomicU64::new(0),
        });
        let committed = recovered.committed;
        let (commands, inbox) = mpsc::channel();
        let writer = Writer::new(shared.clone(), options, recovered).map_err(unusable)?;
        let thread = std::thread::Builder::new().name("store-log".to_owned());
        let writer = Arc::new(Mutex::new(writer));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (its_writer, its_waiting) = (writer.clone(), waiting.clone());
        let thread = thread.spawn(move || serve(&its_writer, &inbox, &its_waiting));
        let wal = Self {
            shared,
            commands,
            waiting,
            writer,
            thread: Arc::new(Mutex::new(Some(thread.map_err(unusable)?))),
        };
        Ok((wal, committed))
    }

    /// Appends entries that follow those before them.
    pub(crate) fn append(&self, entries: Vec<Entry>, done: Done) {
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        let command = Command::Append { entries, done };
        if bytes <= WRITE_AT_ONCE_BYTES && self.waiting.load(Ordering::SeqCst) == 0 {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write(command);
        } else {
            self.send(command);
        }
    }

    /// Whether so many bytes of frames can be appended without asking the disk for room.
    ///
    /// Who asks counts what is appended and not written yet.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let spare = self.shared.spare.load(Ordering::SeqCst);
        // A segment that is begun meanwhile takes the spare away before it shows what it has.
        self.shared
            .rest
            .load(Ordering::SeqCst)
            .max(room_of_segment(spare))
            >= bytes
    }

    /// Makes room for so many bytes of frames after those that were appended before.
    ///
    /// A failure harms nothing: nothing was written to the log, and it goes on as before.
    pub(crate) fn reserve(&self, bytes: u64, done: Done) {
        self.send(Command::Reserve { bytes, done });
    }

    /// Notes how far the log is committed; it becomes durable with whatever is written next.
    pub(crate) fn set_committed(&self, position: Position) {
        let mut committed = self
            .shared
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *committed = Some(position);
    }

    /// Voids the entries from an index on.
    pub(crate) fn truncate(&self, since_index: u64, done: Done) {
        self.send(Command::Truncate { since_index, done });
    }

    /// Gives up the entries up to a position, and the segments that hold no others.
    pub(crate) fn purge(&self, upto: Position, done: Done) {
        self.send(Command::Purge { upto, done });
    }

    /// Does other writing in its turn.
    pub(crate) fn run(&self, work: Box<dyn FnOnce() -> io::Result<()> + Send>, done: Done) {
        self.send(Command::Run { work, done });
    }

    /// The newest entry, and the newest one that was purged.
    pub(crate) fn state(&self) -> (Option<Position>, Option<Position>) {
        let index = self.shared.index();
        (index.last(), index.purged())
    }

    /// Bytes that the log holds on disk.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the log held when it was opened, and all that was written since.
    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Reads the entries of the indexes from `start` to before `end` that are written.
    pub(crate) fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let slots = self.shared.index().range(start, end);
        let mut entries = Vec::with_capacity(slots.len());
        let mut rest = slots.as_slice();
        while let Some(first) = rest.first() {
            let near = |slot: &&Slot| {
                slot.segment == first.segment && slot.offset.saturating_sub(first.offset) < READ_BYTES_MAX
            };
            let count = rest.iter().take_while(near).count();
            self.read_together(&rest[..count], &mut entries)?;
            rest = &rest[count..];
        }
        Ok(entries)
    }

    /// Reads entries that are near each other in one segment.
    fn read_together(&self, slots: &[Slot], entries: &mut Vec<Entry>) -> io::Result<()> {
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
            return Ok(());
        };
        let path = segment_path(&self.shared.dir, first.segment);
        let mut bytes = vec![0; (last.offset - first.offset) as usize + last.length];
        File::open(&path)?.read_exact_at(&mut bytes, first.offset)?;
        for slot in slots {
            let start = (slot.offset - first.offset) as usize;
            let payload = &bytes[start..start + slot.length];
            if crc32(payload) != slot.crc {
                let place = format!("`{}` is damaged at byte {}", path.display(), slot.offset);
                return Err(io::Error::new(io::ErrorKind::InvalidData, place));
            }
            entries.push(Entry {
                position: slot.position,
                payload: payload.to_vec(),
            });
        }
        Ok(())
    }

    /// Writes what is left and ends the writer.
    pub(crate) fn close(&self) {
        self.send(Command::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            _ = thread.join();
        }
    }

    fn send(&self, command: Command) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if let Err(mpsc::SendError(command)) = self.commands.send(command) {
            command.refuse(&io::Error::other("the log is closed"));
        }
    }
}

impl Shared {
    pub(crate) fn committed(&self) -> Option<Position> {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("dir", &self.shared.dir)
            .finish_non_exhaustive()
    }
}
