//! What is kept of an index beside it, so that it is parsed once.
//!
//! The file has texts, numbers, a few words on where the index came from, and a foot of fixed size that says how long
//! each is. Looking something up, or going through all of it, makes nothing that must be given back again.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use chart_values::Value;
use repo_index::{Index, ReadIndex};
use serde::{Deserialize, Serialize};

use crate::atomic_file::write_atomic;
use crate::index_form::{Form, Place, Reader, Texts};

/// Other forms are not read.
const MAGIC: [u8; 8] = *b"tugidx\x00\x02";
/// Bytes of the foot.
const FOOT_BYTES: usize = 5 * 8;

/// What finding and fetching need of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedIndex {
    /// Where it came from.
    pub origin: Origin,
    form: Form,
    /// Where each chart begins, in the order of their names.
    charts: Vec<Place>,
}

/// Where an index came from, and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What the server called this state of the index.
    pub etag: Option<String>,
    /// When the server says that it changed.
    pub last_modified: Option<String>,
    /// Bad entries that were passed over, in words.
    pub skipped: Vec<String>,
}

/// A chart of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedChart {
    /// Its name.
    pub name: String,
    /// Its versions, the highest first.
    pub versions: Vec<CachedVersion>,
}

/// A version of a chart in an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedVersion {
    /// The version.
    pub version: String,
    /// The version of the application.
    pub app_version: String,
    /// What it is for.
    pub description: String,
    /// SHA-256 of the archive, hexadecimal.
    pub digest: String,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// Where its archive is, absolute or relative to the index.
    pub urls: Vec<String>,
}

/// A chart of an index that is looked at where it stands.
#[derive(Debug, Clone, Copy)]
pub struct ChartEntry<'i> {
    /// Its name.
    pub name: &'i str,
    count: usize,
    reader: Reader<'i>,
}

/// A version of a chart that is looked at where it stands.
#[derive(Debug, Clone)]
pub struct VersionEntry<'i> {
    /// The version.
    pub version: &'i str,
    /// The version of the application.
    pub app_version: &'i str,
    /// What it is for.
    pub description: &'i str,
    /// SHA-256 of the archive, hexadecimal.
    pub digest: &'i str,
    /// Words to find it by.
    pub keywords: Texts<'i>,
    /// Where its archive is.
    pub urls: Texts<'i>,
}

/// Which state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified_ns: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            bytes: metadata.len(),
            modified_ns: u64::try_from(modified.as_nanos()).ok()?,
        })
    }
}

impl CachedIndex {
    /// Takes what is needed out of an index.
    pub fn of(read: &ReadIndex) -> Self {
        let mut index = Self::with_charts(&charts(&read.index));
        index.origin.skipped = read.skipped.iter().map(ToString::to_string).collect();
        index
    }

    /// An index of charts, sorted by name.
    pub fn with_charts(charts: &[CachedChart]) -> Self {
        let mut form = Form::default();
        form.write_number(charts.len());
        for chart in charts {
            form.write_text(&chart.name);
            form.write_number(chart.versions.len());
            for version in &chart.versions {
                version.write(&mut form);
            }
        }
        Self::of_form(form).unwrap_or_default()
    }

    /// Goes through everything once; what comes after may rely on it.
    fn of_form(form: Form) -> Option<Self> {
        let mut charts = Vec::new();
        let mut reader = form.read(Place::default());
        let mut before = None;
        for _ in 0..reader.number()? {
            charts.push(reader.place());
            let chart = ChartEntry::read(&mut reader)?;
            if before
                .replace(chart.name)
                .is_some_and(|before| before >= chart.name)
            {
                return None;
            }
            for _ in 0..chart.count {
                VersionEntry::read(&mut reader)?;
            }
        }
        reader.is_at_end().then_some(())?;
        Some(Self {
            origin: Origin::default(),
            form,
            charts,
        })
    }

