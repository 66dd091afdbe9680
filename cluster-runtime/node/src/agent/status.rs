//! The status of a pod, as `kubectl` shows it: a function from what is wanted and seen.
//!
//! Words and rules are the kubelet's, since people and programs look for them.

use cluster_client::Backoff;
use cluster_objects::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::observed::{Ended, Ground, ImageState, Instance, InstanceState, Observed};
use super::plan::{has_ended, init_failed, initialized, is_init_done, restart_at, restarts};
use super::pod::{ContainerConfig, Pod, RestartPolicy};
use crate::image::ImageName;

const FAILED_PULL_SHOWN: SignedDuration = SignedDuration::from_secs(1);

/// Makes the status of a pod. Conditions of others are kept, and times of conditions that did not change.
pub(crate) fn status_of(pod: &Pod, seen: &Observed, backoff: &Backoff, host_ip: &str) -> Value {
    let before = pod
        .object
        .at(&["status"])
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let mut status = before.clone();
    let phase = if seen.ended_before {
        before
            .get("phase")
            .and_then(Value::as_str)
            .unwrap_or("Failed")
            .to_owned()
    } else {
        phase_of(pod, seen).to_owned()
    };
    let ended = matches!(phase.as_str(), "Succeeded" | "Failed");
    status.insert("phase".into(), phase.clone().into());
    if !seen.ended_before {
        let shown = |containers: &[ContainerConfig], init: bool| -> Vec<Value> {
            containers
                .iter()
                .map(|one| container_status(pod, one, seen, backoff, init))
                .collect()
        };
        if !pod.spec.init_containers.is_empty() {
            status.insert(
                "initContainerStatuses".into(),
                shown(&pod.spec.init_containers, true).into(),
            );
        }
        status.insert(
            "containerStatuses".into(),
            shown(&pod.spec.containers, false).into(),
        );
        if !pod.spec.ephemeral_containers.is_empty() {
            let mut ephemeral = shown(&pod.spec.ephemeral_containers, false);
            for one in &mut ephemeral {
                // Nobody waits for it to be ready.
                one["ready"] = false.into();
                one.as_object_mut().map(|fields| fields.remove("started"));
            }
            status.insert("ephemeralContainerStatuses".into(), ephemeral.into());
        }
        status.insert("conditions".into(), conditions(pod, seen, &phase, &before).into());
        for (key, text) in pod_reason(seen) {
            status.insert(key.into(), text.into());
        }
    }
    status.insert("hostIP".into(), host_ip.into());
    status.insert("hostIPs".into(), json!([{ "ip": host_ip }]));
    let ips = seen.ips();
    if let Some(first) = ips.first() {
        status.insert("podIP".into(), first.to_string().into());
        status.insert(
            "podIPs".into(),
            ips.iter().map(|ip| json!({ "ip": ip.to_string() })).collect(),
        );
    } else if !ended {
        status.remove("podIP");
        status.remove("podIPs");
    }
    status
        .entry("startTime")
        .or_insert_with(|| time(seen.began).into());
    status.insert("qosClass".into(), qos_class(pod).into());
    if pod.object.generation() > 0 {
        status.insert("observedGeneration".into(), pod.object.generation().into());
    }
    Value::Object(status)
}

fn pod_reason(seen: &Observed) -> Vec<(&'static str, &str)> {
    let cut_short = seen.cut_short.iter();
    cut_short
        .flat_map(|why| [("reason", why.reason), ("message", why.message.as_str())])
        .collect()
}

/// The phase, by the rules of the kubelet's `getPhase`.
pub(crate) fn phase_of(pod: &Pod, seen: &Observed) -> &'static str {
    let active = pod
        .all_containers()
        .any(|container| seen.is_active(&container.name));
    if (seen.cut_short.is_some() || init_failed(pod, seen)) && !active {
        return "Failed";
    }
    if !initialized(pod, seen) {
        return "Pending";
    }
    let (mut waiting, mut running, mut failed) = (0, 0, 0);
    for container in &pod.spec.containers {
        match seen.instance(&container.name) {
            Some(Instance {
                state: InstanceState::Running(_),
                ..
            }) => running += 1,
            Some(Instance {
                state: InstanceState::Ended(ended),
                ..
            }) => failed += u32::from(ended.code != 0),
            // One that ran before is being started again: the pod goes on running.
            Some(Instance { last: Some(_), .. }) => failed += 1,
            _ => waiting += 1,
        }
    }
    if waiting > 0 {
        return "Pending";
    }
    if running > 0 || pod.spec.restart_policy == RestartPolicy::Always || active {
        return "Running";
    }
    match failed {
        0 if has_ended(pod, seen) => "Succeeded",
        _ if has_ended(pod, seen) => "Failed",
        _ => "Running",
    }
}

