//! `tug status`

use chart_release::ReleaseStatus;
use chart_release::action::{Get, drift, live_resources};

use super::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::OutputArgs;
use crate::plan_text::{self, Words};
use crate::release_text::{self, Parts};
use crate::settings::Settings;

/// Show a release and how its objects are
#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// Name of the release
    name: String,
    /// Revision to show [default: the last]
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
    /// Show what was changed by hand since, and end with 2 if anything was
    #[arg(long)]
    drift: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(arguments: &StatusArgs, settings: &Settings) -> Result<(), Failure> {
    let action = Get {
        name: arguments.name.clone(),
        revision: arguments.revision,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    if arguments.drift {
        let found = block_on(async {
            let cluster = connection::connect(settings, &config).await?;
            let read = async {
                let release = action.run(&cluster).await?;
                drift(&cluster, &release).await
            };
            let outcome = run_until_interrupted(&cluster, read).await;
            outcome.map_err(|error| explain(&error))
        })?;
        let words = Words {
            nothing: "The objects are as the release made them.",
            heading: "was changed by hand; applying it again would bring back",
        };
        plan_text::print(&found, arguments.output.output, true, &words, settings)?;
        return plan_text::exit(&found);
    }
    let (release, resources) = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let read = async {
            let release = action.run(&cluster).await?;
            let resources = if release.info.status == ReleaseStatus::Uninstalled {
                Vec::new()
            } else {
                live_resources(&cluster, &release).await?
            };
            Ok((release, resources))
        };
        let outcome = run_until_interrupted(&cluster, read).await;
        outcome.map_err(|error| explain(&error))
    })?;
    let parts = Parts {
        resources: Some(&resources),
        ..Parts::default()
    };
    release_text::print(&release, arguments.output.output, &parts, settings)
}
