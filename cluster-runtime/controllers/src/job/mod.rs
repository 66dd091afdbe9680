//! Jobs: pods that end, so many of them, so many at once.

mod indexes;
mod plan;
mod pods;

use std::sync::Arc;

use cluster_client::{Informer, ObjectKey, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};

use crate::claim::{self, claim};
use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::Outcome;

pub(crate) use plan::finished;
use plan::plan;

pub(crate) fn jobs() -> GroupVersionResource {
    GroupVersionResource::new("batch/v1", "jobs")
}

/// The shell around [`plan`].
pub(crate) struct Jobs {
    context: Context,
    jobs: Informer,
    pods: Informer,
}

impl Jobs {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let jobs = context.informers.of_resource(&jobs());
        let pods = context.informers.of("v1", "pods");
        claim::index_orphans(&pods);
        let added = queue.clone();
        jobs.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let added = queue.clone();
        pods.add_handler(move |change| {
            claim::owner_keys(change, "Job")
                .into_iter()
                .for_each(|key| added.add(key));
        });
        Self {
            context: context.component(Self::NAME),
            jobs,
            pods,
        }
    }
}

impl Reconcile for Jobs {
    type Key = ObjectKey;

    const NAME: &'static str = "job-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(job) = self.jobs.get_key(key) else {
            return Outcome::default();
        };
        let manager = job
            .text(&["spec", "managedBy"])
            .unwrap_or("kubernetes.io/job-controller");
        if manager != "kubernetes.io/job-controller" {
            return Outcome::default();
        }
        let candidates = claim::candidates(&self.pods, &job);
        let selector = claim::selector_of(&job);
        let pods = GroupVersionResource::new("v1", "pods");
        let owned = |pod: &Arc<Object>| claim::controller_of(pod).is_some();
        let (owned, free): (Vec<_>, Vec<_>) = candidates.into_iter().partition(owned);
        // What is the job's own stays so: its selector is made of its UID and cannot change.
        let claim = claim(&job, &selector, &pods, &free, crate::pod::is_active);
        let mut all = owned;
        all.extend(claim.objects);
        let mut steps = claim.steps;
        steps.extend(plan(&job, &all, self.context.clock.now()));
        self.context.execute(&job, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.jobs.list().iter().map(|job| ObjectKey::of(job)).collect()
    }
}
