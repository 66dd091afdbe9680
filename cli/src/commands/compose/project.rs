//! Which project: the flags before the command.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use compose_load::{DiskFiles, Fault, LoadError, Options, Position, Project, Warning, load};

use crate::failure::Failure;
use crate::settings::Settings;

/// How many faults are shown.
const FAULTS_SHOWN: usize = 50;

/// Which project.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ProjectArgs {
    /// Compose file, may be repeated; `-` is the standard input [env: COMPOSE_FILE]
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Vec<String>,
    /// Name of the project [env: COMPOSE_PROJECT_NAME]
    #[arg(short, long, value_name = "NAME")]
    pub(super) project_name: Option<String>,
    /// Folder that relative paths start from [default: that of the first file]
    #[arg(long, value_name = "DIR", alias = "workdir")]
    pub(super) project_directory: Option<String>,
    /// File of variables, may be repeated [env: COMPOSE_ENV_FILES] [default: .env]
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<String>,
    /// Profile to enable, may be repeated; `*` is all [env: COMPOSE_PROFILES]
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Vec<String>,
    /// Keep networks, volumes, configs and secrets that no service uses
    #[arg(long)]
    pub(super) all_resources: bool,
    // Docker's flags that have nothing to do here; scripts pass them.
    #[arg(long, hide = true, value_name = "WHEN")]
    ansi: Option<String>,
    #[arg(long, hide = true, value_name = "KIND")]
    progress: Option<String>,
    #[arg(long, hide = true, value_name = "N", allow_negative_numbers = true)]
    parallel: Option<i64>,
    #[arg(long, hide = true)]
    compatibility: bool,
}

impl ProjectArgs {
    /// The options of the loader: the flags, the environment, and the standard input if it is a file.
    pub(super) fn options(&self, settings: &Settings) -> Result<Options, Failure> {
        let current_dir = std::env::current_dir()
            .map_err(|error| Failure::new("cannot tell the working directory").because_error(&error))?;
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        let listed = environment.get("COMPOSE_FILE").is_some_and(|files| files == "-");
        let stdin = if self.file.iter().any(|file| file == "-") || (self.file.is_empty() && listed) {
            let mut content = Vec::new();
            std::io::stdin()
                .read_to_end(&mut content)
                .map_err(|error| Failure::new("cannot read the standard input").because_error(&error))?;
            Some(content)
        } else {
            None
        };
        Ok(Options {
            current_dir,
            home: settings.home.clone(),
            environment,
            files: self.file.clone(),
            stdin,
            project_directory: self.project_directory.clone(),
            project_name: self.project_name.clone(),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
            all_resources: self.all_resources,
            ..Options::default()
        })
    }

    /// Loads the project.
    pub(super) fn load_quietly(&self, options: &Options) -> Result<Project, Failure> {
        load(options, &DiskFiles).map_err(|error| failure(&error, &options.current_dir))
    }

    /// Loads the project and tells its warnings.
    pub(super) fn load(&self, options: &Options, settings: &Settings) -> Result<Project, Failure> {
        let project = self.load_quietly(options)?;
        for warning in &project.warnings {
            settings.console.warn(warning_text(warning, &options.current_dir));
        }
        Ok(project)
    }
}

/// A position as the user would type its file.
pub(super) fn place(position: &Position, current_dir: &Path) -> String {
    let file = Path::new(&*position.file);
    let shown = file.strip_prefix(current_dir).unwrap_or(file);
    format!("{}:{}:{}", shown.display(), position.line, position.column)
}

/// A warning with its place.
pub(super) fn warning_text(warning: &Warning, current_dir: &Path) -> String {
    match &warning.position {
        Some(position) => format!("{} ({})", warning.message, place(position, current_dir)),
        None => warning.message.clone(),
    }
}

/// All faults: the first in the words that docker compose has for it, then where, then the others.
fn failure(error: &LoadError, current_dir: &Path) -> Failure {
    let text = |fault: &Fault| match &fault.position {
        Some(position) => format!("{}: {}", place(position, current_dir), fault.message),
        None => fault.message.clone(),
    };
    let Some((first, others)) = error.faults.split_first() else {
        return Failure::new("the project cannot be loaded");
    };
    let mut failure = Failure::new(&first.message);
    if let Some(position) = &first.position {
        failure = failure.because(place(position, current_dir));
    }
    for fault in others.iter().take(FAULTS_SHOWN) {
        failure = failure.because(text(fault));
    }
    if others.len() > FAULTS_SHOWN {
        failure = failure.because(format!("and {} more", others.len() - FAULTS_SHOWN));
    }
    for hint in error
        .faults
        .iter()
        .take(FAULTS_SHOWN)
        .filter_map(|fault| fault.hint.as_deref())
    {
        failure = failure.hint(hint);
    }
    failure
}
