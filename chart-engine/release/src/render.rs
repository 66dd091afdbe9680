//! A chart rendered for a release.

/// Why a chart does not render.
#[derive(Debug, thiserror::Error)]
#[error("the chart does not render")]
pub struct RenderReleaseError;
