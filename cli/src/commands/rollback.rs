//! `tug rollback`

use chart_release::action::Rollback;

use super::{block_on, explain, run_until_interrupted};
use crate::arguments::{DeployArgs, DryRunArg, dry_run};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Roll a release back to an earlier revision
#[derive(clap::Args)]
pub(crate) struct RollbackArgs {
    /// Name of the release
    name: String,
    /// Revision to return to [default: the one before]
    revision: Option<u32>,
    /// Only try: `client` asks little of the cluster, `server` has it check every object
    #[arg(
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<DryRunArg>,
    /// Say this of the revision
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Revisions to keep, 0 is no limit [default: 10] [env: HELM_MAX_HISTORY]
    #[arg(long, value_name = "N")]
    history_max: Option<u32>,
    /// Delete what was added if it fails
    #[arg(long)]
    cleanup_on_fail: bool,
    #[command(flatten)]
    deploy: DeployArgs,
}

pub(super) fn run(arguments: &RollbackArgs, settings: &Settings) -> Result<(), Failure> {
    let action = Rollback {
        name: arguments.name.clone(),
        // 0 is the one before, as in Helm.
        revision: arguments.revision.filter(|revision| *revision > 0),
        dry_run: dry_run(arguments.dry_run),
        max_history: arguments.history_max.unwrap_or(settings.max_history),
        description: arguments.description.clone(),
        cleanup_on_failure: arguments.cleanup_on_fail,
        deploy: arguments.deploy.options(settings),
    };
    let config = connection::choose(settings, Start::IfThere)?;
    block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
        outcome.map_err(|error| explain(&error))
    })?;
    settings.console.line("Rollback was a success! Happy Helming!")
}
