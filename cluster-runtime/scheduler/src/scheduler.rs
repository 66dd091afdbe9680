//! The shell: follows nodes and pods, has each waiting pod decided, binds, and says why a pod waits.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_client::{
    Api, Change, Clock, DeleteOptions, EventType, InformerOptions, Informers, Jitter, ObjectKey, Patch,
    Recorder, RecorderOptions, Target, WriteOptions,
};
use cluster_objects::{Object, Status};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::filter::waits_for_pod;
use crate::pod::PodInfo;
use crate::preempt::{Preemption, Victim, preempt};
use crate::queue::PendingPods;
use crate::schedule::{Chance, may_fit, schedule};
use crate::templates::Templates;
use crate::{ClusterState, Helps, Profile};

/// Says on a claim which node its pod will be on.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Decisions that are made in a row, before others may run.
const DECISIONS_MAX: usize = 32;

/// What the scheduler is given beside the cluster.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// Name that pods ask for in `spec.schedulerName`.
    pub name: String,
    /// What makes a node a good one.
    pub profile: Profile,
    /// The wall clock.
    pub clock: Clock,
    /// Randomness: which of equal nodes is taken, and the waits between retries.
    pub jitter: Jitter,
    /// Bindings that are under way at once.
    pub bindings_max: usize,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            name: "default-scheduler".into(),
            profile: Profile::Spread,
            clock: Clock::system(),
            jitter: Jitter::none(),
            bindings_max: 256,
        }
    }
}

/// The running scheduler.
pub struct Scheduler {
    shared: Arc<Shared>,
    informers: Informers,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Starts the scheduler in a task of the current tokio runtime.
    pub fn start(api: Arc<dyn Api>, options: SchedulerOptions) -> Self {
        let informers = Informers::new(
            api.clone(),
            InformerOptions {
                jitter: options.jitter.clone(),
                ..InformerOptions::default()
            },
        );
        let recorder_options = RecorderOptions {
            component: options.name.clone(),
            ..RecorderOptions::default()
        };
        let recorder = Recorder::start(api.clone(), options.clock.clone(), recorder_options);
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                state: ClusterState::new(),
                pending: PendingPods::new(),
                templates: Templates::default(),
            }),
            woken: Notify::new(),
            name: options.name.clone(),
        });
        follow(&informers, &shared);
        let stop = CancellationToken::new();
        let worker = Worker {
            api,
            recorder,
            shared: shared.clone(),
            options,
        };
        let (followed, stopped) = (informers.clone(), stop.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => return,
                // A pod must not be refused because a node was not seen yet.
                () = followed.synced() => {}
            }
            worker.run(stopped).await;
        });
        Self {
            shared,
            informers,
            stop,
            task,
        }
    }

    /// Waits until the caches show the cluster as it is.
    pub async fn ready(&self) {
        self.informers.synced().await;
    }

    /// Pods that wait for a node, for who looks on.
    pub fn pending(&self) -> PendingCount {
        PendingCount(self.shared.clone())
    }

    /// Stops deciding and waits for the bindings under way.
    pub async fn stop(self) {
        self.stop.cancel();
        // A task that panicked has nothing left to wait for.
        let _ = self.task.await;
    }
}

/// How many pods wait for a node, for as long as somebody looks on.
#[derive(Clone)]
pub struct PendingCount(Arc<Shared>);

impl PendingCount {
    /// How many there are now, tried or not.
    pub fn now(&self) -> usize {
        self.0.inner().pending.len()
    }
}

struct Shared {
    inner: Mutex<Inner>,
    woken: Notify,
    name: String,
}

struct Inner {
    state: ClusterState,
    pending: PendingPods,
    templates: Templates,
}

