//! Segment files: made whole and zeroed, then filled.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crc32fast::hash as crc32;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::directory::sync_directory;

/// Bytes before the first frame.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 64;
const MAGIC: [u8; 8] = *b"tug wal\x01";
const SUFFIX: &str = ".wal";
const SPARE: &str = "spare.tmp";

/// Bytes that the first frame of a segment, which says what older ones say, takes at most.
const NOTES_BYTES_MAX: u64 = 256;

/// Bytes of frames that an empty segment takes for sure.
pub(crate) fn room_of_segment(bytes: u64) -> u64 {
    bytes.saturating_sub(SEGMENT_HEADER_BYTES + NOTES_BYTES_MAX)
}

/// Bytes of a segment that takes so many bytes of frames.
pub(crate) fn segment_with_room(bytes: u64) -> u64 {
    bytes + SEGMENT_HEADER_BYTES + NOTES_BYTES_MAX
}

/// What stands at the front of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Number of the segment; numbers are consecutive.
    pub(crate) number: u64,
    /// Sequence number of its first frame.
    pub(crate) first_sequence: u64,
    /// Size of the file. It is never written past, and a shorter file was cut off by somebody else.
    pub(crate) bytes: u64,
}

/// A segment that is being filled.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    file: File,
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}{SUFFIX}"))
}

/// The numbers of the segments in a folder, in order.
pub(crate) fn list_segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a file of zeros that can become a segment at once; where there is no room for it, nothing of it is left.
///
/// The zeros are really written: a first write into a hole would change the file system's own records, and a sync
/// would have to wait for those too.
pub(crate) fn make_spare(dir: &Path, bytes: u64) -> io::Result<()> {
    write_zeros(&dir.join(SPARE), bytes).inspect_err(|_| {
        // What cannot be removed either is written anew by the next try.
        _ = remove_spare(dir);
    })
}

fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut file = File::create(path)?;
    // Asked for first, so that a disk without room is not filled to the last byte by trying. Some file systems
    // cannot tell.
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(error) if error != Errno::OPNOTSUPP => return Err(error.into()),
        _ => {}
    }
    let mut left = bytes;
    while left > 0 {
        let count = left.min(zeros.len() as u64);
        file.write_all(&zeros[..count as usize])?;
        left -= count;
    }
    file.sync_all()
}

/// Removes what [`make_spare`] made.
pub(crate) fn remove_spare(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(SPARE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Segment {
    /// Turns the spare file into a segment; it appears in the folder with its header whole.
    pub(crate) fn create(dir: &Path, header: SegmentHeader) -> io::Result<Self> {
        let spare = dir.join(SPARE);
        let file = OpenOptions::new().read(true).write(true).open(&spare)?;
        file.write_all_at(&header.encode(), 0)?;
        file.sync_all()?;
        fs::rename(&spare, segment_path(dir, header.number))?;
        sync_directory(dir)?;
        Ok(Self {
            number: header.number,
            bytes: header.bytes,
            file,
        })
    }

    /// Opens a segment to go on filling it at an offset; what is there from the offset on is zeroed.
    pub(crate) fn reopen(dir: &Path, header: SegmentHeader, offset: u64, is_clean: bool) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(segment_path(dir, header.number))?;
        if !is_clean {
            let rest = header.bytes - offset;
            file.write_all_at(&vec![0; rest as usize], offset)?;
            file.sync_all()?;
        }
        Ok(Self {
            number: header.number,
            bytes: header.bytes,
            file,
        })
    }

    /// Writes and syncs.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }
}

impl SegmentHeader {
    fn encode(self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of a segment; `None` if it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES as usize)?;
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let header = Self {
            number: number(8)?,
            first_sequence: number(16)?,
            bytes: number(24)?,
        };
        (header.encode() == *bytes).then_some(header)
    }
}
