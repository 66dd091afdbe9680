//! The node under pressure: it looks at what it has left, frees what nothing needs, and lets one pod after the other go.
//!
//! What is short and who goes is decided in [`pressure`](super::pressure).

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::EventType;
use cluster_objects::Object;
use cluster_objects::quantity::Quantity;
use jiff::SignedDuration;

use super::node::{Shared, Workers};
use super::pod::Pod;
use super::pressure::{
    Candidate, Newcomer, PressureHistory, Pressures, Shortage, Signal, Supplies, Supply, Take, choose,
    shortages,
};
use super::status::qos_class;
use super::storage::{self, pod_total};
use super::usage::memory_of;
use crate::runtime::Container;

/// How long a pod that was let go is waited for before the node looks again, as the kubelet does.
const LEAVING_MAX: Duration = Duration::from_secs(30);
const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";

/// Looks after memory and disk of the node.
///
/// No watch tells how much is left: the kernel's pressure files tell of those who wait, and a disk fills without anybody
/// waiting. So it is looked at by the clock, as often as the kubelet does. A look is two system calls; pods are measured
/// only while something is short.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    /// The node's object, for events.
    node: Arc<Object>,
    history: PressureHistory,
    /// What was short when it was last told of.
    told: Vec<Signal>,
}

impl Guard {
    pub(crate) fn new(shared: Arc<Shared>, workers: Arc<Workers>, node: Arc<Object>) -> Self {
        Self {
            shared,
            workers,
            node,
            history: PressureHistory::default(),
            told: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            if !self.relieve().await {
                tokio::time::sleep(self.shared.config.housekeeping).await;
            }
        }
    }

    /// Does what can be done against a shortage. Gives whether to look again at once, since a pod has left.
    async fn relieve(&mut self) -> bool {
        let short = self.look();
        self.tell(&short);
        let Some(first) = short.first() else { return false };
        let mut shortage = *first;
        if shortage.signal != Signal::Memory {
            self.free_images().await;
            match self.look().first() {
                Some(still) => shortage = *still,
                None => return false,
            }
        }
        let candidates = self.candidates(shortage.signal).await;
        let Some((pod, message)) = choose(&shortage, &candidates) else {
            return false;
        };
        let Some(left) = self.workers.evict(&pod.uid, message) else {
            return false;
        };
        if tokio::time::timeout(LEAVING_MAX, left.cancelled()).await.is_err() {
            tracing::warn!(uid = pod.uid, "a pod that was evicted has not left yet");
        }
        true
    }

    /// Looks at what is left, and lets the node's conditions follow.
    fn look(&mut self) -> Vec<Shortage> {
        let config = &self.shared.config;
        let short = shortages(&config.eviction, &supplies(&config.root));
        let stays = SignedDuration::try_from(config.pressure_stays).unwrap_or(SignedDuration::MAX);
        let pressures = self.history.note(&short, self.shared.clock.now(), stays);
        let mut before = pressures;
        // Those who wait for news hear of changes alone: each would write the node's status.
        self.shared.pressures.send_if_modified(|known| {
            before = std::mem::replace(known, pressures);
            before != pressures
        });
        let events = [
            (
                before.memory,
                pressures.memory,
                "NodeHasInsufficientMemory",
                "NodeHasSufficientMemory",
            ),
            (
                before.disk,
                pressures.disk,
                "NodeHasDiskPressure",
                "NodeHasNoDiskPressure",
            ),
        ];
        for (was, is, pressed, free) in events {
            if was != is {
                let reason = if is { pressed } else { free };
                let message = format!("Node {} status is now: {reason}", self.node.name());
                self.record(EventType::Normal, reason, message);
            }
        }
        short
    }

    /// Says once that something is short.
    fn tell(&mut self, short: &[Shortage]) {
        let signals: Vec<Signal> = short.iter().map(|shortage| shortage.signal).collect();
        for signal in signals.iter().filter(|signal| !self.told.contains(signal)) {
            let message = format!("Attempting to reclaim {}", signal.resource());
            tracing::warn!(short = ?short, "the node is short of {}", signal.resource());
            self.record(EventType::Warning, "EvictionThresholdMet", message);
        }
        self.told = signals;
    }

    fn record(&self, kind: EventType, reason: &str, message: String) {
        self.shared.recorder.record(&self.node, kind, reason, message);
    }

