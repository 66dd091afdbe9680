//! `tug unlock`

use chart_release::action::Unlock;

use super::{block_on, explain};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Free a release from a client that died at work on it
///
/// The next upgrade does so by itself when the client is known to be dead, or has not been heard of for a while.
#[derive(clap::Args)]
pub(crate) struct UnlockArgs {
    /// Name of the release
    name: String,
    /// Even if the client lives
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &UnlockArgs, settings: &Settings) -> Result<(), Failure> {
    let action = Unlock {
        name: arguments.name.clone(),
        force: arguments.force,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    let unlocked = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let outcome = action.run(&cluster).await;
        outcome.map_err(|error| {
            let failure = explain(&error);
            match error {
                chart_release::action::ActionError::InProgress { .. } => {
                    failure.hint("`--force` unlocks it all the same, when the process is known to be stuck")
                }
                _ => failure,
            }
        })
    })?;
    match unlocked {
        Some(unlocked) => settings.console.line(format!(
            "Revision {} of {:?} is unlocked and recorded as interrupted.",
            unlocked.revision, arguments.name
        )),
        None => settings
            .console
            .line(format!("Nobody is at work on {:?}.", arguments.name)),
    }
}
