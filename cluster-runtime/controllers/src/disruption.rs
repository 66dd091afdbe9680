//! Disruption budgets: how many pods may be evicted now.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_client::{Informer, ObjectKey, WorkQueue};
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::claim;
use crate::condition::{self, Condition};
use crate::context::Context;
use crate::deployment::resolve;
use crate::pod;
use crate::reconcile::Reconcile;
use crate::replica_set::wanted;
use crate::step::{self, Outcome, Step};
use crate::time;

/// Seconds for an evicted pod to show that it is being deleted; after that it counts as there again.
const EVICTION_SECONDS: i64 = 120;

fn budgets() -> GroupVersionResource {
    GroupVersionResource::new("policy/v1", "poddisruptionbudgets")
}

/// Steps that make the status of a budget say how many of its pods may go. `expected` is how many pods their
/// controllers want.
pub(crate) fn plan(budget: &Object, pods: &[Arc<Object>], expected: i64, now: Timestamp) -> Vec<Step> {
    let (disrupted, again) = disrupted(budget, pods, now);
    let is_healthy = |pod: &&Arc<Object>| {
        let evicted = disrupted.contains_key(pod.name());
        pod.deletion_timestamp().is_none() && pod::is_ready(pod) && !evicted
    };
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i64::MAX);
    let (desired, expected) = match budget.at(&["spec", "maxUnavailable"]) {
        Some(value) => (
            (expected - resolve(Some(value), "0", expected, true)).max(0),
            expected,
        ),
        None => {
            let value = budget.at(&["spec", "minAvailable"]);
            let percent = value.is_some_and(Value::is_string);
            // A plain number needs no controller: the pods are those that are there.
            let present = i64::try_from(pods.len()).unwrap_or(i64::MAX);
            let expected = if percent { expected } else { present };
            (resolve(value, "1", expected, true), expected)
        }
    };
    let allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    let mut conditions = budget.list(&["status", "conditions"]).to_vec();
    let (status, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let wanted = Condition {
        kind: "DisruptionAllowed",
        status,
        reason,
        message: "",
    };
    let generation = budget.generation();
    if condition::find(&conditions, wanted.kind).is_none_or(|present| present["status"] != status) {
        condition::set_plain(&mut conditions, wanted, now);
        for condition in conditions
            .iter_mut()
            .filter(|condition| condition["type"] == "DisruptionAllowed")
        {
            condition["observedGeneration"] = generation.into();
        }
    }
    // These are there even when they are 0.
    let mut fields = Map::new();
    for (field, value) in [
        ("currentHealthy", json!(healthy)),
        ("desiredHealthy", json!(desired)),
        ("disruptionsAllowed", json!(allowed)),
        ("expectedPods", json!(expected)),
        ("observedGeneration", json!(generation)),
        ("conditions", json!(conditions)),
    ] {
        if budget.at(&["status", field]) != Some(&value) {
            fields.insert(field.into(), value);
        }
    }
    let known = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object);
    for name in known
        .into_iter()
        .flat_map(Map::keys)
        .filter(|name| !disrupted.contains_key(name.as_str()))
    {
        let removed = fields.entry("disruptedPods").or_insert_with(|| json!({}));
        removed[name] = Value::Null;
    }
    let mut steps = Vec::new();
    if !fields.is_empty() {
        steps.push(step::patch_status(&budgets(), budget, Value::Object(fields)));
    }
    steps.extend(again);
    steps
}

/// Evicted pods that have not shown yet that they go, and when to look again.
fn disrupted<'a>(
    budget: &'a Object,
    pods: &[Arc<Object>],
    now: Timestamp,
) -> (BTreeMap<&'a str, Timestamp>, Option<Step>) {
    let known = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object);
    let mut disrupted = BTreeMap::new();
    let mut soonest = None;
    for (name, evicted) in known.into_iter().flatten() {
        let here = pods
            .iter()
            .any(|pod| pod.name() == name && pod.deletion_timestamp().is_none());
        let Some(evicted) = time::of(evicted.as_str()).filter(|_| here) else {
            continue;
        };
        if let Some(left) = time::remaining(evicted, EVICTION_SECONDS, now) {
            disrupted.insert(name.as_str(), evicted);
            soonest = Some(soonest.map_or(left, |soonest| left.min(soonest)));
        }
    }
    (disrupted, soonest.map(Step::Again))
}

