//! What stands behind services.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions, Target};
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::harness::{Cluster, deployment};

fn slices() -> Collection {
    Collection::namespaced("discovery.k8s.io/v1", "endpointslices", "default")
}

fn endpoints() -> Collection {
    Collection::namespaced("v1", "endpoints", "default")
}

fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": app}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]},
    })
}

fn ready(slices: &[Arc<Object>]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice.list(&["endpoints"]));
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_and_endpoints_follow_the_pods() {
    let cluster = Cluster::start(1).await;
    cluster.create("services", service("web", "web")).await;
    let empty = |slices: &[Arc<Object>]| slices.len() == 1 && slices[0].list(&["endpoints"]).is_empty();
    cluster
        .until(&slices(), "an empty slice says that there is nothing", empty)
        .await;

    cluster.create("deployments", deployment("web", 3)).await;
    let found = cluster
        .until(&slices(), "three endpoints are ready", |slices| {
            ready(slices) == 3
        })
        .await;
    let found: Vec<_> = found
        .iter()
        .filter(|slice| !slice.list(&["endpoints"]).is_empty())
        .collect();
    assert_eq!(
        found[0].list(&["ports"]),
        [json!({"name": "web", "port": 8080, "protocol": "TCP"})]
    );
    assert_eq!(found[0].label("kubernetes.io/service-name"), Some("web"));
    assert_eq!(found[0].list(&["endpoints"])[0]["nodeName"], "n1");
    let both = |found: &[Arc<Object>]| {
        let subset = found
            .iter()
            .find(|one| one.name() == "web")
            .and_then(|one| one.list(&["subsets"]).first());
        subset.is_some_and(|subset| {
            subset["addresses"]
                .as_array()
                .is_some_and(|addresses| addresses.len() == 3)
        })
    };
    cluster
        .until(&endpoints(), "the older object has three addresses", both)
        .await;

    cluster
        .patch(
            &Target::namespaced("apps/v1", "deployments", "default", "web"),
            json!({"spec": {"replicas": 1}}),
        )
        .await;
    cluster
        .until(&slices(), "one endpoint is left", |slices| ready(slices) == 1)
        .await;
    cluster
        .delete(
            &Target::namespaced("v1", "services", "default", "web"),
            DeleteOptions::default(),
        )
        .await;
    cluster
        .until(&slices(), "the slices are gone", <[_]>::is_empty)
        .await;
    cluster
        .until(&endpoints(), "the older object is gone", |endpoints| {
            endpoints.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_are_not_ready_or_leave_are_shown_as_such() {
    let cluster = Cluster::start(1).await;
    let mut early = service("early", "slow");
    early["spec"]["publishNotReadyAddresses"] = json!(true);
    early["spec"]["clusterIP"] = json!("None");
    cluster.create("services", early).await;
    cluster.create("services", service("patient", "slow")).await;
    let mut slow = deployment("slow", 1);
    slow["spec"]["template"]["metadata"]["annotations"] = json!({"test/never-ready": "", "test/stays": ""});
    cluster.create("deployments", slow).await;
    let conditions = |slices: &[Arc<Object>], service: &str| {
        let slice = slices
            .iter()
            .find(|slice| slice.label("kubernetes.io/service-name") == Some(service));
        slice
            .and_then(|slice| slice.list(&["endpoints"]).first())
            .map(|endpoint| endpoint["conditions"].clone())
    };
    let state = |ready: bool, terminating: bool| {
        Some(json!({"ready": ready, "serving": false, "terminating": terminating}))
    };
    let shown = |slices: &[Arc<Object>]| {
        conditions(slices, "early") == state(true, false)
            && conditions(slices, "patient") == state(false, false)
    };
    let found = cluster.until(&slices(), "the pod is shown", shown).await;
    let headless = found
        .iter()
        .find(|slice| slice.label("kubernetes.io/service-name") == Some("early"));
    assert_eq!(
        headless.and_then(|slice| slice.label("service.kubernetes.io/headless")),
        Some("")
    );

    cluster
        .patch(
            &Target::namespaced("apps/v1", "deployments", "default", "slow"),
            json!({"spec": {"replicas": 0}}),
        )
        .await;
    let leaving = |slices: &[Arc<Object>]| {
        conditions(slices, "early") == state(true, true)
            && conditions(slices, "patient") == state(false, true)
    };
    cluster
        .until(&slices(), "the pod is shown as leaving", leaving)
        .await;
}
