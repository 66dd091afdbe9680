//! Writing the log.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crc32fast::hash as crc32;

use crate::directory::sync_directory;
use crate::wal::frame;
use crate::wal::index::Slot;
use crate::wal::log::{Done, Shared, WalOptions};
use crate::wal::record::{Entry, Position, put_committed, put_entry, put_purge, put_truncate};
use crate::wal::recovery::{Recovered, write_newest};
use crate::wal::segment::{
    SEGMENT_HEADER_BYTES, Segment, SegmentHeader, make_spare, segment_path, segment_with_room,
};

/// Entries are gathered into one frame up to this size.
const FRAME_BYTES_MAX: usize = 8 << 20;

/// The frame buffer is given back when it grew beyond this.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// What the writer is asked to do.
pub(crate) enum Command {
    Append {
        entries: Vec<Entry>,
        done: Done,
    },
    Truncate {
        since_index: u64,
        done: Done,
    },
    Purge {
        upto: Position,
        done: Done,
    },
    /// Room for so many bytes of frames.
    Reserve {
        bytes: u64,
        done: Done,
    },
    Run {
        work: Box<dyn FnOnce() -> io::Result<()> + Send>,
        done: Done,
    },
    Close,
}

/// The one that writes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    options: WalOptions,
    segment: Option<Segment>,
    /// The segments before it, oldest first, and how many bytes of each are frames.
    older: Vec<(u64, u64)>,
    offset: u64,
    sequence: u64,
    /// How far the log on disk says that it is committed.
    committed: Option<Position>,
    spare: Option<Spare>,
    frame: Frame,
    failure: Option<io::Error>,
}

/// Does what comes in until the log is closed: the work of the log's own thread.
pub(crate) fn serve(writer: &Mutex<Writer>, inbox: &Receiver<Command>, waiting: &AtomicUsize) {
    let writer = || writer.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(first) = inbox.recv() {
        match writer().write_all(first, inbox) {
            Some(count) => _ = waiting.fetch_sub(count, Ordering::SeqCst),
            None => return,
        }
    }
    writer().close();
}

/// The segment that comes next.
enum Spare {
    /// It is being made by another thread.
    Making(JoinHandle<io::Result<u64>>),
    /// It is there, with so many bytes.
    Ready(u64),
}