/// Puts every change of what the scheduler looks at into its state.
fn follow(informers: &Informers, shared: &Arc<Shared>) {
    type Handler = fn(&Shared, &Change);
    let handlers: [(&str, &str, Handler); 7] = [
        ("v1", "nodes", Shared::node_changed),
        ("v1", "namespaces", Shared::namespace_changed),
        ("v1", "persistentvolumeclaims", Shared::claim_changed),
        ("v1", "persistentvolumes", Shared::volume_changed),
        (
            "storage.k8s.io/v1",
            "storageclasses",
            Shared::storage_class_changed,
        ),
        ("policy/v1", "poddisruptionbudgets", Shared::budget_changed),
        ("v1", "pods", Shared::pod_changed),
    ];
    for (api_version, resource, handler) in handlers {
        let shared = shared.clone();
        informers
            .of(api_version, resource)
            .add_handler(move |change| handler(&shared, change));
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("informers", &self.informers)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node_changed(&self, change: &Change) {
        let mut inner = self.inner();
        let Inner { state, pending, .. } = &mut *inner;
        let node = change.object();
        match change {
            Change::Deleted(_) => return state.remove_node(node.name()),
            Change::Updated { old, new } if crate::NodeInfo::same(old, new) => return,
            Change::Added(_) | Change::Updated { .. } => state.put_node(node),
        }
        if pending.helped(Helps::Node, Instant::now(), |pod| {
            may_fit(state, pod, node.name())
        }) {
            self.woken.notify_one();
        }
    }

    fn namespace_changed(&self, change: &Change) {
        let object = change.object();
        let present = !matches!(change, Change::Deleted(_));
        let mut inner = self.inner();
        inner
            .state
            .put_namespace(object.name(), present.then_some(&**object));
    }

    fn budget_changed(&self, change: &Change) {
        let state = &mut self.inner().state;
        match change {
            Change::Deleted(object) => drop(state.budgets.remove(&ObjectKey::of(object))),
            Change::Added(object) | Change::Updated { new: object, .. } => state.put_budget(object),
        }
    }

    fn volume_changed(&self, change: &Change) {
        let mut inner = self.inner();
        put(&mut inner.state.volumes, ObjectKey::of(change.object()), change);
        self.help(&mut inner, Helps::Volume);
    }

    fn claim_changed(&self, change: &Change) {
        let mut inner = self.inner();
        put(&mut inner.state.claims, ObjectKey::of(change.object()), change);
        self.help(&mut inner, Helps::Volume);
    }

    fn storage_class_changed(&self, change: &Change) {
        let mut inner = self.inner();
        let name = change.object().name().to_owned();
        put(&mut inner.state.storage_classes, name, change);
        self.help(&mut inner, Helps::Volume);
    }

    fn help(&self, inner: &mut Inner, change: Helps) {
        let Inner { state, pending, .. } = inner;
        let mut helped = pending.helped(change, Instant::now(), |_| false);
        if change == Helps::Volume {
            helped |= pending.volumes_came(|pod| claims_are_settled(state, pod));
        }
        if helped {
            self.woken.notify_one();
        }
    }

    fn pod_changed(&self, change: &Change) {
        let pod = change.object();
        let mut inner = self.inner();
        let over = matches!(change, Change::Deleted(_))
            || matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed"));
        if over {
            self.pod_over(&mut inner, pod);
        } else if pod
            .text(&["spec", "nodeName"])
            .is_some_and(|node| !node.is_empty())
        {
            self.pod_placed(&mut inner, change);
        } else {
            self.pod_waits(&mut inner, change);
        }
    }

    fn pod_over(&self, inner: &mut Inner, pod: &Object) {
        let key = ObjectKey::of(pod);
        inner.pending.remove(&key);
        let nominated = inner.state.forget_nomination(&key);
        let Some(node) = inner.state.remove_pod(&key).or(nominated) else {
            return;
        };
        let Inner { state, pending, .. } = inner;
        if pending.helped(Helps::PodGone, Instant::now(), |pod| may_fit(state, pod, &node)) {
            self.woken.notify_one();
        }
    }

    fn pod_placed(&self, inner: &mut Inner, change: &Change) {
        let pod = change.object();
        let key = ObjectKey::of(pod);
        let node = pod.text(&["spec", "nodeName"]).unwrap_or_default();
        inner.pending.remove(&key);
        let labels_changed = change.old().is_some_and(|old| old.labels() != pod.labels());
        let known = inner.state.node_of(&key).is_some_and(|known| **known == *node);
        let resized = change.old().is_some_and(|old| !same_containers(old, pod));
        if pod.deletion_timestamp().is_some() {
            inner.state.leaving(&key);
        }
        if known && !labels_changed && !resized {
            return;
        }
        let read = inner.templates.read(pod);
        inner.state.put_pod(&read, &node.into());
        let Inner { state, pending, .. } = inner;
        let now = Instant::now();
        let mut helped = pending.helped(Helps::PodPlaced, now, |_| false);
        if labels_changed || resized {
            helped |= pending.helped(Helps::PodGone, now, |pod| may_fit(state, pod, node));
        }
        if helped {
            self.woken.notify_one();
        }
    }

    fn pod_waits(&self, inner: &mut Inner, change: &Change) {
        let pod = change.object();
        let change_is_first = change.old().is_none();
        let key = ObjectKey::of(pod);
        let ours = pod
            .text(&["spec", "schedulerName"])
            .unwrap_or("default-scheduler")
            == self.name;
        if !ours || inner.state.node_of(&key).is_some() {
            // Another scheduler's, or being bound right now.
            return;
        }
        if pod.deletion_timestamp().is_some() || !pod.list(&["spec", "schedulingGates"]).is_empty() {
            inner.pending.remove(&key);
            inner.state.forget_nomination(&key);
            return;
        }
        let read = inner.templates.read(pod);
        if let Some(node) = pod.text(&["status", "nominatedNodeName"])
            && inner.state.nominated_node(&key).is_none()
            && change_is_first
        {
            // Made by a scheduler before this one.
            inner.state.nominate(&read, node);
        }
        inner.pending.add(Arc::new(read));
        self.woken.notify_one();
    }
}

/// Whether two states of a pod ask for the same amounts; nothing else of its spec changes once it has a node.
fn same_containers(old: &Object, new: &Object) -> bool {
    [
        ["spec", "containers"],
        ["spec", "initContainers"],
        ["spec", "overhead"],
    ]
    .iter()
    .all(|path| old.at(path) == new.at(path))
}

fn put<K: std::hash::Hash + Eq>(
    map: &mut std::collections::HashMap<K, Arc<Object>>,
    key: K,
    change: &Change,
) {
    match change {
        Change::Deleted(_) => map.remove(&key),
        Change::Added(object) | Change::Updated { new: object, .. } => map.insert(key, object.clone()),
    };
}

/// What the scheduler found for a pod.
enum Decision {
    Bind {
        pod: Arc<PodInfo>,
        node: Arc<str>,
    },
    /// The claims are told where the pod will be; it is placed once they are bound.
    Tell {
        pod: Arc<PodInfo>,
        node: Arc<str>,
        claims: Vec<Target>,
    },
    Refuse {
        pod: Arc<PodInfo>,
        message: String,
    },
    /// Pods are driven away, and the pod is placed once they are gone.
    Preempt {
        pod: Arc<PodInfo>,
        message: String,
        preemption: Preemption,
        /// Pods for which room was made there before, which is no longer theirs.
        displaced: Vec<ObjectKey>,
    },
}

struct Worker {
    api: Arc<dyn Api>,
    recorder: Recorder,
    shared: Arc<Shared>,
    options: SchedulerOptions,
}

impl Worker {
    async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let mut running = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        let mut start = 0;
        loop {
            let woken = worker.shared.woken.notified();
            let mut decided = 0;
            while running.len() < worker.options.bindings_max && decided < DECISIONS_MAX {
                decided += 1;
                let Some(decision) = worker.decide(&mut start) else {
                    break;
                };
                running.push(worker.clone().carry_out(decision).boxed());
            }
            if decided == DECISIONS_MAX {
                // There may be more: the others on this thread come first.
                worker.shared.woken.notify_one();
                tokio::task::yield_now().await;
            }
            let due = worker.shared.inner().pending.next_due();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = running.next(), if !running.is_empty() => {}
                () = woken => {}
                () = sleep_until(due), if due.is_some() => {}
            }
        }
        while running.next().await.is_some() {}
    }

    /// Decides for the next waiting pod; the state shows it on its node at once.
    fn decide(&self, start: &mut usize) -> Option<Decision> {
        let mut inner = self.shared.inner();
        let Inner { state, pending, .. } = &mut *inner;
        let pod = pending.pop(Instant::now())?;
        state.remember_choices(&pod);
        let chance = Chance {
            start: *start,
            tie: self.options.jitter.next(),
        };
        match schedule(state, &pod, self.options.profile, chance) {
            Ok(placement) => {
                *start = start.wrapping_add(placement.examined);
                let claims = claims_to_tell(state, &pod);
                if !claims.is_empty() {
                    let node = placement.node;
                    pending.wait_for_volumes(pod.clone());
                    return Some(Decision::Tell { pod, node, claims });
                }
                state.put_pod(&pod, &placement.node);
                // This pod may be the company that others wait for; its own change will not say so again.
                pending.helped(Helps::PodPlaced, Instant::now(), |_| false);
                Some(Decision::Bind {
                    pod,
                    node: placement.node,
                })
            }
            Err(refusals) => {
                let mut message = refusals.to_string();
                // What keeps a pod from every node has nothing to do with other pods.
                let helps = refusals.nodes > 0 && refusals.every.is_none();
                pending.refuse(pod.clone(), refusals);
                if !helps {
                    return Some(Decision::Refuse { pod, message });
                }
                match preempt(state, &pod, *start) {
                    Ok(preemption) => {
                        let displaced = state.nominees_below(&preemption.node, pod.priority);
                        for key in &displaced {
                            state.forget_nomination(key);
                        }
                        state.nominate(&pod, &preemption.node);
                        Some(Decision::Preempt {
                            pod,
                            message,
                            preemption,
                            displaced,
                        })
                    }
                    Err(why) => {
                        message.push_str(" preemption: ");
                        message.push_str(&why);
                        Some(Decision::Refuse { pod, message })
                    }
                }
            }
        }
    }

    async fn carry_out(self: Arc<Self>, decision: Decision) {
        match decision {
            Decision::Tell { pod, node, claims } => {
                for claim in claims {
                    if let Err(status) = self.tell_node(&claim, &node).await {
                        debug!(pod = %pod.key, %node, "cannot tell a claim its node: {status}");
                        let pending = &mut self.shared.inner().pending;
                        pending.remove(&pod.key);
                        pending.retry(pod, Instant::now(), self.options.jitter.next());
                        self.shared.woken.notify_one();
                        return;
                    }
                }
            }
            Decision::Bind { pod, node } => {
                if let Err(status) = self.bind(&pod, &node).await {
                    self.binding_failed(pod, &node, &status);
                    return;
                }
                self.shared.inner().pending.placed(&pod.key);
                let message = format!("Successfully assigned {} to {node}", pod.key);
                self.recorder
                    .record(&pod.object, EventType::Normal, "Scheduled", message);
            }
            Decision::Refuse { pod, message } => self.refuse(&pod, &message, None).await,
            Decision::Preempt {
                pod,
                message,
                preemption,
                displaced,
            } => {
                for key in displaced {
                    if let Err(status) = self.clear_nomination(&key).await {
                        debug!(pod = %key, "cannot take back a nomination: {status}");
                    }
                }
                self.refuse(&pod, &message, Some(&preemption.node)).await;
                let mut gone = false;
                for victim in preemption.victims.iter().filter(|victim| !victim.leaving) {
                    match self.drive_away(victim, &pod, &preemption.node).await {
                        Ok(()) => {}
                        Err(status) if status.is_not_found() || status.is_conflict() => gone = true,
                        Err(status) => {
                            warn!(pod = %victim.key, "cannot preempt: {status}");
                            gone = true;
                        }
                    }
                }
                if gone {
                    // What was planned no longer holds: the pod is decided anew after a while.
                    let inner = &mut *self.shared.inner();
                    inner.state.forget_nomination(&pod.key);
                    if inner.pending.is_refused(&pod) {
                        inner.pending.remove(&pod.key);
                        inner
                            .pending
                            .retry(pod, Instant::now(), self.options.jitter.next());
                    }
                    self.shared.woken.notify_one();
                }
            }
        }
    }

    /// Tells a pod and its readers why it waits, and where room is being made for it.
    async fn refuse(&self, pod: &PodInfo, message: &str, nominated: Option<&str>) {
        self.recorder
            .record(&pod.object, EventType::Warning, "FailedScheduling", message);
        if let Err(status) = self.tell(pod, message, nominated).await {
            debug!(pod = %pod.key, "cannot say why the pod waits: {status}");
        }
    }

    /// Deletes a pod in favour of another one.
    async fn drive_away(&self, victim: &Victim, pod: &PodInfo, node: &str) -> Result<(), Status> {
        let target = Target::namespaced("v1", "pods", &victim.key.namespace, &victim.key.name);
        let found = self.api.get(&target).await?;
        if found.uid() != &*victim.uid {
            return Err(Status::not_found(&target.resource, &target.name));
        }
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": format!("{}: preempting to accommodate a higher priority pod", self.options.name),
            "lastProbeTime": null, "lastTransitionTime": seconds(self.options.clock.now()),
        });
        let conditions = found.list(&["status", "conditions"]).iter();
        let others = conditions.filter(|condition| condition["type"] != "DisruptionTarget");
        let conditions: Vec<Value> = others.cloned().chain([condition]).collect();
        let patch = json!({"metadata": {"uid": *victim.uid}, "status": {"conditions": conditions}});
        let status = target.clone().subresource("status");
        self.api
            .patch(&status, Patch::Merge(patch), &WriteOptions::default())
            .await?;
        let options = DeleteOptions {
            uid: Some(victim.uid.to_string()),
            ..DeleteOptions::default()
        };
        self.api.delete(&target, &options).await?;
        let message = format!("Preempted by pod {} on node {node}", pod.object.uid());
        self.recorder
            .record(&found, EventType::Normal, "Preempted", message);
        Ok(())
    }

    async fn clear_nomination(&self, key: &ObjectKey) -> Result<(), Status> {
        let target = Target::namespaced("v1", "pods", &key.namespace, &key.name).subresource("status");
        let patch = Patch::Merge(json!({"status": {"nominatedNodeName": null}}));
        self.api
            .patch(&target, patch, &WriteOptions::default())
            .await
            .map(drop)
    }

    async fn tell_node(&self, claim: &Target, node: &str) -> Result<(), Status> {
        let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
        let options = WriteOptions::default();
        self.api
            .patch(claim, Patch::Merge(patch), &options)
            .await
            .map(drop)
    }

    async fn bind(&self, pod: &PodInfo, node: &str) -> Result<(), Status> {
        let options = WriteOptions::default();
        let mut binding = Object::new("v1", "Binding", Some(pod.namespace()), &pod.key.name);
        binding.set(&["metadata", "uid"], pod.object.uid());
        binding.set(
            &["target"],
            json!({"apiVersion": "v1", "kind": "Node", "name": node}),
        );
        let target = target_of(pod).subresource("binding");
        self.api.post(&target, binding, &options).await.map(drop)
    }

    fn binding_failed(&self, pod: Arc<PodInfo>, node: &str, status: &Status) {
        let mut inner = self.shared.inner();
        // By now another pod of that name may have been placed.
        if inner
            .state
            .pod(&pod.key)
            .is_some_and(|placed| *placed.uid == *pod.object.uid())
        {
            inner.state.remove_pod(&pod.key);
        }
        if status.is_not_found() || status.is_conflict() {
            // Deleted, or bound by somebody else: the watch says what became of it.
            debug!(pod = %pod.key, %node, "cannot bind: {status}");
            inner.pending.placed(&pod.key);
            return;
        }
        warn!(pod = %pod.key, %node, "cannot bind: {status}");
        inner
            .pending
            .retry(pod, Instant::now(), self.options.jitter.next());
        drop(inner);
        self.shared.woken.notify_one();
    }

    /// Sets the condition `PodScheduled` where it does not say the same already.
    async fn tell(&self, pod: &PodInfo, message: &str, nominated: Option<&str>) -> Result<(), Status> {
        let conditions = pod.object.list(&["status", "conditions"]);
        let present = conditions
            .iter()
            .find(|condition| condition["type"] == "PodScheduled");
        if present.is_some_and(|condition| condition["message"] == message) && nominated.is_none() {
            return Ok(());
        }
        let since = present
            .filter(|condition| condition["status"] == "False")
            .map_or_else(
                || json!(seconds(self.options.clock.now())),
                |condition| condition["lastTransitionTime"].clone(),
            );
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": since,
        });
        let others = conditions
            .iter()
            .filter(|condition| condition["type"] != "PodScheduled");
        let conditions: Vec<Value> = others.cloned().chain([condition]).collect();
        let mut patch = json!({"metadata": {"uid": pod.object.uid()}, "status": {"conditions": conditions}});
        if let Some(node) = nominated {
            patch["status"]["nominatedNodeName"] = node.into();
        }
        let target = target_of(pod).subresource("status");
        self.api
            .patch(&target, Patch::Merge(patch), &WriteOptions::default())
            .await
            .map(drop)
    }
}

