//! The status of a deployment, as `kubectl rollout status` reads it.

use std::time::Duration;

use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::deployments;
use super::rollout::Bounds;
use super::sets::Sets;
use crate::condition::{self, Condition};
use crate::replica_set::{changed_fields, wanted};
use crate::step::{self, Step};
use crate::time;

const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The numbers of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Counts {
    fn now(sets: &Sets) -> Self {
        Self {
            replicas: sets.status("replicas"),
            updated: sets.new.as_ref().map_or(0, |new| new.status("replicas")),
            ready: sets.status("readyReplicas"),
            available: sets.status("availableReplicas"),
        }
    }

    fn before(deployment: &Object) -> Self {
        let field = |name| deployment.integer(&["status", name]).unwrap_or_default();
        Self {
            replicas: field("replicas"),
            updated: field("updatedReplicas"),
            ready: field("readyReplicas"),
            available: field("availableReplicas"),
        }
    }

    fn is_complete(&self, deployment: &Object) -> bool {
        let wanted = wanted(deployment);
        self.updated == wanted && self.replicas == wanted && self.available == wanted
    }

    /// Whether anything got nearer to the goal since.
    fn is_ahead_of(&self, before: &Self) -> bool {
        self.updated > before.updated
            || self.replicas - self.updated < before.replicas - before.updated
            || self.ready > before.ready
            || self.available > before.available
    }
}

/// Whether the rollout of the present generation is done, by what the status says already.
pub(crate) fn is_complete(deployment: &Object) -> bool {
    let observed = deployment
        .integer(&["status", "observedGeneration"])
        .unwrap_or_default();
    observed >= deployment.generation() && Counts::before(deployment).is_complete(deployment)
}

/// The seconds without progress after which a rollout has failed; `None` where it may take for ever.
pub(crate) fn progress_deadline(deployment: &Object) -> Option<i64> {
    let deadline = deployment.integer(&["spec", "progressDeadlineSeconds"]);
    Some(deadline.unwrap_or(600)).filter(|seconds| *seconds < i64::from(i32::MAX))
}

/// What a plan found out on the way, for the condition `Progressing`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The set that this plan creates.
    pub(crate) created: Option<String>,
    /// Whether conditions of progress are kept at all: not when paused or scaling.
    pub(crate) rolling: bool,
}

/// Steps that make the status say what is there.
pub(crate) fn plan_status(
    deployment: &Object,
    sets: &Sets,
    progress: &Progress,
    now: Timestamp,
) -> Vec<Step> {
    let counts = Counts::now(sets);
    let before = Counts::before(deployment);
    let mut conditions = deployment.list(&["status", "conditions"]).to_vec();
    set_available(&mut conditions, deployment, &counts, now);
    set_paused(&mut conditions, deployment, now);
    if progress.rolling {
        set_progressing(&mut conditions, deployment, sets, &counts, &before, progress, now);
        set_failure(&mut conditions, sets, now);
    }
    let again = if progress.rolling {
        deadline_of(deployment, &conditions, &counts, now)
    } else {
        None
    };
    let status = json!({
        "observedGeneration": deployment.generation(),
        "replicas": counts.replicas, "updatedReplicas": counts.updated, "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": (sets.replicas() - counts.available).max(0),
        "conditions": conditions,
    });
    let mut changed = changed_fields(deployment, status);
    if changed.get("replicas") == Some(&json!(0)) && deployment.at(&["status", "replicas"]).is_none() {
        changed.remove("replicas");
    }
    let mut steps = Vec::new();
    if !changed.is_empty() {
        steps.push(step::patch_status(
            &deployments(),
            deployment,
            Value::Object(changed),
        ));
    }
    steps.extend(again.map(Step::Again));
    steps
}

/// Steps that say that the new replica set could not be created.
pub(crate) fn plan_create_failed(deployment: &Object, message: &str, now: Timestamp) -> Vec<Step> {
    let mut conditions = deployment.list(&["status", "conditions"]).to_vec();
    let failed = Condition {
        kind: PROGRESSING,
        status: "False",
        reason: "ReplicaSetCreateError",
        message,
    };
    condition::set(&mut conditions, failed, now);
    let changed = changed_fields(deployment, json!({"conditions": conditions}));
    if changed.is_empty() {
        return Vec::new();
    }
    vec![step::patch_status(
        &deployments(),
        deployment,
        Value::Object(changed),
    )]
}

fn set_available(conditions: &mut Vec<Value>, deployment: &Object, counts: &Counts, now: Timestamp) {
    let enough = counts.available >= Bounds::of(deployment).available_min();
    let wanted = if enough {
        Condition {
            kind: "Available",
            status: "True",
            reason: "MinimumReplicasAvailable",
            message: "Deployment has minimum availability.",
        }
    } else {
        Condition {
            kind: "Available",
            status: "False",
            reason: "MinimumReplicasUnavailable",
            message: "Deployment does not have minimum availability.",
        }
    };
    condition::set(conditions, wanted, now);
}

