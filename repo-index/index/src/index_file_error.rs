//! Why an index, or an entry of it, cannot be read.

use chart_model::{MetadataError, ValidationError};
use chart_values::yaml::YamlError;

/// Why an index cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadIndexError {
    /// Nothing in it.
    #[error("empty index.yaml file")]
    Empty,
    /// No text.
    #[error("the index is not UTF-8, from byte {offset}")]
    NotText {
        /// First byte that is none.
        offset: usize,
    },
    /// No YAML.
    #[error("cannot parse the index: {0}")]
    Yaml(#[from] YamlError),
    /// YAML, but not a table, or a part of it is not what it must be.
    #[error("the index is damaged: `{field}` must be {wanted}, found {found}")]
    Shape {
        /// Where: `entries`, or empty for the whole.
        field: String,
        /// What has to be there.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// As Helm wants it, an index says its version.
    #[error("no API version specified")]
    NoApiVersion,
}

/// Why an entry of an index is none.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// `null` in the list of versions.
    #[error("it is empty")]
    Empty,
    /// A field of another kind than `Chart.yaml` has it.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A rule of charts that it does not keep.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// A field that only indexes have.
    #[error("`{field}` must be {wanted}")]
    Field {
        /// The field.
        field: &'static str,
        /// What has to be there.
        wanted: &'static str,
    },
}

/// An entry that was passed over.
#[derive(Debug)]
pub struct SkippedEntry {
    /// The chart in whose list it stands.
    pub chart: String,
    /// Which of the list, from 0.
    pub position: usize,
    /// Why.
    pub error: EntryError,
}

impl std::fmt::Display for SkippedEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            chart,
            position,
            error,
        } = self;
        write!(f, "entry {position} of chart `{chart}` is skipped: {error}")
    }
}
