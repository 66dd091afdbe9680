//! `tug plan`

use std::fs;
use std::path::PathBuf;

use chart_release::Release;
use chart_release::action::{
    DeployOptions, Install, Plan, SavedPlan, Upgrade, WaitStrategy, plan_install, plan_upgrade,
};
use chart_release::cluster::Cluster;

use super::{block_on, explain, run_until_interrupted};
use crate::arguments::{ChartArgs, FetchArgs, PostRenderArgs, ReuseArgs, ValuesArgs, load_installable_from};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::{OutputArgs, to_json};
use crate::plan_text::{self, Words};
use crate::settings::Settings;

/// Show what an upgrade, or an installation, would change on the live cluster
///
/// The cluster checks every object and changes nothing. Ends with 2 if anything would change.
#[derive(clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    target: PlanTarget,
    /// Write the plan to a file, for `tug apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The release, the chart and the values of a plan.
#[derive(clap::Args)]
pub(crate) struct PlanTarget {
    // Always there, but where `diff` is followed by a command of its own.
    /// Name of the release
    #[arg(required = true)]
    name: Option<String>,
    /// Chart: a folder, a .tgz file, REPO/NAME, oci://... or https://...
    #[arg(required = true)]
    chart: Option<String>,
    /// Show whole new and deleted objects, hooks, and what follows from changes: restarts, lost data
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    reuse: ReuseArgs,
    /// Take fields over that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Delete and make anew what cannot be changed, as a Job or a selector
    #[arg(long)]
    force_replace: bool,
    /// Take objects over that belong to no release, or to another
    #[arg(long)]
    take_ownership: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    fetch: FetchArgs,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    chart_args: ChartArgs,
    #[command(flatten)]
    post_render: PostRenderArgs,
}

pub(super) fn run(arguments: &PlanArgs, settings: &Settings) -> Result<(), Failure> {
    let (plan, release) = arguments.target.plan(settings)?;
    if let Some(file) = &arguments.out {
        let saved = SavedPlan::new(plan.clone(), &release)
            .map_err(|error| Failure::new("cannot write the plan").because_error(&error))?;
        fs::write(file, to_json(&saved)? + "\n").map_err(|error| {
            Failure::new(format!("cannot write `{}`", file.display())).because_error(&error)
        })?;
    }
    arguments.target.show(&plan, settings)
}

impl PlanTarget {
    /// Asks the cluster.
    pub(super) fn plan(&self, settings: &Settings) -> Result<(Plan, Release), Failure> {
        let upgrade = self.upgrade(settings)?;
        let config = connection::choose(settings, Start::IfThere)?;
        block_on(async {
            let cluster = connection::connect(settings, &config).await?;
            let outcome = run_until_interrupted(&cluster, plan_either(&upgrade, &cluster)).await;
            outcome.map_err(|error| explain(&error).prefixed("PLAN FAILED: "))
        })
    }

    /// Prints the plan; ends with 2 where anything would change.
    pub(super) fn show(&self, plan: &Plan, settings: &Settings) -> Result<(), Failure> {
        let words = Words {
            nothing: "Nothing would change.",
            heading: "",
        };
        plan_text::print(plan, self.output.output, self.detailed, &words, settings)?;
        plan_text::exit(plan)
    }

    fn upgrade(&self, settings: &Settings) -> Result<Upgrade, Failure> {
        Ok(Upgrade {
            name: self.name.clone().unwrap_or_default(),
            chart: load_installable_from(
                &self.fetch,
                self.chart.as_deref().unwrap_or_default(),
                settings,
                None,
            )?,
            values: self.values.read(settings)?,
            reuse_values: self.reuse.reuse_values(),
            render: self.chart_args.options(settings, &self.post_render),
            deploy: DeployOptions {
                force_conflicts: self.force_conflicts,
                force_replace: self.force_replace,
                take_ownership: self.take_ownership,
                wait: WaitStrategy::Ready,
                ..DeployOptions::default()
            },
            ..Upgrade::default()
        })
    }
}

/// Plans an upgrade, or an installation where there is nothing to upgrade.
pub(super) async fn plan_either(
    upgrade: &Upgrade,
    cluster: &Cluster,
) -> Result<(Plan, Release), chart_release::action::ActionError> {
    if upgrade.exists(cluster).await? {
        return plan_upgrade(upgrade, cluster).await;
    }
    let install = Install {
        name: upgrade.name.clone(),
        chart: upgrade.chart.clone(),
        values: upgrade.values.clone(),
        replace: true,
        render: upgrade.render.clone(),
        deploy: upgrade.deploy.clone(),
        ..Install::default()
    };
    plan_install(&install, cluster).await
}
