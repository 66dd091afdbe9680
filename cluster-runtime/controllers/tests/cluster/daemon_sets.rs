//! Daemon sets: one pod on every node that suits.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions, Target};
use cluster_objects::Object;
use serde_json::json;

use crate::harness::{Cluster, pod_template};

fn nodes_with_pods(pods: &[Arc<Object>]) -> Vec<&str> {
    let mut nodes: Vec<&str> = pods
        .iter()
        .filter_map(|pod| pod.text(&["spec", "nodeName"]))
        .collect();
    nodes.sort_unstable();
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_that_suits_has_one_pod_of_the_newest_template() {
    let cluster = Cluster::start(2).await;
    cluster.add_node("n3", json!({"daemons": "no"})).await;
    let mut template = pod_template("agent");
    template["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "daemons", "operator": "NotIn", "values": ["no"]}]}],
    }}});
    cluster
        .create("daemonsets", json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
        }))
        .await;
    let pods = Collection::namespaced("v1", "pods", "default");
    let sets = Collection::namespaced("apps/v1", "daemonsets", "default");
    let ready = |count: i64| {
        move |found: &[Arc<Object>]| {
            let field = |name| found[0].integer(&["status", name]);
            field("observedGeneration") == Some(found[0].generation())
                && field("desiredNumberScheduled") == Some(count)
                && field("numberAvailable") == Some(count)
                && field("updatedNumberScheduled") == Some(count)
        }
    };
    cluster.until(&sets, "both nodes have a pod", ready(2)).await;
    assert_eq!(nodes_with_pods(&cluster.list(&pods).await), ["n1", "n2"]);

    cluster.add_node("n4", json!({})).await;
    cluster.until(&sets, "the new node has a pod", ready(3)).await;

    let newer = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    cluster.patch(&sets.target("agent"), newer).await;
    let all_new =
        |pods: &[Arc<Object>]| pods.len() == 3 && pods.iter().all(|pod| pod.annotation("version").is_some());
    cluster.until(&pods, "all pods are new", all_new).await;
    cluster.until(&sets, "the rollout is done", ready(3)).await;

    let bad = json!({"spec": {"taints": [{"key": "broken", "effect": "NoExecute"}]}});
    cluster
        .patch(&Target::cluster_wide("v1", "nodes", "n1"), bad)
        .await;
    cluster
        .until(&pods, "the tainted node has no pod", |pods| {
            nodes_with_pods(pods) == ["n2", "n4"]
        })
        .await;
    cluster
        .delete(&sets.target("agent"), DeleteOptions::default())
        .await;
    cluster.until(&pods, "no pod is left", <[_]>::is_empty).await;
}
