//! `tug compose`: projects of the Compose specification. One file per command, one line per command here.

mod config;
mod project;

use crate::failure::Failure;
use crate::settings::Settings;

/// Read and run Compose projects
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct ComposeArgs {
    #[command(flatten)]
    project: project::ProjectArgs,
    #[command(subcommand)]
    command: ComposeCommand,
}

/// Commands, in the order of the help.
#[derive(clap::Subcommand)]
enum ComposeCommand {
    Config(config::ConfigArgs),
}

pub(super) fn run(arguments: &ComposeArgs, settings: &Settings) -> Result<(), Failure> {
    let project = &arguments.project;
    match &arguments.command {
        ComposeCommand::Config(arguments) => config::run(arguments, project, settings),
    }
}
