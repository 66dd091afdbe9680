//! Controllers and scheduler that start anew in a cluster that is there.

use std::sync::Arc;

use cluster_client::Collection;
use cluster_controllers::{Controllers, ControllersOptions};
use cluster_objects::Object;
use cluster_scheduler::{Scheduler, SchedulerOptions};
use serde_json::json;

use crate::harness::{Cluster, deployment};

fn pods() -> Collection {
    Collection::namespaced("v1", "pods", "default")
}

fn uids(pods: &[Arc<Object>]) -> Vec<String> {
    let mut uids: Vec<String> = pods.iter().map(|pod| pod.uid().to_owned()).collect();
    uids.sort();
    uids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_kept_and_what_was_missed_is_made_up_for() {
    let cluster = Cluster::start(2).await;
    cluster.create("deployments", deployment("web", 5)).await;
    let all = |pods: &[Arc<Object>]| {
        pods.len() == 5 && pods.iter().all(|pod| pod.text(&["status", "podIP"]).is_some())
    };
    let before = cluster.until(&pods(), "five pods run", all).await;
    let Cluster {
        api,
        controllers,
        scheduler,
    } = cluster;
    controllers.stop().await;
    scheduler.stop().await;

    let idle = Cluster {
        controllers: Controllers::start(api.clone(), ControllersOptions::default()),
        scheduler: Scheduler::start(api.clone(), SchedulerOptions::default()),
        api,
    };
    idle.controllers.ready().await;
    let deployments = Collection::namespaced("apps/v1", "deployments", "default");
    idle.patch(
        &deployments.target("web"),
        json!({"metadata": {"annotations": {"touched": "yes"}}}),
    )
    .await;
    let handed_on = |sets: &[Arc<Object>]| sets.len() == 1 && sets[0].annotation("touched") == Some("yes");
    let sets = Collection::namespaced("apps/v1", "replicasets", "default");
    idle.until(&sets, "the change is handed on", handed_on).await;
    assert_eq!(uids(&idle.list(&pods()).await), uids(&before));
    idle.patch(&deployments.target("web"), json!({"spec": {"replicas": 6}}))
        .await;
    idle.until(&pods(), "a sixth pod runs", |pods| pods.len() == 6)
        .await;
}