fn target_of(pod: &PodInfo) -> Target {
    Target::namespaced("v1", "pods", pod.namespace(), &pod.key.name)
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

/// The claims that wait to be told on which node their pod will be.
fn claims_to_tell(state: &ClusterState, pod: &PodInfo) -> Vec<Target> {
    let unbound = |name: &&String| {
        let claim = state.claims.get(&ObjectKey::new(pod.namespace(), name));
        claim.is_some_and(|claim| {
            let bound = claim
                .text(&["spec", "volumeName"])
                .is_some_and(|volume| !volume.is_empty());
            !bound && waits_for_pod(state, claim)
        })
    };
    let names = pod.claims.iter().filter(unbound);
    names
        .map(|name| Target::namespaced("v1", "persistentvolumeclaims", pod.namespace(), name))
        .collect()
}

/// Whether a pod that waits for its volumes may be tried again: all are bound, or one asks for another node.
fn claims_are_settled(state: &ClusterState, pod: &PodInfo) -> bool {
    let pends = |name: &String| {
        let claim = state.claims.get(&ObjectKey::new(pod.namespace(), name));
        claim.is_some_and(|claim| {
            let bound = claim.text(&["status", "phase"]) == Some("Bound");
            !bound && (claim.annotation(SELECTED_NODE).is_some() || !waits_for_pod(state, claim))
        })
    };
    !pod.claims.iter().any(pends)
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
