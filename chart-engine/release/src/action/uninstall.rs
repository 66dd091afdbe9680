//! Taking a release away.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_client::Propagation;
use cluster_objects::Object;

use crate::action::claim::{self, Intent};
use crate::action::deploy::{self, WaitStrategy};
use crate::action::rollout::refused;
use crate::action::{ActionError, check_name};
use crate::apply::{self, ApplyOptions};
use crate::cluster::{Cluster, DEFAULT_TIMEOUT};
use crate::hooks::HookRunner;
use crate::lease::{self, Heartbeat};
use crate::manifest;
use crate::ownership;
use crate::progress::Event;
use crate::readiness::Finish;
use crate::record::{HookEvent, Release, ReleaseStatus};
use crate::resource::{self, Resource};
use crate::storage::{Entry, StorageError};
use crate::transaction::{self, Operation, Refusal};
use crate::wait::{self, Awaited, WaitOptions};
use crate::{FIELD_MANAGER, codec};

/// Deletes the objects of a release, and its records unless they are kept.
#[derive(Clone, Debug)]
pub struct Uninstall {
    /// Name of the release.
    pub name: String,
    /// Try only.
    pub dry_run: bool,
    /// Keep the records, with the last marked as uninstalled.
    pub keep_history: bool,
    /// A release that is not there is no failure.
    pub ignore_not_found: bool,
    /// Run no hooks.
    pub no_hooks: bool,
    /// Wait until the objects are gone.
    pub wait: WaitStrategy,
    /// Longest wait, for each hook and for all objects together.
    pub timeout: Duration,
    /// What happens to the objects that deleted ones own.
    pub cascade: Propagation,
    /// What is said of it instead of `Uninstallation complete`.
    pub description: Option<String>,
}

/// What was uninstalled.
#[derive(Clone, Debug, Default)]
pub struct Uninstalled {
    /// The last revision; `None` where there was none and that is no failure.
    pub release: Option<Release>,
    /// Objects that stay because they ask to, as kind and name.
    pub kept: Vec<(String, String)>,
    /// Whether only the kept history of an uninstalled release was removed.
    pub purged_only: bool,
}

impl Default for Uninstall {
    fn default() -> Self {
        Self {
            name: String::new(),
            dry_run: false,
            keep_history: false,
            ignore_not_found: false,
            no_hooks: false,
            wait: WaitStrategy::default(),
            timeout: DEFAULT_TIMEOUT,
            cascade: Propagation::Background,
            description: None,
        }
    }
}

impl Uninstall {
    /// Uninstalls. The records stay until the objects are gone, so that a failed try can be repeated.
    pub async fn run(&self, cluster: &Cluster) -> Result<Uninstalled, ActionError> {
        check_name(&self.name)?;
        let storage = cluster.storage();
        let entries = match storage.revisions(&self.name).await {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() && self.ignore_not_found => return Ok(Uninstalled::default()),
            Err(error) => return Err(error.into()),
        };
        let entries = if self.dry_run {
            entries
        } else {
            claim::claim(cluster, entries, Intent::Recover).await?
        };
        let Some(last) = entries.last() else {
            unreachable!("a release that is there has a revision")
        };
        let mut release = match last.decode() {
            Ok(release) => release,
            Err(error @ StorageError::Broken { .. }) => match self.broken(cluster, &entries, &error).await? {
                Some(release) => release,
                None => return Ok(Uninstalled::default()),
            },
            Err(error) => return Err(error.into()),
        };
        if release.info.status == ReleaseStatus::Uninstalled {
            if self.keep_history {
                return Err(ActionError::AlreadyUninstalled {
                    name: self.name.clone(),
                });
            }
            if !self.dry_run {
                self.purge(cluster, &entries).await?;
            }
            return Ok(Uninstalled {
                release: Some(release),
                kept: Vec::new(),
                purged_only: true,
            });
        }
        let mut resources = deploy::old_resources(cluster, &release).await?;
        resource::sort_for_deletion(&mut resources);
        if self.dry_run {
            let (kept, _) = self.delete(cluster, &release, &resources, true).await?;
            return Ok(Uninstalled {
                release: Some(release),
                kept,
                purged_only: false,
            });
        }
        let heartbeat = self.begin(cluster, &mut release).await?;
        let outcome = self.take_away(cluster, &entries, &mut release, &resources).await;
        heartbeat.stop().await;
        let kept = outcome?;
        Ok(Uninstalled {
            release: Some(release),
            kept,
            purged_only: false,
        })
    }

