//! Claims that find their volume, and the pods that wait for them.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions};
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::harness::{Cluster, deployment};

fn claims() -> Collection {
    Collection::namespaced("v1", "persistentvolumeclaims", "default")
}

fn volumes() -> Collection {
    Collection::all("v1", "persistentvolumes")
}

fn volume(name: &str, size: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/data"},
        },
    })
}

fn claim(name: &str, size: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}},
        },
    })
}

fn class(name: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.org/disk", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_takes_the_smallest_volume_that_is_enough_and_leaves_it_when_it_goes() {
    let cluster = Cluster::start(0).await;
    for (name, size, class) in [
        ("small", "1Gi", "m"),
        ("large", "9Gi", "m"),
        ("right", "4Gi", "m"),
        ("other", "3Gi", "o"),
    ] {
        cluster
            .create("persistentvolumes", volume(name, size, class))
            .await;
    }
    cluster
        .create("persistentvolumeclaims", claim("data", "2Gi", "m"))
        .await;
    let bound = |found: &[Arc<Object>]| found[0].text(&["status", "phase"]) == Some("Bound");
    let found = cluster.until(&claims(), "the claim is bound", bound).await;
    assert_eq!(found[0].text(&["spec", "volumeName"]), Some("right"));
    assert_eq!(found[0].text(&["status", "capacity", "storage"]), Some("4Gi"));
    let phases = |found: &[Arc<Object>], wanted: [&str; 4]| {
        let phases: Vec<&str> = found
            .iter()
            .filter_map(|volume| volume.text(&["status", "phase"]))
            .collect();
        phases == wanted
    };
    let one = ["Available", "Available", "Bound", "Available"];
    cluster
        .until(&volumes(), "one volume is bound", |found| phases(found, one))
        .await;
    cluster
        .patch(
            &claims().target("data"),
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    cluster
        .delete(&claims().target("data"), DeleteOptions::default())
        .await;
    let left = ["Available", "Available", "Released", "Available"];
    cluster
        .until(&volumes(), "the volume is left", |found| phases(found, left))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_a_waiting_class_is_told_the_node_of_its_pod() {
    let cluster = Cluster::start(1).await;
    cluster.create("storageclasses", class("late")).await;
    cluster
        .create("persistentvolumeclaims", claim("data", "1Gi", "late"))
        .await;
    let mut web = deployment("web", 1);
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    cluster.create("deployments", web).await;
    let told = |found: &[Arc<Object>]| {
        found[0].annotation("volume.kubernetes.io/selected-node") == Some("n1")
            && found[0].annotation("volume.kubernetes.io/storage-provisioner") == Some("example.org/disk")
    };
    let found = cluster.until(&claims(), "the claim knows its node", told).await;
    // What a provisioner does.
    let mut made = volume("made", "1Gi", "late");
    made["spec"]["claimRef"] = json!({"namespace": "default", "name": "data", "uid": found[0].uid()});
    cluster.create("persistentvolumes", made).await;
    let bound = |found: &[Arc<Object>]| found[0].text(&["status", "phase"]) == Some("Bound");
    cluster.until(&claims(), "the claim is bound", bound).await;
}
