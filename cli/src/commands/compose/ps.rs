//! `tug compose ps`, `images`

use std::sync::Arc;

use chart_release::cluster::Cluster;
use cluster_objects::Object;
use serde::Serialize;
use serde_json::Value;

use super::place::{Place, SERVICE};
use super::project::ProjectArgs;
use super::run::ONE_OFF;
use crate::failure::Failure;
use crate::output::{Listing, OutputFormat};
use crate::settings::Settings;
use crate::table::Table;

/// List the containers of a project
#[derive(clap::Args)]
pub(crate) struct PsArgs {
    /// Only these services
    services: Vec<String>,
    /// Print in this format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: OutputFormat,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Those that ended too, which is so anyway
    #[arg(short, long)]
    all: bool,
}

/// List the images of a project
#[derive(clap::Args)]
pub(crate) struct ImagesArgs {
    /// Only these services
    services: Vec<String>,
    /// Print in this format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: OutputFormat,
}

#[derive(Serialize)]
struct Container {
    name: String,
    service: String,
    image: String,
    state: String,
    ready: bool,
    restarts: i64,
}

pub(super) fn run(arguments: &PsArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    let containers = containers(&place, &arguments.services)?;
    let format = if arguments.quiet {
        OutputFormat::Name
    } else {
        arguments.format
    };
    let table = || {
        let mut table = Table::new(&["NAME", "SERVICE", "IMAGE", "STATE", "READY", "RESTARTS"]);
        for container in &containers {
            table.row(vec![
                container.name.clone(),
                container.service.clone(),
                container.image.clone(),
                container.state.clone(),
                container.ready.to_string(),
                container.restarts.to_string(),
            ]);
        }
        table
    };
    let listing = Listing {
        records: &containers,
        table: &table,
        name: &|container: &Container| container.name.clone(),
    };
    listing.print(format, settings)
}

pub(super) fn run_images(
    arguments: &ImagesArgs,
    project: &ProjectArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Image {
        container: String,
        service: String,
        image: String,
    }
    let place = Place::find(project, settings)?;
    let images: Vec<Image> = containers(&place, &arguments.services)?
        .into_iter()
        .map(|container| Image {
            container: container.name,
            service: container.service,
            image: container.image,
        })
        .collect();
    let table = || {
        let mut table = Table::new(&["CONTAINER", "SERVICE", "IMAGE"]);
        for image in &images {
            table.row(vec![
                image.container.clone(),
                image.service.clone(),
                image.image.clone(),
            ]);
        }
        table
    };
    let listing = Listing {
        records: &images,
        table: &table,
        name: &|image: &Image| image.image.clone(),
    };
    listing.print(arguments.format, settings)
}

fn containers(place: &Place, services: &[String]) -> Result<Vec<Container>, Failure> {
    let pods = place.work(async |cluster| place.objects(cluster, ("v1", "pods"), services).await)?;
    Ok(pods.iter().flat_map(containers_of).collect())
}

fn containers_of(pod: &Arc<Object>) -> Vec<Container> {
    let containers = pod.list(&["spec", "containers"]);
    let statuses = pod.list(&["status", "containerStatuses"]);
    let several = containers.len() > 1;
    containers
        .iter()
        .map(|container| {
            let name = container["name"].as_str().unwrap_or_default();
            let status = statuses
                .iter()
                .find(|status| status["name"] == name)
                .unwrap_or(&Value::Null);
            Container {
                name: if several {
                    format!("{}/{name}", pod.name())
                } else {
                    pod.name().to_owned()
                },
                service: pod
                    .label(SERVICE)
                    .or(pod.label(ONE_OFF))
                    .unwrap_or_default()
                    .to_owned(),
                image: container["image"].as_str().unwrap_or_default().to_owned(),
                state: state(pod, status),
                ready: status["ready"] == true,
                restarts: status["restartCount"].as_i64().unwrap_or(0),
            }
        })
        .collect()
}

/// What a container does, in one word where there is one.
fn state(pod: &Object, status: &Value) -> String {
    if pod.deletion_timestamp().is_some() {
        return "ending".to_owned();
    }
    let reason = |state: &str| status["state"][state]["reason"].as_str().map(str::to_owned);
    if status["state"].get("running").is_some() {
        return "running".to_owned();
    }
    let ended = &status["state"]["terminated"];
    if !ended.is_null() {
        return format!("exited ({})", ended["exitCode"]);
    }
    let phase = || pod.text(&["status", "phase"]).unwrap_or("Pending").to_lowercase();
    reason("waiting").unwrap_or_else(phase)
}

/// Says where published ports are to be found.
pub(super) async fn print_addresses(place: &Place, cluster: &Cluster) -> Result<(), Failure> {
    for service in place.objects(cluster, ("v1", "services"), &[]).await? {
        let name = service.label(SERVICE).unwrap_or_default();
        let balancer = service
            .list(&["status", "loadBalancer", "ingress"])
            .first()
            .and_then(|entry| {
                entry["ip"]
                    .as_str()
                    .or(entry["hostname"].as_str())
                    .map(str::to_owned)
            });
        for port in service.list(&["spec", "ports"]) {
            let number = |key: &str| port[key].as_u64();
            let (Some(outside), Some(target)) = (number("port"), number("targetPort")) else {
                continue;
            };
            let address = match (&balancer, number("nodePort")) {
                (Some(address), _) => format!("{address}:{outside}"),
                (None, Some(node_port)) => format!("127.0.0.1:{node_port}"),
                (None, None) => continue,
            };
            place
                .settings
                .console
                .line(format!("{name}\t{address} -> {target}"))?;
        }
    }
    Ok(())
}
