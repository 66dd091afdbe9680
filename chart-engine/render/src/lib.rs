//! Charts and values rendered into manifests, hooks and notes.
//!
//! Start with [`render`]. Where something has to happen between rendering the files and reading their manifests, as with
//! a post-renderer, [`render_files`] and [`sort_manifests`] do the two halves.

mod capabilities;
mod error;
mod hook;
mod lookup;
mod manifest;
mod options;
mod order;
mod output;
mod render;
mod schema;
mod split;

pub use capabilities::{Capabilities, KubeVersion, KubeVersionError};
pub use error::RenderError;
pub use hook::{Hook, HookDeletePolicy, HookEvent, HookOutputLogPolicy};
pub use lookup::{Lookup, LookupError};
pub use manifest::{Head, Manifest, SortManifestsError, Sorted, sort_manifests};
pub use options::{ReleaseFacts, RenderOptions};
pub use order::{KindOrder, install_order, uninstall_order};
pub use output::{Output, TemplateOutput, ShowOnlyError};
pub use render::{CrdFile, Rendered, RenderedFiles, ensure_installable, render, render_files};
pub use schema::{SchemaError, validate};
pub use split::split_manifests;
