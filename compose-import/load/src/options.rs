//! What a project is loaded from, and how far it is taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a project is loaded from, and how far it is taken.
///
/// The default takes it all the way: interpolated, merged, validated, normalised, with absolute paths.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder that the command runs in; absolute.
    pub current_dir: PathBuf,
    /// The user's home folder, for `~`.
    pub home: Option<PathBuf>,
    /// The variables of the process. They win over every file.
    pub environment: BTreeMap<String, String>,
    /// `-f`, in order; `-` is [`Options::stdin`]. None: `COMPOSE_FILE`, else the usual names here and in the folders above.
    pub files: Vec<String>,
    /// What `-f -` reads.
    pub stdin: Option<Vec<u8>>,
    /// `--project-directory`.
    pub project_directory: Option<String>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--env-file`, in order. None: `.env` beside the first file.
    pub env_files: Vec<String>,
    /// `--profile`; `*` is all. None: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// Only these services and what they depend on; their profiles are enabled. None: all.
    pub services: Vec<String>,
    /// Leave variables as they are written.
    pub no_interpolate: bool,
    /// Add no defaults that follow from the project as a whole.
    pub no_normalize: bool,
    /// Leave paths as they are written.
    pub no_path_resolution: bool,
    /// Do not check references between services and resources.
    pub no_consistency: bool,
    /// Do without those of the services' `env_file`s that are not there. (`docker compose` says of its flag of this name that
    /// it reads none of them, and reads them all.)
    pub no_env_resolution: bool,
    /// Keep networks, volumes, configs and secrets that no service uses.
    pub all_resources: bool,
}
