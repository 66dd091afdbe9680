//! `tug compose stop`, `start`

use chart_release::cluster::Cluster;
use cluster_client::{Collection, ListOptions, Patch, WatchEvent, WatchOptions, WriteOptions};
use cluster_objects::Object;
use futures::StreamExt;
use serde_json::{Value, json};

use super::place::Place;
use super::project::ProjectArgs;
use super::run::ONE_OFF;
use crate::failure::Failure;
use crate::settings::Settings;

/// Stop services; they keep their place in the release, and their volumes
#[derive(clap::Args)]
pub(crate) struct StopArgs {
    /// Only these services
    services: Vec<String>,
    /// Longest wait in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Start services that were stopped
#[derive(clap::Args)]
pub(crate) struct StartArgs {
    /// Only these services
    services: Vec<String>,
}

/// Where a workload keeps how many pods it had.
const STOPPED: &str = "compose.tug.dev/stopped-replicas";

/// Workloads that can stop.
const STOPPABLE: [(&str, &str); 4] = [
    ("apps/v1", "deployments"),
    ("apps/v1", "statefulsets"),
    ("batch/v1", "jobs"),
    ("batch/v1", "cronjobs"),
];

pub(super) fn run(arguments: &StopArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    place.work(async |cluster| stop(&place, cluster, &arguments.services, arguments.timeout).await)
}

pub(super) fn run_start(
    arguments: &StartArgs,
    project: &ProjectArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    place.work(async |cluster| {
        change(&place, cluster, &arguments.services, started, |name| {
            say(&place, name, "started")
        })
        .await
    })
}

/// Lets go of what was stopped, before an `up` sets how many pods there are: jobs go on, and `start` knows nothing of
/// workloads any more.
pub(super) async fn release(place: &Place, cluster: &Cluster) -> Result<(), Failure> {
    let decide = |workload: &Object| {
        let started = started(workload)?;
        Some(if workload.annotation(STOPPED).is_some() {
            json!({"metadata": {"annotations": {STOPPED: null}}})
        } else {
            started
        })
    };
    change(place, cluster, &[], decide, |_| {}).await
}

/// Stops services, and waits until their pods are gone.
pub(super) async fn stop(
    place: &Place,
    cluster: &Cluster,
    services: &[String],
    timeout_seconds: u64,
) -> Result<(), Failure> {
    change(place, cluster, services, stopped, |name| {
        say(place, name, "stopped")
    })
    .await?;
    for set in place
        .objects(cluster, ("apps/v1", "daemonsets"), services)
        .await?
    {
        let name = set.name();
        place.settings.console.warn(format!(
            "`{name}` runs on every node and cannot stop; `tug compose down` ends it"
        ));
    }
    let limit = std::time::Duration::from_secs(timeout_seconds);
    let gone = tokio::time::timeout(limit, wait_until_gone(place, cluster, services)).await;
    gone.unwrap_or_else(|_| {
        Err(Failure::new(format!(
            "pods of `{}` still run after {timeout_seconds} s",
            place.release
        )))
    })
}

/// What makes a workload stop; `None` where it has.
fn stopped(workload: &Object) -> Option<Value> {
    if workload.kind() == "Job" || workload.kind() == "CronJob" {
        let is_over = workload.list(&["status", "conditions"]).iter().any(|condition| {
            condition["status"] == "True"
                && (condition["type"] == "Complete" || condition["type"] == "Failed")
        });
        let stops = workload.at(&["spec", "suspend"]) == Some(&json!(true));
        return (!is_over && !stops).then(|| json!({"spec": {"suspend": true}}));
    }
    let replicas = workload
        .at(&["spec", "replicas"])
        .and_then(Value::as_i64)
        .unwrap_or(1);
    (replicas > 0).then(
        || json!({"metadata": {"annotations": {STOPPED: replicas.to_string()}}, "spec": {"replicas": 0}}),
    )
}

/// What makes a workload start again; `None` where it was not stopped.
fn started(workload: &Object) -> Option<Value> {
    if workload.kind() == "Job" || workload.kind() == "CronJob" {
        let stops = workload.at(&["spec", "suspend"]) == Some(&json!(true));
        return stops.then(|| json!({"spec": {"suspend": false}}));
    }
    let replicas: i64 = workload.annotation(STOPPED)?.parse().ok()?;
    Some(json!({"metadata": {"annotations": {STOPPED: null}}, "spec": {"replicas": replicas}}))
}

fn say(place: &Place, name: &str, done: &str) {
    place.settings.console.say(format!("`{name}` is {done}"));
}

async fn change(
    place: &Place,
    cluster: &Cluster,
    services: &[String],
    decide: impl Fn(&Object) -> Option<Value>,
    done: impl Fn(&str),
) -> Result<(), Failure> {
    for (api_version, resource) in STOPPABLE {
        for workload in place.objects(cluster, (api_version, resource), services).await? {
            let Some(patch) = decide(&workload) else { continue };
            let target =
                Collection::namespaced(api_version, resource, &place.namespace).target(workload.name());
            let options = WriteOptions {
                field_manager: "tug-compose".to_owned(),
                ..WriteOptions::default()
            };
            let patched = cluster.api.patch(&target, Patch::Merge(patch), &options).await;
            patched.map_err(|status| {
                Failure::new(format!("cannot change `{}`", workload.name())).because_error(&status)
            })?;
            done(workload.name());
        }
    }
    Ok(())
}

/// Waits until no pod of stopped workloads is left.
async fn wait_until_gone(place: &Place, cluster: &Cluster, services: &[String]) -> Result<(), Failure> {
    let collection = Collection::namespaced("v1", "pods", &place.namespace);
    let is_left = |pod: &Object| {
        let owner = pod.list(&["metadata", "ownerReferences"]).first();
        let stays = owner.is_some_and(|owner| owner["kind"] == "DaemonSet");
        // What `run` made is nobody's to stop.
        let is_one_off = pod.label(ONE_OFF).is_some();
        !stays && !is_one_off && !matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed"))
    };
    loop {
        let options = ListOptions {
            label_selector: place.selector(services),
            ..ListOptions::default()
        };
        let list = cluster.api.list(&collection, &options).await?;
        if !list.items.iter().any(|pod| is_left(pod)) {
            return Ok(());
        }
        let options = WatchOptions {
            label_selector: place.selector(services),
            resource_version: list.resource_version,
            ..WatchOptions::default()
        };
        let mut changes = cluster.api.watch(&collection, &options).await?;
        while let Some(change) = changes.next().await {
            match change {
                WatchEvent::Modified(pod) if is_left(&pod) => {}
                WatchEvent::Added(_) | WatchEvent::Bookmark(_) => {}
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: &str, value: Value) -> Object {
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}});
        for (key, value) in value.as_object().unwrap() {
            object[key] = value.clone();
        }
        Object::from_value(object).unwrap()
    }

    #[test]
    fn what_was_stopped_starts_with_as_many_pods() {
        let stopped = stopped(&workload("Deployment", json!({"spec": {"replicas": 3}}))).unwrap();
        assert_eq!(stopped["spec"]["replicas"], 0);
        let annotations = &stopped["metadata"]["annotations"];
        let object = workload(
            "Deployment",
            json!({"metadata": {"name": "web", "annotations": annotations}}),
        );
        assert_eq!(started(&object).unwrap()["spec"]["replicas"], 3);
    }

    #[test]
    fn what_has_stopped_is_left_alone() {
        assert_eq!(
            stopped(&workload("Deployment", json!({"spec": {"replicas": 0}}))),
            None
        );
        let complete = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
        assert_eq!(stopped(&workload("Job", complete)), None);
        assert_eq!(
            started(&workload("Deployment", json!({"spec": {"replicas": 2}}))),
            None
        );
    }
}
