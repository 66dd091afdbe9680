//! What to do next for a pod: a function from what it wants and what is seen to a list of steps.
//!
//! It is called after every change. Steps that are under way show in what is seen, so the same step does not come
//! twice.

use cluster_client::Backoff;
use jiff::{SignedDuration, Timestamp};

use super::observed::{Ground, ImageState, Instance, InstanceState, Observed, Removal, Running};
use super::pod::{ContainerConfig, Pod, RestartPolicy};

/// A container that ran so many times the longest wait begins anew with short ones.
const FORGET_AFTER: i32 = 2;
/// How long a failed pull is shown as such, before it is shown as waiting.
const FAILED_PULL_SHOWN: SignedDuration = SignedDuration::from_secs(1);
/// What a sidecar gets at least when the others have used up the grace period.
const SIDECAR_GRACE_MIN: u64 = 2;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make sandbox, network and volumes.
    MakeGround,
    /// See to it that the image is there.
    FetchImage { container: String },
    /// Make and start the container.
    Start { container: String, attempt: u32 },
    /// Tell the container to stop, and kill it after so many seconds.
    Stop {
        container: String,
        grace_seconds: u64,
        message: String,
    },
    /// Let sandbox and network go; logs stay.
    LeaveGround,
    /// Remove all of the pod, last its object.
    Remove,
    /// Look again then.
    WaitUntil(Timestamp),
}

/// Decides what to do.
pub(crate) fn plan(pod: &Pod, seen: &Observed, backoff: &Backoff) -> Vec<Step> {
    if pod.deletion.is_some() {
        return plan_removal(pod, seen);
    }
    if seen.ended_before || seen.cut_short.is_some() || has_ended(pod, seen) {
        return plan_end(pod, seen);
    }
    if let Some(until) = seen.held_until {
        return vec![Step::WaitUntil(until)];
    }
    let mut steps = Vec::new();
    let wanted = containers_due(pod, seen)
        .into_iter()
        .chain(&pod.spec.ephemeral_containers);
    match &seen.ground {
        Ground::Absent => steps.push(Step::MakeGround),
        Ground::Failed { until, .. } if *until <= seen.now => steps.push(Step::MakeGround),
        Ground::Failed { until, .. } => steps.push(Step::WaitUntil(*until)),
        Ground::Making | Ground::Ready { .. } | Ground::Left => {}
    }
    for container in wanted {
        plan_container(pod, container, seen, backoff, &mut steps);
    }
    if let Some(deadline) = pod.deadline(Some(seen.began)) {
        steps.push(Step::WaitUntil(deadline));
    }
    earliest_wait(&steps)
}

/// The containers that may run now: init containers one after the other, then all others together.
fn containers_due<'a>(pod: &'a Pod, seen: &Observed) -> Vec<&'a ContainerConfig> {
    let spec = &pod.spec;
    if has_started_main(pod, seen) {
        let sidecars = spec
            .init_containers
            .iter()
            .filter(|container| container.is_sidecar());
        return sidecars.chain(&spec.containers).collect();
    }
    let mut due = Vec::new();
    for container in &spec.init_containers {
        due.push(container);
        if !is_init_done(container, seen) {
            return due;
        }
    }
    due.extend(&spec.containers);
    due
}

