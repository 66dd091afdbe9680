//! Charts: their metadata and files, loading them from a folder or an archive, and which subcharts take part.
//!
//! Start with [`Chart::load`] or [`Chart::from_archive`]; [`Chart::process_dependencies`] then applies conditions, tags,
//! aliases and imported values, as is needed before rendering.

mod archive;
mod assemble;
mod chart;
mod content;
mod crds;
mod dependencies;
mod error;
mod folder;
mod ignore;
mod limits;
mod metadata;
mod package;
mod pattern;
mod scaffold;

pub use chart::{Chart, File, Seen};
pub use content::Content;
pub use crds::Crd;
pub use dependencies::DependencyWarning;
pub use error::{ArchiveError, LoadChartError, MetadataError, ValidationError};
pub use ignore::{IgnoreError, IgnoreRules};
pub use limits::Limits;
pub use metadata::{ChartKind, Dependency, ImportValues, Lock, LockedDependency, Maintainer, Metadata};
pub use package::{PackageError, package};
pub use pattern::{PatternError, path_matches};
pub use scaffold::{ChartNameError, Language, scaffold};
