//! Deployments, stateful sets, jobs and their like.

use super::fill::{Fields, absent, given, has, items, map, text, zero};
use super::{pod, volume};
use crate::Object;
use crate::registry::KindRow;

pub(crate) fn deployment(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    absent(spec, "replicas", 1);
    if let Some(strategy) = map(spec, "strategy") {
        zero(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(update) = map(strategy, "rollingUpdate")
        {
            absent(update, "maxUnavailable", "25%");
            absent(update, "maxSurge", "25%");
        }
    }
    absent(spec, "revisionHistoryLimit", 10);
    absent(spec, "progressDeadlineSeconds", 600);
    pod::template(spec, "template");
}

pub(crate) fn replica_set(_row: &KindRow, object: &mut Object) {
    if let Some(spec) = given(object.fields_mut(), "spec") {
        absent(spec, "replicas", 1);
        pod::template(spec, "template");
    }
}

pub(crate) fn replication_controller(_row: &KindRow, object: &mut Object) {
    let labels = object.at(&["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels.filter(|labels| labels.as_object().is_some_and(|map| !map.is_empty())) {
        if object.labels().is_none_or(serde_json::Map::is_empty) {
            object.set(&["metadata", "labels"], labels.clone());
        }
        if let Some(spec) = given(object.fields_mut(), "spec")
            && given(spec, "selector").is_none_or(|selector| selector.is_empty())
        {
            spec.insert("selector".to_owned(), labels);
        }
    }
    if let Some(spec) = given(object.fields_mut(), "spec") {
        absent(spec, "replicas", 1);
        pod::template(spec, "template");
    }
}

pub(crate) fn stateful_set(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    zero(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = map(spec, "updateStrategy") {
        zero(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(update) = map(strategy, "rollingUpdate")
        {
            absent(update, "partition", 0);
        }
    }
    if let Some(policy) = map(spec, "persistentVolumeClaimRetentionPolicy") {
        zero(policy, "whenDeleted", "Retain");
        zero(policy, "whenScaled", "Retain");
    }
    absent(spec, "replicas", 1);
    absent(spec, "revisionHistoryLimit", 10);
    items(spec, "volumeClaimTemplates").for_each(volume::claim_template);
    pod::template(spec, "template");
}

pub(crate) fn daemon_set(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    if let Some(strategy) = map(spec, "updateStrategy") {
        zero(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(update) = map(strategy, "rollingUpdate")
        {
            absent(update, "maxUnavailable", 1);
            absent(update, "maxSurge", 0);
        }
    }
    absent(spec, "revisionHistoryLimit", 10);
    pod::template(spec, "template");
}

pub(crate) fn pod_template(_row: &KindRow, object: &mut Object) {
    pod::template(object.fields_mut(), "template");
}

pub(crate) fn job(_row: &KindRow, object: &mut Object) {
    let labels = object.at(&["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels.filter(serde_json::Value::is_object)
        && object.labels().is_none_or(serde_json::Map::is_empty)
    {
        object.set(&["metadata", "labels"], labels);
    }
    if let Some(spec) = given(object.fields_mut(), "spec") {
        job_spec(spec);
    }
}

fn job_spec(spec: &mut Fields) {
    if !has(spec, "completions") && !has(spec, "parallelism") {
        absent(spec, "completions", 1);
    }
    absent(spec, "parallelism", 1);
    let backoff_limit = if has(spec, "backoffLimitPerIndex") {
        i32::MAX
    } else {
        6
    };
    absent(spec, "backoffLimit", backoff_limit);
    absent(spec, "completionMode", "NonIndexed");
    absent(spec, "suspend", false);
    let replacement = if has(spec, "podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    absent(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = given(spec, "podFailurePolicy") {
        for rule in items(policy, "rules") {
            items(rule, "onPodConditions").for_each(|condition| zero(condition, "status", "True"));
        }
    }
    pod::template(spec, "template");
}

pub(crate) fn cron_job(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    zero(spec, "concurrencyPolicy", "Allow");
    absent(spec, "suspend", false);
    absent(spec, "successfulJobsHistoryLimit", 3);
    absent(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = given(spec, "jobTemplate").and_then(|template| given(template, "spec")) {
        pod::template(job, "template");
    }
}
