//! What is known of charts while dependencies are resolved.

use std::collections::BTreeMap;

/// A chart by where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChartKey {
    /// A repository's address, `oci://...`, `file://` and an absolute folder.
    pub source: String,
    /// The chart's name.
    pub name: String,
}

/// A wish for a chart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// Which chart.
    pub chart: ChartKey,
    /// The constraint on its version.
    pub constraint: String,
}

/// Something that has to be known to go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Which versions does a chart have?
    Versions(ChartKey),
    /// What does a version of a chart need that it does not bring along?
    Requirements(ChartKey, String),
}

/// The answers so far.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    versions: BTreeMap<ChartKey, Vec<String>>,
    requirements: BTreeMap<(ChartKey, String), Vec<Requirement>>,
}

impl Knowledge {
    /// Answers [`Question::Versions`], in any order; none if there is no such chart.
    pub fn set_versions(&mut self, chart: ChartKey, versions: Vec<String>) {
        self.versions.insert(chart, versions);
    }

    /// Answers [`Question::Requirements`].
    pub fn set_requirements(&mut self, chart: ChartKey, version: String, requirements: Vec<Requirement>) {
        self.requirements.insert((chart, version), requirements);
    }

    /// The versions of a chart, if they are known.
    pub fn versions(&self, chart: &ChartKey) -> Option<&[String]> {
        self.versions.get(chart).map(Vec::as_slice)
    }

    /// What a version needs, if it is known.
    pub fn requirements(&self, chart: &ChartKey, version: &str) -> Option<&[Requirement]> {
        let key = (chart.clone(), version.to_owned());
        self.requirements.get(&key).map(Vec::as_slice)
    }
}
