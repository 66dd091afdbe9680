//! Stateful sets: order, storage, rollouts.

use std::sync::Arc;

use cluster_client::Collection;
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::harness::{Cluster, pod_template};

fn sets() -> Collection {
    Collection::namespaced("apps/v1", "statefulsets", "default")
}

fn pods() -> Collection {
    Collection::namespaced("v1", "pods", "default")
}

fn stateful_set(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name),
        },
    })
}

fn names(pods: &[Arc<Object>]) -> Vec<&str> {
    pods.iter().map(|pod| pod.name()).collect()
}

fn is_settled(found: &[Arc<Object>]) -> bool {
    found.iter().all(|set| {
        let wanted = set.integer(&["spec", "replicas"]);
        let revision = |name| set.text(&["status", name]);
        let count = |name| Some(set.integer(&["status", name]).unwrap_or_default());
        set.integer(&["status", "observedGeneration"]) == Some(set.generation())
            && count("readyReplicas") == wanted
            && count("updatedReplicas") == wanted
            && count("replicas") == wanted
            && revision("currentRevision").is_some()
            && revision("currentRevision") == revision("updateRevision")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_have_numbers_names_and_their_own_storage() {
    let cluster = Cluster::start(1).await;
    let mut set = stateful_set("db", 2);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    cluster.create("statefulsets", set).await;
    // Without a volume the first pod waits, and the second is not made.
    let claims = Collection::namespaced("v1", "persistentvolumeclaims", "default");
    cluster
        .until(&claims, "the first claim is there", |found| {
            names(found) == ["data-db-0"]
        })
        .await;
    let found = cluster
        .until(&pods(), "the first pod is there", |found| {
            names(found) == ["db-0"]
        })
        .await;
    assert_eq!(found[0].text(&["spec", "hostname"]), Some("db-0"));
    assert_eq!(found[0].text(&["spec", "subdomain"]), Some("db"));
    assert_eq!(found[0].label("apps.kubernetes.io/pod-index"), Some("0"));
    assert_eq!(
        found[0].list(&["spec", "volumes"])[0]["persistentVolumeClaim"]["claimName"],
        "data-db-0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_grows_shrinks_and_rolls_in_order() {
    let cluster = Cluster::start(1).await;
    cluster.create("statefulsets", stateful_set("db", 3)).await;
    cluster.until(&sets(), "the set is settled", is_settled).await;
    assert_eq!(names(&cluster.list(&pods()).await), ["db-0", "db-1", "db-2"]);

    let target = sets().target("db");
    let partitioned = json!({
        "updateStrategy": {"rollingUpdate": {"partition": 2}},
        "template": {"metadata": {"annotations": {"version": "2"}}},
    });
    cluster.patch(&target, json!({"spec": partitioned})).await;
    let versions = |pods: &[Arc<Object>]| -> Vec<bool> {
        pods.iter()
            .map(|pod| pod.annotation("version").is_some() && pod.text(&["status", "podIP"]).is_some())
            .collect()
    };
    cluster
        .until(&pods(), "only the last is new", |pods| {
            versions(pods) == [false, false, true]
        })
        .await;
    cluster
        .patch(
            &target,
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}),
        )
        .await;
    cluster.until(&sets(), "the set is settled", is_settled).await;
    assert_eq!(versions(&cluster.list(&pods()).await), [true, true, true]);
    let revisions = Collection::namespaced("apps/v1", "controllerrevisions", "default");
    assert_eq!(cluster.list(&revisions).await.len(), 2);

    cluster.patch(&target, json!({"spec": {"replicas": 1}})).await;
    cluster
        .until(&pods(), "the first is left", |pods| names(pods) == ["db-0"])
        .await;
}
