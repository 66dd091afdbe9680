//! Objects that are run at events.

use chart_release::action::Test;
use chart_release::{HookPhase, ReleaseStatus};
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::stage::{CONFIG, LIMIT, Stage, chart, install, rollback, uninstall, upgrade};

/// A Job that is run at events; `fail` in its name makes it fail.
fn hook(name: &str, events: &str, weight: i32, policy: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {events}\n    \
         helm.sh/hook-weight: \"{weight}\"\n    helm.sh/hook-delete-policy: {policy}\nspec:\n  template:\n    \
         spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n        image: example\n"
    )
}

/// Ends every Job at once, those with `fail` in their names badly.
fn end_jobs(job: &Object) -> Option<Value> {
    let kind = if job.name().contains("fail") {
        "Failed"
    } else {
        "Complete"
    };
    Some(
        json!({ "conditions": [{"type": kind, "status": "True", "reason": "Told"}], "startTime": "2026-01-01T00:00:00Z" }),
    )
}

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.play_controller("batch/v1", "jobs", end_jobs).await;
    stage
}

#[tokio::test]
async fn hooks_run_at_their_events_by_weight() {
    let stage = stage().await;
    let hooks = [
        hook("late", "pre-install", 5, "before-hook-creation"),
        hook("early", "pre-install,post-upgrade", -5, "before-hook-creation"),
        hook("after", "post-install", 0, "hook-succeeded"),
        hook("back", "pre-rollback", 0, "before-hook-creation"),
        hook("end", "pre-delete,post-delete", 0, "before-hook-creation"),
    ];
    let names = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml"];
    let mut templates: Vec<(&str, &str)> = names.into_iter().zip(hooks.iter().map(String::as_str)).collect();
    templates.push(CONFIG);
    let release = stage.installed(&templates).await;
    let run: Vec<String> = ["pre-", "post-"]
        .iter()
        .flat_map(|prefix| stage.told(prefix))
        .collect();
    assert_eq!(
        run,
        [
            "pre-install: Job/early",
            "pre-install: Job/late",
            "post-install: Job/after"
        ]
    );
    let early = release.hooks.iter().find(|hook| hook.name == "early").unwrap();
    assert_eq!(early.last_run.phase, HookPhase::Succeeded);
    assert!(early.last_run.started_at.is_some() && early.last_run.completed_at.is_some());
    assert!(stage.get("batch/v1", "jobs", "early").await.is_some());
    assert!(stage.get("batch/v1", "jobs", "after").await.is_none());
    // Hooks are no objects of the release.
    assert!(!release.manifest.contains("kind: Job"));

    stage.upgraded(&templates).await;
    assert_eq!(stage.told("post-upgrade"), ["post-upgrade: Job/early"]);
    rollback("web", None).run(&stage.cluster).await.unwrap();
    assert_eq!(stage.told("pre-rollback"), ["pre-rollback: Job/back"]);
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert_eq!(
        stage.told("pre-delete").len() + stage.told("post-delete").len(),
        2
    );
}

#[tokio::test]
async fn err_a_failed_hook_fails_the_release_and_the_next_one_works() {
    use ReleaseStatus::{Deployed, Failed};
    let stage = stage().await;
    let fails = hook("fails", "pre-install,pre-upgrade", 1, "hook-failed");
    let before = hook("before", "pre-install", 0, "hook-succeeded");
    let templates = [("fails.yaml", fails.as_str()), ("before.yaml", &before), CONFIG];
    let error = install("web", chart(&templates))
        .run(&stage.cluster)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed pre-install: Job/fails: Job/fails failed: Told"
    );
    assert!(stage.config_map("web-config").await.is_none());
    // Both went, each by its own policy.
    assert!(stage.get("batch/v1", "jobs", "fails").await.is_none());
    assert!(stage.get("batch/v1", "jobs", "before").await.is_none());
    let mut without = upgrade("web", chart(&templates));
    without.deploy.no_hooks = true;
    without.run(&stage.cluster).await.unwrap();
    assert_eq!(stage.statuses("web").await, [Failed, Deployed]);
}

#[tokio::test]
async fn a_failed_rollback_hook_leaves_nothing_pending() {
    use ReleaseStatus::{Deployed, Failed, Superseded};
    let stage = stage().await;
    let fails = hook("fails", "pre-rollback", 0, "before-hook-creation");
    let templates = [("fails.yaml", fails.as_str()), CONFIG];
    stage.installed(&templates).await;
    stage.upgraded(&[CONFIG]).await;
    rollback("web", Some(1)).run(&stage.cluster).await.unwrap_err();
    assert_eq!(stage.statuses("web").await, [Superseded, Superseded, Failed]);
    stage.upgraded(&[CONFIG]).await;
    assert_eq!(
        stage.statuses("web").await,
        [Superseded, Superseded, Failed, Deployed]
    );
}

#[tokio::test]
async fn tests_are_run_and_noted() {
    let stage = stage().await;
    let passes = hook("passes", "test", 0, "before-hook-creation");
    let fails = hook("fails", "test", 1, "before-hook-creation");
    let templates = [("passes.yaml", passes.as_str()), ("fails.yaml", &fails), CONFIG];
    stage.installed(&templates).await;
    let mut action = Test {
        name: "web".into(),
        timeout: LIMIT,
        exclude: vec!["fails".into()],
        ..Test::default()
    };
    let (release, failure) = action.run(&stage.cluster).await.unwrap();
    assert!(failure.is_none());
    let phase = |name: &str| {
        let hook = release.hooks.iter().find(|hook| hook.name == name).unwrap();
        hook.last_run.phase.clone()
    };
    assert_eq!(
        (phase("passes"), phase("fails")),
        (HookPhase::Succeeded, HookPhase::NotRun)
    );
    action.exclude = Vec::new();
    let (_, failure) = action.run(&stage.cluster).await.unwrap();
    assert_eq!(
        failure.unwrap().to_string(),
        "failed test: Job/fails: Job/fails failed: Told"
    );
    let recorded = stage.cluster.storage().get("web", None).await.unwrap();
    assert_eq!(recorded.info.status, ReleaseStatus::Deployed);
    let failed = recorded.hooks.iter().find(|hook| hook.name == "fails").unwrap();
    assert_eq!(failed.last_run.phase, HookPhase::Failed);
}

#[tokio::test]
async fn what_is_left_of_hooks_goes_with_the_release() {
    let stage = stage().await;
    let (run, not_run) = (
        hook("run", "pre-install", 0, "before-hook-creation"),
        hook("not-run", "pre-rollback", 0, "before-hook-creation"),
    );
    let hooks = chart(&[("a.yaml", &run), ("b.yaml", &not_run), CONFIG]);
    install("web", hooks).run(&stage.cluster).await.unwrap();
    // A stranger has the name of a hook that never ran.
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "not-run"}, "spec": {"template":
        {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example"}]}}}});
    stage.create(job).await;
    assert!(stage.get("batch/v1", "jobs", "run").await.is_some());
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.get("batch/v1", "jobs", "run").await.is_none());
    assert!(stage.get("batch/v1", "jobs", "not-run").await.is_some());
}
