//! `tug diff`

use chart_release::action::compare_revisions;

use super::plan::PlanTarget;
use super::{block_on, explain};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::OutputArgs;
use crate::plan_text::{self, Words};
use crate::settings::Settings;

/// Show what differs: a chart from the live cluster, or a revision from another
///
/// Ends with 2 if anything differs.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct DiffArgs {
    #[command(subcommand)]
    what: Option<DiffCommand>,
    #[command(flatten)]
    target: PlanTarget,
}

#[derive(clap::Subcommand)]
enum DiffCommand {
    /// Show what differs between the manifests of two revisions
    Revision(RevisionArgs),
}

#[derive(clap::Args)]
struct RevisionArgs {
    /// Name of the release
    name: String,
    /// The revision to start from
    from: u32,
    /// The revision to arrive at [default: the last]
    to: Option<u32>,
    /// Show whole new and deleted objects
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(arguments: &DiffArgs, settings: &Settings) -> Result<(), Failure> {
    if let Some(DiffCommand::Revision(revisions)) = &arguments.what {
        return compare(revisions, settings);
    }
    let (plan, _) = arguments.target.plan(settings)?;
    arguments.target.show(&plan, settings)
}

fn compare(arguments: &RevisionArgs, settings: &Settings) -> Result<(), Failure> {
    let config = connection::choose(settings, Start::IfThere)?;
    let plan = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let compared = compare_revisions(&cluster, &arguments.name, arguments.from, arguments.to).await;
        compared.map_err(|error| explain(&error))
    })?;
    let words = Words {
        nothing: "The manifests are the same.",
        heading: "",
    };
    plan_text::print(
        &plan,
        arguments.output.output,
        arguments.detailed,
        &words,
        settings,
    )?;
    plan_text::exit(&plan)
}
