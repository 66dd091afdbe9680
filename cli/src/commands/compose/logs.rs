//! `tug compose logs`

use std::fmt::Write as _;

use super::place::{Place, SERVICE};
use super::project::ProjectArgs;
use crate::console::Color;
use crate::failure::Failure;
use crate::settings::Settings;

/// Print the logs of a project
#[derive(clap::Args)]
pub(crate) struct LogsArgs {
    /// Only these services
    services: Vec<String>,
    /// Only so many lines of each container, from the end
    #[arg(long, visible_alias = "tail", value_name = "N")]
    lines: Option<String>,
    /// Print times
    #[arg(short, long)]
    timestamps: bool,
    /// Print no names before lines
    #[arg(long)]
    no_log_prefix: bool,
}

const COLORS: [Color; 4] = [Color::Cyan, Color::Yellow, Color::Green, Color::Red];

pub(super) fn run(arguments: &LogsArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    let console = &place.settings.console;
    place.work(async |cluster| {
        let pods = place
            .objects(cluster, ("v1", "pods"), &arguments.services)
            .await?;
        let width = pods.iter().map(|pod| pod.name().len()).max().unwrap_or(0);
        let mut services: Vec<&str> = pods.iter().filter_map(|pod| pod.label(SERVICE)).collect();
        services.dedup();
        for pod in &pods {
            let service = pod.label(SERVICE).unwrap_or_default();
            let color = COLORS[services.iter().position(|name| *name == service).unwrap_or(0) % COLORS.len()];
            for container in pod.list(&["spec", "containers"]) {
                let path = path(
                    &place.namespace,
                    pod.name(),
                    container["name"].as_str().unwrap_or_default(),
                    arguments,
                )?;
                let Ok(log) = cluster.api.raw(&path).await else {
                    // A container that has not started has no log.
                    continue;
                };
                let prefix = console.paint(color, &format!("{:width$} | ", pod.name()));
                let mut text = String::new();
                for line in String::from_utf8_lossy(&log).lines() {
                    let prefix = if arguments.no_log_prefix {
                        ""
                    } else {
                        prefix.as_str()
                    };
                    // Writing to a text does not fail.
                    let _ = writeln!(text, "{prefix}{line}");
                }
                console.data(&text)?;
            }
        }
        Ok(())
    })
}

fn path(namespace: &str, pod: &str, container: &str, arguments: &LogsArgs) -> Result<String, Failure> {
    let mut path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}");
    if arguments.timestamps {
        path.push_str("&timestamps=true");
    }
    match arguments.lines.as_deref() {
        None | Some("all") => {}
        Some(count) => {
            let count: u64 = count
                .parse()
                .map_err(|_| Failure::new(format!("`{count}` is no number of lines")))?;
            path.push_str(&format!("&tailLines={count}"));
        }
    }
    Ok(path)
}
