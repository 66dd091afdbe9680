//! Taking a release away.

use std::time::Duration;

use cluster_client::Propagation;

use crate::action::deploy::{self, WaitStrategy};
use crate::action::{ActionError, check_name};
use crate::apply::{self, ApplyError, ApplyOptions};
use crate::cluster::{Cluster, DEFAULT_TIMEOUT};
use crate::hooks::HookRunner;
use crate::ownership;
use crate::progress::Event;
use crate::readiness::Finish;
use crate::record::{HookEvent, Release, ReleaseStatus};
use crate::resource::{self, Resource};
use crate::storage::Entry;
use crate::wait::{self, Awaited, WaitOptions};

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
        let Some(last) = entries.last() else {
            unreachable!("a release that is there has a revision")
        };
        let mut release = last.decode()?;
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
        release.set_status(
            ReleaseStatus::Uninstalling,
            "Deletion in progress (or silently failed)",
        );
        release.info.deleted = Some(cluster.now());
        storage.update(&release).await?;
        self.run_hooks(cluster, &mut release, &HookEvent::PreDelete)
            .await?;
        let (kept, deleted) = self.delete(cluster, &release, &resources, false).await?;
        if self.wait == WaitStrategy::Ready {
            let options = WaitOptions {
                timeout: self.timeout,
                finish: Finish::default(),
                cancel: cluster.cancel.clone(),
            };
            wait::until_gone(&cluster.api, &deleted, &options, cluster.observer.as_ref()).await?;
        }
        self.run_hooks(cluster, &mut release, &HookEvent::PostDelete)
            .await?;
        let description = self.description.as_deref().unwrap_or("Uninstallation complete");
        release.set_status(ReleaseStatus::Uninstalled, description);
        if self.keep_history {
            for entry in entries
                .iter()
                .filter(|entry| entry.status == ReleaseStatus::Deployed)
            {
                // Only one revision can be the uninstalled one; an older deployed one would come back to life.
                if entry.revision != release.revision {
                    let mut older = entry.decode()?;
                    older.info.status = ReleaseStatus::Superseded;
                    storage.update(&older).await?;
                }
            }
            storage.update(&release).await?;
        } else {
            self.purge(cluster, &entries).await?;
        }
        Ok(Uninstalled {
            release: Some(release),
            kept,
            purged_only: false,
        })
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
        for resource in resources.iter().filter(|resource| resource.is_named()) {
            let live = match cluster.api.get(&resource.target()).await {
                Ok(live) => live,
                Err(status) if status.is_not_found() => continue,
                Err(status) => {
                    return Err(ApplyError::NotDeleted {
                        object: Box::new(resource.object.clone()),
                        status,
                    }
                    .into());
                }
            };
            if ownership::is_kept(&resource.object) || ownership::is_kept(&live) {
                kept.push((live.kind().to_owned(), live.name().to_owned()));
                continue;
            }
            if let Err(not_owned) = ownership::check(&live, &release.name, &release.namespace) {
                let text = format!("{} is left alone: {not_owned}", resource.label());
                cluster.observer.event(Event::Warning(text));
                continue;
            }
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
