//! Resource definitions of a chart: made, changed, and not changed where that would take away what is in use.

use chart_release::action::{ActionError, DryRun, SavedPlan, plan_install};
use cluster_client::{Patch, Target, WriteOptions};
use serde_json::{Value, json};

use crate::planning::shown;
use crate::stage::{CONFIG, Stage, chart, install, upgrade};

/// A definition with these versions and one field.
fn definition(versions: &[&str], field: &str) -> String {
    let listed: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, name)| {
            json!({"name": name, "served": true, "storage": index == 0, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {field: {"type": "string"}}}}}}})
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "craters.moon.example"},
        "spec": {"group": "moon.example", "scope": "Namespaced", "names": {"plural": "craters", "singular": "crater",
            "kind": "Crater", "listKind": "CraterList"}, "versions": listed},
    })
    .to_string()
}

fn target() -> Target {
    Target::cluster_wide(
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "craters.moon.example",
    )
}

/// Says that a definition is served, as its controller does.
async fn play_controller(stage: &Stage, stored: &'static [&'static str]) {
    use cluster_client::{Collection, WatchEvent, WatchOptions};
    use futures::StreamExt;
    let collection = Collection::all("apiextensions.k8s.io/v1", "customresourcedefinitions");
    let mut changes = stage
        .api
        .watch(&collection, &WatchOptions::default())
        .await
        .unwrap();
    let api = stage.api.clone();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = change else {
                continue;
            };
            if !object.list(&["status", "conditions"]).is_empty() {
                continue;
            }
            let status = json!({"storedVersions": stored, "conditions": [
                {"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}]});
            let patch = Patch::Merge(json!({ "status": status }));
            let _ = api
                .patch(&target().subresource("status"), patch, &WriteOptions::default())
                .await;
        }
    });
}

#[tokio::test]
async fn a_definition_is_made_and_changed_and_stays() {
    let stage = Stage::new().await;
    play_controller(&stage, &["v1"]).await;
    let with = |text: &str| chart(&[CONFIG, ("crds/crater.yaml", text)]);
    install("web", with(&definition(&["v1"], "depth")))
        .run(&stage.cluster)
        .await
        .unwrap();
    let wider = definition(&["v1", "v2"], "depth");
    let mut skipped = upgrade("web", with(&wider));
    skipped.skip_crds = true;
    skipped.run(&stage.cluster).await.unwrap();
    let versions = async || {
        stage
            .api
            .get(&target())
            .await
            .unwrap()
            .list(&["spec", "versions"])
            .len()
    };
    assert_eq!(versions().await, 1);
    upgrade("web", with(&wider)).run(&stage.cluster).await.unwrap();
    assert_eq!(versions().await, 2);
    stage.upgraded(&[CONFIG]).await;
    assert_eq!(versions().await, 2);
}

#[tokio::test]
async fn err_a_stored_version_that_is_taken_away() {
    let stage = Stage::new().await;
    play_controller(&stage, &["v1"]).await;
    let with = |text: &str| chart(&[CONFIG, ("crds/crater.yaml", text)]);
    install("web", with(&definition(&["v1"], "depth")))
        .run(&stage.cluster)
        .await
        .unwrap();
    let error = upgrade("web", with(&definition(&["v2"], "depth")))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert!(matches!(error, ActionError::Definition { .. }));
    let expected = "CustomResourceDefinition \"craters.moon.example\" is not changed: version `v1` is taken away, and \
        objects may be stored in it";
    assert_eq!(error.to_string(), expected);
    assert_eq!(stage.records().await.len(), 1, "nothing is begun");
}

#[tokio::test]
async fn a_first_installation_with_definitions_of_its_own_is_planned() {
    let stage = Stage::new().await;
    let crater = "{{- if .Capabilities.APIVersions.Has \"moon.example/v1\" }}\napiVersion: moon.example/v1\nkind: Crater\n\
        metadata:\n  name: deep\nspec: {depth: much}\n{{- end }}\n";
    let own = chart(&[
        CONFIG,
        ("crds/crater.yaml", &definition(&["v1"], "depth")),
        ("crater.yaml", crater),
    ]);
    let (plan, release) = plan_install(&install("web", own.clone()), &stage.cluster)
        .await
        .unwrap();
    let expected = [
        "create CustomResourceDefinition/craters.moon.example",
        "create ConfigMap/web-config",
        "create Crater/deep",
    ];
    assert_eq!(shown(&plan), expected);
    let mut tried = install("web", own);
    tried.dry_run = DryRun::Server;
    tried.run(&stage.cluster).await.unwrap();
    assert_eq!(stage.told("warning: Crater/deep could not be checked").len(), 1);
    assert!(stage.api.get(&target()).await.is_err(), "nothing is made yet");

    let text = serde_json::to_string(&SavedPlan::new(plan, &release).unwrap()).unwrap();
    let saved = SavedPlan::read(&text).unwrap();
    assert_eq!(saved.plan.definitions.len(), 1, "who carries it out has no chart");
}
