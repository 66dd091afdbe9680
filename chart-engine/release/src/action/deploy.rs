//! What installing, upgrading and rolling back have in common: hooks, objects, waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{ListOptions, Propagation};
use cluster_objects::Object;
use futures::future::try_join_all;
use futures::{FutureExt, StreamExt, stream};

use crate::action::ActionError;
use crate::apply::{self, ApplyOptions};
use crate::autoscaled;
use crate::cluster::{Cluster, DEFAULT_TIMEOUT};
use crate::hooks::HookRunner;
use crate::manifest;
use crate::ownership;
use crate::progress::Event;
use crate::readiness::{self, Finish};
use crate::record::{HookEvent, Release};
use crate::resource::{self, Identity, Resource};
use crate::wait::{self, Awaited, WaitOptions};
use crate::way_back;

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitStrategy {
    /// Every object must be ready.
    #[default]
    Ready,
    /// Only hooks are waited for.
    HooksOnly,
}

/// How objects are brought to the cluster, for every action that does.
#[derive(Clone, Debug)]
pub struct DeployOptions {
    /// Longest wait, for each hook and for all objects together.
    pub timeout: Duration,
    /// What is waited for.
    pub wait: WaitStrategy,
    /// Jobs must be complete, not only started.
    pub wait_for_jobs: bool,
    /// Run no hooks.
    pub no_hooks: bool,
    /// Take fields over from other managers.
    pub force_conflicts: bool,
    /// Take objects that belong to nobody or to another release.
    pub take_ownership: bool,
    /// Do not refuse unknown and duplicate fields.
    pub skip_validation: bool,
    /// Delete and make anew what cannot be changed into what is asked for.
    pub force_replace: bool,
}

impl Default for DeployOptions {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            wait: WaitStrategy::default(),
            wait_for_jobs: false,
            no_hooks: false,
            force_conflicts: false,
            take_ownership: false,
            skip_validation: false,
            force_replace: false,
        }
    }
}

/// Whether the action is only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// It is done.
    #[default]
    None,
    /// Nothing is asked of the cluster.
    Client,
    /// The cluster checks everything and changes nothing.
    Server,
}

/// A change from the objects of one revision to those of another.
pub(crate) struct Deployment<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) options: &'a DeployOptions,
    /// The objects that are there.
    pub(crate) before: Vec<Resource>,
    /// The objects that shall be there.
    pub(crate) after: Vec<Resource>,
    /// Whether the objects may have been written by the client.
    pub(crate) migrate: bool,
}

