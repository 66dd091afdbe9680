//! `tug package`

use std::fs;
use std::path::{Path, PathBuf};

use chart_model::{Chart, package};
use chart_values::constraint::Version;

use crate::failure::Failure;
use crate::settings::Settings;

/// Pack charts into archives
#[derive(clap::Args)]
pub(crate) struct PackageArgs {
    /// Folders
    #[arg(value_name = "CHART", required = true)]
    charts: Vec<PathBuf>,
    /// Folder to write archives into
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    /// Version that the chart gets
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Version of the application that the chart gets
    #[arg(long, value_name = "VERSION")]
    app_version: Option<String>,
}

pub(super) fn run(arguments: &PackageArgs, settings: &Settings) -> Result<(), Failure> {
    for folder in &arguments.charts {
        let path = pack(folder, arguments, settings)?;
        settings.console.line(format!(
            "Successfully packaged chart and saved it to: {}",
            path.display()
        ))?;
    }
    Ok(())
}

fn pack(folder: &Path, arguments: &PackageArgs, settings: &Settings) -> Result<PathBuf, Failure> {
    let mut chart = Chart::load_within(folder, settings.limits.chart)?;
    if let Some(version) = &arguments.version {
        Version::parse_strict(version)
            .map_err(|error| Failure::new(format!("`{version}` is no version")).because_error(&error))?;
        chart.metadata.version.clone_from(version);
    }
    if let Some(version) = &arguments.app_version {
        chart.metadata.app_version.clone_from(version);
    }
    let missing = chart.missing_dependencies();
    if !missing.is_empty() {
        let names = missing.join(", ");
        return Err(Failure::new(format!(
            "found in Chart.yaml, but missing in charts/ directory: {names}"
        )));
    }
    let bytes = package(&chart, settings.build_time())?;
    let path = arguments
        .destination
        .join(format!("{}-{}.tgz", chart.name(), chart.metadata.version));
    let written = fs::create_dir_all(&arguments.destination).and_then(|()| fs::write(&path, bytes));
    written
        .map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).because_error(&error))?;
    Ok(fs::canonicalize(&path).unwrap_or(path))
}
