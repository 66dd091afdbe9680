//! `tug compose ls`

use chart_release::action::List;
use serde::Serialize;

use super::place::PROJECT;
use crate::commands::{block_on, explain};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::{Listing, OutputFormat};
use crate::settings::Settings;
use crate::table::Table;

/// List projects
#[derive(clap::Args)]
pub(crate) struct LsArgs {
    /// Print in this format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: OutputFormat,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    namespace: String,
    revision: u32,
    status: String,
}

pub(super) fn run(arguments: &LsArgs, settings: &Settings) -> Result<(), Failure> {
    let action = List {
        all_namespaces: settings.namespace.is_none(),
        statuses: Vec::new(),
        filter: None,
        selector: PROJECT.to_owned(),
        by_date: false,
        reverse: false,
        limit: 0,
        offset: 0,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    let releases = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        action.run(&cluster).await.map_err(|error| explain(&error))
    })?;
    let rows: Vec<Row> = releases
        .iter()
        .map(|release| Row {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
            revision: release.revision,
            status: release.info.status.to_string(),
        })
        .collect();
    let table = || {
        let mut table = Table::new(&["NAME", "NAMESPACE", "REVISION", "STATUS"]);
        for row in &rows {
            table.row(vec![
                row.name.clone(),
                row.namespace.clone(),
                row.revision.to_string(),
                row.status.clone(),
            ]);
        }
        table
    };
    let listing = Listing {
        records: &rows,
        table: &table,
        name: &|row: &Row| row.name.clone(),
    };
    let format = if arguments.quiet {
        OutputFormat::Name
    } else {
        arguments.format
    };
    listing.print(format, settings)
}
