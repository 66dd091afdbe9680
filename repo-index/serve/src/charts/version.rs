//! A version of a chart as the server keeps it in memory: rendered once, for every answer that lists it.

use chart_values::Value;
use chart_values::constraint::Version;
use chart_values::json::to_raw_json;
use chart_values::yaml::{EmitError, to_yaml};
use repo_index::IndexEntry;

/// A version of a chart, and its entry in each form in which it is sent.
#[derive(Debug, Clone)]
pub(crate) struct ChartVersion {
    pub(crate) name: String,
    pub(crate) version: Version,
    /// The archive's file in the tenant's folder.
    pub(crate) file: String,
    /// SHA-256 of the archive, hexadecimal.
    pub(crate) digest: String,
    /// The entry as JSON.
    pub(crate) json: String,
    /// The entry as an item of the list in `index.yaml`.
    pub(crate) yaml: String,
}

impl ChartVersion {
    pub(crate) fn new(entry: &IndexEntry, file: &str) -> Result<Self, EmitError> {
        let value = entry.to_value();
        Ok(Self {
            name: entry.name().to_owned(),
            version: entry.version().clone(),
            file: file.to_owned(),
            digest: entry.digest().unwrap_or_default().to_owned(),
            json: to_raw_json(&value),
            yaml: indented(&to_yaml(&Value::List(vec![value]))?),
        })
    }

    pub(crate) fn version_text(&self) -> &str {
        self.version.original()
    }

    /// The fields of the entry.
    pub(crate) fn fields(&self) -> serde_json::Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// Two columns to the right; empty lines stay empty.
fn indented(yaml: &str) -> String {
    let mut text = String::with_capacity(yaml.len() + yaml.len() / 16);
    for line in yaml.lines() {
        if !line.is_empty() {
            text.push_str("  ");
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}
