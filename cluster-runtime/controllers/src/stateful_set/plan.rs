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