    /// The charts, by name.
    pub fn charts(&self) -> impl Iterator<Item = ChartEntry<'_>> {
        let entry = |place: &Place| ChartEntry::read(&mut self.form.read(*place));
        self.charts.iter().filter_map(entry)
    }

    /// The chart of a name.
    pub fn chart(&self, name: &str) -> Option<CachedChart> {
        let name_at = |place: &Place| self.form.read(*place).text().unwrap_or_default();
        let found = self
            .charts
            .binary_search_by(|place| name_at(place).cmp(name))
            .ok()?;
        let chart = ChartEntry::read(&mut self.form.read(self.charts[found]))?;
        Some(CachedChart {
            name: chart.name.to_owned(),
            versions: chart.versions().map(|version| version.to_owned()).collect(),
        })
    }

    /// Reads what was kept beside `index`, if it is of the state that the file has.
    pub fn load(index: &Path) -> Option<Self> {
        let mut bytes = fs::read(beside(index)).ok()?;
        let (rest, foot) = bytes.split_last_chunk::<FOOT_BYTES>()?;
        let foot = Foot::read(foot)?;
        if Some(foot.stamp) != Stamp::of(index) {
            return None;
        }
        let (texts, rest) = rest.split_at_checked(foot.texts)?;
        let (numbers, origin) = rest.split_at_checked(foot.numbers)?;
        let origin = serde_json::from_slice(origin).ok()?;
        let (numbers, length) = (Form::numbers(numbers), texts.len());
        // The texts stay where they were read to.
        bytes.truncate(length);
        let form = Form::of_parts(String::from_utf8(bytes).ok()?, numbers);
        let index = Self::of_form(form)?;
        Some(Self { origin, ..index })
    }

    /// Keeps it beside `index`.
    pub fn save(&self, index: &Path) -> std::io::Result<()> {
        let stamp = Stamp::of(index).ok_or(std::io::ErrorKind::NotFound)?;
        let (texts, numbers) = self.form.to_parts();
        let foot = Foot {
            texts: texts.len(),
            numbers: numbers.len(),
            stamp,
        };
        let origin = serde_json::to_vec(&self.origin)?;
        let bytes = [texts.as_bytes(), &numbers, &origin, &foot.write()].concat();
        write_atomic(&beside(index), &bytes, false)
    }

    /// Forgets what was kept beside `index`.
    pub fn remove(index: &Path) {
        // There may be none.
        let _ = fs::remove_file(beside(index));
    }
}

/// The end of the file: lengths, and of which state of the index it is.
struct Foot {
    texts: usize,
    numbers: usize,
    stamp: Stamp,
}

impl Foot {
    fn write(&self) -> Vec<u8> {
        let number = |number: usize| (number as u64).to_le_bytes();
        let (bytes, modified) = (self.stamp.bytes, self.stamp.modified_ns);
        [
            number(self.texts),
            number(self.numbers),
            bytes.to_le_bytes(),
            modified.to_le_bytes(),
            MAGIC,
        ]
        .concat()
    }

    fn read(bytes: &[u8; FOOT_BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let [texts, numbers, bytes, modified_ns, MAGIC] = words else {
            return None;
        };
        let length = |word: &[u8; 8]| usize::try_from(u64::from_le_bytes(*word)).ok();
        Some(Self {
            texts: length(texts)?,
            numbers: length(numbers)?,
            stamp: Stamp {
                bytes: u64::from_le_bytes(*bytes),
                modified_ns: u64::from_le_bytes(*modified_ns),
            },
        })
    }
}

impl<'i> ChartEntry<'i> {
    fn read(reader: &mut Reader<'i>) -> Option<Self> {
        let (name, count) = (reader.text()?, reader.number()?);
        Some(Self {
            name,
            count,
            reader: *reader,
        })
    }

    /// Its versions, the highest first.
    pub fn versions(self) -> impl Iterator<Item = VersionEntry<'i>> {
        let mut reader = self.reader;
        (0..self.count).map_while(move |_| VersionEntry::read(&mut reader))
    }
}

impl<'i> VersionEntry<'i> {
    fn read(reader: &mut Reader<'i>) -> Option<Self> {
        Some(Self {
            version: reader.text()?,
            app_version: reader.text()?,
            description: reader.text()?,
            digest: reader.text()?,
            keywords: reader.list()?,
            urls: reader.list()?,
        })
    }

