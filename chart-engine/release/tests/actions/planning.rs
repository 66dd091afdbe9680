//! What an upgrade would change, said before it does.

use std::sync::Arc;

use chart_release::ReleaseStatus;
use chart_release::action::{
    ActionError, ChangeKind, Plan, SavedPlan, WaitStrategy, compare_revisions, drift, plan_install,
    plan_upgrade,
};
use cluster_client::{Collection, Patch, WriteOptions};
use serde_json::json;

use crate::stage::{Stage, chart, config_map, install, rollback, upgrade, values};

/// A plan as lines: `ACTION Kind/name`, and `PATH: BEFORE -> AFTER` for each field that changes.
pub(crate) fn shown(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for object in &plan.objects {
        lines.push(format!("{} {}/{}", object.action, object.kind, object.name));
        if object.action == ChangeKind::Update {
            for field in &object.fields {
                let text = |value: &Option<serde_json::Value>| {
                    value.as_ref().map_or("-".to_owned(), ToString::to_string)
                };
                lines.push(format!(
                    "{}: {} -> {}",
                    field.path,
                    text(&field.before),
                    text(&field.after)
                ));
            }
        }
    }
    lines
}

const GREETING: (&str, &str) = (
    "greeting.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\ndata:\n  text: {{ .Values.greeting }}\n",
);

