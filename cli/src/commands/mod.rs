//! One file per command: arguments become settings, then an action; what it returns is printed.
//!
//! A new command is a file with its arguments (`#[derive(clap::Args)]`, the doc comment is the help) and a `run`, a
//! variant of [`Command`] and a line in [`run`].

mod apply;
mod cluster;
mod completion;
mod compose;
mod create;
mod dependency;
mod diff;
mod env;
mod explain;
mod get;
mod history;
mod image;
mod install;
mod lint;
mod list;
mod logs;
mod node;
mod package;
mod plan;
mod pull;
mod push;
mod registry;
mod repo;
mod rollback;
mod search;
mod server;
mod show;
mod simulate;
mod status;
mod template;
mod test;
mod uninstall;
mod unlock;
mod upgrade;
mod verify;
mod version;

use std::future::Future;

use chart_release::cluster::Cluster;

use self::explain::explain;
use crate::failure::Failure;
use crate::names;
use crate::settings::Settings;

/// Commands, in the order of the help.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Install(install::InstallArgs),
    Upgrade(upgrade::UpgradeArgs),
    Apply(apply::ApplyArgs),
    Plan(plan::PlanArgs),
    Diff(diff::DiffArgs),
    Rollback(rollback::RollbackArgs),
    #[command(visible_aliases = ["un", "del", "delete"])]
    Uninstall(uninstall::UninstallArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
    #[command(visible_alias = "hist")]
    History(history::HistoryArgs),
    Get(get::GetArgs),
    Test(test::TestArgs),
    Unlock(unlock::UnlockArgs),
    Template(template::TemplateArgs),
    Lint(lint::LintArgs),
    #[command(visible_alias = "inspect")]
    Show(show::ShowArgs),
    Create(create::CreateArgs),
    Package(package::PackageArgs),
    Compose(Box<compose::ComposeArgs>),
    Convert(Box<compose::KomposeArgs>),
    Verify(verify::VerifyArgs),
    #[command(visible_alias = "dep")]
    Dependency(dependency::DependencyArgs),
    Repo(repo::RepoArgs),
    Search(search::SearchArgs),
    #[command(visible_alias = "fetch")]
    Pull(pull::PullArgs),
    Push(push::PushArgs),
    Registry(registry::RegistryArgs),
    Cluster(cluster::ClusterArgs),
    Node(node::NodeArgs),
    #[command(visible_alias = "images")]
    Image(image::ImageArgs),
    Completion(completion::CompletionArgs),
    Env(env::EnvArgs),
    Version(version::VersionArgs),
    #[command(name = cluster_server::SERVER_COMMAND, hide = true)]
    Server(server::ServerArgs),
}

/// Runs a command.
pub(crate) fn run(command: Command, settings: &Settings) -> Result<(), Failure> {
    match command {
        Command::Install(arguments) => install::run(&arguments, settings),
        Command::Upgrade(arguments) => upgrade::run(&arguments, settings),
        Command::Apply(arguments) => apply::run(&arguments, settings),
        Command::Plan(arguments) => plan::run(&arguments, settings),
        Command::Diff(arguments) => diff::run(&arguments, settings),
        Command::Rollback(arguments) => rollback::run(&arguments, settings),
        Command::Uninstall(arguments) => uninstall::run(&arguments, settings),
        Command::List(arguments) => list::run(&arguments, settings),
        Command::Status(arguments) => status::run(&arguments, settings),
        Command::Logs(arguments) => logs::run(&arguments, settings),
        Command::History(arguments) => history::run(&arguments, settings),
        Command::Get(arguments) => get::run(&arguments, settings),
        Command::Unlock(arguments) => unlock::run(&arguments, settings),
        Command::Test(arguments) => test::run(&arguments, settings),
        Command::Template(arguments) => template::run(&arguments, settings),
        Command::Lint(arguments) => lint::run(&arguments, settings),
        Command::Show(arguments) => show::run(&arguments, settings),
        Command::Create(arguments) => create::run(&arguments, settings),
        Command::Package(arguments) => package::run(&arguments, settings),
        Command::Verify(arguments) => verify::run(&arguments, settings),
        Command::Dependency(arguments) => dependency::run(&arguments, settings),
        Command::Repo(arguments) => repo::run(arguments, settings),
        Command::Search(arguments) => search::run(&arguments, settings),
        Command::Pull(arguments) => pull::run(&arguments, settings),
        Command::Push(arguments) => push::run(&arguments, settings),
        Command::Registry(arguments) => registry::run(&arguments, settings),
        Command::Compose(arguments) => compose::run(&arguments, settings),
        Command::Convert(arguments) => compose::run_kompose(&arguments, settings),
        Command::Cluster(arguments) => cluster::run(arguments, settings),
        Command::Node(arguments) => node::run(&arguments, settings),
        Command::Image(arguments) => image::run(&arguments, settings),
        Command::Completion(arguments) => completion::run(&arguments, settings),
        Command::Env(arguments) => env::run(&arguments, settings),
        Command::Version(arguments) => version::run(&arguments, settings),
        Command::Server(arguments) => server::run(&arguments),
    }
}

/// Runs a command that waits for a cluster, on a runtime of one thread.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    names::look_up_without_plugins();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because_error(&error))?;
    runtime.block_on(future)
}

/// Runs an action. The first interrupt ends it in good order, with the release marked as failed; the second at once.
async fn run_until_interrupted<T>(cluster: &Cluster, action: impl Future<Output = T>) -> T {
    let cancel = cluster.cancel.clone();
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        cancel.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(crate::failure::INTERRUPTED));
        }
    });
    let outcome = action.await;
    listener.abort();
    outcome
}
