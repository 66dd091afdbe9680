//! Upgrading a release.

use std::collections::BTreeMap;

use chart_model::{Chart, ChartKind};
use chart_values::Map;

use crate::action::deploy::{self, DeployOptions, Deployment, DryRun};
use crate::action::rollback::{Rollback, supersede_deployed};
use crate::action::{ActionError, check_labels, check_name};
use crate::cluster::Cluster;
use crate::progress::Event;
use crate::record::{ApplyMethod, HookEvent, Info, Release, ReleaseStatus};
use crate::render::{self, RenderOptions, Revision};
use crate::storage::{Entry, StorageError};
use crate::values::{self, Planned, ReuseValues};
use crate::{json, resource};

/// Makes a new revision of a release from a chart.
#[derive(Clone, Debug, Default)]
pub struct Upgrade {
    /// Name of the release.
    pub name: String,
    /// The chart, as loaded.
    pub chart: Chart,
    /// Values of the user.
    pub values: Map,
    /// What happens to the values of the revision before.
    pub reuse_values: ReuseValues,
    /// What is said of it instead of `Upgrade complete`.
    pub description: Option<String>,
    /// Labels of the record, over those of the revision before; `None` removes one.
    pub labels: BTreeMap<String, Option<String>>,
    /// Try only.
    pub dry_run: DryRun,
    /// Revisions to keep; 0 is no limit.
    pub max_history: u32,
    /// Delete what was added if it fails.
    pub cleanup_on_failure: bool,
    /// Roll back if it fails.
    pub rollback_on_failure: bool,
    /// How the chart is rendered.
    pub render: RenderOptions,
    /// How objects are brought to the cluster.
    pub deploy: DeployOptions,
}

