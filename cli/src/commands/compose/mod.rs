//! `tug compose`: Compose projects, converted and run as releases.

mod convert;
mod kompose;
mod project;

pub(super) use kompose::{KomposeArgs, run as run_kompose};

use self::project::ProjectArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// Run and convert Compose projects
#[derive(clap::Args)]
pub(crate) struct ComposeArgs {
    #[command(flatten)]
    project: ProjectArgs,
    #[command(subcommand)]
    command: ComposeCommand,
}

#[derive(clap::Subcommand)]
enum ComposeCommand {
    Convert(convert::ConvertArgs),
}

pub(super) fn run(arguments: &ComposeArgs, settings: &Settings) -> Result<(), Failure> {
    let project = &arguments.project;
    match &arguments.command {
        ComposeCommand::Convert(arguments) => convert::run(arguments, project, settings),
    }
}
