//! The worker of a pod: it looks, plans, lets the steps be done, and writes down how the pod is.
//!
//! There is one for each pod. Only it changes what is known of the pod; steps run as tasks beside it and report back.
//! What it takes over is in [`adoption`], what it hears in [`news`], and what it writes in [`writing`].

mod adoption;
mod news;
mod writing;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use cluster_client::EventType;
use cluster_objects::{Object, Status};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::container::PodFolder;
use super::eviction::newcomer;
use super::health;
use super::images::{FetchFailure, Fetched};
use super::node::Shared;
use super::observed::{
    Condemned, CutShort, Ended, Ground, ImageFailure, ImageState, Instance, InstanceState, Observed, Refusal,
    Removal, Running,
};
use super::patient::Patient;
use super::plan::{Step, next_level, plan, wait_before_restart};
use super::pod::{ContainerConfig, Deletion, Pod, Probe};
use super::pressure::{Pressures, refusal};
use super::probes::ProbeNews;
use super::status::{status_of, will_restart};
use super::storage::{self, PodStorage, StorageLimits};
use super::tasks::{self, GroundFailure, GroundMade, StartFailure, StartOrder};
use super::unhonoured::unhonoured;
use super::volumes::{self, VolumePaths};
use crate::image::Image;
use crate::runtime::{Container, Sandbox};

const NEWS_WAITING_MAX: usize = 64;
const START_ERROR: i32 = 128;
const UNKNOWN_EXIT: i32 = 137;
/// Measuring what a pod holds takes at most this part of the time.
const MEASURING_PART: u32 = 50;
/// What a pod gets to stop that holds too much, or goes for others, as the kubelet gives.
const EVICTION_GRACE_SECONDS: u64 = 1;
/// What a pod gets to stop whose object is gone already.
const ORPHAN_GRACE_SECONDS: u64 = 5;

/// What a worker is told from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// The pod as it is wanted; absent when its object is gone.
    pub object: Option<Arc<Object>>,
    /// Grows when something that its volumes show has changed.
    pub refresh: u64,
    /// That it goes, for the node is short of something.
    pub eviction: Option<Eviction>,
}

/// The word to a pod that it goes.
#[derive(Clone, Debug)]
pub(crate) struct Eviction {
    pub message: String,
    /// Cancelled when the pod has left its room.
    pub left: CancellationToken,
}

/// What a task reports.
enum News {
    Ground(Result<GroundMade, GroundFailure>),
    Image {
        container: String,
        fetched: Result<Box<Fetched>, FetchFailure>,
    },
    Started {
        container: String,
        attempt: u32,
        started: Result<Container, StartFailure>,
    },
    Ended {
        container: String,
        attempt: u32,
        ended: Ended,
    },
    HookFailed {
        container: String,
        attempt: u32,
        message: String,
    },
    Left(Result<(), String>),
    Removed(Result<(), String>),
    Written(Result<Option<Arc<Object>>, Status>),
    Refreshed(Result<VolumePaths, volumes::VolumeFailure>),
    /// What the pod holds on disk, and how long it took to find out.
    Measured(PodStorage, std::time::Duration),
    Nothing,
}

/// News of a probe: container, attempt and what.
type Told = (String, u32, ProbeNews);

/// The worker of one pod.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    orders: watch::Receiver<Orders>,
    pod: Pod,
    seen: Observed,
    folder: PodFolder,
    netns: Option<PathBuf>,
    volumes: VolumePaths,
    tasks: JoinSet<News>,
    /// How probes tell their news.
    probes: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    /// The task of each running container's probes.
    lives: HashMap<String, AbortHandle>,
    /// What images say about being ready, of containers that say nothing themselves.
    health: HashMap<String, Probe>,
    /// How often the ground could not be made, and each container, since it last could.
    ground_failures: u32,
    refusals: HashMap<String, u32>,
    writing: bool,
    write_failures: u32,
    write_again: Option<Timestamp>,
    /// The status that is being written.
    wanted: Option<Value>,
    /// The last one that was written, and as what the API keeps it.
    written: Option<(Value, Value)>,
    /// That the object is gone, so that nothing is written any more.
    object_gone: bool,
    /// What runs already is not spoken of before it stands on its ground again.
    adopting: bool,
    refreshed: u64,
    /// What it may hold on disk, and when that is measured next; never while it is being measured.
    limits: StorageLimits,
    measured_next: Option<Timestamp>,
    /// Tells the node, when dropped, that an evicted pod has left its room.
    leaving: Option<DropGuard>,
}

