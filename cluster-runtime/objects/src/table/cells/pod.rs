//! Pods: readiness, the reason behind the phase, restarts.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, age, condition, flag, is_true, name, text, text_or};
use crate::Object;
use crate::table::duration;

pub(in crate::table) fn pod(object: &Object, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(object);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            let ago = duration::human(duration::seconds_between(last, now));
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    };
    let address = object
        .list(&["status", "podIPs"])
        .first()
        .map(|entry| text(entry, "ip"));
    let address = address.filter(|address| !address.is_empty());
    vec![
        name(object),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.reason.into(),
        restarts.into(),
        age(object, now),
        address
            .unwrap_or_else(|| text_or(object, &["status", "podIP"], NONE))
            .into(),
        text_or(object, &["spec", "nodeName"], NONE).into(),
        text_or(object, &["status", "nominatedNodeName"], NONE).into(),
        readiness_gates(object).into(),
    ]
}

fn readiness_gates(object: &Object) -> String {
    let gates = object.list(&["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let met = gates
        .iter()
        .filter(|gate| is_true(object, text(gate, "conditionType")))
        .count();
    format!("{met}/{}", gates.len())
}

/// What a table tells of a pod.
struct Summary {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts of some containers and when the last one was.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count = self
            .count
            .saturating_add(status["restartCount"].as_i64().unwrap_or_default());
        let finished = duration::parse(status.pointer("/lastState/terminated/finishedAt"));
        self.last = self.last.max(finished);
    }
}

impl Summary {
    fn of(pod: &Object) -> Self {
        let init_containers = pod.list(&["spec", "initContainers"]);
        let is_sidecar = |status: &Value| {
            let spec = init_containers.iter().find(|spec| spec["name"] == status["name"]);
            spec.is_some_and(|spec| text(spec, "restartPolicy") == "Always")
        };
        let sidecars = init_containers
            .iter()
            .filter(|spec| text(spec, "restartPolicy") == "Always")
            .count();
        let mut summary = Self {
            ready: 0,
            containers: pod.list(&["spec", "containers"]).len() + sidecars,
            reason: phase_reason(pod),
            restarts: 0,
            last_restart: None,
        };
        let mut init_restarts = Restarts::default();
        let mut sidecar_restarts = Restarts::default();
        let mut initializing = false;
        for (index, status) in pod.list(&["status", "initContainerStatuses"]).iter().enumerate() {
            init_restarts.add(status);
            let sidecar = is_sidecar(status);
            if sidecar {
                sidecar_restarts.add(status);
            }
            let terminated = state(status, "terminated");
            if terminated.is_some_and(|terminated| terminated["exitCode"] == 0) {
                continue;
            }
            if sidecar && flag(status.get("started")) {
                summary.ready += usize::from(flag(status.get("ready")));
                continue;
            }
            let waiting = state(status, "waiting").map(|waiting| text(waiting, "reason"));
            summary.reason = match (terminated, waiting) {
                (Some(terminated), _) => format!("Init:{}", exit_reason(terminated)),
                (None, Some(reason)) if !reason.is_empty() && reason != "PodInitializing" => {
                    format!("Init:{reason}")
                }
                _ => format!("Init:{index}/{}", init_containers.len()),
            };
            initializing = true;
            break;
        }
        let mut restarts = init_restarts;
        if !initializing || is_true(pod, "Initialized") {
            restarts = sidecar_restarts;
            let mut has_running = false;
            for status in pod.list(&["status", "containerStatuses"]).iter().rev() {
                restarts.add(status);
                let waiting = state(status, "waiting").map(|waiting| text(waiting, "reason"));
                if let Some(reason) = waiting.filter(|reason| !reason.is_empty()) {
                    summary.reason = reason.to_owned();
                } else if let Some(terminated) = state(status, "terminated") {
                    summary.reason = exit_reason(terminated);
                } else if flag(status.get("ready")) && state(status, "running").is_some() {
                    has_running = true;
                    summary.ready += 1;
                }
            }
            if summary.reason == "Completed" && has_running {
                let reason = if is_true(pod, "Ready") {
                    "Running"
                } else {
                    "NotReady"
                };
                summary.reason = reason.to_owned();
            }
        }
        if pod.deletion_timestamp().is_some() {
            let phase = pod.text(&["status", "phase"]).unwrap_or_default();
            if pod.text(&["status", "reason"]) == Some("NodeLost") {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary.restarts = restarts.count;
        summary.last_restart = restarts.last;
        summary
    }
}

/// The reason that the pod itself gives: its phase, a reason of its own, or that it may not be scheduled yet.
fn phase_reason(pod: &Object) -> String {
    let gated = condition(pod, "PodScheduled")
        .map(|condition| text(condition, "reason"))
        .filter(|reason| *reason == "SchedulingGated");
    let phase = pod.text(&["status", "phase"]).unwrap_or_default();
    gated
        .unwrap_or_else(|| text_or(pod, &["status", "reason"], phase))
        .to_owned()
}

fn state<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status.get("state")?.get(kind).filter(|state| state.is_object())
}

/// Why a container ended: its reason, else its signal, else its exit code.
fn exit_reason(terminated: &Value) -> String {
    let number = |key: &str| terminated.get(key).and_then(Value::as_i64).unwrap_or_default();
    match (text(terminated, "reason"), number("signal")) {
        ("", 0) => format!("ExitCode:{}", number("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    /// Ready, status and restarts of a pod with this spec and status, 10 minutes after its creation.
    fn check(spec: Value, status: Value, wanted: [&str; 3]) {
        let pod = json!({
            "kind": "Pod", "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec, "status": status,
        });
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let cells = pod_cells(&pod, now);
        assert_eq!(cells, wanted, "{pod}");
    }

    fn pod_cells(value: &Value, now: Timestamp) -> Vec<String> {
        let cells = pod(&Object::from_value(value.clone()).unwrap(), now);
        assert_eq!(cells[4], "10m");
        cells[1..4]
            .iter()
            .map(|cell| cell.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_status_of_a_pod_names_the_reason() {
        let one = json!({"containers": [{"name": "a"}]});
        let running = json!({"name": "a", "ready": true, "state": {"running": {}}, "restartCount": 0});
        check(one.clone(), json!({"phase": "Pending"}), ["0/1", "Pending", "0"]);
        check(
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [running]}),
            ["1/1", "Running", "0"],
        );
        check(
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [{
                "name": "a", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z", "exitCode": 1}},
            }]}),
            ["0/1", "CrashLoopBackOff", "3 (5m ago)"],
        );
        check(
            one.clone(),
            json!({"phase": "Succeeded", "containerStatuses": [{
                "name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}},
            }]}),
            ["0/1", "Completed", "0"],
        );
        check(
            one.clone(),
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
            ["0/1", "ExitCode:3", "0"],
        );
        check(
            one,
            json!({"phase": "Failed", "reason": "Evicted"}),
            ["0/1", "Evicted", "0"],
        );
    }

    #[test]
    fn init_containers_show_their_progress() {
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "x"}, {"name": "y"}]});
        let done = json!({"name": "x", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let waiting = json!({"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}});
        check(
            spec.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [done, {"name": "y", "state": {"running": {}}}],
                "containerStatuses": [waiting]}),
            ["0/1", "Init:1/2", "0"],
        );
        check(
            spec,
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "x", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            ["0/1", "Init:Error", "2"],
        );
        let sidecar = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
        check(
            sidecar,
            json!({"phase": "Running",
                "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
                "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]}),
            ["2/2", "Running", "0"],
        );
    }

    #[test]
    fn a_pod_that_is_deleted_is_terminating() {
        let pod = json!({
            "kind": "Pod",
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:09:00Z"},
            "status": {"phase": "Running"},
        });
        assert_eq!(
            pod_cells(&pod, "2026-01-01T00:10:00Z".parse().unwrap())[1],
            "Terminating"
        );
    }
}
