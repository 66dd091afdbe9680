//! `tug compose up`

use std::time::Duration;

use chart_model::Chart;
use chart_model::File;
use chart_release::Release;
use chart_release::action::{DeployOptions, Install, Upgrade};
use chart_release::values::ReuseValues;
use chart_values::{Map, yaml};
use compose_convert::chart::{self, ChartOptions, Dialect};
use compose_convert::{BindMounts, Conversion, Options, Publish, dns_label};
use serde_json::{Value, json};

use super::convert::convert;
use super::place::{PROJECT, Place, load};
use super::project::ProjectArgs;
use super::ps;
use crate::bundled;
use crate::commands::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::duration;
use crate::failure::Failure;
use crate::settings::Settings;

/// Bring a project up, as a release of its own namespace
///
/// A second `up` makes a new revision; one that fails goes back to the revision before.
#[derive(clap::Args)]
pub(crate) struct UpArgs {
    /// Return when everything is ready, which is so anyway
    #[arg(short, long)]
    detach: bool,
    /// Wait until everything is ready, which is so anyway
    #[arg(long)]
    wait: bool,
    /// Only start; do not wait until everything is ready
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Longest wait, as `5m` or a number of seconds
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", default_value = "5m", value_parser = wait_timeout)]
    wait_timeout: Duration,
    /// Replicas of a service
    #[arg(long, value_name = "SERVICE=N")]
    scale: Vec<String>,
    /// Leave a failed update as it is
    #[arg(long)]
    no_rollback: bool,
    /// Say this of the revision
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Make errors of what is not honoured
    #[arg(long)]
    strict: bool,
    // docker compose's flags that say what is so anyway.
    #[arg(long, hide = true)]
    remove_orphans: bool,
    #[arg(long, hide = true)]
    no_build: bool,
    #[arg(long, hide = true)]
    quiet_pull: bool,
}

/// docker compose counts in seconds, releases in durations.
fn wait_timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => duration::parse(text),
    }
}

pub(super) fn run(arguments: &UpArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let project = load(project, &[], settings)?;
    let place = Place::of(&project.name, settings);
    let config = connection::choose(&place.settings, Start::Always)?;
    let is_bundled = config.kubeconfigs == [bundled::directory(settings).kubeconfig()];
    let options = Options {
        // The bundled cluster runs on the machine of the files.
        bind_mounts: if is_bundled {
            BindMounts::HostPath
        } else {
            BindMounts::Auto
        },
        publish: if is_bundled {
            Publish::AlsoNodePorts
        } else {
            Publish::LoadBalancer
        },
        ..Options::default()
    };
    let conversion = convert(&project, &options, arguments.strict, settings)?;
    let chart = make_chart(&conversion, &place)?;
    let values = values(&conversion, &arguments.scale)?;
    let release = block_on(async {
        let cluster = connection::connect(&place.settings, &config).await?;
        let upgrade = upgrade(arguments, &conversion, &place, chart, values);
        let exists = upgrade.exists(&cluster).await.map_err(|error| explain(&error))?;
        let outcome = if exists {
            run_until_interrupted(&cluster, upgrade.run(&cluster)).await
        } else {
            let install = install(upgrade);
            run_until_interrupted(&cluster, install.run(&cluster)).await
        };
        outcome.map_err(|error| in_context(explain(&error), &place, exists, arguments))
    })?;
    say(&release, &place);
    place.work(async |cluster| ps::print_addresses(&place, cluster).await)
}

fn in_context(failure: Failure, place: &Place, existed: bool, arguments: &UpArgs) -> Failure {
    let failure = failure.prefixed(&format!("`{}` did not come up: ", place.release));
    let status = format!(
        "`tug status {} -n {}` shows what is not ready",
        place.release, place.namespace
    );
    match (existed, arguments.no_rollback) {
        (true, false) => failure.hint(format!(
            "the revision before is back; `tug history {} -n {}`",
            place.release, place.namespace
        )),
        _ => failure.hint(status),
    }
}

fn say(release: &Release, place: &Place) {
    place.settings.console.say(format!(
        "`{}` is up: revision {} in the namespace `{}`",
        release.name, release.revision, release.namespace
    ));
}

fn upgrade(arguments: &UpArgs, conversion: &Conversion, place: &Place, chart: Chart, values: Map) -> Upgrade {
    use chart_release::action::WaitStrategy;
    let deploy = DeployOptions {
        timeout: arguments.wait_timeout,
        wait: if arguments.no_wait {
            WaitStrategy::HooksOnly
        } else {
            WaitStrategy::Ready
        },
        wait_for_jobs: waits_for_jobs(conversion),
        ..DeployOptions::default()
    };
    Upgrade {
        name: place.release.clone(),
        chart,
        values,
        // The file says what there is; what was scaled by hand is not in it.
        reuse_values: ReuseValues::Reset,
        description: arguments.description.clone(),
        labels: [(PROJECT.to_owned(), Some(place.release.clone()))].into(),
        max_history: place.settings.max_history,
        cleanup_on_failure: true,
        rollback_on_failure: !arguments.no_rollback,
        deploy,
        ..Upgrade::default()
    }
}

/// The first revision; if it fails it stays, to be looked at.
fn install(upgrade: Upgrade) -> Install {
    Install {
        name: upgrade.name,
        chart: upgrade.chart,
        values: upgrade.values,
        description: upgrade.description,
        labels: upgrade
            .labels
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect(),
        create_namespace: true,
        replace: true,
        deploy: upgrade.deploy,
        ..Install::default()
    }
}

/// Whether a service waits for another to end.
fn waits_for_jobs(conversion: &Conversion) -> bool {
    let annotations = |object: &compose_convert::Object| object.value["metadata"]["annotations"].to_string();
    conversion
        .objects
        .iter()
        .any(|object| annotations(object).contains("service_completed_successfully"))
}

fn make_chart(conversion: &Conversion, place: &Place) -> Result<Chart, Failure> {
    let options = ChartOptions {
        name: place.release.clone(),
        version: "0.1.0".to_owned(),
        dialect: Dialect::Go,
        with_secrets: false,
    };
    let files = chart::files(conversion, &options)
        .into_iter()
        .map(|(name, content)| File {
            name,
            data: content.into_bytes().into(),
        });
    Chart::from_files(files.collect()).map_err(|error| {
        Failure::new("the project's chart cannot be read, which is a fault of tug").because_error(&error)
    })
}

/// The values of the release: the content of secrets, and the replicas that are asked for.
fn values(conversion: &Conversion, scale: &[String]) -> Result<Map, Failure> {
    let mut values = chart::secret_values(conversion);
    for text in scale {
        let (service, count) = scaled(text)?;
        values["services"][dns_label(service)]["replicas"] = json!(count);
    }
    to_map(&values)
}

fn to_map(values: &Value) -> Result<Map, Failure> {
    yaml::values_from_yaml(&values.to_string())
        .map_err(|error| Failure::new("values cannot be read, which is a fault of tug").because_error(&error))
}

/// Reads `SERVICE=N`.
pub(super) fn scaled(text: &str) -> Result<(&str, u32), Failure> {
    let read = text
        .split_once('=')
        .and_then(|(service, count)| Some((service, count.parse().ok()?)));
    read.ok_or_else(|| Failure::new(format!("cannot read `{text}`")).because("expected SERVICE=N"))
}
