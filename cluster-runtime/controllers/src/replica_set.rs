//! Replica sets and replication controllers: so many pods of one template, no more and no fewer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cluster_client::{Change, Collection, Informer, ObjectKey, WorkQueue};
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::{self, claim};
use crate::condition::{self, Condition};
use crate::context::Context;
use crate::pod::{self, Availability};
use crate::reconcile::Reconcile;
use crate::step::{self, Outcome, Said, Step};
use crate::template;

/// Most pods that one plan creates or deletes.
const BURST: usize = 500;

/// Which of the two kinds a controller looks after; all else is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    ReplicaSet,
    ReplicationController,
}

impl Flavour {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
        }
    }

    pub(crate) fn resource(self) -> GroupVersionResource {
        match self {
            Self::ReplicaSet => GroupVersionResource::new("apps/v1", "replicasets"),
            Self::ReplicationController => GroupVersionResource::new("v1", "replicationcontrollers"),
        }
    }

    fn selector(self, set: &Object) -> LabelSelector {
        match self {
            Self::ReplicaSet => claim::selector_of(set),
            // A plain map of labels; an empty one selects nothing.
            Self::ReplicationController => {
                let labels = set.at(&["spec", "selector"]).and_then(Value::as_object);
                let selector = labels
                    .filter(|labels| !labels.is_empty())
                    .map(LabelSelector::from_labels);
                selector
                    .and_then(Result::ok)
                    .unwrap_or_else(LabelSelector::nothing)
            }
        }
    }
}

/// Steps that bring the number of pods to what the set asks for. `owned` are its active pods, `related` those of the
/// sets with the same owner, which crowd nodes.
pub(crate) fn plan_replicas(
    set: &Object,
    owned: &[Arc<Object>],
    related: &[Arc<Object>],
    now: Timestamp,
) -> Vec<Step> {
    if set.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    if owned.len() <= wanted {
        let template = set.at(&["spec", "template"]).unwrap_or(&Value::Null);
        let pod = template::pod_of(set, template);
        let missing = (wanted - owned.len()).min(BURST);
        return vec![create_pod(set, pod); missing];
    }
    let surplus = (owned.len() - wanted).min(BURST);
    let mut pods = owned.to_vec();
    if surplus < pods.len() {
        pod::rank_for_deletion(&mut pods, related, now);
    }
    let pods_resource = GroupVersionResource::new("v1", "pods");
    let surplus = pods.iter().take(surplus);
    surplus
        .map(|pod| step::delete(&pods_resource, pod, Some(Said::deleted_pod())))
        .collect()
}

fn create_pod(set: &Object, pod: Object) -> Step {
    Step::Create {
        collection: Collection::namespaced("v1", "pods", set.namespace().unwrap_or_default()),
        object: pod,
        said: Some(Said::created_pod()),
    }
}

/// `spec.replicas`, 1 where absent.
pub(crate) fn wanted(set: &Object) -> i64 {
    set.integer(&["spec", "replicas"]).unwrap_or(1).max(0)
}

/// Steps that make the status say what is there. `failure` is why pods could not be created or deleted last time.
pub(crate) fn plan_status(
    resource: &GroupVersionResource,
    set: &Object,
    owned: &[Arc<Object>],
    failure: Option<&str>,
    now: Timestamp,
) -> Vec<Step> {
    let min_ready = set.integer(&["spec", "minReadySeconds"]).unwrap_or_default();
    let template_labels = set.at(&["spec", "template", "metadata", "labels"]);
    let template_labels = template_labels.and_then(Value::as_object);
    let carries_all = |pod: &Object| {
        template_labels.is_none_or(|labels| {
            labels
                .iter()
                .all(|(key, value)| pod.at(&["metadata", "labels", key]) == Some(value))
        })
    };
    let mut steps = Vec::new();
    let mut available = 0;
    let mut soonest = None;
    for pod in owned {
        match pod::availability(pod, min_ready, now) {
            Availability::Yes => available += 1,
            Availability::In(wait) => soonest = Some(soonest.map_or(wait, |soonest| wait.min(soonest))),
            Availability::No => {}
        }
    }
    let ready = owned.iter().filter(|pod| pod::is_ready(pod)).count();
    let labelled = owned.iter().filter(|pod| carries_all(pod)).count();
    let mut conditions = set.list(&["status", "conditions"]).to_vec();
    match failure {
        Some(message) => {
            let surplus = i64::try_from(owned.len()).unwrap_or(i64::MAX) > wanted(set);
            let failed = Condition {
                kind: "ReplicaFailure",
                status: "True",
                reason: if surplus { "FailedDelete" } else { "FailedCreate" },
                message,
            };
            if condition::find(&conditions, failed.kind).is_none() {
                condition::set_plain(&mut conditions, failed, now);
            }
        }
        None => condition::remove(&mut conditions, "ReplicaFailure"),
    }
    let status = json!({
        "replicas": owned.len(), "fullyLabeledReplicas": labelled, "readyReplicas": ready,
        "availableReplicas": available, "observedGeneration": set.generation(), "conditions": conditions,
    });
    let status = changed_fields(set, status);
    if !status.is_empty() {
        steps.push(step::patch_status(resource, set, Value::Object(status)));
    }
    steps.extend(soonest.map(Step::Again));
    steps
}

