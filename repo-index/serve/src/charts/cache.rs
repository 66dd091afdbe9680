//! What is known of archives, kept beside them so that a start need not unpack each.
//!
//! A record is appended for each archive that was read; the last one of a file counts, and only while size, time and
//! number of the file are what they were. A record that was not written whole ends the reading. Losing the cache costs
//! time and nothing else.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::Crc;

use super::version::ChartVersion;

const MAGIC: &[u8] = b"tug chart cache 1\n";

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
    number: u64,
}

impl Stamp {
    pub(crate) fn of(about: &Metadata) -> Self {
        Self {
            size: about.size(),
            seconds: about.mtime(),
            nanoseconds: about.mtime_nsec(),
            number: about.ino(),
        }
    }
}

/// Records by tenant and file.
pub(crate) type Records = HashMap<(String, String), (Stamp, ChartVersion)>;

/// The file of records.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    file: Option<File>,
}

impl Cache {
    /// Reads what there is. A cache of another form, or none, is an empty one.
    pub(crate) fn read(path: &Path) -> (Records, usize) {
        let bytes = std::fs::read(path).unwrap_or_default();
        let mut rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
        let (mut records, mut count) = (Records::new(), 0);
        while let Some((key, value)) = read_record(&mut rest) {
            records.insert(key, value);
            count += 1;
        }
        (records, count)
    }

    /// Writes all records anew.
    pub(crate) fn rewrite<'r>(
        path: &Path,
        records: impl Iterator<Item = (&'r str, Stamp, &'r ChartVersion)>,
    ) -> io::Result<Self> {
        let mut bytes = MAGIC.to_vec();
        for (tenant, stamp, version) in records {
            write_record(&mut bytes, tenant, stamp, version);
        }
        let between = path.with_extension("new");
        std::fs::write(&between, bytes)?;
        std::fs::rename(&between, path)?;
        Ok(Self::open(path))
    }

    /// Goes on with the records that are there.
    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).open(path);
        if let Err(error) = &file {
            tracing::warn!(%error, "the cache of the index cannot be written");
        }
        Self {
            path: path.to_owned(),
            file: file.ok(),
        }
    }

    /// Adds a record. What cannot be written is read from its archive at the next start.
    pub(crate) fn append(&mut self, tenant: &str, stamp: Stamp, version: &ChartVersion) {
        let Some(file) = &mut self.file else { return };
        let mut bytes = Vec::new();
        write_record(&mut bytes, tenant, stamp, version);
        if let Err(error) = file.write_all(&bytes) {
            tracing::warn!(%error, "`{}` cannot be written", self.path.display());
            self.file = None;
        }
    }
}

fn write_record(out: &mut Vec<u8>, tenant: &str, stamp: Stamp, version: &ChartVersion) {
    let mut body = Vec::with_capacity(version.json.len() + version.yaml.len() + 300);
    for number in [stamp.size, stamp.number] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    for number in [stamp.seconds, stamp.nanoseconds] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    let version_text = version.version_text();
    for text in [
        tenant,
        &version.file,
        &version.name,
        version_text,
        &version.digest,
        &version.json,
        &version.yaml,
    ] {
        body.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut checksum = Crc::new();
    checksum.update(&body);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&checksum.sum().to_le_bytes());
    out.extend_from_slice(&body);
}

type Record = ((String, String), (Stamp, ChartVersion));

fn read_record(rest: &mut &[u8]) -> Option<Record> {
    let length = u32::from_le_bytes(take(rest)?);
    let sum = u32::from_le_bytes(take(rest)?);
    let (mut body, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let mut checksum = Crc::new();
    checksum.update(body);
    if checksum.sum() != sum {
        return None;
    }
    *rest = after;
    let body = &mut body;
    let stamp = Stamp {
        size: u64::from_le_bytes(take(body)?),
        number: u64::from_le_bytes(take(body)?),
        seconds: i64::from_le_bytes(take(body)?),
        nanoseconds: i64::from_le_bytes(take(body)?),
    };
    let tenant = take_text(body)?;
    let file = take_text(body)?;
    let version = ChartVersion {
        file: file.clone(),
        name: take_text(body)?,
        version: take_text(body)?.parse().ok()?,
        digest: take_text(body)?,
        json: take_text(body)?,
        yaml: take_text(body)?,
    };
    Some(((tenant, file), (stamp, version)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> ChartVersion {
        ChartVersion {
            name: "web".to_owned(),
            version: format!("1.{number}.0").parse().unwrap(),
            file: format!("web-1.{number}.0.tgz"),
            digest: "aa".to_owned(),
            json: "{}".to_owned(),
            yaml: "  - name: web\n".to_owned(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let stamp = Stamp::of(&folder.path().metadata().unwrap());
        let (first, second) = (version(1), version(2));
        let mut cache = Cache::rewrite(&path, [("team", stamp, &first)].into_iter()).unwrap();
        cache.append("", stamp, &second);
        let (records, count) = Cache::read(&path);
        assert_eq!((records.len(), count), (2, 2));
        let (read, found) = &records[&("team".to_owned(), first.file.clone())];
        assert_eq!((*read, &found.yaml), (stamp, &first.yaml));
        assert_eq!(found.version_text(), "1.1.0");
    }

    #[test]
    fn err_a_damaged_cache_ends_where_the_damage_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let stamp = Stamp::of(&folder.path().metadata().unwrap());
        let versions: Vec<ChartVersion> = (0..3).map(version).collect();
        Cache::rewrite(&path, versions.iter().map(|version| ("", stamp, version))).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(Cache::read(&path).1 < 3);
        }
        let mut flipped = whole;
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert_eq!(Cache::read(&path).1, 2);
    }
}
