//! What a daemon set does next, from nodes and pods.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Collection, EventType};
use cluster_objects::{GroupVersionResource, Object};
use cluster_scheduler::suits;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::daemon_sets;
use crate::deployment::resolve;
use crate::pod::{self, Availability};
use crate::replica_set::changed_fields;
use crate::revision::{self, HASH_LABEL};
use crate::step::{self, Said, Step};
use crate::template;

/// Taints that never keep a daemon's pod away, with their effects.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Steps that put one pod on every node that suits, and bring pods of older templates up to date.
pub(crate) fn plan(
    set: &Object,
    pods: &[Arc<Object>],
    nodes: &[Arc<Object>],
    revisions: &[Arc<Object>],
    now: Timestamp,
) -> Vec<Step> {
    if set.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let update = revision::plan_update(set, revisions);
    let sample = Arc::new(make(set, &update.hash, None));
    let mut by_node: BTreeMap<&str, Vec<&Arc<Object>>> = BTreeMap::new();
    for pod in pods {
        by_node.entry(node_of(pod)).or_default().push(pod);
    }
    let mut planner = Planner {
        set,
        hash: &update.hash,
        now,
        create: Vec::new(),
        delete: Vec::new(),
        counts: Counts::default(),
        places: Vec::new(),
        again: None,
    };
    for node in nodes {
        let here = by_node.remove(node.name()).unwrap_or_default();
        planner.look_at(node, suits(&sample, node), &here);
    }
    // What is bound to a node that is gone goes with it; what is bound nowhere is on its way.
    for (_, here) in by_node.iter().filter(|(node, _)| !node.is_empty()) {
        planner.delete.extend(
            here.iter()
                .filter(|pod| pod.deletion_timestamp().is_none())
                .map(|pod| (*pod).clone()),
        );
    }
    planner.roll();
    let Planner {
        create,
        delete,
        counts,
        again,
        ..
    } = planner;
    let mut steps = update.steps;
    let pods_resource = GroupVersionResource::new("v1", "pods");
    let failed = delete.iter().filter(|pod| pod::phase(pod) == "Failed");
    steps.extend(failed.map(|pod| Step::Tell {
        kind: EventType::Warning,
        reason: "FailedDaemonPod",
        message: format!(
            "Found failed daemon pod {} on node {}, will try to kill it",
            pod.key(),
            node_of(pod)
        ),
    }));
    steps.extend(
        delete
            .iter()
            .map(|pod| step::delete(&pods_resource, pod, Some(Said::deleted_pod()))),
    );
    steps.extend(create.into_iter().map(|pod| Step::Create {
        collection: Collection::namespaced("v1", "pods", set.namespace().unwrap_or_default()),
        object: pod,
        said: Some(Said::created_pod()),
    }));
    let hashes: BTreeSet<&str> = pods
        .iter()
        .filter_map(|pod| pod.label(HASH_LABEL))
        .chain([update.hash.as_str()])
        .collect();
    let in_use: BTreeSet<&str> = revisions
        .iter()
        .map(|revision| revision.name())
        .filter(|name| hashes.contains(revision::hash_of(set, name).as_str()))
        .collect();
    steps.extend(revision::plan_history(set, revisions, &in_use));
    steps.extend(plan_status(set, &counts));
    steps.extend(again.map(Step::Again));
    steps
}

/// The node that a pod is on or is meant for.
fn node_of(pod: &Object) -> &str {
    let bound = pod::node_name(pod);
    if !bound.is_empty() {
        return bound;
    }
    let required = [
        "spec",
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ];
    let required = pod.at(&required);
    let name = required.and_then(|required| required.pointer("/nodeSelectorTerms/0/matchFields/0/values/0"));
    name.and_then(Value::as_str).unwrap_or_default()
}

/// The pod for a node, or for any node to see which ones suit.
fn make(set: &Object, hash: &str, node: Option<&str>) -> Object {
    let template = set.at(&["spec", "template"]).unwrap_or(&Value::Null);
    let mut pod = template::pod_of(set, template);
    pod.set(&["metadata", "labels", HASH_LABEL], hash);
    let mut tolerations = pod.list(&["spec", "tolerations"]).to_vec();
    let host_network = pod.at(&["spec", "hostNetwork"]) == Some(&Value::Bool(true));
    let network = host_network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
    }
    pod.set(&["spec", "tolerations"], tolerations);
    if let Some(node) = node {
        pin(&mut pod, node);
    }
    pod
}

/// Makes a pod accept one node only, beside what it asks of nodes already.
fn pin(pod: &mut Object, node: &str) {
    let field = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let affinity = pod.at_mut(&["spec", "affinity", "nodeAffinity"]);
    let required = affinity
        .entry("requiredDuringSchedulingIgnoredDuringExecution")
        .or_insert_with(|| json!({"nodeSelectorTerms": []}));
    let mut terms: Vec<Value> = required["nodeSelectorTerms"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in &mut terms {
        // Kubernetes replaces the fields of every term as well.
        term["matchFields"] = field.clone();
    }
    required["nodeSelectorTerms"] = terms.into();
}

#[derive(Clone, Copy, Default)]
struct Counts {
    desired: usize,
    current: usize,
    misscheduled: usize,
    ready: usize,
    updated: usize,
    available: usize,
}

/// A node that suits, with its pods.
struct Place {
    node: String,
    old: Option<Arc<Object>>,
    new: Option<Arc<Object>>,
    available: bool,
}

struct Planner<'a> {
    set: &'a Object,
    hash: &'a str,
    now: Timestamp,
    create: Vec<Object>,
    delete: Vec<Arc<Object>>,
    counts: Counts,
    places: Vec<Place>,
    again: Option<Duration>,
}

