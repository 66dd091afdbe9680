//! Objects that are run at events: one after another, by weight.

use std::time::Duration;

use cluster_client::{ListOptions, Propagation, Target};
use cluster_objects::{Object, Status};

use crate::apply::{self, ApplyError, ApplyOptions};
use crate::cluster::Cluster;
use crate::manifest::{self, ManifestError};
use crate::progress::Event;
use crate::readiness::Finish;
use crate::record::{HookDeletePolicy, HookEvent, HookLogPolicy, HookPhase, HookRun, Release};
use crate::resource::{self, Resource, UnknownKinds};
use crate::storage::StorageError;
use crate::wait::{self, Awaited, WaitError, WaitOptions};

/// Runs the hooks of a release.
pub struct HookRunner<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Longest wait for one hook.
    pub timeout: Duration,
    /// How their objects are applied.
    pub apply: ApplyOptions,
}

/// Why the hooks of an event did not go well. The beginning of the text is Helm's.
#[derive(Debug, thiserror::Error)]
#[error("failed {event}: {hook}: {fault}")]
pub struct HookError {
    /// The event.
    pub event: HookEvent,
    /// `Kind/name` of the hook, or its template where it is no object.
    pub hook: String,
    /// Why.
    pub fault: HookFault,
}

/// What can go wrong with a hook.
#[derive(Debug, thiserror::Error)]
pub enum HookFault {
    /// It is no object.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cluster does not serve its kind.
    #[error(transparent)]
    UnknownKinds(#[from] UnknownKinds),
    /// Its object was refused.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It failed or took too long.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// That it runs could not be recorded.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The cluster does not answer.
    #[error("cannot ask the cluster: {0}")]
    Api(Status),
}

impl HookRunner<'_> {
    /// Runs the hooks of an event and notes in the release how they went.
    ///
    /// Before each run the record is written, so that others see what goes on. Stops at the first that fails.
    pub async fn run(&self, release: &mut Release, event: &HookEvent) -> Result<(), HookError> {
        let order = release.hooks_at(event);
        self.run_these(release, event, &order).await
    }

    /// As [`HookRunner::run`], for some of the hooks.
    pub async fn run_these(
        &self,
        release: &mut Release,
        event: &HookEvent,
        order: &[usize],
    ) -> Result<(), HookError> {
        for (done, index) in order.iter().enumerate() {
            if let Err(fault) = self.run_one(release, event, *index).await {
                release.hooks[*index].last_run.phase = HookPhase::Failed;
                release.hooks[*index].last_run.completed_at = Some(self.cluster.now());
                let hook = label(release, *index);
                self.tidy(
                    release,
                    &[*index],
                    &HookDeletePolicy::HookFailed,
                    &HookLogPolicy::HookFailed,
                )
                .await;
                let succeeded: Vec<usize> = order[..done].iter().rev().copied().collect();
                self.tidy(
                    release,
                    &succeeded,
                    &HookDeletePolicy::HookSucceeded,
                    &HookLogPolicy::HookSucceeded,
                )
                .await;
                return Err(HookError {
                    event: event.clone(),
                    hook,
                    fault,
                });
            }
        }
        let reversed: Vec<usize> = order.iter().rev().copied().collect();
        self.tidy(
            release,
            &reversed,
            &HookDeletePolicy::HookSucceeded,
            &HookLogPolicy::HookSucceeded,
        )
        .await;
        Ok(())
    }

    async fn run_one(&self, release: &mut Release, event: &HookEvent, index: usize) -> Result<(), HookFault> {
        let resources = self.resources(release, index).await?;
        // Helm's default, where no policy is named.
        let policies = &release.hooks[index].delete_policies;
        if policies.is_empty() || policies.contains(&HookDeletePolicy::BeforeHookCreation) {
            self.delete(&resources).await?;
        }
        release.hooks[index].last_run = HookRun {
            started_at: Some(self.cluster.now()),
            completed_at: None,
            phase: HookPhase::Running,
        };
        self.cluster.storage().update(release).await?;
        // Should this process die, the record says that nobody knows how it went.
        release.hooks[index].last_run.phase = HookPhase::Unknown;
        self.cluster.observer.event(Event::Hook {
            event: event.as_str(),
            hook: label(release, index),
        });
        let mut awaited = Vec::new();
        for resource in resources {
            let object = apply::apply(&self.cluster.api, &resource, &self.apply).await?;
            if is_awaited(&resource) {
                // The server may have made the name.
                let object = Object::clone(&object);
                awaited.push(Awaited {
                    target: Target::of(&resource.resource, &object),
                    kind: resource.object.kind().to_owned(),
                });
            }
        }
        let finish = Finish {
            jobs: true,
            pods: true,
        };
        let options = self.wait_options(finish);
        wait::until_ready(
            &self.cluster.api,
            &awaited,
            &options,
            self.cluster.observer.as_ref(),
        )
        .await?;
        release.hooks[index].last_run.phase = HookPhase::Succeeded;
        release.hooks[index].last_run.completed_at = Some(self.cluster.now());
        Ok(())
    }

