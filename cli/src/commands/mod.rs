//! One file per command: arguments become settings, then an action; what it returns is printed.
//!
//! A new command is a file with its arguments (`#[derive(clap::Args)]`, the doc comment is the help) and a `run`, a
//! variant of [`Command`] and a line in [`run`].

mod cluster;
mod completion;
mod env;
mod server;
mod version;

use std::future::Future;

use crate::failure::Failure;
use crate::settings::Settings;

/// Commands, in the order of the help.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Cluster(cluster::ClusterArgs),
    Completion(completion::CompletionArgs),
    Env(env::EnvArgs),
    Version(version::VersionArgs),
    #[command(name = cluster_server::SERVER_COMMAND, hide = true)]
    Server(server::ServerArgs),
}

/// Runs a command.
pub(crate) fn run(command: Command, settings: Settings) -> Result<(), Failure> {
    match command {
        Command::Cluster(arguments) => cluster::run(arguments, &settings),
        Command::Completion(arguments) => completion::run(&arguments, &settings),
        Command::Env(arguments) => env::run(&arguments, &settings),
        Command::Version(arguments) => version::run(&arguments, &settings),
        Command::Server(arguments) => server::run(&arguments),
    }
}

/// Runs a command that waits for a cluster, on a runtime of one thread.
fn block_on<F>(future: F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because_error(&error))?;
    runtime.block_on(future)
}