impl Planner<'_> {
    fn look_at(&mut self, node: &Arc<Object>, suits: cluster_scheduler::Suits, here: &[&Arc<Object>]) {
        let live: Vec<&Arc<Object>> = here
            .iter()
            .copied()
            .filter(|pod| pod.deletion_timestamp().is_none())
            .collect();
        if suits.may_start {
            self.counts.desired += 1;
        } else if !live.is_empty() {
            self.counts.misscheduled += 1;
        }
        if !suits.may_stay {
            self.delete.extend(live.into_iter().cloned());
            return;
        }
        let (ended, mut running): (Vec<_>, Vec<_>) = live.into_iter().partition(|pod| pod::is_finished(pod));
        self.delete.extend(ended.iter().map(|pod| (*pod).clone()));
        if !suits.may_start {
            return;
        }
        // A pod that is leaving holds its place until it is gone.
        if running.is_empty() {
            if here.is_empty() {
                self.create.push(make(self.set, self.hash, Some(node.name())));
            }
            self.places.push(Place {
                node: node.name().to_owned(),
                old: None,
                new: None,
                available: false,
            });
            return;
        }
        running.sort_by_key(|pod| (Reverse(pod::is_ready(pod)), pod::created(pod)));
        let of_hash = |new: bool| {
            let mut pods = running
                .iter()
                .filter(|pod| (pod.label(HASH_LABEL) == Some(self.hash)) == new);
            pods.next().map(|pod| (*pod).clone())
        };
        let (new, old) = (of_hash(true), of_hash(false));
        let kept = |pod: &Arc<Object>| {
            [&new, &old]
                .into_iter()
                .flatten()
                .any(|kept| kept.uid() == pod.uid())
        };
        self.delete
            .extend(running.iter().filter(|pod| !kept(pod)).map(|pod| (*pod).clone()));
        let shown = old
            .as_ref()
            .filter(|old| pod::is_ready(old))
            .or(new.as_ref())
            .or(old.as_ref());
        self.counts.current += 1;
        self.counts.ready += usize::from(shown.is_some_and(|pod| pod::is_ready(pod)));
        let available = shown.is_some_and(|pod| self.is_available(pod));
        self.counts.available += usize::from(available);
        self.counts.updated += usize::from(new.is_some());
        self.places.push(Place {
            node: node.name().to_owned(),
            old,
            new,
            available,
        });
    }

    fn is_available(&mut self, pod: &Object) -> bool {
        let seconds = self.set.integer(&["spec", "minReadySeconds"]).unwrap_or_default();
        match pod::availability(pod, seconds, self.now) {
            Availability::Yes => true,
            Availability::No => false,
            Availability::In(wait) => {
                self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
                false
            }
        }
    }

    /// Replaces pods of older templates, within the bounds of the strategy.
    fn roll(&mut self) {
        let places = std::mem::take(&mut self.places);
        let (surge, unavailable) = self.bounds(places.len());
        let surging = places
            .iter()
            .filter(|place| place.old.is_some() && place.new.is_some())
            .count();
        // A place with both goes on with the new pod alone, once that is available.
        for place in &places {
            if let (Some(old), Some(new)) = (&place.old, &place.new)
                && (self.is_available(new) || !pod::is_ready(old))
            {
                self.delete.push(old.clone());
            }
        }
        if self.set.text(&["spec", "updateStrategy", "type"]) == Some("OnDelete") {
            return;
        }
        let mut room = unavailable.saturating_sub(places.iter().filter(|place| !place.available).count());
        let mut surge_room = surge.saturating_sub(surging);
        for place in places.iter().filter(|place| place.new.is_none()) {
            let Some(old) = &place.old else { continue };
            if surge > 0 {
                if surge_room > 0 || !place.available {
                    self.create.push(make(self.set, self.hash, Some(&place.node)));
                    surge_room = surge_room.saturating_sub(1);
                }
            } else if !place.available {
                // It does not serve anyway.
                self.delete.push(old.clone());
            } else if room > 0 {
                self.delete.push(old.clone());
                room -= 1;
            }
        }
    }

    /// How many pods may be beyond one a node, and how many nodes may be without an available pod.
    fn bounds(&self, places: usize) -> (usize, usize) {
        let total = i64::try_from(places).unwrap_or(i64::MAX);
        let field = |name: &str| self.set.at(&["spec", "updateStrategy", "rollingUpdate", name]);
        let surge = resolve(field("maxSurge"), "0", total, true);
        let unavailable = resolve(field("maxUnavailable"), "1", total, true);
        let size = |number: i64| usize::try_from(number).unwrap_or(0);
        (
            size(surge),
            if surge == 0 {
                size(unavailable).max(1)
            } else {
                size(unavailable)
            },
        )
    }
}

fn plan_status(set: &Object, counts: &Counts) -> Vec<Step> {
    let mut changed = changed_fields(
        set,
        json!({
            "observedGeneration": set.generation(), "updatedNumberScheduled": counts.updated,
            "numberAvailable": counts.available,
            "numberUnavailable": counts.desired.saturating_sub(counts.available),
        }),
    );
    // These are there even when they are 0.
    for (field, count) in [
        ("desiredNumberScheduled", counts.desired),
        ("currentNumberScheduled", counts.current),
        ("numberMisscheduled", counts.misscheduled),
        ("numberReady", counts.ready),
    ] {
        if set.at(&["status", field]) != Some(&json!(count)) {
            changed.insert(field.into(), json!(count));
        }
    }
    if changed.is_empty() {
        return Vec::new();
    }
    vec![step::patch_status(&daemon_sets(), set, Value::Object(changed))]
}
