//! Reading the logs of containers, old files first, and going on as lines come.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cluster_client::{ByteStream, LogRequest};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::async_file;
use crate::runtime::rotated;

const PIECE_BYTES: usize = 64 * 1024;
const PIECES_WAITING_MAX: usize = 4;
const ROTATED_MAX: u32 = 100;

/// The logs of one container of a pod: numbers of its attempts, oldest first.
pub(crate) fn attempts(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Removes a log with its older files.
pub(crate) fn remove(log: &Path, files_max: u32) {
    let _ = fs::remove_file(log);
    for number in 1..files_max {
        let _ = fs::remove_file(rotated(log, number));
    }
}

/// Which lines are wanted, and in which form.
#[derive(Clone, Debug)]
struct Selection {
    timestamps: bool,
    since: Option<Timestamp>,
    bytes_left: Option<u64>,
}

/// Reads a log. It follows until `ended` is true and nothing is left to read.
pub(crate) fn read(
    log: PathBuf,
    request: &LogRequest,
    now: Timestamp,
    ended: impl Future<Output = ()> + Send + 'static,
) -> ByteStream {
    let seconds = request
        .since_seconds
        .and_then(|seconds| i64::try_from(seconds).ok());
    let since = seconds
        .and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok())
        .or_else(|| request.since_time.as_ref()?.parse().ok());
    let selection = Selection {
        timestamps: request.timestamps,
        since,
        bytes_left: request.limit_bytes,
    };
    let (tail, follow) = (request.tail_lines, request.follow);
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(async move {
        let mut reader = LogReader {
            log,
            selection,
            unread: VecDeque::new(),
            line: Vec::new(),
            within: false,
        };
        let read = reader.run(tail, follow, ended, &sender).await;
        if let Err(error) = read {
            let _ = sender.send(Err(error)).await;
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

struct LogReader {
    log: PathBuf,
    selection: Selection,
    /// Files to read, oldest first.
    unread: VecDeque<File>,
    /// The start of a line whose end is not written yet.
    line: Vec<u8>,
    /// Whether the last written piece was no end of a line.
    within: bool,
}

impl LogReader {
    async fn run(
        &mut self,
        tail: Option<u64>,
        follow: bool,
        ended: impl Future<Output = ()>,
        to: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<()> {
        let folder = self.log.parent().unwrap_or(Path::new("/")).to_owned();
        // Watched before the first look, so that nothing between them is missed.
        let notices = if follow { Some(watch(&folder)?) } else { None };
        self.open(tail)?;
        tokio::pin!(ended);
        let mut is_over = false;
        loop {
            while let Some(piece) = self.next_piece()? {
                let shown = self.show(&piece);
                let spent = self.selection.bytes_left == Some(0);
                if (!shown.is_empty() && to.send(Ok(shown.into())).await.is_err()) || spent {
                    return Ok(());
                }
            }
            let Some(notices) = notices.as_ref().filter(|_| !is_over) else {
                return Ok(());
            };
            tokio::select! {
                () = &mut ended => is_over = true,
                changed = changed(notices) => changed?,
                () = to.closed() => return Ok(()),
            }
        }
    }

    /// Opens the files, and goes to the last lines where only those are wanted.
    fn open(&mut self, tail: Option<u64>) -> io::Result<()> {
        let rotations = (1..ROTATED_MAX).map(|number| rotated(&self.log, number));
        let mut paths: Vec<PathBuf> = rotations.take_while(|path| path.exists()).collect();
        paths.reverse();
        paths.push(self.log.clone());
        for path in paths {
            match File::open(path) {
                Ok(file) => self.unread.push_back(file),
                // It was rotated away at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let Some(mut wanted) = tail else { return Ok(()) };
        for at in (0..self.unread.len()).rev() {
            let file = &mut self.unread[at];
            let (offset, found) = last_lines(file, wanted)?;
            file.seek(SeekFrom::Start(offset))?;
            wanted -= found;
            if wanted == 0 {
                self.unread.drain(..at);
                break;
            }
        }
        Ok(())
    }

    /// The next piece of what is written; `None` when all of it was read.
    fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(file) = self.unread.front_mut() else {
                return Ok(None);
            };
            let mut piece = vec![0; PIECE_BYTES];
            let length = file.read(&mut piece)?;
            if length > 0 {
                piece.truncate(length);
                return Ok(Some(piece));
            }
            let own = file.metadata()?.ino();
            if self.unread.len() == 1 {
                match fs::metadata(&self.log) {
                    Ok(newest) if newest.ino() != own => {
                        // This one was full: what is written now goes to another.
                        let next = File::open(&self.log)?;
                        self.unread.push_back(next);
                        continue;
                    }
                    _ => return Ok(None),
                }
            }
            self.unread.pop_front();
        }
    }

    /// Turns lines of the log into what the container wrote.
    fn show(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.show_line(&line[..line.len() - 1], &mut out);
            }
        }
        if let Some(left) = &mut self.selection.bytes_left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out
    }

    fn show_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(_stream), Some(tag)) = (fields.next(), fields.next(), fields.next()) else {
            return;
        };
        let content = fields.next().unwrap_or_default();
        if let Some(since) = self.selection.since {
            let written = std::str::from_utf8(time)
                .ok()
                .and_then(|time| time.parse::<Timestamp>().ok());
            if written.is_none_or(|written| written < since) {
                return;
            }
        }
        if self.selection.timestamps && !self.within {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(content);
        self.within = tag == b"P";
        if !self.within {
            out.push(b'\n');
        }
    }
}

/// Where the last so many lines of a file begin, and how many there are.
fn last_lines(file: &mut File, wanted: u64) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    let (mut at, mut found) = (length, 0);
    let mut piece = vec![0; PIECE_BYTES];
    while at > 0 && wanted > 0 {
        let size = at.min(PIECE_BYTES as u64);
        at -= size;
        let size = usize::try_from(size).unwrap_or(PIECE_BYTES);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut piece[..size])?;
        for (index, _) in piece[..size]
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let after = at + index as u64 + 1;
            if after == length {
                continue;
            }
            found += 1;
            if found == wanted {
                return Ok((after, found));
            }
        }
    }
    let whole = u64::from(length > 0 && wanted > 0);
    let start = if wanted == 0 { length } else { 0 };
    Ok((start, (found + whole).min(wanted)))
}

