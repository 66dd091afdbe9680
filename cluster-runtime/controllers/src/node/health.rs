//! Whether nodes are alive, by their leases, and the taints that tell the scheduler so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_client::{EventType, Informer, ObjectKey, Patch, Target, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::condition::{self, Condition};
use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};
use crate::time;

/// The namespace of the leases with which nodes show that they live.
const LEASES: &str = "kube-node-lease";

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions of a node that become a taint when they hold.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// How alive a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// It was heard of and is silent for longer than allowed.
    Silent,
    /// It was heard of; it is silent when it is not heard of for this time.
    Heard(Duration),
}

/// Steps that make conditions and taints of a node say what is known of it. `disrupted` is whether no node at all is
/// healthy: then the fault is more likely here than there, and pods are not driven away.
pub(crate) fn plan(node: &Object, heartbeat: Heartbeat, disrupted: bool, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut conditions = node.list(&["status", "conditions"]).to_vec();
    match heartbeat {
        Heartbeat::Heard(left) => steps.push(Step::Again(left)),
        Heartbeat::Silent => {
            for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
                let known = condition::find(&conditions, kind).is_some();
                if known || kind == "Ready" {
                    let silent = Condition {
                        kind,
                        status: "Unknown",
                        reason: if known {
                            "NodeStatusUnknown"
                        } else {
                            "NodeStatusNeverUpdated"
                        },
                        message: if known {
                            "Kubelet stopped posting node status."
                        } else {
                            "Kubelet never posted node status."
                        },
                    };
                    condition::set_plain(&mut conditions, silent, now);
                }
            }
        }
    }
    if node.list(&["status", "conditions"]) != conditions {
        steps.push(Step::Patch {
            target: target(node).subresource("status"),
            patch: Patch::Merge(json!({"status": {"conditions": conditions}})),
        });
        steps.push(Step::Tell {
            kind: EventType::Normal,
            reason: "NodeNotReady",
            message: format!("Node {} status is now: NodeNotReady", node.name()),
        });
    }
    let taints = taints(node, &conditions, disrupted, now);
    if node.list(&["spec", "taints"]) != taints {
        let taints = if taints.is_empty() {
            Value::Null
        } else {
            json!(taints)
        };
        steps.push(Step::Patch {
            target: target(node),
            patch: Patch::Merge(json!({
                "metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints},
            })),
        });
    }
    steps
}

fn target(node: &Object) -> Target {
    Target::cluster_wide("v1", "nodes", node.name())
}

