//! Unpacking chart archives, which may come from strangers.

use std::cmp::Ordering;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::assemble::Budget;
use crate::chart::File;
use crate::content::Content;
use crate::error::ArchiveError;
use crate::folder::without_mark;

/// What tar adds to the files: headers and padding.
const TAR_OVERHEAD: u64 = 64 << 20;

/// The most bytes of a record that only tells the name of a file.
const RECORD_MAX: u64 = 64 << 10;

/// The unit of a tar archive.
const BLOCK: u64 = BLOCK_BYTES as u64;
const BLOCK_BYTES: usize = 512;

/// How much is unpacked at once, and at least how much more is asked for once there is more than was likely.
const READ_AHEAD: usize = 128 << 10;
const READ_MORE: usize = 32 << 10;

/// Refuses files that are no archives, with a word on what they seem to be.
pub(crate) fn check_magic(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    if bytes.starts_with(b"\x1f\x8b") {
        return Ok(());
    }
    let head = &bytes[..bytes.len().min(512)];
    let text = !head
        .iter()
        .any(|b| *b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b));
    let kind = if text {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    Err(ArchiveError::NotGzip {
        path: path.to_owned(),
        kind,
    })
}

/// How much an archive holds, as it says itself in its last four bytes, modulo 4 GiB.
pub(crate) fn likely_bytes(packed: &[u8]) -> u64 {
    packed
        .last_chunk()
        .map_or(0, |last| u64::from(u32::from_le_bytes(*last)))
}

/// Unpacks an archive into memory. Paths lose their first part, the chart's own folder.
///
/// `likely_bytes` is how much there is in it, as [`likely_bytes`] tells; it only helps.
pub(crate) fn unpack(
    packed: impl BufRead,
    likely_bytes: u64,
    budget: &mut Budget<'_>,
) -> Result<Vec<File>, ArchiveError> {
    let limit = budget.limits.chart_bytes_max;
    let mut tar = Tar::new(packed, likely_bytes, limit.saturating_add(TAR_OVERHEAD));
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    // The name of the next file, where it is too long for a header.
    let mut long_name: Option<Vec<u8>> = None;
    while let Some(Entry { at, size }) = tar.next_entry().map_err(damaged(limit))? {
        let kind = tar.header(at).entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            if size > RECORD_MAX {
                return Err(ArchiveError::LargeRecord { limit: RECORD_MAX });
            }
            let record = tar.content(at, size).map_err(damaged(limit))?;
            if let Some(name) = long_name_of(kind, &tar.buffer[record]) {
                long_name = Some(name);
            }
            continue;
        }
        if kind.is_gnu_longlink() || kind.is_pax_global_extensions() {
            continue;
        }
        let path = match long_name.take() {
            Some(path) => path.into(),
            None => tar.header(at).path_bytes(),
        };
        if kind.is_dir() {
            continue;
        }
        let full = String::from_utf8_lossy(&path).into_owned();
        if kind.is_symlink() || kind.is_hard_link() {
            return Err(ArchiveError::Link { path: full });
        }
        if full.ends_with('/') {
            continue;
        }
        let name = inner_path(&full)?;
        if size > budget.bytes_left {
            return Err(ArchiveError::LargeChart { limit });
        }
        let file_limit = budget.limits.file_bytes_max;
        if size > file_limit {
            return Err(ArchiveError::LargeFile {
                path: full,
                limit: file_limit,
            });
        }
        if budget.files_left == 0 {
            return Err(ArchiveError::ManyFiles {
                limit: budget.limits.files_max,
            });
        }
        budget.files_left -= 1;
        budget.bytes_left -= size;
        let place = tar.content(at, size).map_err(damaged(limit))?;
        let data = without_mark(&tar.buffer[place.clone()]);
        if let Some(seen) = &mut budget.seen {
            seen(&full, data);
        }
        found.push((name, place.end - data.len()..place.end));
    }
    if found.is_empty() {
        return Err(ArchiveError::Empty);
    }
    tar.buffer.truncate(tar.known);
    let whole = Content::whole(tar.buffer);
    let file = |(name, place)| File {
        name,
        data: whole.part(place),
    };
    Ok(found.into_iter().map(file).collect())
}

