//! `tug compose up`

use std::collections::BTreeSet;
use std::time::Duration;

use chart_model::Chart;
use chart_model::File;
use chart_release::Release;
use chart_release::action::{DeployOptions, Install, Upgrade};
use chart_release::cluster::Cluster;
use chart_release::values::ReuseValues;
use chart_values::{Map, yaml};
use cluster_client::http::HttpConfig;
use compose_convert::chart::{self, ChartOptions, Dialect};
use compose_convert::{BindMounts, Conversion, Options, Publish, dns_label};
use compose_load::Project;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::convert::convert;
use super::follow::ProjectPods;
use super::place::{PROJECT, Place, SERVICE};
use super::project::ProjectArgs;
use super::{build, ps, stop};
use crate::bundled;
use crate::commands::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::console::Console;
use crate::duration;
use crate::failure::Failure;
use crate::pod_logs::{EndsWith, Lines, Since};
use crate::settings::Settings;

/// How long an interrupted project may take to stop.
const STOP_SECONDS: u64 = 60;

/// Bring a project up, as a release of its own namespace
///
/// A second `up` makes a new revision; one that fails goes back to the revision before. Without `-d` the logs are shown
/// until an interrupt, which stops the project.
#[derive(clap::Args)]
pub(crate) struct UpArgs {
    /// Only these services, what they depend on, and what is up already
    services: Vec<String>,
    /// Return when everything is ready; show no logs
    #[arg(short, long)]
    detach: bool,
    /// Wait until everything is ready, and return
    #[arg(long)]
    wait: bool,
    /// Only start and return; do not wait until everything is ready
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Longest wait, as `5m` or a number of seconds
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", default_value = "5m", value_parser = wait_timeout)]
    wait_timeout: Duration,
    /// Replicas of a service
    #[arg(long, value_name = "SERVICE=N")]
    scale: Vec<String>,
    /// Build images even if they are there
    #[arg(long)]
    build: bool,
    /// Build no image, even if it is missing
    #[arg(long, conflicts_with = "build")]
    no_build: bool,
    /// Do not bring up what services depend on
    #[arg(long)]
    no_deps: bool,
    /// Stop everything when a container ends, with its exit code
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Stop everything when a container fails, with its exit code
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_failure: bool,
    /// Stop everything when a container of this service ends, with its exit code
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Show the logs of these services only
    #[arg(long, value_name = "SERVICE")]
    attach: Vec<String>,
    /// Show no logs of these services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Print no names before lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Use no colours in logs
    #[arg(long)]
    no_color: bool,
    /// Print times of log lines
    #[arg(long)]
    timestamps: bool,
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
    quiet_pull: bool,
    #[arg(long, hide = true)]
    quiet_build: bool,
    #[arg(long, hide = true)]
    no_recreate: bool,
    #[arg(short, long, hide = true)]
    yes: bool,
}

impl Default for UpArgs {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            detach: true,
            wait: true,
            no_wait: false,
            wait_timeout: Duration::from_secs(300),
            scale: Vec::new(),
            build: false,
            no_build: false,
            no_deps: false,
            abort_on_container_exit: false,
            abort_on_container_failure: false,
            exit_code_from: None,
            attach: Vec::new(),
            no_attach: Vec::new(),
            no_log_prefix: false,
            no_color: false,
            timestamps: false,
            no_rollback: false,
            description: None,
            strict: false,
            remove_orphans: false,
            quiet_pull: false,
            quiet_build: false,
            no_recreate: false,
            yes: false,
        }
    }
}

impl UpArgs {
    /// Some services, in the background.
    pub(super) fn of(services: Vec<String>) -> Self {
        Self {
            services,
            ..Self::default()
        }
    }

    fn ends_with(&self) -> EndsWith {
        match &self.exit_code_from {
            Some(service) => EndsWith::Group(dns_label(service)),
            None if self.abort_on_container_exit => EndsWith::Any,
            None if self.abort_on_container_failure => EndsWith::Failure,
            None => EndsWith::All,
        }
    }

    fn shows_logs(&self) -> bool {
        !self.detach && !self.wait && !self.no_wait
    }
}

/// docker compose counts in seconds, releases in durations.
fn wait_timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => duration::parse(text),
    }
}

pub(super) fn run(arguments: &UpArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let target = Target::choose(arguments, project, settings)?;
    let Target {
        place,
        config,
        project,
        ..
    } = &target;
    let is_bundled = target.is_bundled(settings);
    if !arguments.no_build {
        build::for_up(project, arguments.build, is_bundled, settings)?;
    }
    let mut conversion = convert(project, &options(is_bundled), arguments.strict, settings)?;
    if is_bundled {
        build::tell_images(&mut conversion, project, settings)?;
    }
    let chart = make_chart(&conversion, place)?;
    let values = values(&conversion, &arguments.scale)?;
    let upgrade = upgrade(arguments, &conversion, place, chart, values);
    block_on(async {
        let cluster = connection::connect(&place.settings, config).await?;
        if arguments.shows_logs() {
            return attached(arguments, place, &cluster, upgrade).await;
        }
        let release = bring_up(arguments, place, &cluster, upgrade).await?;
        say(&release, place);
        ps::print_addresses(place, &cluster).await
    })
}

/// What is brought up, and where.
pub(super) struct Target {
    pub(super) project: Project,
    pub(super) place: Place,
    pub(super) config: HttpConfig,
}

