//! Where files of repositories and registries are.

use std::path::PathBuf;

/// Where files of repositories and registries are. All have the forms that Helm gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations {
    /// `repositories.yaml`.
    pub repositories: PathBuf,
    /// The folder of `NAME-index.yaml` and `NAME-charts.txt`.
    pub repository_cache: PathBuf,
    /// The folder of archives by digest.
    pub content_cache: PathBuf,
    /// `registry/config.json`, where logins are kept.
    pub registry_config: PathBuf,
    /// Docker's `config.json`, where logins are looked for as well.
    pub docker_config: Option<PathBuf>,
}
