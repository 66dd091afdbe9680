//! Rollouts, from the deployment to the pods.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions, Target};
use cluster_objects::Object;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Cluster, deployment};

fn pods() -> Collection {
    Collection::namespaced("v1", "pods", "default")
}

fn deployments() -> Collection {
    Collection::namespaced("apps/v1", "deployments", "default")
}

fn replica_sets() -> Collection {
    Collection::namespaced("apps/v1", "replicasets", "default")
}

/// As `kubectl rollout status` decides it.
fn is_rolled_out(deployment: &Object) -> bool {
    let wanted = deployment.integer(&["spec", "replicas"]).unwrap_or(1);
    let field = |name| deployment.integer(&["status", name]).unwrap_or_default();
    field("observedGeneration") >= deployment.generation()
        && field("updatedReplicas") == wanted
        && field("replicas") == wanted
        && field("availableReplicas") == wanted
}

async fn rolled_out(cluster: &Cluster) -> Arc<Object> {
    let done = |found: &[Arc<Object>]| found.iter().all(|one| is_rolled_out(one));
    let found = cluster
        .until(&deployments(), "the deployment is rolled out", done)
        .await;
    found[0].clone()
}

fn revisions(sets: &[Arc<Object>]) -> Vec<(String, i64)> {
    let mut revisions: Vec<(String, i64)> = sets
        .iter()
        .map(|set| {
            let revision = set
                .annotation("deployment.kubernetes.io/revision")
                .unwrap_or_default();
            (
                revision.to_owned(),
                set.integer(&["spec", "replicas"]).unwrap_or_default(),
            )
        })
        .collect();
    revisions.sort();
    revisions
}