fn set_paused(conditions: &mut Vec<Value>, deployment: &Object, now: Timestamp) {
    if progress_deadline(deployment).is_none() {
        return;
    }
    let reason = reason_of_progress(conditions).to_owned();
    if reason == "ProgressDeadlineExceeded" {
        return;
    }
    let paused = is_paused(deployment);
    let (reason, message) = match (paused, reason == "DeploymentPaused") {
        (true, false) => ("DeploymentPaused", "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return,
    };
    let wanted = Condition {
        kind: PROGRESSING,
        status: "Unknown",
        reason,
        message,
    };
    condition::set(conditions, wanted, now);
}

/// `spec.paused`.
pub(crate) fn is_paused(deployment: &Object) -> bool {
    deployment.at(&["spec", "paused"]) == Some(&Value::Bool(true))
}

fn reason_of_progress(conditions: &[Value]) -> &str {
    let condition = condition::find(conditions, PROGRESSING);
    condition
        .and_then(|condition| condition["reason"].as_str())
        .unwrap_or_default()
}

fn set_progressing(
    conditions: &mut Vec<Value>,
    deployment: &Object,
    sets: &Sets,
    counts: &Counts,
    before: &Counts,
    progress: &Progress,
    now: Timestamp,
) {
    let Some(deadline) = progress_deadline(deployment) else {
        condition::remove(conditions, PROGRESSING);
        return;
    };
    let mut set = |status, reason, message: &str, fresh: bool| {
        let wanted = Condition {
            kind: PROGRESSING,
            status,
            reason,
            message,
        };
        if fresh {
            condition::replace(conditions, wanted, now);
        } else {
            condition::set(conditions, wanted, now);
        }
    };
    if let Some(name) = &progress.created {
        let message = format!("Created new replica set \"{name}\"");
        set("True", "NewReplicaSetCreated", &message, true);
        return;
    }
    let known = condition::find(deployment.list(&["status", "conditions"]), PROGRESSING);
    let what = sets.new.as_ref().map_or_else(
        || format!("Deployment \"{}\"", deployment.name()),
        |new| format!("ReplicaSet \"{}\"", new.set.name()),
    );
    if known.is_none()
        && let Some(new) = &sets.new
    {
        let message = format!("Found new replica set \"{}\"", new.set.name());
        set("True", "FoundNewReplicaSet", &message, true);
    }
    let settled = known.is_some_and(|condition| condition["reason"] == "NewReplicaSetAvailable");
    if settled && counts.replicas == counts.updated {
        return;
    }
    if counts.is_complete(deployment) {
        let message = format!("{what} has successfully progressed.");
        set("True", "NewReplicaSetAvailable", &message, false);
    } else if counts.is_ahead_of(before) {
        let message = format!("{what} is progressing.");
        set("True", "ReplicaSetUpdated", &message, true);
    } else if known.is_some_and(|condition| timed_out(condition, deadline, now)) {
        let message = format!("{what} has timed out progressing.");
        set("False", "ProgressDeadlineExceeded", &message, false);
    }
}

/// Whether the last progress is longer ago than the deadline.
fn timed_out(condition: &Value, deadline: i64, now: Timestamp) -> bool {
    match condition["reason"].as_str().unwrap_or_default() {
        "NewReplicaSetAvailable" | "DeploymentPaused" => return false,
        "ProgressDeadlineExceeded" => return true,
        _ => {}
    }
    let since = time::of(condition["lastUpdateTime"].as_str());
    since.is_some_and(|since| time::remaining(since, deadline, now).is_none())
}

fn set_failure(conditions: &mut Vec<Value>, sets: &Sets, now: Timestamp) {
    let of = |set: &Object| condition::find(set.list(&["status", "conditions"]), REPLICA_FAILURE).cloned();
    let new_first = sets.new.iter().chain(&sets.old);
    let Some(failure) = new_first.map(|sized| of(&sized.set)).find_map(|failure| failure) else {
        condition::remove(conditions, REPLICA_FAILURE);
        return;
    };
    let text = |field: &str| failure[field].as_str().unwrap_or_default();
    let wanted = Condition {
        kind: REPLICA_FAILURE,
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    };
    condition::set(conditions, wanted, now);
}

/// When the rollout fails if nothing moves until then.
fn deadline_of(
    deployment: &Object,
    conditions: &[Value],
    counts: &Counts,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = progress_deadline(deployment)?;
    let condition = condition::find(conditions, PROGRESSING)?;
    let over = matches!(
        condition["reason"].as_str().unwrap_or_default(),
        "NewReplicaSetAvailable" | "ProgressDeadlineExceeded" | "DeploymentPaused"
    );
    if over || counts.is_complete(deployment) {
        return None;
    }
    let since = time::of(condition["lastUpdateTime"].as_str())?;
    // A second more, since the times of conditions are whole seconds.
    Some(time::remaining(since, deadline, now).unwrap_or_default() + Duration::from_secs(1))
}
