//! What goes wrong: one clear error, and a release from which the next command works.

use chart_release::ReleaseStatus;
use chart_release::action::ActionError;
use cluster_client::{Patch, Target, WriteOptions};
use serde_json::json;

use crate::stage::{CONFIG, Stage, chart, config_map, install, rollback, uninstall, upgrade, values};

#[tokio::test]
async fn err_a_name_that_is_taken() {
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    let error = install("web", chart(&[CONFIG]))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot reuse a name that is still in use");
    let mut replace = install("web", chart(&[CONFIG]));
    replace.replace = true;
    let error = replace.run(&stage.cluster).await.unwrap_err();
    assert!(matches!(error, ActionError::NameInUse { .. }));
}

#[tokio::test]
async fn err_a_release_or_revision_that_is_not_there() {
    let stage = Stage::new().await;
    let missing = uninstall("web").run(&stage.cluster).await.unwrap_err();
    assert_eq!(missing.to_string(), "release: not found");
    let mut ignored = uninstall("web");
    ignored.ignore_not_found = true;
    assert!(ignored.run(&stage.cluster).await.unwrap().release.is_none());
    let missing = upgrade("web", chart(&[CONFIG]))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert_eq!(missing.to_string(), "\"web\" has no deployed releases");
    stage.installed(&[CONFIG]).await;
    let missing = rollback("web", Some(7)).run(&stage.cluster).await.unwrap_err();
    assert_eq!(missing.to_string(), "release has no 7 version");
    assert_eq!(stage.statuses("web").await, [ReleaseStatus::Deployed]);
}

#[tokio::test]
async fn err_an_object_that_is_a_strangers() {
    let stage = Stage::new().await;
    stage
        .create(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web-config"}, "data": {}}),
        )
        .await;
    let error = install("web", chart(&[CONFIG]))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    let expected = "unable to continue with install: ConfigMap \"web-config\" in namespace \"default\" exists and \
        cannot be imported into the current release: invalid ownership metadata; label validation error: missing key \
        \"app.kubernetes.io/managed-by\": must be set to \"Helm\"";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(stage.records().await.is_empty());

    let mut take = install("web", chart(&[CONFIG]));
    take.deploy.take_ownership = true;
    take.run(&stage.cluster).await.unwrap();
}

#[tokio::test]
async fn err_a_kind_that_is_not_served() {
    let stage = Stage::new().await;
    let crater = "apiVersion: moon/v1\nkind: Crater\nmetadata:\n  name: deep\n";
    let error = install("web", chart(&[("crater.yaml", crater)]))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    let expected = "unable to build kubernetes objects from release manifest: resource mapping not found for name: \
        \"deep\" namespace: \"\" from \"parcel/templates/crater.yaml\": no matches for kind \"Crater\" in version \
        \"moon/v1\"\nensure CRDs are installed first";
    assert_eq!(error.to_string(), expected);
    assert!(stage.records().await.is_empty());
}

#[tokio::test]
async fn err_a_refused_object_leaves_a_failed_release_that_the_next_upgrade_mends() {
    use ReleaseStatus::{Deployed, Failed, Superseded};
    let stage = Stage::new().await;
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\ndata:\n  a: [1]\n";
    let broken = chart(&[CONFIG, ("wrong.yaml", wrong)]);
    let error = install("web", broken.clone())
        .run(&stage.cluster)
        .await
        .unwrap_err();
    let history = stage.history("web").await;
    assert_eq!(history[0].1, Failed);
    assert_eq!(history[0].2, format!("Release \"web\" failed: {error}"));

    stage.upgraded(&[CONFIG]).await;
    assert_eq!(stage.statuses("web").await, [Failed, Deployed]);

    upgrade("web", broken.clone())
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert_eq!(stage.statuses("web").await, [Failed, Deployed, Failed]);
    rollback("web", Some(2)).run(&stage.cluster).await.unwrap();
    assert_eq!(
        stage.statuses("web").await,
        [Failed, Superseded, Failed, Deployed]
    );
    uninstall("web").run(&stage.cluster).await.unwrap();
}

