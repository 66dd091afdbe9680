//! Access, admission, scheduling classes and the API itself.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, UNKNOWN, UNSET, age, condition, count, flag, is_true, name, plain, text, text_or};
use crate::Object;
use crate::table::duration;

pub(in crate::table) fn role_binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let role = object.at(&["roleRef"]).unwrap_or(&Value::Null);
    let subjects = |kind: &str| {
        let found = object
            .list(&["subjects"])
            .iter()
            .filter(|subject| text(subject, "kind") == kind);
        let named = found.map(|subject| match text(subject, "namespace") {
            namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(subject, "name")),
            _ => text(subject, "name").to_owned(),
        });
        Value::from(named.collect::<Vec<_>>().join(", "))
    };
    vec![
        name(object),
        format!("{}/{}", text(role, "kind"), text(role, "name")).into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub(in crate::table) fn certificate_signing_request(object: &Object, now: Timestamp) -> Vec<Value> {
    let seconds = object.integer(&["spec", "expirationSeconds"]);
    let mut state = if is_true(object, "Denied") {
        "Denied"
    } else if is_true(object, "Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if is_true(object, "Failed") {
        state.push_str(",Failed");
    }
    if object
        .text(&["status", "certificate"])
        .is_some_and(|certificate| !certificate.is_empty())
    {
        state.push_str(",Issued");
    }
    vec![
        name(object),
        age(object, now),
        text_or(object, &["spec", "signerName"], NONE).into(),
        text_or(object, &["spec", "username"], "").into(),
        seconds.map_or_else(|| NONE.to_owned(), duration::human).into(),
        state.into(),
    ]
}

pub(in crate::table) fn webhook_configuration(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        object.list(&["webhooks"]).len().into(),
        age(object, now),
    ]
}

pub(in crate::table) fn admission_policy(object: &Object, now: Timestamp) -> Vec<Value> {
    let kind = object.at(&["spec", "paramKind"]).filter(|kind| kind.is_object());
    let kind = kind.map(|kind| format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")));
    vec![
        name(object),
        object.list(&["spec", "validations"]).len().into(),
        kind.unwrap_or_else(|| UNSET.to_owned()).into(),
        age(object, now),
    ]
}

pub(in crate::table) fn admission_policy_binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let reference = object
        .at(&["spec", "paramRef"])
        .filter(|reference| reference.is_object());
    let reference = reference.map(|reference| match text(reference, "namespace") {
        "" => text(reference, "name").to_owned(),
        namespace => format!("{namespace}/{}", text(reference, "name")),
    });
    vec![
        name(object),
        text_or(object, &["spec", "policyName"], "").into(),
        reference.unwrap_or_else(|| UNSET.to_owned()).into(),
        age(object, now),
    ]
}

pub(in crate::table) fn lease(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text_or(object, &["spec", "holderIdentity"], "").into(),
        age(object, now),
    ]
}

pub(in crate::table) fn priority_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        count(object, &["value"]),
        flag(object.at(&["globalDefault"])).into(),
        age(object, now),
        text_or(object, &["preemptionPolicy"], "").into(),
    ]
}

pub(in crate::table) fn runtime_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text_or(object, &["handler"], "").into(),
        age(object, now),
    ]
}

pub(in crate::table) fn api_service(object: &Object, now: Timestamp) -> Vec<Value> {
    let service = object
        .at(&["spec", "service"])
        .filter(|service| service.is_object());
    let service = service.map(|service| format!("{}/{}", text(service, "namespace"), text(service, "name")));
    let available = match condition(object, "Available") {
        Some(condition) if text(condition, "status") == "True" => "True".to_owned(),
        Some(condition) => format!("{} ({})", text(condition, "status"), text(condition, "reason")),
        None => UNKNOWN.to_owned(),
    };
    vec![
        name(object),
        service.unwrap_or_else(|| "Local".to_owned()).into(),
        available.into(),
        age(object, now),
    ]
}

pub(in crate::table) fn flow_schema(object: &Object, now: Timestamp) -> Vec<Value> {
    let dangling = condition(object, "Dangling").map_or("?", |condition| text(condition, "status"));
    vec![
        name(object),
        text_or(object, &["spec", "priorityLevelConfiguration", "name"], NONE).into(),
        count(object, &["spec", "matchingPrecedence"]),
        text_or(object, &["spec", "distinguisherMethod", "type"], NONE).into(),
        age(object, now),
        dangling.into(),
    ]
}

pub(in crate::table) fn priority_level(object: &Object, now: Timestamp) -> Vec<Value> {
    let limited = |path: &[&str]| {
        let value = object.at(&[&["spec", "limited"], path].concat());
        Value::from(value.map_or_else(|| NONE.to_owned(), plain))
    };
    let queuing = |key| limited(&["limitResponse", "queuing", key]);
    vec![
        name(object),
        text_or(object, &["spec", "type"], "").into(),
        limited(&["nominalConcurrencyShares"]),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        age(object, now),
    ]
}
