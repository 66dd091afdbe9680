//! What is kept of an index beside it, so that it is parsed once.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use chart_values::Value;
use repo_index::{Index, ReadIndex};
use serde::{Deserialize, Serialize};

use crate::atomic_file::write_atomic;

/// Raised when the form changes: other forms are not read.
const FORMAT: u32 = 1;

/// What finding and fetching need of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedIndex {
    format: u32,
    /// Of the `index.yaml` that it was made from.
    stamp: Option<Stamp>,
    /// What the server called this state of the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the server says that it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Bad entries that were passed over, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// The charts, by name.
    pub charts: Vec<CachedChart>,
}

/// A chart of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedChart {
    /// Its name.
    #[serde(rename = "n")]
    pub name: String,
    /// Its versions, the highest first.
    #[serde(rename = "v")]
    pub versions: Vec<CachedVersion>,
}

/// A version of a chart in an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedVersion {
    /// The version.
    #[serde(rename = "v")]
    pub version: String,
    /// The version of the application.
    #[serde(rename = "a", default, skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    /// What it is for.
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words to find it by.
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Where its archive is, absolute or relative to the index.
    #[serde(rename = "u", default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// SHA-256 of the archive, hexadecimal.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// Which state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        Self {
            format: FORMAT,
            skipped: read.skipped.iter().map(ToString::to_string).collect(),
            charts: charts(&read.index),
            ..Self::default()
        }
    }

    /// An index of charts that nobody wrote; they must be sorted by name.
    pub fn with_charts(charts: Vec<CachedChart>) -> Self {
        Self {
            charts,
            ..Self::default()
        }
    }

    /// The chart of a name.
    pub fn chart(&self, name: &str) -> Option<&CachedChart> {
        let place = self
            .charts
            .binary_search_by(|chart| chart.name.as_str().cmp(name));
        place.ok().map(|place| &self.charts[place])
    }

    /// Reads what was kept beside `index`, if it is of the state that the file has.
    pub fn load(index: &Path) -> Option<Self> {
        let bytes = fs::read(beside(index)).ok()?;
        let cached: Self = serde_json::from_slice(&bytes).ok()?;
        (cached.format == FORMAT && cached.stamp.is_some() && cached.stamp == Stamp::of(index))
            .then_some(cached)
    }

    /// Keeps it beside `index`.
    pub fn save(&mut self, index: &Path) -> std::io::Result<()> {
        self.stamp = Stamp::of(index);
        let bytes = serde_json::to_vec(self)?;
        write_atomic(&beside(index), &bytes, false)
    }

    /// Forgets what was kept beside `index`.
    pub fn remove(index: &Path) {
        // There may be none.
        let _ = fs::remove_file(beside(index));
    }
}

fn beside(index: &Path) -> std::path::PathBuf {
    index.with_extension("tug.json")
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
        cached.etag = Some("\"e\"".into());
        cached.save(&path).unwrap();
        assert_eq!(CachedIndex::load(&path), Some(cached.clone()));
        assert_eq!(cached.chart("web").unwrap().versions[0].keywords, ["k"]);
        assert_eq!(cached.skipped.len(), 1);
        fs::write(&path, format!("{text}# changed\n")).unwrap();
        assert_eq!(CachedIndex::load(&path), None);
        fs::write(path.with_extension("tug.json"), "{").unwrap();
        assert_eq!(CachedIndex::load(&path), None);
    }
}
