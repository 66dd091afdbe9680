//! Deployments: replica sets that follow one another as the template changes.

mod plan;
mod rollout;
mod sets;
mod status;

use std::sync::Arc;

use cluster_client::{Change, Informer, ObjectKey, Patch, Target, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};
use serde_json::{Value, json};

use crate::claim::{self, claim};
use crate::context::Context;
use crate::pod;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};
use crate::template;

pub(crate) use plan::{Observed, plan};
pub(crate) use rollout::resolve;

/// The shell around [`plan`].
pub(crate) struct Deployments {
    context: Context,
    deployments: Informer,
    sets: Informer,
    pods: Informer,
}

pub(crate) fn deployments() -> GroupVersionResource {
    GroupVersionResource::new("apps/v1", "deployments")
}

pub(crate) fn replica_sets() -> GroupVersionResource {
    GroupVersionResource::new("apps/v1", "replicasets")
}

impl Deployments {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let deployments = context.informers.of_resource(&deployments());
        let sets = context.informers.of_resource(&replica_sets());
        let pods = context.informers.of("v1", "pods");
        claim::index_orphans(&sets);
        let added = queue.clone();
        deployments.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let (added, selecting) = (queue.clone(), deployments.clone());
        sets.add_handler(move |change| {
            for key in deployments_of_set(&selecting, change) {
                added.add(key);
            }
        });
        // Only a deployment that recreates waits for pods to be gone.
        let (added, selecting, owning) = (queue.clone(), deployments.clone(), sets.clone());
        pods.add_handler(move |change| {
            let ended = matches!(change, Change::Deleted(_)) || pod::is_finished(change.object());
            if !ended {
                return;
            }
            let deployment = deployment_of_pod(&selecting, &owning, change.object());
            if let Some(deployment) = deployment.filter(|deployment| rollout::recreates(deployment)) {
                added.add(ObjectKey::of(&deployment));
            }
        });
        Self {
            context: context.component(Self::NAME),
            deployments,
            sets,
            pods,
        }
    }

    /// A replica set of the wanted name is there already. Either it is the wanted one, which the cache does not show
    /// yet, or the hash of another template is the same: then the next hash is another one.
    async fn settle_collision(&self, deployment: &Object, name: &str) -> Outcome {
        let target = Target::of(&replica_sets(), deployment);
        let target = Target {
            name: name.to_owned(),
            ..target
        };
        let Ok(present) = self.context.api.get(&target).await else {
            return Outcome::default();
        };
        if is_wanted(deployment, &present) {
            return Outcome::default();
        }
        let collisions = deployment
            .integer(&["status", "collisionCount"])
            .unwrap_or_default();
        let step = Step::Patch {
            target: Target::of(&deployments(), deployment).subresource("status"),
            patch: Patch::Merge(json!({"status": {"collisionCount": collisions + 1}})),
        };
        self.context.execute(deployment, vec![step]).await
    }
}

/// Whether a replica set is the one that a deployment wants: its own, or nobody's, which it will adopt.
fn is_wanted(deployment: &Object, set: &Object) -> bool {
    let is_ours = match set.controller() {
        Some(owner) => owner.uid == deployment.uid(),
        None => claim::selector_of(deployment).matches(set.labels()),
    };
    let template = |object: &Object| object.at(&["spec", "template"]).cloned().unwrap_or(Value::Null);
    is_ours && template::same(&template(deployment), &template(set))
}

impl Reconcile for Deployments {
    type Key = ObjectKey;

    const NAME: &'static str = "deployment-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(deployment) = self.deployments.get_key(key) else {
            return Outcome::default();
        };
        let candidates = claim::candidates(&self.sets, &deployment);
        let selector = claim::selector_of(&deployment);
        let claim = claim(&deployment, &selector, &replica_sets(), &candidates, |_| true);
        let pods_of = |set: &Object| self.pods.owned_by(set.uid());
        let running = |set: &Object| pods_of(set).iter().any(|pod| !pod::is_finished(pod));
        let observed = Observed {
            sets: claim.objects,
            has_running_pods: &running,
            selects_everything: selector.is_everything(),
        };
        let mut steps = claim.steps;
        steps.extend(plan(&deployment, &observed, self.context.clock.now()));
        let created = steps.iter().find_map(|step| match step {
            Step::Create { object, .. } => Some(object.name().to_owned()),
            _ => None,
        });
        let mut outcome = self.context.execute(&deployment, steps).await;
        if let (Some(status), Some(name)) = (&outcome.failure, created) {
            if status.is_already_exists() {
                outcome.failure = None;
                outcome.join(self.settle_collision(&deployment, &name).await);
            } else {
                let now = self.context.clock.now();
                let steps = status::plan_create_failed(&deployment, &status.to_string(), now);
                outcome.join(self.context.execute(&deployment, steps).await);
            }
        }
        outcome
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.deployments
            .list()
            .iter()
            .map(|object| ObjectKey::of(object))
            .collect()
    }
}

/// The deployments that a change of a replica set concerns: its controller, or every one that may adopt it.
fn deployments_of_set(deployments: &Informer, change: &Change) -> Vec<ObjectKey> {
    let set = change.object();
    let namespace = set.namespace().unwrap_or_default();
    let mut keys = claim::owner_keys(change, "Deployment");
    if claim::controller_of(set).is_none() && !matches!(change, Change::Deleted(_)) {
        let present = deployments.in_namespace(namespace);
        let adopting = present
            .iter()
            .filter(|deployment| claim::selector_of(deployment).matches(set.labels()));
        keys.extend(adopting.map(|deployment| ObjectKey::of(deployment)));
    }
    keys
}

fn deployment_of_pod(deployments: &Informer, sets: &Informer, pod: &Object) -> Option<Arc<Object>> {
    let set = sets.get_key(&claim::owner_key(pod, "ReplicaSet")?)?;
    deployments.get_key(&claim::owner_key(&set, "Deployment")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_the_wanted_name_is_ours_nobodys_or_an_obstacle() {
        let made = |value: Value| Object::from_value(value).unwrap();
        let template =
            |image: &str| json!({"metadata": {"labels": {"app": "web"}}, "spec": {"image": image}});
        let deployment = made(json!({
            "metadata": {"name": "web", "uid": "new"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template("a")},
        }));
        let check = |owner: Option<&str>, label: &str, image: &str, expected: bool| {
            let owners = owner
                .map(|uid| json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid, "controller": true}]));
            let set = made(json!({
                "metadata": {"labels": {"app": label}, "ownerReferences": owners},
                "spec": {"template": template(image)},
            }));
            assert_eq!(is_wanted(&deployment, &set), expected, "{set:?}");
        };
        check(Some("new"), "web", "a", true);
        check(Some("new"), "web", "b", false);
        check(Some("old"), "web", "a", false);
        check(None, "web", "a", true);
        check(None, "web", "b", false);
        check(None, "other", "a", false);
    }
}
