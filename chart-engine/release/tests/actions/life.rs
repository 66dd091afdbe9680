//! A release that goes well, from its first revision to its end.

use std::collections::BTreeMap;

use chart_release::action::{DeployOptions, DryRun, Get, List, WaitStrategy, drift};
use chart_release::values::ReuseValues;
use chart_release::{ApplyMethod, ReleaseStatus};
use serde_json::json;

use crate::stage::{CONFIG, Stage, chart, config_map, install, rollback, uninstall, upgrade, values};

#[tokio::test]
async fn a_release_is_installed_upgraded_rolled_back_and_uninstalled() {
    use ReleaseStatus::{Deployed, Superseded};
    let stage = Stage::new().await;
    let notes = ("NOTES.txt", "Greeting: {{ .Values.greeting }}\n");
    let mut first = install("web", chart(&[CONFIG, notes]));
    first.labels = BTreeMap::from([("team".into(), "desk".into())]);
    let release = first.run(&stage.cluster).await.unwrap();
    assert_eq!(release.info.notes, "Greeting: hello\n");
    assert_eq!(release.info.description, "Install complete");
    assert_eq!(release.apply_method, ApplyMethod::Server);
    let object = stage.config_map("web-config").await.unwrap();
    assert_eq!(object.text(&["data", "greeting"]), Some("hello"));
    assert_eq!(object.label("app.kubernetes.io/managed-by"), Some("Helm"));
    assert_eq!(object.annotation("meta.helm.sh/release-name"), Some("web"));
    assert_eq!(
        object.annotation("meta.helm.sh/release-namespace"),
        Some("default")
    );

    let mut second = upgrade("web", chart(&[CONFIG]));
    second.values = values("greeting: ahoy");
    let release = second.run(&stage.cluster).await.unwrap();
    assert_eq!((release.revision, release.labels["team"].as_str()), (2, "desk"));
    let object = stage.config_map("web-config").await.unwrap();
    assert_eq!(object.text(&["data", "greeting"]), Some("ahoy"));
    assert_eq!(object.text(&["data", "revision"]), Some("2"));
    assert_eq!(stage.statuses("web").await, [Superseded, Deployed]);

    let release = rollback("web", None).run(&stage.cluster).await.unwrap();
    assert_eq!((release.revision, release.info.rollback_revision), (3, 1));
    assert_eq!(release.info.notes, "Greeting: hello\n");
    let object = stage.config_map("web-config").await.unwrap();
    assert_eq!(object.text(&["data", "greeting"]), Some("hello"));
    assert_eq!(stage.statuses("web").await, [Superseded, Superseded, Deployed]);

    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.config_map("web-config").await.is_none());
    assert!(stage.records().await.is_empty());
}

#[tokio::test]
async fn a_workload_goes_back_in_the_way_that_it_asks_for() {
    const WEB: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    tug.dev/rollback-strategy: '{"strategy": {"type": "Recreate"}, "minReadySeconds": 7}'
spec:
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:{{ .Release.Revision }}"}]}
"#;
    let stage = Stage::new().await;
    let how = || DeployOptions {
        wait: WaitStrategy::HooksOnly,
        ..DeployOptions::default()
    };
    let strategy = async || {
        let object = stage.get("apps/v1", "deployments", "web").await.unwrap();
        let kind = object.text(&["spec", "strategy", "type"]).unwrap_or_default();
        (kind.to_owned(), object.integer(&["spec", "minReadySeconds"]))
    };
    let rolling = ("RollingUpdate".to_owned(), None);
    let mut first = install("web", chart(&[("web.yaml", WEB)]));
    first.deploy = how();
    first.run(&stage.cluster).await.unwrap();
    let mut second = upgrade("web", chart(&[("web.yaml", WEB)]));
    second.deploy = how();
    second.run(&stage.cluster).await.unwrap();
    assert_eq!(strategy().await, rolling);

    let mut back = rollback("web", None);
    back.deploy = how();
    let release = back.run(&stage.cluster).await.unwrap();
    assert_eq!(strategy().await, ("Recreate".to_owned(), Some(7)));
    assert!(!drift(&stage.cluster, &release).await.unwrap().has_changes());

    second.run(&stage.cluster).await.unwrap();
    assert_eq!(strategy().await, rolling);
}