    /// A version of its own.
    pub fn to_owned(&self) -> CachedVersion {
        CachedVersion {
            version: self.version.to_owned(),
            app_version: self.app_version.to_owned(),
            description: self.description.to_owned(),
            digest: self.digest.to_owned(),
            keywords: self.keywords.clone().map(str::to_owned).collect(),
            urls: self.urls.clone().map(str::to_owned).collect(),
        }
    }
}

impl CachedVersion {
    fn write(&self, form: &mut Form) {
        for text in [&self.version, &self.app_version, &self.description, &self.digest] {
            form.write_text(text);
        }
        form.write_list(&self.keywords);
        form.write_list(&self.urls);
    }
}

fn beside(index: &Path) -> std::path::PathBuf {
    index.with_extension("tug")
}

fn charts(index: &Index) -> Vec<CachedChart> {
    let versions = |entries: &[repo_index::IndexEntry]| {
        let text = |entry: &repo_index::IndexEntry, field| entry.text(field).unwrap_or_default().to_owned();
        let kept = entries.iter().filter(|entry| !entry.removed());
        kept.map(|entry| CachedVersion {
            version: entry.version_text().to_owned(),
            app_version: text(entry, "appVersion"),
            description: text(entry, "description"),
            keywords: entry
                .fields()
                .get("keywords")
                .and_then(Value::as_list)
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            urls: entry.urls().map(str::to_owned).collect(),
            digest: entry.digest().unwrap_or_default().to_owned(),
        })
        .collect()
    };
    index
        .charts()
        .map(|(name, entries)| CachedChart {
            name: name.to_owned(),
            versions: versions(entries),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_serves_until_the_index_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t-index.yaml");
        let text =
            "apiVersion: v1\nentries: {web: [{name: web, version: 1.0.0, keywords: [k], urls: [a]}, null]}\n";
        fs::write(&path, text).unwrap();
        assert_eq!(CachedIndex::load(&path), None);
        let mut cached = CachedIndex::of(&Index::read(text.as_bytes()).unwrap());
        cached.origin.etag = Some("\"e\"".into());
        cached.save(&path).unwrap();
        assert_eq!(CachedIndex::load(&path), Some(cached.clone()));
        assert_eq!(cached.chart("web").unwrap().versions[0].keywords, ["k"]);
        assert_eq!(cached.chart("we"), None);
        assert_eq!(cached.origin.skipped.len(), 1);
        fs::write(&path, format!("{text}# changed\n")).unwrap();
        assert_eq!(CachedIndex::load(&path), None);
    }

    #[test]
    fn charts_are_found_by_their_names() {
        let names = ["a", "b-1", "c", "ä"];
        let chart = |name: &&str| CachedChart {
            name: (*name).to_owned(),
            versions: vec![CachedVersion {
                version: format!("1.0.0-{name}"),
                urls: vec!["u".into(), String::new()],
                ..CachedVersion::default()
            }],
        };
        let index = CachedIndex::with_charts(&names.iter().map(chart).collect::<Vec<_>>());
        assert_eq!(index.charts().map(|chart| chart.name).collect::<Vec<_>>(), names);
        for name in &names {
            assert_eq!(index.chart(name), Some(chart(name)));
        }
        for name in ["", "b", "d", "zz"] {
            assert_eq!(index.chart(name), None, "{name}");
        }
    }

    #[test]
    fn err_what_was_damaged_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t-index.yaml");
        let text = "apiVersion: v1\nentries: {web: [{name: web, version: 1.0.0, urls: [a]}]}\n";
        fs::write(&path, text).unwrap();
        CachedIndex::of(&Index::read(text.as_bytes()).unwrap())
            .save(&path)
            .unwrap();
        let whole = fs::read(beside(&path)).unwrap();
        let foot = whole.len() - FOOT_BYTES;
        assert!(CachedIndex::load(&path).is_some());
        for length in 0..whole.len() {
            fs::write(beside(&path), &whole[..length]).unwrap();
            assert_eq!(CachedIndex::load(&path), None, "{length} bytes");
        }
        // Lengths that lead out of the file or into a letter, and numbers that part nothing.
        for place in foot..foot + 16 {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x55;
            fs::write(beside(&path), &damaged).unwrap();
            assert_eq!(CachedIndex::load(&path), None, "byte {place}");
        }
    }
}
