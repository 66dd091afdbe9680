//! Who is at work on a release, and what becomes of what a dead one left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chart_release::action::{ActionError, Unlock};
use chart_release::lease::{HOLDER, Lease, Presence};
use chart_release::{Release, ReleaseStatus};
use jiff::Timestamp;

use crate::stage::{CONFIG, Stage, chart, config_map, rollback, uninstall, upgrade};

/// Holders whose name says what is known of them.
struct Names;

impl Presence for Names {
    fn holder(&self) -> String {
        "living me".to_owned()
    }

    fn lives(&self, holder: &str) -> Option<bool> {
        match holder.split(' ').next() {
            Some("living") => Some(true),
            Some("dead") => Some(false),
            _ => None,
        }
    }
}

/// A release with a revision 2 that `holder` is at work on.
async fn pending(status: ReleaseStatus, holder: Option<&str>) -> Stage {
    let mut stage = Stage::new().await;
    stage.cluster.presence = Arc::new(Names);
    stage.installed(&[CONFIG]).await;
    // It had begun to bring an object.
    stage
        .create(serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "begun"}}))
        .await;
    let lease = holder.map(|holder| Lease {
        holder: holder.to_owned(),
        renewed: Timestamp::now(),
    });
    let begun = format!(
        "---\n# Source: parcel/templates/x.yaml\n{}",
        config_map("begun", "")
    );
    stage.leave_begun(status, lease, &begun).await;
    stage
}

#[tokio::test]
async fn what_a_dead_client_left_is_taken_over_at_once() {
    use ReleaseStatus::{Deployed, Failed, PendingUpgrade, Superseded};
    let stage = pending(PendingUpgrade, Some("dead client")).await;
    let release = stage.upgraded(&[CONFIG]).await;
    assert_eq!(release.revision, 3);
    assert_eq!(stage.statuses("web").await, [Superseded, Failed, Deployed]);
    let text = &stage.history("web").await[1].2;
    assert_eq!(
        text,
        "Interrupted: `dead client` went away while it was pending-upgrade"
    );
    assert!(
        stage.config_map("begun").await.is_none(),
        "what it had begun is taken away"
    );
    let record = stage
        .get("v1", "secrets", "sh.helm.release.v1.web.v3")
        .await
        .unwrap();
    assert_eq!(
        record.annotation(HOLDER),
        None,
        "a finished revision carries no lease"
    );
}

#[tokio::test]
async fn err_a_living_client_is_not_disturbed() {
    for status in [ReleaseStatus::PendingUpgrade, ReleaseStatus::Deployed] {
        let stage = pending(status, Some("living client")).await;
        let check = |outcome: Result<Release, ActionError>| match outcome {
            Err(ActionError::InProgress {
                revision: 2, holder, ..
            }) => {
                assert_eq!(holder.as_deref(), Some("living client"));
            }
            other => panic!("{other:?}"),
        };
        check(upgrade("web", chart(&[CONFIG])).run(&stage.cluster).await);
        check(rollback("web", Some(1)).run(&stage.cluster).await);
        let error = uninstall("web").run(&stage.cluster).await.unwrap_err();
        assert!(matches!(error, ActionError::InProgress { .. }));
        assert_eq!(stage.records().await.len(), 2);
    }
}

#[tokio::test]
async fn unlock_frees_what_is_held() {
    let stage = pending(ReleaseStatus::PendingUpgrade, Some("living client")).await;
    let unlock = |force| Unlock {
        name: "web".into(),
        force,
    };
    assert!(matches!(
        unlock(false).run(&stage.cluster).await,
        Err(ActionError::InProgress { .. })
    ));
    let unlocked = unlock(true).run(&stage.cluster).await.unwrap().unwrap();
    assert_eq!(
        (unlocked.revision, unlocked.holder.as_deref()),
        (2, Some("living client"))
    );
    assert_eq!(unlock(false).run(&stage.cluster).await.unwrap(), None);
    stage.upgraded(&[CONFIG]).await;
}

#[tokio::test]
async fn what_helm_left_is_freed_by_unlock_and_by_rollback() {
    for unlock in [true, false] {
        let stage = pending(ReleaseStatus::PendingUpgrade, None).await;
        let error = upgrade("web", chart(&[CONFIG]))
            .run(&stage.cluster)
            .await
            .unwrap_err();
        assert!(matches!(error, ActionError::InProgress { holder: None, .. }));
        if unlock {
            let action = Unlock {
                name: "web".into(),
                force: false,
            };
            assert!(action.run(&stage.cluster).await.unwrap().is_some());
        } else {
            rollback("web", Some(1)).run(&stage.cluster).await.unwrap();
        }
        stage.upgraded(&[CONFIG]).await;
    }
}

#[tokio::test]
async fn of_two_clients_at_once_one_is_told_so() {
    let stage = Stage::new().await;
    stage.installed(&[CONFIG]).await;
    let (done, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let run = async || match upgrade("web", chart(&[CONFIG])).run(&stage.cluster).await {
        Ok(_) => done.fetch_add(1, Ordering::Relaxed),
        Err(error) => {
            let expected = "another operation (install/upgrade/rollback) is in progress";
            assert_eq!(error.to_string(), expected);
            refused.fetch_add(1, Ordering::Relaxed)
        }
    };
    futures::join!(run(), run(), run());
    let deployed = stage.statuses("web").await;
    let deployed = deployed
        .iter()
        .filter(|status| **status == ReleaseStatus::Deployed);
    assert_eq!(deployed.count(), 1);
    assert!(done.into_inner() >= 1);
    stage.upgraded(&[CONFIG]).await;
}

#[tokio::test]
async fn without_transactions_the_same_holds() {
    use ReleaseStatus::{Deployed, Failed, Superseded};
    let mut stage = Stage::new().await;
    stage.cluster.use_transactions = false;
    stage.installed(&[CONFIG]).await;
    stage.upgraded(&[CONFIG]).await;
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\ndata:\n  a: [1]\n";
    let broken = chart(&[CONFIG, ("wrong.yaml", wrong)]);
    upgrade("web", broken).run(&stage.cluster).await.unwrap_err();
    rollback("web", Some(1)).run(&stage.cluster).await.unwrap();
    assert_eq!(
        stage.statuses("web").await,
        [Superseded, Superseded, Failed, Deployed]
    );
    uninstall("web").run(&stage.cluster).await.unwrap();
    assert!(stage.records().await.is_empty());
    assert!(stage.config_map("web-config").await.is_none());
}