/// Notices of changes to the files of a folder.
fn watch(folder: &Path) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    let notices = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let kinds = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&notices, folder, kinds)?;
    async_file::register(notices)
}

/// Waits for a change; several at once count as one.
async fn changed(notices: &AsyncFd<std::os::fd::OwnedFd>) -> io::Result<()> {
    loop {
        let mut guard = notices.readable().await?;
        let mut space = [0; 4096];
        let read = guard.try_io(|file| rustix::io::read(file.get_ref(), &mut space).map_err(io::Error::from));
        if let Ok(done) = read {
            return done.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::io::Write;

    const LINES: &str = "\
2026-01-01T00:00:00.000000000Z stdout F one
2026-01-01T00:00:01.000000000Z stderr F two
2026-01-01T00:00:02.000000000Z stdout P thr
2026-01-01T00:00:02.500000000Z stdout F ee
2026-01-01T00:00:03.000000000Z stdout F 
2026-01-01T00:00:04.000000000Z stdout F five words
";

    async fn check(request: LogRequest, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        let (old, new) = LINES.split_at(LINES.find("2026-01-01T00:00:02.5").unwrap());
        fs::write(rotated(&log, 1), old).unwrap();
        fs::write(&log, new).unwrap();
        let now = "2026-01-01T00:00:05Z".parse().unwrap();
        let stream = read(log, &request, now, std::future::ready(()));
        let pieces: Vec<_> = stream.map(|piece| piece.unwrap()).collect().await;
        assert_eq!(
            String::from_utf8(pieces.concat()).unwrap(),
            expected,
            "{request:?}"
        );
    }

    #[tokio::test]
    async fn lines_are_chosen_and_shown() {
        let plain = LogRequest::default();
        check(plain.clone(), "one\ntwo\nthree\n\nfive words\n").await;
        check(
            LogRequest {
                follow: true,
                ..plain.clone()
            },
            "one\ntwo\nthree\n\nfive words\n",
        )
        .await;
        check(
            LogRequest {
                tail_lines: Some(1),
                ..plain.clone()
            },
            "five words\n",
        )
        .await;
        check(
            LogRequest {
                tail_lines: Some(0),
                ..plain.clone()
            },
            "",
        )
        .await;
        check(
            LogRequest {
                tail_lines: Some(5),
                ..plain.clone()
            },
            "two\nthree\n\nfive words\n",
        )
        .await;
        check(
            LogRequest {
                tail_lines: Some(50),
                ..plain.clone()
            },
            "one\ntwo\nthree\n\nfive words\n",
        )
        .await;
        check(
            LogRequest {
                limit_bytes: Some(5),
                ..plain.clone()
            },
            "one\nt",
        )
        .await;
        check(
            LogRequest {
                since_seconds: Some(2),
                ..plain.clone()
            },
            "\nfive words\n",
        )
        .await;
        let time = Some("2026-01-01T00:00:04Z".to_owned());
        let stamped = LogRequest {
            since_time: time,
            timestamps: true,
            ..plain
        };
        check(stamped, "2026-01-01T00:00:04.000000000Z five words\n").await;
    }

    #[tokio::test]
    async fn new_lines_come_as_they_are_written_also_into_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        let mut file = File::create(&log).unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let request = LogRequest {
            follow: true,
            ..LogRequest::default()
        };
        let over = async {
            let _ = ended.await;
        };
        let mut stream = read(log.clone(), &request, Timestamp::UNIX_EPOCH, over);
        let mut line = |text: &str| writeln!(file, "2026-01-01T00:00:00Z stdout F {text}").unwrap();
        line("one");
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        fs::rename(&log, rotated(&log, 1)).unwrap();
        line("two");
        fs::write(&log, "2026-01-01T00:00:00Z stdout F three\n").unwrap();
        let mut seen = String::new();
        while !seen.ends_with("three\n") {
            seen.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
        }
        assert_eq!(seen, "two\nthree\n");
        end.send(()).unwrap();
        assert!(stream.next().await.is_none());
    }
}
