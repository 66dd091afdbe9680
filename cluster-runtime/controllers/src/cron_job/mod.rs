//! Cron jobs: jobs that are made when their time comes.

mod plan;
mod schedule;

use std::sync::Arc;

use cluster_client::{Informer, ObjectKey, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};

use crate::claim;
use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::Outcome;

use plan::plan;

pub(crate) fn cron_jobs() -> GroupVersionResource {
    GroupVersionResource::new("batch/v1", "cronjobs")
}

/// The shell around the plan.
pub(crate) struct CronJobs {
    context: Context,
    cron_jobs: Informer,
    jobs: Informer,
}

impl CronJobs {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let cron_jobs = context.informers.of_resource(&cron_jobs());
        let jobs = context.informers.of_resource(&crate::job::jobs());
        let added = queue.clone();
        cron_jobs.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let added = queue.clone();
        jobs.add_handler(move |change| {
            claim::owner_keys(change, "CronJob")
                .into_iter()
                .for_each(|key| added.add(key));
        });
        Self {
            context: context.component(Self::NAME),
            cron_jobs,
            jobs,
        }
    }
}

impl Reconcile for CronJobs {
    type Key = ObjectKey;

    const NAME: &'static str = "cronjob-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(cron_job) = self.cron_jobs.get_key(key) else {
            return Outcome::default();
        };
        let jobs = self.jobs.owned_by(cron_job.uid());
        let steps = plan(&cron_job, &jobs, self.context.clock.now());
        let mut outcome = self.context.execute(&cron_job, steps).await;
        // The name of a job says its time, so one that is there was made for this time already.
        outcome.failure = outcome.failure.filter(|status| !status.is_already_exists());
        outcome
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.cron_jobs
            .list()
            .iter()
            .map(|object: &Arc<Object>| ObjectKey::of(object))
            .collect()
    }
}
