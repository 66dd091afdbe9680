//! What is in every namespace, and how one goes.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions, Target};
use cluster_objects::Object;
use serde_json::json;

use crate::harness::{Cluster, deployment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_filled_and_goes_with_all_that_is_in_it() {
    let cluster = Cluster::start(1).await;
    cluster
        .create(
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .await;
    let accounts = Collection::namespaced("v1", "serviceaccounts", "shop");
    let has_default = |found: &[Arc<Object>]| found.iter().any(|account| account.name() == "default");
    cluster
        .until(&accounts, "the service account is there", has_default)
        .await;
    cluster
        .delete(&accounts.target("default"), DeleteOptions::default())
        .await;
    cluster
        .until(&accounts, "the service account is back", has_default)
        .await;
    let certificates = Collection::namespaced("v1", "configmaps", "shop");
    let has_certificate = |found: &[Arc<Object>]| {
        found
            .iter()
            .any(|map| map.name() == "kube-root-ca.crt" && map.text(&["data", "ca.crt"]) == Some("PEM"))
    };
    cluster
        .until(&certificates, "the certificate is there", has_certificate)
        .await;

    let mut web = deployment("web", 3);
    web["metadata"]["namespace"] = json!("shop");
    cluster.create("deployments", web).await;
    let pods = Collection::namespaced("v1", "pods", "shop");
    cluster
        .until(&pods, "pods are there", |pods| pods.len() == 3)
        .await;
    cluster
        .create(
            "configmaps",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "held", "namespace": "shop", "finalizers": ["example.org/hold"]},
            }),
        )
        .await;

    cluster
        .delete(
            &Target::cluster_wide("v1", "namespaces", "shop"),
            DeleteOptions::default(),
        )
        .await;
    let namespaces = Collection::all("v1", "namespaces");
    let waits = |found: &[Arc<Object>]| {
        found.iter().any(|namespace| {
            let conditions = namespace.list(&["status", "conditions"]);
            namespace.name() == "shop"
                && conditions
                    .iter()
                    .any(|condition| condition["type"] == "NamespaceFinalizersRemaining")
        })
    };
    cluster
        .until(&namespaces, "the namespace says what it waits for", waits)
        .await;
    cluster
        .patch(
            &certificates.target("held"),
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    let gone = |found: &[Arc<Object>]| found.iter().all(|namespace| namespace.name() != "shop");
    cluster.until(&namespaces, "the namespace is gone", gone).await;
    for (api_version, resource) in [
        ("v1", "pods"),
        ("apps/v1", "deployments"),
        ("v1", "serviceaccounts"),
    ] {
        let left = cluster
            .list(&Collection::namespaced(api_version, resource, "shop"))
            .await;
        assert!(left.is_empty(), "{resource} are left");
    }
}
