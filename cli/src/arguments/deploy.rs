//! How objects are brought to the cluster, and how long is waited for them.

use std::time::Duration;

use chart_release::action::{DeployOptions, DryRun, WaitStrategy};

use crate::duration;
use crate::settings::Settings;

/// What is waited for, and how long.
#[derive(clap::Args)]
#[command(next_help_heading = "Waiting")]
pub(crate) struct WaitArgs {
    /// Wait until objects are ready (the default), or with `hookOnly` for hooks only
    #[arg(
        long,
        value_name = "FOR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "watcher",
        overrides_with = "no_wait"
    )]
    wait: Option<WaitArg>,
    /// Wait for hooks only
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// Longest wait, as `5m0s`
    #[arg(long, value_name = "DURATION", default_value = "5m0s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum WaitArg {
    /// Every object must be ready
    #[value(alias = "true", alias = "legacy", alias = "ordered")]
    Watcher,
    /// Only hooks are waited for
    #[value(name = "hookOnly", alias = "false")]
    HookOnly,
}

impl WaitArgs {
    pub(crate) fn strategy(&self) -> WaitStrategy {
        match self.wait {
            _ if self.no_wait => WaitStrategy::HooksOnly,
            Some(WaitArg::HookOnly) => WaitStrategy::HooksOnly,
            Some(WaitArg::Watcher) | None => WaitStrategy::Ready,
        }
    }
}

/// How objects are brought to the cluster.
#[derive(clap::Args)]
#[command(next_help_heading = "Applying")]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    wait: WaitArgs,
    /// Wait until Jobs are complete too
    #[arg(long, help_heading = "Waiting")]
    wait_for_jobs: bool,
    /// Run no hooks
    #[arg(long)]
    no_hooks: bool,
    /// Take fields over that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Delete and make anew what cannot be changed, as a Job or a selector
    #[arg(long, alias = "force")]
    force_replace: bool,
    // Helm's choice of how to apply; here it is always the server.
    #[arg(
        long,
        hide = true,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    server_side: Option<String>,
}

impl DeployArgs {
    pub(crate) fn options(&self, settings: &Settings) -> DeployOptions {
        if self.server_side.as_deref() == Some("false") {
            let text = "--server-side=false is not honoured: objects are always applied by the server";
            settings.console.warn(text);
        }
        DeployOptions {
            timeout: self.wait.timeout,
            wait: self.wait.strategy(),
            wait_for_jobs: self.wait_for_jobs,
            no_hooks: self.no_hooks,
            force_conflicts: self.force_conflicts,
            force_replace: self.force_replace,
            ..DeployOptions::default()
        }
    }
}

/// `--dry-run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DryRunArg {
    /// Do it
    None,
    /// Ask nothing of the cluster
    Client,
    /// Let the cluster check every object, and change nothing
    Server,
}

/// The action's own word for it.
pub(crate) fn dry_run(argument: Option<DryRunArg>) -> DryRun {
    match argument {
        None | Some(DryRunArg::None) => DryRun::None,
        Some(DryRunArg::Client) => DryRun::Client,
        Some(DryRunArg::Server) => DryRun::Server,
    }
}
