//! `tug dependency`

use std::path::{Path, PathBuf};

use chart_model::Chart;
use repo_fetch::{DependencyError, DependencyManager, Updated, dependency_statuses};

use super::block_on;
use crate::arguments::AccessArgs;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, check_provenance, explain, fetcher};
use crate::settings::Settings;
use crate::table::Table;

/// Get the charts that a chart needs
#[derive(clap::Args)]
pub(crate) struct DependencyArgs {
    #[command(subcommand)]
    command: DependencyCommand,
}

#[derive(clap::Subcommand)]
enum DependencyCommand {
    /// Get exactly what Chart.lock says
    Build(GetArgs),
    /// Resolve Chart.yaml anew, get the charts and write Chart.lock
    #[command(visible_alias = "up")]
    Update(GetArgs),
    /// List what is wished, and whether it is there
    #[command(visible_alias = "ls")]
    List {
        /// Folder or .tgz file
        #[arg(default_value = ".")]
        chart: PathBuf,
        /// Widest column of the table, 0 is no limit
        #[arg(long, value_name = "N", default_value_t = 80)]
        max_col_width: usize,
    },
}

#[derive(clap::Args)]
struct GetArgs {
    /// Folder
    #[arg(default_value = ".")]
    chart: PathBuf,
    /// Do not ask repositories whether their indexes changed
    #[arg(long)]
    skip_refresh: bool,
    /// Refuse charts unless their provenance files hold
    #[arg(long)]
    verify: bool,
    /// Public keys for --verify [default: gpg's]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// One version of a chart in the whole tree
    #[arg(long)]
    one_version: bool,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(arguments: &DependencyArgs, settings: &Settings) -> Result<(), Failure> {
    match &arguments.command {
        DependencyCommand::Build(arguments) => get(arguments, true, settings),
        DependencyCommand::Update(arguments) => get(arguments, false, settings),
        DependencyCommand::List { chart, max_col_width } => list(chart, *max_col_width, settings),
    }
}

fn get(arguments: &GetArgs, locked: bool, settings: &Settings) -> Result<(), Failure> {
    if !arguments.chart.exists() {
        return Err(Failure::new(format!(
            "could not find {}",
            arguments.chart.display()
        )));
    }
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(arguments.access.access(settings), settings, &line);
    let mut manager = DependencyManager::new(&fetcher, &arguments.chart)
        .map_err(|error| explain_dependency(&error, settings))?;
    manager.skip_refresh = arguments.skip_refresh;
    manager.provenance = arguments.verify;
    manager.options.one_version = arguments.one_version;
    manager.build_time = settings.build_time();
    let now = settings.now().to_string();
    let outcome = block_on(async {
        Ok(if locked {
            manager.build(&now).await
        } else {
            manager.update(&now).await
        })
    })?;
    let updated = outcome.map_err(|error| explain_dependency(&error, settings))?;
    if arguments.verify {
        for (name, archive, provenance) in &updated.provenance {
            check_provenance(name, archive, provenance, arguments.keyring.as_deref(), settings)?;
        }
    }
    report(&updated, settings);
    Ok(())
}

fn report(updated: &Updated, settings: &Settings) {
    let console = &settings.console;
    for (name, version, source) in &updated.charts {
        console.say(format!("Saved {name} {version} from {source}"));
    }
    for name in &updated.removed {
        console.say(format!("Removed {name}, which is not wanted any more"));
    }
}

fn explain_dependency(error: &DependencyError, settings: &Settings) -> Failure {
    match error {
        DependencyError::Fetch(error) => explain(error, settings),
        DependencyError::Changed { .. } => {
            Failure::from_error(error).hint("`tug dependency update` locks what is there now")
        }
        DependencyError::Conflict(_) => Failure::from_error(error).hint(
            "make sure a matching chart version exists, or change the version constraint in Chart.yaml",
        ),
        _ => Failure::from_error(error),
    }
}

fn list(path: &Path, max_col_width: usize, settings: &Settings) -> Result<(), Failure> {
    let chart = Chart::load(path)?;
    let console = &settings.console;
    if chart.metadata.dependencies.is_empty() {
        return console.line(format!(
            "WARNING: no dependencies at {}",
            path.join("charts").display()
        ));
    }
    let (statuses, strangers) = dependency_statuses(path, &chart);
    let mut table = Table::new(&["NAME", "VERSION", "REPOSITORY", "STATUS"]);
    for row in statuses {
        let cells = [row.name, row.version, row.repository, row.status];
        table.row(cells.map(|text| cut(&text, max_col_width)).into());
    }
    let mut text = table.to_string() + "\n";
    for stranger in strangers {
        text += &format!("WARNING: {stranger:?} is not in Chart.yaml.\n");
    }
    console.data(&text)
}

fn cut(text: &str, width: usize) -> String {
    if width == 0 || text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    kept + "..."
}