/// The clock of the runtime is paused and moves on only when every task waits for it: a wait anywhere between the
/// deployment and its bound pod would show.
#[tokio::test(start_paused = true)]
async fn no_wait_stands_between_a_deployment_and_its_bound_pod() {
    let cluster = Cluster::start(3).await;
    let began = Instant::now();
    cluster.create("deployments", deployment("web", 1)).await;
    let bound = |pods: &[Arc<Object>]| pods.iter().any(|pod| pod.text(&["spec", "nodeName"]).is_some());
    cluster.until(&pods(), "a pod is bound", bound).await;
    assert_eq!(began.elapsed().as_millis(), 0);
    let deployment = rolled_out(&cluster).await;
    assert_eq!(
        deployment.annotation("deployment.kubernetes.io/revision"),
        Some("1")
    );
    let conditions = deployment.list(&["status", "conditions"]);
    let reason = |kind: &str| {
        let condition = conditions.iter().find(|condition| condition["type"] == kind);
        condition.map(|condition| condition["reason"].clone())
    };
    assert_eq!(reason("Available"), Some(json!("MinimumReplicasAvailable")));
    assert_eq!(reason("Progressing"), Some(json!("NewReplicaSetAvailable")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_template_rolls_out_and_undo_goes_back() {
    let cluster = Cluster::start(2).await;
    cluster.create("deployments", deployment("web", 4)).await;
    rolled_out(&cluster).await;
    let target = deployments().target("web");
    let first = cluster.get(&target).await.expect("the deployment");

    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    cluster.patch(&target, image("hello:2")).await;
    rolled_out(&cluster).await;
    let two = |pods: &[Arc<Object>]| {
        pods.len() == 4
            && pods
                .iter()
                .all(|pod| pod.list(&["spec", "containers"])[0]["image"] == "hello:2")
    };
    cluster.until(&pods(), "all pods are new", two).await;
    let sets = cluster.list(&replica_sets()).await;
    assert_eq!(revisions(&sets), [("1".into(), 0), ("2".into(), 4)]);

    // `kubectl rollout undo` writes the old template back.
    let template = first.at(&["spec", "template"]).cloned().unwrap_or(Value::Null);
    cluster
        .patch(&target, json!({"spec": {"template": template}}))
        .await;
    let deployment = rolled_out(&cluster).await;
    assert_eq!(
        deployment.annotation("deployment.kubernetes.io/revision"),
        Some("3")
    );
    let back = |sets: &[Arc<Object>]| revisions(sets) == [("2".into(), 0), ("3".into(), 4)];
    cluster
        .until(&replica_sets(), "the first set is back", back)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_changes_the_number_of_pods_and_nothing_else() {
    let cluster = Cluster::start(2).await;
    cluster.create("deployments", deployment("web", 2)).await;
    rolled_out(&cluster).await;
    for replicas in [7, 1, 0, 3] {
        cluster
            .patch(
                &deployments().target("web"),
                json!({"spec": {"replicas": replicas}}),
            )
            .await;
        let count = usize::try_from(replicas).unwrap();
        cluster
            .until(&pods(), &format!("there are {replicas} pods"), |pods| {
                pods.len() == count
            })
            .await;
        rolled_out(&cluster).await;
    }
    let sets = cluster.list(&replica_sets()).await;
    assert_eq!(revisions(&sets), [("1".into(), 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_deployment_does_not_roll_and_a_resumed_one_does() {
    let cluster = Cluster::start(1).await;
    cluster.create("deployments", deployment("web", 2)).await;
    rolled_out(&cluster).await;
    let target = deployments().target("web");
    cluster
        .patch(
            &target,
            json!({"spec": {"paused": true, "template": {"metadata": {"annotations": {"a": "b"}}}}}),
        )
        .await;
    let paused = |found: &[Arc<Object>]| {
        found.iter().any(|one| {
            let observed = one.integer(&["status", "observedGeneration"]) == Some(one.generation());
            let conditions = one.list(&["status", "conditions"]);
            observed
                && conditions
                    .iter()
                    .any(|condition| condition["reason"] == "DeploymentPaused")
        })
    };
    cluster
        .until(&deployments(), "the deployment is paused", paused)
        .await;
    assert_eq!(cluster.list(&replica_sets()).await.len(), 1);
    cluster.patch(&target, json!({"spec": {"paused": false}})).await;
    rolled_out(&cluster).await;
    let sets = cluster.list(&replica_sets()).await;
    assert_eq!(revisions(&sets), [("1".into(), 0), ("2".into(), 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_pod_is_replaced() {
    let cluster = Cluster::start(1).await;
    cluster.create("deployments", deployment("web", 2)).await;
    rolled_out(&cluster).await;
    let lost = cluster.list(&pods()).await.remove(0);
    cluster
        .delete(&pods().target(lost.name()), DeleteOptions::default())
        .await;
    let replaced = |pods: &[Arc<Object>]| {
        pods.len() == 2
            && pods
                .iter()
                .all(|pod| pod.uid() != lost.uid() && pod.text(&["status", "podIP"]).is_some())
    };
    cluster.until(&pods(), "the lost pod is replaced", replaced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_fit_nowhere_wait_and_say_why_until_a_node_comes() {
    let cluster = Cluster::start(1).await;
    let mut hungry = deployment("web", 1);
    hungry["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    cluster.create("deployments", hungry).await;
    let said = |pods: &[Arc<Object>]| {
        let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: \
                       0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
        let conditions = pods
            .first()
            .map_or(&[][..], |pod| pod.list(&["status", "conditions"]));
        conditions
            .iter()
            .any(|condition| condition["type"] == "PodScheduled" && condition["message"] == message)
    };
    cluster.until(&pods(), "the pod says why it waits", said).await;
    cluster.add_node("n2", json!({"disk": "ssd"})).await;
    rolled_out(&cluster).await;
    let events = Collection::namespaced("v1", "events", "default");
    let both = |events: &[Arc<Object>]| {
        let has = |reason: &str| events.iter().any(|event| event.text(&["reason"]) == Some(reason));
        has("FailedScheduling") && has("Scheduled") && has("SuccessfulCreate") && has("ScalingReplicaSet")
    };
    cluster.until(&events, "events tell the story", both).await;
    let target = Target::namespaced("v1", "pods", "default", cluster.list(&pods()).await[0].name());
    let pod = cluster.get(&target).await.expect("the pod");
    assert_eq!(pod.text(&["spec", "nodeName"]), Some("n2"));
}
