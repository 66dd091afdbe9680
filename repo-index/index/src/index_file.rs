//! `index.yaml`: which charts a repository has, in which versions.

use std::collections::BTreeMap;

use chart_values::constraint::Constraint;
use chart_values::json::from_json;
use chart_values::yaml::{EmitError, from_yaml, to_yaml};
use chart_values::{Map, Value};

use crate::index_file_entry::IndexEntry;
use crate::index_file_error::{ReadIndexError, SkippedEntry};

/// The index of a repository.
///
/// The versions of a chart are sorted, the highest first. Versions that compare as equal, because they differ in build
/// metadata only, keep the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// When it was written, RFC 3339; empty if it does not say.
    pub generated: String,
    /// What stands beside the entries: `annotations`, `publicKeys`, and fields that nobody knows.
    pub others: Map,
    api_version: String,
    entries: BTreeMap<String, Vec<IndexEntry>>,
}

/// An index that was read, and what had to be passed over.
#[derive(Debug)]
pub struct ReadIndex {
    /// The index.
    pub index: Index,
    /// Bad entries, in the order of the file.
    pub skipped: Vec<SkippedEntry>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            generated: String::new(),
            others: Map::new(),
            api_version: "v1".to_owned(),
            entries: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads YAML or JSON. Entries that are no chart versions are skipped and reported, as Helm does it.
    pub fn read(bytes: &[u8]) -> Result<ReadIndex, ReadIndexError> {
        let text = str::from_utf8(bytes).map_err(|error| ReadIndexError::NotText {
            offset: error.valid_up_to(),
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(ReadIndexError::Empty);
        }
        match parse(text)? {
            Value::Map(fields) => Self::from_fields(fields),
            // Comments only.
            Value::Null => Err(ReadIndexError::Empty),
            other => Err(shape("", "a table", &other)),
        }
    }

    fn from_fields(mut fields: Map) -> Result<ReadIndex, ReadIndexError> {
        let mut index = Self {
            api_version: take_text(&mut fields, "apiVersion")?,
            generated: take_text(&mut fields, "generated")?,
            ..Self::default()
        };
        if index.api_version.is_empty() {
            return Err(ReadIndexError::NoApiVersion);
        }
        let mut skipped = Vec::new();
        let charts = match fields.remove("entries") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Map(charts)) => charts,
            Some(other) => return Err(shape("entries", "a table", &other)),
        };
        for (chart, versions) in charts {
            let versions = match versions {
                Value::Null => Vec::new(),
                Value::List(versions) => versions,
                other => return Err(shape(&format!("entries.{chart}"), "a list", &other)),
            };
            let mut good = Vec::with_capacity(versions.len());
            for (position, version) in versions.into_iter().enumerate() {
                match IndexEntry::from_value(version) {
                    Ok(entry) => good.push(entry),
                    Err(error) => skipped.push(SkippedEntry {
                        chart: chart.clone(),
                        position,
                        error,
                    }),
                }
            }
            good.sort_by(|a, b| b.version().cmp(a.version()));
            index.entries.insert(chart, good);
        }
        index.others = fields;
        Ok(ReadIndex { index, skipped })
    }

    /// Writes YAML as Helm writes it, keys in alphabetical order.
    pub fn write(&self) -> Result<String, EmitError> {
        to_yaml(&self.to_value()).map(|text| text + "\n")
    }

    /// The index as a value, for another way of writing it.
    pub fn to_value(&self) -> Value {
        let mut fields = self.others.clone();
        fields.insert("apiVersion".to_owned(), self.api_version.as_str().into());
        let charts = self.entries.iter().map(|(name, versions)| {
            let versions = versions.iter().cloned().map(IndexEntry::into_value).collect();
            (name.as_str(), Value::List(versions))
        });
        fields.insert("entries".to_owned(), charts.collect());
        if !self.generated.is_empty() {
            fields.insert("generated".to_owned(), self.generated.as_str().into());
        }
        Value::Map(fields)
    }

    /// Charts by name, each with its versions, the highest first.
    pub fn charts(&self) -> impl Iterator<Item = (&str, &[IndexEntry])> {
        self.entries
            .iter()
            .map(|(name, versions)| (name.as_str(), versions.as_slice()))
    }

    /// The versions of a chart, the highest first; none if there is no such chart.
    pub fn versions(&self, chart: &str) -> &[IndexEntry] {
        self.entries.get(chart).map(Vec::as_slice).unwrap_or_default()
    }

    /// The entry of exactly this version, letter by letter.
    pub fn exact(&self, chart: &str, version: &str) -> Option<&IndexEntry> {
        let versions = self.versions(chart);
        versions.iter().find(|entry| entry.version_text() == version)
    }

    /// The entry that Helm takes for a wanted version: exactly that one, else the highest that a constraint allows.
    pub fn find(&self, chart: &str, wanted: &str, constraint: &Constraint) -> Option<&IndexEntry> {
        let allowed = |entry: &&IndexEntry| constraint.allows(entry.version());
        self.exact(chart, wanted)
            .or_else(|| self.versions(chart).iter().find(allowed))
    }

    /// Adds an entry in its place, instead of one with the same name and version if there is one, which is given back.
    pub fn insert(&mut self, entry: IndexEntry) -> Option<IndexEntry> {
        let versions = self.entries.entry(entry.name().to_owned()).or_default();
        let same = versions
            .iter_mut()
            .find(|known| known.version_text() == entry.version_text());
        if let Some(known) = same {
            return Some(std::mem::replace(known, entry));
        }
        let place = versions.partition_point(|known| known.version() >= entry.version());
        versions.insert(place, entry);
        None
    }

    /// Removes an entry; a chart without versions is not listed any more.
    pub fn remove(&mut self, chart: &str, version: &str) -> Option<IndexEntry> {
        let versions = self.entries.get_mut(chart)?;
        let place = versions
            .iter()
            .position(|entry| entry.version_text() == version)?;
        let entry = versions.remove(place);
        if versions.is_empty() {
            self.entries.remove(chart);
        }
        Some(entry)
    }

    /// Takes over the versions of another index that this one does not have (`repo index --merge`).
    pub fn merge(&mut self, other: &Index) {
        for (chart, versions) in &other.entries {
            for entry in versions {
                if self.exact(chart, entry.version_text()).is_none() {
                    let list = self.entries.entry(chart.clone()).or_default();
                    let place = list.partition_point(|known| known.version() >= entry.version());
                    list.insert(place, entry.clone());
                }
            }
        }
    }
}