/// What a record says of the name of the file after it.
fn long_name_of(kind: tar::EntryType, record: &[u8]) -> Option<Vec<u8>> {
    if kind.is_gnu_longname() {
        return Some(record.strip_suffix(&[0]).unwrap_or(record).to_vec());
    }
    let mut records = tar::PaxExtensions::new(record).filter_map(Result::ok);
    let path = records.find(|record| record.key_bytes() == b"path");
    path.map(|record| record.value_bytes().to_vec())
}

/// The blocks of an archive, all of which end up in one buffer.
struct Tar<R> {
    unzipped: Capped<MultiGzDecoder<R>>,
    /// With zeros after what has come.
    buffer: Vec<u8>,
    /// How much has come.
    known: usize,
    /// Where the next header begins.
    next: u64,
}

/// A header and what follows it.
struct Entry {
    /// Where the header begins.
    at: usize,
    /// The bytes after it.
    size: u64,
}

impl<R: BufRead> Tar<R> {
    fn new(packed: R, likely_bytes: u64, bytes_max: u64) -> Self {
        let likely_bytes = usize::try_from(likely_bytes.min(bytes_max)).unwrap_or_default();
        Tar {
            unzipped: Capped {
                inner: MultiGzDecoder::new(packed),
                left: bytes_max,
            },
            // Memory that is asked for as zeros and never written to costs nothing, should that be a lie.
            buffer: vec![0; likely_bytes],
            known: 0,
            next: 0,
        }
    }

    /// Reads until there are so many bytes in the buffer; gives how many there are, if the archive ends before.
    fn read_until(&mut self, end: u64) -> io::Result<Result<usize, usize>> {
        let end = usize::try_from(end).map_err(io::Error::other)?;
        while self.known < end {
            if self.known == self.buffer.len() {
                // By an eighth, not by doubling: a large archive must not ask for twice what it may hold.
                let more = READ_MORE.max(self.known / 8);
                self.buffer.reserve_exact(more);
                self.buffer.resize(self.known + more, 0);
            }
            let ahead = self.buffer.len().min(self.known + READ_AHEAD);
            match self.unzipped.read(&mut self.buffer[self.known..ahead]) {
                Ok(0) => return Ok(Err(self.known)),
                Ok(count) => self.known += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Ok(end))
    }

    /// The next header; nothing at the end, which is a block of zeros or the end of the bytes.
    fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (at, end) = match self.read_until(self.next + BLOCK)? {
            Ok(end) => (end - BLOCK_BYTES, end),
            Err(known) => {
                return match self.next.cmp(&(known as u64)) {
                    Ordering::Less => Err(io::Error::other("failed to read entire block")),
                    Ordering::Equal => Ok(None),
                    Ordering::Greater => Err(cut_off()),
                };
            }
        };
        let bytes = &self.buffer[at..end];
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = tar::Header::from_byte_slice(bytes);
        let (before, after) = (&bytes[..148], &bytes[156..]);
        let sum: u32 = before.iter().chain(after).map(|byte| u32::from(*byte)).sum();
        // The checksum itself counts as eight spaces.
        if sum + 8 * u32::from(b' ') != header.cksum()? {
            return Err(io::Error::other("archive header checksum mismatch"));
        }
        let size = header.entry_size()?;
        let next = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|size| self.next.checked_add(size)?.checked_add(BLOCK))
            .filter(|next| next.checked_add(BLOCK).is_some());
        self.next = next.ok_or_else(|| io::Error::other("size overflow"))?;
        Ok(Some(Entry { at, size }))
    }

    fn header(&self, at: usize) -> &tar::Header {
        tar::Header::from_byte_slice(&self.buffer[at..at + BLOCK_BYTES])
    }

    /// Where the bytes after a header are, all of them.
    fn content(&mut self, at: usize, size: u64) -> io::Result<Range<usize>> {
        let start = at + BLOCK_BYTES;
        let end = self.read_until(start as u64 + size)?;
        Ok(start..end.map_err(|_| cut_off())?)
    }
}

