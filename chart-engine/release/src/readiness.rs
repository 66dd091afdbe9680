//! Whether an object of the cluster has become what was asked for, by rules per kind.
//!
//! The rules are those of kstatus, as Helm 4 waits by them
//! (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>), with reasons for people. What
//! an object declares of itself goes before them.

use std::sync::Arc;

use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::declared::{Declared, Verdict};

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is what was asked for.
    Ready,
    /// It is on the way.
    Waiting(String),
    /// It will not get there by itself.
    Failed(String),
}

/// Trouble of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrouble {
    /// What is the matter.
    pub reason: String,
    /// Whether waiting longer is of no use.
    pub fatal: bool,
}

/// Restarts after which a container that keeps ending is given up.
const RESTARTS_MAX: i64 = 3;

/// What must come to its end, where running would do otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// A Job is ready when it is complete; otherwise once it has started.
    pub jobs: bool,
    /// A Pod is ready when it has succeeded; otherwise when it serves.
    pub pods: bool,
}

/// Judges an object.
pub fn assess(object: &Object, finish: Finish) -> Readiness {
    if object.deletion_timestamp().is_some() {
        return waiting("it is being deleted");
    }
    if let Some(Ok(declared)) = Declared::of(object) {
        return as_declared(object, &declared);
    }
    let group = object
        .api_version()
        .split_once('/')
        .map_or("", |(group, _)| group);
    match (group, object.kind()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("", "ReplicationController") => replica_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("batch", "Job") => job(object, finish.jobs),
        ("", "Pod") => pod(object, finish.pods),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ => generic(object),
    }
}

/// Whether an object is ready by being there, so that nobody needs to look: it has no state of its own.
pub fn is_ready_when_stored(object: &Object) -> bool {
    if let Some(Ok(_)) = Declared::of(object) {
        return false;
    }
    const PASSIVE: [&str; 12] = [
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "NetworkPolicy",
        "PriorityClass",
        "StorageClass",
        "IngressClass",
        "LimitRange",
    ];
    let own = matches!(
        object.api_version(),
        "v1" | "rbac.authorization.k8s.io/v1"
            | "networking.k8s.io/v1"
            | "scheduling.k8s.io/v1"
            | "storage.k8s.io/v1"
    );
    match object.kind() {
        "Service" => own && object.text(&["spec", "type"]) != Some("LoadBalancer"),
        kind => own && PASSIVE.contains(&kind),
    }
}

/// By the object's own conditions, once its status is about what it is now.
fn as_declared(object: &Object, declared: &Declared) -> Readiness {
    if let Some(unobserved) = unobserved(object) {
        return unobserved;
    }
    match declared.judge(object) {
        Verdict::Success => Readiness::Ready,
        Verdict::Failure(condition) => failed(format!("its condition of failure holds: {condition}")),
        Verdict::Open => waiting(format!("it waits for {}", declared.awaited())),
    }
}

fn waiting(reason: impl Into<String>) -> Readiness {
    Readiness::Waiting(reason.into())
}

fn failed(reason: impl Into<String>) -> Readiness {
    Readiness::Failed(reason.into())
}

/// A condition of `status.conditions`.
struct Condition<'a> {
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

fn condition<'a>(object: &'a Object, kind: &str) -> Option<Condition<'a>> {
    let conditions = object.list(&["status", "conditions"]);
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    Some(Condition {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    })
}