/// The fields of a status that differ from the present ones; zero and empty mean absent, except `replicas`, which
/// is always there.
pub(crate) fn changed_fields(object: &Object, status: Value) -> serde_json::Map<String, Value> {
    let Value::Object(fields) = status else {
        return serde_json::Map::new();
    };
    let unset =
        |value: &Value| value.is_null() || *value == json!(0) || *value == json!([]) || *value == json!("");
    let clean = |(key, value): (String, Value)| {
        let value = if unset(&value) && key != "replicas" {
            Value::Null
        } else {
            value
        };
        (key, value)
    };
    let differs = |(key, value): &(String, Value)| {
        let present = object.at(&["status", key]).unwrap_or(&Value::Null);
        let present_unset = unset(present) && key != "replicas";
        !(present == value || (value.is_null() && present_unset))
    };
    fields.into_iter().map(clean).filter(differs).collect()
}

/// The shell around the plans.
pub(crate) struct ReplicaSets<const REPLICATION_CONTROLLER: bool> {
    context: Context,
    flavour: Flavour,
    resource: GroupVersionResource,
    sets: Informer,
    pods: Informer,
    /// Why the pods of a set could not be created or deleted last time.
    failures: Mutex<HashMap<ObjectKey, String>>,
}

impl<const REPLICATION_CONTROLLER: bool> ReplicaSets<REPLICATION_CONTROLLER> {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let flavour = if REPLICATION_CONTROLLER {
            Flavour::ReplicationController
        } else {
            Flavour::ReplicaSet
        };
        let resource = flavour.resource();
        let sets = context.informers.of_resource(&resource);
        let pods = context.informers.of("v1", "pods");
        claim::index_orphans(&pods);
        let added = queue.clone();
        sets.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let (added, selecting) = (queue.clone(), sets.clone());
        pods.add_handler(move |change| {
            for key in sets_of_pod(flavour, &selecting, change) {
                added.add(key);
            }
        });
        Self {
            context: context.component(Self::NAME),
            flavour,
            resource,
            sets,
            pods,
            failures: Mutex::default(),
        }
    }

    /// The pods of all sets with the same owner, where some pods must go.
    fn related(&self, set: &Object, owned: &[Arc<Object>]) -> Vec<Arc<Object>> {
        if i64::try_from(owned.len()).unwrap_or(i64::MAX) <= wanted(set) {
            return Vec::new();
        }
        let Some(owner) = set.controller() else {
            return owned.to_vec();
        };
        let siblings = self.sets.owned_by(&owner.uid);
        siblings
            .iter()
            .flat_map(|sibling| self.pods.owned_by(sibling.uid()))
            .collect()
    }

    fn remember(&self, key: &ObjectKey, failure: Option<&cluster_objects::Status>) -> Option<String> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(status) => {
                failures.insert(key.clone(), status.to_string());
            }
            None => {
                failures.remove(key);
            }
        }
        failures.get(key).cloned()
    }
}

/// The sets that a change of a pod concerns: its controller, or every set that may adopt it.
fn sets_of_pod(flavour: Flavour, sets: &Informer, change: &Change) -> Vec<ObjectKey> {
    let pod = change.object();
    let mut keys = claim::owner_keys(change, flavour.kind());
    if claim::controller_of(pod).is_none() && !matches!(change, Change::Deleted(_)) {
        let sets = sets.in_namespace(pod.namespace().unwrap_or_default());
        let adopting = sets
            .iter()
            .filter(|set| flavour.selector(set).matches(pod.labels()));
        keys.extend(adopting.map(|set| ObjectKey::of(set)));
    }
    keys
}

impl<const REPLICATION_CONTROLLER: bool> Reconcile for ReplicaSets<REPLICATION_CONTROLLER> {
    type Key = ObjectKey;