async fn change_by_hand(stage: &Stage, name: &str, patch: serde_json::Value) {
    let target = Collection::namespaced("v1", "configmaps", "default").target(name);
    let options = WriteOptions {
        field_manager: "kubectl-edit".to_owned(),
        ..WriteOptions::default()
    };
    stage
        .api
        .patch(&target, Patch::Merge(patch), &options)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_plan_names_objects_and_fields_and_changes_nothing() {
    let stage = Stage::new().await;
    let (gone, kept) = (
        config_map("gone", ""),
        config_map("kept", "helm.sh/resource-policy: keep"),
    );
    let first = chart(&[GREETING, ("gone.yaml", &gone), ("kept.yaml", &kept)]);
    let (plan, _) = plan_install(&install("web", first.clone()), &stage.cluster)
        .await
        .unwrap();
    assert_eq!(
        shown(&plan),
        [
            "create ConfigMap/gone",
            "create ConfigMap/greeting",
            "create ConfigMap/kept"
        ]
    );
    assert!(stage.records().await.is_empty() && stage.config_map("gone").await.is_none());

    install("web", first.clone()).run(&stage.cluster).await.unwrap();
    let (plan, _) = plan_upgrade(&upgrade("web", first), &stage.cluster)
        .await
        .unwrap();
    assert!(!plan.has_changes());
    assert_eq!((plan.unchanged, plan.base, plan.revision), (3, Some(1), 2));

    let new = config_map("new", "");
    let mut second = upgrade("web", chart(&[GREETING, ("new.yaml", &new)]));
    second.values = values("greeting: ahoy");
    let (plan, _) = plan_upgrade(&second, &stage.cluster).await.unwrap();
    let expected = [
        "update ConfigMap/greeting",
        r#"data.text: "hello" -> "ahoy""#,
        "create ConfigMap/new",
        "delete ConfigMap/gone",
        "keep ConfigMap/kept",
    ];
    assert_eq!(shown(&plan), expected);
    assert_eq!(stage.records().await.len(), 1);

    second.run(&stage.cluster).await.unwrap();
    let compared = compare_revisions(&stage.cluster, "web", 1, Some(2))
        .await
        .unwrap();
    let expected = [
        "update ConfigMap/greeting",
        r#"data.text: "hello" -> "ahoy""#,
        "create ConfigMap/new",
        "delete ConfigMap/gone",
        "delete ConfigMap/kept",
    ];
    assert_eq!(shown(&compared), expected);
}

#[tokio::test]
async fn a_plan_says_what_the_cluster_would_refuse() {
    let stage = Stage::new().await;
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\ndata:\n  a: [1]\n";
    let action = install("web", chart(&[GREETING, ("wrong.yaml", wrong)]));
    let (plan, _) = plan_install(&action, &stage.cluster).await.unwrap();
    assert_eq!(plan.objects[0].refused, None);
    assert!(
        plan.objects[1]
            .refused
            .as_ref()
            .unwrap()
            .contains("ConfigMap in version")
    );
}

#[tokio::test]
async fn drift_is_what_others_changed() {
    let stage = Stage::new().await;
    let release = stage.installed(&[GREETING]).await;
    assert!(!drift(&stage.cluster, &release).await.unwrap().has_changes());
    change_by_hand(
        &stage,
        "greeting",
        json!({"data": {"text": "changed", "more": "theirs"}}),
    )
    .await;
    let found = drift(&stage.cluster, &release).await.unwrap();
    assert_eq!(
        shown(&found),
        ["update ConfigMap/greeting", r#"data.text: "changed" -> "hello""#]
    );
    // An upgrade does not take it back unless it is told to.
    let mut again = upgrade("web", chart(&[GREETING]));
    let error = again.run(&stage.cluster).await.unwrap_err();
    assert!(matches!(error, ActionError::Apply(_)), "{error}");
    again.deploy.force_conflicts = true;
    again.run(&stage.cluster).await.unwrap();
    assert!(!drift(&stage.cluster, &release).await.unwrap().has_changes());
}

#[tokio::test]
async fn a_saved_plan_is_carried_out_while_nothing_has_moved() {
    let stage = Stage::new().await;
    stage.installed(&[GREETING]).await;
    let mut second = upgrade("web", chart(&[GREETING]));
    second.values = values("greeting: ahoy");
    let (plan, release) = plan_upgrade(&second, &stage.cluster).await.unwrap();
    let text = serde_json::to_string(&SavedPlan::new(plan, &release).unwrap()).unwrap();
    let saved = SavedPlan::read(&text).unwrap();

    change_by_hand(&stage, "greeting", json!({"metadata": {"labels": {"x": "y"}}})).await;
    saved.run(&stage.cluster, &second.deploy, 10).await.unwrap();
    let object = stage.config_map("greeting").await.unwrap();
    assert_eq!(object.text(&["data", "text"]), Some("ahoy"));
    assert_eq!(stage.history("web").await[1].2, "Upgrade complete");

    let error = saved.run(&stage.cluster, &second.deploy, 10).await.unwrap_err();
    let expected = "the plan is out of date: it starts from revision 1, and there is revision 2";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn err_a_plan_whose_objects_have_moved() {
    let stage = Stage::new().await;
    stage.installed(&[GREETING]).await;
    let mut second = upgrade("web", chart(&[GREETING]));
    second.values = values("greeting: ahoy");
    let (plan, release) = plan_upgrade(&second, &stage.cluster).await.unwrap();
    let saved = SavedPlan::new(plan, &release).unwrap();
    change_by_hand(&stage, "greeting", json!({"data": {"text": "moved"}})).await;
    let error = saved.run(&stage.cluster, &second.deploy, 10).await.unwrap_err();
    let expected = "the plan is out of date: ConfigMap/greeting is not as it was when the plan was made";
    assert_eq!(error.to_string(), expected);
    assert_eq!(stage.records().await.len(), 1);
    for text in ["", "{}", r#"{"format": "x", "plan": {}, "record": ""}"#] {
        assert!(SavedPlan::read(text).is_err());
    }
}

#[tokio::test]
async fn replicas_of_an_autoscaler_are_left_to_it() {
    let stage = Stage::new().await;
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  selector: \
        {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: \
        [{name: web, image: demo}]\n";
    let scaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: web\nspec:\n  \
        scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  minReplicas: 1\n  maxReplicas: 9\n";
    let both = chart(&[("d.yaml", deployment), ("h.yaml", scaler)]);
    let mut first = install("web", both.clone());
    first.deploy.wait = chart_release::action::WaitStrategy::HooksOnly;
    first.run(&stage.cluster).await.unwrap();
    let target = Collection::namespaced("apps/v1", "deployments", "default").target("web");
    let scale = target.clone().subresource("scale");
    let patch = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let options = WriteOptions {
        field_manager: "horizontal-pod-autoscaler".to_owned(),
        ..WriteOptions::default()
    };
    stage.api.patch(&scale, patch, &options).await.unwrap();
    let mut second = upgrade("web", both);
    second.deploy.wait = chart_release::action::WaitStrategy::HooksOnly;
    let release = second.run(&stage.cluster).await.unwrap();
    let live: Arc<_> = stage.api.get(&target).await.unwrap();
    assert_eq!(live.integer(&["spec", "replicas"]), Some(4));
    assert!(!drift(&stage.cluster, &release).await.unwrap().has_changes());
}

/// A Deployment of an app, which nobody can change in one that is there.
fn deployment(app: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  selector: {{matchLabels: {{app: {app}}}}}\n  \
         template:\n    metadata: {{labels: {{app: {app}}}}}\n    spec: {{containers: [{{name: main, image: demo}}]}}\n"
    )
}

#[tokio::test]
async fn what_cannot_be_changed_is_made_anew_when_asked() {
    for transactions in [true, false] {
        let mut stage = Stage::new().await;
        stage.cluster.use_transactions = transactions;
        let (old, new) = (deployment("old"), deployment("new"));
        let mut first = install("web", chart(&[("d.yaml", &old)]));
        first.deploy.wait = WaitStrategy::HooksOnly;
        first.run(&stage.cluster).await.unwrap();
        let before = stage.get("apps/v1", "deployments", "web").await.unwrap();

        let mut second = upgrade("web", chart(&[GREETING, ("d.yaml", &new)]));
        second.deploy.wait = WaitStrategy::HooksOnly;
        let (plan, _) = plan_upgrade(&second, &stage.cluster).await.unwrap();
        let refused = plan.objects.last().unwrap();
        assert!(refused.unchangeable && refused.refused.as_ref().unwrap().contains("field is immutable"));
        let error = second.run(&stage.cluster).await.unwrap_err();
        assert!(
            matches!(&error, ActionError::Apply(apply) if apply.is_immutable()),
            "{error}"
        );
        let live = stage.get("apps/v1", "deployments", "web").await.unwrap();
        assert_eq!(live.uid(), before.uid());

        second.deploy.force_replace = true;
        let (plan, release) = plan_upgrade(&second, &stage.cluster).await.unwrap();
        let recreated = plan.objects.last().unwrap();
        assert_eq!(
            (recreated.action, &recreated.refused),
            (ChangeKind::Recreate, &None)
        );
        assert_eq!(
            recreated.effects,
            ["it is deleted and made anew", "its pods are stopped"]
        );
        let shown = shown(&plan);
        assert!(shown.contains(&"recreate Deployment/web".to_owned()), "{shown:?}");
        // A saved plan does what it says, without being told again.
        let saved = SavedPlan::new(plan, &release).unwrap();
        let deploy = chart_release::action::DeployOptions {
            force_replace: false,
            ..second.deploy.clone()
        };
        saved.run(&stage.cluster, &deploy, 10).await.unwrap();
        let live = stage.get("apps/v1", "deployments", "web").await.unwrap();
        assert_ne!(live.uid(), before.uid());
        assert_eq!(
            live.text(&["spec", "selector", "matchLabels", "app"]),
            Some("new")
        );

        let mut back = rollback("web", Some(1));
        back.deploy = second.deploy.clone();
        back.run(&stage.cluster).await.unwrap();
        assert_eq!(stage.statuses("web").await.last(), Some(&ReleaseStatus::Deployed));
    }
}

#[tokio::test]
async fn err_what_holds_data_is_not_made_anew() {
    let stage = Stage::new().await;
    let claim = |mode: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: data\nspec:\n  accessModes: [{mode}]\n  resources: \
             {{requests: {{storage: 1Gi}}}}\n"
        )
    };
    let (old, new) = (claim("ReadWriteOnce"), claim("ReadWriteMany"));
    let mut first = install("web", chart(&[("c.yaml", &old)]));
    first.deploy.wait = WaitStrategy::HooksOnly;
    first.run(&stage.cluster).await.unwrap();
    let mut second = upgrade("web", chart(&[("c.yaml", &new)]));
    second.deploy.force_replace = true;
    let error = second.run(&stage.cluster).await.unwrap_err().to_string();
    let expected = "PersistentVolumeClaim/data is not made anew, what it holds would be lost: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(stage.get("v1", "persistentvolumeclaims", "data").await.is_some());
}