#[tokio::test]
async fn what_the_chart_drops_is_deleted_unless_it_asks_to_stay() {
    let stage = Stage::new().await;
    let (gone, kept) = (
        config_map("gone", ""),
        config_map("kept", "helm.sh/resource-policy: keep"),
    );
    let both = chart(&[("gone.yaml", &gone), ("kept.yaml", &kept), CONFIG]);
    install("web", both).run(&stage.cluster).await.unwrap();
    stage.upgraded(&[CONFIG]).await;
    assert!(stage.config_map("gone").await.is_none());
    assert!(stage.config_map("kept").await.is_some());
    assert_eq!(stage.told("deleted"), ["deleted ConfigMap/gone"]);

    stage.upgraded(&[("kept.yaml", &kept), CONFIG]).await;
    let uninstalled = uninstall("web").run(&stage.cluster).await.unwrap();
    assert_eq!(uninstalled.kept, [("ConfigMap".to_owned(), "kept".to_owned())]);
    assert!(stage.config_map("kept").await.is_some());
}

#[tokio::test]
async fn a_kept_history_can_be_taken_over_or_removed() {
    use ReleaseStatus::{Deployed, Superseded, Uninstalled};
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    let mut keep = uninstall("web");
    keep.keep_history = true;
    keep.run(&stage.cluster).await.unwrap();
    assert_eq!(stage.statuses("web").await, [Uninstalled]);
    assert!(
        !upgrade("web", chart(&[CONFIG]))
            .exists(&stage.cluster)
            .await
            .unwrap()
    );

    let mut again = install("web", chart(&[CONFIG]));
    again.replace = true;
    again.run(&stage.cluster).await.unwrap();
    assert_eq!(stage.statuses("web").await, [Superseded, Deployed]);

    keep.run(&stage.cluster).await.unwrap();
    let purged = uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(purged.purged_only);
    assert!(stage.records().await.is_empty());
}

#[tokio::test]
async fn old_values_are_kept_as_asked() {
    let stage = Stage::new().await;
    let mut first = install("web", chart(&[CONFIG]));
    first.values = values("greeting: ahoy\ncolor: red");
    first.run(&stage.cluster).await.unwrap();
    let config = async |reuse, given: &str| {
        let mut action = upgrade("web", chart(&[CONFIG]));
        action.reuse_values = reuse;
        action.values = values(given);
        serde_json::Value::from(action.run(&stage.cluster).await.unwrap().config)
    };
    assert_eq!(
        config(ReuseValues::WhenNoneGiven, "").await,
        json!({"greeting": "ahoy", "color": "red"})
    );
    let united = json!({"greeting": "ahoy", "color": "blue"});
    assert_eq!(config(ReuseValues::Reuse, "color: blue").await, united);
    assert_eq!(config(ReuseValues::ResetThenReuse, "").await, united);
    assert_eq!(config(ReuseValues::Reset, "").await, json!({}));
}

#[tokio::test]
async fn only_so_many_revisions_are_kept() {
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    for _ in 0..4 {
        let mut action = upgrade("web", chart(&[CONFIG]));
        action.max_history = 3;
        action.run(&stage.cluster).await.unwrap();
    }
    let revisions: Vec<u32> = stage.history("web").await.iter().map(|row| row.0).collect();
    assert_eq!(revisions, [3, 4, 5]);
}

#[tokio::test]
async fn a_dry_run_on_the_server_checks_everything_and_changes_nothing() {
    let stage = Stage::new().await;
    let mut action = install("web", chart(&[CONFIG]));
    action.dry_run = DryRun::Server;
    let release = action.run(&stage.cluster).await.unwrap();
    assert_eq!(release.info.description, "Dry run complete");
    assert!(release.manifest.contains("name: web-config"));
    assert_eq!(stage.told("applied"), ["applied ConfigMap/web-config"]);
    assert!(stage.config_map("web-config").await.is_none());
    assert!(stage.records().await.is_empty());

    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\ndata:\n  a: [1]\n";
    action.chart = chart(&[("wrong.yaml", wrong)]);
    let error = action.run(&stage.cluster).await.unwrap_err().to_string();
    assert!(
        error.starts_with("server-side apply failed for object default/wrong v1, Kind=ConfigMap: "),
        "{error}"
    );
}

