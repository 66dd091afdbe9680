//! The repository that is in the program itself.

use repo_index::ranked;

/// A chart in the program itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinChart {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The version of its application.
    pub app_version: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The archive.
    pub archive: &'static [u8],
}

/// Charts that are there without a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinRepository {
    /// The repository's name in `NAME/CHART`. One that was added with this name comes before it.
    pub name: &'static str,
    /// The charts.
    pub charts: &'static [BuiltinChart],
}

impl BuiltinRepository {
    /// The best version of a chart that a wish allows.
    pub(crate) fn find(
        &self,
        chart: &str,
        wish: &str,
    ) -> Result<Option<&BuiltinChart>, chart_values::constraint::ConstraintError> {
        let named: Vec<&BuiltinChart> = self.charts.iter().filter(|known| known.name == chart).collect();
        let best = ranked(named.iter().map(|known| known.version), wish)?;
        Ok(best.first().map(|place| named[*place]))
    }
}
