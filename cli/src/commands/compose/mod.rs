//! `tug compose`: Compose projects, converted and run as releases.

mod build;
mod config;
mod convert;
mod down;
mod exec;
mod follow;
mod import_stack;
mod kompose;
mod logs;
mod ls;
mod place;
mod project;
mod ps;
mod restart;
mod run;
mod stop;
mod up;
mod watch;

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
    Exec(exec::ExecArgs),
    Run(run::RunArgs),
    Build(build::BuildArgs),
    Watch(watch::WatchArgs),
    Stop(stop::StopArgs),
    Start(stop::StartArgs),
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
        ComposeCommand::Exec(arguments) => exec::run(arguments, project, settings),
        ComposeCommand::Run(arguments) => run::run(arguments, project, settings),
        ComposeCommand::Build(arguments) => build::run(arguments, project, settings),
        ComposeCommand::Watch(arguments) => watch::run(arguments, project, settings),
        ComposeCommand::Stop(arguments) => stop::run(arguments, project, settings),
        ComposeCommand::Start(arguments) => stop::run_start(arguments, project, settings),
        ComposeCommand::Ls(arguments) => ls::run(arguments, settings),
        ComposeCommand::Images(arguments) => ps::run_images(arguments, project, settings),
        ComposeCommand::Restart(arguments) => restart::run(arguments, project, settings),
        ComposeCommand::Scale(arguments) => restart::run_scale(arguments, project, settings),
        ComposeCommand::Config(arguments) => config::run(arguments, project, settings),
        ComposeCommand::Convert(arguments) => convert::run(arguments, project, settings),
        ComposeCommand::ImportStack(arguments) => import_stack::run(arguments, project, settings),
    }
}
