//! Deployments, replica sets and their like.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, age, containers, count, labels, name, selector};
use crate::Object;

const TEMPLATE: [&str; 4] = ["spec", "template", "spec", "containers"];

pub(in crate::table) fn deployment(object: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, &TEMPLATE);
    vec![
        name(object),
        ready_of_wanted(object).into(),
        count(object, &["status", "updatedReplicas"]),
        count(object, &["status", "availableReplicas"]),
        age(object, now),
        names,
        images,
        selector(object.at(&["spec", "selector"])).into(),
    ]
}

fn ready_of_wanted(object: &Object) -> String {
    let ready = object.integer(&["status", "readyReplicas"]).unwrap_or_default();
    let wanted = object.integer(&["spec", "replicas"]).unwrap_or_default();
    format!("{ready}/{wanted}")
}

pub(in crate::table) fn replica_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, &TEMPLATE);
    vec![
        name(object),
        count(object, &["spec", "replicas"]),
        count(object, &["status", "replicas"]),
        count(object, &["status", "readyReplicas"]),
        age(object, now),
        names,
        images,
        selector(object.at(&["spec", "selector"])).into(),
    ]
}

pub(in crate::table) fn stateful_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, &TEMPLATE);
    vec![
        name(object),
        ready_of_wanted(object).into(),
        age(object, now),
        names,
        images,
    ]
}

pub(in crate::table) fn daemon_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, &TEMPLATE);
    vec![
        name(object),
        count(object, &["status", "desiredNumberScheduled"]),
        count(object, &["status", "currentNumberScheduled"]),
        count(object, &["status", "numberReady"]),
        count(object, &["status", "updatedNumberScheduled"]),
        count(object, &["status", "numberAvailable"]),
        labels(object.at(&["spec", "template", "spec", "nodeSelector"])).into(),
        age(object, now),
        names,
        images,
        selector(object.at(&["spec", "selector"])).into(),
    ]
}

pub(in crate::table) fn controller_revision(object: &Object, now: Timestamp) -> Vec<Value> {
    let owner = object.controller().map(|owner| {
        let kind = owner.kind.to_lowercase();
        match owner.api_version.split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
            None => format!("{kind}/{}", owner.name),
        }
    });
    vec![
        name(object),
        owner.unwrap_or_else(|| NONE.to_owned()).into(),
        count(object, &["revision"]),
        age(object, now),
    ]
}

pub(in crate::table) fn pod_template(object: &Object) -> Vec<Value> {
    let [names, images] = containers(object, &["template", "spec", "containers"]);
    vec![
        name(object),
        names,
        images,
        labels(object.at(&["template", "metadata", "labels"])).into(),
    ]
}
