//! Installing a chart.

use std::collections::BTreeMap;

use chart_model::{Chart, ChartKind};
use chart_values::Map;
use cluster_client::{Target, WriteOptions};
use cluster_objects::Object;

use crate::action::deploy::{self, DeployOptions, Deployment, DryRun};
use crate::action::rollout::Rollout;
use crate::action::uninstall::Uninstall;
use crate::action::upgrade::Prepared;
use crate::action::{ActionError, check_labels, definitions};
use crate::cluster::Cluster;
use crate::name::ReleaseName;
use crate::order::{self, Order};
use crate::progress::Event;
use crate::record::{ApplyMethod, HookEvent, Info, Release, ReleaseStatus, StoredChart};
use crate::render::{self, RenderOptions, Revision};
use crate::storage::Entry;
use crate::{FIELD_MANAGER, json};

/// Installs a chart as a new release.
#[derive(Clone, Debug, Default)]
pub struct Install {
    /// Name of the release.
    pub name: String,
    /// The chart, as loaded.
    pub chart: Chart,
    /// Values of the user.
    pub values: Map,
    /// What is said of it instead of `Install complete`.
    pub description: Option<String>,
    /// Labels of the record.
    pub labels: BTreeMap<String, String>,
    /// Try only.
    pub dry_run: DryRun,
    /// Make the namespace if it is not there.
    pub create_namespace: bool,
    /// Labels of a namespace that is made.
    pub namespace_labels: BTreeMap<String, String>,
    /// Take the name of a release that failed or was uninstalled with its history kept.
    pub replace: bool,
    /// Do not create the chart's CRDs.
    pub skip_crds: bool,
    /// Uninstall if it fails.
    pub rollback_on_failure: bool,
    /// How the chart is rendered.
    pub render: RenderOptions,
    /// How objects are brought to the cluster.
    pub deploy: DeployOptions,
}

impl Install {
    /// Installs and returns the revision; a failed one is recorded and the error returned.
    pub async fn run(&self, cluster: &Cluster) -> Result<Release, ActionError> {
        let mut prepared = self.prepare(cluster).await?;
        if self.dry_run == DryRun::Client {
            return Ok(prepared.release);
        }
        let deployment = prepared.deployment(cluster, &self.deploy);
        if self.dry_run == DryRun::Server {
            self.rehearse(cluster, &deployment).await?;
            return Ok(prepared.release);
        }
        if self.create_namespace {
            create_namespace(cluster, &self.namespace_labels, false).await?;
        }
        let Prepared {
            entries,
            release,
            order,
            ..
        } = &mut prepared;
        self.deploy(cluster, entries, &deployment, order.clone(), release)
            .await?;
        Ok(prepared.release)
    }

    /// Renders and resolves everything, and changes nothing but the chart's definitions.
    pub(crate) async fn prepare(&self, cluster: &Cluster) -> Result<Prepared, ActionError> {
        self.name.parse::<ReleaseName>()?;
        check_labels(&self.labels)?;
        if self.chart.metadata.chart_kind() == Some(ChartKind::Library) {
            return Err(ActionError::LibraryChart);
        }
        let online = self.dry_run != DryRun::Client;
        let entries = if online {
            self.check_name_is_free(cluster).await?
        } else {
            Vec::new()
        };
        let (enabled, stored) = render::enabled(&self.chart, &self.values)?;
        let definitions = if self.skip_crds {
            Vec::new()
        } else {
            definitions::of_chart(&enabled)?
        };
        let cluster = &definitions::with(cluster, &definitions, self.dry_run, self.deploy.timeout).await?;
        let release = self.render(cluster, stored, &entries, online).await?;
        // There is nothing that the client may have written.
        let current = Release {
            apply_method: ApplyMethod::Server,
            ..Release::default()
        };
        if !online {
            return Ok(Prepared {
                current,
                release,
                ..Prepared::default()
            });
        }
        let after = deploy::claimed_resources(cluster, &release).await?;
        if !self.deploy.take_ownership {
            let made: Vec<_> = after.iter().collect();
            deploy::check_ownership(cluster, "install", &made, &release).await?;
        }
        let order = order::order(&after, release.chart.as_ref().and_then(StoredChart::metadata))?;
        Ok(Prepared {
            entries,
            current,
            release,
            before: Vec::new(),
            after,
            order,
            definitions,
        })
    }

