//! The index of one tenant, kept so that a change costs little: versions are in small groups, each rendered and
//! compressed by itself and only when it changed.
//!
//! A gzip stream may consist of deflate pieces that were compressed apart, if each but the last ends with a full flush
//! (RFC 1951, section 3.2.4): the whole is put together by copying, and its checksum by combining checksums.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chart_values::yaml::to_yaml;
use chart_values::{Map, Value};
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::version::ChartVersion;
use crate::digest::Digest;

/// A group that grows larger is split.
const GROUP_MAX: usize = 128;
/// The head of a gzip stream without name and time (RFC 1952, section 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The charts of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    charts: BTreeMap<String, Vec<Group>>,
    /// Chart and version by the name of the archive.
    files: BTreeMap<String, Arc<ChartVersion>>,
}

/// Versions that follow each other, the highest first.
#[derive(Debug, Default)]
struct Group {
    versions: Vec<Arc<ChartVersion>>,
    rendered: OnceLock<Arc<Rendered>>,
}

/// A piece of the index.
#[derive(Debug)]
struct Rendered {
    plain: Vec<u8>,
    deflated: Vec<u8>,
    checksum: Crc,
}

/// The index as it is sent.
#[derive(Debug)]
pub(crate) struct IndexPage {
    pub(crate) plain: Bytes,
    pub(crate) gzip: Bytes,
    /// With quotation marks.
    pub(crate) plain_etag: String,
    pub(crate) gzip_etag: String,
}

impl Rendered {
    fn of(plain: Vec<u8>) -> Self {
        let mut checksum = Crc::new();
        checksum.update(&plain);
        let deflated = deflate(&plain, FlushCompress::Full);
        Self {
            plain,
            deflated,
            checksum,
        }
    }
}

fn deflate(plain: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut out = Vec::with_capacity(plain.len() / 4 + 64);
    loop {
        out.reserve(4096.max(plain.len() / 8));
        let taken = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = plain.get(taken..).unwrap_or_default();
        // Into memory with room in it, compressing does not fail; all is out once room is left over.
        let done = compress.compress_vec(rest, &mut out, flush).is_err() || out.len() < out.capacity();
        if done {
            return out;
        }
    }
}

impl Group {
    fn of(versions: Vec<Arc<ChartVersion>>) -> Self {
        Self {
            versions,
            rendered: OnceLock::new(),
        }
    }

    fn rendered(&self, chart: Option<&str>) -> &Arc<Rendered> {
        self.rendered.get_or_init(|| {
            let mut plain = chart.map(chart_line).unwrap_or_default();
            for version in &self.versions {
                plain.push_str(&version.yaml);
            }
            Arc::new(Rendered::of(plain.into_bytes()))
        })
    }
}

/// `  NAME:`, quoted where YAML wants it.
fn chart_line(chart: &str) -> String {
    let table = Map::from([(chart.to_owned(), Value::List(Vec::new()))]);
    // A table of a text cannot fail to be written.
    let line = to_yaml(&Value::Map(table)).unwrap_or_default();
    format!("  {}\n", line.trim_end().trim_end_matches("[]").trim_end())
}

impl Listing {
    /// Adds a version in its place. If the same version is there, that one is replaced and given back.
    pub(crate) fn insert(&mut self, version: ChartVersion) -> Option<Arc<ChartVersion>> {
        let replaced = self.remove(&version.name, version.version_text());
        let version = Arc::new(version);
        self.files.insert(version.file.clone(), Arc::clone(&version));
        let groups = self.charts.entry(version.name.clone()).or_default();
        let not_below = |group: &Group| {
            let lowest = group.versions.last();
            lowest.is_some_and(|lowest| lowest.version >= version.version)
        };
        let mut place = groups.partition_point(not_below);
        if place == groups.len() {
            match place.checked_sub(1) {
                Some(last) => place = last,
                None => groups.push(Group::default()),
            }
        }
        let Some(group) = groups.get_mut(place) else {
            return replaced;
        };
        let row = group
            .versions
            .partition_point(|known| known.version >= version.version);
        group.versions.insert(row, version);
        group.rendered = OnceLock::new();
        if group.versions.len() > GROUP_MAX {
            let lower = group.versions.split_off(GROUP_MAX / 2);
            groups.insert(place + 1, Group::of(lower));
        }
        replaced
    }

