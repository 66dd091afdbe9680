//! Daemon sets: one pod on every node that suits it.

mod plan;

use std::sync::Arc;

use cluster_client::{Change, Informer, ObjectKey, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};

use crate::claim::{self, claim};
use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::revision::controller_revisions;
use crate::step::Outcome;

use plan::plan;

pub(crate) fn daemon_sets() -> GroupVersionResource {
    GroupVersionResource::new("apps/v1", "daemonsets")
}

/// The shell around the plan.
pub(crate) struct DaemonSets {
    context: Context,
    sets: Informer,
    pods: Informer,
    nodes: Informer,
    revisions: Informer,
}

impl DaemonSets {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let sets = context.informers.of_resource(&daemon_sets());
        let pods = context.informers.of("v1", "pods");
        let nodes = context.informers.of("v1", "nodes");
        let revisions = context.informers.of_resource(&controller_revisions());
        claim::index_orphans(&pods);
        let added = queue.clone();
        sets.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        for informer in [&pods, &revisions] {
            let added = queue.clone();
            informer.add_handler(move |change| {
                claim::owner_keys(change, "DaemonSet")
                    .into_iter()
                    .for_each(|key| added.add(key));
            });
        }
        let (added, all) = (queue.clone(), sets.clone());
        nodes.add_handler(move |change| {
            if suits_the_same(change) {
                return;
            }
            all.list().iter().for_each(|set| added.add(ObjectKey::of(set)));
        });
        Self {
            context: context.component(Self::NAME),
            sets,
            pods,
            nodes,
            revisions,
        }
    }
}

/// Whether a change of a node leaves open which daemons belong on it: heartbeats do.
fn suits_the_same(change: &Change) -> bool {
    let Some(old) = change.old() else { return false };
    let paths: [&[&str]; 2] = [&["metadata", "labels"], &["spec", "taints"]];
    paths.iter().all(|path| old.at(path) == change.object().at(path))
}

impl Reconcile for DaemonSets {
    type Key = ObjectKey;

    const NAME: &'static str = "daemonset-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(set) = self.sets.get_key(key) else {
            return Outcome::default();
        };
        let candidates = claim::candidates(&self.pods, &set);
        let selector = claim::selector_of(&set);
        let pods = GroupVersionResource::new("v1", "pods");
        let claim = claim(&set, &selector, &pods, &candidates, |_| true);
        let mut steps = claim.steps;
        let revisions = self.revisions.owned_by(set.uid());
        let nodes = self.nodes.list();
        steps.extend(plan(
            &set,
            &claim.objects,
            &nodes,
            &revisions,
            self.context.clock.now(),
        ));
        self.context.execute(&set, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.sets
            .list()
            .iter()
            .map(|set: &Arc<Object>| ObjectKey::of(set))
            .collect()
    }
}
