//! `tug cluster`

mod backup;
mod join;
mod role;
mod token;

use std::net::Ipv4Addr;
use std::time::Duration;

use cluster_server::{ClusterOptions, MemberStatus, Role, StopPods, TimingWish};
use serde::Serialize;

use super::simulate::{self, SimulateArgs};
use crate::bundled;
use crate::duration;
use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat, to_json, to_yaml};
use crate::settings::Settings;

/// Start, stop and look at the bundled cluster
#[derive(clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(clap::Subcommand)]
enum ClusterCommand {
    Start(StartArgs),
    Join(join::JoinArgs),
    Token(token::TokenArgs),
    Promote(role::PromoteArgs),
    Demote(role::DemoteArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Recover(backup::RecoverArgs),
    Stop(StopArgs),
    Status(StatusArgs),
    Delete(DeleteArgs),
    Kubeconfig(KubeconfigArgs),
    Simulate(SimulateArgs),
}

/// Start the bundled cluster in the background and wait until it is ready
#[derive(clap::Args)]
struct StartArgs {
    /// Name of the node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Address that the API listens on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    api_address: Option<Ipv4Addr>,
    /// Port that the API listens on [default: 6443]
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,
    /// Name of the bridge that pods are linked to [default: tug0]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// Address by which other machines reach this one [default: that of the way out]
    #[arg(long, value_name = "ADDRESS")]
    advertise_address: Option<Ipv4Addr>,
    /// Addresses of pods; each node has 254 of them [default: 10.42.0.0/16]
    #[arg(long, value_name = "SUBNET", value_parser = parse_subnet)]
    pod_subnet: Option<cluster_server::Subnet>,
    /// Addresses of services [default: 10.43.0.0/16]
    #[arg(long, value_name = "SUBNET", value_parser = parse_subnet)]
    service_subnet: Option<cluster_server::Subnet>,
    /// What runs the containers of pods without a runtime class: `embedded` or `docker` [default: embedded]
    #[arg(long, value_name = "NAME")]
    runtime: Option<cluster_server::RuntimeChoice>,
    /// What the node keeps free: below it images that nobody uses go, and then pods, as long as this server runs
    /// [default: memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%] [env: TUG_EVICTION_HARD]
    #[arg(long, value_name = "SIGNAL<AMOUNT,...")]
    eviction_hard: Option<cluster_server::EvictionThresholds>,
    #[command(flatten)]
    timing: TimingArgs,
}

// Times of the whole cluster; they may be changed while it runs. (A comment of the other kind would be the help of `start`.)
#[derive(clap::Args)]
struct TimingArgs {
    /// How long a node may be silent before it is not ready [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    node_grace: Option<Duration>,
    /// Longest time between two signs of life of a node [default: a quarter of --node-grace]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    heartbeat: Option<Duration>,
    /// How long certificates are good; they are made anew after a third of it [default: 8760h]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    certificate_validity: Option<Duration>,
}

/// Stop the bundled cluster; everything is there again when it is started
#[derive(clap::Args)]
struct StopArgs {
    /// Leave containers running
    #[arg(long)]
    keep_pods: bool,
}

/// Show whether the bundled cluster runs, and where
#[derive(clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Stop the bundled cluster and delete everything of it, data included
#[derive(clap::Args)]
struct DeleteArgs {}

/// Print the path of the bundled cluster's kubeconfig
#[derive(clap::Args)]
struct KubeconfigArgs {
    /// Print its contents
    #[arg(long)]
    raw: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: State,
    data_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    kubeconfig: String,
    log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<MemberStatus>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Absent,
    Stopped,
    Starting,
    Running,
}

/// Exit code of `status` when the cluster does not run.
const NOT_RUNNING: u8 = 3;

pub(super) fn run(arguments: ClusterArgs, settings: &Settings) -> Result<(), Failure> {
    match arguments.command {
        ClusterCommand::Start(start) => run_start(start, settings),
        ClusterCommand::Join(arguments) => join::run(arguments, settings),
        ClusterCommand::Token(arguments) => token::run(arguments, settings),
        ClusterCommand::Promote(arguments) => role::promote(&arguments, settings),
        ClusterCommand::Demote(arguments) => role::demote(&arguments, settings),
        ClusterCommand::Backup(arguments) => backup::backup(&arguments, settings),
        ClusterCommand::Restore(arguments) => backup::restore(&arguments, settings),
        ClusterCommand::Recover(arguments) => backup::recover(&arguments, settings),
        ClusterCommand::Stop(stop) => run_stop(&stop, settings),
        ClusterCommand::Status(status) => run_status(&status, settings),
        ClusterCommand::Delete(DeleteArgs {}) => run_delete(settings),
        ClusterCommand::Kubeconfig(kubeconfig) => run_kubeconfig(&kubeconfig, settings),
        ClusterCommand::Simulate(arguments) => simulate::run(&arguments, settings),
    }
}

fn parse_subnet(text: &str) -> Result<cluster_server::Subnet, String> {
    text.parse()
        .map_err(|_| "not an IPv4 subnet such as `10.42.0.0/24`".to_owned())
}

fn run_start(arguments: StartArgs, settings: &Settings) -> Result<(), Failure> {
    let options = ClusterOptions {
        node_name: arguments.node_name,
        api_address: arguments.api_address,
        api_port: arguments.api_port,
        bridge: arguments.bridge,
        advertise_address: arguments.advertise_address,
        pod_subnet: arguments.pod_subnet,
        service_subnet: arguments.service_subnet,
        runtime: arguments.runtime,
        eviction: arguments.eviction_hard.or(settings.eviction.clone()),
        ..bundled::options(settings)
    };
    let times = TimingWish {
        node_grace: arguments.timing.node_grace,
        heartbeat: arguments.timing.heartbeat,
        certificate_validity: arguments.timing.certificate_validity,
    };
    let was_there = bundled::directory(settings).is_initialised();
    if !was_there {
        // Before anything is made; with what a cluster knows already they are looked at later.
        times.timing().map_err(|error| Failure::from_error(&error))?;
    }
    let running = bundled::ensure_running(settings, &options)?;
    if !running.started {
        let api = running.process.api.unwrap_or_default();
        settings.console.say(format!("the cluster already runs at {api}"));
        return set_times(times, settings);
    }
    set_times(times, settings)?;
    // A machine that belongs to a cluster already has joined it, or has said so.
    if !was_there {
        token::say_how_to_join(settings);
    }
    Ok(())
}

/// Changes the times of the cluster where that is wished.
fn set_times(times: TimingWish, settings: &Settings) -> Result<(), Failure> {
    if times.is_empty() {
        return Ok(());
    }
    let timing = cluster_server::set_timing(&bundled::directory(settings), times)
        .map_err(|error| token::explain(&error))?;
    settings.console.say(format!(
        "nodes say that they live every {:?}, and are not ready after {:?} of silence; certificates are good for {} h",
        timing.heartbeat,
        timing.node_grace,
        timing.certificate_validity.as_secs_f64() / 3600.0
    ));
    Ok(())
}

fn run_stop(arguments: &StopArgs, settings: &Settings) -> Result<(), Failure> {
    let pods = if arguments.keep_pods {
        StopPods::Keep
    } else {
        StopPods::Stop
    };
    let was_running = cluster_server::stop(&bundled::directory(settings), pods)
        .map_err(|error| bundled::failure(&error, settings))?;
    settings.console.say(if was_running {
        "stopped the cluster"
    } else {
        "no cluster runs"
    });
    Ok(())
}

fn run_status(arguments: &StatusArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    let process = cluster_server::running(&dir).map_err(|error| bundled::failure(&error, settings))?;
    let state = match &process {
        Some(process) if process.api.is_some() => State::Running,
        Some(_) => State::Starting,
        None if dir.is_initialised() => State::Stopped,
        None => State::Absent,
    };
    let kept = dir.settings().ok().flatten();
    let is_server = kept.as_ref().is_some_and(|kept| kept.role == Role::Server);
    let servers = match state {
        // A cluster without a leader has no list to show; the rest of the status helps then.
        State::Running if is_server => cluster_server::members(&dir).unwrap_or_default(),
        _ => Vec::new(),
    };
    let status = Status {
        state,
        data_dir: dir.path().display().to_string(),
        pid: process.as_ref().map(|process| process.pid),
        api: process.as_ref().and_then(|process| process.api.clone()),
        version: process.map(|process| process.version),
        kubeconfig: dir.kubeconfig().display().to_string(),
        log: dir.log().display().to_string(),
        role: kept.map(|kept| kept.role),
        servers,
    };
    let console = &settings.console;
    match arguments.output.output {
        OutputFormat::Json => console.line(to_json(&status)?)?,
        OutputFormat::Yaml => console.data(&to_yaml(&status)?)?,
        OutputFormat::Name => console.line(state_name(state))?,
        OutputFormat::Table => console.data(&table(&status))?,
    }
    match state {
        State::Running => Ok(()),
        State::Absent | State::Stopped | State::Starting => Err(Failure::silent(NOT_RUNNING)),
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Absent => "absent",
        State::Stopped => "stopped",
        State::Starting => "starting",
        State::Running => "running",
    }
}

fn table(status: &Status) -> String {
    let pid = status.pid.map(|pid| pid.to_string());
    let rows = [
        ("STATE", Some(state_name(status.state))),
        ("ROLE", status.role.map(Role::as_str)),
        ("API", status.api.as_deref()),
        ("PROCESS", pid.as_deref()),
        ("VERSION", status.version.as_deref()),
        ("DATA", Some(status.data_dir.as_str())),
        ("KUBECONFIG", Some(status.kubeconfig.as_str())),
        ("LOG", Some(status.log.as_str())),
    ];
    let mut text: String = rows
        .iter()
        .filter_map(|(name, value)| Some(format!("{name:<11}{}\n", (*value)?)))
        .collect();
    for server in &status.servers {
        let lag = server
            .lag
            .map_or("does not answer".to_owned(), |lag| format!("lag {lag}"));
        let part = match (server.leader, server.voter) {
            (true, _) => "leads",
            (false, true) => lag.as_str(),
            (false, false) => "no vote yet",
        };
        text += &format!(
            "{:<11}{} (member {}, {part})\n",
            "SERVER", server.address, server.number
        );
    }
    text
}

fn run_delete(settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    let existed = dir.is_initialised();
    cluster_server::delete(&dir, &bundled::options(settings))
        .map_err(|error| bundled::failure(&error, settings))?;
    settings.console.say(&if existed {
        format!("deleted the cluster in {}", dir.path().display())
    } else {
        format!("there is no cluster in {}", dir.path().display())
    });
    Ok(())
}

fn run_kubeconfig(arguments: &KubeconfigArgs, settings: &Settings) -> Result<(), Failure> {
    let path = bundled::directory(settings).kubeconfig();
    if !path.exists() {
        return Err(
            Failure::new(format!("there is no kubeconfig at `{}`", path.display()))
                .because("the bundled cluster was never started")
                .hint("`tug cluster start` starts it"),
        );
    }
    if arguments.raw {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(format!("cannot read `{}`", path.display())).because_error(&error)
        })?;
        return settings.console.data(&text);
    }
    settings.console.line(path.display().to_string())
}
