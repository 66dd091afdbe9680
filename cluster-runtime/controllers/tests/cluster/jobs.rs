//! Jobs, from creation to their end.

use std::sync::Arc;

use cluster_client::Collection;
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::harness::{Cluster, pod_template};

fn jobs() -> Collection {
    Collection::namespaced("batch/v1", "jobs", "default")
}

fn pods() -> Collection {
    Collection::namespaced("v1", "pods", "default")
}

fn job(name: &str, spec: &Value) -> Value {
    let mut template = pod_template(name);
    template["spec"]["restartPolicy"] = json!("Never");
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": template},
    });
    for (key, value) in spec.as_object().expect("a map") {
        job["spec"][key] = value.clone();
    }
    job
}

fn has(found: &[Arc<Object>], condition: &str) -> bool {
    let conditions = found.iter().flat_map(|job| job.list(&["status", "conditions"]));
    conditions
        .into_iter()
        .any(|one| one["type"] == condition && one["status"] == "True")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_its_pods_to_their_end() {
    let cluster = Cluster::start(1).await;
    cluster
        .create("jobs", job("count", &json!({"completions": 5, "parallelism": 2})))
        .await;
    let found = cluster
        .until(&jobs(), "the job is complete", |found| has(found, "Complete"))
        .await;
    assert_eq!(found[0].integer(&["status", "succeeded"]), Some(5));
    assert!(found[0].text(&["status", "completionTime"]).is_some());
    assert_eq!(cluster.list(&pods()).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexed_pods_have_each_their_index() {
    let cluster = Cluster::start(1).await;
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    cluster.create("jobs", job("shards", &spec)).await;
    let found = cluster
        .until(&jobs(), "the job is complete", |found| has(found, "Complete"))
        .await;
    assert_eq!(found[0].text(&["status", "completedIndexes"]), Some("0-2"));
    let pods = cluster.list(&pods()).await;
    let mut hosts: Vec<&str> = pods
        .iter()
        .filter_map(|pod| pod.text(&["spec", "hostname"]))
        .collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["shards-0", "shards-1", "shards-2"]);
    let variables = pods[0].list(&["spec", "containers"])[0]["env"].clone();
    assert_eq!(variables[0]["name"], "JOB_COMPLETION_INDEX");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_a_job_whose_pods_fail_fails() {
    let cluster = Cluster::start(1).await;
    let mut failing = job("broken", &json!({"backoffLimit": 0}));
    failing["spec"]["template"]["metadata"]["annotations"] = json!({"test/fails": ""});
    cluster.create("jobs", failing).await;
    let found = cluster
        .until(&jobs(), "the job has failed", |found| has(found, "Failed"))
        .await;
    let conditions = found[0].list(&["status", "conditions"]);
    let failed = conditions
        .iter()
        .find(|one| one["type"] == "Failed")
        .expect("a condition");
    assert_eq!(failed["reason"], "BackoffLimitExceeded");
    assert_eq!(found[0].integer(&["status", "failed"]), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_goes_with_its_pods_when_its_time_is_up() {
    let cluster = Cluster::start(1).await;
    cluster
        .create("jobs", job("brief", &json!({"ttlSecondsAfterFinished": 0})))
        .await;
    let events = Collection::namespaced("v1", "events", "default");
    let completed = |found: &[Arc<Object>]| {
        found
            .iter()
            .any(|event| event.text(&["reason"]) == Some("Completed"))
    };
    cluster
        .until(&events, "the job says that it is complete", completed)
        .await;
    cluster.until(&jobs(), "the job is gone", <[_]>::is_empty).await;
    cluster.until(&pods(), "its pods are gone", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_job_has_no_pods() {
    let cluster = Cluster::start(1).await;
    cluster
        .create("jobs", job("later", &json!({"suspend": true})))
        .await;
    cluster
        .until(&jobs(), "the job is suspended", |found| has(found, "Suspended"))
        .await;
    assert!(cluster.list(&pods()).await.is_empty());
    cluster
        .patch(&jobs().target("later"), json!({"spec": {"suspend": false}}))
        .await;
    cluster
        .until(&jobs(), "the job is complete", |found| has(found, "Complete"))
        .await;
}
