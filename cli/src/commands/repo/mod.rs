//! `tug repo`: repositories of charts.

mod serve;

use crate::failure::Failure;
use crate::settings::Settings;

/// Host charts and images
#[derive(clap::Args)]
pub(crate) struct RepoArgs {
    #[command(subcommand)]
    command: RepoCommand,
}

#[derive(clap::Subcommand)]
enum RepoCommand {
    Serve(Box<serve::ServeArgs>),
}

pub(super) fn run(arguments: RepoArgs, settings: &Settings) -> Result<(), Failure> {
    match arguments.command {
        RepoCommand::Serve(arguments) => serve::run(*arguments, settings),
    }
}
