//! Objects that wait for others of their release.

use chart_release::ReleaseStatus;
use chart_release::action::ActionError;
use serde_json::json;

use crate::stage::{Stage, chart, install, rollback, upgrade};

const DATABASE: (&str, &str) = (
    "database.yaml",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: database\n  annotations: {helm.sh/resource-group: \
     database}\nspec:\n  selector:\n    matchLabels: {app: database}\n  template:\n    metadata:\n      labels: {app: \
     database}\n    spec:\n      containers:\n      - name: main\n        image: example\n",
);

/// A config map of a group that waits for others.
fn grouped(name: &str, group: &str, needs: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/resource-group: {group}\n    \
         helm.sh/depends-on/resource-groups: '{needs}'\n"
    )
}

#[tokio::test]
async fn what_waits_comes_when_the_other_is_ready() {
    let stage = Stage::new().await;
    let app = grouped("app", "app", r#"["database"]"#);
    let other = grouped("other", "other", "[]");
    let last = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: last\n";
    let ordered = chart(&[
        DATABASE,
        ("app.yaml", &app),
        ("other.yaml", &other),
        ("last.yaml", last),
    ]);
    let action = install("web", ordered.clone());
    let running = tokio::spawn({
        let cluster = stage.cluster.clone();
        async move { action.run(&cluster).await }
    });
    stage.until_told("waiting for [(\"Deployment/database\"").await;
    // What waits for nothing comes at the same time.
    stage.until_told("applied ConfigMap/other").await;
    assert!(stage.config_map("app").await.is_none());
    assert!(stage.config_map("last").await.is_none());
    assert_eq!(stage.statuses("web").await, [ReleaseStatus::PendingInstall]);
    stage
        .play_controller("apps/v1", "deployments", |deployment| {
            Some(
                json!({"observedGeneration": deployment.generation(), "replicas": 1, "updatedReplicas": 1,
                "readyReplicas": 1, "availableReplicas": 1}),
            )
        })
        .await;
    running.await.unwrap().unwrap();
    assert!(stage.config_map("app").await.is_some() && stage.config_map("last").await.is_some());
    upgrade("web", ordered).run(&stage.cluster).await.unwrap();
    rollback("web", Some(1)).run(&stage.cluster).await.unwrap();
}

#[tokio::test]
async fn err_objects_that_wait_for_each_other() {
    let stage = Stage::new().await;
    let (a, b) = (grouped("a", "a", r#"["b"]"#), grouped("b", "b", r#"["a"]"#));
    let action = install("web", chart(&[("a.yaml", &a), ("b.yaml", &b)]));
    let error = action.run(&stage.cluster).await.unwrap_err();
    assert!(matches!(error, ActionError::Order(_)));
    let expected = "the objects of the release cannot be put in order: these wait for each other: parcel/a -> parcel/b \
        -> parcel/a";
    assert_eq!(error.to_string(), expected);
    assert!(stage.records().await.is_empty());
}
