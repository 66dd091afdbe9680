//! Objects that wait for others of their release.

use chart_release::ReleaseStatus;
use chart_release::action::{ActionError, WaitStrategy};
use cluster_objects::Object;
use serde_json::{Value, json};

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

/// Makes a Deployment of one pod serve.
fn serve(deployment: &Object) -> Option<Value> {
    Some(
        json!({"observedGeneration": deployment.generation(), "replicas": 1, "updatedReplicas": 1,
        "readyReplicas": 1, "availableReplicas": 1}),
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
    stage.play_controller("apps/v1", "deployments", serve).await;
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

/// Two config maps of the group `app`, which waits for the database; the second one is refused.
const PAIR: (&str, &str) = (
    "pair.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: good\n  annotations:\n    helm.sh/resource-group: app\n    \
     helm.sh/depends-on/resource-groups: '[\"database\"]'\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\n  \
     annotations:\n    helm.sh/resource-group: app\n    helm.sh/depends-on/resource-groups: '[\"database\"]'\ndata:\n  a: [1]\n",
);

#[tokio::test]
async fn each_part_is_there_whole_or_not_at_all() {
    for transactions in [true, false] {
        let mut stage = Stage::new().await;
        stage.cluster.use_transactions = transactions;
        stage.play_controller("apps/v1", "deployments", serve).await;
        let action = install("web", chart(&[DATABASE, PAIR]));
        action.run(&stage.cluster).await.unwrap_err();
        assert!(stage.get("apps/v1", "deployments", "database").await.is_some());
        let is_whole = stage.config_map("good").await.is_none();
        assert_eq!(is_whole, transactions, "object by object, the first one stays");
        assert_eq!(stage.statuses("web").await, [ReleaseStatus::Failed]);
    }
}

#[tokio::test]
async fn where_nothing_is_waited_for_all_parts_are_one() {
    let stage = Stage::new().await;
    let mut action = install("web", chart(&[DATABASE, PAIR]));
    action.deploy.wait = WaitStrategy::HooksOnly;
    action.run(&stage.cluster).await.unwrap_err();
    assert!(stage.get("apps/v1", "deployments", "database").await.is_none());
}

#[tokio::test]
async fn an_object_says_itself_when_it_is_ready() {
    let declared = |failure: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations:\n    helm.sh/readiness-success: \
             '[\"{{.readyReplicas}} >= 1\"]'\n    {failure}\nspec:\n  replicas: 3\n  selector: {{matchLabels: {{app: web}}}}\n  \
             template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: main, image: example}}]}}\n"
        )
    };
    let status = |deployment: &Object| {
        Some(json!({"observedGeneration": deployment.generation(), "replicas": 3, "readyReplicas": 1}))
    };
    let failure = |condition: &str| declared(&format!("helm.sh/readiness-failure: '[\"{condition}\"]'"));
    let run = async |text: &str| {
        let stage = Stage::new().await;
        stage.play_controller("apps/v1", "deployments", status).await;
        let mut action = install("web", chart(&[("web.yaml", text)]));
        action.deploy.timeout = std::time::Duration::from_millis(500);
        let outcome = action.run(&stage.cluster).await;
        (
            outcome.map(drop).map_err(|error| error.to_string()),
            stage.told("warning: "),
        )
    };
    // By the rules of its kind it would wait for two more pods.
    assert_eq!(run(&failure("{.replicas} > 3")).await, (Ok(()), vec![]));
    let (failed, _) = run(&failure("{.replicas} == 3")).await;
    let expected = "Deployment/web failed: its condition of failure holds: {.replicas} == 3";
    assert_eq!(failed.unwrap_err(), expected);
    let (waited, warnings) = run(&declared("other: x")).await;
    assert!(waited.unwrap_err().contains("0 of 3 pods are updated"));
    let expected = "warning: Deployment/web: `helm.sh/readiness-success` means nothing without \
        `helm.sh/readiness-failure`";
    assert_eq!(warnings, [expected]);
}
