//! `tug uninstall`

use chart_release::action::Uninstall;
use cluster_client::Propagation;

use super::{block_on, explain, run_until_interrupted};
use crate::arguments::WaitArgs;
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Uninstall releases
#[derive(clap::Args)]
pub(crate) struct UninstallArgs {
    /// Names of the releases
    #[arg(required = true)]
    names: Vec<String>,
    /// What happens to objects that deleted ones own
    #[arg(long, value_name = "HOW", default_value = "background")]
    cascade: CascadeArg,
    /// Say this of the last revision
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only try
    #[arg(long)]
    dry_run: bool,
    /// A release that does not exist is no failure
    #[arg(long)]
    ignore_not_found: bool,
    /// Keep the records of the release
    #[arg(long)]
    keep_history: bool,
    /// Run no hooks
    #[arg(long)]
    no_hooks: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CascadeArg {
    /// They are deleted after their owners
    Background,
    /// They are deleted before their owners
    Foreground,
    /// They stay
    Orphan,
}

pub(super) fn run(arguments: &UninstallArgs, settings: &Settings) -> Result<(), Failure> {
    let config = connection::choose(settings, Start::IfThere)?;
    block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        for name in &arguments.names {
            let action = action(arguments, name);
            let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
            let uninstalled = outcome.map_err(|error| explain_missing(name, explain(&error)))?;
            if !uninstalled.kept.is_empty() {
                let kept = uninstalled
                    .kept
                    .iter()
                    .map(|(kind, name)| format!("[{kind}] {name}\n"));
                let kept: String = kept.collect();
                let heading = "These resources were kept due to the resource policy:";
                settings.console.data(&format!("{heading}\n{kept}"))?;
            }
            settings.console.line(format!("release {name:?} uninstalled"))?;
        }
        Ok(())
    })
}

/// Helm's words for a release that is not there.
fn explain_missing(name: &str, failure: Failure) -> Failure {
    if failure.heading() == "release: not found" {
        failure.prefixed(&format!("uninstall: Release not loaded: {name}: "))
    } else {
        failure
    }
}

fn action(arguments: &UninstallArgs, name: &str) -> Uninstall {
    Uninstall {
        name: name.to_owned(),
        dry_run: arguments.dry_run,
        keep_history: arguments.keep_history,
        ignore_not_found: arguments.ignore_not_found,
        no_hooks: arguments.no_hooks,
        wait: arguments.wait.strategy(),
        timeout: arguments.wait.timeout,
        cascade: match arguments.cascade {
            CascadeArg::Background => Propagation::Background,
            CascadeArg::Foreground => Propagation::Foreground,
            CascadeArg::Orphan => Propagation::Orphan,
        },
        description: arguments.description.clone(),
    }
}
