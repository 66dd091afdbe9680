//! Reading the log at start-up: what is whole is taken, a torn tail is cut off, damage is an error.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crc32fast::hash as crc32;

use crate::directory::{replace_file, verified, with_checksum};
use crate::wal::frame::{self, Found, HEADER_BYTES};
use crate::wal::index::{Index, Slot};
use crate::wal::record::{Position, Record, records};
use crate::wal::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, list_segments, segment_path};

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error("cannot read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` is missing", .path.display())]
    Missing { path: PathBuf },
    #[error("`{}` is damaged at byte {offset}: {reason}", .path.display())]
    Damaged {
        path: PathBuf,
        offset: u64,
        reason: String,
    },
}

/// What the log held.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) committed: Option<Position>,
    /// Sequence number of the next frame.
    pub(crate) sequence: u64,
    /// The segment to go on with.
    pub(crate) last: Option<LastSegment>,
    /// The segments before it and their sizes, oldest first.
    pub(crate) segments: Vec<SegmentHeader>,
}

/// The segment that was being filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastSegment {
    pub(crate) header: SegmentHeader,
    /// Where its next frame goes.
    pub(crate) offset: u64,
    /// Whether nothing stands there.
    pub(crate) is_clean: bool,
}

/// Reads all segments of a folder.
pub(crate) fn recover(dir: &Path) -> Result<Recovered, RecoveryError> {
    let numbers = list_segments(dir).map_err(|source| RecoveryError::Read {
        path: dir.to_owned(),
        source,
    })?;
    let mut recovered = Recovered::default();
    for (place, number) in numbers.iter().enumerate() {
        let is_last = place + 1 == numbers.len();
        recovered.read_segment(dir, *number, is_last)?;
    }
    if recovered.index.has_gap() {
        return Err(RecoveryError::Damaged {
            path: dir.to_owned(),
            offset: 0,
            reason: "the oldest segments are missing".to_owned(),
        });
    }
    Ok(recovered)
}

/// Notices when the newest segments are missing, as in a directory that was copied halfway.
///
/// What the file says may be behind: it is written after a segment was begun, if that can be.
pub(crate) fn check_newest(dir: &Path, newest_path: &Path, found: Option<u64>) -> Result<(), RecoveryError> {
    let path = newest_path.to_owned();
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RecoveryError::Read { path, source }),
    };
    let number = verified(&content)
        .ok()
        .and_then(|line| str::from_utf8(line).ok()?.parse().ok());
    match number {
        None => Err(RecoveryError::Damaged {
            path,
            offset: 0,
            reason: "the checksum does not match".to_owned(),
        }),
        Some(number) if found < Some(number) => Err(RecoveryError::Missing {
            path: segment_path(dir, number),
        }),
        Some(_) => Ok(()),
    }
}

/// Writes the file that [`check_newest`] reads.
pub(crate) fn write_newest(newest_path: &Path, number: u64) -> io::Result<()> {
    replace_file(newest_path, &with_checksum(number.to_string().as_bytes()))
}

impl Recovered {
    fn read_segment(&mut self, dir: &Path, number: u64, is_last: bool) -> Result<(), RecoveryError> {
        let path = segment_path(dir, number);
        let damaged = |offset: usize, reason: &str| RecoveryError::Damaged {
            path: path.clone(),
            offset: offset as u64,
            reason: reason.to_owned(),
        };
        let bytes = fs::read(&path).map_err(|source| RecoveryError::Read {
            path: path.clone(),
            source,
        })?;
        let header =
            SegmentHeader::decode(&bytes).ok_or_else(|| damaged(0, "the segment's header is damaged"))?;
        if header.number != number {
            return Err(damaged(0, "the segment is another one than its name says"));
        }
        if header.bytes != bytes.len() as u64 {
            let reason = format!(
                "the segment was made with {} bytes and has {}",
                header.bytes,
                bytes.len()
            );
            return Err(damaged(0, &reason));
        }
        if let Some(before) = self.segments.last() {
            if before.number + 1 != number {
                return Err(damaged(0, "the segment before this one is missing"));
            }
            if header.first_sequence != self.sequence {
                return Err(damaged(
                    0,
                    "frames at the end of the segment before this one are missing",
                ));
            }
        }
        self.sequence = header.first_sequence;
        let mut offset = SEGMENT_HEADER_BYTES as usize;
        let is_clean = loop {
            match frame::find(&bytes[offset..], self.sequence) {
                Found::Frame { body, length } => {
                    let body_offset = offset + HEADER_BYTES;
                    self.read_frame(number, body_offset, body)
                        .map_err(|reason| damaged(offset, &reason))?;
                    self.sequence += 1;
                    offset += length;
                }
                Found::Nothing => break true,
                Found::Torn if is_last => {
                    tracing::warn!(path = %path.display(), offset, "cutting off a write that a crash left unfinished");
                    break false;
                }
                // A segment is only begun after the one before it was synced.
                Found::Torn => {
                    return Err(damaged(
                        offset,
                        "the frame is damaged, segments after it are there",
                    ));
                }
                Found::Damaged { reason } => return Err(damaged(offset, reason)),
            }
        };
        self.segments.push(header);
        self.last = Some(LastSegment {
            header,
            offset: offset as u64,
            is_clean,
        });
        Ok(())
    }

    fn read_frame(&mut self, segment: u64, body_offset: usize, body: &[u8]) -> Result<(), String> {
        for record in records(body).map_err(|error| error.to_string())? {
            match record {
                Record::Entry { position, payload } => {
                    let slot = Slot {
                        position,
                        segment,
                        offset: (body_offset + payload.start) as u64,
                        length: payload.len(),
                        crc: crc32(&body[payload]),
                    };
                    if !self.index.push(slot) {
                        return Err(format!(
                            "entry {} does not follow the one before it",
                            position.index
                        ));
                    }
                }
                Record::Committed(position) => self.committed = Some(position),
                Record::Truncate { since_index } => self.index.truncate(since_index),
                Record::Purge(position) => self.index.purge(position),
            }
        }
        Ok(())
    }
}
