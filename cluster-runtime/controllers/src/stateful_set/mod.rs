//! Stateful sets: pods with a number, a name and storage of their own, made and removed in order.

mod plan;
mod pods;

use std::sync::Arc;

use cluster_client::{Informer, ObjectKey, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};

use crate::claim::{self, claim};
use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::revision::controller_revisions;
use crate::step::Outcome;

use plan::{Observed, plan};

pub(crate) fn stateful_sets() -> GroupVersionResource {
    GroupVersionResource::new("apps/v1", "statefulsets")
}

/// The shell around the plan.
pub(crate) struct StatefulSets {
    context: Context,
    sets: Informer,
    pods: Informer,
    revisions: Informer,
    claims: Informer,
}

impl StatefulSets {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let sets = context.informers.of_resource(&stateful_sets());
        let pods = context.informers.of("v1", "pods");
        let revisions = context.informers.of_resource(&controller_revisions());
        claim::index_orphans(&pods);
        let added = queue.clone();
        sets.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        for informer in [&pods, &revisions] {
            let added = queue.clone();
            informer.add_handler(move |change| {
                claim::owner_keys(change, "StatefulSet")
                    .into_iter()
                    .for_each(|key| added.add(key));
            });
        }
        Self {
            context: context.component(Self::NAME),
            sets,
            pods,
            revisions,
            claims: context.informers.of("v1", "persistentvolumeclaims"),
        }
    }
}

impl Reconcile for StatefulSets {
    type Key = ObjectKey;

    const NAME: &'static str = "statefulset-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(set) = self.sets.get_key(key) else {
            return Outcome::default();
        };
        let candidates = claim::candidates(&self.pods, &set);
        let selector = claim::selector_of(&set);
        let pods = GroupVersionResource::new("v1", "pods");
        let of_set = |pod: &Object| pods::ordinal_of(&set, pod).is_some();
        let claim = claim(&set, &selector, &pods, &candidates, of_set);
        let has_claim = |name: &str| self.claims.get(&key.namespace, name).is_some();
        let observed = Observed {
            pods: claim.objects,
            revisions: self.revisions.owned_by(set.uid()),
            has_claim: &has_claim,
        };
        let mut steps = claim.steps;
        steps.extend(plan(&set, &observed, self.context.clock.now()));
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
