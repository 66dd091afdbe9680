//! Why dependencies cannot be had.

use std::io;
use std::path::PathBuf;

use chart_model::{LoadChartError, PackageError};
use chart_values::yaml::EmitError;
use repo_index::resolve::Conflict;
use repo_index::{ChartLockError, Digest, ReferenceError};

use crate::fetcher::FetchError;

/// Why dependencies cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// The chart itself cannot be loaded.
    #[error(transparent)]
    Chart(#[from] LoadChartError),
    /// A chart in a folder cannot be loaded.
    #[error("cannot load the dependency `{}`: {source}", .path.display())]
    Local {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: LoadChartError,
    },
    /// Nothing is at the place of a chart in a folder.
    #[error("directory {} not found", .path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// No versions meet the wishes.
    #[error("can't get a valid version for the dependencies: {0}")]
    Conflict(#[from] Conflict),
    /// A chart cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A repository that is meant by name was not added.
    #[error("no repository definition for {0}. Please add them via 'tug repo add'")]
    NoRepository(String),
    /// The address of a repository is of a kind that nobody here knows.
    #[error("the repository `{repository}` of `{name}` is no address")]
    Repository {
        /// The dependency.
        name: String,
        /// What stands there.
        repository: String,
    },
    /// The name of a chart would be a path.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// The lock cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ChartLockError,
    },
    /// The lock was made for other wishes.
    #[error(
        "the lock file ({file}) is out of sync with the dependencies file (Chart.yaml). Please update the dependencies with 'tug dependency update'"
    )]
    OutOfSync {
        /// The lock's file.
        file: &'static str,
    },
    /// An archive is not the one that was locked.
    #[error("{path} {version} has the digest {found}, and {wanted} is locked")]
    Changed {
        /// Its place in the tree.
        path: String,
        /// Its version.
        version: String,
        /// The digest in the lock.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// An archive holds another chart than its index says.
    #[error("the archive of {name} {version} holds {found}")]
    OtherChart {
        /// The wanted chart.
        name: String,
        /// The wanted version.
        version: String,
        /// What is in it.
        found: String,
    },
    /// A chart cannot be packed.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The lock cannot be written as YAML.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// A file cannot be read or written.
    #[error("cannot {act} `{}`: {source}", .path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
