//! Jobs and cron jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, age, containers, is_true, name, selector, text_or};
use crate::Object;
use crate::table::duration;

pub(in crate::table) fn job(object: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, &["spec", "template", "spec", "containers"]);
    vec![
        name(object),
        job_status(object).into(),
        completions(object).into(),
        job_duration(object, now).into(),
        age(object, now),
        names,
        images,
        selector(object.at(&["spec", "selector"])).into(),
    ]
}

fn job_status(object: &Object) -> &'static str {
    let first_true = |kinds: &[&'static str]| kinds.iter().copied().find(|kind| is_true(object, kind));
    if let Some(kind) = first_true(&["Complete", "Failed"]) {
        return kind;
    }
    if object.deletion_timestamp().is_some() {
        return "Terminating";
    }
    first_true(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]).unwrap_or("Running")
}

fn completions(object: &Object) -> String {
    let succeeded = object.integer(&["status", "succeeded"]).unwrap_or_default();
    let parallelism = object.integer(&["spec", "parallelism"]).unwrap_or_default();
    match object.integer(&["spec", "completions"]) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn job_duration(object: &Object, now: Timestamp) -> String {
    let Some(start) = duration::parse(object.at(&["status", "startTime"])) else {
        return String::new();
    };
    let end = duration::parse(object.at(&["status", "completionTime"])).unwrap_or(now);
    duration::human(duration::seconds_between(start, end))
}

pub(in crate::table) fn cron_job(object: &Object, now: Timestamp) -> Vec<Value> {
    const JOB: [&str; 3] = ["spec", "jobTemplate", "spec"];
    let [names, images] = containers(object, &[&JOB[..], &["template", "spec", "containers"]].concat());
    let suspend = match object.at(&["spec", "suspend"]).and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = object
        .at(&["status", "lastScheduleTime"])
        .filter(|time| !time.is_null());
    vec![
        name(object),
        text_or(object, &["spec", "schedule"], "").into(),
        text_or(object, &["spec", "timeZone"], NONE).into(),
        suspend.into(),
        object.list(&["status", "active"]).len().into(),
        last.map_or_else(|| NONE.to_owned(), |time| duration::since(Some(time), now))
            .into(),
        age(object, now),
        names,
        images,
        selector(object.at(&[&JOB[..], &["selector"]].concat())).into(),
    ]
}
