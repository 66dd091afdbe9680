//! Going back to an earlier revision.

use crate::action::deploy::{self, DeployOptions, Deployment, DryRun};
use crate::action::{ActionError, check_name};
use crate::cluster::Cluster;
use crate::progress::Event;
use crate::record::{ApplyMethod, HookEvent, Info, Release, ReleaseStatus};
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
        let entries = storage.revisions(&self.name).await?;
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
        let mut current = last.decode()?;
        let mut release = self.new_revision(cluster, &current, &target.decode()?);
        let deployment = Deployment {
            cluster,
            options: &self.deploy,
            before: deploy::old_resources(cluster, &current).await?,
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
        storage.prune(&entries, self.max_history).await?;
        storage.create(&release).await?;
        let outcome = deployment
            .carry_out(&mut release, &HookEvent::PreRollback, &HookEvent::PostRollback)
            .await;
        match outcome {
            Ok(()) => {
                supersede_deployed(cluster, &entries).await?;
                release.info.status = ReleaseStatus::Deployed;
                storage.update(&release).await?;
                Ok(release)
            }
            Err(error) => {
                if self.cleanup_on_failure {
                    deployment.delete_added().await;
                }
                if current.info.status == ReleaseStatus::Deployed {
                    // Some of its objects may be changed: it is no longer what is there.
                    current.info.status = ReleaseStatus::Superseded;
                    storage.update(&current).await?;
                }
                let description = format!("Rollback \"{}\" failed: {error}", self.name);
                release.set_status(ReleaseStatus::Failed, description);
                storage.update(&release).await?;
                Err(error)
            }
        }
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

/// Marks the revisions that were in force as superseded; a broken record is told and left as it is.
pub(crate) async fn supersede_deployed(cluster: &Cluster, entries: &[Entry]) -> Result<(), ActionError> {
    for entry in entries
        .iter()
        .filter(|entry| entry.status == ReleaseStatus::Deployed)
    {
        match entry.decode() {
            Ok(mut release) => {
                release.info.status = ReleaseStatus::Superseded;
                cluster.storage().update(&release).await?;
            }
            Err(error) => cluster.observer.event(Event::Warning(error.to_string())),
        }
    }
    Ok(())
}
