//! `tug create`

use std::fs;
use std::path::{Path, PathBuf};

use chart_model::{Language, scaffold};

use crate::failure::Failure;
use crate::settings::Settings;

/// Write a new chart to start from
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    /// Name of the chart, or a path that ends with it
    name: PathBuf,
    /// Write Go templates instead of Jinja
    #[arg(long)]
    go: bool,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &CreateArgs, settings: &Settings) -> Result<(), Failure> {
    let folder = &arguments.name;
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let language = if arguments.go {
        Language::Go
    } else {
        Language::Jinja
    };
    let files = scaffold(&name, language)?;
    if !arguments.force
        && let Some(file) = files.iter().find(|file| folder.join(&file.name).exists())
    {
        return Err(
            Failure::new(format!("`{}` exists already", folder.join(&file.name).display()))
                .hint("`--force` replaces the files of the chart"),
        );
    }
    for file in &files {
        write(&folder.join(&file.name), &file.data)?;
    }
    settings.console.line(format!("Creating {}", folder.display()))?;
    settings.console.say(format!(
        "Next: `tug template {}` shows what it renders",
        folder.display()
    ));
    Ok(())
}

fn write(path: &Path, data: &[u8]) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, data));
    written.map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).because_error(&error))
}