/// What is written next.
#[derive(Default)]
struct Frame {
    buffer: Vec<u8>,
    slots: Vec<Slot>,
    done: Vec<Done>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, options: WalOptions, recovered: Recovered) -> io::Result<Self> {
        let mut older: Vec<_> = recovered
            .segments
            .iter()
            .map(|header| (header.number, header.bytes))
            .collect();
        older.pop();
        let mut writer = Self {
            options,
            segment: None,
            older,
            offset: SEGMENT_HEADER_BYTES,
            sequence: recovered.sequence,
            committed: recovered.committed,
            spare: None,
            frame: Frame::default(),
            failure: None,
            shared,
        };
        if let Some(last) = recovered.last {
            let dir = &writer.shared.dir;
            writer.segment = Some(Segment::reopen(dir, last.header, last.offset, last.is_clean)?);
            writer.offset = last.offset;
        }
        *writer.shared.index() = recovered.index;
        writer.count_bytes();
        let held = writer.shared.bytes.load(Ordering::Relaxed);
        writer.shared.written.store(held, Ordering::Relaxed);
        Ok(writer)
    }

    /// Does one thing and waits for the disk.
    pub(crate) fn write(&mut self, command: Command) {
        self.take(command);
        self.flush();
    }

    /// Does all that has come in, as far as one frame holds it, and says how much that was; nothing when the log is
    /// closed.
    fn write_all(&mut self, first: Command, inbox: &Receiver<Command>) -> Option<usize> {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(command) = next.take() {
            if matches!(command, Command::Close) {
                self.flush();
                self.close();
                return None;
            }
            self.take(command);
            count += 1;
            if self.frame.buffer.len() < FRAME_BYTES_MAX {
                next = inbox.try_recv().ok();
            }
        }
        self.flush();
        Some(count)
    }

    fn take(&mut self, command: Command) {
        if let Some(failure) = &self.failure {
            return command.refuse(failure);
        }
        match command {
            Command::Append { entries, done } => {
                let frame = self.frame();
                for entry in entries {
                    let payload = put_entry(&mut frame.buffer, &entry);
                    frame.slots.push(Slot {
                        position: entry.position,
                        segment: 0,
                        offset: payload.start as u64,
                        length: payload.len(),
                        crc: crc32(&entry.payload),
                    });
                }
                frame.done.push(done);
            }
            Command::Truncate { since_index, done } => {
                self.flush();
                let frame = self.frame();
                put_truncate(&mut frame.buffer, since_index);
                frame.done.push(done);
                let shared = self.shared.clone();
                self.flush_then(move |_| {
                    shared.index().truncate(since_index);
                    Ok(())
                });
            }
            Command::Purge { upto, done } => {
                self.flush();
                let frame = self.frame();
                put_purge(&mut frame.buffer, upto);
                frame.done.push(done);
                self.flush_then(move |writer| {
                    writer.shared.index().purge(upto);
                    writer.remove_segments()
                });
            }
            Command::Reserve { bytes, done } => {
                self.flush();
                done(self.reserve(bytes));
            }
            Command::Run { work, done } => {
                self.flush();
                let outcome = self.before_write().and_then(|()| work());
                self.failure = outcome.as_ref().err().map(same_error);
                done(outcome);
            }
            Command::Close => {}
        }
    }

    /// The frame that is being gathered.
    fn frame(&mut self) -> &mut Frame {
        if self.frame.buffer.is_empty() {
            frame::begin(&mut self.frame.buffer);
        }
        &mut self.frame
    }

    fn flush(&mut self) {
        self.flush_then(|_| Ok(()));
    }

    /// Writes and syncs what was gathered, does what may only be done then, and tells those who wait.
    fn flush_then(&mut self, then: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.frame.buffer.is_empty() {
            return;
        }
        let outcome = match &self.failure {
            Some(failure) => Err(same_error(failure)),
            None => self.write_frame().and_then(|()| then(self)),
        };
        self.frame.buffer.clear();
        self.frame.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.frame.slots.clear();
        if let Err(error) = &outcome
            && self.failure.is_none()
        {
            tracing::error!(%error, "the log cannot be written any more");
            self.failure = Some(same_error(error));
        }
        for done in std::mem::take(&mut self.frame.done) {
            done(outcome.as_ref().copied().map_err(same_error));
        }
    }

    fn write_frame(&mut self) -> io::Result<()> {
        let committed = self.shared.committed();
        if let Some(committed) = committed.filter(|_| committed != self.committed) {
            put_committed(&mut self.frame.buffer, committed);
        }
        let length = frame::padded(self.frame.buffer.len() - frame::HEADER_BYTES) as u64;
        if self
            .segment
            .as_ref()
            .is_none_or(|segment| self.offset + length > segment.bytes)
        {
            self.begin_segment(length)?;
        }
        frame::finish(&mut self.frame.buffer, self.sequence);
        self.before_write()?;
        let Some(segment) = &self.segment else {
            return Err(io::Error::other("there is no segment to write to"));
        };
        segment.write(&self.frame.buffer, self.offset)?;
        let (number, bytes) = (segment.number, segment.bytes);
        let mut index = self.shared.index();
        for mut slot in self.frame.slots.drain(..) {
            slot.segment = number;
            slot.offset += self.offset;
            if !index.push(slot) {
                return Err(io::Error::other(format!(
                    "entry {} leaves a hole",
                    slot.position.index
                )));
            }
        }
        drop(index);
        self.committed = committed;
        self.sequence += 1;
        self.offset += length;
        self.shared.written.fetch_add(length, Ordering::Relaxed);
        self.count_bytes();
        if self.offset > bytes / 2 && self.spare.is_none() {
            self.make_spare_aside();
        }
        Ok(())
    }

    /// Starts a segment that takes a frame of the given length, and notes in it what older ones say.
    fn begin_segment(&mut self, frame_bytes: u64) -> io::Result<()> {
        self.before_write()?;
        let purged = self.shared.index().purged();
        let mut notes = Vec::new();
        frame::begin(&mut notes);
        if let Some(purged) = purged {
            put_purge(&mut notes, purged);
        }
        if let Some(committed) = self.committed {
            put_committed(&mut notes, committed);
        }
        let notes_bytes = frame::padded(notes.len() - frame::HEADER_BYTES) as u64;
        let wanted = SEGMENT_HEADER_BYTES + notes_bytes + frame_bytes;
        let bytes = self.ensure_spare(wanted)?;
        self.spare = None;
        self.shared.spare.store(0, Ordering::SeqCst);
        let dir = &self.shared.dir;
        let header = SegmentHeader {
            number: self.segment.as_ref().map_or(1, |segment| segment.number + 1),
            first_sequence: self.sequence,
            bytes,
        };
        let segment = Segment::create(dir, header)?;
        frame::finish(&mut notes, self.sequence);
        segment.write(&notes, SEGMENT_HEADER_BYTES)?;
        self.sequence += 1;
        if let Some(full) = self.segment.replace(segment) {
            self.older.push((full.number, self.offset));
        }
        self.offset = SEGMENT_HEADER_BYTES + notes_bytes;
        if let Some(path) = &self.options.newest_path
            && let Err(error) = write_newest(path, header.number)
        {
            // It only tells less than it could, as on a disk without room for it.
            tracing::debug!(%error, "the newest segment is not noted");
        }
        Ok(())
    }

    /// Makes room for so many bytes of frames, in this segment or the next one.
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let rest = self
            .segment
            .as_ref()
            .map_or(0, |segment| segment.bytes - self.offset);
        if rest < bytes {
            self.ensure_spare(segment_with_room(bytes))?;
        }
        Ok(())
    }

    /// Makes sure that a spare of at least so many bytes is there; gives how many it has.
    fn ensure_spare(&mut self, wanted: u64) -> io::Result<u64> {
        let ready = match self.spare.take() {
            Some(Spare::Ready(bytes)) => bytes,
            // Where preparing one aside failed, it is tried once more.
            Some(Spare::Making(thread)) => thread.join().ok().and_then(Result::ok).unwrap_or(0),
            None => 0,
        };
        let bytes = if ready >= wanted {
            ready
        } else {
            let usual = match self.segment {
                Some(_) => self.options.segment_bytes,
                None => self.options.first_segment_bytes,
            };
            self.shared.spare.store(0, Ordering::SeqCst);
            self.before_write()?;
            make_spare(&self.shared.dir, usual.max(wanted))?;
            usual.max(wanted)
        };
        self.spare = Some(Spare::Ready(bytes));
        self.shared.spare.store(bytes, Ordering::SeqCst);
        Ok(bytes)
    }

    /// Prepares the next segment while this one is filled.
    fn make_spare_aside(&mut self) {
        let (shared, bytes) = (self.shared.clone(), self.options.segment_bytes);
        let thread = std::thread::Builder::new().name("store-log-spare".to_owned());
        let thread = thread.spawn(move || {
            make_spare(&shared.dir, bytes)?;
            shared.spare.store(bytes, Ordering::SeqCst);
            Ok(bytes)
        });
        // Without a thread the segment is made when it is needed.
        self.spare = thread.ok().map(Spare::Making);
    }

    /// Removes the segments whose entries are all purged, oldest first.
    fn remove_segments(&mut self) -> io::Result<()> {
        let needed = self.shared.index().first_segment().unwrap_or(u64::MAX);
        let unneeded = self
            .older
            .iter()
            .take_while(|(number, _)| *number < needed)
            .count();
        if unneeded > 0 {
            let dir = &self.shared.dir;
            for (number, _) in self.older.drain(..unneeded) {
                std::fs::remove_file(segment_path(dir, number))?;
            }
            sync_directory(dir)?;
            self.count_bytes();
        }
        Ok(())
    }

    /// Ends: notes how far the log is committed.
    fn close(&mut self) {
        if self.shared.committed() != self.committed && self.failure.is_none() && self.segment.is_some() {
            self.frame();
            self.flush();
        }
        // A spare that is still being made must not appear after the directory was given up.
        if let Some(Spare::Making(thread)) = self.spare.take() {
            _ = thread.join();
        }
        self.failure
            .get_or_insert_with(|| io::Error::other("the log is closed"));
    }

    fn count_bytes(&self) {
        let older: u64 = self.older.iter().map(|(_, bytes)| bytes).sum();
        self.shared.bytes.store(older + self.offset, Ordering::Relaxed);
        let rest = self
            .segment
            .as_ref()
            .map_or(0, |segment| segment.bytes - self.offset);
        self.shared.rest.store(rest, Ordering::SeqCst);
    }

    fn before_write(&self) -> io::Result<()> {
        self.options
            .before_write
            .as_ref()
            .map_or(Ok(()), |before| before())
    }
}

impl Command {
    /// Answers that nothing was done.
    pub(crate) fn refuse(self, error: &io::Error) {
        match self {
            Self::Append { done, .. }
            | Self::Truncate { done, .. }
            | Self::Purge { done, .. }
            | Self::Reserve { done, .. }
            | Self::Run { done, .. } => done(Err(same_error(error))),
            Self::Close => {}
        }
    }
}

/// An error can be told to many.
fn same_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