/// JSON is YAML, but read many times faster as what it is.
fn parse(text: &str) -> Result<Value, ReadIndexError> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = from_json(text)
    {
        return Ok(value);
    }
    Ok(from_yaml(text)?)
}

fn take_text(fields: &mut Map, field: &str) -> Result<String, ReadIndexError> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(shape(field, "a text", &other)),
    }
}

fn shape(field: &str, wanted: &'static str, found: &Value) -> ReadIndexError {
    ReadIndexError::Shape {
        field: field.to_owned(),
        wanted,
        found: found.json_kind(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
apiVersion: v1
entries:
  web:
  - apiVersion: v2
    created: \"2024-01-01T00:00:00Z\"
    digest: aa
    name: web
    urls:
    - web-1.9.0.tgz
    version: 1.9.0
    x-unknown:
      a: [1]
  - apiVersion: v2
    name: web
    urls:
    - https://example.com/web-1.10.0.tgz
    version: 1.10.0
  - apiVersion: v2
    name: web
    version: 1.10.0-rc.1
generated: \"2024-01-01T00:00:00Z\"
publicKeys:
- k
";

    fn read(text: &str) -> Index {
        Index::read(text.as_bytes()).unwrap().index
    }

    fn versions(index: &Index, chart: &str) -> Vec<String> {
        let versions = index.versions(chart).iter();
        versions.map(|entry| entry.version_text().to_owned()).collect()
    }

    #[test]
    fn versions_are_sorted_and_unknown_fields_are_kept() {
        let index = read(INDEX);
        assert_eq!(versions(&index, "web"), ["1.10.0", "1.10.0-rc.1", "1.9.0"]);
        let again = read(&index.write().unwrap());
        assert_eq!(again, index);
        assert!(again.others.contains_key("publicKeys"));
        let old = again.exact("web", "1.9.0").unwrap();
        assert!(old.fields().contains_key("x-unknown"));
        assert_eq!(old.digest(), Some("aa"));
        assert_eq!(old.urls().collect::<Vec<_>>(), ["web-1.9.0.tgz"]);
    }

    #[test]
    fn json_is_read_as_yaml_is() {
        let index = read(INDEX);
        let json = chart_values::json::to_json(&index.to_value());
        assert_eq!(read(&json), index);
    }

    #[test]
    fn an_entry_is_found_by_its_letters_and_then_by_a_constraint() {
        let index = read(INDEX);
        for (wanted, found) in [
            ("1.9.0", Some("1.9.0")),
            ("*", Some("1.10.0")),
            ("<1.10.0", Some("1.9.0")),
            (">=1.10.0-0 <1.10.0", Some("1.10.0-rc.1")),
            ("2.x", None),
        ] {
            let entry = index.find("web", wanted, &wanted.parse().unwrap());
            assert_eq!(entry.map(IndexEntry::version_text), found, "{wanted}");
        }
    }

    #[test]
    fn inserting_removing_and_merging_keep_the_order() {
        let mut index = read(INDEX);
        let entry = |version: &str, digest: &str| {
            IndexEntry::from_value(
                [("name", "web"), ("version", version), ("digest", digest)]
                    .into_iter()
                    .collect(),
            )
            .unwrap()
        };
        assert!(index.insert(entry("1.9.5", "")).is_none());
        assert!(index.insert(entry("1.9.5", "bb")).is_some());
        assert_eq!(
            versions(&index, "web"),
            ["1.10.0", "1.10.0-rc.1", "1.9.5", "1.9.0"]
        );
        let mut other = Index::default();
        other.insert(entry("1.9.5", "cc"));
        other.insert(entry("3.0.0", "cc"));
        index.merge(&other);
        assert_eq!(index.versions("web")[0].version_text(), "3.0.0");
        assert_eq!(index.exact("web", "1.9.5").unwrap().digest(), Some("bb"));
        for version in versions(&index, "web") {
            assert!(index.remove("web", &version).is_some());
        }
        assert_eq!(index.charts().count(), 0);
    }

    #[test]
    fn err_bad_entries_are_skipped_and_reported() {
        let read = Index::read(
            b"apiVersion: v1\nentries:\n  a:\n  - null\n  - {name: a, version: one}\n  - {name: a/b, version: 1.0.0}\n  - {name: a, version: 1.0.0, urls: x}\n  - {name: a, version: [1]}\n  - {name: a, version: 1.2}\n",
        )
        .unwrap();
        assert_eq!(versions(&read.index, "a"), ["1.2"]);
        let report: Vec<String> = read.skipped.iter().map(ToString::to_string).collect();
        assert_eq!(report.len(), 5);
        assert_eq!(report[0], "entry 0 of chart `a` is skipped: it is empty");
        assert!(report[1].contains("\"one\" is invalid"), "{}", report[1]);
    }

    #[test]
    fn err_what_is_no_index_is_refused() {
        for (text, message) in [
            ("", "empty index.yaml file"),
            ("# nothing\n", "empty index.yaml file"),
            ("entries: {}", "no API version specified"),
            ("- a", "the index is damaged: `` must be a table, found array"),
            (
                "apiVersion: v1\nentries: []",
                "the index is damaged: `entries` must be a table, found array",
            ),
            (
                "apiVersion: v1\nentries: {a: b}",
                "the index is damaged: `entries.a` must be a list, found string",
            ),
        ] {
            let error = Index::read(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
        assert!(matches!(
            Index::read(b"a\xff").unwrap_err(),
            ReadIndexError::NotText { offset: 1 }
        ));
        assert!(Index::read(b"a: b: c").is_err());
    }
}
