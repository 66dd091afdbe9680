//! Upgrading a release.

use std::collections::BTreeMap;

use chart_model::{Chart, ChartKind};
use chart_values::Map;

use crate::action::claim::{self, Intent};
use crate::action::deploy::{self, DeployOptions, Deployment, DryRun};
use crate::action::rollback::Rollback;
use crate::action::rollout::Rollout;
use crate::action::{ActionError, check_labels, check_name, definitions};
use crate::cluster::Cluster;
use crate::json;
use crate::manifest::ManifestObject;
use crate::order::{self, Order};
use crate::progress::Event;
use crate::record::{ApplyMethod, HookEvent, Info, Release, ReleaseStatus, StoredChart};
use crate::render::{self, RenderOptions, Revision};
use crate::resource::{self, Resource};
use crate::storage::{Entry, StorageError};
use crate::values::{self, Planned, ReuseValues};

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
    /// Leave the chart's CRDs as they are.
    pub skip_crds: bool,
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
        let mut prepared = self.prepare(cluster).await?;
        if self.dry_run == DryRun::Client {
            return Ok(prepared.release);
        }
        let deployment = prepared.deployment(cluster, &self.deploy);
        if self.dry_run == DryRun::Server {
            deployment.rehearse().await?;
            return Ok(prepared.release);
        }
        let (superseded, restored) = in_force(cluster, &prepared.entries);
        let description = self.description.as_deref().unwrap_or("Upgrade complete");
        let rollout = Rollout {
            deployment: &deployment,
            entries: &prepared.entries,
            max_history: self.max_history,
            before: HookEvent::PreUpgrade,
            after: HookEvent::PostUpgrade,
            success: description.to_owned(),
            failure: format!("Upgrade \"{}\" failed", self.name),
            superseded,
            restored,
            order: prepared.order.clone(),
        };
        match rollout.run(&mut prepared.release).await {
            Ok(()) => Ok(prepared.release),
            Err(error) => Err(self.undo(cluster, &deployment, &prepared.current, error).await),
        }
    }

    /// Renders and resolves everything, and changes nothing but the chart's definitions and what a dead client left.
    pub(crate) async fn prepare(&self, cluster: &Cluster) -> Result<Prepared, ActionError> {
        check_name(&self.name)?;
        check_labels(&self.labels)?;
        if self.chart.metadata.chart_kind() == Some(ChartKind::Library) {
            return Err(ActionError::LibraryChart);
        }
        let mut entries = self.entries(cluster).await?;
        if self.dry_run == DryRun::None {
            entries = claim::claim(cluster, entries, Intent::Change).await?;
        }
        let (last, current) = self.baseline(cluster, &entries)?;
        let definitions = if self.skip_crds {
            Vec::new()
        } else {
            let planned = values::plan(
                self.reuse_values,
                self.values.clone(),
                &current,
                &self.chart.values,
            );
            let (enabled, _) = render::enabled(&self.chart, &planned.config)?;
            definitions::of_chart(&enabled)?
        };
        let cluster = &definitions::with(cluster, &definitions, self.dry_run, self.deploy.timeout).await?;
        let release = self.render(cluster, last, &current).await?;
        if self.dry_run == DryRun::Client {
            return Ok(Prepared {
                entries,
                current,
                release,
                ..Prepared::default()
            });
        }
        let before = objects_before(cluster, &entries, &current).await?;
        let after = deploy::claimed_resources(cluster, &release).await?;
        if !self.deploy.take_ownership {
            let made = resource::dropped(&after, &before);
            deploy::check_ownership(cluster, "update", &made, &release).await?;
        }
        let order = order::order(&after, release.chart.as_ref().and_then(StoredChart::metadata))?;
        Ok(Prepared {
            entries,
            current,
            release,
            before,
            after,
            order,
            definitions,
        })
    }

    async fn entries(&self, cluster: &Cluster) -> Result<Vec<Entry>, ActionError> {
        match cluster.storage().revisions(&self.name).await {
            Err(StorageError::NotFound { name }) => Err(ActionError::NothingDeployed { name }),
            other => Ok(other?),
        }
    }

    /// The last revision, and the one that says what is there: the last deployed, else a last one that failed.
    fn baseline<'a>(
        &self,
        cluster: &Cluster,
        entries: &'a [Entry],
    ) -> Result<(&'a Entry, Release), ActionError> {
        let nothing = || ActionError::NothingDeployed {
            name: self.name.clone(),
        };
        let last = entries.last().ok_or_else(nothing)?;
        if last.status.is_pending() {
            // Only a try gets here: others took over.
            return Err(ActionError::InProgress {
                name: self.name.clone(),
                revision: last.revision,
                status: last.status.clone(),
                holder: last.lease().map(|lease| lease.holder),
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
        // A broken record must not be the end of the release: the one before it says nearly as much.
        let older = entries
            .iter()
            .rev()
            .filter(|entry| entry.revision < current.revision);
        if let Err(error @ StorageError::Broken { .. }) = current.decode()
            && let Some(release) = older.filter_map(|entry| entry.decode().ok()).next()
        {
            let text = format!(
                "{error}: revision {} is taken for what is there",
                release.revision
            );
            cluster.observer.event(Event::Warning(text));
            return Ok((last, release));
        }
        Ok((last, current.decode()?))
    }

    async fn render(
        &self,
        cluster: &Cluster,
        last: &Entry,
        current: &Release,
    ) -> Result<Release, ActionError> {
        let Planned {
            config,
            defaults,
            unused,
        } = values::plan(
            self.reuse_values,
            self.values.clone(),
            current,
            &self.chart.values,
        );
        if !unused.is_empty() {
            let text = format!(
                "the defaults of the last revision's chart are used: the new chart has defaults for {} that it had not, and                  they are missing",
                unused.join(", ")
            );
            cluster.observer.event(Event::Warning(text));
        }
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

    /// Cleans up and rolls back where that is asked; gives the error to return.
    async fn undo(
        &self,
        cluster: &Cluster,
        deployment: &Deployment<'_>,
        current: &Release,
        error: ActionError,
    ) -> ActionError {
        let cluster = cluster.uncancelled();
        if self.cleanup_on_failure {
            deployment.delete_added().await;
        }
        if !self.rollback_on_failure {
            return error;
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
            Ok(_) => ActionError::Undone {
                name: self.name.clone(),
                undone: "rolled back",
                source: Box::new(error),
            },
            Err(failure) => ActionError::NotUndone {
                undoing: "rolling back",
                source: Box::new(error),
                failure: Box::new(failure),
            },
        }
    }
}

/// A revision that is ready to be made real.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    /// The revisions before.
    pub(crate) entries: Vec<Entry>,
    /// The one that says what is there.
    pub(crate) current: Release,
    /// The new one.
    pub(crate) release: Release,
    /// The objects that are there.
    pub(crate) before: Vec<Resource>,
    /// The objects that shall be there.
    pub(crate) after: Vec<Resource>,
    /// Which of them wait for which.
    pub(crate) order: Order,
    /// The resource definitions that the chart brings, where it is only tried.
    pub(crate) definitions: Vec<ManifestObject>,
}

impl Prepared {
    pub(crate) fn deployment<'a>(&self, cluster: &'a Cluster, options: &'a DeployOptions) -> Deployment<'a> {
        Deployment {
            cluster,
            options,
            before: self.before.clone(),
            after: self.after.clone(),
            migrate: self.current.apply_method != ApplyMethod::Server || options.take_ownership,
        }
    }
}

/// The objects that may be there: those of the revision in force, and what later ones that did not get through added.
pub(crate) async fn objects_before(
    cluster: &Cluster,
    entries: &[Entry],
    current: &Release,
) -> Result<Vec<Resource>, ActionError> {
    let mut before = deploy::old_resources(cluster, current).await?;
    for entry in entries.iter().filter(|entry| entry.revision > current.revision) {
        // What cannot be read any more cannot be tidied up.
        let Ok(later) = entry.decode() else { continue };
        let theirs = deploy::old_resources(cluster, &later).await?;
        let added: Vec<_> = resource::dropped(&theirs, &before).into_iter().cloned().collect();
        before.extend(added);
    }
    Ok(before)
}

/// The records of revisions in force: as they will be when a new one is, and as they are. A broken one is told and
/// left.
pub(crate) fn in_force(cluster: &Cluster, entries: &[Entry]) -> (Vec<Release>, Vec<Release>) {
    let mut superseded = Vec::new();
    let mut restored = Vec::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.status == ReleaseStatus::Deployed)
    {
        match entry.decode() {
            Ok(release) => {
                let mut older = release.clone();
                older.info.status = ReleaseStatus::Superseded;
                superseded.push(older);
                restored.push(release);
            }
            Err(error) => cluster.observer.event(Event::Warning(error.to_string())),
        }
    }
    (superseded, restored)
}
