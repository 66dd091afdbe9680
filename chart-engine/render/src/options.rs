//! What a rendering depends on besides the chart and its values.

use std::sync::Arc;

use chart_template::Limits;

use crate::capabilities::Capabilities;
use crate::lookup::{Lookup, Resolve};
use crate::post_render::PostRender;
use crate::read_ahead::ReadAhead;

/// What a rendering depends on besides the chart and its values.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// The release.
    pub release: ReleaseFacts,
    /// The cluster.
    pub capabilities: Capabilities,
    /// Answers the function `lookup`; without one, every lookup finds nothing.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Answers the function `getHostByName`; without one, no host has an address.
    pub resolve: Option<Arc<dyn Resolve>>,
    /// Changes what the templates gave.
    pub post_renderer: Option<Arc<dyn PostRender>>,
    /// Does not hold the values against the charts' schemas.
    pub skip_schema_validation: bool,
    /// Gives the notes of subcharts too.
    pub subchart_notes: bool,
    /// Renders for a check: `required` and `fail` do not stop it.
    pub lint: bool,
    /// What templates may use up.
    pub limits: Limits,
    /// Has read some of the chart's templates already.
    pub read_ahead: Option<Arc<ReadAhead>>,
}

/// What templates know of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its revision, from 1.
    pub revision: u32,
    /// This makes the release.
    pub is_install: bool,
    /// This changes a release, or takes it back.
    pub is_upgrade: bool,
}

impl Default for ReleaseFacts {
    fn default() -> Self {
        ReleaseFacts {
            name: "release-name".to_owned(),
            namespace: "default".to_owned(),
            revision: 1,
            is_install: true,
            is_upgrade: false,
        }
    }
}
