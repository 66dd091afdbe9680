//! What a job does next, from its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{DeleteOptions, EventType, Propagation, Target};
use cluster_objects::{GroupVersionResource, Object};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::pods::{self, Verdict};
use super::{indexes, jobs};
use crate::condition::{self, Condition};
use crate::pod;
use crate::replica_set::changed_fields;
use crate::step::{self, Said, Step};
use crate::time;

/// Wait before the pod after a failed one, doubled with each further failure.
const FAILURE_BACKOFF: Duration = Duration::from_secs(10);
const FAILURE_BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Most pods that one plan creates.
const BURST: usize = 500;

/// How a finished job ended: the type of its condition.
pub(crate) fn finished(job: &Object) -> Option<&'static str> {
    let conditions = job.list(&["status", "conditions"]);
    ["Complete", "Failed"]
        .into_iter()
        .find(|kind| condition::is_true(conditions, kind))
}

/// What the pods of a job come to.
struct Tally {
    active: Vec<Arc<Object>>,
    terminating: usize,
    ready: usize,
    succeeded: i64,
    failed: i64,
    completed: BTreeSet<i64>,
    /// Indexes that are given up, where each has a limit of its own.
    failed_indexes: BTreeSet<i64>,
    /// Failures of each index, and when the last one ended.
    index_failures: BTreeMap<i64, (u32, Option<Timestamp>)>,
    /// Why the failure policy ends the job.
    fatal: Option<String>,
    /// Failures since the last success, and when the last one ended.
    failures_in_a_row: u32,
    last_failure: Option<Timestamp>,
}

/// Why a job is over.
struct End {
    kind: &'static str,
    reason: &'static str,
    message: String,
}

/// Steps that bring a job one step further.
pub(crate) fn plan(job: &Object, pods: &[Arc<Object>], now: Timestamp) -> Vec<Step> {
    if job.deletion_timestamp().is_some() {
        return Vec::new();
    }
    if finished(job).is_some() {
        return plan_finished(job, now);
    }
    let tally = tally(job, pods);
    let suspended = job.at(&["spec", "suspend"]) == Some(&Value::Bool(true));
    let started = time::of(job.text(&["status", "startTime"]));
    let mut steps = Vec::new();
    let end = targeted_end(job).or_else(|| end_of(job, pods, &tally, started, now));
    let mut conditions = job.list(&["status", "conditions"]).to_vec();
    let mut completed_at = None;
    if let Some(end) = &end {
        let leaving = tally.active.iter();
        steps.extend(leaving.map(|pod| step::delete(&pods_resource(), pod, Some(Said::deleted_pod()))));
        let target = if end.kind == "Complete" {
            "SuccessCriteriaMet"
        } else {
            "FailureTarget"
        };
        set(&mut conditions, target, end.reason, &end.message, now);
        if tally.active.is_empty() && tally.terminating == 0 {
            set(&mut conditions, end.kind, end.reason, &end.message, now);
            completed_at = (end.kind == "Complete").then(|| time::format(now));
            steps.push(tell_end(end));
        }
    } else if suspended {
        let leaving = tally.active.iter();
        steps.extend(leaving.map(|pod| step::delete(&pods_resource(), pod, Some(Said::deleted_pod()))));
        set(&mut conditions, "Suspended", "JobSuspended", "Job suspended", now);
    } else {
        if condition::is_true(&conditions, "Suspended") {
            let resumed = Condition {
                kind: "Suspended",
                status: "False",
                reason: "JobResumed",
                message: "Job resumed",
            };
            condition::set_plain(&mut conditions, resumed, now);
        }
        steps.extend(plan_pods(job, pods, &tally, now));
        let deadline = job.integer(&["spec", "activeDeadlineSeconds"]);
        let left = deadline.and_then(|seconds| time::remaining(started.unwrap_or(now), seconds, now));
        steps.extend(left.map(Step::Again));
    }
    let changes_pods = steps
        .iter()
        .any(|step| matches!(step, Step::Create { .. } | Step::Delete { .. }));
    let started = match (suspended, started) {
        (true, _) => Value::Null,
        (false, Some(_)) => job.at(&["status", "startTime"]).cloned().unwrap_or_default(),
        (false, None) => time::format(now).into(),
    };
    let active = if changes_pods && end.is_none() && !suspended {
        active_after(&tally, &steps)
    } else {
        tally.active.len()
    };
    let mut status = json!({
        "active": if end.is_some() || suspended { 0 } else { active },
        "ready": if end.is_some() || suspended { 0 } else { tally.ready },
        "terminating": tally.terminating, "succeeded": tally.succeeded, "failed": tally.failed,
        "conditions": conditions, "startTime": started,
    });
    if pods::is_indexed(job) {
        status["completedIndexes"] = indexes::format(&tally.completed).into();
        if limit_per_index(job).is_some() {
            status["failedIndexes"] = indexes::format(&tally.failed_indexes).into();
        }
    }
    if let Some(completed_at) = completed_at {
        status["completionTime"] = completed_at.into();
    }
    let changed = changed_fields(job, status);
    if !changed.is_empty() {
        steps.push(step::patch_status(&jobs(), job, Value::Object(changed)));
    }
    steps
}