fn cut_off() -> io::Error {
    io::Error::other("unexpected EOF during skip")
}

fn damaged(limit: u64) -> impl Fn(io::Error) -> ArchiveError {
    move |error| match error.kind() {
        io::ErrorKind::FileTooLarge => ArchiveError::LargeChart { limit },
        _ => ArchiveError::Damaged(error),
    }
}

/// The path below the chart's folder; paths that lead elsewhere are refused.
fn inner_path(full: &str) -> Result<String, ArchiveError> {
    let path = || full.to_owned();
    let slashes = if full.contains('\\') {
        full.replace('\\', "/")
    } else {
        full.to_owned()
    };
    let (first, rest) = slashes.split_once('/').unwrap_or((slashes.as_str(), ""));
    if first.is_empty() || rest.starts_with('/') {
        return Err(ArchiveError::AbsolutePath { path: path() });
    }
    if first == ".." {
        return Err(ArchiveError::ParentPath { path: path() });
    }
    if first == "Chart.yaml" {
        return Err(ArchiveError::ChartFileAtTop);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return Err(ArchiveError::ParentPath { path: path() }),
            ".." => {}
            part => parts.push(part),
        }
    }
    let name = parts.join("/");
    if name.is_empty() {
        return Err(ArchiveError::OutsideBase { path: path() });
    }
    if name.starts_with("..") {
        return Err(ArchiveError::ParentPath { path: path() });
    }
    if matches!(name.as_bytes(), [drive, b':', b'/', ..] if drive.is_ascii_alphabetic()) {
        return Err(ArchiveError::DrivePath { path: path() });
    }
    Ok(name)
}

