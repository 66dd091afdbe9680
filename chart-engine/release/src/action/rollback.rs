//! Going back to an earlier revision.

use crate::action::claim::{self, Intent};
use crate::action::deploy::{self, DeployOptions, Deployment, DryRun};
use crate::action::rollout::Rollout;
use crate::action::upgrade::{in_force, objects_before};
use crate::action::{ActionError, check_name};
use crate::cluster::Cluster;
use crate::order;
use crate::record::{ApplyMethod, HookEvent, Info, Release, ReleaseStatus, StoredChart};
use crate::storage::Entry;

/// Makes a new revision of what an earlier one was; nothing is rendered anew.
#[derive(Clone, Debug, Default)]
pub struct Rollback {
    /// Name of the release.
    pub name: String,
    /// Revision to go back to; the one before the last where none is named.
    pub revision: Option<u32>,
    /// Try only.
    pub dry_run: DryRun,
    /// Revisions to keep; 0 is no limit.
    pub max_history: u32,
    /// What is said of it instead of `Rollback to N`.
    pub description: Option<String>,
    /// Delete what was added if it fails.
    pub cleanup_on_failure: bool,
    /// How objects are brought to the cluster.
    pub deploy: DeployOptions,
}

impl Rollback {
    /// Rolls back and returns the new revision.
    pub async fn run(&self, cluster: &Cluster) -> Result<Release, ActionError> {
        check_name(&self.name)?;
        if let Some(length) = self.description.as_ref().map(|text| text.chars().count())
            && length > 256
        {
            return Err(ActionError::LongDescription { length });
        }
        let storage = cluster.storage();
        let mut entries = storage.revisions(&self.name).await?;
        if self.dry_run == DryRun::None {
            entries = claim::claim(cluster, entries, Intent::Recover).await?;
        }
        let (Some(last), known) = (entries.last(), revisions(&entries)) else {
            unreachable!("a release that is there has a revision")
        };
        let wanted = self.revision.unwrap_or(last.revision.saturating_sub(1));
        let Some(target) = entries.iter().find(|entry| entry.revision == wanted) else {
            return Err(ActionError::NoRevision {
                name: self.name.clone(),
                revision: wanted,
                known,
            });
        };
        let current = last.decode()?;
        let mut release = self.new_revision(cluster, &current, &target.decode()?);
        let deployment = Deployment {
            cluster,
            options: &self.deploy,
            before: objects_before(cluster, &entries, &in_force_or(&entries, &current)).await?,
            after: deploy::claimed_resources(cluster, &release).await?,
            migrate: current.apply_method != ApplyMethod::Server,
        };
        match self.dry_run {
            DryRun::None => {}
            DryRun::Client => return Ok(release),
            DryRun::Server => {
                deployment.rehearse().await?;
                return Ok(release);
            }
        }
        let order = order::order(
            &deployment.after,
            release.chart.as_ref().and_then(StoredChart::metadata),
        )?;
        let (superseded, _) = in_force(cluster, &entries);
        let rollout = Rollout {
            deployment: &deployment,
            entries: &entries,
            max_history: self.max_history,
            before: HookEvent::PreRollback,
            after: HookEvent::PostRollback,
            success: release.info.description.clone(),
            failure: format!("Rollback \"{}\" failed", self.name),
            // Some of its objects may be changed when it fails: it is no longer what is there.
            restored: superseded.clone(),
            superseded,
            order,
        };
        let outcome = rollout.run(&mut release).await;
        if outcome.is_err() && self.cleanup_on_failure {
            deployment.delete_added().await;
        }
        outcome.map(|()| release)
    }

    fn new_revision(&self, cluster: &Cluster, current: &Release, target: &Release) -> Release {
        let now = cluster.now();
        let description = self
            .description
            .clone()
            .unwrap_or_else(|| format!("Rollback to {}", target.revision));
        Release {
            name: current.name.clone(),
            namespace: current.namespace.clone(),
            revision: current.revision + 1,
            chart: target.chart.clone(),
            config: target.config.clone(),
            manifest: target.manifest.clone(),
            hooks: target.hooks.clone(),
            labels: target.labels.clone(),
            apply_method: ApplyMethod::Server,
            info: Info {
                first_deployed: current.info.first_deployed,
                last_deployed: Some(now),
                status: ReleaseStatus::PendingRollback,
                notes: target.info.notes.clone(),
                rollback_revision: target.revision,
                description,
                ..Info::default()
            },
            ..Release::default()
        }
    }
}

pub(crate) fn revisions(entries: &[Entry]) -> Vec<u32> {
    entries.iter().map(|entry| entry.revision).collect()
}

/// The revision in force; the last one where none is.
fn in_force_or(entries: &[Entry], last: &Release) -> Release {
    let deployed = entries
        .iter()
        .rev()
        .find(|entry| entry.status == ReleaseStatus::Deployed);
    deployed
        .and_then(|entry| entry.decode().ok())
        .unwrap_or_else(|| last.clone())
}
