//! `tug upgrade`

use chart_release::action::{DryRun, Install, Upgrade};

use super::{block_on, explain, install, run_until_interrupted};
use crate::arguments::{
    ChartArgs, DeployArgs, DryRunArg, FetchArgs, PostRenderArgs, ReuseArgs, ValuesArgs, dry_run,
    labels_to_set, load_installable_from, parse_labels,
};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat};
use crate::release_text::{self, Parts};
use crate::settings::Settings;

/// Upgrade a release to a chart
#[derive(clap::Args)]
pub(crate) struct UpgradeArgs {
    /// Name of the release
    name: String,
    /// Chart: a folder, a .tgz file, REPO/NAME, oci://... or https://...
    chart: String,
    /// Install if there is no such release
    #[arg(short, long)]
    install: bool,
    /// With --install, make the namespace if it does not exist
    #[arg(long)]
    create_namespace: bool,
    /// Labels of the namespace that is made
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        requires = "create_namespace"
    )]
    namespace_labels: Vec<String>,
    /// Only try: `client` renders only, `server` has the cluster check every object
    #[arg(
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<DryRunArg>,
    /// Say this of the revision
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Labels of the release's record, over those it has; `KEY=null` removes one
    #[arg(short, long, value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    #[command(flatten)]
    reuse: ReuseArgs,
    /// Take back what others changed on the objects
    #[arg(long)]
    correct_drift: bool,
    /// Revisions to keep, 0 is no limit [default: 10] [env: HELM_MAX_HISTORY]
    #[arg(long, value_name = "N")]
    history_max: Option<u32>,
    /// Delete what was added if it fails
    #[arg(long)]
    cleanup_on_fail: bool,
    /// Roll back if it fails
    #[arg(long, alias = "atomic")]
    rollback_on_failure: bool,
    /// Leave the chart's resource definitions as they are
    #[arg(long)]
    skip_crds: bool,
    /// Take objects over that belong to no release, or to another
    #[arg(long)]
    take_ownership: bool,
    /// Do not refuse unknown and duplicate fields
    #[arg(long)]
    disable_openapi_validation: bool,
    /// Do not print the notes
    #[arg(long)]
    hide_notes: bool,
    /// Leave Secrets out of what a dry run prints
    #[arg(long)]
    hide_secret: bool,
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
    #[command(flatten)]
    deploy: DeployArgs,
}

pub(super) fn run(arguments: &UpgradeArgs, settings: &Settings) -> Result<(), Failure> {
    let action = prepare(arguments, settings).map_err(in_context)?;
    if arguments.install {
        install::check_before_start(&instead(arguments, &action)?, settings)?;
    }
    let start = if arguments.install {
        Start::Always
    } else {
        Start::IfThere
    };
    let config = connection::choose(settings, start)?;
    let quiet = arguments.output.output != OutputFormat::Table;
    let release = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let exists = if arguments.install {
            action
                .exists(&cluster)
                .await
                .map_err(|error| in_context(explain(&error)))?
        } else {
            true
        };
        if exists {
            let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
            let release = outcome.map_err(|error| in_context(explain(&error)))?;
            if !quiet && action.dry_run == DryRun::None {
                let text = format!("Release {:?} has been upgraded. Happy Helming!", release.name);
                settings.console.line(text)?;
            }
            return Ok(release);
        }
        if !quiet {
            let text = format!("Release {:?} does not exist. Installing it now.", action.name);
            settings.console.line(text)?;
        }
        let action = instead(arguments, &action)?;
        let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
        outcome.map_err(|error| install::in_context(explain(&error)))
    })?;
    let parts = Parts {
        hide_notes: arguments.hide_notes,
        manifest: action.dry_run != DryRun::None || settings.debug,
        hide_secrets: arguments.hide_secret,
        ..Parts::default()
    };
    release_text::print(&release, arguments.output.output, &parts, settings)
}

fn in_context(failure: Failure) -> Failure {
    failure.prefixed("UPGRADE FAILED: ")
}

fn prepare(arguments: &UpgradeArgs, settings: &Settings) -> Result<Upgrade, Failure> {
    let dry_run = dry_run(arguments.dry_run);
    if arguments.hide_secret && dry_run == DryRun::None {
        return Err(Failure::new("hiding Kubernetes secrets requires a dry-run mode"));
    }
    let mut deploy = arguments.deploy.options(settings);
    deploy.take_ownership = arguments.take_ownership;
    deploy.force_conflicts |= arguments.correct_drift;
    deploy.skip_validation = arguments.disable_openapi_validation;
    Ok(Upgrade {
        name: arguments.name.clone(),
        chart: load_installable_from(&arguments.fetch, &arguments.chart, settings, None)?,
        values: arguments.values.read(settings)?,
        reuse_values: arguments.reuse.reuse_values(),
        description: arguments.description.clone(),
        labels: parse_labels(&arguments.labels)?,
        dry_run,
        max_history: arguments.history_max.unwrap_or(settings.max_history),
        skip_crds: arguments.skip_crds,
        cleanup_on_failure: arguments.cleanup_on_fail,
        rollback_on_failure: arguments.rollback_on_failure,
        render: arguments.chart_args.options(settings, &arguments.post_render),
        deploy,
    })
}

/// The installation in place of the upgrade; the name of a release that is uninstalled is taken over.
fn instead(arguments: &UpgradeArgs, action: &Upgrade) -> Result<Install, Failure> {
    Ok(Install {
        name: action.name.clone(),
        chart: action.chart.clone(),
        values: action.values.clone(),
        description: action.description.clone(),
        labels: labels_to_set(action.labels.clone()),
        dry_run: action.dry_run,
        create_namespace: arguments.create_namespace,
        namespace_labels: labels_to_set(parse_labels(&arguments.namespace_labels)?),
        replace: true,
        skip_crds: arguments.skip_crds,
        rollback_on_failure: action.rollback_on_failure,
        render: action.render.clone(),
        deploy: action.deploy.clone(),
    })
}