    /// Takes images away that no container uses. Containers of pods that have ended are gone already.
    async fn free_images(&self) {
        let store = self.shared.images.store().clone();
        match tokio::task::spawn_blocking(move || store.prune()).await {
            Ok(Ok(names)) if names.is_empty() => {}
            Ok(Ok(names)) => tracing::info!(?names, "took images away that no container uses"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot free the disk of images"),
            Err(error) => tracing::error!(%error, "freeing the disk of images panicked"),
        }
    }

    /// The pods that could go, with what they take of what is short.
    async fn candidates(&self, signal: Signal) -> Vec<Candidate> {
        let listed = self.shared.runtime.list().await.unwrap_or_default();
        let mut containers: HashMap<String, Vec<Container>> = listed
            .into_iter()
            .map(|sandbox| (sandbox.spec.id, sandbox.containers))
            .collect();
        let mut candidates = Vec::new();
        for pod in self.workers.staying_pods() {
            let here = containers.remove(pod.uid()).unwrap_or_default();
            candidates.push(self.candidate(signal, &pod, &here).await);
        }
        candidates
    }

    async fn candidate(&self, signal: Signal, pod: &Pod, containers: &[Container]) -> Candidate {
        let resource = signal.resource();
        let (used, total) = match signal {
            Signal::Memory => {
                let mut used: Vec<(String, u64)> = Vec::new();
                for container in containers.iter().filter(|container| container.is_running()) {
                    if let Ok(usage) = self.shared.runtime.usage(&container.id).await {
                        used.push((container.name.clone(), usage.working_set_bytes));
                    }
                }
                let total = used.iter().map(|(_, bytes)| bytes).sum();
                (used, total)
            }
            Signal::Disk | Signal::Inodes => {
                let named = containers.iter().map(|one| (one.name.clone(), one.id.clone()));
                let named: Vec<_> = named.collect();
                let held = storage::measure(&self.shared, pod, &self.shared.folder(pod), &named).await;
                let amount = |usage: crate::runtime::DiskUsage| match signal {
                    Signal::Inodes => usage.inodes,
                    _ => usage.bytes,
                };
                let total = amount(held.total());
                let used = held.containers.into_iter();
                (used.map(|(name, usage)| (name, amount(usage))).collect(), total)
            }
        };
        let request_of = |name: &str| {
            let container = pod.container(name);
            container.and_then(|container| storage::request(container, resource))
        };
        let containers = used.into_iter().map(|(name, usage)| {
            let request = request_of(&name).unwrap_or(Quantity::ZERO);
            (name, Take { request, usage })
        });
        let request = pod_total(pod, |container| storage::request(container, resource));
        Candidate {
            uid: pod.uid().to_owned(),
            priority: pod.spec.priority,
            total: Take {
                request: request.unwrap_or(Quantity::ZERO),
                usage: total,
            },
            containers: containers.collect(),
        }
    }
}

/// The pressures that a node starts with.
pub(crate) fn pressures_at_start(config: &super::NodeConfig, now: jiff::Timestamp) -> Pressures {
    let short = shortages(&config.eviction, &supplies(&config.root));
    PressureHistory::default().note(&short, now, SignedDuration::ZERO)
}

/// What matters of a pod that comes to a node under pressure.
pub(crate) fn newcomer(pod: &Pod) -> Newcomer {
    let mut tolerations = pod.object.list(&["spec", "tolerations"]).iter();
    let text =
        |toleration: &serde_json::Value, key: &str| toleration[key].as_str().unwrap_or_default().to_owned();
    Newcomer {
        priority: pod.spec.priority,
        is_best_effort: qos_class(pod) == "BestEffort",
        tolerates_memory_pressure: tolerations.any(|toleration| {
            let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
            let of_all = key.is_empty() && text(toleration, "operator") == "Exists";
            (key == MEMORY_PRESSURE || of_all) && matches!(effect.as_str(), "" | "NoSchedule")
        }),
    }
}

/// What the machine has left of memory, and of the disk that a folder is on.
fn supplies(root: &Path) -> Supplies {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mut supplies = Supplies {
        memory: memory_of(&memory),
        ..Supplies::default()
    };
    if let Ok(disk) = rustix::fs::statvfs(root) {
        supplies.disk = Supply {
            available: disk.f_bavail.saturating_mul(disk.f_frsize),
            capacity: disk.f_blocks.saturating_mul(disk.f_frsize),
        };
        // File systems that make room for files as they come say 0 of 0.
        supplies.inodes = Supply {
            available: disk.f_favail,
            capacity: disk.f_files,
        };
    }
    supplies
}

#[cfg(test)]
mod tests {
    use cluster_objects::Object;
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_tolerate_short_memory_by_key_or_all_at_once() {
        let check = |toleration: serde_json::Value, expected: bool| {
            let spec = json!({ "containers": [], "tolerations": [toleration] });
            let pod = Object::from_value(json!({ "spec": spec })).unwrap();
            let seen = newcomer(&Pod::read(Arc::new(pod)).unwrap());
            assert_eq!(seen.tolerates_memory_pressure, expected, "{seen:?}");
        };
        check(json!({ "key": MEMORY_PRESSURE, "operator": "Exists" }), true);
        check(
            json!({ "key": MEMORY_PRESSURE, "operator": "Exists", "effect": "NoSchedule" }),
            true,
        );
        check(json!({ "operator": "Exists" }), true);
        check(
            json!({ "key": MEMORY_PRESSURE, "operator": "Exists", "effect": "NoExecute" }),
            false,
        );
        check(json!({ "key": "other", "operator": "Exists" }), false);
    }
}