fn pods_resource() -> GroupVersionResource {
    GroupVersionResource::new("v1", "pods")
}

fn set(conditions: &mut Vec<Value>, kind: &str, reason: &str, message: &str, now: Timestamp) {
    let wanted = Condition {
        kind,
        status: "True",
        reason,
        message,
    };
    condition::set_plain(conditions, wanted, now);
}

fn tell_end(end: &End) -> Step {
    if end.kind == "Complete" {
        return Step::Tell {
            kind: EventType::Normal,
            reason: "Completed",
            message: "Job completed".into(),
        };
    }
    Step::Tell {
        kind: EventType::Warning,
        reason: end.reason,
        message: end.message.clone(),
    }
}

fn active_after(tally: &Tally, steps: &[Step]) -> usize {
    let created = steps
        .iter()
        .filter(|step| matches!(step, Step::Create { .. }))
        .count();
    let deleted = steps
        .iter()
        .filter(|step| matches!(step, Step::Delete { .. }))
        .count();
    (tally.active.len() + created).saturating_sub(deleted)
}

/// How often an index may fail, where each has a limit of its own.
fn limit_per_index(job: &Object) -> Option<u32> {
    let limit = job.integer(&["spec", "backoffLimitPerIndex"])?;
    u32::try_from(limit).ok().filter(|_| pods::is_indexed(job))
}

fn tally(job: &Object, pods: &[Arc<Object>]) -> Tally {
    let completions = job.integer(&["spec", "completions"]).unwrap_or(i64::MAX);
    let mut tally = Tally {
        active: Vec::new(),
        terminating: 0,
        ready: 0,
        succeeded: 0,
        failed: 0,
        completed: indexes::parse(
            job.text(&["status", "completedIndexes"]).unwrap_or_default(),
            completions,
        ),
        failed_indexes: indexes::parse(
            job.text(&["status", "failedIndexes"]).unwrap_or_default(),
            completions,
        ),
        index_failures: BTreeMap::new(),
        fatal: None,
        failures_in_a_row: 0,
        last_failure: None,
    };
    let limit = limit_per_index(job);
    let mut ends: Vec<(Option<Timestamp>, bool)> = Vec::new();
    for pod in pods {
        let phase = pod::phase(pod);
        if phase == "Succeeded" {
            tally.succeeded += 1;
            tally
                .completed
                .extend(pods::index_of(pod).filter(|index| *index < completions));
            ends.push((ended_at(pod), true));
        } else if phase == "Failed" {
            let mut gives_up = false;
            match pods::verdict(job, pod) {
                Verdict::Ignore => continue,
                Verdict::FailJob(message) => tally.fatal = tally.fatal.take().or(Some(message)),
                Verdict::FailIndex => gives_up = true,
                Verdict::Count => {}
            }
            tally.failed += 1;
            if let (Some(limit), Some(index)) =
                (limit, pods::index_of(pod).filter(|index| *index < completions))
            {
                let failures = pods::failures_before(pod) + 1;
                let known = tally.index_failures.entry(index).or_default();
                *known = (known.0.max(failures), known.1.max(ended_at(pod)));
                if gives_up || failures > limit {
                    tally.failed_indexes.insert(index);
                }
            }
            ends.push((ended_at(pod), false));
        } else if pod.deletion_timestamp().is_some() {
            tally.terminating += 1;
        } else {
            tally.ready += usize::from(pod::is_ready(pod));
            tally.active.push(pod.clone());
        }
    }
    if pods::is_indexed(job) {
        tally.succeeded = i64::try_from(tally.completed.len()).unwrap_or(i64::MAX);
        tally.failed_indexes = &tally.failed_indexes - &tally.completed;
    }
    // Pods that ended and were deleted since were counted once and stay counted.
    let before = |field| job.integer(&["status", field]).unwrap_or_default();
    tally.succeeded = tally.succeeded.max(before("succeeded"));
    tally.failed = tally.failed.max(before("failed"));
    ends.sort();
    for (at, succeeded) in ends {
        tally.failures_in_a_row = if succeeded { 0 } else { tally.failures_in_a_row + 1 };
        tally.last_failure = if succeeded { None } else { at };
    }
    tally
}

