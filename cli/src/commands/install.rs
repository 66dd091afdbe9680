//! `tug install`

use chart_release::ReleaseName;
use chart_release::action::{DryRun, Install};
use chart_release::cluster::Cluster;

use super::{block_on, explain, run_until_interrupted};
use crate::arguments::{
    ChartArgs, DeployArgs, DryRunArg, FetchArgs, PostRenderArgs, ValuesArgs, dry_run, labels_to_set,
    load_installable_from, parse_labels,
};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::OutputArgs;
use crate::release_text::{self, Parts};
use crate::settings::Settings;

/// Install a chart
#[derive(clap::Args)]
#[command(override_usage = USAGE)]
pub(crate) struct InstallArgs {
    /// Name of the release and chart: a folder, a .tgz file, REPO/NAME, oci://... or https://...
    #[arg(value_name = "NAME> <CHART", num_args = 1..=2, required = true)]
    name_and_chart: Vec<String>,
    /// Make up a name
    #[arg(short, long)]
    generate_name: bool,
    /// Only try: `client` asks nothing of the cluster, `server` has it check every object
    #[arg(
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<DryRunArg>,
    /// Make the namespace if it does not exist
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
    /// Say this of the revision
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Labels of the release's record
    #[arg(short, long, value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    /// Take the name of a release that failed, or was uninstalled with its history kept
    #[arg(long)]
    replace: bool,
    /// Uninstall if it fails
    #[arg(long, alias = "atomic")]
    rollback_on_failure: bool,
    /// Do not create the chart's resource definitions
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
    chart: ChartArgs,
    #[command(flatten)]
    post_render: PostRenderArgs,
    #[command(flatten)]
    deploy: DeployArgs,
}

const USAGE: &str =
    "tug install [OPTIONS] <NAME> <CHART>\n       tug install [OPTIONS] --generate-name <CHART>";

pub(super) fn run(arguments: &InstallArgs, settings: &Settings) -> Result<(), Failure> {
    let action = prepare(arguments, settings).map_err(in_context)?;
    let release = if action.dry_run == DryRun::Client {
        // Nothing is asked of a cluster, so none is chosen.
        let namespace = settings.namespace.clone().unwrap_or_else(|| "default".to_owned());
        block_on(async {
            let cluster = Cluster::offline(&namespace, settings.zone());
            let outcome = action.run(&cluster).await;
            outcome.map_err(|error| in_context(explain(&error)))
        })?
    } else {
        check_before_start(&action, settings)?;
        let config = connection::choose(settings, Start::Always)?;
        block_on(async {
            let cluster = connection::connect(settings, &config).await?;
            let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
            outcome.map_err(|error| in_context(explain(&error)))
        })?
    };
    let parts = Parts {
        hide_notes: arguments.hide_notes,
        manifest: action.dry_run != DryRun::None || settings.debug,
        hide_secrets: arguments.hide_secret,
        ..Parts::default()
    };
    release_text::print(&release, arguments.output.output, &parts, settings)
}

/// Tries to render before a cluster is started for it: a broken chart shall leave nothing behind.
///
/// A cluster that is new holds nothing that a template could look up.
pub(super) fn check_before_start(action: &Install, settings: &Settings) -> Result<(), Failure> {
    if !connection::would_start(settings)? {
        return Ok(());
    }
    let rehearsal = Install {
        dry_run: DryRun::Client,
        ..action.clone()
    };
    let namespace = settings.namespace.as_deref().unwrap_or("default");
    let cluster = Cluster::offline(namespace, settings.zone());
    let outcome = block_on(async { Ok(rehearsal.run(&cluster).await) })?;
    outcome.map(drop).map_err(|error| in_context(explain(&error)))
}

/// Puts Helm's well-known words first.
pub(super) fn in_context(failure: Failure) -> Failure {
    failure.prefixed("INSTALLATION FAILED: ")
}

fn prepare(arguments: &InstallArgs, settings: &Settings) -> Result<Install, Failure> {
    let (name, reference) = match (arguments.name_and_chart.as_slice(), arguments.generate_name) {
        ([_, _], true) => return Err(Failure::new("cannot set --generate-name and also specify a name")),
        ([_], false) => {
            return Err(
                Failure::new("must either provide a name or specify --generate-name")
                    .hint("`tug install NAME CHART`"),
            );
        }
        ([reference], true) => {
            let generated = ReleaseName::generate(reference, settings.now());
            (
                generated
                    .map_err(|error| Failure::from_error(&error))?
                    .to_string(),
                reference,
            )
        }
        ([name, reference], false) => {
            let checked = name.parse::<ReleaseName>();
            checked.map_err(|error| Failure::from_error(&error).prefixed("release name check failed: "))?;
            (name.clone(), reference)
        }
        _ => unreachable!("clap takes one or two"),
    };
    let dry_run = dry_run(arguments.dry_run);
    if arguments.hide_secret && dry_run == DryRun::None {
        return Err(Failure::new("hiding Kubernetes secrets requires a dry-run mode"));
    }
    let mut deploy = arguments.deploy.options(settings);
    deploy.take_ownership = arguments.take_ownership;
    deploy.skip_validation = arguments.disable_openapi_validation;
    Ok(Install {
        name,
        chart: load_installable_from(&arguments.fetch, reference, settings, None)?,
        values: arguments.values.read(settings)?,
        description: arguments.description.clone(),
        labels: labels_to_set(parse_labels(&arguments.labels)?),
        dry_run,
        create_namespace: arguments.create_namespace,
        namespace_labels: labels_to_set(parse_labels(&arguments.namespace_labels)?),
        replace: arguments.replace,
        skip_crds: arguments.skip_crds,
        rollback_on_failure: arguments.rollback_on_failure,
        render: arguments.chart.options(settings, &arguments.post_render),
        deploy,
    })
}
