//! What a cron job does now, from its jobs and the time.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Collection, DeleteOptions, EventType, Propagation, Target};
use cluster_objects::Object;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cron_jobs;
use super::schedule::Schedule;
use crate::condition;
use crate::job::{finished, jobs};
use crate::pod;
use crate::replica_set::changed_fields;
use crate::step::{self, Said, Step};
use crate::time;

/// Seconds into the past in which the last missed time is looked for, each longer than the one before.
const WINDOWS: [i64; 4] = [3_600, 86_400, 32 * 86_400, 8 * 366 * 86_400];

/// Steps that make the job whose time has come, and clear away old ones.
pub(crate) fn plan(cron_job: &Object, owned: &[Arc<Object>], now: Timestamp) -> Vec<Step> {
    if cron_job.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let mut steps = plan_history(cron_job, owned);
    let mut active: Vec<Value> = Vec::new();
    for job in owned.iter().filter(|job| finished(job).is_none()) {
        active.push(reference(job));
    }
    steps.extend(plan_ended(cron_job, owned));
    let mut last = cron_job.text(&["status", "lastScheduleTime"]).map(str::to_owned);
    if cron_job.at(&["spec", "suspend"]) != Some(&Value::Bool(true)) {
        let due = plan_due(cron_job, owned, now);
        steps.extend(due.steps);
        if let Some((scheduled, job)) = due.started {
            last = Some(time::format(scheduled));
            if cron_job.text(&["spec", "concurrencyPolicy"]) == Some("Replace") {
                active.clear();
            }
            active.push(job);
        }
    }
    let succeeded = owned.iter().filter(|job| finished(job) == Some("Complete"));
    let succeeded = succeeded
        .filter_map(|job| job.text(&["status", "completionTime"]))
        .max();
    let known = cron_job.text(&["status", "lastSuccessfulTime"]);
    let status = json!({
        "active": active, "lastScheduleTime": last, "lastSuccessfulTime": succeeded.max(known),
    });
    let changed = changed_fields(cron_job, status);
    if !changed.is_empty() {
        steps.push(step::patch_status(&cron_jobs(), cron_job, Value::Object(changed)));
    }
    steps
}

fn reference(job: &Object) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "name": job.name(), "namespace": job.namespace(),
        "uid": job.uid(), "resourceVersion": job.resource_version(),
    })
}

/// Events about jobs that were active and have ended.
fn plan_ended(cron_job: &Object, owned: &[Arc<Object>]) -> Vec<Step> {
    let was_active = |job: &Object| {
        cron_job
            .list(&["status", "active"])
            .iter()
            .any(|reference| reference["uid"] == job.uid())
    };
    let ended = owned.iter().filter(|job| was_active(job));
    let ended = ended.filter_map(|job| Some((job.name(), finished(job)?)));
    ended
        .map(|(name, how)| Step::Tell {
            kind: EventType::Normal,
            reason: "SawCompletedJob",
            message: format!("Saw completed job: {name}, condition: {how}"),
        })
        .collect()
}

/// What is to be done because of the time.
#[derive(Default)]
struct Due {
    steps: Vec<Step>,
    /// The time for which a job is made, and a reference to the job.
    started: Option<(Timestamp, Value)>,
}

fn plan_due(cron_job: &Object, owned: &[Arc<Object>], now: Timestamp) -> Due {
    let mut due = Due::default();
    let warn = |reason, message| Step::Tell {
        kind: EventType::Warning,
        reason,
        message,
    };
    let text = cron_job.text(&["spec", "schedule"]).unwrap_or_default();
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => {
            due.steps.push(warn(
                "UnparseableSchedule",
                format!("unparseable schedule: {text:?} : {}", error.0),
            ));
            return due;
        }
    };
    let zone = match cron_job.text(&["spec", "timeZone"]) {
        None => TimeZone::UTC,
        Some(name) => match TimeZone::get(name) {
            Ok(zone) => zone,
            Err(_) => {
                due.steps.push(warn(
                    "UnknownTimeZone",
                    format!("invalid timeZone: {name:?}: unknown time zone {name}"),
                ));
                return due;
            }
        },
    };
    if let Some(next) = schedule.next(now, &zone) {
        let left = u64::try_from(next.as_millisecond() - now.as_millisecond()).unwrap_or(0);
        due.steps.push(Step::Again(Duration::from_millis(left)));
    }
    let Some(scheduled) = last_missed(cron_job, &schedule, &zone, now) else {
        return due;
    };
    let name = job_name(cron_job, scheduled);
    if owned.iter().any(|job| job.name() == name) {
        return due;
    }
    let active: Vec<&Arc<Object>> = owned.iter().filter(|job| finished(job).is_none()).collect();
    match cron_job.text(&["spec", "concurrencyPolicy"]) {
        Some("Forbid") if !active.is_empty() => {
            due.steps.push(Step::Tell {
                kind: EventType::Normal,
                reason: "JobAlreadyActive",
                message:
                    "Not starting job because prior execution is running and concurrency policy is Forbid"
                        .into(),
            });
            return due;
        }
        Some("Replace") => due.steps.extend(active.iter().map(|job| delete_job(job))),
        _ => {}
    }
    let job = make_job(cron_job, &name, scheduled, &zone);
    let mut reference = reference(&job);
    reference.as_object_mut().into_iter().for_each(|fields| {
        fields.remove("uid");
        fields.remove("resourceVersion");
    });
    due.started = Some((scheduled, reference));
    due.steps.push(Step::Create {
        collection: Collection::namespaced("batch/v1", "jobs", cron_job.namespace().unwrap_or_default()),
        object: job,
        said: Some(Said {
            done: ("SuccessfulCreate", "Created job {}".into()),
            failed: ("FailedCreate", "Error creating job: {}".into()),
        }),
    });
    due
}

