//! `tug cluster`

mod backup;
mod join;
mod role;
mod token;

use std::net::Ipv4Addr;

use cluster_server::{ClusterOptions, MemberStatus, Role, StopPods};
use serde::Serialize;

use super::simulate::{self, SimulateArgs};
use crate::bundled;
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
    /// [default: memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%] [env: TUG_EVICTION_HARD]
    #[arg(long, value_name = "SIGNAL<AMOUNT,...")]
    eviction_hard: Option<cluster_server::EvictionThresholds>,
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
    let was_there = bundled::directory(settings).is_initialised();
    let running = bundled::ensure_running(settings, &options)?;
    if !running.started {
        let api = running.process.api.unwrap_or_default();
        settings.console.say(format!("the cluster already runs at {api}"));
        return Ok(());
    }
    // A machine that belongs to a cluster already has joined it, or has said so.
    if !was_there {
        token::say_how_to_join(settings);
    }
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