/// The shell around [`plan`].
pub(crate) struct Disruptions {
    context: Context,
    budgets: Informer,
    pods: Informer,
    /// The kinds that say how many pods there should be, by their name in owner references.
    controllers: Vec<(&'static str, Informer)>,
}

impl Disruptions {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let budgets = context.informers.of_resource(&budgets());
        let pods = context.informers.of("v1", "pods");
        let added = queue.clone();
        budgets.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let (added, all) = (queue.clone(), budgets.clone());
        pods.add_handler(move |change| {
            let pod = change.object();
            let same = change.old().is_some_and(|old| {
                pod::is_ready(old) == pod::is_ready(pod)
                    && old.deletion_timestamp() == pod.deletion_timestamp()
                    && old.labels() == pod.labels()
            });
            if same {
                return;
            }
            for budget in all.in_namespace(pod.namespace().unwrap_or_default()) {
                let selector = claim::selector_of(&budget);
                let before = change.old().and_then(|old| old.labels());
                if selector.matches(pod.labels()) || (before.is_some() && selector.matches(before)) {
                    added.add(ObjectKey::of(&budget));
                }
            }
        });
        let informer = |api_version: &str, resource: &str| context.informers.of(api_version, resource);
        Self {
            context: context.component(Self::NAME),
            budgets,
            pods,
            controllers: vec![
                ("ReplicaSet", informer("apps/v1", "replicasets")),
                ("Deployment", informer("apps/v1", "deployments")),
                ("StatefulSet", informer("apps/v1", "statefulsets")),
                ("ReplicationController", informer("v1", "replicationcontrollers")),
            ],
        }
    }

    fn owner_of(&self, object: &Object) -> Option<Arc<Object>> {
        let owner = object.controller()?;
        let (_, informer) = self.controllers.iter().find(|(kind, _)| *kind == owner.kind)?;
        informer
            .get(object.namespace().unwrap_or_default(), &owner.name)
            .filter(|found| found.uid() == owner.uid)
    }

    /// How many pods the controllers of these pods want.
    fn expected(&self, pods: &[Arc<Object>]) -> i64 {
        let mut wanted_by: BTreeMap<String, i64> = BTreeMap::new();
        for pod in pods {
            let Some(mut owner) = self.owner_of(pod) else {
                continue;
            };
            while let Some(above) = self.owner_of(&owner) {
                owner = above;
            }
            wanted_by.insert(owner.uid().to_owned(), wanted(&owner));
        }
        wanted_by.values().sum()
    }
}

impl Reconcile for Disruptions {
    type Key = ObjectKey;

    const NAME: &'static str = "disruption-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(budget) = self.budgets.get_key(key) else {
            return Outcome::default();
        };
        let selector: LabelSelector = claim::selector_of(&budget);
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selector.matches(pod.labels()) && !pod::is_finished(pod));
        let steps = plan(&budget, &pods, self.expected(&pods), self.context.clock.now());
        self.context.execute(&budget, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.budgets
            .list()
            .iter()
            .map(|budget| ObjectKey::of(budget))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_client::Patch;

    fn check(spec: &Value, ready: usize, pods: usize, expected: i64, wanted: [i64; 3]) {
        let mut budget = Object::new("policy/v1", "PodDisruptionBudget", Some("default"), "web");
        budget.set(&["spec"], spec.clone());
        let pods: Vec<Arc<Object>> = (0..pods)
            .map(|number| {
                let mut pod = Object::new("v1", "Pod", Some("default"), &format!("web-{number}"));
                let status = if number < ready { "True" } else { "False" };
                pod.set(
                    &["status", "conditions"],
                    json!([{"type": "Ready", "status": status}]),
                );
                Arc::new(pod)
            })
            .collect();
        let steps = plan(&budget, &pods, expected, Timestamp::UNIX_EPOCH);
        let Some(Step::Patch {
            patch: Patch::Merge(patch),
            ..
        }) = steps.first()
        else {
            panic!("no status");
        };
        let field = |name: &str| patch["status"][name].as_i64().expect("a number");
        assert_eq!(
            [
                field("currentHealthy"),
                field("desiredHealthy"),
                field("disruptionsAllowed")
            ],
            wanted,
            "{spec}"
        );
    }

    #[test]
    fn as_many_pods_may_go_as_the_budget_leaves() {
        check(&json!({"minAvailable": 2}), 3, 3, 3, [3, 2, 1]);
        check(&json!({"minAvailable": 2}), 1, 3, 3, [1, 2, 0]);
        check(&json!({"minAvailable": "50%"}), 4, 4, 5, [4, 3, 1]);
        check(&json!({"maxUnavailable": 1}), 3, 3, 4, [3, 3, 0]);
        check(&json!({"maxUnavailable": "50%"}), 4, 4, 4, [4, 2, 2]);
        check(&json!({"maxUnavailable": 1}), 0, 0, 0, [0, 0, 0]);
    }
}
