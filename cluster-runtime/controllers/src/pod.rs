//! What controllers read from pods.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster_objects::Object;
use jiff::Timestamp;

use crate::{condition, time};

/// Whether a pod counts: it has not ended and is not being deleted.
pub(crate) fn is_active(pod: &Object) -> bool {
    !is_finished(pod) && pod.deletion_timestamp().is_none()
}

/// Whether a pod has ended, well or not.
pub(crate) fn is_finished(pod: &Object) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`, `Pending` where nothing was reported yet.
pub(crate) fn phase(pod: &Object) -> &str {
    pod.text(&["status", "phase"]).unwrap_or("Pending")
}

/// Whether the condition `Ready` holds.
pub(crate) fn is_ready(pod: &Object) -> bool {
    condition::is_true(pod.list(&["status", "conditions"]), "Ready")
}

/// Since when the pod is ready.
pub(crate) fn ready_since(pod: &Object) -> Option<Timestamp> {
    let ready = condition::find(pod.list(&["status", "conditions"]), "Ready")?;
    if ready["status"] != "True" {
        return None;
    }
    time::of(ready["lastTransitionTime"].as_str())
}

/// Whether a pod was ready for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It is not ready.
    No,
    /// It is ready, and available after this time if it stays so.
    In(Duration),
    /// It is available.
    Yes,
}

/// Whether a pod was ready for at least so many seconds.
pub(crate) fn availability(pod: &Object, min_ready_seconds: i64, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    if min_ready_seconds <= 0 {
        return Availability::Yes;
    }
    let since = ready_since(pod).unwrap_or(now);
    time::remaining(since, min_ready_seconds, now).map_or(Availability::Yes, Availability::In)
}

/// The name of the node that the pod is bound to; empty before that.
pub(crate) fn node_name(pod: &Object) -> &str {
    pod.text(&["spec", "nodeName"]).unwrap_or_default()
}

/// How often containers of the pod were restarted: the highest count of any container.
fn restarts(pod: &Object) -> i64 {
    let statuses = pod.list(&["status", "containerStatuses"]);
    let counts = statuses
        .iter()
        .filter_map(|status| status["restartCount"].as_i64());
    counts.max().unwrap_or_default()
}

fn deletion_cost(pod: &Object) -> i64 {
    let cost = pod.annotation("controller.kubernetes.io/pod-deletion-cost");
    cost.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Orders pods by how little is lost when they are deleted, least first.
///
/// The order is that of Kubernetes' replica sets: unbound, pending, not ready, cheap by annotation, on a node with
/// many of the `related` pods, ready for a short time, often restarted, young.
pub(crate) fn rank_for_deletion(pods: &mut [Arc<Object>], related: &[Arc<Object>], now: Timestamp) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| is_active(pod)) {
        *on_node.entry(node_name(pod)).or_default() += 1;
    }
    let crowd = |pod: &Object| on_node.get(node_name(pod)).copied().unwrap_or_default();
    pods.sort_by(|one, two| cheaper(one, two, &crowd, now));
}

fn cheaper(one: &Object, two: &Object, crowd: &impl Fn(&Object) -> usize, now: Timestamp) -> Ordering {
    let bound = |pod: &Object| !node_name(pod).is_empty();
    let progress = |pod: &Object| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    bound(one)
        .cmp(&bound(two))
        .then_with(|| progress(one).cmp(&progress(two)))
        .then_with(|| is_ready(one).cmp(&is_ready(two)))
        .then_with(|| deletion_cost(one).cmp(&deletion_cost(two)))
        .then_with(|| crowd(two).cmp(&crowd(one)))
        .then_with(|| age(ready_since(one), now).cmp(&age(ready_since(two), now)))
        .then_with(|| restarts(two).cmp(&restarts(one)))
        .then_with(|| age(created(one), now).cmp(&age(created(two), now)))
        .then_with(|| one.uid().cmp(two.uid()))
}

/// When an object was created.
pub(crate) fn created(object: &Object) -> Option<Timestamp> {
    time::of(object.text(&["metadata", "creationTimestamp"]))
}

/// Ages are compared by magnitude, so that the exact order of creation does not decide among old pods.
fn age(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let seconds = since.map_or(0, |since| (now.as_second() - since.as_second()).max(0));
    64 - seconds.unsigned_abs().leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: &str, phase: &str, ready_since: Option<i64>) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some("default"), name);
        pod.set(&["metadata", "uid"], name);
        pod.set(&["metadata", "creationTimestamp"], "2026-01-01T00:00:00Z");
        pod.set(&["spec", "nodeName"], node);
        pod.set(&["status", "phase"], phase);
        if let Some(second) = ready_since {
            let since = time::format(at(second));
            pod.set(
                &["status", "conditions"],
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]),
            );
        }
        Arc::new(pod)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).expect("in range")
    }

    fn with(pod: &Arc<Object>, change: impl FnOnce(&mut Object)) -> Arc<Object> {
        let mut changed = (**pod).clone();
        change(&mut changed);
        Arc::new(changed)
    }

    #[test]
    fn the_pod_whose_loss_matters_least_is_deleted_first() {
        let restarted = with(&pod("restarted", "n1", "Running", Some(10)), |pod| {
            pod.set(&["status", "containerStatuses"], json!([{"restartCount": 3}]));
        });
        let cheap = with(&pod("cheap", "n1", "Running", Some(10)), |pod| {
            pod.set(
                &[
                    "metadata",
                    "annotations",
                    "controller.kubernetes.io/pod-deletion-cost",
                ],
                "-5",
            );
        });
        let mut pods = vec![
            pod("old", "n1", "Running", Some(10)),
            restarted,
            pod("crowded", "n2", "Running", Some(10)),
            cheap,
            pod("fresh", "n1", "Running", Some(9_000)),
            pod("not-ready", "n1", "Running", None),
            pod("pending", "n1", "Pending", None),
            pod("unbound", "", "Pending", None),
        ];
        let related = [pod("x", "n2", "Running", None), pod("y", "n2", "Running", None)];
        rank_for_deletion(&mut pods, &related, at(10_000));
        let order: Vec<&str> = pods.iter().map(|pod| pod.name()).collect();
        let expected = [
            "unbound",
            "pending",
            "not-ready",
            "cheap",
            "crowded",
            "fresh",
            "restarted",
            "old",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_pod_is_available_when_it_was_ready_for_long_enough() {
        let ready = pod("ready", "n1", "Running", Some(0));
        assert_eq!(availability(&ready, 0, at(0)), Availability::Yes);
        assert_eq!(
            availability(&ready, 10, at(4)),
            Availability::In(Duration::from_secs(6))
        );
        assert_eq!(availability(&ready, 10, at(10)), Availability::Yes);
        let waiting = pod("waiting", "n1", "Running", None);
        assert_eq!(availability(&waiting, 0, at(0)), Availability::No);
    }
}
