//! `tug cluster`: the bundled cluster.

use std::fs;

use cluster_server::{ClusterOptions, StopPods};
use serde::Serialize;

use crate::bundled;
use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat, to_json, to_yaml};
use crate::settings::Settings;

/// Start, stop and look after the bundled cluster
#[derive(clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start it in the background and wait until its API answers
    Start(StartArgs),
    /// Stop it; its pods are stopped and start again with it
    Stop(StopArgs),
    /// Show whether it runs, and where; the exit code is 1 where it does not
    Status(OutputArgs),
    /// Stop it and remove everything of it: pods, volumes, images, objects
    Delete(DeleteArgs),
    /// Print its kubeconfig
    Kubeconfig(KubeconfigArgs),
}

#[derive(clap::Args)]
struct StartArgs {
    /// Port of the API; decided with the first start [default: 6443]
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,
    /// Address of the API; decided with the first start [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    api_address: Option<std::net::Ipv4Addr>,
    /// Name of the node; decided with the first start [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
}

#[derive(clap::Args)]
struct StopArgs {
    /// Leave its pods running; the next start takes them over
    #[arg(long)]
    keep_pods: bool,
}

#[derive(clap::Args)]
struct DeleteArgs {
    // For scripts that confirm: nothing is asked.
    #[arg(short, long, hide = true)]
    yes: bool,
}

#[derive(clap::Args)]
struct KubeconfigArgs {
    /// Print the path of the file instead
    #[arg(long)]
    path: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterStatus {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    folder: String,
    kubeconfig: String,
}

pub(super) fn run(arguments: &ClusterArgs, settings: &Settings) -> Result<(), Failure> {
    let console = &settings.console;
    match &arguments.action {
        Action::Start(arguments) => {
            let options = ClusterOptions {
                api_port: arguments.api_port,
                api_address: arguments.api_address,
                node_name: arguments.node_name.clone(),
                ..ClusterOptions::default()
            };
            let running = bundled::start(settings, &options)?;
            let state = if running.started {
                "started"
            } else {
                "already running"
            };
            let api = running.process.api.unwrap_or_default();
            console.line(format!("cluster {state} at {api}"))?;
            console.say(format!(
                "kubeconfig: {}",
                bundled::dir(settings).kubeconfig().display()
            ));
            Ok(())
        }
        Action::Stop(arguments) => {
            let pods = if arguments.keep_pods {
                StopPods::Keep
            } else {
                StopPods::Stop
            };
            let ran = bundled::stop(settings, pods)?;
            console.line(if ran {
                "cluster stopped"
            } else {
                "cluster was not running"
            })
        }
        Action::Status(output) => status(output.output, settings),
        Action::Delete(_) => {
            let was_there = bundled::dir(settings).is_initialised();
            bundled::delete(settings)?;
            console.line(if was_there {
                "cluster deleted"
            } else {
                "there was no cluster"
            })
        }
        Action::Kubeconfig(arguments) => kubeconfig(arguments, settings),
    }
}

fn status(format: OutputFormat, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::dir(settings);
    let process = bundled::running(settings)?;
    let status = ClusterStatus {
        running: process.is_some(),
        api: process.as_ref().and_then(|process| process.api.clone()),
        pid: process.as_ref().map(|process| process.pid),
        version: process.map(|process| process.version),
        folder: dir.path().display().to_string(),
        kubeconfig: dir.kubeconfig().display().to_string(),
    };
    let console = &settings.console;
    match format {
        OutputFormat::Json => console.line(to_json(&status)?)?,
        OutputFormat::Yaml => console.data(&to_yaml(&status)?)?,
        OutputFormat::Name => console.line(if status.running { "running" } else { "stopped" })?,
        OutputFormat::Table => {
            let state = match (&status.api, status.running, dir.is_initialised()) {
                (Some(api), ..) => format!("running at {api} (process {})", status.pid.unwrap_or_default()),
                (None, true, _) => "starting".to_owned(),
                (None, false, true) => "stopped".to_owned(),
                (None, false, false) => "never started".to_owned(),
            };
            console.line(format!("CLUSTER: {state}\nFOLDER: {}", status.folder))?;
        }
    }
    if status.running {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

fn kubeconfig(arguments: &KubeconfigArgs, settings: &Settings) -> Result<(), Failure> {
    let path = bundled::dir(settings).kubeconfig();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::new("the bundled cluster was never started").hint("`tug cluster start`"));
        }
        Err(error) => {
            let heading = format!("cannot read `{}`", path.display());
            return Err(Failure::new(heading).because_error(&error));
        }
    };
    if arguments.path {
        settings.console.line(path.display().to_string())
    } else {
        settings.console.data(&text)
    }
}
