//! `tug node`: taking a machine out of service, and back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_client::{Api, Collection, ListOptions, Patch, Target, WriteOptions};
use cluster_objects::{Object, Status};
use serde_json::json;

use super::block_on;
use crate::connection::{self, Start};
use crate::duration;
use crate::failure::Failure;
use crate::settings::Settings;

/// What kubectl gives a drain where nothing else is said is for ever; this ends.
const DEADLINE: Duration = Duration::from_secs(300);
/// Between two looks at pods that leave, and two tries of an eviction that a budget holds back.
const LOOK: Duration = Duration::from_millis(500);

/// Take nodes out of service and back
#[derive(clap::Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(clap::Subcommand)]
enum NodeCommand {
    Cordon(CordonArgs),
    Uncordon(CordonArgs),
    Drain(DrainArgs),
}

/// Say whether new pods are placed on a node
#[derive(clap::Args)]
struct CordonArgs {
    /// The node
    node: String,
}

/// Have the pods of a node run elsewhere, as far as disruption budgets allow
#[derive(clap::Args)]
struct DrainArgs {
    /// The node
    node: String,
    /// Show what would leave, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Evict also pods that nothing makes anew
    #[arg(long)]
    force: bool,
    /// How long to wait for pods to leave [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

/// What a drain does with one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is evicted.
    Leaves,
    /// It stays: its daemon set wants it here, or it has ended.
    Stays,
    /// Nothing would make it anew.
    Lost,
}

fn fate(pod: &Object) -> Fate {
    if matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed")) {
        return Fate::Stays;
    }
    let owners = pod.list(&["metadata", "ownerReferences"]);
    match owners.iter().find(|owner| owner["controller"] == true) {
        Some(owner) if owner["kind"] == "DaemonSet" => Fate::Stays,
        Some(_) => Fate::Leaves,
        None => Fate::Lost,
    }
}

pub(super) fn run(arguments: &NodeArgs, settings: &Settings) -> Result<(), Failure> {
    let config = connection::choose(settings, Start::IfThere)?;
    block_on(async {
        let api = connection::api(&config).await?;
        match &arguments.command {
            NodeCommand::Cordon(CordonArgs { node }) => cordon(&api, node, true, settings).await,
            NodeCommand::Uncordon(CordonArgs { node }) => cordon(&api, node, false, settings).await,
            NodeCommand::Drain(wish) => drain(&api, wish, settings).await,
        }
    })
}

async fn cordon(api: &dyn Api, node: &str, cordoned: bool, settings: &Settings) -> Result<(), Failure> {
    let target = Target::cluster_wide("v1", "nodes", node);
    let change = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
    let options = WriteOptions {
        field_manager: "tug".to_owned(),
        ..WriteOptions::default()
    };
    api.patch(&target, change, &options)
        .await
        .map_err(|status| refused(&status, node))?;
    let word = if cordoned { "cordoned" } else { "uncordoned" };
    settings.console.say(format!("{node} is {word}"));
    Ok(())
}

async fn drain(api: &dyn Api, wish: &DrainArgs, settings: &Settings) -> Result<(), Failure> {
    let (node, console) = (&wish.node, &settings.console);
    let target = Target::cluster_wide("v1", "nodes", node);
    api.get(&target).await.map_err(|status| refused(&status, node))?;
    let pods = pods_of(api, node)
        .await
        .map_err(|status| refused(&status, node))?;
    let of = |wanted: Fate| pods.iter().filter(move |pod| fate(pod) == wanted);
    let lost: Vec<String> = of(Fate::Lost).map(|pod| pod.key().to_string()).collect();
    if wish.dry_run {
        for pod in &pods {
            let what = match fate(pod) {
                Fate::Leaves => "leaves",
                Fate::Stays => "stays",
                Fate::Lost => "would be lost: nothing makes it anew",
            };
            console.line(format!("{} {what}", pod.key()))?;
        }
        return Ok(());
    }
    if !lost.is_empty() && !wish.force {
        return Err(Failure::new(format!(
            "{node} has pods that nothing makes anew: {}",
            lost.join(", ")
        ))
        .because("they would be lost")
        .hint("--force evicts them all the same")
        .hint("--dry-run shows what leaves and what stays"));
    }
    cordon(api, node, true, settings).await?;
    let leaving: Vec<&Arc<Object>> = pods.iter().filter(|pod| fate(pod) != Fate::Stays).collect();
    let end = Instant::now() + wish.timeout.unwrap_or(DEADLINE);
    let mut left: BTreeSet<String> = leaving.iter().map(|pod| pod.uid().to_owned()).collect();
    let mut to_evict = leaving.clone();
    let mut held_back: Option<String> = None;
    while !left.is_empty() {
        if Instant::now() > end {
            let failure = Failure::new(format!("{} pods are still on {node}", left.len()));
            return Err(match held_back {
                Some(reason) => failure
                    .because(reason)
                    .hint("the node stays cordoned; drain it again later"),
                None => failure.hint("the node stays cordoned; --timeout gives them longer"),
            });
        }
        held_back = None;
        let mut again = Vec::new();
        for pod in to_evict {
            match evict(api, pod).await {
                Ok(()) => console.say(format!("evicted {}", pod.key())),
                Err(status) if status.is_not_found() => {}
                // A budget allows no more at this time.
                Err(status) if status.code == 429 => {
                    held_back = Some(status.message.clone());
                    again.push(pod);
                }
                Err(status) => return Err(refused(&status, node)),
            }
        }
        to_evict = again;
        let there = pods_of(api, node)
            .await
            .map_err(|status| refused(&status, node))?;
        left.retain(|uid| there.iter().any(|pod| pod.uid() == uid));
        if !left.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    }
    console.say(format!("{node} is drained"));
    Ok(())
}

async fn pods_of(api: &dyn Api, node: &str) -> Result<Vec<Arc<Object>>, Status> {
    let options = ListOptions {
        field_selector: format!("spec.nodeName={node}"),
        ..ListOptions::default()
    };
    Ok(api.list(&Collection::all("v1", "pods"), &options).await?.items)
}

async fn evict(api: &dyn Api, pod: &Object) -> Result<(), Status> {
    let namespace = pod.namespace().unwrap_or_default();
    let target = Target::namespaced("v1", "pods", namespace, pod.name()).subresource("eviction");
    let eviction = Object::new("policy/v1", "Eviction", Some(namespace), pod.name());
    api.post(&target, eviction, &WriteOptions::default())
        .await
        .map(drop)
}

fn refused(status: &Status, node: &str) -> Failure {
    let failure = Failure::new(format!("cannot change the node {node}")).because(status.message.clone());
    if status.is_not_found() {
        return failure.hint("`kubectl get nodes` lists the nodes");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_set_wants_here_stays_and_what_nothing_makes_is_named() {
        let pod = |owner: Option<&str>, phase: &str| {
            let mut pod = Object::new("v1", "Pod", Some("shop"), "a");
            pod.set(&["status", "phase"], phase);
            if let Some(kind) = owner {
                pod.set(
                    &["metadata", "ownerReferences"],
                    json!([{"kind": kind, "controller": true}]),
                );
            }
            fate(&pod)
        };
        assert_eq!(pod(Some("ReplicaSet"), "Running"), Fate::Leaves);
        assert_eq!(pod(Some("DaemonSet"), "Running"), Fate::Stays);
        assert_eq!(pod(Some("Job"), "Succeeded"), Fate::Stays);
        assert_eq!(pod(None, "Running"), Fate::Lost);
    }
}
