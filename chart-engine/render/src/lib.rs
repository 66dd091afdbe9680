//! Charts and values rendered into manifests, hooks and notes.
//!
//! Start with [`render`]. Where something has to happen between rendering the files and reading their manifests, as with
//! a post-renderer, [`render_files`] and [`sort_manifests`] do the two halves.

mod capabilities;
mod error;
mod glob;
mod hook;
mod jinja;
mod lint;
mod lookup;
mod manifest;
mod objects;
mod options;
mod order;
mod output;
mod post_render;
mod read_ahead;
mod render;
mod schema;
mod snapshot;
mod split;

pub use chart_template::Limits as TemplateLimits;

pub use capabilities::{Capabilities, KubeVersion, KubeVersionError};
pub use error::RenderError;
pub use hook::{Hook, HookDeletePolicy, HookEvent, HookOutputLogPolicy};
pub use jinja::JinjaError;
pub use lint::{Finding, Judge, ObjectFault, Severity, lint};
pub use lookup::{Lookup, LookupError, Resolve};
pub use manifest::{Head, HeadError, Manifest, SortManifestsError, Sorted, sort_manifests};
pub use options::{ReleaseFacts, RenderOptions};
pub use order::{KindOrder, install_order, uninstall_order};
pub use output::{Output, ShowOnlyError};
pub use post_render::{PostRender, PostRenderError};
pub use read_ahead::ReadAhead;
pub use render::{CrdFile, Rendered, RenderedFiles, Warnings, ensure_installable, render, render_files};
pub use schema::{ChartFault, Complaint, Fault, SchemaError, validate};
pub use snapshot::Snapshot;
pub use split::split_manifests;
