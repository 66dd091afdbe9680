//! Waiting until objects are ready, and giving up early with the reason.

use std::time::Duration;

use chart_release::ReleaseStatus;
use chart_release::action::{ActionError, WaitStrategy};
use chart_release::wait::WaitError;
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::stage::{CONFIG, Stage, chart, install, upgrade};

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
        "restartCount": 3, "image": "example", "imageID": "", "state": {"waiting": waiting}}]});
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
async fn err_an_image_that_cannot_be_pulled_ends_the_wait_at_once() {
    let stage = Stage::new().await;
    let action = install("web", chart(&[DEPLOYMENT]));
    let running = tokio::spawn({
        let cluster = stage.cluster.clone();
        async move { action.run(&cluster).await }
    });
    stage.until_told("waiting for").await;
    trouble(
        &stage,
        json!({"reason": "ImagePullBackOff", "message": "no such image"}),
    )
    .await;
    let error = running.await.unwrap().unwrap_err();
    let expected = "Deployment/web failed: ImagePullBackOff: container `main`: no such image";
    assert_eq!(error.to_string(), expected);
    assert_eq!(stage.statuses("web").await, [ReleaseStatus::Failed]);
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
