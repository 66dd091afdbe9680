//! What a stateful set does next, from its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{DeleteOptions, Target};
use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{pods, stateful_sets};
use crate::pod::{self, Availability};
use crate::replica_set::{changed_fields, wanted};
use crate::revision::{self, Update};
use crate::step::{self, Step};

/// What is known of a set's surroundings.
pub(crate) struct Observed<'a> {
    /// Its pods.
    pub(crate) pods: Vec<Arc<Object>>,
    /// Its revisions.
    pub(crate) revisions: Vec<Arc<Object>>,
    /// Whether a claim is there.
    pub(crate) has_claim: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Steps that bring a set one step further.
pub(crate) fn plan(set: &Object, observed: &Observed<'_>, now: Timestamp) -> Vec<Step> {
    if set.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let update = revision::plan_update(set, &observed.revisions);
    let current = current_revision(set, observed, &update);
    let first = set.integer(&["spec", "ordinals", "start"]).unwrap_or_default();
    let mut planner = Planner {
        set,
        observed,
        now,
        update: &update,
        current,
        ordered: set.text(&["spec", "podManagementPolicy"]) != Some("Parallel"),
        ordinals: first..first + wanted(set),
        steps: Vec::new(),
        again: None,
    };
    let pods: BTreeMap<i64, Arc<Object>> = observed
        .pods
        .iter()
        .filter_map(|pod| Some((pods::ordinal_of(set, pod)?, pod.clone())))
        .collect();
    planner.walk(&pods);
    let Planner {
        steps: acting,
        again,
        current,
        ..
    } = planner;
    let mut steps = update.steps.clone();
    steps.extend(acting);
    let mut in_use: BTreeSet<&str> = pods.values().map(|pod| pods::revision_of(pod)).collect();
    in_use.insert(&update.name);
    in_use.insert(&current);
    steps.extend(revision::plan_history(set, &observed.revisions, &in_use));
    steps.extend(plan_status(set, &pods, &current, &update.name, now));
    steps.extend(again.map(Step::Again));
    steps
}

/// The revision that was rolled out last; on the first time the present one.
fn current_revision(set: &Object, observed: &Observed<'_>, update: &Update) -> String {
    let known = set
        .text(&["status", "currentRevision"])
        .filter(|name| !name.is_empty());
    let kept = |name: &&str| observed.revisions.iter().any(|revision| revision.name() == *name);
    known
        .filter(kept)
        .map_or_else(|| update.name.clone(), str::to_owned)
}

struct Planner<'a> {
    set: &'a Object,
    observed: &'a Observed<'a>,
    now: Timestamp,
    update: &'a Update,
    current: String,
    /// One pod at a time, each after the one before is available.
    ordered: bool,
    ordinals: std::ops::Range<i64>,
    steps: Vec<Step>,
    again: Option<Duration>,
}