fn plan_container(
    pod: &Pod,
    container: &ContainerConfig,
    seen: &Observed,
    backoff: &Backoff,
    steps: &mut Vec<Step>,
) {
    let name = &container.name;
    let fresh = Instance::default();
    let instance = seen.instance(name).unwrap_or(&fresh);
    let attempt = match &instance.state {
        InstanceState::Starting => return,
        InstanceState::Running(running) => {
            if let (Some(condemned), None) = (&running.condemned, running.stop_until) {
                steps.push(Step::Stop {
                    container: name.clone(),
                    grace_seconds: condemned.grace_seconds.unwrap_or(pod.grace_seconds()),
                    message: condemned.message.clone(),
                });
            }
            return;
        }
        InstanceState::New => 0,
        InstanceState::Refused(refusal) if refusal.until > seen.now => {
            steps.push(Step::WaitUntil(refusal.until));
            return;
        }
        InstanceState::Refused(_) => instance.attempt,
        InstanceState::Ended(_) => match restart_at(pod, container, instance, backoff) {
            None => return,
            Some(at) if at > seen.now => {
                steps.push(Step::WaitUntil(at));
                return;
            }
            Some(_) => instance.attempt + 1,
        },
    };
    match seen.images.get(name) {
        None => steps.push(Step::FetchImage {
            container: name.clone(),
        }),
        Some(ImageState::Fetching { .. }) => {}
        Some(ImageState::Failed(failure)) if failure.until <= seen.now => {
            steps.push(Step::FetchImage {
                container: name.clone(),
            });
        }
        Some(ImageState::Failed(failure)) => {
            let shown_until = failure.at + FAILED_PULL_SHOWN;
            let next = if shown_until > seen.now {
                shown_until.min(failure.until)
            } else {
                failure.until
            };
            steps.push(Step::WaitUntil(next));
        }
        Some(ImageState::Present(_)) if matches!(seen.ground, Ground::Ready { .. }) => {
            steps.push(Step::Start {
                container: name.clone(),
                attempt,
            });
        }
        Some(ImageState::Present(_)) => {}
    }
}

/// Stops what runs: first the ordinary containers together, then sidecars from the last to the first.
fn plan_stop(pod: &Pod, seen: &Observed, message: &str) -> Vec<Step> {
    let shortened = seen.cut_short.as_ref().and_then(|why| why.grace_seconds);
    let grace = shortened.map_or(pod.grace_seconds(), |most| most.min(pod.grace_seconds()));
    let mut steps = Vec::new();
    let ordinary = || pod.all_containers().filter(|container| !container.is_sidecar());
    for container in ordinary() {
        if seen
            .running(&container.name)
            .is_some_and(|running| is_to_stop(running, seen, grace))
        {
            steps.push(stop(container, grace, message));
        }
    }
    if ordinary().any(|container| seen.is_active(&container.name)) {
        return steps;
    }
    let spent = seen
        .stop_began
        .map_or(0, |began| seconds_between(began, seen.now));
    let left = grace.saturating_sub(spent).max(SIDECAR_GRACE_MIN.min(grace));
    let mut sidecars = pod
        .all_containers()
        .rev()
        .filter(|container| container.is_sidecar());
    if let Some(last) = sidecars.find(|container| seen.is_active(&container.name))
        && let Some(running) = seen.running(&last.name)
        && is_to_stop(running, seen, left)
    {
        steps.push(stop(last, left, message));
    }
    steps
}

fn plan_removal(pod: &Pod, seen: &Observed) -> Vec<Step> {
    match seen.removal {
        Removal::NotYet => {}
        Removal::Again(at) if at <= seen.now => {}
        Removal::Again(at) => return vec![Step::WaitUntil(at)],
        Removal::Running | Removal::Done => return Vec::new(),
    }
    let active = pod
        .all_containers()
        .any(|container| seen.is_active(&container.name));
    if active {
        return plan_stop(pod, seen, "");
    }
    if seen.ground == Ground::Making {
        return Vec::new();
    }
    vec![Step::Remove]
}

fn plan_end(pod: &Pod, seen: &Observed) -> Vec<Step> {
    if pod
        .all_containers()
        .any(|container| seen.is_active(&container.name))
    {
        return plan_stop(pod, seen, "");
    }
    match seen.ground {
        Ground::Ready { .. } | Ground::Failed { .. } => vec![Step::LeaveGround],
        Ground::Absent | Ground::Making | Ground::Left => Vec::new(),
    }
}

fn stop(container: &ContainerConfig, grace_seconds: u64, message: &str) -> Step {
    let message = match message {
        "" => format!("Stopping container {}", container.name),
        given => given.to_owned(),
    };
    Step::Stop {
        container: container.name.clone(),
        grace_seconds,
        message,
    }
}

/// Whether it was not told to stop yet, or is to stop sooner than it was told.
fn is_to_stop(running: &Running, seen: &Observed, grace_seconds: u64) -> bool {
    let wanted = seen.now + SignedDuration::from_secs(i64::try_from(grace_seconds).unwrap_or(i64::MAX / 2));
    // A second of slack, since the wish is counted from each look anew.
    running
        .stop_until
        .is_none_or(|until| wanted + SignedDuration::from_secs(1) < until)
}