    /// The records of a release whose name may be taken over, or none.
    async fn check_name_is_free(&self, cluster: &Cluster) -> Result<Vec<Entry>, ActionError> {
        let entries = match cluster.storage().revisions(&self.name).await {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        match entries.last().map(|entry| &entry.status) {
            Some(ReleaseStatus::Uninstalled | ReleaseStatus::Failed) if self.replace => Ok(entries),
            Some(status) => Err(ActionError::NameInUse {
                name: self.name.clone(),
                status: status.clone(),
            }),
            None => Ok(entries),
        }
    }

    async fn render(
        &self,
        cluster: &Cluster,
        chart: StoredChart,
        entries: &[Entry],
        online: bool,
    ) -> Result<Release, ActionError> {
        let revision = entries.last().map_or(1, |entry| entry.revision + 1);
        let request = Revision {
            name: &self.name,
            namespace: &cluster.namespace,
            revision,
            is_upgrade: false,
        };
        let rendered = render::render(
            online.then_some(cluster),
            self.chart.clone(),
            self.values.clone(),
            request,
            &self.render,
        )
        .await?;
        for warning in rendered.warnings {
            cluster.observer.event(Event::Warning(warning));
        }
        let now = cluster.now();
        let (status, description) = match self.dry_run {
            DryRun::None => (ReleaseStatus::PendingInstall, "Initial install underway"),
            _ => (ReleaseStatus::PendingInstall, "Dry run complete"),
        };
        Ok(Release {
            name: self.name.clone(),
            namespace: cluster.namespace.clone(),
            revision,
            chart: Some(chart),
            config: json::from_map(&self.values),
            manifest: rendered.manifest,
            hooks: rendered.hooks,
            labels: self.labels.clone(),
            apply_method: ApplyMethod::Server,
            info: Info {
                first_deployed: Some(now),
                last_deployed: Some(now),
                status,
                description: description.to_owned(),
                notes: rendered.notes,
                ..Info::default()
            },
            ..Release::default()
        })
    }

    async fn rehearse(&self, cluster: &Cluster, deployment: &Deployment<'_>) -> Result<(), ActionError> {
        if self.create_namespace
            && create_namespace(cluster, &self.namespace_labels, true).await? == Made::New
        {
            let text = format!(
                "namespace `{}` does not exist yet: the cluster could not check the objects in it",
                cluster.namespace
            );
            cluster.observer.event(Event::Warning(text));
            return Ok(());
        }
        deployment.rehearse().await
    }

    async fn deploy(
        &self,
        cluster: &Cluster,
        entries: &[Entry],
        deployment: &Deployment<'_>,
        order: Order,
        release: &mut Release,
    ) -> Result<(), ActionError> {
        let mut superseded = Vec::new();
        if let Some(replaced) = entries.last() {
            let mut replaced = replaced.decode()?;
            replaced.set_status(ReleaseStatus::Superseded, "superseded by new release");
            superseded.push(replaced);
        }
        let rollout = Rollout {
            deployment,
            entries,
            max_history: 0,
            before: HookEvent::PreInstall,
            after: HookEvent::PostInstall,
            success: self
                .description
                .clone()
                .unwrap_or_else(|| "Install complete".to_owned()),
            failure: format!("Release \"{}\" failed", self.name),
            restored: superseded.clone(),
            superseded,
            order,
        };
        let Err(error) = rollout.run(release).await else {
            return Ok(());
        };
        if !self.rollback_on_failure {
            return Err(error);
        }
        let undo = Uninstall {
            name: self.name.clone(),
            no_hooks: self.deploy.no_hooks,
            timeout: self.deploy.timeout,
            ..Uninstall::default()
        };
        match undo.run(&cluster.uncancelled()).await {
            Ok(_) => Err(ActionError::Undone {
                name: self.name.clone(),
                undone: "uninstalled",
                source: Box::new(error),
            }),
            Err(failure) => Err(ActionError::NotUndone {
                undoing: "uninstalling",
                source: Box::new(error),
                failure: Box::new(failure),
            }),
        }
    }
}

#[derive(PartialEq)]
enum Made {
    New,
    Present,
}

/// Makes the namespace of the release, with the label that Helm gives it.
async fn create_namespace(
    cluster: &Cluster,
    labels: &BTreeMap<String, String>,
    dry_run: bool,
) -> Result<Made, ActionError> {
    let name = &cluster.namespace;
    let target = Target::cluster_wide("v1", "namespaces", name);
    if cluster.api.get(&target).await.is_ok() {
        return Ok(Made::Present);
    }
    let mut namespace = Object::new("v1", "Namespace", None, name);
    namespace.set(&["metadata", "labels", "name"], name.as_str());
    for (label, value) in labels {
        namespace.set(&["metadata", "labels", label], value.as_str());
    }
    let options = WriteOptions {
        dry_run,
        field_manager: FIELD_MANAGER.to_owned(),
        ..WriteOptions::default()
    };
    match cluster
        .api
        .create(&target.collection(), namespace, &options)
        .await
    {
        Ok(_) => Ok(Made::New),
        Err(status) if status.is_already_exists() => Ok(Made::Present),
        Err(status) => Err(ActionError::Namespace {
            namespace: name.clone(),
            status,
        }),
    }
}
