//! Who is at work on a revision, and until when others believe it.
//!
//! A revision that is being made carries a lease in annotations of its Secret, which Helm does not read. Its holder
//! renews it; when it is not renewed any more, or its holder is known to be gone, whoever comes next takes over and
//! records the revision as interrupted.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Patch, Target, WriteOptions};
use cluster_objects::Object;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::FIELD_MANAGER;
use crate::cluster::Cluster;

/// Annotation that says who is at work.
pub const HOLDER: &str = "tug.dev/lease-holder";
/// Annotation that says when the lease was last renewed.
pub const RENEWED: &str = "tug.dev/lease-renewed";

/// How long a lease holds without being renewed.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(5);
/// After this time without renewal a lease is over even where clocks disagree; before, the next renewal is awaited.
const SURELY_OVER: SignedDuration = SignedDuration::from_mins(2);
/// After this time a pending revision without a lease, as a killed `helm` leaves it, has nobody at work on it: twice
/// the time that Helm waits by default.
pub const STALE: SignedDuration = SignedDuration::from_mins(10);

/// A lease as a record carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who is at work.
    pub holder: String,
    /// When that was last said.
    pub renewed: Timestamp,
}

/// Who holds leases here, and what is known of other holders.
pub trait Presence: Send + Sync {
    /// The name of this holder: no other process may ever have the same.
    fn holder(&self) -> String;

    /// Whether another holder lives; `None` where that cannot be known from here.
    fn lives(&self, holder: &str) -> Option<bool>;
}

/// A holder of which nothing is known.
#[derive(Clone, Debug)]
pub struct Nobody;

impl Presence for Nobody {
    fn holder(&self) -> String {
        "unnamed".to_owned()
    }

    fn lives(&self, _holder: &str) -> Option<bool> {
        None
    }
}

/// What to do about a revision that somebody is, or was, at work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody is.
    Free,
    /// Somebody is.
    Busy,
    /// Somebody was: go on in their place.
    TakeOver,
    /// Whether somebody is shows in this time: a living holder renews.
    Watch(Duration),
}

/// Judges a revision by its lease.
///
/// `written` is when a record without a lease was last written.
pub(crate) fn judge(
    pending: bool,
    lease: Option<&Lease>,
    written: Option<Timestamp>,
    presence: &dyn Presence,
    now: Timestamp,
) -> Verdict {
    let Some(lease) = lease else {
        return match written {
            _ if !pending => Verdict::Free,
            // A record without a time is none of Helm's that is being written.
            None => Verdict::TakeOver,
            Some(written) if now.duration_since(written) > STALE => Verdict::TakeOver,
            Some(_) => Verdict::Busy,
        };
    };
    match presence.lives(&lease.holder) {
        Some(true) => Verdict::Busy,
        Some(false) => Verdict::TakeOver,
        None if now.duration_since(lease.renewed) > SURELY_OVER => Verdict::TakeOver,
        None => Verdict::Watch(LEASE),
    }
}

impl Lease {
    /// Reads the lease of a record's Secret.
    pub(crate) fn of(secret: &Object) -> Option<Self> {
        Some(Self {
            holder: secret.annotation(HOLDER)?.to_owned(),
            renewed: secret
                .annotation(RENEWED)
                .and_then(|text| text.parse().ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// Writes the lease on a record's Secret.
    pub(crate) fn write(&self, secret: &mut Object) {
        secret.set(&["metadata", "annotations", HOLDER], self.holder.as_str());
        secret.set(&["metadata", "annotations", RENEWED], self.renewed.to_string());
    }
}

/// Renews a lease until it is stopped. The action is cancelled when somebody took over.
pub(crate) struct Heartbeat {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Heartbeat {
    pub(crate) fn start(cluster: &Cluster, secret: &str, namespace: &str, holder: &str) -> Self {
        let stop = CancellationToken::new();
        let target = Target::namespaced("v1", "secrets", namespace, secret);
        let task = tokio::spawn(beat(cluster.clone(), target, holder.to_owned(), stop.clone()));
        Self { stop, task }
    }

    /// Stops, and returns when no renewal is on the way any more.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // It ends by itself; that it could have panicked is no matter of the action.
        let _ = self.task.await;
    }
}

async fn beat(cluster: Cluster, target: Target, holder: String, stop: CancellationToken) {
    let pointer = |annotation: &str| format!("/metadata/annotations/{}", annotation.replace('/', "~1"));
    let options = WriteOptions {
        field_manager: FIELD_MANAGER.to_owned(),
        ..WriteOptions::default()
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RENEWAL) => {}
        }
        let renewal = json!([
            {"op": "test", "path": pointer(HOLDER), "value": holder},
            {"op": "add", "path": pointer(RENEWED), "value": cluster.clock.now().to_string()},
        ]);
        match cluster.api.patch(&target, Patch::Json(renewal), &options).await {
            Ok(_) => {}
            // The record is gone, or says another holder.
            Err(status) if matches!(status.code, 404 | 422) => return cluster.cancel.cancel(),
            // The cluster may answer again before the lease is over.
            Err(status) => tracing::debug!(%status, "a lease was not renewed"),
        }
    }
}

/// Makes the lease of this process.
pub(crate) fn take(cluster: &Cluster) -> Lease {
    Lease {
        holder: cluster.presence.holder(),
        renewed: cluster.clock.now(),
    }
}

/// A presence for clusters that were made without one.
pub(crate) fn nobody() -> Arc<dyn Presence> {
    Arc::new(Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known(Option<bool>);

    impl Presence for Known {
        fn holder(&self) -> String {
            "me".to_owned()
        }

        fn lives(&self, _: &str) -> Option<bool> {
            self.0
        }
    }

    const NOW: &str = "2026-01-01T12:00:00Z";

    #[track_caller]
    fn check(
        pending: bool,
        lease: Option<&str>,
        written: Option<&str>,
        lives: Option<bool>,
        expected: &Verdict,
    ) {
        let lease = lease.map(|renewed| Lease {
            holder: "other".to_owned(),
            renewed: renewed.parse().unwrap(),
        });
        let written = written.map(|written| written.parse().unwrap());
        let verdict = judge(
            pending,
            lease.as_ref(),
            written,
            &Known(lives),
            NOW.parse().unwrap(),
        );
        assert_eq!(&verdict, expected);
    }

    #[test]
    fn a_lease_holds_while_its_holder_may_live() {
        let (fresh, old) = ("2026-01-01T11:59:58Z", "2026-01-01T11:50:00Z");
        check(false, None, Some(fresh), None, &Verdict::Free);
        check(true, Some(fresh), None, Some(true), &Verdict::Busy);
        // Its clock may be wrong.
        check(true, Some(old), None, Some(true), &Verdict::Busy);
        check(true, Some(fresh), None, Some(false), &Verdict::TakeOver);
        check(false, Some(fresh), None, Some(false), &Verdict::TakeOver);
        check(true, Some(fresh), None, None, &Verdict::Watch(LEASE));
        check(true, Some(old), None, None, &Verdict::TakeOver);
    }

    #[test]
    fn what_helm_left_pending_is_taken_over_when_it_is_old() {
        check(true, None, Some("2026-01-01T11:55:00Z"), None, &Verdict::Busy);
        check(true, None, Some("2026-01-01T11:49:00Z"), None, &Verdict::TakeOver);
        check(true, None, None, None, &Verdict::TakeOver);
    }
}