impl Upgrade {
    /// Whether there is a release to upgrade; one that was uninstalled with its history kept is none.
    pub async fn exists(&self, cluster: &Cluster) -> Result<bool, ActionError> {
        check_name(&self.name)?;
        match cluster.storage().revisions(&self.name).await {
            Ok(entries) => Ok(entries
                .last()
                .is_some_and(|last| last.status != ReleaseStatus::Uninstalled)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Upgrades and returns the new revision; a failed one is recorded and the error returned.
    pub async fn run(&self, cluster: &Cluster) -> Result<Release, ActionError> {
        check_name(&self.name)?;
        check_labels(&self.labels)?;
        if self.chart.metadata.chart_kind() == Some(ChartKind::Library) {
            return Err(ActionError::LibraryChart);
        }
        let entries = self.entries(cluster).await?;
        let (last, mut current) = self.baseline(&entries)?;
        let mut release = self.render(cluster, last, &current).await?;
        if self.dry_run == DryRun::Client {
            return Ok(release);
        }
        let deployment = Deployment {
            cluster,
            options: &self.deploy,
            before: deploy::old_resources(cluster, &current).await?,
            after: deploy::claimed_resources(cluster, &release).await?,
            migrate: current.apply_method != ApplyMethod::Server || self.deploy.take_ownership,
        };
        if !self.deploy.take_ownership {
            let made = resource::dropped(&deployment.after, &deployment.before);
            deploy::check_ownership(cluster, "update", &made, &release).await?;
        }
        if self.dry_run == DryRun::Server {
            deployment.rehearse().await?;
            return Ok(release);
        }
        self.deploy(cluster, &entries, &deployment, &mut current, &mut release)
            .await?;
        Ok(release)
    }

    async fn entries(&self, cluster: &Cluster) -> Result<Vec<Entry>, ActionError> {
        match cluster.storage().revisions(&self.name).await {
            Err(StorageError::NotFound { name }) => Err(ActionError::NothingDeployed { name }),
            other => Ok(other?),
        }
    }

    /// The last revision, and the one that says what is there: the last deployed, else a last one that failed.
    fn baseline<'a>(&self, entries: &'a [Entry]) -> Result<(&'a Entry, Release), ActionError> {
        let nothing = || ActionError::NothingDeployed {
            name: self.name.clone(),
        };
        let last = entries.last().ok_or_else(nothing)?;
        if last.status.is_pending() {
            return Err(ActionError::InProgress {
                name: self.name.clone(),
                revision: last.revision,
                status: last.status.clone(),
            });
        }
        let deployed = entries
            .iter()
            .rev()
            .find(|entry| entry.status == ReleaseStatus::Deployed);
        let current = match (deployed, &last.status) {
            (Some(deployed), _) => deployed,
            (None, ReleaseStatus::Failed | ReleaseStatus::Superseded) => last,
            (None, _) => return Err(nothing()),
        };
        Ok((last, current.decode()?))
    }

    async fn render(
        &self,
        cluster: &Cluster,
        last: &Entry,
        current: &Release,
    ) -> Result<Release, ActionError> {
        let Planned { config, defaults } = values::plan(self.reuse_values, self.values.clone(), current);
        let mut chart = self.chart.clone();
        if let Some(defaults) = defaults {
            chart.values = defaults;
        }
        let revision = last.revision + 1;
        let request = Revision {
            name: &self.name,
            namespace: &cluster.namespace,
            revision,
            is_upgrade: true,
        };
        let online = self.dry_run != DryRun::Client;
        let config_record = json::from_map(&config);
        let (_, stored) = render::enabled(&chart, &config)?;
        let rendered =
            render::render(online.then_some(cluster), chart, config, request, &self.render).await?;
        for warning in rendered.warnings {
            cluster.observer.event(Event::Warning(warning));
        }
        let description = match self.dry_run {
            DryRun::None => "Preparing upgrade",
            _ => "Dry run complete",
        };
        let mut labels = current.labels.clone();
        for (label, value) in &self.labels {
            match value {
                Some(value) => labels.insert(label.clone(), value.clone()),
                None => labels.remove(label),
            };
        }
        Ok(Release {
            name: self.name.clone(),
            namespace: current.namespace.clone(),
            revision,
            chart: Some(stored),
            config: config_record,
            manifest: rendered.manifest,
            hooks: rendered.hooks,
            labels,
            apply_method: ApplyMethod::Server,
            info: Info {
                first_deployed: current.info.first_deployed,
                last_deployed: Some(cluster.now()),
                status: ReleaseStatus::PendingUpgrade,
                description: description.to_owned(),
                notes: rendered.notes,
                ..Info::default()
            },
            ..Release::default()
        })
    }

    async fn deploy(
        &self,
        cluster: &Cluster,
        entries: &[Entry],
        deployment: &Deployment<'_>,
        current: &mut Release,
        release: &mut Release,
    ) -> Result<(), ActionError> {
        let storage = cluster.storage();
        storage.prune(entries, self.max_history).await?;
        storage.create(release).await?;
        let outcome = deployment
            .carry_out(release, &HookEvent::PreUpgrade, &HookEvent::PostUpgrade)
            .await;
        let Err(error) = outcome else {
            supersede_deployed(cluster, entries).await?;
            let description = self.description.as_deref().unwrap_or("Upgrade complete");
            release.set_status(ReleaseStatus::Deployed, description);
            return Ok(storage.update(release).await?);
        };
        let description = format!("Upgrade \"{}\" failed: {error}", self.name);
        release.set_status(ReleaseStatus::Failed, description);
        storage.update(release).await?;
        let cluster = cluster.uncancelled();
        if self.cleanup_on_failure {
            deployment.delete_added().await;
        }
        if !self.rollback_on_failure {
            return Err(error);
        }
        let undo = Rollback {
            name: self.name.clone(),
            revision: Some(current.revision),
            max_history: self.max_history,
            deploy: DeployOptions {
                force_conflicts: true,
                ..self.deploy.clone()
            },
            ..Rollback::default()
        };
        match undo.run(&cluster).await {
            Ok(_) => Err(ActionError::Undone {
                name: self.name.clone(),
                undone: "rolled back",
                source: Box::new(error),
            }),
            Err(failure) => Err(ActionError::NotUndone {
                undoing: "rolling back",
                source: Box::new(error),
                failure: Box::new(failure),
            }),
        }
    }
}
