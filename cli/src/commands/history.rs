//! `tug history`

use chart_release::Release;
use chart_release::action::History;
use serde::Serialize;

use super::list::status_color;
use super::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::{Listing, OutputArgs};
use crate::settings::Settings;
use crate::table::Table;

/// List the revisions of a release
#[derive(clap::Args)]
pub(crate) struct HistoryArgs {
    /// Name of the release
    name: String,
    /// Most revisions, the newest
    #[arg(long, value_name = "N", default_value_t = 256)]
    max: usize,
    /// Show which revision was rolled back to
    #[arg(long)]
    show_rollback_revision: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Row {
    revision: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    updated: String,
    status: String,
    chart: String,
    app_version: String,
    #[serde(skip_serializing_if = "is_zero")]
    rollback_revision: u32,
    description: String,
    #[serde(skip)]
    shown: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub(super) fn run(arguments: &HistoryArgs, settings: &Settings) -> Result<(), Failure> {
    let action = History {
        name: arguments.name.clone(),
        max: arguments.max,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    let releases = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
        outcome.map_err(|error| explain(&error))
    })?;
    let rows: Vec<Row> = releases.iter().map(row).collect();
    let listing = Listing {
        records: &rows,
        table: &|| table(&rows, arguments.show_rollback_revision, settings),
        name: &|row: &Row| row.revision.to_string(),
    };
    listing.print(arguments.output.output, settings)
}

fn row(release: &Release) -> Row {
    let updated = release.info.last_deployed;
    Row {
        revision: release.revision,
        updated: updated.map(|time| time.to_string()).unwrap_or_default(),
        status: release.info.status.to_string(),
        chart: release.chart_label(),
        app_version: release.app_version().to_owned(),
        description: release.info.description.clone(),
        rollback_revision: release.info.rollback_revision,
        shown: updated.map(|time| time.ansic()).unwrap_or_default(),
    }
}

fn table(rows: &[Row], rollback: bool, settings: &Settings) -> Table {
    let mut headings = vec!["REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION"];
    if rollback {
        headings.push("ROLLBACK");
    }
    headings.push("DESCRIPTION");
    let mut table = Table::new(&headings);
    for row in rows {
        let mut cells = vec![
            row.revision.to_string(),
            row.shown.clone(),
            settings.console.paint(status_color(&row.status), &row.status),
            row.chart.clone(),
            row.app_version.clone(),
        ];
        if rollback {
            cells.push(match row.rollback_revision {
                0 => String::new(),
                revision => revision.to_string(),
            });
        }
        cells.push(row.description.clone());
        table.row(cells);
    }
    table
}