impl Condition<'_> {
    fn is_true(&self) -> bool {
        self.status == "True"
    }

    fn explain(&self) -> String {
        match (self.reason, self.message) {
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

fn status_count(object: &Object, field: &str) -> i64 {
    object.integer(&["status", field]).unwrap_or_default()
}

/// Whether the controller has seen the newest specification.
fn unobserved(object: &Object) -> Option<Readiness> {
    let observed = object.integer(&["status", "observedGeneration"])?;
    (observed < object.generation()).then(|| waiting("its controller has not seen the change yet"))
}

/// As [`unobserved`], for kinds whose controllers always say what they have seen.
fn unseen(object: &Object) -> Option<Readiness> {
    if object.at(&["status", "observedGeneration"]).is_none() && object.generation() > 0 {
        return Some(waiting("its controller has not seen it yet"));
    }
    unobserved(object)
}

fn deployment(object: &Object) -> Readiness {
    if object.at(&["spec", "paused"]) == Some(&Value::Bool(true)) {
        // Somebody paused it on purpose; Helm does not wait for it.
        return Readiness::Ready;
    }
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let progressing = condition(object, "Progressing");
    if let Some(condition) = &progressing
        && condition.reason == "ProgressDeadlineExceeded"
    {
        return failed(condition.explain());
    }
    let wanted = object.integer(&["spec", "replicas"]).unwrap_or(1);
    let updated = status_count(object, "updatedReplicas");
    let replicas = status_count(object, "replicas");
    let available = status_count(object, "availableReplicas");
    let ready = status_count(object, "readyReplicas");
    if let Some(condition) = condition(object, "ReplicaFailure")
        && condition.is_true()
        && updated < wanted
    {
        // Old pods that go make room.
        return refused(&condition, replicas > updated);
    }
    if updated < wanted {
        return waiting(format!("{updated} of {wanted} pods are updated"));
    }
    if replicas > updated {
        return waiting(format!("{} old pods are still there", replicas - updated));
    }
    if ready < wanted {
        return waiting(format!("{ready} of {wanted} pods are ready"));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} pods are available"));
    }
    Readiness::Ready
}

/// Pods that the cluster does not take: over a quota they fit only if somebody makes room.
fn refused(condition: &Condition<'_>, makes_room: bool) -> Readiness {
    let reason = condition.explain();
    if is_over_quota(&reason) && !makes_room {
        failed(reason)
    } else {
        waiting(reason)
    }
}

/// Whether a refusal is that of a quota, in the words of Kubernetes.
pub(crate) fn is_over_quota(text: &str) -> bool {
    text.contains("exceeded quota:")
}

fn replica_set(object: &Object) -> Readiness {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = object.integer(&["spec", "replicas"]).unwrap_or(1);
    let replicas = status_count(object, "replicas");
    let ready = status_count(object, "readyReplicas");
    if replicas != wanted {
        if let Some(condition) = condition(object, "ReplicaFailure")
            && condition.is_true()
        {
            return refused(&condition, false);
        }
        return waiting(format!("{replicas} of {wanted} pods are there"));
    }
    if ready < wanted {
        return waiting(format!("{ready} of {wanted} pods are ready"));
    }
    Readiness::Ready
}

fn stateful_set(object: &Object) -> Readiness {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if object.text(&["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return Readiness::Ready;
    }
    let wanted = object.integer(&["spec", "replicas"]).unwrap_or(1);
    let ready = status_count(object, "readyReplicas");
    let updated = status_count(object, "updatedReplicas");
    if status_count(object, "replicas") < wanted || ready < wanted {
        return waiting(format!("{ready} of {wanted} pods are ready"));
    }
    let partition = object.integer(&["spec", "updateStrategy", "rollingUpdate", "partition"]);
    if let Some(partition) = partition.filter(|partition| *partition > 0) {
        let due = (wanted - partition).max(0);
        if updated < due {
            return waiting(format!("{updated} of {due} pods are updated"));
        }
        return Readiness::Ready;
    }
    if object.text(&["status", "currentRevision"]) != object.text(&["status", "updateRevision"]) {
        return waiting(format!("{updated} of {wanted} pods are updated"));
    }
    Readiness::Ready
}

fn daemon_set(object: &Object) -> Readiness {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if object.text(&["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return Readiness::Ready;
    }
    let wanted = status_count(object, "desiredNumberScheduled");
    for (field, word) in [
        ("currentNumberScheduled", "scheduled"),
        ("updatedNumberScheduled", "updated"),
        ("numberReady", "ready"),
        ("numberAvailable", "available"),
    ] {
        let count = status_count(object, field);
        if count < wanted {
            return waiting(format!("{count} of {wanted} pods are {word}"));
        }
    }
    Readiness::Ready
}

fn job(object: &Object, finish: bool) -> Readiness {
    if let Some(condition) = condition(object, "Failed")
        && condition.is_true()
    {
        return failed(condition.explain());
    }
    if condition(object, "Complete").is_some_and(|condition| condition.is_true()) {
        return Readiness::Ready;
    }
    if condition(object, "Suspended").is_some_and(|condition| condition.is_true()) {
        return if finish {
            waiting("it is suspended")
        } else {
            Readiness::Ready
        };
    }
    if object.at(&["status", "startTime"]).is_none() {
        return waiting("it has not started yet");
    }
    if finish {
        let succeeded = status_count(object, "succeeded");
        let wanted = object.integer(&["spec", "completions"]).unwrap_or(1);
        return waiting(format!("{succeeded} of {wanted} pods have succeeded"));
    }
    Readiness::Ready
}

fn pod(object: &Object, finish: bool) -> Readiness {
    let reason = || match pod_trouble(object) {
        Some(trouble) if trouble.fatal => failed(trouble.reason),
        Some(trouble) => waiting(trouble.reason),
        None => waiting("its containers are starting"),
    };
    match object.text(&["status", "phase"]).unwrap_or_default() {
        "Succeeded" => Readiness::Ready,
        "Failed" => match pod_trouble(object) {
            Some(trouble) => failed(trouble.reason),
            None => failed(object.text(&["status", "message"]).unwrap_or("it failed")),
        },
        "Running" if finish => match pod_trouble(object) {
            Some(trouble) if trouble.fatal => failed(trouble.reason),
            Some(trouble) => waiting(trouble.reason),
            None => waiting("it is running"),
        },
        "Running" if condition(object, "Ready").is_some_and(|condition| condition.is_true()) => {
            Readiness::Ready
        }
        _ => reason(),
    }
}

fn service(object: &Object) -> Readiness {
    let is_balancer = object.text(&["spec", "type"]) == Some("LoadBalancer");
    if is_balancer && object.text(&["spec", "clusterIP"]).unwrap_or_default().is_empty() {
        return waiting("it has no address yet");
    }
    Readiness::Ready
}

fn claim(object: &Object) -> Readiness {
    match object.text(&["status", "phase"]) {
        Some("Bound") => Readiness::Ready,
        Some("Lost") => failed("its volume is lost"),
        _ => waiting("it is not bound to a volume yet"),
    }
}

fn definition(object: &Object) -> Readiness {
    if let Some(condition) = condition(object, "NamesAccepted")
        && condition.status == "False"
    {
        return failed(condition.explain());
    }
    match condition(object, "Established") {
        Some(condition) if condition.is_true() => Readiness::Ready,
        _ => waiting("it is not established yet"),
    }
}

/// Objects that follow the conventions: a `Ready` condition if they have one.
fn generic(object: &Object) -> Readiness {
    if let Some(unobserved) = unobserved(object) {
        return unobserved;
    }
    if let Some(condition) = condition(object, "Stalled")
        && condition.is_true()
    {
        return failed(condition.explain());
    }
    if let Some(condition) = condition(object, "Reconciling")
        && condition.is_true()
    {
        return waiting(condition.explain());
    }
    match condition(object, "Ready") {
        Some(condition) if !condition.is_true() => {
            let explained = condition.explain();
            waiting(if explained.is_empty() {
                "it is not ready".to_owned()
            } else {
                explained
            })
        }
        _ => Readiness::Ready,
    }
}

/// What keeps a pod from running, if something does.
pub fn pod_trouble(pod: &Object) -> Option<PodTrouble> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let containers = statuses
        .iter()
        .flat_map(|field| pod.list(&["status", field]).iter());
    let found: Vec<PodTrouble> = containers.filter_map(container_trouble).collect();
    let worst = found.iter().find(|trouble| trouble.fatal).or(found.first());
    if worst.is_some() {
        return worst.cloned();
    }
    let scheduled = condition(pod, "PodScheduled")?;
    if scheduled.status == "False" {
        // A node may come or be freed.
        return Some(PodTrouble {
            reason: scheduled.explain(),
            fatal: false,
        });
    }
    None
}

/// Kinds whose pods tell why they are not ready.
pub const WORKLOADS: [&str; 6] = [
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "ReplicationController",
];

/// Kinds of which only events tell that their pods are refused.
pub const TOLD_BY_EVENTS: [&str; 3] = ["StatefulSet", "DaemonSet", "Job"];

/// What keeps a workload from having pods: the last event since it was changed that says that they are refused.
pub fn creation_trouble<'a>(object: &Object, events: impl Iterator<Item = &'a Object>) -> Option<PodTrouble> {
    let changed = object
        .list(&["metadata", "managedFields"])
        .iter()
        .filter(|entry| entry["manager"] == crate::FIELD_MANAGER)
        .filter_map(|entry| instant(entry["time"].as_str()))
        .max();
    let about = events.filter(|event| event.text(&["involvedObject", "uid"]) == Some(object.uid()));
    let dated = about.filter_map(|event| {
        let seen = instant(event.text(&["lastTimestamp"])).or(instant(event.text(&["eventTime"])))?;
        (Some(seen) >= changed).then_some((seen, event))
    });
    let (_, event) = dated.max_by_key(|(seen, _)| *seen)?;
    let reason = event.text(&["message"])?.to_owned();
    Some(PodTrouble {
        fatal: is_over_quota(&reason),
        reason,
    })
}

/// A time of the API.
fn instant(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// What keeps a workload from being ready: what its pods say, of a Deployment those of its present template.
///
/// `sets_of` and `pods_of` give the objects that the object of a UID controls. One pod that cannot start is enough,
/// since all are made alike; pods that are going away do not count.
pub fn workload_trouble(
    object: &Object,
    sets_of: impl Fn(&str) -> Vec<Arc<Object>>,
    pods_of: impl Fn(&str) -> Vec<Arc<Object>>,
) -> Option<PodTrouble> {
    let owner = if object.kind() == "Deployment" {
        // Told by its template: right after a change the newest one is still that of the template before.
        let template = object.at(&["spec", "template"])?;
        sets_of(object.uid())
            .iter()
            .find(|set| is_of_template(set, template))?
            .uid()
            .to_owned()
    } else {
        object.uid().to_owned()
    };
    let troubles: Vec<PodTrouble> = pods_of(&owner)
        .iter()
        .filter(|pod| pod.deletion_timestamp().is_none())
        .filter_map(|pod| pod_trouble(pod))
        .collect();
    let fatal = troubles.iter().find(|trouble| trouble.fatal);
    fatal.or(troubles.first()).cloned()
}

/// Whether a ReplicaSet makes pods of a template, to which its Deployment added the hash alone.
fn is_of_template(set: &Object, template: &Value) -> bool {
    let Some(mut own) = set.at(&["spec", "template"]).cloned() else {
        return false;
    };
    let labels = own.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.remove("pod-template-hash");
    }
    own == *template
}

fn container_trouble(status: &Value) -> Option<PodTrouble> {
    let name = status["name"].as_str().unwrap_or_default();
    let restarts = status["restartCount"].as_i64().unwrap_or_default();
    let text = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let waiting = text("/state/waiting/reason");
    let message = text("/state/waiting/message");
    let fatal = match waiting {
        // Once refused and tried again, a name or a right is wrong more often than a network.
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => true,
        "ErrImagePull" | "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => false,
        "CrashLoopBackOff" => restarts >= RESTARTS_MAX,
        _ => {
            let code = status
                .pointer("/state/terminated/exitCode")
                .and_then(Value::as_i64);
            return code.filter(|code| *code != 0).map(|code| PodTrouble {
                reason: format!(
                    "container `{name}` ended with {}",
                    exit_text(code, status, "/state/terminated")
                ),
                fatal: false,
            });
        }
    };
    let reason = if waiting == "CrashLoopBackOff" {
        let code = status
            .pointer("/lastState/terminated/exitCode")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let exit = exit_text(code, status, "/lastState/terminated");
        format!("CrashLoopBackOff: container `{name}` ended {restarts} times, last with {exit}")
    } else if message.is_empty() {
        format!("{waiting}: container `{name}`")
    } else {
        format!("{waiting}: container `{name}`: {message}")
    };
    Some(PodTrouble { reason, fatal })
}

fn exit_text(code: i64, status: &Value, state: &str) -> String {
    let field = |name: &str| {
        let found = status.pointer(&format!("{state}/{name}"));
        found
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let (reason, message) = (field("reason"), field("message"));
    let mut text = format!("code {code}");
    if !reason.is_empty() && reason != "Error" {
        text = format!("{text} ({reason})");
    }
    if !message.is_empty() {
        text = format!("{text}: {message}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FINISH_JOBS: Finish = Finish {
        jobs: true,
        pods: false,
    };

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    fn deployment(spec: &Value, status: &Value) -> Object {
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "generation": 2}, "spec": spec, "status": status,
        }))
    }

    #[track_caller]
    fn check(object: &Object, expected: &Readiness) {
        assert_eq!(&assess(object, FINISH_JOBS), expected);
    }

    #[test]
    fn a_deployment_is_ready_when_its_new_pods_serve_and_the_old_are_gone() {
        let spec = json!({"replicas": 2});
        let status = |updated: i64, replicas: i64, ready: i64| {
            json!({"observedGeneration": 2, "updatedReplicas": updated, "replicas": replicas,
                "readyReplicas": ready, "availableReplicas": ready})
        };
        check(
            &deployment(&spec, &json!({})),
            &waiting("its controller has not seen it yet"),
        );
        check(
            &deployment(&spec, &json!({"observedGeneration": 1})),
            &waiting("its controller has not seen the change yet"),
        );
        check(
            &deployment(&spec, &status(1, 2, 1)),
            &waiting("1 of 2 pods are updated"),
        );
        check(
            &deployment(&spec, &status(2, 3, 2)),
            &waiting("1 old pods are still there"),
        );
        check(
            &deployment(&spec, &status(2, 2, 1)),
            &waiting("1 of 2 pods are ready"),
        );
        check(&deployment(&spec, &status(2, 2, 2)), &Readiness::Ready);
        check(
            &deployment(&json!({"replicas": 0}), &status(0, 0, 0)),
            &Readiness::Ready,
        );
        check(
            &deployment(&json!({"replicas": 2, "paused": true}), &json!({})),
            &Readiness::Ready,
        );
    }

    #[test]
    fn err_a_deployment_past_its_deadline_has_failed() {
        let status = json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "message": "too slow"}]});
        let expected = failed("ProgressDeadlineExceeded: too slow");
        check(&deployment(&json!({"replicas": 1}), &status), &expected);
    }

    #[test]
    fn err_pods_over_a_quota_will_not_come() {
        let message = "pods \"web-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
        let status = |message: &str, replicas: i64| {
            json!({"observedGeneration": 2, "updatedReplicas": 1, "replicas": replicas, "conditions": [{"type":
                "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]})
        };
        let text = format!("FailedCreate: {message}");
        let spec = json!({"replicas": 2});
        check(&deployment(&spec, &status(message, 1)), &failed(&*text));
        // The old pods make room when they go.
        check(&deployment(&spec, &status(message, 2)), &waiting(&*text));
        check(
            &deployment(&spec, &status("no room", 1)),
            &waiting("FailedCreate: no room"),
        );
    }

    #[test]
    fn err_a_job_whose_pods_are_over_a_quota() {
        let job = object(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "uid": "1",
            "managedFields": [{"manager": "helm", "time": "2026-01-01T12:00:00Z"}]}}),
        );
        let event = |uid: &str, seen: &str, message: &str| {
            object(
                json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": seen}, "message": message,
                "involvedObject": {"uid": uid}, "lastTimestamp": seen}),
            )
        };
        let over = "Error creating: pods \"j-1\" is forbidden: exceeded quota: small";
        let trouble = |events: &[Object]| creation_trouble(&job, events.iter());
        assert_eq!(
            trouble(&[
                event("1", "2026-01-01T12:00:01Z", "Error creating: no room"),
                event("1", "2026-01-01T12:00:02Z", over),
            ]),
            Some(PodTrouble {
                reason: over.to_owned(),
                fatal: true
            })
        );
        assert!(
            !trouble(&[event("1", "2026-01-01T12:00:01Z", "no room")])
                .unwrap()
                .fatal
        );
        assert_eq!(
            trouble(&[event("1", "2026-01-01T11:59:59Z", over)]),
            None,
            "before it was changed"
        );
        assert_eq!(
            trouble(&[event("2", "2026-01-01T12:00:01Z", over)]),
            None,
            "about another"
        );
    }

    #[test]
    fn what_an_object_declares_goes_before_the_rules_of_its_kind() {
        let job = |status: Value, failure: &str| {
            object(
                json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "annotations": {
                "helm.sh/readiness-success": r#"["{.active} >= 2"]"#, "helm.sh/readiness-failure": failure}},
                "status": status}),
            )
        };
        let failure = r#"["{.failed} >= 1"]"#;
        check(&job(json!({"active": 2}), failure), &Readiness::Ready);
        check(
            &job(json!({"active": 1}), failure),
            &waiting("it waits for {.active} >= 2"),
        );
        check(
            &job(json!({"active": 2, "failed": 1}), failure),
            &failed("its condition of failure holds: {.failed} >= 1"),
        );
        // What cannot be read is as if it were not there.
        let complete = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        check(&job(complete, "no list"), &Readiness::Ready);
        assert!(!is_ready_when_stored(&object(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "c", "annotations": {"helm.sh/readiness-success": "[]", "helm.sh/readiness-failure": "[]"}}})
        )));
    }

    #[test]
    fn a_job_is_ready_when_started_or_when_done() {
        let job = |status: Value| {
            object(
                json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "status": status}),
            )
        };
        let running = job(json!({"startTime": "t", "active": 1}));
        assert_eq!(assess(&running, Finish::default()), Readiness::Ready);
        assert_eq!(
            assess(&running, FINISH_JOBS),
            waiting("0 of 1 pods have succeeded")
        );
        let done = job(json!({"conditions": [{"type": "Complete", "status": "True"}]}));
        assert_eq!(assess(&done, FINISH_JOBS), Readiness::Ready);
        let broken = job(json!({"conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "no more"}]}));
        assert_eq!(
            assess(&broken, Finish::default()),
            failed("BackoffLimitExceeded: no more")
        );
    }

    #[test]
    fn a_stateful_set_honours_its_partition() {
        let set = |partition: i64, updated: i64| {
            object(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "db", "generation": 1},
                "spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
                "status": {"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated,
                    "currentRevision": "a", "updateRevision": "b"}}))
        };
        check(&set(0, 3), &waiting("3 of 3 pods are updated"));
        check(&set(2, 0), &waiting("0 of 1 pods are updated"));
        check(&set(2, 1), &Readiness::Ready);
    }

    #[test]
    fn other_kinds_follow_their_conditions() {
        let custom = |status: Value| {
            object(
                json!({"apiVersion": "moon/v1", "kind": "Crater", "metadata": {"name": "c", "generation": 3},
                "status": status}),
            )
        };
        check(&custom(json!({})), &Readiness::Ready);
        check(&custom(json!({"observedGeneration": 3})), &Readiness::Ready);
        check(
            &custom(json!({"observedGeneration": 2})),
            &waiting("its controller has not seen the change yet"),
        );
        let not_ready = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Dark"}]});
        check(&custom(not_ready), &waiting("Dark"));
        let stalled = json!({"conditions": [{"type": "Stalled", "status": "True", "message": "stuck"}]});
        check(&custom(stalled), &failed("stuck"));
    }

    #[test]
    fn err_a_pod_says_what_troubles_it() {
        let pod = |status: &Value| {
            object(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "status": {"phase": "Pending", "containerStatuses": [status]}}),
            )
        };
        let pull = json!({"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}});
        check(
            &pod(&pull),
            &failed("ImagePullBackOff: container `main`: not found"),
        );
        let crash = |restarts: i64| {
            json!({"name": "main", "restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}})
        };
        let text = |times: i64| {
            format!("CrashLoopBackOff: container `main` ended {times} times, last with code 137 (OOMKilled)")
        };
        check(&pod(&crash(1)), &waiting(text(1)));
        check(&pod(&crash(3)), &failed(text(3)));
    }
}
