//! Writing the log of a container: each line with its time and stream, as the
//! [container runtime interface](https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md)
//! has it, and a new file when one is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::api::LogLimits;

const LINE_BYTES_MAX: usize = 16 * 1024;

/// The log of one container.
pub(crate) struct LogWriter {
    path: PathBuf,
    limits: LogLimits,
    file: File,
    size: u64,
    /// Lines that have not ended yet, one for each stream.
    unfinished: [Vec<u8>; 2],
}

/// A stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout = 0,
    Stderr = 1,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The one that has this name in a log.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr]
            .into_iter()
            .find(|stream| stream.name() == name)
    }
}

impl LogWriter {
    pub(crate) fn open(path: &Path, limits: LogLimits) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = open_file(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            limits,
            file,
            size,
            unfinished: [Vec::new(), Vec::new()],
        })
    }

    /// Takes output as it came.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
        let mut lines = Vec::with_capacity(bytes.len() + 64);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_BYTES_MAX - unfinished.len();
            let end = rest.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) if end <= room => {
                    put(&mut lines, stream, now, 'F', &[&unfinished, &rest[..end]])?;
                    unfinished.clear();
                    rest = &rest[end + 1..];
                }
                None if rest.len() < room => {
                    unfinished.extend_from_slice(rest);
                    rest = &[];
                }
                _ => {
                    put(&mut lines, stream, now, 'P', &[&unfinished, &rest[..room]])?;
                    unfinished.clear();
                    rest = &rest[room..];
                }
            }
        }
        self.unfinished[stream as usize] = unfinished;
        self.append(&lines)
    }

    /// Writes what has not ended with a line break.
    pub(crate) fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        let mut lines = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
            if !unfinished.is_empty() {
                put(&mut lines, stream, now, 'F', &[&unfinished])?;
            }
        }
        self.append(&lines)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let added = lines.len() as u64;
        if added == 0 {
            return Ok(());
        }
        if self.size > 0 && self.size + added > self.limits.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.size += added;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let older = self.limits.files_max.saturating_sub(1);
        if older == 0 {
            fs::remove_file(&self.path)?;
        }
        for number in (1..=older).rev() {
            let from = if number == 1 {
                self.path.clone()
            } else {
                rotated(&self.path, number - 1)
            };
            match fs::rename(&from, rotated(&self.path, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = open_file(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// The file that a log was given when newer ones came, 1 for the newest of them.
pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn put(lines: &mut Vec<u8>, stream: Stream, now: Timestamp, tag: char, content: &[&[u8]]) -> io::Result<()> {
    write!(lines, "{now:.9} {} {tag} ", stream.name())?;
    content.iter().for_each(|piece| lines.extend_from_slice(piece));
    lines.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]], limits: LogLimits) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pod/0.log");
        let mut log = LogWriter::open(&path, limits).unwrap();
        for piece in pieces {
            log.write(Stream::Stdout, piece, Timestamp::UNIX_EPOCH).unwrap();
        }
        log.finish(Timestamp::UNIX_EPOCH).unwrap();
        (dir, path)
    }

    fn check(pieces: &[&[u8]], expected: &[(char, &[u8])]) {
        let (_dir, path) = written(pieces, LogLimits::default());
        let mut wanted = Vec::new();
        for (tag, line) in expected {
            put(&mut wanted, Stream::Stdout, Timestamp::UNIX_EPOCH, *tag, &[line]).unwrap();
        }
        assert_eq!(
            String::from_utf8_lossy(&fs::read(path).unwrap()),
            String::from_utf8_lossy(&wanted)
        );
    }

    #[test]
    fn lines_are_put_together_and_long_ones_split() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let longer = [long.as_slice(), b"y\n"].concat();
        let full = [long.as_slice(), b"\n"].concat();
        check(&[b"a\nb\n"], &[('F', b"a"), ('F', b"b")]);
        check(&[b"a", b"b\n\nc"], &[('F', b"ab"), ('F', b""), ('F', b"c")]);
        check(&[&longer], &[('P', &long), ('F', b"y")]);
        check(&[&full], &[('F', &long)]);
        check(&[], &[]);
    }

    #[test]
    fn times_have_nanoseconds_so_that_lines_sort() {
        let (_dir, path) = written(&[b"a\n"], LogLimits::default());
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            "1970-01-01T00:00:00.000000000Z stdout F a\n"
        );
    }

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let limits = LogLimits {
            bytes_max: 100,
            files_max: 3,
        };
        let (_dir, path) = written(
            &[b"one\n", b"two\n", b"three\n", b"four\n", b"five\n", b"six\n"],
            limits,
        );
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        assert!(read(&path).contains("six"), "{}", read(&path));
        assert!(read(&rotated(&path, 1)).contains("four"));
        assert!(read(&rotated(&path, 2)).contains("two"));
        assert!(!rotated(&path, 3).exists());
    }
}