fn conditions(pod: &Pod, seen: &Observed, phase: &str, before: &Map<String, Value>) -> Vec<Value> {
    let old: Vec<Value> = before
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let completed = phase == "Succeeded";
    let unready: Vec<&str> = pod
        .spec
        .init_containers
        .iter()
        .filter(|container| container.is_sidecar())
        .chain(&pod.spec.containers)
        .filter(|container| !is_ready(container, seen))
        .map(|container| container.name.as_str())
        .collect();
    let unfinished: Vec<&str> = pod
        .spec
        .init_containers
        .iter()
        .filter(|container| !is_init_done(container, seen))
        .map(|container| container.name.as_str())
        .collect();
    let ready_to_start = matches!(seen.ground, Ground::Ready { .. });
    let initialized = if completed {
        Fact::because(true, "PodCompleted", "")
    } else if initialized(pod, seen) {
        Fact::plain(true)
    } else {
        let message = format!("containers with incomplete status: [{}]", unfinished.join(" "));
        Fact::because(false, "ContainersNotInitialized", message)
    };
    let containers_ready = match phase {
        "Succeeded" => Fact::because(false, "PodCompleted", ""),
        "Failed" => Fact::because(false, "PodFailed", ""),
        _ if unready.is_empty() && phase == "Running" => Fact::plain(true),
        _ => {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            Fact::because(false, "ContainersNotReady", message)
        }
    };
    let ready = if containers_ready.holds {
        gates(pod, &old)
    } else {
        containers_ready.clone()
    };
    let own = [
        ("PodReadyToStartContainers", Fact::plain(ready_to_start)),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ];
    let mut own = own.to_vec();
    if let Some(why) = seen.cut_short.as_ref().filter(|why| why.disrupted) {
        let fact = Fact::because(true, "TerminationByKubelet", why.message.as_str());
        own.push(("DisruptionTarget", fact));
    }
    let mut all: Vec<Value> = own
        .iter()
        .map(|(kind, fact)| fact.condition(kind, &old, seen.now, pod.object.generation()))
        .collect();
    let is_own = |condition: &Value| own.iter().any(|(kind, _)| condition["type"] == *kind);
    all.extend(old.iter().filter(|condition| !is_own(condition)).cloned());
    if !all.iter().any(|condition| condition["type"] == "PodScheduled") {
        all.push(Fact::plain(true).condition("PodScheduled", &old, seen.now, pod.object.generation()));
    }
    all
}

/// Whether the conditions that others promise hold.
fn gates(pod: &Pod, conditions: &[Value]) -> Fact {
    for gate in &pod.spec.readiness_gates {
        let kind = &gate.condition_type;
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == kind.as_str());
        let message = match found {
            None => format!("corresponding condition of pod readiness gate {kind:?} does not exist."),
            Some(condition) if condition["status"] != "True" => {
                let status = condition["status"].as_str().unwrap_or("Unknown");
                format!("the status of pod readiness gate {kind:?} is not \"True\", but {status}")
            }
            Some(_) => continue,
        };
        return Fact::because(false, "ReadinessGatesNotReady", message);
    }
    Fact::plain(true)
}

/// Whether a condition holds, and why not.
#[derive(Clone)]
struct Fact {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Fact {
    fn plain(holds: bool) -> Self {
        Self::because(holds, "", "")
    }

    fn because(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds,
            reason,
            message: message.into(),
        }
    }

    fn condition(&self, kind: &str, old: &[Value], now: Timestamp, generation: i64) -> Value {
        let status = if self.holds { "True" } else { "False" };
        let before = old.iter().find(|condition| condition["type"] == kind);
        let same = before.filter(|before| before["status"] == status);
        let since = same.and_then(|before| before["lastTransitionTime"].as_str());
        let since = since.map_or_else(|| time(now), str::to_owned);
        let mut condition =
            json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since });
        for (key, text) in [("reason", self.reason), ("message", self.message.as_str())] {
            if !text.is_empty() {
                condition[key] = text.into();
            }
        }
        if generation > 0 {
            condition["observedGeneration"] = generation.into();
        }
        condition
    }
}

fn is_ready(container: &ContainerConfig, seen: &Observed) -> bool {
    seen.running(&container.name)
        .is_some_and(|running| running.is_started && running.is_ready)
}