    /// Removes a version.
    pub(crate) fn remove(&mut self, chart: &str, version: &str) -> Option<Arc<ChartVersion>> {
        let groups = self.charts.get_mut(chart)?;
        let (place, row) = groups.iter().enumerate().find_map(|(place, group)| {
            let row = group
                .versions
                .iter()
                .position(|known| known.version_text() == version)?;
            Some((place, row))
        })?;
        let group = groups.get_mut(place)?;
        let removed = group.versions.remove(row);
        group.rendered = OnceLock::new();
        if group.versions.is_empty() {
            groups.remove(place);
            // The first group carries the chart's name.
            if let Some(first) = groups.first_mut() {
                first.rendered = OnceLock::new();
            }
        }
        if groups.is_empty() {
            self.charts.remove(chart);
        }
        self.files.remove(&removed.file);
        Some(removed)
    }

    /// The versions of a chart, the highest first.
    pub(crate) fn versions(&self, chart: &str) -> impl Iterator<Item = &Arc<ChartVersion>> {
        let groups = self.charts.get(chart).map(Vec::as_slice).unwrap_or_default();
        groups.iter().flat_map(|group| &group.versions)
    }

    /// One version, letter by letter.
    pub(crate) fn version(&self, chart: &str, version: &str) -> Option<&Arc<ChartVersion>> {
        self.versions(chart).find(|known| known.version_text() == version)
    }

    /// The version whose archive has a name.
    pub(crate) fn file(&self, file: &str) -> Option<&Arc<ChartVersion>> {
        self.files.get(file)
    }

