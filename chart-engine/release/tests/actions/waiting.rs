//! Waiting until objects are ready, and giving up early with the reason.

use std::time::Duration;

use chart_release::ReleaseStatus;
use chart_release::action::{ActionError, WaitStrategy};
use chart_release::wait::WaitError;
use cluster_client::{Collection, Patch, WriteOptions};
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::stage::{CONFIG, Stage, chart, install, uninstall, upgrade};

const DEPLOYMENT: (&str, &str) = (
    "deployment.yaml",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  selector:\n    matchLabels: {app: web}\n  \
     template:\n    metadata:\n      labels: {app: web}\n    spec:\n      containers:\n      - name: main\n        \
     image: example\n",
);

fn serve(deployment: &Object) -> Option<Value> {
    Some(
        json!({"observedGeneration": deployment.generation(), "replicas": 1, "updatedReplicas": 1,
        "readyReplicas": 1, "availableReplicas": 1}),
    )
}

/// The objects that a Deployment's controllers would have made, with a container in trouble.
async fn trouble(stage: &Stage, waiting: Value) {
    let deployment = stage.get("apps/v1", "deployments", "web").await.unwrap();
    let owner = |object: &Object| serde_json::to_value([object.controller_reference()]).unwrap();
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "example"}]}});
    stage
        .create(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "web-1", "ownerReferences": owner(&deployment),
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}))
        .await;
    let set = stage.get("apps/v1", "replicasets", "web-1").await.unwrap();
    stage
        .create(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1-x", "ownerReferences": owner(&set)},
            "spec": {"containers": [{"name": "main", "image": "example"}]}}))
        .await;
    let status = json!({"phase": "Pending", "containerStatuses": [{"name": "main", "ready": false,
        "restartCount": 3, "image": "example", "imageID": "", "state": {"waiting": waiting},
        "lastState": {"terminated": {"exitCode": 1}}}]});
    stage
        .play_controller("v1", "pods", move |_| Some(status.clone()))
        .await;
}

#[tokio::test]
async fn a_release_is_done_when_its_deployment_serves() {
    let stage = Stage::new().await;
    let action = install("web", chart(&[DEPLOYMENT, CONFIG]));
    let running = tokio::spawn({
        let cluster = stage.cluster.clone();
        async move { action.run(&cluster).await }
    });
    stage.until_told("waiting for").await;
    assert!(!running.is_finished());
    stage.play_controller("apps/v1", "deployments", serve).await;
    let release = running.await.unwrap().unwrap();
    assert_eq!(release.info.status, ReleaseStatus::Deployed);
}

#[tokio::test]
async fn nothing_is_waited_for_when_not_asked() {
    let stage = Stage::new().await;
    let mut action = install("web", chart(&[DEPLOYMENT]));
    action.deploy.wait = WaitStrategy::HooksOnly;
    action.run(&stage.cluster).await.unwrap();
    assert!(stage.told("waiting for").is_empty());
}

#[tokio::test]
async fn err_pods_that_will_not_start_end_the_wait_at_once() {
    let pull = json!({"reason": "ImagePullBackOff", "message": "no such image"});
    for (waiting, expected) in [
        (pull, "ImagePullBackOff: container `main`: no such image"),
        (
            json!({"reason": "CrashLoopBackOff"}),
            "CrashLoopBackOff: container `main` ended 3 times, last with code 1",
        ),
    ] {
        let stage = Stage::new().await;
        let action = install("web", chart(&[DEPLOYMENT]));
        let running = tokio::spawn({
            let cluster = stage.cluster.clone();
            async move { action.run(&cluster).await }
        });
        stage.until_told("waiting for").await;
        trouble(&stage, waiting).await;
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), format!("Deployment/web failed: {expected}"));
        assert_eq!(stage.statuses("web").await, [ReleaseStatus::Failed]);
    }
}

#[tokio::test]
async fn err_time_that_runs_out_names_what_is_missing() {
    let stage = Stage::new().await;
    let mut action = install("web", chart(&[DEPLOYMENT]));
    action.deploy.timeout = Duration::from_millis(200);
    let error = action.run(&stage.cluster).await.unwrap_err();
    let expected = "Deployment/web not ready (its controller has not seen it yet): context deadline exceeded";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn err_an_interrupt_leaves_a_failed_release_that_the_next_upgrade_mends() {
    use ReleaseStatus::{Deployed, Failed};
    let stage = Stage::new().await;
    let action = install("web", chart(&[DEPLOYMENT]));
    let running = tokio::spawn({
        let cluster = stage.cluster.clone();
        async move { action.run(&cluster).await }
    });
    stage.until_told("waiting for").await;
    stage.cluster.cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, ActionError::Wait(WaitError::Cancelled)));
    assert_eq!(stage.statuses("web").await, [Failed]);
    stage.play_controller("apps/v1", "deployments", serve).await;
    let again = upgrade("web", chart(&[DEPLOYMENT]));
    again.run(&stage.cluster.uncancelled()).await.unwrap();
    assert_eq!(stage.statuses("web").await, [Failed, Deployed]);
}

#[tokio::test]
async fn err_pods_over_a_quota_end_the_wait_at_once() {
    let stage = Stage::new().await;
    let message = "pods \"web-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
    stage
        .play_controller("apps/v1", "deployments", move |deployment| {
            Some(json!({"observedGeneration": deployment.generation(), "conditions": [{"type": "ReplicaFailure",
                "status": "True", "reason": "FailedCreate", "message": message}]}))
        })
        .await;
    let error = install("web", chart(&[DEPLOYMENT]))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Deployment/web failed: FailedCreate: {message}")
    );
    assert_eq!(stage.statuses("web").await, [ReleaseStatus::Failed]);
}

#[tokio::test]
async fn err_a_job_that_failed_ends_the_wait() {
    let stage = Stage::new().await;
    stage
        .play_controller("batch/v1", "jobs", |_| {
            Some(json!({"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Failed", "status": "True",
                "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}]}))
        })
        .await;
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: once\nspec:\n  template:\n    spec:\n      \
        restartPolicy: Never\n      containers:\n      - name: main\n        image: example\n";
    let mut action = install("web", chart(&[("job.yaml", job)]));
    action.deploy.wait_for_jobs = true;
    let error = action.run(&stage.cluster).await.unwrap_err();
    let expected = "Job/once failed: BackoffLimitExceeded: Job has reached the specified backoff limit";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn err_a_finalizer_that_stops_an_uninstallation_is_named() {
    let stage = Stage::new().await;
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  finalizers: [moon.dev/tide]\n";
    install("web", chart(&[("held.yaml", held)]))
        .run(&stage.cluster)
        .await
        .unwrap();
    let mut action = uninstall("web");
    action.timeout = Duration::from_millis(200);
    let error = action.run(&stage.cluster).await.unwrap_err();
    let expected = "ConfigMap/held not deleted (held by finalizers moon.dev/tide): context deadline exceeded";
    assert_eq!(error.to_string(), expected);
    assert_eq!(
        stage.statuses("web").await,
        [ReleaseStatus::Uninstalling],
        "the record stays"
    );
    let target = Collection::namespaced("v1", "configmaps", "default").target("held");
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage
        .api
        .patch(&target, freed, &WriteOptions::default())
        .await
        .unwrap();
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.records().await.is_empty());
}
