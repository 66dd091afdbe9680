//! Pods on nodes that do not want them: evicted by taints, or removed with a node that is gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cluster_client::{Change, DeleteOptions, EventType, Informer, ObjectKey, Target, WorkQueue};
use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::health::{NOT_READY, UNREACHABLE};
use crate::context::Context;
use crate::pod;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};
use crate::time;

/// How long a node may be unknown before its pods are removed: it may be about to register again.
const UNKNOWN_NODE_GRACE: Duration = Duration::from_secs(40);

/// How long a pod that says nothing about it stays on a node that is not ready or silent. Kubernetes writes this into
/// every pod on admission.
const SILENT_NODE_SECONDS: i64 = 300;

/// Steps for a pod on a node with taints that drive pods away.
pub(crate) fn plan_taints(pod: &Object, node: &Object, now: Timestamp) -> Vec<Step> {
    if pod.deletion_timestamp().is_some() || pod::is_finished(pod) {
        return Vec::new();
    }
    let drives_away = |taint: &&Value| taint["effect"] == "NoExecute";
    let taints: Vec<&Value> = node
        .list(&["spec", "taints"])
        .iter()
        .filter(drives_away)
        .collect();
    let mut soonest: Option<Duration> = None;
    for taint in taints {
        let tolerating: Vec<&Value> = pod
            .list(&["spec", "tolerations"])
            .iter()
            .filter(|toleration| tolerates(toleration, taint))
            .collect();
        // The shortest of the tolerations counts; one without a time tolerates for ever.
        let seconds = if tolerating.is_empty() {
            if ![NOT_READY, UNREACHABLE].iter().any(|key| taint["key"] == *key) {
                return evict(pod);
            }
            Some(SILENT_NODE_SECONDS)
        } else {
            let seconds = tolerating
                .iter()
                .filter_map(|toleration| toleration["tolerationSeconds"].as_i64());
            seconds.min()
        };
        let Some(seconds) = seconds else { continue };
        let since = time::of(taint["timeAdded"].as_str()).unwrap_or(now);
        match time::remaining(since, seconds, now) {
            Some(left) => soonest = Some(soonest.map_or(left, |soonest| soonest.min(left))),
            None => return evict(pod),
        }
    }
    soonest.map(Step::Again).into_iter().collect()
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
    let value_matches =
        toleration["operator"] == "Exists" || text(&toleration["value"]) == text(&taint["value"]);
    (effect.is_empty() || taint["effect"] == effect)
        && (key.is_empty() || taint["key"] == key)
        && value_matches
}

fn evict(pod: &Object) -> Vec<Step> {
    vec![
        Step::Tell {
            kind: EventType::Normal,
            reason: "TaintManagerEviction",
            message: format!("Marking for deletion Pod {}", pod.key()),
        },
        delete(pod, None),
    ]
}

fn delete(pod: &Object, grace_period_seconds: Option<i64>) -> Step {
    Step::Delete {
        target: Target::namespaced("v1", "pods", pod.namespace().unwrap_or_default(), pod.name()),
        options: DeleteOptions {
            grace_period_seconds,
            uid: Some(pod.uid().to_owned()),
            ..DeleteOptions::default()
        },
        said: None,
    }
}

/// The index of pods by the node that they are on.
const BY_NODE: &str = "node";

/// The shell: it looks at pods when their node changes.
pub(crate) struct Evictions {
    context: Context,
    nodes: Informer,
    pods: Informer,
    /// Since when the node of a pod is not known, by the UID of the pod.
    unknown: Mutex<HashMap<String, Instant>>,
}

