//! Freeing a release from who was at work on it.

use crate::action::claim::interrupt;
use crate::action::{ActionError, check_name};
use crate::cluster::Cluster;

/// Records the revision that somebody is at work on as interrupted, whatever its lease says.
#[derive(Clone, Debug, Default)]
pub struct Unlock {
    /// Name of the release.
    pub name: String,
    /// Even if its holder is known to live.
    pub force: bool,
}

/// What was unlocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlocked {
    /// The revision.
    pub revision: u32,
    /// Who was at work on it, where that is known.
    pub holder: Option<String>,
}

impl Unlock {
    /// Unlocks; `None` where nobody is at work on the release.
    pub async fn run(&self, cluster: &Cluster) -> Result<Option<Unlocked>, ActionError> {
        check_name(&self.name)?;
        let entries = cluster.storage().revisions(&self.name).await?;
        let Some(last) = entries.last() else {
            return Ok(None);
        };
        let holder = last.lease().map(|lease| lease.holder);
        if !last.status.is_pending() && holder.is_none() {
            return Ok(None);
        }
        let lives = holder
            .as_deref()
            .and_then(|holder| cluster.presence.lives(holder));
        if lives == Some(true) && !self.force {
            return Err(ActionError::InProgress {
                name: self.name.clone(),
                revision: last.revision,
                status: last.status.clone(),
                holder,
            });
        }
        let written = interrupt(cluster, last).await?;
        Ok(written.then_some(Unlocked {
            revision: last.revision,
            holder,
        }))
    }
}
