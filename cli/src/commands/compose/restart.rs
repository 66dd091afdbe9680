//! `tug compose restart`, `scale`

use chart_release::cluster::Cluster;
use cluster_client::{Collection, Patch, WriteOptions};
use serde_json::{Value, json};

use super::place::Place;
use super::project::ProjectArgs;
use super::up::scaled;
use crate::failure::Failure;
use crate::settings::Settings;

/// Restart services, pod by pod
#[derive(clap::Args)]
pub(crate) struct RestartArgs {
    /// Only these services
    services: Vec<String>,
}

/// Set how many pods services have, until the next `up`
#[derive(clap::Args)]
pub(crate) struct ScaleArgs {
    /// Services, each with a number
    #[arg(value_name = "SERVICE=N", required = true)]
    services: Vec<String>,
}

/// Workloads whose pods can be replaced.
const RESTARTED: [&str; 3] = ["deployments", "statefulsets", "daemonsets"];
/// Workloads that have a number of pods.
const SCALED: [&str; 2] = ["deployments", "statefulsets"];

pub(super) fn run(
    arguments: &RestartArgs,
    project: &ProjectArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    place.work(async |cluster| restart(&place, cluster, &arguments.services).await)
}

/// Restarts services, all or some, pod by pod.
pub(super) async fn restart(place: &Place, cluster: &Cluster, services: &[String]) -> Result<(), Failure> {
    let now = place.settings.now().to_string();
    // kubectl's own way of doing it.
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
    let mut restarted = Vec::new();
    for resource in RESTARTED {
        restarted.extend(change(place, cluster, resource, services, &patch).await?);
    }
    if restarted.is_empty() {
        return Err(nothing(place, services));
    }
    for name in restarted {
        place.settings.console.say(format!("`{name}` is restarted"));
    }
    Ok(())
}

pub(super) fn run_scale(
    arguments: &ScaleArgs,
    project: &ProjectArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    let wishes = arguments
        .services
        .iter()
        .map(|text| scaled(text))
        .collect::<Result<Vec<_>, _>>()?;
    place.work(async |cluster| {
        for (service, count) in wishes {
            let services = [service.to_owned()];
            let patch = json!({"spec": {"replicas": count}});
            let mut changed = Vec::new();
            for resource in SCALED {
                changed.extend(change(&place, cluster, resource, &services, &patch).await?);
            }
            if changed.is_empty() {
                return Err(nothing(&place, &services));
            }
            place
                .settings
                .console
                .say(format!("`{service}` has {count} replicas"));
        }
        Ok(())
    })
}

/// Changes the workloads of services, and gives their names.
async fn change(
    place: &Place,
    cluster: &Cluster,
    resource: &str,
    services: &[String],
    patch: &Value,
) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for object in place.objects(cluster, ("apps/v1", resource), services).await? {
        let collection = Collection::namespaced("apps/v1", resource, &place.namespace);
        let options = WriteOptions {
            field_manager: "tug-compose".to_owned(),
            ..WriteOptions::default()
        };
        let patched = cluster
            .api
            .patch(
                &collection.target(object.name()),
                Patch::Merge(patch.clone()),
                &options,
            )
            .await;
        patched.map_err(|status| {
            Failure::new(format!("cannot change `{}`", object.name())).because_error(&status)
        })?;
        names.push(object.name().to_owned());
    }
    Ok(names)
}

fn nothing(place: &Place, services: &[String]) -> Failure {
    let what = if services.is_empty() {
        "nothing".to_owned()
    } else {
        services.join(", ")
    };
    Failure::new(format!("`{}` has no such services up: {what}", place.release))
        .hint("`tug compose ps` lists what is up")
}