    /// The newest record that can be read, in the place of a broken last one.
    ///
    /// Where none can, nobody knows the objects: the records are removed, so that the name is free, and `None` comes
    /// back.
    async fn broken(
        &self,
        cluster: &Cluster,
        entries: &[Entry],
        error: &StorageError,
    ) -> Result<Option<Release>, ActionError> {
        let readable = entries.iter().rev().find_map(|entry| entry.decode().ok());
        let text = match &readable {
            Some(release) => format!(
                "{error}: revision {} is taken for what is there",
                release.revision
            ),
            None => format!(
                "{error}, and so is every other of the release: its objects are not known, and stay; they carry the annotation \
                 meta.helm.sh/release-name={}",
                self.name
            ),
        };
        cluster.observer.event(Event::Warning(text));
        if readable.is_none() && !self.dry_run {
            self.purge(cluster, entries).await?;
        }
        Ok(readable)
    }

    /// Marks the release as being uninstalled, with a lease.
    async fn begin(&self, cluster: &Cluster, release: &mut Release) -> Result<Heartbeat, ActionError> {
        release.set_status(
            ReleaseStatus::Uninstalling,
            "Deletion in progress (or silently failed)",
        );
        release.info.deleted = Some(cluster.now());
        let lease = lease::take(cluster);
        release.lease = Some(lease.clone());
        cluster.storage().update(release).await?;
        let secret = codec::secret_name(&release.name, release.revision);
        Ok(Heartbeat::start(
            cluster,
            &secret,
            &release.namespace,
            &lease.holder,
        ))
    }

    /// Runs hooks, deletes objects and records; gives the objects that stay.
    async fn take_away(
        &self,
        cluster: &Cluster,
        entries: &[Entry],
        release: &mut Release,
        resources: &[Resource],
    ) -> Result<Vec<(String, String)>, ActionError> {
        self.run_hooks(cluster, release, &HookEvent::PreDelete).await?;
        let (kept, deleted) = self.delete(cluster, release, resources, false).await?;
        if self.wait == WaitStrategy::Ready {
            let options = WaitOptions {
                timeout: self.timeout,
                finish: Finish::default(),
                cancel: cluster.cancel.clone(),
            };
            wait::until_gone(&cluster.api, &deleted, &options, cluster.observer.as_ref()).await?;
        }
        self.run_hooks(cluster, release, &HookEvent::PostDelete).await?;
        self.delete_hooks(cluster, entries, release).await;
        let description = self.description.as_deref().unwrap_or("Uninstallation complete");
        release.set_status(ReleaseStatus::Uninstalled, description);
        release.lease = None;
        self.settle(cluster, entries, release).await?;
        Ok(kept)
    }

    /// Writes or removes the records, all of them at once where that is offered.
    async fn settle(
        &self,
        cluster: &Cluster,
        entries: &[Entry],
        release: &Release,
    ) -> Result<(), ActionError> {
        let storage = cluster.storage();
        let mut older = Vec::new();
        if self.keep_history {
            // Only one revision can be the uninstalled one; an older deployed one would come back to life.
            let deployed = entries.iter().filter(|entry| {
                entry.status == ReleaseStatus::Deployed && entry.revision != release.revision
            });
            for entry in deployed {
                let mut record = entry.decode()?;
                record.info.status = ReleaseStatus::Superseded;
                older.push(record);
            }
        }
        if transaction::is_offered(cluster).await.unwrap_or_default() {
            let mut operations = Vec::new();
            if self.keep_history {
                for record in older.iter().chain(std::iter::once(release)) {
                    operations.push(Operation::Update(storage.updated(record)?));
                }
            } else {
                operations.extend(
                    entries
                        .iter()
                        .flat_map(Entry::secrets)
                        .map(|object| Operation::Delete {
                            object,
                            cascade: Propagation::Background,
                        }),
                );
            }
            if transaction::commit(cluster, &operations, false, false)
                .await
                .is_ok()
            {
                return Ok(());
            }
        }
        if !self.keep_history {
            return self.purge(cluster, entries).await;
        }
        for record in &older {
            storage.update(record).await?;
        }
        Ok(storage.update(release).await?)
    }