impl Deployment<'_> {
    /// Lets the cluster check every change, without making it.
    pub(crate) async fn rehearse(&self) -> Result<(), ActionError> {
        let discovery = self.cluster.discovery().await.map_err(ActionError::Unreachable)?;
        let is_served = |resource: &&Resource| resource.is_served(&discovery);
        let (known, coming): (Vec<&Resource>, Vec<&Resource>) = self.after.iter().partition(is_served);
        for resource in coming {
            let text = format!(
                "{} could not be checked: its kind comes with the release",
                resource.label()
            );
            self.cluster.observer.event(Event::Warning(text));
        }
        let mut known: Vec<Resource> = known.into_iter().cloned().collect();
        if self.options.force_replace {
            let replaced = self.unchangeable().await?;
            for resource in &replaced {
                let text = format!("{} would be deleted and made anew", resource.label());
                self.cluster.observer.event(Event::Warning(text));
            }
            known.retain(|resource| !replaced.contains(resource));
        }
        self.apply_these(&known, true).await?;
        self.delete_dropped(true).await
    }

    /// The objects that are there and cannot be changed into what they shall be, as the cluster says when it is asked
    /// to try.
    pub(crate) async fn unchangeable(&self) -> Result<Vec<Resource>, ActionError> {
        let options = ApplyOptions {
            migrate: false,
            ..self.apply_options(true)
        };
        let asked: Vec<_> = self
            .after
            .iter()
            .filter(|resource| resource.is_named())
            .map(|resource| {
                apply::apply(&self.cluster.api, resource, &options).map(move |tried| (resource, tried))
            })
            .collect();
        let mut answers = stream::iter(asked).buffered(TRIES_MAX);
        let mut unchangeable = Vec::new();
        while let Some((resource, tried)) = answers.next().await {
            // Whatever else is refused is refused when it is done.
            let Err(error) = tried else { continue };
            if !error.is_immutable() {
                continue;
            }
            if keeps_data(resource.object.kind()) {
                return Err(ActionError::NotReplaced {
                    label: resource.label(),
                    source: error,
                });
            }
            unchangeable.push(resource.clone());
        }
        Ok(unchangeable)
    }

    /// Deletes objects, and waits until they are gone.
    pub(crate) async fn remove(&self, resources: &[Resource]) -> Result<(), ActionError> {
        let Cluster { api, observer, .. } = self.cluster;
        for resource in resources {
            apply::delete(api, resource, Propagation::Background, false).await?;
            let label = resource.label();
            observer.event(Event::Deleted { label });
        }
        let awaited: Vec<Awaited> = resources.iter().map(awaited).collect();
        let options = self.wait_options(Finish::default());
        Ok(wait::until_gone(api, &awaited, &options, observer.as_ref()).await?)
    }

    /// Deletes the objects that the change would have added; what fails is only told.
    pub(crate) async fn delete_added(&self) {
        let mut added: Vec<Resource> = resource::dropped(&self.after, &self.before)
            .into_iter()
            .cloned()
            .collect();
        resource::sort_for_deletion(&mut added);
        for resource in &added {
            if let Err(error) = self.delete(resource, false).await {
                self.cluster.observer.event(Event::Warning(error.to_string()));
            }
        }
    }

    pub(crate) async fn run_hooks(
        &self,
        release: &mut Release,
        event: &HookEvent,
    ) -> Result<(), ActionError> {
        if self.options.no_hooks {
            return Ok(());
        }
        let runner = HookRunner {
            cluster: self.cluster,
            timeout: self.options.timeout,
            apply: self.apply_options(false),
        };
        Ok(runner.run(release, event).await?)
    }

    fn wait_options(&self, finish: Finish) -> WaitOptions {
        WaitOptions {
            timeout: self.options.timeout,
            finish,
            cancel: self.cluster.cancel.clone(),
        }
    }

    /// Applies some of the objects, one after another.
    pub(crate) async fn apply_these(
        &self,
        resources: &[Resource],
        dry_run: bool,
    ) -> Result<Vec<Arc<Object>>, ActionError> {
        let options = self.apply_options(dry_run);
        let Cluster {
            api,
            observer,
            cancel,
            ..
        } = self.cluster;
        Ok(apply::apply_all(api, resources, &options, observer.as_ref(), cancel).await?)
    }

    pub(crate) fn apply_options(&self, dry_run: bool) -> ApplyOptions {
        ApplyOptions {
            dry_run,
            force_conflicts: self.options.force_conflicts,
            migrate: self.migrate,
            skip_validation: self.options.skip_validation,
        }
    }

    pub(crate) async fn delete_dropped(&self, dry_run: bool) -> Result<(), ActionError> {
        for resource in resource::dropped(&self.before, &self.after) {
            self.delete(resource, dry_run).await?;
        }
        Ok(())
    }

    /// The objects that the change drops and that go: those that are there, are the release's, and do not ask to stay.
    pub(crate) async fn going(&self) -> Result<Vec<&Resource>, ActionError> {
        let mut going = Vec::new();
        for resource in resource::dropped(&self.before, &self.after) {
            if self.goes(resource).await? {
                going.push(resource);
            }
        }
        Ok(going)
    }

    /// Deletes an object unless it asks to stay.
    async fn delete(&self, resource: &Resource, dry_run: bool) -> Result<(), ActionError> {
        if !self.goes(resource).await? {
            return Ok(());
        }
        apply::delete(&self.cluster.api, resource, Propagation::Background, dry_run).await?;
        if !dry_run {
            self.cluster.observer.event(Event::Deleted {
                label: resource.label(),
            });
        }
        Ok(())
    }

    /// Whether an object is there, is the release's and may be deleted.
    async fn goes(&self, resource: &Resource) -> Result<bool, ActionError> {
        let live = match self.cluster.api.get(&resource.target()).await {
            Ok(live) => live,
            Err(status) if status.is_not_found() => return Ok(false),
            Err(status) => {
                return Err(apply::ApplyError::NotDeleted {
                    object: Box::new(resource.object.clone()),
                    status,
                }
                .into());
            }
        };
        if ownership::is_kept(&live) {
            let text = format!("{} is kept, as its resource policy asks", resource.label());
            self.cluster.observer.event(Event::Warning(text));
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether there is anything that is waited for.
    pub(crate) fn waits(&self) -> bool {
        self.options.wait != WaitStrategy::HooksOnly && self.after.iter().any(is_awaited)
    }

    /// Waits for all objects.
    pub(crate) async fn wait(&self) -> Result<(), ActionError> {
        self.wait_for(&self.after, self.options.wait_for_jobs).await
    }

    /// Waits for some of the objects, and for Jobs until they are complete where that is asked.
    pub(crate) async fn wait_for(&self, resources: &[Resource], jobs: bool) -> Result<(), ActionError> {
        if self.options.wait == WaitStrategy::HooksOnly {
            return Ok(());
        }
        let awaited: Vec<Awaited> = resources
            .iter()
            .filter(|resource| is_awaited(resource))
            .map(awaited)
            .collect();
        if awaited.is_empty() {
            return Ok(());
        }
        let options = self.wait_options(Finish { jobs, pods: false });
        let observer = self.cluster.observer.as_ref();
        Ok(wait::until_ready(&self.cluster.api, &awaited, &options, observer).await?)
    }
}

/// Objects that are tried at the same time.
const TRIES_MAX: usize = 16;

/// Whether more is lost with an object of a kind than the object: it is never deleted to be made anew.
pub(crate) fn keeps_data(kind: &str) -> bool {
    matches!(
        kind,
        "PersistentVolumeClaim" | "PersistentVolume" | "Namespace" | "CustomResourceDefinition"
    )
}

/// Whether a resource may take its time to become ready.
fn is_awaited(resource: &Resource) -> bool {
    resource.is_named() && !readiness::is_ready_when_stored(&resource.object)
}

/// What a wait needs of a resource.
pub(crate) fn awaited(resource: &Resource) -> Awaited {
    Awaited {
        target: resource.target(),
        kind: resource.object.kind().to_owned(),
    }
}

/// The objects of a manifest, marked as the release's.
pub(crate) async fn claimed_resources(
    cluster: &Cluster,
    release: &Release,
) -> Result<Vec<Resource>, ActionError> {
    let objects = manifest::parse(&release.manifest).map_err(ActionError::Manifest)?;
    let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
    let resolved = resource::resolve(objects, &discovery, &release.namespace);
    let mut resources = resolved.map_err(ActionError::UnknownKinds)?;
    for resource in &mut resources {
        ownership::claim(&mut resource.object, &release.name, &release.namespace);
    }
    way_back::take(cluster, release, &mut resources);
    let kept = autoscaled::keep_replicas(cluster, &mut resources).await;
    kept.map_err(ActionError::Unreachable)?;
    Ok(resources)
}

/// The objects of an old manifest; those of kinds that are gone are told and left out.
pub(crate) async fn old_resources(
    cluster: &Cluster,
    release: &Release,
) -> Result<Vec<Resource>, ActionError> {
    let objects = manifest::parse(&release.manifest).map_err(ActionError::Manifest)?;
    let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
    let (resources, missing) = resource::resolve_known(objects, &discovery, &release.namespace);
    for gone in missing {
        let text = format!(
            "{}/{} of revision {} is left alone: the cluster no longer serves {}",
            gone.kind.kind, gone.name, release.revision, gone.kind
        );
        cluster.observer.event(Event::Warning(text));
    }
    Ok(resources)
}

/// Checks that the objects that are to be made, and are there already, are the release's.
pub(crate) async fn check_ownership(
    cluster: &Cluster,
    action: &'static str,
    made: &[&Resource],
    release: &Release,
) -> Result<(), ActionError> {
    let named: Vec<&Resource> = made
        .iter()
        .copied()
        .filter(|resource| resource.is_named())
        .collect();
    let live = present(cluster, &named).await?;
    for resource in named {
        let Some(live) = live.get(&resource.identity()) else {
            continue;
        };
        if let Err(source) = ownership::check(live, &release.name, &release.namespace) {
            return Err(ActionError::NotOwned {
                action,
                kind: resource.object.kind().to_owned(),
                name: live.name().to_owned(),
                namespace: live.namespace().unwrap_or_default().to_owned(),
                source,
            });
        }
    }
    Ok(())
}

/// The objects that are there, at least with their metadata.
pub(crate) async fn present(
    cluster: &Cluster,
    resources: &[&Resource],
) -> Result<BTreeMap<Identity, Arc<Object>>, ActionError> {
    let mut by_collection: BTreeMap<String, Vec<&Resource>> = BTreeMap::new();
    for resource in resources {
        let collection = resource.target().collection();
        let key = format!(
            "{} {}",
            collection.resource,
            collection.namespace.unwrap_or_default()
        );
        by_collection.entry(key).or_default().push(resource);
    }
    let reads = by_collection
        .values()
        .map(|resources| present_in_one(cluster, resources));
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// Objects of one collection that are read one by one; more are read as one list.
const READ_ALONE_MAX: usize = 8;

async fn present_in_one(
    cluster: &Cluster,
    resources: &[&Resource],
) -> Result<Vec<(Identity, Arc<Object>)>, ActionError> {
    let mut found = Vec::new();
    if let [first, ..] = resources
        && resources.len() > READ_ALONE_MAX
    {
        let options = ListOptions {
            metadata_only: true,
            ..ListOptions::default()
        };
        let list = match cluster.api.list(&first.target().collection(), &options).await {
            Ok(list) => list,
            // The kind is only coming.
            Err(status) if status.is_not_found() => return Ok(found),
            Err(status) => return Err(ActionError::Unreachable(status)),
        };
        let by_name: BTreeMap<&str, &Arc<Object>> =
            list.items.iter().map(|object| (object.name(), object)).collect();
        for resource in resources {
            if let Some(object) = by_name.get(resource.object.name()) {
                found.push((resource.identity(), Arc::clone(object)));
            }
        }
        return Ok(found);
    }
    let reads = resources.iter().map(|resource| async move {
        match cluster.api.get(&resource.target()).await {
            Ok(live) => Ok(Some((resource.identity(), live))),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(ActionError::Unreachable(status)),
        }
    });
    found.extend(try_join_all(reads).await?.into_iter().flatten());
    Ok(found)
}