impl Target {
    /// Loads the project: all of it, or what is asked for with what it depends on and what is up already. A release is
    /// always the whole of what is up.
    fn choose(arguments: &UpArgs, project: &ProjectArgs, settings: &Settings) -> Result<Self, Failure> {
        let mut options = project.options(settings)?;
        if arguments.services.is_empty() {
            let project = project.load(&options, settings)?;
            let place = Place::of(&project.name, settings);
            let config = connection::choose(&place.settings, Start::Always)?;
            return Ok(Self {
                project,
                place,
                config,
            });
        }
        let whole = project.load_quietly(&options)?;
        let place = Place::of(&whole.name, settings);
        let config = connection::choose(&place.settings, Start::Always)?;
        let running = block_on(async {
            let cluster = connection::connect(&place.settings, &config).await?;
            present(&place, &cluster).await
        })?;
        let mut wanted = arguments.services.clone();
        let all = whole.services().map(|(name, _)| name);
        let all = all.chain(whole.disabled_services.keys().map(String::as_str));
        wanted.extend(
            all.filter(|name| {
                running.contains(&dns_label(name)) && !arguments.services.iter().any(|one| one == name)
            })
            .map(str::to_owned)
            .collect::<Vec<_>>(),
        );
        options.services.clone_from(&wanted);
        let mut project = project.load(&options, settings)?;
        if arguments.no_deps
            && let Some(services) = project.model["services"].as_object_mut()
        {
            services.retain(|name, _| wanted.contains(name));
        }
        Ok(Self {
            project,
            place,
            config,
        })
    }

    pub(super) fn is_bundled(&self, settings: &Settings) -> bool {
        self.config.kubeconfigs == [bundled::directory(settings).kubeconfig()]
    }
}

/// The labels of the services that have a workload.
async fn present(place: &Place, cluster: &Cluster) -> Result<BTreeSet<String>, Failure> {
    let mut labels = BTreeSet::new();
    for kind in [
        ("apps/v1", "deployments"),
        ("apps/v1", "statefulsets"),
        ("apps/v1", "daemonsets"),
        ("batch/v1", "jobs"),
        ("batch/v1", "cronjobs"),
    ] {
        let objects = place.objects(cluster, kind, &[]).await?;
        labels.extend(
            objects
                .iter()
                .filter_map(|object| object.label(SERVICE).map(str::to_owned)),
        );
    }
    Ok(labels)
}

/// How a project is converted for the cluster that it is brought up in.
pub(super) fn options(is_bundled: bool) -> Options {
    // The bundled cluster runs on the machine of the files.
    let (bind_mounts, publish) = if is_bundled {
        (BindMounts::HostPath, Publish::AlsoNodePorts)
    } else {
        (BindMounts::Auto, Publish::LoadBalancer)
    };
    Options {
        bind_mounts,
        publish,
        local_images: is_bundled,
        ..Options::default()
    }
}

/// Installs or upgrades the release.
async fn bring_up(
    arguments: &UpArgs,
    place: &Place,
    cluster: &Cluster,
    upgrade: Upgrade,
) -> Result<Release, Failure> {
    let exists = upgrade.exists(cluster).await.map_err(|error| explain(&error))?;
    let outcome = if exists {
        stop::release(place, cluster).await?;
        run_until_interrupted(cluster, upgrade.run(cluster)).await
    } else {
        let install = install(upgrade);
        run_until_interrupted(cluster, install.run(cluster)).await
    };
    outcome.map_err(|error| in_context(explain(&error), place, exists, arguments))
}

/// Brings the project up and shows its logs until an interrupt, or until what the arguments name has ended; then it is
/// stopped.
async fn attached(
    arguments: &UpArgs,
    place: &Place,
    cluster: &Cluster,
    upgrade: Upgrade,
) -> Result<(), Failure> {
    let ends_with = arguments.ends_with();
    let lines = Lines {
        timestamps: arguments.timestamps,
        no_prefix: arguments.no_log_prefix,
        // What was written before is in `logs`.
        since: Some(Since::Time(cluster.clock.now().to_string())),
        ..Lines::default()
    };
    let mut shown = Place::of(&place.release, &place.settings);
    if arguments.no_color {
        shown.settings.console = Console::plain();
    }
    let follower = ProjectPods::new(&shown, &arguments.attach)
        .without(&arguments.no_attach)
        .follower(cluster, lines);
    let ready = CancellationToken::new();
    let mut following = std::pin::pin!(follower.follow(&ends_with, &ready));
    let mut coming_up = std::pin::pin!(bring_up(arguments, place, cluster, upgrade));
    let ended = tokio::select! {
        ended = &mut following => {
            // One has ended before all were up: the rest is not waited for.
            cluster.cancel.cancel();
            let _ = coming_up.await;
            ended?
        }
        release = &mut coming_up => {
            say(&release?, place);
            ps::print_addresses(place, cluster).await?;
            ready.cancel();
            tokio::select! {
                ended = &mut following => ended?,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted.map_err(|error| Failure::new("cannot wait for an interrupt").because_error(&error))?;
                    place.settings.console.say("stopping; once more leaves it running");
                    tokio::select! {
                        stopped = stop::stop(place, cluster, &[], STOP_SECONDS) => stopped?,
                        _ = tokio::signal::ctrl_c() => {}
                    }
                    return Err(Failure::silent(crate::failure::INTERRUPTED));
                }
            }
        }
    };
    let Some(ended) = ended else { return Ok(()) };
    place
        .settings
        .console
        .say(format!("`{}` ended with {}; stopping", ended.group, ended.code));
    stop::stop(place, cluster, &[], STOP_SECONDS).await?;
    match u8::try_from(ended.code) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::silent(code)),
        Err(_) => Err(Failure::silent(u8::MAX)),
    }
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
        // What was scaled or stopped by hand as well.
        force_conflicts: true,
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