    async fn resources(&self, release: &Release, index: usize) -> Result<Vec<Resource>, HookFault> {
        let objects = manifest::parse(&release.hooks[index].manifest)?;
        let discovery = self.cluster.discovery().await.map_err(HookFault::Api)?;
        Ok(resource::resolve(objects, &discovery, &release.namespace)?)
    }

    /// Prints the logs and deletes the objects of hooks by their policies; what fails is only told.
    async fn tidy(
        &self,
        release: &Release,
        indexes: &[usize],
        delete: &HookDeletePolicy,
        log: &HookLogPolicy,
    ) {
        for index in indexes {
            let hook = &release.hooks[*index];
            let (logs, deletes) = (
                hook.output_log_policies.contains(log),
                hook.delete_policies.contains(delete),
            );
            if !logs && !deletes {
                continue;
            }
            let Ok(resources) = self.resources(release, *index).await else {
                continue;
            };
            if logs {
                for resource in &resources {
                    self.print_logs(resource).await;
                }
            }
            if deletes && let Err(fault) = self.delete(&resources).await {
                let text = format!("hook {} was not deleted: {fault}", label(release, *index));
                self.cluster.observer.event(Event::Warning(text));
            }
        }
    }

    /// Deletes objects and waits until they are gone. CRDs stay: what they define would go with them.
    async fn delete(&self, resources: &[Resource]) -> Result<(), HookFault> {
        let mut deleted = Vec::new();
        for resource in resources {
            if resource.object.kind() == "CustomResourceDefinition" || !resource.is_named() {
                continue;
            }
            if apply::delete(&self.cluster.api, resource, Propagation::Background, false)
                .await?
                .is_some()
            {
                deleted.push(awaited(resource));
            }
        }
        if !deleted.is_empty() {
            let options = self.wait_options(Finish::default());
            let observer = self.cluster.observer.as_ref();
            wait::until_gone(&self.cluster.api, &deleted, &options, observer).await?;
        }
        Ok(())
    }

    /// Tells the logs of a hook's pods.
    pub async fn print_logs(&self, resource: &Resource) {
        let Some(namespace) = resource.object.namespace() else {
            return;
        };
        let pods = match resource.object.kind() {
            "Pod" => vec![resource.object.name().to_owned()],
            "Job" => self.pods_of_job(namespace, resource.object.name()).await,
            _ => Vec::new(),
        };
        for pod in pods {
            for container in self.containers_of(namespace, &pod).await {
                let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}");
                match self.cluster.api.raw(&path).await {
                    Ok(log) => self.cluster.observer.event(Event::Log {
                        pod: pod.clone(),
                        container,
                        text: &String::from_utf8_lossy(&log),
                    }),
                    Err(status) => {
                        let text = format!("no logs of pod `{pod}`, container `{container}`: {status}");
                        self.cluster.observer.event(Event::Warning(text));
                    }
                }
            }
        }
    }

    async fn pods_of_job(&self, namespace: &str, job: &str) -> Vec<String> {
        let options = ListOptions {
            label_selector: format!("batch.kubernetes.io/job-name={job}"),
            ..ListOptions::default()
        };
        let pods = cluster_client::Collection::namespaced("v1", "pods", namespace);
        let listed = self.cluster.api.list(&pods, &options).await;
        let items = listed.map(|list| list.items).unwrap_or_default();
        items.iter().map(|pod| pod.name().to_owned()).collect()
    }

    async fn containers_of(&self, namespace: &str, pod: &str) -> Vec<String> {
        let target = Target::namespaced("v1", "pods", namespace, pod);
        let Ok(pod) = self.cluster.api.get(&target).await else {
            return Vec::new();
        };
        let containers = pod.list(&["spec", "containers"]).iter();
        containers
            .filter_map(|container| container["name"].as_str().map(str::to_owned))
            .collect()
    }

    fn wait_options(&self, finish: Finish) -> WaitOptions {
        WaitOptions {
            timeout: self.timeout,
            finish,
            cancel: self.cluster.cancel.clone(),
        }
    }
}

/// Kinds that a hook waits for; others have done their work by being there.
fn is_awaited(resource: &Resource) -> bool {
    matches!(resource.object.kind(), "Job" | "Pod" | "CustomResourceDefinition")
}

fn awaited(resource: &Resource) -> Awaited {
    Awaited {
        target: resource.target(),
        kind: resource.object.kind().to_owned(),
    }
}

fn label(release: &Release, index: usize) -> String {
    let hook = &release.hooks[index];
    if hook.name.is_empty() {
        hook.path.clone()
    } else {
        format!("{}/{}", hook.kind, hook.name)
    }
}