    const NAME: &'static str = if REPLICATION_CONTROLLER {
        "replication-controller"
    } else {
        "replicaset-controller"
    };

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(set) = self.sets.get_key(key) else {
            self.remember(key, None);
            return Outcome::default();
        };
        let candidates = claim::candidates(&self.pods, &set);
        let active: Vec<_> = candidates.into_iter().filter(|pod| pod::is_active(pod)).collect();
        let selector = self.flavour.selector(&set);
        let pods = GroupVersionResource::new("v1", "pods");
        let claim = claim(&set, &selector, &pods, &active, |_| true);
        let now = self.context.clock.now();
        let mut steps = claim.steps;
        let related = self.related(&set, &claim.objects);
        steps.extend(plan_replicas(&set, &claim.objects, &related, now));
        let mut outcome = self.context.execute(&set, steps).await;
        let failure = self.remember(key, outcome.failure.as_ref());
        if outcome.failure.is_none() && !outcome.written.is_empty() {
            // What is cached is out of date: the changes just made come back and bring the status up to date.
            return outcome;
        }
        let steps = plan_status(&self.resource, &set, &claim.objects, failure.as_deref(), now);
        outcome.join(self.context.execute(&set, steps).await);
        outcome
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.sets.list().iter().map(|set| ObjectKey::of(set)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;
    use cluster_client::Patch;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("a time")
    }

    fn set(replicas: i64, status: &Value) -> Object {
        let mut set = Object::new("apps/v1", "ReplicaSet", Some("default"), "web");
        set.set(&["metadata", "uid"], "rs");
        set.set(&["metadata", "generation"], 2);
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        set.set(
            &["spec"],
            json!({"replicas": replicas, "minReadySeconds": 10, "template": template}),
        );
        set.set(&["status"], status.clone());
        set
    }

    /// A pod that is ready since so many seconds, or not ready.
    fn pod(name: &str, ready_seconds: Option<i64>) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some("default"), name);
        pod.set(&["metadata", "uid"], name);
        pod.set(&["metadata", "labels", "app"], "web");
        pod.set(&["spec", "nodeName"], "n1");
        pod.set(&["status", "phase"], "Running");
        if let Some(seconds) = ready_seconds {
            let since = Timestamp::from_second(now().as_second() - seconds).expect("in range");
            let ready =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": time::format(since)}]);
            pod.set(&["status", "conditions"], ready);
        }
        Arc::new(pod)
    }

    fn words(steps: &[Step]) -> Vec<String> {
        let word = |step: &Step| match step {
            Step::Create { object, .. } => {
                format!("+{}", object.text(&["metadata", "generateName"]).unwrap_or(""))
            }
            Step::Delete { target, .. } => format!("-{}", target.name),
            Step::Patch {
                patch: Patch::Merge(patch),
                ..
            } => patch["status"].to_string(),
            Step::Again(wait) => format!("wait {}", wait.as_secs()),
            other => format!("{other:?}"),
        };
        steps.iter().map(word).collect()
    }

    #[test]
    fn missing_pods_are_made_and_surplus_pods_go() {
        let two = [pod("old", Some(3000)), pod("young", None)];
        let check = |set: &Object, expected: &[&str]| {
            assert_eq!(words(&plan_replicas(set, &two, &[], now())), expected);
        };
        check(&set(4, &json!({})), &["+web-", "+web-"]);
        check(&set(2, &json!({})), &[]);
        check(&set(1, &json!({})), &["-young"]);
        check(&set(0, &json!({})), &["-old", "-young"]);
        let mut leaving = set(4, &json!({}));
        leaving.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        check(&leaving, &[]);
        let many = plan_replicas(&set(5000, &json!({})), &two, &[], now());
        assert_eq!(many.len(), BURST);
    }

    #[test]
    fn the_status_says_what_is_there_and_changes_nothing_else() {
        let pods = [
            pod("available", Some(20)),
            pod("ready", Some(4)),
            pod("starting", None),
        ];
        let resource = Flavour::ReplicaSet.resource();
        let words =
            |status: &Value, failure| words(&plan_status(&resource, &set(3, status), &pods, failure, now()));
        let counts = r#"{"availableReplicas":1,"fullyLabeledReplicas":3,"observedGeneration":2,"readyReplicas":2,"replicas":3}"#;
        assert_eq!(words(&json!({}), None), [counts, "wait 6"]);
        let said: Value = serde_json::from_str(counts).expect("JSON");
        assert_eq!(words(&said, None), ["wait 6"]);
        let failed = r#"{"conditions":[{"lastTransitionTime":"2026-01-01T01:00:00Z","message":"no room","reason":"FailedCreate","status":"True","type":"ReplicaFailure"}]}"#;
        assert_eq!(words(&said, Some("no room")), [failed, "wait 6"]);
        let mut before: Value = serde_json::from_str(failed).expect("JSON");
        before
            .as_object_mut()
            .expect("a map")
            .extend(said.as_object().expect("a map").clone());
        assert_eq!(words(&before, None), [r#"{"conditions":null}"#, "wait 6"]);
    }
}