impl Worker {
    /// Makes the worker of a pod, with what of it runs already.
    pub(crate) fn new(
        shared: Arc<Shared>,
        orders: watch::Receiver<Orders>,
        pod: Pod,
        found: Option<Sandbox>,
    ) -> Self {
        let now = shared.clock.now();
        let folder = shared.folder(&pod);
        let mut worker = Self {
            orders,
            seen: Observed::new(now),
            folder,
            netns: None,
            volumes: VolumePaths::new(),
            tasks: JoinSet::new(),
            probes: mpsc::channel(NEWS_WAITING_MAX),
            lives: HashMap::new(),
            health: HashMap::new(),
            ground_failures: 0,
            refusals: HashMap::new(),
            writing: false,
            write_failures: 0,
            write_again: None,
            wanted: None,
            written: None,
            object_gone: false,
            adopting: found.is_some(),
            refreshed: 0,
            limits: StorageLimits::of(&pod),
            measured_next: Some(now),
            leaving: None,
            shared,
            pod,
        };
        let is_new = found.is_none() && worker.pod.object.at(&["status", "startTime"]).is_none();
        if is_new && worker.refusal().is_some() {
            // Decided later: who refused at once would be sent the next pod at once.
            let wait = SignedDuration::try_from(worker.shared.config.housekeeping);
            worker.seen.held_until = Some(now + wait.unwrap_or(SignedDuration::ZERO));
        }
        worker.recall(found);
        worker
    }

