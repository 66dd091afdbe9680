//! What a server tells Prometheus of its store, of what it does as the leader, and of the nodes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cluster_apiserver::{Measured, Measurement, NodeRegistry};
use cluster_client::NodeUsage;
use cluster_controllers::QueueLengths;
use cluster_node::NodeHandle;
use cluster_scheduler::PendingCount;
use cluster_store::{GroupStatus, RaftStore, Store};
use futures::future::join_all;
use tokio::time::timeout;

use crate::node_metrics::of_node;

/// Longest wait for a node to tell what it uses: who reads measurements does not wait for one that is lost.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// What controllers and scheduler have to do, while they run here.
#[derive(Clone, Default)]
pub(crate) struct LeaderWork(Arc<Mutex<Option<(QueueLengths, PendingCount)>>>);

impl LeaderWork {
    /// They have begun, or, with nothing, ended.
    pub(crate) fn set(&self, work: Option<(QueueLengths, PendingCount)>) {
        *self.lock() = work;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(QueueLengths, PendingCount)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a server that are measured.
pub(crate) struct ServerMeasurements {
    pub(crate) store: Arc<RaftStore>,
    pub(crate) work: LeaderWork,
    pub(crate) nodes: NodeRegistry,
    /// The node of this machine, once it runs.
    pub(crate) own: OnceLock<NodeHandle>,
}

#[async_trait]
impl Measured for ServerMeasurements {
    async fn measure(&self) -> Vec<Measurement> {
        let leads = self.store.leadership().borrow().is_self;
        let mut measured = of_store(&self.store.group_status(), leads, self.store.revision().0);
        let work = self.work.lock().clone();
        let work = work.map(|(queues, pending)| (queues.now(), pending.now()));
        measured.extend(of_leader(work));
        let asked = self.nodes.all().into_iter().map(|(name, node)| async move {
            let usage = timeout(NODE_TIMEOUT, node.usage()).await;
            (name, usage.ok().and_then(Result::ok))
        });
        measured.extend(of_nodes(&join_all(asked).await));
        if let Some(own) = self.own.get() {
            measured.extend(of_node(own).await);
        }
        measured
    }
}

fn one(name: &'static str, kind: &'static str, help: &'static str, value: f64) -> Measurement {
    many(name, kind, help, [(Vec::new(), value)])
}

fn many(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    values: impl IntoIterator<Item = (Vec<(&'static str, String)>, f64)>,
) -> Measurement {
    let values = values.into_iter().collect();
    Measurement {
        name,
        kind,
        help,
        values,
    }
}

fn of_store(status: &GroupStatus, leads: bool, revision: u64) -> Vec<Measurement> {
    let lag = status.members.iter().filter_map(|known| {
        let lag = status.last_index.saturating_sub(known.matched_index?);
        Some((vec![("member", known.member.number.to_string())], lag as f64))
    });
    let voters = status
        .members
        .iter()
        .filter(|known| known.member.is_voter)
        .count();
    vec![
        one(
            "tug_store_is_leader",
            "gauge",
            "Whether this server leads.",
            f64::from(u8::from(leads)),
        ),
        one(
            "tug_store_term",
            "counter",
            "Term of the log; each election begins one.",
            status.term as f64,
        ),
        one(
            "tug_store_log_entries",
            "counter",
            "Entries of the log of this server since the cluster began.",
            status.last_index as f64,
        ),
        one(
            "tug_store_applied_entries",
            "counter",
            "Entries of the log that are committed and done on this server.",
            status.applied_index as f64,
        ),
        one(
            "tug_store_snapshot_entries",
            "counter",
            "Entries of the log that are in the newest snapshot of this server.",
            status.snapshot_index as f64,
        ),
        one(
            "tug_store_voters",
            "gauge",
            "Servers that count for the quorum.",
            voters as f64,
        ),
        many(
            "tug_store_member_lag_entries",
            "gauge",
            "Entries that a server does not have yet, as the leader knows.",
            lag,
        ),
        one(
            "tug_store_objects_revision",
            "counter",
            "Newest revision of the objects here.",
            revision as f64,
        ),
    ]
}

fn of_leader(work: Option<(Vec<(&'static str, usize)>, usize)>) -> Vec<Measurement> {
    let runs = f64::from(u8::from(work.is_some()));
    let (queues, pending) = work.map_or((Vec::new(), None), |(queues, pending)| (queues, Some(pending)));
    let queues = queues
        .into_iter()
        .map(|(name, length)| (vec![("name", name.to_owned())], length as f64));
    vec![
        one(
            "tug_controllers_running",
            "gauge",
            "Whether the controllers run on this server.",
            runs,
        ),
        many(
            "workqueue_depth",
            "gauge",
            "Objects that a controller has yet to look at.",
            queues,
        ),
        many(
            "scheduler_pending_pods",
            "gauge",
            "Pods that wait for a node; only where the scheduler runs.",
            pending.map(|pending| (Vec::new(), pending as f64)),
        ),
    ]
}

fn of_nodes(nodes: &[(String, Option<NodeUsage>)]) -> Vec<Measurement> {
    let of = |value: fn(&NodeUsage) -> f64| {
        nodes.iter().filter_map(move |(name, usage)| {
            let node = vec![("node", name.clone())];
            Some((node, value(usage.as_ref()?)))
        })
    };
    let answers = nodes.iter().map(|(name, usage)| {
        let node = vec![("node", name.clone())];
        (node, f64::from(u8::from(usage.is_some())))
    });
    vec![
        many(
            "tug_node_answers",
            "gauge",
            "Whether the agent of a node answers this server.",
            answers,
        ),
        many(
            "tug_node_cpu_seconds_total",
            "counter",
            "Processor time of a node.",
            of(|usage| usage.node.cpu_nanoseconds as f64 / 1e9),
        ),
        many(
            "tug_node_memory_working_set_bytes",
            "gauge",
            "Memory of a node that cannot be given back easily.",
            of(|usage| usage.node.working_set_bytes as f64),
        ),
        many(
            "tug_node_containers",
            "gauge",
            "Containers that run on a node.",
            of(|usage| usage.containers.len() as f64),
        ),
    ]
}