    /// The names of the charts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.charts.keys().map(String::as_str)
    }

    pub(crate) fn charts_count(&self) -> usize {
        self.charts.len()
    }

    pub(crate) fn versions_count(&self) -> usize {
        self.files.len()
    }

    /// The whole index, put together from the groups; only those that changed are rendered.
    pub(crate) fn page(&self, generated: &str) -> IndexPage {
        let head = if self.charts.is_empty() {
            "apiVersion: v1\nentries: {}\n"
        } else {
            "apiVersion: v1\nentries:\n"
        };
        let head = Rendered::of(head.as_bytes().to_vec());
        let tail = format!("generated: \"{generated}\"\nserverInfo: {{}}\n").into_bytes();
        let groups = self.charts.iter().flat_map(|(chart, groups)| {
            let named = |(place, group): (usize, &'_ Group)| {
                Arc::clone(group.rendered((place == 0).then_some(chart.as_str())))
            };
            groups.iter().enumerate().map(named).collect::<Vec<_>>()
        });
        let pieces: Vec<Arc<Rendered>> = std::iter::once(Arc::new(head)).chain(groups).collect();
        let plain_length: usize = pieces.iter().map(|piece| piece.plain.len()).sum();
        let gzip_length: usize = pieces.iter().map(|piece| piece.deflated.len()).sum();
        let mut plain = Vec::with_capacity(plain_length + tail.len());
        let mut gzip = Vec::with_capacity(gzip_length + tail.len() + 64);
        let mut checksum = Crc::new();
        let mut fingerprint = Vec::with_capacity(pieces.len() * 12);
        gzip.extend_from_slice(&GZIP_HEAD);
        for piece in &pieces {
            plain.extend_from_slice(&piece.plain);
            gzip.extend_from_slice(&piece.deflated);
            checksum.combine(&piece.checksum);
            fingerprint.extend_from_slice(&piece.checksum.sum().to_le_bytes());
            fingerprint.extend_from_slice(&(piece.plain.len() as u64).to_le_bytes());
        }
        plain.extend_from_slice(&tail);
        gzip.extend(deflate(&tail, FlushCompress::Finish));
        let mut last = Crc::new();
        last.update(&tail);
        checksum.combine(&last);
        gzip.extend_from_slice(&checksum.sum().to_le_bytes());
        // The length, modulo 2^32.
        gzip.extend_from_slice(&checksum.amount().to_le_bytes());
        fingerprint.extend_from_slice(&tail);
        let digest = Digest::sha256(&fingerprint);
        let short = digest.hex().get(..32).unwrap_or_default();
        IndexPage {
            plain: plain.into(),
            gzip: gzip.into(),
            plain_etag: format!("\"{short}\""),
            gzip_etag: format!("\"{short}-gzip\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_index::{Index, IndexEntry};
    use std::io::Read;

    fn version(name: &str, version: &str) -> ChartVersion {
        let fields = [("name", name), ("version", version), ("digest", "aa")];
        let mut fields: Map = fields.map(|(key, text)| (key.to_owned(), text.into())).into();
        fields.insert("description".to_owned(), "two\n\nparts: # \"of\"\n  it".into());
        let entry = IndexEntry::from_value(Value::Map(fields)).unwrap();
        ChartVersion::new(&entry, &format!("{name}-{version}.tgz")).unwrap()
    }

    fn check(listing: &Listing) {
        let page = listing.page("2024-01-01T00:00:00Z");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(page.gzip.as_ref())
            .read_to_end(&mut unpacked)
            .unwrap();
        assert!(unpacked == page.plain, "gzip holds the same");
        let read = Index::read(&page.plain).unwrap();
        assert!(read.skipped.is_empty());
        assert_eq!(read.index.charts().count(), listing.charts_count());
        for (chart, versions) in read.index.charts() {
            let ours: Vec<&str> = listing
                .versions(chart)
                .map(|known| known.version_text())
                .collect();
            let theirs: Vec<&str> = versions.iter().map(IndexEntry::version_text).collect();
            assert_eq!(ours, theirs);
            let text = versions[0].text("description");
            assert_eq!(text, Some("two\n\nparts: # \"of\"\n  it"));
        }
    }

    #[test]
    fn the_index_is_whole_after_every_kind_of_change() {
        let mut listing = Listing::default();
        check(&listing);
        // Upwards, downwards and in between, over several groups.
        for number in (0..300).chain((300..600).rev()) {
            listing.insert(version("web", &format!("1.{number}.0")));
        }
        listing.insert(version("true", "1.0.0"));
        check(&listing);
        for number in 0..40 {
            listing.insert(version("web", &format!("1.{}.5", number * 14)));
        }
        check(&listing);
        assert_eq!(listing.versions_count(), 641);
        assert!(listing.insert(version("web", "1.5.0")).is_some());
        for number in (0..600).filter(|number| number % 100 != 7) {
            assert!(listing.remove("web", &format!("1.{number}.0")).is_some());
        }
        check(&listing);
        assert!(listing.remove("true", "1.0.0").is_some());
        assert!(listing.remove("true", "1.0.0").is_none());
        check(&listing);
    }

    #[test]
    fn an_etag_changes_with_the_content() {
        let mut listing = Listing::default();
        listing.insert(version("web", "1.0.0"));
        let first = listing.page("t").plain_etag;
        assert_eq!(listing.page("t").plain_etag, first);
        listing.insert(version("web", "1.0.1"));
        assert_ne!(listing.page("t").plain_etag, first);
    }

    #[test]
    fn a_version_is_found_by_its_file() {
        let mut listing = Listing::default();
        listing.insert(version("web", "1.0.0-a-b"));
        assert_eq!(listing.file("web-1.0.0-a-b.tgz").unwrap().name, "web");
        assert!(listing.version("web", "1.0.0").is_none());
    }
}