impl Evictions {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let nodes = context.informers.of("v1", "nodes");
        let pods = context.informers.of("v1", "pods");
        pods.add_index(BY_NODE, |pod| {
            let node = Some(pod::node_name(pod)).filter(|node| !node.is_empty());
            node.map(str::to_owned).into_iter().collect()
        });
        let (added, on_node) = (queue.clone(), pods.clone());
        nodes.add_handler(move |change| {
            let node = change.object();
            let same = change
                .old()
                .is_some_and(|old| old.at(&["spec", "taints"]) == node.at(&["spec", "taints"]));
            if same {
                return;
            }
            on_node
                .indexed(BY_NODE, node.name())
                .iter()
                .for_each(|pod| added.add(ObjectKey::of(pod)));
        });
        let (added, known) = (queue.clone(), nodes.clone());
        pods.add_handler(move |change| {
            let pod = change.object();
            let node = pod::node_name(pod);
            let moved = change.old().is_none_or(|old| pod::node_name(old) != node);
            if matches!(change, Change::Deleted(_)) || node.is_empty() || !moved {
                return;
            }
            let concerned = known
                .get("", node)
                .is_none_or(|node| !node.list(&["spec", "taints"]).is_empty());
            if concerned {
                added.add(ObjectKey::of(pod));
            }
        });
        Self {
            context: context.component(Self::NAME),
            nodes,
            pods,
            unknown: Mutex::default(),
        }
    }

    /// Steps for a pod whose node is not known: it waits a while, and goes when the node does not come back.
    async fn plan_unknown_node(&self, pod: &Object) -> Vec<Step> {
        let target = Target::cluster_wide("v1", "nodes", pod::node_name(pod));
        match self.context.api.get(&target).await {
            Err(status) if status.is_not_found() => {}
            // It is there after all, or nobody can tell: its own changes lead here again.
            _ => return Vec::new(),
        }
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.retain(|_, since| since.elapsed() < 2 * UNKNOWN_NODE_GRACE);
        let since = unknown.entry(pod.uid().to_owned()).or_insert_with(Instant::now);
        match UNKNOWN_NODE_GRACE
            .checked_sub(since.elapsed())
            .filter(|left| !left.is_zero())
        {
            Some(left) => vec![Step::Again(left)],
            None => vec![delete(pod, Some(0))],
        }
    }
}

impl Reconcile for Evictions {
    type Key = ObjectKey;

    const NAME: &'static str = "taint-eviction-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let pod = self
            .pods
            .get_key(key)
            .filter(|pod| !pod::node_name(pod).is_empty());
        let Some(pod) = pod else {
            return Outcome::default();
        };
        let steps = match self.nodes.get("", pod::node_name(&pod)) {
            Some(node) => plan_taints(&pod, &node, self.context.clock.now()),
            None => self.plan_unknown_node(&pod).await,
        };
        self.context.execute(&pod, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.pods.list().iter().map(|pod| ObjectKey::of(pod)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What becomes of a pod with these tolerations on a node with these taints, 100 seconds after they were added.
    fn check(tolerations: &Value, taints: &Value, expected: &str) {
        let mut pod = Object::new("v1", "Pod", Some("default"), "web");
        pod.set(&["spec", "tolerations"], tolerations.clone());
        let mut node = Object::new("v1", "Node", None, "n1");
        node.set(&["spec", "taints"], taints.clone());
        let now = Timestamp::from_second(100).expect("in range");
        let steps = plan_taints(&pod, &node, now);
        let found = match steps.last() {
            None => "stays".to_owned(),
            Some(Step::Again(left)) => format!("stays {}s", left.as_secs()),
            Some(Step::Delete { .. }) => "goes".to_owned(),
            Some(other) => format!("{other:?}"),
        };
        assert_eq!(found, expected, "{tolerations}");
    }

    #[test]
    fn a_pod_stays_on_a_tainted_node_as_long_as_it_tolerates_it() {
        let taint =
            |effect: &str| json!([{"key": "k", "effect": effect, "timeAdded": "1970-01-01T00:00:00Z"}]);
        let for_seconds = |seconds: i64| json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        check(&json!([]), &taint("NoExecute"), "goes");
        check(&json!([]), &taint("NoSchedule"), "stays");
        check(&json!([{"operator": "Exists"}]), &taint("NoExecute"), "stays");
        let silent =
            json!([{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:00Z"}]);
        check(&json!([]), &silent, "stays 200s");
        check(&for_seconds(300), &taint("NoExecute"), "stays 200s");
        check(&for_seconds(60), &taint("NoExecute"), "goes");
        check(
            &json!([{"key": "other", "operator": "Exists"}]),
            &taint("NoExecute"),
            "goes",
        );
    }
}