#[tokio::test]
async fn a_failed_action_is_undone_when_asked() {
    use ReleaseStatus::{Deployed, Failed, Superseded};
    let stage = Stage::new().await;
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\ndata:\n  a: [1]\n";
    let mut broken = install("web", chart(&[CONFIG, ("wrong.yaml", wrong)]));
    broken.rollback_on_failure = true;
    let error = broken.run(&stage.cluster).await.unwrap_err().to_string();
    let expected = "release web failed, and has been uninstalled due to rollback-on-failure being set: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(stage.records().await.is_empty());
    assert!(stage.config_map("web-config").await.is_none());

    stage.installed(&[CONFIG]).await;
    let added = config_map("added", "");
    let mut broken = upgrade(
        "web",
        chart(&[CONFIG, ("added.yaml", &added), ("wrong.yaml", wrong)]),
    );
    broken.rollback_on_failure = true;
    broken.cleanup_on_failure = true;
    let error = broken.run(&stage.cluster).await.unwrap_err().to_string();
    let expected = "release web failed, and has been rolled back due to rollback-on-failure being set: ";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(stage.statuses("web").await, [Superseded, Failed, Deployed]);
    let object = stage.config_map("web-config").await.unwrap();
    assert_eq!(object.text(&["data", "revision"]), Some("1"));
    assert!(stage.config_map("added").await.is_none());
}

#[tokio::test]
async fn err_a_namespace_that_is_not_there_unless_it_is_made() {
    let mut stage = Stage::new().await;
    stage.cluster.namespace = "shop".into();
    let mut action = install("web", chart(&[CONFIG]));
    let error = action.run(&stage.cluster).await.unwrap_err();
    let ActionError::Storage(chart_release::StorageError::Api { source, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(source.message, "namespaces \"shop\" not found");
    action.create_namespace = true;
    action.namespace_labels = [("team".to_owned(), "desk".to_owned())].into();
    action.run(&stage.cluster).await.unwrap();
    let namespace = stage
        .api
        .get(&Target::cluster_wide("v1", "namespaces", "shop"))
        .await
        .unwrap();
    assert_eq!(namespace.label("name"), Some("shop"));
    assert_eq!(namespace.label("team"), Some("desk"));
}

/// Breaks the record of a revision.
async fn break_record(stage: &Stage, revision: u32) {
    let name = format!("sh.helm.release.v1.web.v{revision}");
    let target = Target::namespaced("v1", "secrets", "default", &name);
    let patch = Patch::Merge(json!({"data": {"release": "bm90aGluZw=="}}));
    stage
        .api
        .patch(&target, patch, &WriteOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn err_a_broken_record_is_named_and_does_not_stop_what_follows() {
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    break_record(&stage, 1).await;
    let error = upgrade("web", chart(&[CONFIG]))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record `default/sh.helm.release.v1.web.v1` is broken"
    );
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.records().await.is_empty());
    assert!(
        stage.config_map("web-config").await.is_some(),
        "nobody knows that it was the release's"
    );

    let mut take = install("web", chart(&[CONFIG]));
    take.deploy.take_ownership = true;
    take.run(&stage.cluster).await.unwrap();
    stage.upgraded(&[CONFIG]).await;
    break_record(&stage, 2).await;
    // The record before it is as good.
    stage.upgraded(&[CONFIG]).await;
    assert_ne!(
        stage.told("warning: the record `default/sh.helm.release.v1.web.v2` is broken"),
        [""; 0]
    );
    break_record(&stage, 3).await;
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.records().await.is_empty());
    assert!(stage.config_map("web-config").await.is_none());
}

#[tokio::test]
async fn a_kind_that_the_cluster_no_longer_serves_is_told_and_passed_over() {
    use ReleaseStatus::{Deployed, Superseded};
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    // As if the cluster had served it when the revision was made.
    let storage = stage.cluster.storage();
    let mut release = storage.get("web", None).await.unwrap();
    release.manifest += "---\napiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: old\n";
    storage.update(&release).await.unwrap();
    let told = "warning: PodSecurityPolicy/old of revision 1 is left alone: the cluster no longer serves";
    stage.upgraded(&[CONFIG]).await;
    assert_eq!(stage.told(told).len(), 1);
    assert_eq!(stage.statuses("web").await, [Superseded, Deployed]);

    let mut release = storage.get("web", None).await.unwrap();
    release.manifest += "---\napiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: old\n";
    storage.update(&release).await.unwrap();
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.records().await.is_empty() && stage.config_map("web-config").await.is_none());
}

