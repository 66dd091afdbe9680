//! One version of a chart in an index.

use chart_model::{Chart, LoadChartError, Metadata};
use chart_values::constraint::Version;
use chart_values::{Map, Value};
use sha2::{Digest, Sha256};

use crate::index_file_error::EntryError;

/// One version of a chart: the fields of its `Chart.yaml`, and where its archive is.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexEntry {
    name: String,
    version: Version,
    fields: Map,
}

/// What an index says of an archive besides what the chart says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFacts {
    /// Addresses, absolute or relative to the index.
    pub urls: Vec<String>,
    /// SHA-256 of the archive, hexadecimal without a prefix.
    pub digest: String,
    /// When the archive was made, RFC 3339.
    pub created: String,
}

impl IndexEntry {
    /// Reads an entry and checks it by Helm's rules. Fields that nobody knows are kept.
    pub fn from_value(value: Value) -> Result<Self, EntryError> {
        if value.is_null() {
            return Err(EntryError::Empty);
        }
        let mut metadata = Metadata::from_value(&value)?;
        if metadata.api_version.is_empty() {
            metadata.api_version = "v1".to_owned();
        }
        metadata.validate()?;
        let Value::Map(mut fields) = value else {
            return Err(EntryError::Empty);
        };
        check_own_fields(&fields)?;
        // Numbers that stand for texts become texts once, here.
        for (key, text) in [
            ("name", &metadata.name),
            ("version", &metadata.version),
            ("apiVersion", &metadata.api_version),
            ("appVersion", &metadata.app_version),
        ] {
            if fields.contains_key(key) || key == "apiVersion" {
                fields.insert(key.to_owned(), text.as_str().into());
            }
        }
        Self::checked(metadata, fields)
    }

    /// The entry of a chart whose archive is known.
    pub fn of_chart(metadata: &Metadata, facts: ArchiveFacts) -> Result<Self, EntryError> {
        let mut metadata = metadata.clone();
        metadata.validate()?;
        let Value::Map(mut fields) = metadata.to_value() else {
            return Err(EntryError::Empty);
        };
        fields.insert("urls".to_owned(), facts.urls.into());
        fields.insert("digest".to_owned(), facts.digest.into());
        fields.insert("created".to_owned(), facts.created.into());
        Self::checked(metadata, fields)
    }

    /// Reads an archive, and gives its chart and its entry.
    pub fn of_archive(archive: &[u8], url: &str, created: &str) -> Result<(Chart, Self), LoadChartError> {
        let chart = Chart::from_archive(archive)?;
        let facts = ArchiveFacts {
            urls: vec![url.to_owned()],
            digest: sha256_hex(archive),
            created: created.to_owned(),
        };
        match Self::of_chart(&chart.metadata, facts) {
            Ok(entry) => Ok((chart, entry)),
            Err(EntryError::Invalid(error)) => Err(error.into()),
            // A chart that was loaded has metadata that can be read.
            Err(_) => Err(LoadChartError::NoChartFile),
        }
    }

    fn checked(metadata: Metadata, fields: Map) -> Result<Self, EntryError> {
        let invalid = |_| {
            EntryError::Invalid(chart_model::ValidationError::Version {
                version: metadata.version.clone(),
            })
        };
        let version = metadata.version.parse().map_err(invalid)?;
        Ok(Self {
            name: metadata.name,
            version,
            fields,
        })
    }

    /// The chart's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The chart's version, to compare.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The chart's version as it is written.
    pub fn version_text(&self) -> &str {
        self.version.original()
    }

    /// Where the archive is, absolute or relative to the index; the first is to be tried first.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.fields.get("urls").and_then(Value::as_list);
        urls.unwrap_or_default().iter().filter_map(Value::as_str)
    }

    /// SHA-256 of the archive, hexadecimal without a prefix.
    pub fn digest(&self) -> Option<&str> {
        let digest = self.text("digest")?;
        Some(digest.strip_prefix("sha256:").unwrap_or(digest))
    }

    /// When the archive was made, RFC 3339.
    pub fn created(&self) -> Option<&str> {
        self.text("created")
    }

    /// The version was taken back, and is listed for the record.
    pub fn removed(&self) -> bool {
        self.fields
            .get("removed")
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }

    /// A field that is a text and not empty.
    pub fn text(&self, field: &str) -> Option<&str> {
        let text = self.fields.get(field).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    }

    /// All fields, also those that nobody knows.
    pub fn fields(&self) -> &Map {
        &self.fields
    }

    /// Replaces the addresses, as an index with another base wants them.
    #[must_use]
    pub fn with_urls(mut self, urls: Vec<String>) -> Self {
        self.fields.insert("urls".to_owned(), urls.into());
        self
    }

    /// The fields as `Chart.yaml` has them.
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::from_value(&Value::Map(self.fields.clone())).unwrap_or_default();
        // Both were checked when the entry was made; checking cleans the texts as well.
        let _ = metadata.validate();
        metadata
    }

    /// The entry as it is written.
    pub fn to_value(&self) -> Value {
        Value::Map(self.fields.clone())
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Map(self.fields)
    }
}

fn check_own_fields(fields: &Map) -> Result<(), EntryError> {
    let given = |field: &str| fields.get(field).filter(|value| !value.is_null());
    if let Some(urls) = given("urls") {
        let texts = urls
            .as_list()
            .is_some_and(|urls| urls.iter().all(|url| url.as_str().is_some()));
        if !texts {
            return Err(EntryError::Field {
                field: "urls",
                wanted: "a list of texts",
            });
        }
    }
    for field in ["digest", "created"] {
        if given(field).is_some_and(|value| value.as_str().is_none()) {
            return Err(EntryError::Field {
                field,
                wanted: "a text",
            });
        }
    }
    if given("removed").is_some_and(|value| value.as_bool().is_none()) {
        return Err(EntryError::Field {
            field: "removed",
            wanted: "true or false",
        });
    }
    Ok(())
}

/// SHA-256, hexadecimal, as indexes write it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        // Writing into a text does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
