//! Taking over from who was at work on a release and is gone.

use crate::action::ActionError;
use crate::cluster::Cluster;
use crate::lease::{self, Verdict};
use crate::progress::Event;
use crate::record::ReleaseStatus;
use crate::storage::{Entry, StorageError};

/// What is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To go on from where the release is.
    Change,
    /// To leave where the release is: with Helm, which has no leases, this is how a pending revision is got over.
    Recover,
}

/// Makes sure that nobody else is at work on a release; what a dead holder left is recorded as interrupted.
///
/// Gives the revisions as they are then. Where it does not show at once whether a holder lives, the time is awaited
/// in which a living one renews its lease.
pub(crate) async fn claim(
    cluster: &Cluster,
    entries: Vec<Entry>,
    intent: Intent,
) -> Result<Vec<Entry>, ActionError> {
    let mut entries = entries;
    let mut watched: Option<(u32, jiff::Timestamp)> = None;
    loop {
        let Some(last) = entries.last() else {
            return Ok(entries);
        };
        let lease = last.lease();
        let verdict = lease::judge(
            last.status.is_pending(),
            lease.as_ref(),
            last.written(),
            cluster.presence.as_ref(),
            cluster.clock.now(),
        );
        let seen = lease.as_ref().map(|lease| (last.revision, lease.renewed));
        match verdict {
            Verdict::Free => return Ok(entries),
            Verdict::Busy if intent == Intent::Recover && lease.is_none() => {}
            Verdict::Busy => return Err(in_progress(last)),
            Verdict::Watch(_) if watched.is_some() && watched != seen => return Err(in_progress(last)),
            Verdict::Watch(_) if watched.is_some() => {}
            Verdict::Watch(time) => {
                let holder = lease.map(|lease| lease.holder).unwrap_or_default();
                let text = format!(
                    "revision {} of `{}` is in the hands of {holder}: waiting {} s for a sign of life",
                    last.revision,
                    last.name,
                    time.as_secs()
                );
                cluster.observer.event(Event::Warning(text));
                watched = seen;
                tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    () = cluster.cancel.cancelled() => return Err(in_progress(last)),
                }
                entries = cluster.storage().revisions(&last.name).await?;
                continue;
            }
            Verdict::TakeOver => {}
        }
        interrupt(cluster, last).await?;
        entries = cluster.storage().revisions(&last.name).await?;
        watched = None;
    }
}

/// Records a revision as interrupted; what another did meanwhile is left as it is. Returns whether it was recorded.
pub(crate) async fn interrupt(cluster: &Cluster, entry: &Entry) -> Result<bool, ActionError> {
    let mut release = match entry.decode() {
        Ok(release) => release,
        Err(StorageError::Broken { .. }) if entry.status.is_pending() => {
            // Nothing can be said of it, and it stands in the way of everything.
            cluster.storage().delete(entry).await?;
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    };
    let holder = entry.lease().map_or_else(
        || "who was at work on it".to_owned(),
        |lease| format!("`{}`", lease.holder),
    );
    release.lease = None;
    let text = if entry.status.is_pending() {
        let description = format!("Interrupted: {holder} went away while it was {}", entry.status);
        release.set_status(ReleaseStatus::Failed, description.clone());
        description
    } else {
        let description = format!("Interrupted: {holder} went away after its objects were applied");
        release.info.description.clone_from(&description);
        description
    };
    let written = cluster.storage().update_unchanged(entry, &release).await?;
    if written {
        let text = format!("revision {} of `{}`: {text}", entry.revision, entry.name);
        cluster.observer.event(Event::Warning(text));
    }
    Ok(written)
}

fn in_progress(entry: &Entry) -> ActionError {
    ActionError::InProgress {
        name: entry.name.clone(),
        revision: entry.revision,
        status: entry.status.clone(),
        holder: entry.lease().map(|lease| lease.holder),
    }
}
