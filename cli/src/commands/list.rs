//! `tug list`

use chart_release::action::List;
use chart_release::{Release, ReleaseStatus};
use regex::Regex;
use serde::Serialize;

use super::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::console::Color;
use crate::failure::Failure;
use crate::go_time;
use crate::output::{Listing, OutputArgs, OutputFormat};
use crate::settings::Settings;
use crate::table::Table;

/// List releases
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Releases of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Order by date instead of by name
    #[arg(short, long)]
    date: bool,
    /// Reverse the order
    #[arg(short, long)]
    reverse: bool,
    /// Print names only
    #[arg(short = 'q', long)]
    short: bool,
    /// Only releases whose name matches the regular expression
    #[arg(short, long, value_name = "REGEX")]
    filter: Option<String>,
    /// Only releases with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// Most releases, 0 is no limit
    #[arg(short, long, value_name = "N", default_value_t = 256)]
    max: usize,
    /// Leave so many out at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// Only deployed releases
    #[arg(long)]
    deployed: bool,
    /// Only failed releases
    #[arg(long)]
    failed: bool,
    /// Only releases at which work is going on
    #[arg(long)]
    pending: bool,
    /// Superseded revisions too
    #[arg(long)]
    superseded: bool,
    /// Only releases that are uninstalled with their history kept
    #[arg(long)]
    uninstalled: bool,
    /// Only releases that are being uninstalled
    #[arg(long)]
    uninstalling: bool,
    /// Print no headings
    #[arg(long)]
    no_headers: bool,
    /// Print times in this layout of Go, as `2006-01-02 15:04:05Z0700`
    #[arg(long, value_name = "LAYOUT")]
    time_format: Option<String>,
    // Helm 3's flag: every state is shown anyway.
    #[arg(short, long, hide = true)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Row {
    name: String,
    namespace: String,
    revision: String,
    updated: String,
    status: String,
    chart: String,
    app_version: String,
}

pub(super) fn run(arguments: &ListArgs, settings: &Settings) -> Result<(), Failure> {
    let action = action(arguments)?;
    let layout = arguments.time_format.as_deref().map(go_time::Layout::parse);
    let config = connection::choose(settings, Start::IfThere)?;
    let releases = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
        outcome.map_err(|error| explain(&error))
    })?;
    let updated = |release: &Release| match (release.info.last_deployed, &layout) {
        (None, _) => "-".to_owned(),
        (Some(time), Some(layout)) => layout.format(&time, &settings.zone()),
        (Some(time), None) => time.go_string(&settings.zone()),
    };
    let rows: Vec<Row> = releases
        .iter()
        .map(|release| row(release, updated(release)))
        .collect();
    let format = match (arguments.short, arguments.output.output) {
        (true, OutputFormat::Table) => OutputFormat::Name,
        (true, format @ (OutputFormat::Json | OutputFormat::Yaml)) => {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            let text = if format == OutputFormat::Json {
                crate::output::to_json(&names)? + "\n"
            } else {
                crate::output::to_yaml(&names)?
            };
            return settings.console.data(&text);
        }
        (_, format) => format,
    };
    let headings = [
        "NAME",
        "NAMESPACE",
        "REVISION",
        "UPDATED",
        "STATUS",
        "CHART",
        "APP VERSION",
    ];
    let table = || {
        let mut table = Table::new(if arguments.no_headers { &[] } else { &headings });
        for row in &rows {
            table.row(vec![
                row.name.clone(),
                row.namespace.clone(),
                row.revision.clone(),
                row.updated.clone(),
                settings.console.paint(status_color(&row.status), &row.status),
                row.chart.clone(),
                row.app_version.clone(),
            ]);
        }
        table
    };
    let listing = Listing {
        records: &rows,
        table: &table,
        name: &|row: &Row| row.name.clone(),
    };
    listing.print(format, settings)
}

/// The colour of a state.
pub(super) fn status_color(status: &str) -> Color {
    match status {
        "deployed" => Color::Green,
        "failed" => Color::Red,
        _ => Color::Yellow,
    }
}

fn row(release: &Release, updated: String) -> Row {
    Row {
        name: release.name.clone(),
        namespace: release.namespace.clone(),
        revision: release.revision.to_string(),
        updated,
        status: release.info.status.to_string(),
        chart: release.chart_label(),
        app_version: release.app_version().to_owned(),
    }
}

fn action(arguments: &ListArgs) -> Result<List, Failure> {
    use ReleaseStatus as Status;
    let mut statuses = Vec::new();
    for (asked, wanted) in [
        (arguments.deployed, &[Status::Deployed][..]),
        (arguments.failed, &[Status::Failed]),
        (
            arguments.pending,
            &[
                Status::PendingInstall,
                Status::PendingUpgrade,
                Status::PendingRollback,
            ],
        ),
        (arguments.superseded, &[Status::Superseded]),
        (arguments.uninstalled, &[Status::Uninstalled]),
        (arguments.uninstalling, &[Status::Uninstalling]),
    ] {
        if asked {
            statuses.extend_from_slice(wanted);
        }
    }
    let filter = match &arguments.filter {
        None => None,
        Some(text) => Some(Regex::new(text).map_err(|error| {
            Failure::new(format!("`{text}` is no regular expression")).because_error(&error)
        })?),
    };
    Ok(List {
        all_namespaces: arguments.all_namespaces,
        statuses,
        filter,
        selector: arguments.selector.clone(),
        by_date: arguments.date,
        reverse: arguments.reverse,
        limit: arguments.max,
        offset: arguments.offset,
    })
}