/// When the last container of a pod ended.
fn ended_at(pod: &Object) -> Option<Timestamp> {
    let statuses = pod.list(&["status", "containerStatuses"]).iter();
    let ends = statuses.filter_map(|status| time::of(status["state"]["terminated"]["finishedAt"].as_str()));
    let ready = || condition::find(pod.list(&["status", "conditions"]), "Ready");
    let changed = || time::of(ready()?["lastTransitionTime"].as_str());
    ends.max().or_else(changed).or_else(|| pod::created(pod))
}

/// The end that was decided before and waits for the last pods to be gone.
fn targeted_end(job: &Object) -> Option<End> {
    let conditions = job.list(&["status", "conditions"]);
    let (target, kind) = [("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")]
        .into_iter()
        .find(|(target, _)| condition::is_true(conditions, target))?;
    let condition = condition::find(conditions, target)?;
    let known = [
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "PodFailurePolicy",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
        "SuccessPolicy",
        "CompletionsReached",
    ];
    Some(End {
        kind,
        reason: known
            .into_iter()
            .find(|reason| condition["reason"] == *reason)
            .unwrap_or("Unknown"),
        message: condition["message"].as_str().unwrap_or_default().to_owned(),
    })
}

fn end_of(
    job: &Object,
    pods: &[Arc<Object>],
    tally: &Tally,
    started: Option<Timestamp>,
    now: Timestamp,
) -> Option<End> {
    let failed = |reason, message: String| {
        Some(End {
            kind: "Failed",
            reason,
            message,
        })
    };
    if let Some(message) = &tally.fatal {
        return failed("PodFailurePolicy", message.clone());
    }
    let per_index = limit_per_index(job).is_some();
    let default = if per_index { i64::from(i32::MAX) } else { 6 };
    let limit = job.integer(&["spec", "backoffLimit"]).unwrap_or(default);
    if tally.failed > limit || restarts_exceed(job, pods, limit) {
        return failed(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit".into(),
        );
    }
    let deadline = job.integer(&["spec", "activeDeadlineSeconds"]);
    if let (Some(seconds), Some(started)) = (deadline, started)
        && time::remaining(started, seconds, now).is_none()
    {
        return failed(
            "DeadlineExceeded",
            "Job was active longer than specified deadline".into(),
        );
    }
    if per_index {
        let given_up = i64::try_from(tally.failed_indexes.len()).unwrap_or(i64::MAX);
        let most = job.integer(&["spec", "maxFailedIndexes"]);
        if most.is_some_and(|most| given_up > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return failed("MaxFailedIndexesExceeded", message.into());
        }
        let completions = job.integer(&["spec", "completions"]).unwrap_or_default();
        if given_up > 0 && tally.succeeded + given_up >= completions {
            return failed("FailedIndexes", "Job has failed indexes".into());
        }
    }
    if let Some(number) = success_rule(job, tally) {
        return Some(End {
            kind: "Complete",
            reason: "SuccessPolicy",
            message: format!("Matched rules at index {number}"),
        });
    }
    let complete = match job.integer(&["spec", "completions"]) {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    complete.then(|| End {
        kind: "Complete",
        reason: "CompletionsReached",
        message: "Reached expected number of succeeded pods".into(),
    })
}

/// The first rule of the success policy that is met: enough of the indexes that it names have succeeded.
fn success_rule(job: &Object, tally: &Tally) -> Option<usize> {
    if !pods::is_indexed(job) {
        return None;
    }
    let completions = job.integer(&["spec", "completions"]).unwrap_or_default();
    let rules = job.list(&["spec", "successPolicy", "rules"]);
    rules.iter().position(|rule| {
        let named = rule["succeededIndexes"]
            .as_str()
            .map(|text| indexes::parse(text, completions));
        let succeeded = match &named {
            Some(named) => named.intersection(&tally.completed).count(),
            None => tally.completed.len(),
        };
        let needed = match (rule["succeededCount"].as_u64(), &named) {
            (Some(count), _) => usize::try_from(count).unwrap_or(usize::MAX),
            (None, Some(named)) => named.len(),
            (None, None) => return false,
        };
        succeeded >= needed
    })
}

/// Whether containers that are restarted in place failed too often.
fn restarts_exceed(job: &Object, pods: &[Arc<Object>], limit: i64) -> bool {
    if job.text(&["spec", "template", "spec", "restartPolicy"]) != Some("OnFailure") {
        return false;
    }
    let count = |pod: &Object| -> i64 {
        let init = pod.list(&["status", "initContainerStatuses"]).iter();
        let statuses = init.chain(pod.list(&["status", "containerStatuses"]));
        statuses
            .filter_map(|status| status["restartCount"].as_i64())
            .sum()
    };
    let live = pods
        .iter()
        .filter(|pod| matches!(pod::phase(pod), "Running" | "Pending"));
    let restarts: i64 = live.map(|pod| count(pod)).sum();
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

/// Steps that bring the number of active pods to what is wanted now.
fn plan_pods(job: &Object, pods: &[Arc<Object>], tally: &Tally, now: Timestamp) -> Vec<Step> {
    let parallelism = job.integer(&["spec", "parallelism"]).unwrap_or(1).max(0);
    let active = i64::try_from(tally.active.len()).unwrap_or(i64::MAX);
    let wanted = match job.integer(&["spec", "completions"]) {
        Some(completions) => {
            let given_up = i64::try_from(tally.failed_indexes.len()).unwrap_or(i64::MAX);
            parallelism.min(completions - tally.succeeded - given_up)
        }
        None if tally.succeeded > 0 => active.min(parallelism),
        None => parallelism,
    };
    if active > wanted {
        let mut leaving = tally.active.clone();
        pod::rank_for_deletion(&mut leaving, pods, now);
        let surplus = usize::try_from(active - wanted).unwrap_or(0);
        let leaving = leaving.iter().take(surplus);
        return leaving
            .map(|pod| step::delete(&pods_resource(), pod, Some(Said::deleted_pod())))
            .collect();
    }
    // Where only failed pods are replaced, one that is leaving still counts.
    let waits = waits_for_leaving(job);
    let leaving = if waits {
        i64::try_from(tally.terminating).unwrap_or(i64::MAX)
    } else {
        0
    };
    let missing = usize::try_from(wanted - active - leaving).unwrap_or(0).min(BURST);
    if missing == 0 {
        return Vec::new();
    }
    let per_index = limit_per_index(job).is_some();
    if !per_index && let Some(wait) = failure_wait(tally.failures_in_a_row, tally.last_failure, now) {
        return vec![Step::Again(wait)];
    }
    if !pods::is_indexed(job) {
        return (0..missing).map(|_| pods::create(job, None)).collect();
    }
    let completions = job.integer(&["spec", "completions"]).unwrap_or_default();
    let running = pods
        .iter()
        .filter(|pod| pod::is_active(pod) || (waits && !pod::is_finished(pod)));
    let taken: BTreeSet<i64> = running.filter_map(|pod| pods::index_of(pod)).collect();
    let is_over = |index: &i64| tally.completed.contains(index) || tally.failed_indexes.contains(index);
    let free = (0..completions).filter(|index| !taken.contains(index) && !is_over(index));
    let mut steps = Vec::new();
    let mut soonest: Option<Duration> = None;
    for index in free {
        let (failures, last) = tally.index_failures.get(&index).copied().unwrap_or_default();
        if per_index && let Some(wait) = failure_wait(failures, last, now) {
            soonest = Some(soonest.map_or(wait, |soonest| soonest.min(wait)));
            continue;
        }
        if steps.len() == missing {
            break;
        }
        steps.push(pods::create(job, Some((index, per_index.then_some(failures)))));
    }
    steps.extend(soonest.map(Step::Again));
    steps
}

/// Whether a pod is replaced only once it has ended, and not already when it is being deleted.
fn waits_for_leaving(job: &Object) -> bool {
    match job.text(&["spec", "podReplacementPolicy"]) {
        Some(policy) => policy == "Failed",
        None => job
            .at(&["spec", "podFailurePolicy"])
            .is_some_and(Value::is_object),
    }
}

/// How long to wait after the last of so many failures.
fn failure_wait(failures: u32, last: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let last = last?;
    let doublings = failures.saturating_sub(1).min(10);
    let wait = FAILURE_BACKOFF
        .saturating_mul(1 << doublings)
        .min(FAILURE_BACKOFF_MAX);
    time::remaining(last, i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), now)
}

/// Steps for a job that is over: it goes when its time is up.
fn plan_finished(job: &Object, now: Timestamp) -> Vec<Step> {
    let Some(seconds) = job.integer(&["spec", "ttlSecondsAfterFinished"]) else {
        return Vec::new();
    };
    let kind = finished(job).unwrap_or("Complete");
    let condition = condition::find(job.list(&["status", "conditions"]), kind);
    let over_since = condition.and_then(|condition| time::of(condition["lastTransitionTime"].as_str()));
    if let Some(left) = time::remaining(over_since.unwrap_or(now), seconds, now) {
        return vec![Step::Again(left)];
    }
    vec![Step::Delete {
        target: Target::of(&jobs(), job),
        options: DeleteOptions {
            uid: Some(job.uid().to_owned()),
            propagation: Propagation::Foreground,
            ..DeleteOptions::default()
        },
        said: None,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_client::Patch;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("a time")
    }

    fn job(spec: &Value, status: &Value) -> Object {
        let mut job = Object::new("batch/v1", "Job", Some("default"), "j");
        job.set(&["metadata", "uid"], "j");
        job.set(
            &["spec"],
            json!({"completions": 2, "parallelism": 2, "template": {"spec": {"containers": [{}]}}}),
        );
        for (key, value) in spec.as_object().expect("a map") {
            job.set(&["spec", key], value.clone());
        }
        job.set(&["status"], status.clone());
        job
    }

    /// A pod written as `name phase`, ended so many seconds ago where a third word says so.
    fn pod(text: &str) -> Arc<Object> {
        let words: Vec<&str> = text.split(' ').collect();
        let mut pod = Object::new("v1", "Pod", Some("default"), words[0]);
        pod.set(&["metadata", "uid"], words[0]);
        pod.set(&["status", "phase"], words[1]);
        let ago = words.get(2).and_then(|text| text.parse().ok()).unwrap_or(1000);
        let ended = Timestamp::from_second(now().as_second() - ago).expect("in range");
        let terminated = json!({"terminated": {"exitCode": 3, "finishedAt": time::format(ended)}});
        pod.set(
            &["status", "containerStatuses"],
            json!([{"name": "main", "state": terminated}]),
        );
        if let Some(index) = words[0].strip_prefix('i') {
            pod.set(&["metadata", "annotations", pods::INDEX], index);
        }
        Arc::new(pod)
    }

    /// `+` and the index for a created pod, `-name` for a deleted one, `wait seconds`, and conditions that hold.
    fn check(job: &Object, pods: &[&str], expected: &[&str]) {
        let pods: Vec<Arc<Object>> = pods.iter().map(|text| pod(text)).collect();
        let mut words = Vec::new();
        for step in plan(job, &pods, now()) {
            match step {
                Step::Create { object, .. } => {
                    words.push(format!("+{}", object.annotation(pods::INDEX).unwrap_or_default()));
                }
                Step::Delete { target, .. } => words.push(format!("-{}", target.name)),
                Step::Again(wait) => words.push(format!("wait {}", wait.as_secs())),
                Step::Patch {
                    patch: Patch::Merge(patch),
                    ..
                } => {
                    let conditions = patch["status"]["conditions"].as_array();
                    let held = conditions
                        .into_iter()
                        .flatten()
                        .filter(|one| one["status"] == "True");
                    words.extend(held.filter_map(|one| one["type"].as_str()).map(str::to_owned));
                }
                _ => {}
            }
        }
        assert_eq!(words, expected, "{pods:?}");
    }

    #[test]
    fn pods_are_made_until_enough_have_succeeded() {
        let two = job(&json!({}), &json!({}));
        check(&two, &[], &["+", "+"]);
        check(&two, &["a Running", "b Running"], &[]);
        check(&two, &["a Succeeded", "b Running"], &[]);
        check(&two, &["a Succeeded"], &["+"]);
        check(
            &two,
            &["a Succeeded", "b Succeeded"],
            &["SuccessCriteriaMet", "Complete"],
        );
        check(
            &job(&json!({"parallelism": 1}), &json!({})),
            &["a Running", "b Running"],
            &["-a"],
        );
        let any = job(&json!({"completions": null}), &json!({}));
        check(&any, &["a Succeeded", "b Running"], &[]);
        check(
            &any,
            &["a Succeeded", "b Failed"],
            &["SuccessCriteriaMet", "Complete"],
        );
        let indexed = job(
            &json!({"completionMode": "Indexed", "completions": 4}),
            &json!({}),
        );
        check(&indexed, &["i0 Succeeded", "i1 Running"], &["+2"]);
        // What ended and was removed since stays counted.
        let counted = job(&json!({}), &json!({"succeeded": 1}));
        check(&counted, &[], &["+"]);
    }

    #[test]
    fn failures_are_tried_again_later_and_later_up_to_a_limit() {
        let two = job(&json!({}), &json!({}));
        check(&two, &["a Failed 4", "b Running"], &["wait 6"]);
        check(&two, &["a Failed 60", "b Failed 4"], &["wait 16"]);
        check(&two, &["a Failed 12", "b Running"], &["+"]);
        let strict = job(&json!({"backoffLimit": 0}), &json!({}));
        check(&strict, &["a Failed", "b Running"], &["-b", "FailureTarget"]);
        let failing = json!({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}]});
        check(
            &job(&json!({"backoffLimit": 0}), &failing),
            &["a Failed"],
            &["FailureTarget", "Failed"],
        );
        let started = json!({"startTime": "2026-01-01T00:59:00Z"});
        check(
            &job(&json!({"activeDeadlineSeconds": 100}), &started),
            &["a Running", "b Running"],
            &["wait 40"],
        );
        check(
            &job(&json!({"activeDeadlineSeconds": 60}), &started),
            &["a Running"],
            &["-a", "FailureTarget"],
        );
    }

    #[test]
    fn the_failure_policy_decides_what_a_failure_means() {
        let policy = |action: &str| {
            let rule = json!({"action": action, "onExitCodes": {"operator": "In", "values": [3]}});
            job(
                &json!({"backoffLimit": 0, "podFailurePolicy": {"rules": [rule]}}),
                &json!({}),
            )
        };
        check(&policy("FailJob"), &["a Failed"], &["FailureTarget", "Failed"]);
        check(&policy("Ignore"), &["a Failed", "b Running"], &["+"]);
        check(&policy("Count"), &["a Failed"], &["FailureTarget", "Failed"]);
    }

    #[test]
    fn each_index_may_have_its_own_limit() {
        let spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 1});
        let indexed = job(&spec, &json!({}));
        check(&indexed, &["i0 Failed 12", "i1 Running", "i2 Running"], &["+0"]);
        check(&indexed, &["i0 Failed 4", "i1 Running"], &["+2", "wait 6"]);
        let tried = |text: &str| {
            let mut pod = Object::clone(&pod(text));
            pod.set(&["metadata", "annotations", pods::INDEX_FAILURES], "1");
            Arc::new(pod)
        };
        let given_up = [tried("i0 Failed"), pod("i1 Running"), pod("i2 Succeeded")];
        let status = plan(&indexed, &given_up, now())
            .into_iter()
            .find_map(|step| match step {
                Step::Patch {
                    patch: Patch::Merge(patch),
                    ..
                } => Some(patch["status"].clone()),
                _ => None,
            });
        assert_eq!(status.unwrap()["failedIndexes"], "0");
        let known = json!({"failedIndexes": "0", "completedIndexes": "1"});
        check(
            &job(&spec, &known),
            &["i2 Succeeded"],
            &["FailureTarget", "Failed"],
        );
        let mut strict = spec.clone();
        strict["maxFailedIndexes"] = 0.into();
        check(&job(&strict, &known), &["i2 Running"], &["-i2", "FailureTarget"]);
    }

    #[test]
    fn some_indexes_may_be_enough() {
        let with = |rule: Value| {
            let spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3,
                "successPolicy": {"rules": [rule]}});
            job(&spec, &json!({}))
        };
        let leader = with(json!({"succeededIndexes": "0"}));
        check(&leader, &["i0 Running", "i1 Succeeded", "i2 Running"], &[]);
        check(
            &leader,
            &["i0 Succeeded", "i1 Running", "i2 Running"],
            &["-i1", "-i2", "SuccessCriteriaMet"],
        );
        let any = with(json!({"succeededCount": 1}));
        check(&any, &["i1 Succeeded"], &["SuccessCriteriaMet", "Complete"]);
    }

    #[test]
    fn a_finished_job_goes_when_its_time_is_up() {
        let done = json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:59:30Z"}]});
        check(&job(&json!({}), &done), &[], &[]);
        check(
            &job(&json!({"ttlSecondsAfterFinished": 60}), &done),
            &[],
            &["wait 30"],
        );
        check(&job(&json!({"ttlSecondsAfterFinished": 30}), &done), &[], &["-j"]);
    }
}
