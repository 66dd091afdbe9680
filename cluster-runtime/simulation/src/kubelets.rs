//! The kubelets of all simulated nodes: they register, renew their leases, and say of every pod that it runs.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::{
    Api, Change, Collection, DeleteOptions, Informer, InformerOptions, ObjectKey, Patch, Target, WriteOptions,
};
use cluster_objects::{GroupVersionResource, Object, Status};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::timeline::Timeline;
use crate::{SimulationOptions, node};

/// Requests of kubelets that are under way at once; each node of a real cluster has its own.
const REQUESTS_AT_ONCE: usize = 256;
/// Between two renewals of a node's lease.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The renewals of all nodes are spread over so many turns.
const TURNS: u32 = 100;
const LEASE_SECONDS: u64 = 40;
const LEASES: &str = "kube-node-lease";

/// Registers the nodes, with their leases.
pub(crate) async fn register(api: &dyn Api, options: &SimulationOptions) -> Result<(), Status> {
    let write = WriteOptions {
        field_manager: "kubelet".to_owned(),
        ..WriteOptions::default()
    };
    let (nodes, leases) = (
        Collection::all("v1", "nodes"),
        Collection::namespaced("coordination.k8s.io/v1", "leases", LEASES),
    );
    let registered = stream::iter(0..options.nodes).map(|number| {
        let (write, nodes, leases) = (&write, &nodes, &leases);
        async move {
            let now = Timestamp::now();
            let node = node::node(number, options, now);
            let made = api.create(nodes, node.clone(), write).await?;
            // A new node says nothing of itself until its status is written.
            let mut told = Object::clone(&made);
            told.set(&["status"], node.at(&["status"]).cloned().unwrap_or_default());
            told.remove(&["metadata", "resourceVersion"]);
            let status = nodes.target(node.name()).subresource("status");
            api.update(&status, told, write).await?;
            let lease = lease(&made, now);
            api.create(leases, lease, write).await.map(drop)
        }
    });
    registered
        .buffer_unordered(REQUESTS_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .map(drop)
}

fn lease(node: &Object, now: Timestamp) -> Object {
    let mut lease = Object::new("coordination.k8s.io/v1", "Lease", Some(LEASES), node.name());
    lease.set(
        &["metadata", "ownerReferences"],
        json!([{"apiVersion": "v1", "kind": "Node", "name": node.name(), "uid": node.uid()}]),
    );
    lease.set(&["spec", "holderIdentity"], node.name());
    lease.set(&["spec", "leaseDurationSeconds"], LEASE_SECONDS);
    lease.set(&["spec", "renewTime"], renewal(now));
    lease
}

fn renewal(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// What a kubelet has to do about a pod.
enum Order {
    /// The pod is on a node and must be run.
    Run { pod: Arc<Object> },
    /// The pod is to go.
    Remove { key: ObjectKey, uid: String },
}

/// The running kubelets; they end when this is dropped.
pub(crate) struct Kubelets {
    _pods: Informer,
    _tasks: JoinSet<()>,
}

impl Kubelets {
    /// Follows the pods, in tasks of the current tokio runtime, and tells the timeline what it sees.
    pub(crate) async fn start(
        api: Arc<dyn Api>,
        options: &SimulationOptions,
        timeline: &Arc<Timeline>,
    ) -> Self {
        // No more orders wait than there are pods, which whoever simulates has chosen.
        let (send, orders) = mpsc::unbounded_channel();
        let pods = Informer::start(
            api.clone(),
            Collection::all("v1", "pods"),
            InformerOptions::default(),
        );
        pods.synced().await;
        let timeline = timeline.clone();
        pods.add_handler(move |change| {
            if let Some(order) = see(change, &timeline) {
                // The receiver ends with the simulation, and what comes later does not matter.
                let _ = send.send(order);
            }
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(carry_out(api.clone(), orders));
        tasks.spawn(beat(api, options.nodes));
        Self {
            _pods: pods,
            _tasks: tasks,
        }
    }
}

/// Notes a change of a pod, and says what is to be done about it.
fn see(change: &Change, timeline: &Timeline) -> Option<Order> {
    let pod = change.object();
    if matches!(change, Change::Deleted(_)) {
        return None;
    }
    let placed = |pod: &Object| {
        pod.text(&["spec", "nodeName"])
            .is_some_and(|node| !node.is_empty())
    };
    let running = |pod: &Object| pod.text(&["status", "phase"]) == Some("Running");
    let leaving = |pod: &Object| pod.deletion_timestamp().is_some();
    let before = |holds: &dyn Fn(&Object) -> bool| change.old().is_some_and(|old| holds(old));
    let key = || ObjectKey::of(pod);
    if change.old().is_none() {
        timeline.made(&key());
    }
    if running(pod) && !before(&running) {
        timeline.running();
    }
    let uid = || pod.uid().to_owned();
    if leaving(pod) && !before(&leaving) {
        return Some(Order::Remove {
            key: key(),
            uid: uid(),
        });
    }
    if !placed(pod) || before(&placed) {
        return None;
    }
    timeline.placed(&key());
    (!running(pod)).then(|| Order::Run { pod: pod.clone() })
}

async fn carry_out(api: Arc<dyn Api>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let places = Arc::new(Semaphore::new(REQUESTS_AT_ONCE));
    let mut running = JoinSet::new();
    let mut number = 0_u32;
    while let Some(order) = orders.recv().await {
        // Nobody closes it.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        number = number.wrapping_add(1);
        let api = api.clone();
        running.spawn(async move {
            request(&*api, order, number).await;
            drop(place);
        });
        while running.try_join_next().is_some() {}
    }
}

/// Sends the one request that an order is.
async fn request(api: &dyn Api, order: Order, number: u32) {
    let target = |key: &ObjectKey| Target::namespaced("v1", "pods", &key.namespace, &key.name);
    // A pod that is gone or another by now needs nothing; one that is refused stays as it is, and is counted so.
    match order {
        Order::Run { pod } => {
            let options = WriteOptions {
                field_manager: "kubelet".to_owned(),
                ..WriteOptions::default()
            };
            let target = target(&ObjectKey::of(&pod)).subresource("status");
            let told = running(&pod, number, Timestamp::now());
            let _ = api.update(&target, told, &options).await;
        }
        Order::Remove { key, uid } => {
            let options = DeleteOptions {
                grace_period_seconds: Some(0),
                uid: Some(uid),
                ..DeleteOptions::default()
            };
            let _ = api.delete(&target(&key), &options).await;
        }
    }
}

/// A pod as its kubelet writes it once its containers run.
fn running(pod: &Object, number: u32, now: Timestamp) -> Object {
    let since = node::time(now);
    let [_, second, third, fourth] = number.to_be_bytes();
    let address = format!("10.{second}.{third}.{fourth}");
    let holds = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": since});
    let known = pod.list(&["status", "conditions"]).iter().cloned();
    let conditions: Vec<_> = known
        .chain(
            [
                "PodReadyToStartContainers",
                "Initialized",
                "Ready",
                "ContainersReady",
            ]
            .map(holds),
        )
        .collect();
    let mut running = Object::clone(pod);
    running.set(
        &["status"],
        json!({
            "phase": "Running", "startTime": since, "hostIP": "172.16.0.1", "podIP": address, "podIPs": [{"ip": address}],
            "qosClass": pod.at(&["status", "qosClass"]), "conditions": conditions,
            "containerStatuses": [{
                "name": "main", "image": "registry.example/simulated:1", "imageID": "registry.example/simulated@sha256:0",
                "containerID": format!("simulated://{number}"), "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": since}}, "lastState": {},
            }],
        }),
    );
    running
}

/// Renews the leases of all nodes, again and again.
async fn beat(api: Arc<dyn Api>, nodes: u32) {
    let resource = GroupVersionResource::new("coordination.k8s.io/v1", "leases");
    let mut turns = tokio::time::interval(HEARTBEAT / TURNS);
    for turn in (0..TURNS).cycle() {
        turns.tick().await;
        let due = (0..nodes).filter(|number| number % TURNS == turn);
        let renewed = stream::iter(due).for_each_concurrent(REQUESTS_AT_ONCE, |number| {
            let target = Target {
                resource: resource.clone(),
                namespace: Some(LEASES.to_owned()),
                name: node::name(number),
                subresource: None,
            };
            let patch = Patch::Merge(json!({"spec": {"renewTime": renewal(Timestamp::now())}}));
            let api = &api;
            async move {
                // The next beat tries again.
                let _ = api.patch(&target, patch, &WriteOptions::default()).await;
            }
        });
        renewed.await;
    }
}