/// Text that packing does not make smaller, for YAML in double quotes and for templates.
fn noise(bytes: usize) -> String {
    let mut seed = 7_u64;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + (seed >> 33) as u8 % 90)
    };
    (0..bytes)
        .map(|_| letter())
        .filter(|c| !matches!(c, '{' | '}' | '"' | '\\'))
        .collect()
}

#[tokio::test]
async fn a_record_that_is_too_big_for_one_secret_is_kept_in_several() {
    for transactions in [true, false] {
        let mut stage = Stage::new().await;
        stage.cluster.use_transactions = transactions;
        let file = noise(1_500_000);
        let big = noise(1_000_000);
        let maps = ["a", "b"].map(|name| {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: \"{big}\"\n")
        });
        let stray = ("files/stray.txt", file.as_str());
        stage.installed(&[CONFIG, stray]).await;
        // Objects that do not fit beside each other.
        stage
            .upgraded(&[CONFIG, ("a.yaml", &maps[0]), ("b.yaml", &maps[1])])
            .await;
        stage.upgraded(&[CONFIG, stray]).await;
        assert_eq!(stage.config_map("a").await, None);

        let storage = stage.cluster.storage();
        let first = storage.get("web", Some(1)).await.unwrap();
        assert_eq!(first.info.status, ReleaseStatus::Superseded);
        let kept = first.chart.unwrap().0["files"][0]["data"].as_str().unwrap().len();
        assert!(kept >= file.len(), "{kept}");
        let second = storage.get("web", Some(2)).await.unwrap();
        assert!(second.manifest.matches(&big[..100]).count() == 2);
        // Helm reads what has its manifest, and must not take for whole what has not.
        let record = async |revision: u32| {
            let name = format!("sh.helm.release.v1.web.v{revision}");
            stage.get("v1", "secrets", &name).await.unwrap()
        };
        assert!(record(1).await.text(&["data", "release"]).is_some());
        assert!(record(2).await.text(&["data", "release"]).is_none());

        rollback("web", Some(2)).run(&stage.cluster).await.unwrap();
        assert!(stage.config_map("a").await.is_some());
        let chunk = stage.records().await;
        let chunk = chunk
            .iter()
            .find(|name| name.starts_with("sh.helm.release.v1.web.v4."));
        let target = Target::namespaced("v1", "secrets", "default", chunk.unwrap());
        let options = cluster_client::DeleteOptions::default();
        stage.api.delete(&target, &options).await.unwrap();
        let error = storage.get("web", Some(4)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the record `default/sh.helm.release.v1.web.v4` is broken"
        );
        stage.upgraded(&[CONFIG]).await;
        uninstall("web").run(&stage.cluster).await.unwrap();
        assert_eq!(stage.records().await, [""; 0], "no part of a record is left");
    }
}

#[tokio::test]
async fn err_values_that_no_secret_holds() {
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    let mut second = upgrade("web", chart(&[CONFIG]));
    second.values = values(&format!("text: \"{}\"", noise(1_500_000)));
    let error = second.run(&stage.cluster).await.unwrap_err();
    assert!(
        error.to_string().contains("and a Secret holds 1048576"),
        "{error}"
    );
    second.values = values("greeting: again");
    second.run(&stage.cluster).await.unwrap();
}
