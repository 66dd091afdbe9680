//! `tug compose`: Compose projects, converted and run as releases.

mod config;
mod convert;
mod down;
mod import_stack;
mod kompose;
mod logs;
mod ls;
mod place;
mod project;
mod ps;
mod restart;
mod up;

pub(super) use kompose::{KomposeArgs, run as run_kompose};

use self::project::ProjectArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// Run and convert Compose projects
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct ComposeArgs {
    #[command(flatten)]
    project: ProjectArgs,
    #[command(subcommand)]
    command: ComposeCommand,
}

/// Commands, in the order of the help.
#[derive(clap::Subcommand)]
enum ComposeCommand {
    Up(up::UpArgs),
    Down(down::DownArgs),
    Ps(ps::PsArgs),
    Logs(logs::LogsArgs),
    Ls(ls::LsArgs),
    Images(ps::ImagesArgs),
    Restart(restart::RestartArgs),
    Scale(restart::ScaleArgs),
    Config(config::ConfigArgs),
    Convert(convert::ConvertArgs),
    ImportStack(import_stack::ImportStackArgs),
}

pub(super) fn run(arguments: &ComposeArgs, settings: &Settings) -> Result<(), Failure> {
    let project = &arguments.project;
    match &arguments.command {
        ComposeCommand::Up(arguments) => up::run(arguments, project, settings),
        ComposeCommand::Down(arguments) => down::run(arguments, project, settings),
        ComposeCommand::Ps(arguments) => ps::run(arguments, project, settings),
        ComposeCommand::Logs(arguments) => logs::run(arguments, project, settings),
        ComposeCommand::Ls(arguments) => ls::run(arguments, settings),
        ComposeCommand::Images(arguments) => ps::run_images(arguments, project, settings),
        ComposeCommand::Restart(arguments) => restart::run(arguments, project, settings),
        ComposeCommand::Scale(arguments) => restart::run_scale(arguments, project, settings),
        ComposeCommand::Config(arguments) => config::run(arguments, project, settings),
        ComposeCommand::Convert(arguments) => convert::run(arguments, project, settings),
        ComposeCommand::ImportStack(arguments) => import_stack::run(arguments, project, settings),
    }
}