    /// Deletes what is left of hooks that were run; what fails is only told.
    ///
    /// Hooks carry no mark of their release. One is the release's if a record says that it was run and the object was
    /// written by us; definitions stay, and what asks to.
    async fn delete_hooks(&self, cluster: &Cluster, entries: &[Entry], release: &Release) {
        if self.no_hooks {
            return;
        }
        let older = entries.iter().filter_map(|entry| entry.decode().ok());
        let records: Vec<Release> = older.chain(std::iter::once(release.clone())).collect();
        let run = records
            .iter()
            .flat_map(|record| &record.hooks)
            .filter(|hook| !hook.last_run.is_unset());
        let Ok(discovery) = cluster.discovery().await else {
            return;
        };
        let objects = run
            .filter_map(|hook| manifest::parse(&hook.manifest).ok())
            .flatten();
        let (resources, _) = resource::resolve_known(objects.collect(), &discovery, &release.namespace);
        let mut seen = BTreeSet::new();
        for resource in resources {
            let first = seen.insert(resource.identity());
            if !first || !resource.is_named() || resource.object.kind() == "CustomResourceDefinition" {
                continue;
            }
            let Ok(live) = cluster.api.get(&resource.target()).await else {
                continue;
            };
            if ownership::is_kept(&resource.object) || ownership::is_kept(&live) || !is_ours(&live) {
                continue;
            }
            match apply::delete(&cluster.api, &resource, self.cascade, false).await {
                Ok(_) => cluster.observer.event(Event::Deleted {
                    label: resource.label(),
                }),
                Err(error) => cluster.observer.event(Event::Warning(error.to_string())),
            }
        }
    }

    /// Removes every record, the newest last: until then the release is known.
    async fn purge(&self, cluster: &Cluster, entries: &[Entry]) -> Result<(), ActionError> {
        for entry in entries {
            cluster.storage().delete(entry).await?;
        }
        Ok(())
    }

    /// Deletes what is the release's and does not ask to stay; returns what stays and what goes.
    async fn delete(
        &self,
        cluster: &Cluster,
        release: &Release,
        resources: &[Resource],
        dry_run: bool,
    ) -> Result<(Vec<(String, String)>, Vec<Awaited>), ActionError> {
        let mut kept = Vec::new();
        let mut deleted = Vec::new();
        let mut going: Vec<&Resource> = Vec::new();
        let named: Vec<&Resource> = resources.iter().filter(|resource| resource.is_named()).collect();
        let live = deploy::present(cluster, &named).await?;
        for resource in named {
            let Some(live) = live.get(&resource.identity()) else {
                continue;
            };
            if ownership::is_kept(&resource.object) || ownership::is_kept(live) {
                kept.push((resource.object.kind().to_owned(), live.name().to_owned()));
                continue;
            }
            if let Err(not_owned) = ownership::check(live, &release.name, &release.namespace) {
                let text = format!("{} is left alone: {not_owned}", resource.label());
                cluster.observer.event(Event::Warning(text));
                continue;
            }
            going.push(resource);
        }
        if !dry_run && self.delete_at_once(cluster, release, &going).await? {
            for resource in going {
                deleted.push(deploy::awaited(resource));
                cluster.observer.event(Event::Deleted {
                    label: resource.label(),
                });
            }
            return Ok((kept, deleted));
        }
        for resource in going {
            let gone = apply::delete(&cluster.api, resource, self.cascade, dry_run).await?;
            if gone.is_some() && !dry_run {
                deleted.push(deploy::awaited(resource));
                cluster.observer.event(Event::Deleted {
                    label: resource.label(),
                });
            }
        }
        Ok((kept, deleted))
    }

    /// Deletes objects as one transaction; `false` where the cluster does not take it.
    async fn delete_at_once(
        &self,
        cluster: &Cluster,
        release: &Release,
        going: &[&Resource],
    ) -> Result<bool, ActionError> {
        let offered = transaction::is_offered(cluster)
            .await
            .map_err(ActionError::Unreachable)?;
        if !offered || going.is_empty() {
            return Ok(false);
        }
        let deletion = |resource: &&Resource| Operation::Delete {
            object: resource.object.clone(),
            cascade: self.cascade,
        };
        let operations: Vec<Operation> = going.iter().map(deletion).collect();
        match transaction::commit(cluster, &operations, false, false).await {
            Ok(_) => Ok(true),
            Err(Refusal::NotOffered(_) | Refusal::TooLarge(_)) => Ok(false),
            Err(refusal) => Err(refused(refusal, &operations, release)),
        }
    }

    async fn run_hooks(
        &self,
        cluster: &Cluster,
        release: &mut Release,
        event: &HookEvent,
    ) -> Result<(), ActionError> {
        if self.no_hooks {
            return Ok(());
        }
        let runner = HookRunner {
            cluster,
            timeout: self.timeout,
            apply: ApplyOptions::default(),
        };
        Ok(runner.run(release, event).await?)
    }
}

/// Whether the object was written by a release.
fn is_ours(object: &Object) -> bool {
    let managers = object.list(&["metadata", "managedFields"]).iter();
    managers
        .filter_map(|entry| entry["manager"].as_str())
        .any(|manager| manager == FIELD_MANAGER)
}