    /// Works until the pod is removed.
    pub(crate) async fn run(mut self) {
        if self.seen.containers.is_empty() && !self.seen.ended_before && self.pod.deletion.is_none() {
            self.tell_unhonoured(&unhonoured(&self.pod.object));
        }
        self.watch_adopted().await;
        loop {
            self.seen.now = self.shared.clock.now();
            self.check_deadline();
            self.check_held();
            let mut wake = self.write_again;
            if let Some(at) = self.measure() {
                wake = Some(wake.map_or(at, |wake| wake.min(at)));
            }
            for step in plan(&self.pod, &self.seen, &self.shared.config.restart_backoff) {
                match step {
                    Step::WaitUntil(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                    step => self.begin(step),
                }
            }
            if self.seen.removal == Removal::Done {
                return;
            }
            self.write();
            tokio::select! {
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        // The agent stops; containers go on.
                        return;
                    }
                    self.take_orders();
                }
                Some(done) = self.tasks.join_next() => match done {
                    Ok(news) => self.hear(news),
                    Err(error) if error.is_panic() => {
                        tracing::error!(pod = %self.pod.long_name(), %error, "a task of the pod panicked");
                    }
                    Err(_) => {}
                },
                Some((container, attempt, news)) = self.probes.1.recv() => self.hear_probe(&container, attempt, news),
                () = sleep_until(self.shared.clock.now(), wake) => {}
            }
        }
    }

    fn check_deadline(&mut self) {
        let deadline = self.pod.deadline(Some(self.seen.began));
        if self.seen.cut_short.is_none() && deadline.is_some_and(|deadline| deadline <= self.seen.now) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.record(EventType::Normal, "DeadlineExceeded", message);
            self.seen.cut_short = Some(CutShort {
                reason: "DeadlineExceeded",
                message: message.to_owned(),
                grace_seconds: None,
                disrupted: false,
            });
        }
    }

    /// Why the node does not take the pod as things are.
    fn refusal(&self) -> Option<String> {
        let pressures = *self.shared.pressures.borrow();
        // Most pods come to a node that has room.
        (pressures != Pressures::default())
            .then(|| refusal(pressures, newcomer(&self.pod)))
            .flatten()
    }

    /// Takes a pod that was held, or refuses it.
    fn check_held(&mut self) {
        if self.seen.held_until.is_none_or(|until| until > self.seen.now) {
            return;
        }
        self.seen.held_until = None;
        if let Some(message) = self.refusal() {
            self.evict(message, false);
        }
    }

    /// Stops the pod for good, for want of room; `disrupted` where it goes for others.
    fn evict(&mut self, message: String, disrupted: bool) {
        if self.seen.cut_short.is_some() || self.seen.ended_before {
            return;
        }
        self.record(EventType::Warning, "Evicted", message.clone());
        self.seen.cut_short = Some(CutShort {
            reason: "Evicted",
            message,
            grace_seconds: Some(EVICTION_GRACE_SECONDS),
            disrupted,
        });
    }

    /// Looks how much a pod holds that may not hold any amount, now and then: nothing tells when a folder grows. Gives when
    /// to look again.
    fn measure(&mut self) -> Option<Timestamp> {
        let idle = self.limits.is_empty() || self.seen.cut_short.is_some() || self.pod.deletion.is_some();
        if idle || !matches!(self.seen.ground, Ground::Ready { .. }) {
            return None;
        }
        let next = self.measured_next?;
        if next > self.seen.now {
            return Some(next);
        }
        self.measured_next = None;
        let mut containers = Vec::new();
        for (name, instance) in self
            .seen
            .containers
            .iter()
            .filter(|_| !self.limits.is_of_volumes())
        {
            let id = match &instance.state {
                InstanceState::Running(running) => Some(running.id.clone()),
                InstanceState::Ended(ended) => ended.id.clone(),
                _ => None,
            };
            containers.extend(id.map(|id| (name.clone(), id)));
        }
        let (shared, pod, folder) = (self.shared.clone(), self.pod.clone(), self.folder.clone());
        self.tasks.spawn(async move {
            let began = tokio::time::Instant::now();
            let held = storage::measure(&shared, &pod, &folder, &containers).await;
            News::Measured(held, began.elapsed())
        });
        None
    }

    fn hear_measured(&mut self, held: &PodStorage, took: std::time::Duration) {
        let wait = self.shared.config.housekeeping.max(took * MEASURING_PART);
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_secs(60));
        self.measured_next = Some(self.seen.now + wait);
        if let Some(message) = self.limits.exceeded(held) {
            self.evict(message, false);
        }
    }

    fn take_orders(&mut self) {
        let orders = self.orders.borrow_and_update().clone();
        match orders.object {
            Some(object) => {
                if is_newer(&object, &self.pod.object) {
                    self.take_object(object);
                }
            }
            None => {
                self.object_gone = true;
                let grace_seconds = self
                    .pod
                    .deletion
                    .map_or(ORPHAN_GRACE_SECONDS, |deletion| deletion.grace_seconds);
                self.pod.deletion = Some(Deletion { grace_seconds });
            }
        }
        if orders.refresh != self.refreshed {
            self.refreshed = orders.refresh;
            self.refresh();
        }
        if let Some(eviction) = orders.eviction.filter(|_| self.leaving.is_none()) {
            self.evict(eviction.message, true);
            // One that has no room has nothing to leave: there the guard is dropped at once.
            let has_room = !matches!(self.seen.ground, Ground::Absent | Ground::Left);
            self.leaving = Some(eviction.left.drop_guard()).filter(|_| has_room);
        }
    }

    fn take_object(&mut self, object: Arc<Object>) {
        match Pod::read(object) {
            Ok(pod) => {
                let before = unhonoured(&self.pod.object);
                self.pod = pod;
                // A container may have been added.
                let mut fields = unhonoured(&self.pod.object);
                fields.retain(|field| !before.contains(field));
                self.tell_unhonoured(&fields);
            }
            Err(error) => tracing::warn!(pod = %self.pod.long_name(), %error, "cannot read the changed pod"),
        }
    }

    fn tell_unhonoured(&self, fields: &[String]) {
        if !fields.is_empty() {
            let message = format!("this node does not act on {}", fields.join(", "));
            self.record(EventType::Warning, "FieldNotHonored", message);
        }
    }

    fn refresh(&mut self) {
        if !matches!(self.seen.ground, Ground::Ready { .. }) {
            return;
        }
        let (shared, pod, folder) = (self.shared.clone(), self.pod.clone(), self.folder.volumes());
        let ips = self.seen.ips().to_vec();
        self.tasks.spawn(async move {
            let surroundings = shared.surroundings(&ips);
            News::Refreshed(volumes::prepare(&*shared.api, &pod, &folder, &surroundings).await)
        });
    }

    // ---- steps ----

    fn begin(&mut self, step: Step) {
        match step {
            Step::MakeGround => {
                self.seen.ground = Ground::Making;
                self.spawn_ground();
            }
            Step::FetchImage { container } => self.fetch_image(container),
            Step::Start { container, attempt } => self.start(&container, attempt),
            Step::Stop {
                container,
                grace_seconds,
                message,
            } => self.stop(&container, grace_seconds, message),
            Step::LeaveGround => {
                self.seen.ground = Ground::Left;
                let (shared, uid) = (self.shared.clone(), self.pod.uid().to_owned());
                // Logs stay for who asks how it went.
                let folders = vec![self.folder.volumes()];
                self.tasks
                    .spawn(async move { News::Left(tasks::remove_all(&shared, &uid, folders).await) });
            }
            Step::Remove => {
                self.seen.removal = Removal::Running;
                self.remove();
            }
            Step::WaitUntil(_) => {}
        }
    }

    fn spawn_ground(&mut self) {
        let (shared, pod, folder) = (self.shared.clone(), self.pod.clone(), self.folder.clone());
        self.tasks
            .spawn(async move { News::Ground(tasks::make_ground(&shared, &pod, &folder).await) });
    }

    fn fetch_image(&mut self, name: String) {
        let failures = match self.seen.images.get(&name) {
            Some(ImageState::Failed(failure)) => failure.failures,
            _ => 0,
        };
        self.seen
            .images
            .insert(name.clone(), ImageState::Fetching { failures });
        let Some(container) = self.pod.container(&name).cloned() else {
            return;
        };
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.tasks.spawn(async move {
            let pulling = || {
                let message = format!("Pulling image {:?}", container.image);
                shared
                    .recorder
                    .record(&pod.object, EventType::Normal, "Pulling", message);
            };
            let policy = container.pull_policy();
            let fetched = shared
                .images
                .fetch(&*shared.api, &pod, &container.image, policy, pulling)
                .await
                .map(Box::new);
            News::Image {
                container: name,
                fetched,
            }
        });
    }

    fn start(&mut self, name: &str, attempt: u32) {
        let Some(container) = self.pod.container(name).cloned() else {
            return;
        };
        let Some(ImageState::Present(image)) = self.seen.images.remove(name) else {
            return;
        };
        self.learn_health(&container, &image);
        let instance = self.seen.containers.entry(name.to_owned()).or_default();
        if let InstanceState::Ended(_) = &instance.state {
            instance.level = next_level(instance, &self.shared.config.restart_backoff);
        }
        if let InstanceState::Ended(ended) = std::mem::replace(&mut instance.state, InstanceState::Starting) {
            instance.last = Some(ended);
        }
        instance.attempt = attempt;
        let (shared, pod, folder) = (self.shared.clone(), self.pod.clone(), self.folder.clone());
        let target = &container.target_container_name;
        let order = StartOrder {
            target: self.seen.running(target).map(|running| running.id.clone()),
            container,
            attempt,
            image: *image,
            volumes: self.volumes.clone(),
            surroundings: shared.surroundings(self.seen.ips()),
        };
        let name = name.to_owned();
        self.tasks.spawn(async move {
            let started = tasks::start_container(&shared, &pod, &folder, &order).await;
            News::Started {
                container: name,
                attempt,
                started,
            }
        });
    }

    fn stop(&mut self, name: &str, grace_seconds: u64, message: String) {
        let Some(patient) = self.patient(name) else { return };
        let now = self.seen.now;
        self.seen.stop_began.get_or_insert(now);
        let Some(instance) = self.seen.containers.get_mut(name) else {
            return;
        };
        let InstanceState::Running(running) = &mut instance.state else {
            return;
        };
        let first = running.stop_until.is_none();
        let signal = running.stop_signal.clone();
        let grace = SignedDuration::from_secs(i64::try_from(grace_seconds).unwrap_or(i64::MAX / 4));
        running.stop_until = Some(now.checked_add(grace).unwrap_or(Timestamp::MAX));
        if self.pod.deletion.is_none() && self.seen.cut_short.is_none() {
            // It comes back: the next one to stop has its own beginning.
            self.seen.stop_began = None;
        }
        if first {
            self.record(EventType::Normal, "Killing", message);
            if let Some(life) = self.lives.remove(name) {
                life.abort();
            }
        }
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.tasks.spawn(async move {
            tasks::stop_container(&shared, &pod, &patient, &signal, grace_seconds).await;
            News::Nothing
        });
    }

    fn remove(&mut self) {
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        let folders = vec![self.folder.path.clone(), self.folder.logs.clone()];
        let (gone, held) = (
            self.object_gone,
            !self.pod.object.list(&["metadata", "finalizers"]).is_empty(),
        );
        let status = status_of(
            &self.pod,
            &self.seen,
            &shared.config.restart_backoff,
            &shared.machine.host_ip(),
        );
        self.tasks.spawn(async move {
            let removed = async {
                tasks::remove_all(&shared, pod.uid(), folders).await?;
                if gone {
                    return Ok(());
                }
                if held {
                    // The object stays until others let it go, so it says how the pod ended.
                    let _ = tasks::write_status(&shared, &pod, status).await;
                }
                tasks::delete_object(&shared, &pod)
                    .await
                    .map_err(|status| status.to_string())
            };
            News::Removed(removed.await)
        });
    }

    fn learn_health(&mut self, container: &ContainerConfig, image: &Image) {
        let check = image.config.config.healthcheck.as_ref();
        match check.and_then(|check| health::probe_of(container, check)) {
            Some(probe) => self.health.insert(container.name.clone(), probe),
            None => self.health.remove(&container.name),
        };
    }

    /// A container with what its image adds.
    fn config_of(&self, name: &str) -> Option<ContainerConfig> {
        let mut config = self.pod.container(name)?.clone();
        if let Some(probe) = self.health.get(name) {
            config.readiness_probe = Some(probe.clone());
        }
        Some(config)
    }

    /// A running container as probes and hooks reach it.
    fn patient(&self, name: &str) -> Option<Patient> {
        let running = self.seen.running(name)?;
        Some(Patient {
            runtime: self.shared.runtime.clone(),
            id: running.id.clone(),
            container: Arc::new(self.config_of(name)?),
            netns: self.netns.clone(),
            ip: self
                .seen
                .ips()
                .first()
                .copied()
                .unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
        })
    }

    /// Waits for the end of a container, in a task.
    fn wait_for(&mut self, container: &Container) {
        let Some(config) = self.pod.container(&container.name).cloned() else {
            return;
        };
        let runtime = self.shared.runtime.clone();
        let termination = self.folder.termination(&container.name, container.attempt);
        let container = container.clone();
        self.tasks.spawn(async move {
            match tasks::wait_for_end(&*runtime, &container, &config, &termination).await {
                Some((exit, message)) => {
                    let ended = Ended::of(
                        container.id,
                        container.image_id,
                        container.started,
                        &exit,
                        message,
                    );
                    News::Ended {
                        container: container.name,
                        attempt: container.attempt,
                        ended,
                    }
                }
                None => News::Nothing,
            }
        });
    }

    /// Runs the hook and the probes of a container, in a task.
    fn live(&mut self, name: &str, attempt: u32, fresh: bool) {
        let Some(patient) = self.patient(name) else { return };
        let sender = self.probes.0.clone();
        let name = name.to_owned();
        let key = name.clone();
        let hook = patient.container.lifecycle.post_start.clone().filter(|_| fresh);
        let limit = self.shared.config.hook_timeout;
        let life = self.tasks.spawn(async move {
            if let Some(hook) = hook {
                if let Err(message) = patient.run_hook(&hook, limit).await {
                    return News::HookFailed {
                        container: name,
                        attempt,
                        message,
                    };
                }
                if patient.container.startup_probe.is_none() {
                    let _ = sender.send((name.clone(), attempt, ProbeNews::Started)).await;
                }
            }
            let (news, mut heard) = mpsc::channel(NEWS_WAITING_MAX);
            let passing = async {
                while let Some(news) = heard.recv().await {
                    if sender.send((name.clone(), attempt, news)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(patient.probe(news), passing);
            News::Nothing
        });
        if let Some(before) = self.lives.insert(key, life) {
            before.abort();
        }
    }

    /// Removes the container before this one; its log stays for `--previous`, the one before that goes.
    fn forget(&mut self, name: &str, attempt: u32, id: crate::runtime::ContainerId) {
        let shared = self.shared.clone();
        let oldest = attempt.checked_sub(2).map(|oldest| self.folder.log(name, oldest));
        let files = self.shared.config.log_limits.files_max;
        self.tasks.spawn(async move {
            tasks::forget_container(&shared, &id).await;
            if let Some(log) = oldest {
                super::logs::remove(&log, files);
            }
            News::Nothing
        });
    }

    fn record(&self, kind: EventType, reason: &str, message: impl Into<String>) {
        self.shared
            .recorder
            .record(&self.pod.object, kind, reason, message);
    }

    /// When to try again after so many failures.
    fn later(&self, failures: u32) -> Timestamp {
        let wait = self.shared.config.retry_backoff.delay(failures, 0.0);
        self.seen.now + SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_secs(60))
    }
}

/// Whether an object is a later state of the same pod; versions are numbers that grow.
fn is_newer(object: &Object, than: &Object) -> bool {
    let version = |object: &Object| object.resource_version().parse::<u64>().unwrap_or(0);
    object.uid() == than.uid() && version(object) > version(than)
}

async fn sleep_until(now: Timestamp, at: Option<Timestamp>) {
    match at {
        Some(at) => {
            let wait = std::time::Duration::try_from(at.duration_since(now)).unwrap_or_default();
            // A little more: the timer counts in milliseconds, and a wait that ends too early begins anew.
            tokio::time::sleep(wait + std::time::Duration::from_millis(1)).await;
        }
        None => std::future::pending().await,
    }
}