/// The newest time up to now for which no job was made yet, unless its deadline is over.
fn last_missed(cron_job: &Object, schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let last = time::of(cron_job.text(&["status", "lastScheduleTime"]));
    let mut earliest = last.or_else(|| pod::created(cron_job))?;
    if let Some(seconds) = cron_job.integer(&["spec", "startingDeadlineSeconds"]) {
        let limit = Timestamp::from_second(now.as_second().saturating_sub(seconds)).ok()?;
        earliest = earliest.max(limit);
    }
    for window in WINDOWS {
        let begin = Timestamp::from_second(now.as_second() - window)
            .ok()?
            .max(earliest);
        let mut missed = None;
        let mut from = begin;
        while let Some(next) = schedule.next(from, zone).filter(|next| *next <= now) {
            missed = Some(next);
            from = next;
        }
        if missed.is_some() || begin == earliest {
            return missed;
        }
    }
    None
}

/// The name of the job for a time: the same time gives the same name, so no time has two jobs.
fn job_name(cron_job: &Object, scheduled: Timestamp) -> String {
    format!("{}-{}", cron_job.name(), scheduled.as_second() / 60)
}

fn make_job(cron_job: &Object, name: &str, scheduled: Timestamp, zone: &TimeZone) -> Object {
    let template = cron_job.at(&["spec", "jobTemplate"]).unwrap_or(&Value::Null);
    let mut job = Object::new("batch/v1", "Job", cron_job.namespace(), name);
    for key in ["labels", "annotations"] {
        if template["metadata"][key].is_object() {
            job.set(&["metadata", key], template["metadata"][key].clone());
        }
    }
    let local = scheduled.to_zoned(zone.clone());
    let shown = local
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
        .replace("+00:00", "Z");
    job.set(
        &[
            "metadata",
            "annotations",
            "batch.kubernetes.io/cronjob-scheduled-timestamp",
        ],
        shown,
    );
    job.set(
        &["metadata", "ownerReferences"],
        json!([cron_job.controller_reference()]),
    );
    job.set(&["spec"], template["spec"].clone());
    job
}

fn delete_job(job: &Object) -> Step {
    Step::Delete {
        target: Target::of(&jobs(), job),
        options: DeleteOptions {
            uid: Some(job.uid().to_owned()),
            propagation: Propagation::Background,
            ..DeleteOptions::default()
        },
        said: Some(Said {
            done: ("SuccessfulDelete", "Deleted job {}".into()),
            failed: ("FailedDelete", "Deleted job: {}".into()),
        }),
    }
}