/// The taints that a node should have: those of others, and those that its conditions ask for.
fn taints(node: &Object, conditions: &[Value], disrupted: bool, now: Timestamp) -> Vec<Value> {
    let status =
        |kind: &str| condition::find(conditions, kind).and_then(|condition| condition["status"].as_str());
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let unhealthy = match status("Ready") {
        Some("True") => None,
        // A node that never said anything is new.
        Some("False") | None => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
    };
    if let Some(key) = unhealthy {
        wanted.push((key, "NoSchedule"));
        if !disrupted {
            wanted.push((key, "NoExecute"));
        }
    }
    if node.at(&["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    for (kind, key) in PRESSURES {
        if status(kind) == Some("True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    let ours = |taint: &Value| {
        let key = taint["key"].as_str().unwrap_or_default();
        let pressure = PRESSURES.iter().any(|(_, pressure)| *pressure == key);
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key) || pressure
    };
    let is = |taint: &Value, (key, effect): (&str, &str)| taint["key"] == key && taint["effect"] == effect;
    let present = node.list(&["spec", "taints"]);
    let keeps = |taint: &&Value| !ours(taint) || wanted.iter().any(|wanted| is(taint, *wanted));
    let mut taints: Vec<Value> = present.iter().filter(keeps).cloned().collect();
    for (key, effect) in wanted {
        if taints.iter().any(|taint| is(taint, (key, effect))) {
            continue;
        }
        let mut taint = json!({"key": key, "effect": effect});
        if key != UNSCHEDULABLE && effect == "NoExecute" {
            taint["timeAdded"] = time::format(now).into();
        }
        taints.push(taint);
    }
    taints
}

/// When each node was heard of last, by the clock of this process: a machine that slept must not take every other
/// for dead when it wakes.
struct Heard {
    /// How long a node may be silent.
    grace: Duration,
    by_node: HashMap<String, (String, Instant)>,
}

impl Heard {
    fn new(grace: Duration) -> Self {
        Self {
            grace,
            by_node: HashMap::new(),
        }
    }

    /// Another time that nodes may be silent. They may have heard of it only now: silence counts from here.
    fn set_grace(&mut self, grace: Duration, now: Instant) {
        self.grace = grace;
        self.by_node.values_mut().for_each(|(_, at)| *at = now);
    }

    /// Notes the time that a lease says, and gives how long ago it changed.
    fn silence(&mut self, node: &str, renewed: &str, now: Instant) -> Duration {
        let heard = self
            .by_node
            .entry(node.to_owned())
            .or_insert_with(|| (renewed.to_owned(), now));
        if heard.0 != renewed {
            *heard = (renewed.to_owned(), now);
        }
        now - heard.1
    }
}

/// The shell around [`plan`].
pub(crate) struct NodeHealth {
    context: Context,
    nodes: Informer,
    leases: Informer,
    heard: Arc<Mutex<Heard>>,
}

impl NodeHealth {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>, grace: Duration) -> Self {
        let nodes = context.informers.of("v1", "nodes");
        let leases = context
            .informers
            .of_resource(&GroupVersionResource::new("coordination.k8s.io/v1", "leases"));
        let added = queue.clone();
        nodes.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        // Heard when it is renewed, not when somebody looks: silence counts from there.
        let heard = Arc::new(Mutex::new(Heard::new(grace)));
        let hearing = heard.clone();
        leases.add_handler(move |change| {
            let lease = change.object();
            if lease.namespace() == Some(LEASES)
                && let Some(renewed) = lease.text(&["spec", "renewTime"])
            {
                let mut heard = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                heard.silence(lease.name(), renewed, Instant::now());
            }
        });
        Self {
            context: context.component(Self::NAME),
            nodes,
            leases,
            heard,
        }
    }

    /// Follows how long nodes may be silent; ends with whoever says it.
    pub(crate) fn follow_grace(
        &self,
        mut grace: watch::Receiver<Duration>,
        queue: WorkQueue<ObjectKey>,
    ) -> impl Future<Output = ()> + use<> {
        let (heard, nodes) = (self.heard.clone(), self.nodes.clone());
        async move {
            loop {
                let now = *grace.borrow_and_update();
                {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    if heard.grace != now {
                        heard.set_grace(now, Instant::now());
                    }
                }
                nodes
                    .list()
                    .iter()
                    .for_each(|node| queue.add(ObjectKey::of(node)));
                if grace.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    fn heartbeat(&self, node: &Object) -> Heartbeat {
        let lease = self.leases.get(LEASES, node.name());
        let renewed = lease
            .as_ref()
            .and_then(|lease| lease.text(&["spec", "renewTime"]));
        // A node without a lease shows that it lives by its status.
        let by_status = || {
            let ready = condition::find(node.list(&["status", "conditions"]), "Ready");
            ready.and_then(|ready| ready["lastHeartbeatTime"].as_str())
        };
        let renewed = renewed.or_else(by_status).unwrap_or_default();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = heard.silence(node.name(), renewed, Instant::now());
        match heard.grace.checked_sub(silence).filter(|left| !left.is_zero()) {
            Some(left) => Heartbeat::Heard(left),
            None => Heartbeat::Silent,
        }
    }

    fn is_disrupted(&self) -> bool {
        let healthy = |node: &Arc<Object>| condition::is_true(node.list(&["status", "conditions"]), "Ready");
        !self.nodes.list().iter().any(healthy)
    }
}

impl Reconcile for NodeHealth {
    type Key = ObjectKey;

    const NAME: &'static str = "node-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(node) = self.nodes.get_key(key) else {
            self.heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .by_node
                .remove(&*key.name);
            return Outcome::default();
        };
        let steps = plan(
            &node,
            self.heartbeat(&node),
            self.is_disrupted(),
            self.context.clock.now(),
        );
        self.context.execute(&node, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.nodes.list().iter().map(|node| ObjectKey::of(node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(node: &Value, heartbeat: Heartbeat, disrupted: bool, ready: &str, taints: &[&str]) {
        let node = Object::from_value(node.clone()).expect("a node");
        let steps = plan(&node, heartbeat, disrupted, Timestamp::UNIX_EPOCH);
        let mut shown = node.clone();
        for step in &steps {
            if let Step::Patch {
                patch: Patch::Merge(patch),
                ..
            } = step
            {
                if let Some(conditions) = patch.pointer("/status/conditions") {
                    shown.set(&["status", "conditions"], conditions.clone());
                }
                if let Some(taints) = patch.pointer("/spec/taints") {
                    shown.set(&["spec", "taints"], taints.clone());
                }
            }
        }
        let found = condition::find(shown.list(&["status", "conditions"]), "Ready").expect("a condition");
        assert_eq!(found["status"], ready, "{node:?}");
        let text = |taint: &Value| {
            format!(
                "{}:{}",
                taint["key"].as_str().unwrap_or_default(),
                taint["effect"].as_str().unwrap_or_default()
            )
        };
        let found: Vec<String> = shown.list(&["spec", "taints"]).iter().map(text).collect();
        assert_eq!(found, taints, "{node:?}");
    }

    #[test]
    fn conditions_and_taints_say_what_is_known() {
        let node = |ready: &str, spec: Value| json!({"metadata": {"name": "n1"}, "spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let heard = Heartbeat::Heard(Duration::from_secs(1));
        let own = json!({"taints": [{"key": "own", "effect": "NoSchedule"}]});
        check(
            &node("True", own.clone()),
            heard,
            false,
            "True",
            &["own:NoSchedule"],
        );
        let not_ready = [
            "own:NoSchedule",
            "node.kubernetes.io/not-ready:NoSchedule",
            "node.kubernetes.io/not-ready:NoExecute",
        ];
        check(&node("False", own), heard, false, "False", &not_ready);
        let unreachable = [
            "node.kubernetes.io/unreachable:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute",
        ];
        check(
            &node("True", json!({})),
            Heartbeat::Silent,
            false,
            "Unknown",
            &unreachable,
        );
        check(
            &node("True", json!({})),
            Heartbeat::Silent,
            true,
            "Unknown",
            &unreachable[..1],
        );
        let cordoned = json!({"unschedulable": true, "taints": [{"key": NOT_READY, "effect": "NoExecute"}]});
        check(
            &node("True", cordoned),
            heard,
            false,
            "True",
            &["node.kubernetes.io/unschedulable:NoSchedule"],
        );
        let pressed = |status: &str, spec: Value| {
            let conditions =
                json!([{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": status}]);
            json!({"metadata": {"name": "n1"}, "spec": spec, "status": {"conditions": conditions}})
        };
        let taint = "node.kubernetes.io/disk-pressure:NoSchedule";
        check(&pressed("True", json!({})), heard, false, "True", &[taint]);
        let tainted =
            json!({"taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]});
        check(&pressed("True", tainted.clone()), heard, false, "True", &[taint]);
        check(&pressed("False", tainted), heard, false, "True", &[]);
    }

    #[test]
    fn a_node_is_heard_when_its_lease_changes() {
        let mut heard = Heard::new(Duration::from_secs(15));
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(heard.silence("n1", "a", start).as_secs(), 0);
        assert_eq!(heard.silence("n1", "a", later(30)).as_secs(), 30);
        assert_eq!(heard.silence("n1", "b", later(35)).as_secs(), 0);
        assert_eq!(heard.silence("n1", "b", later(40)).as_secs(), 5);
        // A shorter time does not make one silent that was told of it just now.
        heard.set_grace(Duration::from_secs(3), later(44));
        assert_eq!(heard.silence("n1", "b", later(45)).as_secs(), 1);
    }
}