/// A reader that fails, and does not just end, when more comes than allowed.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "archive is too large"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chart, Limits, LoadChartError};
    use flate2::{Compression, write::GzEncoder};

    /// Writes the names as they are; the `tar` crate would refuse to write the hostile ones.
    fn pack(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *data).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    const CHART: &[u8] = b"apiVersion: v2\nname: web\nversion: 1.0.0\n";

    #[test]
    fn unpacks_a_chart_with_packed_and_unpacked_subcharts() {
        let packed = pack(&[("db/Chart.yaml", b"apiVersion: v2\nname: db\nversion: 2.0.0\n")]);
        let chart = Chart::from_archive(&pack(&[
            ("web/Chart.yaml", CHART),
            ("web/values.yaml", b"\xef\xbb\xbfa: 1\n"),
            ("web/templates/a.yaml", b"a"),
            ("web/charts/db-2.0.0.tgz", &packed),
            (
                "web/charts/mq/Chart.yaml",
                b"apiVersion: v2\nname: mq\nversion: 2.0.0\n",
            ),
            ("web/charts/_off/Chart.yaml", b""),
            ("web\\README.md", b"read me"),
        ]))
        .unwrap();
        assert_eq!(chart.name(), "web");
        let names: Vec<&str> = chart.dependencies.iter().map(Chart::name).collect();
        assert_eq!(names, ["db", "mq"]);
        assert_eq!(chart.templates[0].name, "templates/a.yaml");
        assert_eq!(chart.readme().unwrap().text(), "read me");
        assert!(chart.values.contains_key("a"));
    }

    #[test]
    fn err_hostile_archives_are_refused() {
        for (name, message) in [
            ("web//etc/passwd", "chart illegally contains absolute paths"),
            ("/etc/passwd", "chart illegally contains absolute paths"),
            ("../x", "chart illegally references parent directory"),
            ("web/../../x", "chart illegally references parent directory"),
            ("web/a/../../x", "chart illegally references parent directory"),
            ("web/..hidden", "chart illegally references parent directory"),
            (
                "x",
                "chart illegally contains content outside the base directory: \"x\"",
            ),
            ("web/c:/windows", "chart contains illegally named files"),
            ("Chart.yaml", "chart yaml not in base directory"),
        ] {
            let error = Chart::from_archive(&pack(&[("web/Chart.yaml", CHART), (name, b"x")])).unwrap_err();
            assert_eq!(error.to_string(), message, "{name}");
        }
        assert_eq!(
            Chart::from_archive(&pack(&[])).unwrap_err().to_string(),
            "no files in chart archive"
        );
        assert!(matches!(
            Chart::from_archive(b"\x1f\x8bnonsense").unwrap_err(),
            LoadChartError::Archive(ArchiveError::Damaged(_))
        ));
    }

    #[test]
    fn long_names_are_read_and_count_for_one_file() {
        let folder = "x".repeat(120);
        let name = format!("web/templates/{folder}/a.yaml");
        let mut gnu = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut pax = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let record = format!(" path={name}\n");
        let length = record.len() + 3;
        let record = format!("{length}{record}");
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(record.len() as u64);
        header.set_path("pax").unwrap();
        header.set_cksum();
        for (path, data) in [("web/Chart.yaml", CHART), (name.as_str(), b"a")] {
            let mut file = tar::Header::new_gnu();
            file.set_size(data.len() as u64);
            file.set_mode(0o644);
            gnu.append_data(&mut file, path, data).unwrap();
        }
        let mut file = tar::Header::new_ustar();
        file.set_size(CHART.len() as u64);
        pax.append_data(&mut file, "web/Chart.yaml", CHART).unwrap();
        pax.append(&header, record.as_bytes()).unwrap();
        let mut file = tar::Header::new_ustar();
        file.set_size(1);
        pax.append_data(&mut file, "web/cut-off", &b"a"[..]).unwrap();
        for archive in [gnu, pax] {
            let bytes = archive.into_inner().unwrap().finish().unwrap();
            let chart = Chart::from_archive(&bytes).unwrap();
            assert_eq!(chart.templates[0].name, format!("templates/{folder}/a.yaml"));
            assert_eq!(chart.raw.len(), 2);
        }
    }

    #[test]
    fn err_large_names_are_refused() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(1 << 20);
            header.set_cksum();
            builder.append(&header, &vec![b'x'; 1 << 20][..]).unwrap();
        }
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        assert_eq!(
            Chart::from_archive(&bytes).unwrap_err().to_string(),
            "chart archive has a record of more than 65536 bytes"
        );
    }

    #[test]
    fn err_large_archives_are_refused() {
        let zeros = vec![0; 2000];
        let bytes = pack(&[("web/Chart.yaml", CHART), ("web/a", &zeros), ("web/b", &zeros)]);
        for (limits, message) in [
            (
                Limits {
                    file_bytes_max: 1000,
                    ..Limits::default()
                },
                "decompressed chart file \"web/a\" is larger than the maximum file size 1000",
            ),
            (
                Limits {
                    chart_bytes_max: 3000,
                    ..Limits::default()
                },
                "decompressed chart is larger than the maximum size 3000",
            ),
            (
                Limits {
                    files_max: 2,
                    ..Limits::default()
                },
                "chart archive has more than 2 files",
            ),
        ] {
            assert_eq!(
                Chart::from_archive_within(&bytes, limits)
                    .unwrap_err()
                    .to_string(),
                message
            );
        }
    }

    #[test]
    fn err_links_are_refused() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder
            .append_link(&mut header, "web/link", "/etc/passwd")
            .unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        assert_eq!(
            Chart::from_archive(&bytes).unwrap_err().to_string(),
            "chart illegally contains a link: \"web/link\""
        );
    }
}