impl Planner<'_> {
    fn walk(&mut self, pods: &BTreeMap<i64, Arc<Object>>) {
        for ordinal in self.ordinals.clone() {
            let busy = match pods.get(&ordinal) {
                None => {
                    self.create(ordinal);
                    true
                }
                Some(pod) => self.tend(ordinal, pod),
            };
            if busy && self.ordered {
                return;
            }
        }
        if self.shrink(pods) {
            return;
        }
        self.roll(pods);
    }

    fn create(&mut self, ordinal: i64) {
        let keeps_current = self.is_rolling() && ordinal < self.ordinals.start + self.partition();
        let current = self
            .observed
            .revisions
            .iter()
            .find(|revision| revision.name() == self.current);
        let (template, name) = match current.filter(|_| keeps_current) {
            Some(current) => (revision::restored(current), self.current.as_str()),
            None => {
                let template = self.set.at(&["spec", "template"]).cloned().unwrap_or(Value::Null);
                (template, self.update.name.as_str())
            }
        };
        let steps = pods::create(self.set, ordinal, &template, name, self.observed.has_claim);
        self.steps.extend(steps);
    }

    /// Replaces a pod that has ended. Says whether the pods after it must wait.
    fn tend(&mut self, ordinal: i64, pod: &Arc<Object>) -> bool {
        if pod.deletion_timestamp().is_some() {
            return true;
        }
        if pod::is_finished(pod) {
            self.delete(pod);
            return true;
        }
        if pod::phase(pod) == "Pending" {
            self.steps
                .extend(pods::create_claims(self.set, ordinal, self.observed.has_claim));
        }
        !self.is_available(pod)
    }

    fn is_available(&mut self, pod: &Object) -> bool {
        let seconds = self.set.integer(&["spec", "minReadySeconds"]).unwrap_or_default();
        match pod::availability(pod, seconds, self.now) {
            Availability::Yes => pod.deletion_timestamp().is_none(),
            Availability::No => false,
            Availability::In(wait) => {
                self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
                false
            }
        }
    }

    /// Removes pods of numbers that are no longer wanted, highest first. Says whether any is left.
    fn shrink(&mut self, pods: &BTreeMap<i64, Arc<Object>>) -> bool {
        let condemned: Vec<&Arc<Object>> = pods
            .iter()
            .rev()
            .filter(|(ordinal, _)| !self.ordinals.contains(ordinal))
            .map(|(_, pod)| pod)
            .collect();
        for pod in &condemned {
            if pod.deletion_timestamp().is_none() {
                self.delete(pod);
            }
            if self.ordered {
                return true;
            }
        }
        !condemned.is_empty()
    }

    /// Replaces pods of older revisions, highest number first, each after the one before is available again.
    fn roll(&mut self, pods: &BTreeMap<i64, Arc<Object>>) {
        if !self.is_rolling() {
            return;
        }
        let untouched = self.ordinals.start + self.partition();
        let most = self.unavailable_max();
        let mut unavailable = 0;
        for (ordinal, pod) in pods.iter().rev() {
            if !self.ordinals.contains(ordinal) {
                continue;
            }
            if *ordinal < untouched {
                return;
            }
            let old = pods::revision_of(pod) != self.update.name;
            if old && pod.deletion_timestamp().is_none() {
                self.delete(pod);
                unavailable += 1;
            } else if !self.is_available(pod) {
                unavailable += 1;
            }
            if unavailable >= most {
                return;
            }
        }
    }

    fn delete(&mut self, pod: &Arc<Object>) {
        self.steps.push(Step::Delete {
            target: Target::namespaced("v1", "pods", pod.namespace().unwrap_or_default(), pod.name()),
            options: DeleteOptions {
                uid: Some(pod.uid().to_owned()),
                ..DeleteOptions::default()
            },
            said: Some(pods::said("delete", "Delete", pod.name(), self.set)),
        });
    }

    fn is_rolling(&self) -> bool {
        self.set.text(&["spec", "updateStrategy", "type"]) != Some("OnDelete")
    }

    fn partition(&self) -> i64 {
        let partition = self
            .set
            .integer(&["spec", "updateStrategy", "rollingUpdate", "partition"]);
        partition.unwrap_or_default()
    }

    fn unavailable_max(&self) -> i64 {
        let value = self
            .set
            .at(&["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"]);
        crate::deployment::resolve(value, "1", wanted(self.set), true).max(1)
    }
}

