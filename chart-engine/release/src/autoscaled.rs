//! Replicas that an autoscaler owns are left as it has set them.

use std::collections::BTreeSet;

use cluster_client::{Collection, ListOptions};
use cluster_objects::{Object, Status};

use crate::cluster::Cluster;
use crate::resource::Resource;

const SCALER: &str = "HorizontalPodAutoscaler";
const SCALED: [&str; 4] = ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"];

/// Takes the number of replicas from the live object wherever an autoscaler, of the release or not, targets it.
///
/// To leave the field out would not do: the cluster would put its default in the place of what is given up.
pub(crate) async fn keep_replicas(cluster: &Cluster, resources: &mut [Resource]) -> Result<(), Status> {
    let counts = |resource: &Resource| {
        let object = &resource.object;
        SCALED.contains(&object.kind()) && object.integer(&["spec", "replicas"]).is_some()
    };
    let namespaces: BTreeSet<String> = resources
        .iter()
        .filter(|resource| counts(resource))
        .filter_map(|resource| resource.object.namespace().map(str::to_owned))
        .collect();
    if namespaces.is_empty() {
        return Ok(());
    }
    let discovery = cluster.discovery().await?;
    let served = ["v2", "v1"]
        .into_iter()
        .find_map(|version| discovery.resource_of("autoscaling", version, SCALER));
    let mut targets: BTreeSet<(String, String, String)> = resources
        .iter()
        .filter_map(|resource| target_of(&resource.object, resource.object.kind()))
        .collect();
    if let Some(served) = served {
        for namespace in &namespaces {
            let collection = Collection {
                resource: served.resource.clone(),
                namespace: Some(namespace.clone()),
            };
            let list = cluster.api.list(&collection, &ListOptions::default()).await;
            match list {
                Ok(list) => targets.extend(list.items.iter().filter_map(|scaler| target_of(scaler, SCALER))),
                // Who may not see autoscalers goes on without.
                Err(status) if matches!(status.code, 403 | 404) => {}
                Err(status) => return Err(status),
            }
        }
    }
    for resource in resources.iter_mut().filter(|resource| counts(resource)) {
        let object = &resource.object;
        let key = (
            object.namespace().unwrap_or_default().to_owned(),
            object.kind().to_owned(),
            object.name().to_owned(),
        );
        if !targets.contains(&key) {
            continue;
        }
        match cluster.api.get(&resource.target()).await {
            Ok(live) => {
                if let Some(replicas) = live.integer(&["spec", "replicas"]) {
                    resource.object.set(&["spec", "replicas"], replicas);
                }
            }
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

/// Namespace, kind and name of what an autoscaler scales.
fn target_of(scaler: &Object, kind: &str) -> Option<(String, String, String)> {
    if kind != SCALER {
        return None;
    }
    let text = |field: &str| scaler.text(&["spec", "scaleTargetRef", field]).map(str::to_owned);
    Some((
        scaler.namespace().unwrap_or_default().to_owned(),
        text("kind")?,
        text("name")?,
    ))
}
