//! Which project a command is about.

use std::collections::BTreeMap;
use std::io::Read as _;

use compose_load::{DiskFiles, LoadError, Options, Project};

use crate::failure::Failure;
use crate::settings::Settings;

/// Which project a command is about: docker compose's own flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ProjectArgs {
    /// Compose file, `-` is stdin; may be repeated, later ones change earlier ones
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Vec<String>,
    /// Name of the project
    #[arg(short, long, value_name = "NAME")]
    pub(super) project_name: Option<String>,
    /// Folder that relative paths start from [default: that of the first file]
    #[arg(long, value_name = "DIR")]
    pub(super) project_directory: Option<String>,
    /// File of variables, may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<String>,
    /// Profile to enable, `*` is all; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Vec<String>,
    /// Keep networks, volumes, configs and secrets that no service uses
    #[arg(long)]
    pub(super) all_resources: bool,
    // docker compose's flags that have nothing to do here; scripts pass them.
    #[arg(long, hide = true, value_name = "WHEN")]
    ansi: Option<String>,
    #[arg(long, hide = true)]
    compatibility: bool,
    #[arg(long, hide = true, value_name = "N", allow_negative_numbers = true)]
    parallel: Option<i32>,
    #[arg(long, hide = true, value_name = "HOW")]
    progress: Option<String>,
}

impl ProjectArgs {
    /// What the loader is told.
    pub(super) fn options(&self, services: &[String], settings: &Settings) -> Result<Options, Failure> {
        let current_dir = std::env::current_dir()
            .map_err(|error| Failure::new("cannot find the current folder").because_error(&error))?;
        let stdin = if self.file.iter().any(|file| file == "-") {
            let mut content = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut content);
            read.map_err(|error| Failure::new("cannot read stdin").because_error(&error))?;
            Some(content)
        } else {
            None
        };
        Ok(Options {
            current_dir,
            home: settings.home.clone(),
            environment: environment(),
            files: self.file.clone(),
            stdin,
            project_directory: self.project_directory.clone(),
            project_name: self.project_name.clone(),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
            services: services.to_vec(),
            all_resources: self.all_resources,
            ..Options::default()
        })
    }

    /// Loads the project, and says what its author should know.
    pub(super) fn load(&self, services: &[String], settings: &Settings) -> Result<Project, Failure> {
        load(&self.options(services, settings)?, settings)
    }
}

/// Loads a project, and says what its author should know.
pub(super) fn load(options: &Options, settings: &Settings) -> Result<Project, Failure> {
    let project = compose_load::load(options, &DiskFiles).map_err(|error| explain(&error))?;
    for warning in &project.warnings {
        settings.console.warn(warning.to_string());
    }
    Ok(project)
}

/// The variables of the process that are text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// All faults of a project, each with its place.
fn explain(error: &LoadError) -> Failure {
    let mut faults = error.faults.iter();
    let Some(first) = faults.next() else {
        return Failure::from_error(error);
    };
    let mut failure = Failure::new(first.to_string());
    for fault in faults {
        failure = failure.because(fault.to_string());
    }
    for hint in error.faults.iter().filter_map(|fault| fault.hint.clone()) {
        failure = failure.hint(hint);
    }
    failure
}