/// Whether the pod has come to its end by itself.
pub(crate) fn has_ended(pod: &Pod, seen: &Observed) -> bool {
    if init_failed(pod, seen) {
        return true;
    }
    !pod.spec.containers.is_empty()
        && pod.spec.containers.iter().all(|container| {
            seen.ended(&container.name)
                .is_some_and(|ended| !restarts(pod, container, ended.code))
        })
}

/// Whether an init container has failed for good.
pub(crate) fn init_failed(pod: &Pod, seen: &Observed) -> bool {
    pod.spec.init_containers.iter().any(|container| {
        let ended = seen.ended(&container.name);
        ended.is_some_and(|ended| ended.code != 0 && !restarts(pod, container, ended.code))
    })
}

/// Whether all init containers have done their work, and sidecars run or ran.
pub(crate) fn initialized(pod: &Pod, seen: &Observed) -> bool {
    has_started_main(pod, seen)
        || pod
            .spec
            .init_containers
            .iter()
            .all(|container| is_init_done(container, seen))
}

/// Whether the next one may start: an init container has succeeded, a sidecar has come up.
pub(crate) fn is_init_done(container: &ContainerConfig, seen: &Observed) -> bool {
    if container.is_sidecar() {
        seen.running(&container.name)
            .is_some_and(|running| running.is_started)
    } else {
        seen.ended(&container.name).is_some_and(|ended| ended.code == 0)
    }
}

/// Whether a main container was started: then init containers are not looked at again.
fn has_started_main(pod: &Pod, seen: &Observed) -> bool {
    pod.spec.containers.iter().any(|container| {
        let instance = seen.instance(&container.name);
        instance.is_some_and(|instance| {
            instance.attempt > 0 || !matches!(instance.state, InstanceState::New | InstanceState::Refused(_))
        })
    })
}

/// Whether a container that ended with this code is started again.
pub(crate) fn restarts(pod: &Pod, container: &ContainerConfig, code: i32) -> bool {
    if pod.is_ephemeral(&container.name) {
        return false;
    }
    if container.is_sidecar() {
        return true;
    }
    match pod.spec.restart_policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Always => code != 0 || !pod.is_init(&container.name),
    }
}

/// When a container that has ended is started again; `None` for never.
///
/// The first restart comes at once; then the wait doubles from the first to the longest.
pub(crate) fn restart_at(
    pod: &Pod,
    container: &ContainerConfig,
    instance: &Instance,
    backoff: &Backoff,
) -> Option<Timestamp> {
    let InstanceState::Ended(ended) = &instance.state else {
        return None;
    };
    if !restarts(pod, container, ended.code) {
        return None;
    }
    let wait = wait_before_restart(instance.level, backoff);
    ended.finished.checked_add(wait).ok()
}

/// The wait before a restart after so many of them.
pub(crate) fn wait_before_restart(level: u32, backoff: &Backoff) -> SignedDuration {
    match level.checked_sub(1) {
        None => SignedDuration::ZERO,
        Some(doubled) => SignedDuration::try_from(backoff.delay(doubled, 0.0)).unwrap_or(SignedDuration::MAX),
    }
}

/// How far the waits have grown when a container is started again that ended like this.
pub(crate) fn next_level(instance: &Instance, backoff: &Backoff) -> u32 {
    let InstanceState::Ended(ended) = &instance.state else {
        return instance.level;
    };
    let ran = ended.started.map_or(SignedDuration::ZERO, |started| {
        ended.finished.duration_since(started)
    });
    let longest = SignedDuration::try_from(backoff.max).unwrap_or(SignedDuration::MAX);
    if longest.checked_mul(FORGET_AFTER).is_some_and(|long| ran > long) {
        return 1;
    }
    instance.level.saturating_add(1)
}

/// The same steps with one wait: the first.
fn earliest_wait(steps: &[Step]) -> Vec<Step> {
    let waits = steps.iter().filter_map(|step| match step {
        Step::WaitUntil(at) => Some(*at),
        _ => None,
    });
    let first = waits.min();
    let others = steps
        .iter()
        .filter(|step| !matches!(step, Step::WaitUntil(_)))
        .cloned();
    others.chain(first.map(Step::WaitUntil)).collect()
}

fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}