fn plan_status(
    set: &Object,
    pods: &BTreeMap<i64, Arc<Object>>,
    current: &str,
    update: &str,
    now: Timestamp,
) -> Vec<Step> {
    let seconds = set.integer(&["spec", "minReadySeconds"]).unwrap_or_default();
    let made: Vec<&Arc<Object>> = pods.values().filter(|pod| !pod::is_finished(pod)).collect();
    let count = |condition: &dyn Fn(&Object) -> bool| made.iter().filter(|pod| condition(pod)).count();
    let live = |pod: &Object| pod.deletion_timestamp().is_none();
    let ready = count(&|pod| live(pod) && pod::is_ready(pod));
    let available = count(&|pod| live(pod) && pod::availability(pod, seconds, now) == Availability::Yes);
    let updated = count(&|pod| live(pod) && pods::revision_of(pod) == update);
    let mut at_current = count(&|pod| live(pod) && pods::revision_of(pod) == current);
    let rolling = set.text(&["spec", "updateStrategy", "type"]) != Some("OnDelete");
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    let mut current = current;
    if rolling && updated == wanted && ready == wanted && made.len() == wanted {
        (current, at_current) = (update, updated);
    }
    let status = json!({
        "observedGeneration": set.generation(), "replicas": made.len(), "readyReplicas": ready,
        "availableReplicas": available, "currentReplicas": at_current, "updatedReplicas": updated,
        "currentRevision": current, "updateRevision": update,
    });
    let changed = changed_fields(set, status);
    if changed.is_empty() {
        return Vec::new();
    }
    vec![step::patch_status(&stateful_sets(), set, Value::Object(changed))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_client::Patch;

    fn set(spec: &Value) -> Object {
        let mut set = Object::new("apps/v1", "StatefulSet", Some("default"), "db");
        set.set(&["metadata", "uid"], "db");
        set.set(
            &["spec"],
            json!({"replicas": 3, "serviceName": "db", "template": template("new")}),
        );
        for (key, value) in spec.as_object().expect("a map") {
            set.set(&["spec", key], value.clone());
        }
        set.set(&["status", "currentRevision"], "db-old");
        set
    }

    fn template(image: &str) -> Value {
        json!({"spec": {"containers": [{"image": image}]}})
    }

    fn revision(name: &str, number: i64) -> Arc<Object> {
        let mut revision = Object::new(
            "apps/v1",
            "ControllerRevision",
            Some("default"),
            &format!("db-{name}"),
        );
        revision.set(&["data"], json!({"spec": {"template": template(name)}}));
        revision.set(&["revision"], number);
        Arc::new(revision)
    }

    /// A pod written as `number version state`: `ready`, `starting`, `failed`, `leaving`.
    fn pod(text: &str) -> Arc<Object> {
        let [number, version, state] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("three words");
        };
        let mut pod = Object::new("v1", "Pod", Some("default"), &format!("db-{number}"));
        pod.set(&["metadata", "uid"], text);
        pod.set(
            &["metadata", "labels", revision::HASH_LABEL],
            format!("db-{version}"),
        );
        pod.set(
            &["status", "phase"],
            if state == "failed" { "Failed" } else { "Running" },
        );
        if state == "ready" {
            pod.set(
                &["status", "conditions"],
                json!([{"type": "Ready", "status": "True"}]),
            );
        }
        if state == "leaving" {
            pod.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        }
        Arc::new(pod)
    }

    /// `+name image` for a created pod, `+claim` for a claim, `-name` for a deleted pod.
    fn check(spec: &Value, pods: &[&str], expected: &[&str]) {
        let observed = Observed {
            pods: pods.iter().map(|text| pod(text)).collect(),
            revisions: vec![revision("old", 1), revision("new", 2)],
            has_claim: &|name| name == "data-db-0",
        };
        let steps = plan(&set(spec), &observed, Timestamp::UNIX_EPOCH);
        let word = |step: &Step| match step {
            Step::Create { object, .. } if object.kind() == "Pod" => {
                let image = object.list(&["spec", "containers"])[0]["image"].clone();
                Some(format!(
                    "+{} {}",
                    object.name(),
                    image.as_str().unwrap_or_default()
                ))
            }
            Step::Create { object, .. } => Some(format!("+{}", object.name())),
            Step::Delete { target, .. } => Some(format!("-{}", target.name)),
            Step::Patch {
                patch: Patch::Merge(_),
                ..
            } => None,
            other => Some(format!("{other:?}")),
        };
        let found: Vec<String> = steps.iter().filter_map(word).collect();
        assert_eq!(found, expected, "{pods:?}");
    }

    #[test]
    fn pods_come_one_after_the_other() {
        let none = json!({});
        check(&none, &[], &["+db-0 new"]);
        check(&none, &["0 new starting"], &[]);
        check(&none, &["0 new ready"], &["+db-1 new"]);
        check(&none, &["0 new ready", "2 new ready"], &["+db-1 new"]);
        check(&none, &["0 new leaving", "1 new ready"], &[]);
        check(&none, &["0 new failed", "1 new ready"], &["-db-0"]);
        check(&none, &["0 new ready", "1 new ready", "2 new ready"], &[]);
        let parallel = json!({"podManagementPolicy": "Parallel"});
        check(&parallel, &["1 new starting"], &["+db-0 new", "+db-2 new"]);
        check(
            &json!({"ordinals": {"start": 5}, "replicas": 1}),
            &[],
            &["+db-5 new"],
        );
    }

    #[test]
    fn pods_go_one_after_the_other_the_last_first() {
        let one = json!({"replicas": 1});
        check(&one, &["0 new ready", "1 new ready", "2 new ready"], &["-db-2"]);
        check(&one, &["0 new ready", "1 new ready", "2 new leaving"], &[]);
        check(&one, &["0 new starting", "1 new ready"], &[]);
        let parallel = json!({"replicas": 1, "podManagementPolicy": "Parallel"});
        check(
            &parallel,
            &["0 new ready", "1 new ready", "2 new ready"],
            &["-db-2", "-db-1"],
        );
    }

    #[test]
    fn a_new_template_rolls_from_the_last_down_to_the_partition() {
        let old = ["0 old ready", "1 old ready", "2 old ready"];
        check(&json!({}), &old, &["-db-2"]);
        check(&json!({}), &["0 old ready", "1 old ready", "2 new starting"], &[]);
        check(
            &json!({}),
            &["0 old ready", "1 old ready", "2 new ready"],
            &["-db-1"],
        );
        let partition = |number: i64| json!({"updateStrategy": {"rollingUpdate": {"partition": number}}});
        check(&partition(2), &["0 old ready", "1 old ready", "2 new ready"], &[]);
        // What is below the partition comes back as it was.
        check(&partition(2), &["0 old ready", "2 new ready"], &["+db-1 old"]);
        check(&json!({"updateStrategy": {"type": "OnDelete"}}), &old, &[]);
    }

    #[test]
    fn claims_that_are_missing_are_made_before_their_pod() {
        let claims = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]});
        check(&claims, &[], &["+db-0 new"]);
        check(&claims, &["0 new ready"], &["+data-db-1", "+db-1 new"]);
    }
}