#[tokio::test]
async fn templates_can_look_into_the_cluster() {
    let stage = Stage::new().await;
    stage
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}, "data": {"a": "1"}}))
        .await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: seen\ndata:\n  \
        found: {{ (lookup \"v1\" \"ConfigMap\" \"default\" \"there\").data.a | quote }}\n  \
        missing: {{ lookup \"v1\" \"ConfigMap\" \"default\" \"nowhere\" | len | quote }}\n  \
        listed: {{ (lookup \"v1\" \"ConfigMap\" \"default\" \"\").items | len | quote }}\n  \
        served: {{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" | quote }}\n";
    stage.installed(&[("seen.yaml", text)]).await;
    let seen = stage.config_map("seen").await.unwrap();
    let data = seen.at(&["data"]).unwrap();
    let listed = data["listed"].as_str().unwrap().parse::<u32>().unwrap();
    assert_eq!(
        (&data["found"], &data["missing"], &data["served"]),
        (&json!("1"), &json!("0"), &json!("true"))
    );
    assert!(listed >= 1);
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let stage = Stage::new().await;
    for name in ["pear", "apple", "plum"] {
        install(name, chart(&[CONFIG])).run(&stage.cluster).await.unwrap();
    }
    upgrade("apple", chart(&[CONFIG]))
        .run(&stage.cluster)
        .await
        .unwrap();
    let names = async |list: List| {
        let releases = list.run(&stage.cluster).await.unwrap();
        let names: Vec<String> = releases
            .iter()
            .map(|release| format!("{}.{}", release.name, release.revision))
            .collect();
        names.join(" ")
    };
    assert_eq!(names(List::default()).await, "apple.2 pear.1 plum.1");
    let filter = regex::Regex::new("^p").unwrap();
    assert_eq!(
        names(List {
            filter: Some(filter),
            reverse: true,
            ..List::default()
        })
        .await,
        "plum.1 pear.1"
    );
    assert_eq!(
        names(List {
            limit: 1,
            offset: 1,
            ..List::default()
        })
        .await,
        "pear.1"
    );
    let by_date = List {
        by_date: true,
        reverse: true,
        limit: 1,
        ..List::default()
    };
    assert_eq!(names(by_date).await, "apple.2");
    let superseded = List {
        statuses: vec![ReleaseStatus::Superseded],
        ..List::default()
    };
    assert_eq!(names(superseded).await, "apple.1");
    let everywhere = List {
        all_namespaces: true,
        ..List::default()
    };
    assert_eq!(names(everywhere).await, "apple.2 pear.1 plum.1");
}

#[tokio::test]
async fn a_release_of_helm_3_is_taken_on() {
    let stage = Stage::new().await;
    stage
        .create(serde_json::from_str(include_str!("../records/helm3.json")).unwrap())
        .await;
    let get = Get {
        name: "parcel3".into(),
        revision: None,
    };
    assert_eq!(
        get.run(&stage.cluster).await.unwrap().apply_method,
        ApplyMethod::Unset
    );
    // What Helm 3 left: an object of its own, written by the client.
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "parcel3-config", "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "parcel3", "meta.helm.sh/release-namespace": "default"}},
        "data": {"greeting": "hello", "count": "3"}});
    let collection = cluster_client::Collection::namespaced("v1", "configmaps", "default");
    let by_helm = cluster_client::WriteOptions {
        field_manager: "helm".into(),
        ..cluster_client::WriteOptions::default()
    };
    let object = cluster_objects::Object::from_value(object).unwrap();
    stage.api.create(&collection, object, &by_helm).await.unwrap();

    let release = upgrade("parcel3", chart(&[CONFIG]))
        .run(&stage.cluster)
        .await
        .unwrap();
    assert_eq!((release.revision, release.apply_method), (2, ApplyMethod::Server));
    let object = stage.config_map("parcel3-config").await.unwrap();
    // The new chart has no `count`: it went although the client had written it.
    assert_eq!(
        object.at(&["data"]),
        Some(&json!({"greeting": "hello", "revision": "2"}))
    );
}
