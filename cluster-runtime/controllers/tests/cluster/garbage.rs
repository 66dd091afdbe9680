//! What becomes of what is owned when its owner goes.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions, Propagation};
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::harness::{Cluster, deployment};

fn of(api_version: &str, resource: &str) -> Collection {
    Collection::namespaced(api_version, resource, "default")
}

async fn with_deployment(replicas: usize) -> Cluster {
    let cluster = Cluster::start(1).await;
    cluster
        .create("deployments", deployment("web", u32::try_from(replicas).unwrap()))
        .await;
    let running = |pods: &[Arc<Object>]| {
        pods.len() == replicas
            && pods
                .iter()
                .all(|pod| pod.text(&["status", "phase"]) == Some("Running"))
    };
    cluster.until(&of("v1", "pods"), "all pods run", running).await;
    cluster
}

async fn delete_deployment(cluster: &Cluster, propagation: Propagation) {
    let options = DeleteOptions {
        propagation,
        ..DeleteOptions::default()
    };
    cluster
        .delete(&of("apps/v1", "deployments").target("web"), options)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owned_goes_after_its_owner() {
    let cluster = with_deployment(3).await;
    delete_deployment(&cluster, Propagation::Background).await;
    cluster
        .until(&of("apps/v1", "replicasets"), "the replica set is gone", |sets| {
            sets.is_empty()
        })
        .await;
    cluster
        .until(&of("v1", "pods"), "the pods are gone", <[_]>::is_empty)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owned_goes_before_its_owner() {
    let cluster = with_deployment(3).await;
    delete_deployment(&cluster, Propagation::Foreground).await;
    cluster
        .until(&of("apps/v1", "deployments"), "the deployment is gone", |found| {
            found.is_empty()
        })
        .await;
    assert!(cluster.list(&of("apps/v1", "replicasets")).await.is_empty());
    assert!(cluster.list(&of("v1", "pods")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owned_stays_without_owner_and_is_adopted_again() {
    let cluster = with_deployment(2).await;
    let before = cluster.list(&of("v1", "pods")).await;
    delete_deployment(&cluster, Propagation::Orphan).await;
    cluster
        .until(&of("apps/v1", "deployments"), "the deployment is gone", |found| {
            found.is_empty()
        })
        .await;
    let sets = cluster.list(&of("apps/v1", "replicasets")).await;
    assert!(sets.len() == 1 && sets[0].controller().is_none());

    let again = cluster.create("deployments", deployment("web", 2)).await;
    let adopted = |sets: &[Arc<Object>]| {
        sets.len() == 1 && sets[0].controller().is_some_and(|owner| owner.uid == again.uid())
    };
    cluster
        .until(&of("apps/v1", "replicasets"), "the set is adopted", adopted)
        .await;
    let uids = |pods: &[Arc<Object>]| {
        let mut uids: Vec<String> = pods.iter().map(|pod| pod.uid().to_owned()).collect();
        uids.sort();
        uids
    };
    assert_eq!(uids(&cluster.list(&of("v1", "pods")).await), uids(&before));
}

fn config_map(name: &str, owners: &[&Object]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| json!({"apiVersion": owner.api_version(), "kind": owner.kind(), "name": owner.name(), "uid": owner.uid()}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_goes_with_the_last_of_its_owners() {
    let cluster = Cluster::start(0).await;
    let maps = of("v1", "configmaps");
    let one = cluster.create("configmaps", config_map("one", &[])).await;
    let two = cluster.create("configmaps", config_map("two", &[])).await;
    cluster
        .create("configmaps", config_map("both", &[&one, &two]))
        .await;
    let mut never = (*one).clone();
    never.set(&["metadata", "uid"], "never-was");
    cluster
        .create("configmaps", config_map("of-nobody", &[&never]))
        .await;
    let named = |found: &[Arc<Object>], name: &str| found.iter().find(|map| map.name() == name).cloned();
    let gone = |found: &[Arc<Object>]| named(found, "of-nobody").is_none();
    cluster.until(&maps, "what belongs to nobody is gone", gone).await;

    cluster
        .delete(&maps.target("one"), DeleteOptions::default())
        .await;
    let single =
        |found: &[Arc<Object>]| named(found, "both").is_some_and(|both| both.owner_references().len() == 1);
    cluster.until(&maps, "one owner is left", single).await;
    cluster
        .delete(&maps.target("two"), DeleteOptions::default())
        .await;
    cluster
        .until(&maps, "nothing is left", |found| named(found, "both").is_none())
        .await;
}