/// Steps that remove ended jobs beyond the history limits, oldest first.
fn plan_history(cron_job: &Object, owned: &[Arc<Object>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (kind, field, default) in [
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ] {
        let limit = cron_job.integer(&["spec", field]).unwrap_or(default);
        let ended = owned
            .iter()
            .filter(|job| job.deletion_timestamp().is_none() && finished(job) == Some(kind));
        let mut ended: Vec<&Arc<Object>> = ended.collect();
        ended.sort_by_key(|job| {
            let over = condition::find(job.list(&["status", "conditions"]), kind);
            over.and_then(|over| time::of(over["lastTransitionTime"].as_str()))
        });
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        steps.extend(ended.into_iter().take(surplus).map(|job| delete_job(job)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn cron_job(spec: &Value, status: &Value) -> Object {
        let mut cron_job = Object::new("batch/v1", "CronJob", Some("default"), "tick");
        cron_job.set(&["metadata", "uid"], "tick");
        cron_job.set(&["metadata", "creationTimestamp"], "2026-01-01T00:00:30Z");
        cron_job.set(
            &["spec"],
            json!({"schedule": "*/5 * * * *", "jobTemplate": {"spec": {}}}),
        );
        for (key, value) in spec.as_object().expect("a map") {
            cron_job.set(&["spec", key], value.clone());
        }
        cron_job.set(&["status"], status.clone());
        cron_job
    }

    fn job(name: &str, condition: &str) -> Arc<Object> {
        let mut job = Object::new("batch/v1", "Job", Some("default"), name);
        job.set(&["metadata", "uid"], name);
        if !condition.is_empty() {
            job.set(&["status", "conditions"], json!([{"type": condition, "status": "True", "lastTransitionTime": format!("2026-01-01T00:00:0{}Z", name.len())}]));
        }
        Arc::new(job)
    }

    /// `+job`, `-job`, `wait seconds`, or the reason of an event.
    fn check(cron_job: &Object, owned: &[Arc<Object>], now: &str, expected: &[&str]) {
        let steps = plan(cron_job, owned, at(now));
        let word = |step: &Step| match step {
            Step::Create { object, .. } => Some(format!("+{}", object.name())),
            Step::Delete { target, .. } => Some(format!("-{}", target.name)),
            Step::Again(wait) => Some(format!("wait {}", wait.as_secs())),
            Step::Tell { reason, .. } => Some((*reason).to_owned()),
            _ => None,
        };
        let found: Vec<String> = steps.iter().filter_map(word).collect();
        assert_eq!(found, expected, "{now}");
    }

    #[test]
    fn a_job_is_made_when_its_time_has_come() {
        let never = cron_job(&json!({}), &json!({}));
        check(&never, &[], "2026-01-01T00:04:00Z", &["wait 60"]);
        check(
            &never,
            &[],
            "2026-01-01T00:05:01Z",
            &["wait 299", "+tick-29453765"],
        );
        let done = cron_job(&json!({}), &json!({"lastScheduleTime": "2026-01-01T00:05:00Z"}));
        check(&done, &[], "2026-01-01T00:05:02Z", &["wait 298"]);
        // Of many missed times only the newest is made up for.
        check(
            &done,
            &[],
            "2026-03-01T00:07:00Z",
            &["wait 180", "+tick-29538725"],
        );
        let late = cron_job(&json!({"startingDeadlineSeconds": 60}), &json!({}));
        check(&late, &[], "2026-01-01T00:07:00Z", &["wait 180"]);
        let suspended = cron_job(&json!({"suspend": true}), &json!({}));
        check(&suspended, &[], "2026-01-01T00:05:01Z", &[]);
    }

    #[test]
    fn jobs_that_still_run_are_met_by_the_policy() {
        let running = [job("old", "")];
        let now = "2026-01-01T00:05:00Z";
        let policy = |policy: &str| cron_job(&json!({"concurrencyPolicy": policy}), &json!({}));
        check(&policy("Allow"), &running, now, &["wait 300", "+tick-29453765"]);
        check(
            &policy("Forbid"),
            &running,
            now,
            &["wait 300", "JobAlreadyActive"],
        );
        check(
            &policy("Replace"),
            &running,
            now,
            &["wait 300", "-old", "+tick-29453765"],
        );
        check(&policy("Allow"), &[job("tick-29453765", "")], now, &["wait 300"]);
    }

    #[test]
    fn only_some_ended_jobs_are_kept() {
        let limited = cron_job(&json!({"successfulJobsHistoryLimit": 1}), &json!({}));
        let jobs = [
            job("b", "Complete"),
            job("aa", "Complete"),
            job("f", "Failed"),
            job("ff", "Failed"),
        ];
        check(&limited, &jobs, "2026-01-01T00:04:00Z", &["-b", "-f", "wait 60"]);
    }

    #[test]
    fn err_a_wrong_schedule_or_zone_is_told() {
        let now = "2026-01-01T00:04:00Z";
        check(
            &cron_job(&json!({"schedule": "x"}), &json!({})),
            &[],
            now,
            &["UnparseableSchedule"],
        );
        check(
            &cron_job(&json!({"timeZone": "No/Where"}), &json!({})),
            &[],
            now,
            &["UnknownTimeZone"],
        );
    }
}