fn container_status(
    pod: &Pod,
    container: &ContainerConfig,
    seen: &Observed,
    backoff: &Backoff,
    init: bool,
) -> Value {
    let fresh = Instance::default();
    let instance = seen.instance(&container.name).unwrap_or(&fresh);
    let last = instance.last.as_ref();
    let mut status = json!({
        "name": container.name,
        "image": full_name(&container.image),
        "imageID": "",
        "restartCount": instance.attempt,
        "ready": false,
        "started": false,
        "state": {},
        "lastState": last.map_or_else(|| json!({}), |ended| json!({ "terminated": terminated(ended) })),
    });
    match &instance.state {
        InstanceState::New | InstanceState::Starting => status["state"] = waiting(pod, container, seen, init),
        InstanceState::Refused(refusal) => {
            status["state"] = waiting_for(refusal.reason, &refusal.message);
        }
        InstanceState::Running(running) => {
            let is_ready = if init && !container.is_sidecar() {
                false
            } else {
                is_ready(container, seen)
            };
            status["state"] = json!({ "running": { "startedAt": time(running.started) } });
            status["imageID"] = running.image_id.as_str().into();
            status["containerID"] = container_id(running.id.as_str());
            status["ready"] = is_ready.into();
            status["started"] = running.is_started.into();
        }
        InstanceState::Ended(ended) => {
            status["imageID"] = ended.image_id.as_str().into();
            if let Some(id) = &ended.id {
                status["containerID"] = container_id(id.as_str());
            }
            // An init container that has done its work counts as ready.
            status["ready"] = (init && ended.code == 0).into();
            let goes_on = pod.deletion.is_none() && seen.cut_short.is_none() && !has_ended(pod, seen);
            let due = restart_at(pod, container, instance, backoff).filter(|_| goes_on);
            status["state"] = match (due, seen.images.get(&container.name)) {
                (Some(at), _) if at > seen.now => {
                    status["lastState"] = json!({ "terminated": terminated(ended) });
                    let wait = at.duration_since(ended.finished).as_secs();
                    let wait = short_duration(wait);
                    let message = format!(
                        "back-off {wait} restarting failed container={} pod={}",
                        container.name,
                        pod.long_name()
                    );
                    waiting_for("CrashLoopBackOff", &message)
                }
                (Some(_), Some(ImageState::Failed(_))) => {
                    status["lastState"] = json!({ "terminated": terminated(ended) });
                    waiting(pod, container, seen, init)
                }
                _ => json!({ "terminated": terminated(ended) }),
            };
        }
    }
    status
}

/// Why a container that never ran waits.
fn waiting(pod: &Pod, container: &ContainerConfig, seen: &Observed, init: bool) -> Value {
    if let Some(ImageState::Failed(failure)) = seen.images.get(&container.name) {
        if failure.reason != "ErrImagePull" || seen.now < failure.at + FAILED_PULL_SHOWN {
            return waiting_for(failure.reason, &failure.message);
        }
        let message = format!(
            "Back-off pulling image {:?}: ErrImagePull: {}",
            container.image, failure.message
        );
        return waiting_for("ImagePullBackOff", &message);
    }
    let before_its_turn = if init {
        let earlier = pod
            .spec
            .init_containers
            .iter()
            .take_while(|one| one.name != container.name);
        earlier.into_iter().any(|one| !is_init_done(one, seen))
    } else {
        !initialized(pod, seen)
    };
    let reason = if before_its_turn && !pod.spec.init_containers.is_empty() {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    waiting_for(reason, "")
}

fn waiting_for(reason: &str, message: &str) -> Value {
    let mut waiting = json!({ "reason": reason });
    if !message.is_empty() {
        waiting["message"] = message.into();
    }
    json!({ "waiting": waiting })
}

fn terminated(ended: &Ended) -> Value {
    let mut state = json!({
        "exitCode": ended.code,
        "reason": ended.reason,
        "startedAt": ended.started.map_or_else(|| time(Timestamp::UNIX_EPOCH), time),
        "finishedAt": time(ended.finished),
    });
    if let Some(signal) = ended.signal {
        state["signal"] = signal.into();
    }
    if !ended.message.is_empty() {
        state["message"] = ended.message.as_str().into();
    }
    if let Some(id) = &ended.id {
        state["containerID"] = container_id(id.as_str());
    }
    state
}

fn container_id(id: &str) -> Value {
    format!("tug://{id}").into()
}

/// The full name of an image; what cannot be read stays as it is.
fn full_name(image: &str) -> String {
    image
        .parse::<ImageName>()
        .map_or_else(|_| image.to_owned(), |name| name.to_string())
}

/// How the pod is treated when the machine is short of something.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let amount = |value: Option<&Value>| value.and_then(|value| Quantity::from_value(value).ok());
    let (mut any, mut all) = (false, true);
    for container in pod.lasting_containers() {
        let resources = &container.resources;
        for name in COUNTED {
            let limit = amount(resources.limits.get(name)).filter(|limit| !limit.is_zero());
            let request = amount(resources.requests.get(name))
                .filter(|request| !request.is_zero())
                .or(limit);
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && request == limit;
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Whether a container that ended will run again, for events.
pub(crate) fn will_restart(pod: &Pod, container: &ContainerConfig, code: i32) -> bool {
    pod.deletion.is_none() && restarts(pod, container, code)
}

/// A time as the API writes it, in whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A duration as Go writes it: `10s`, `2m40s`, `5m0s`.
fn short_duration(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
