//! Nodes.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, UNKNOWN, age, condition, flag, joined, name, text, text_or};
use crate::Object;

pub(in crate::table) fn node(object: &Object, now: Timestamp) -> Vec<Value> {
    let info = |key: &str, otherwise: &'static str| {
        Value::from(text_or(object, &["status", "nodeInfo", key], otherwise))
    };
    vec![
        name(object),
        status(object).into(),
        roles(object).into(),
        age(object, now),
        info("kubeletVersion", ""),
        address(object, "InternalIP").into(),
        address(object, "ExternalIP").into(),
        info("osImage", UNKNOWN),
        info("kernelVersion", UNKNOWN),
        info("containerRuntimeVersion", UNKNOWN),
    ]
}

fn status(object: &Object) -> String {
    let ready = match condition(object, "Ready").map(|ready| text(ready, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if flag(object.at(&["spec", "unschedulable"])) {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(object: &Object) -> String {
    let labels = object.labels().into_iter().flatten();
    let mut roles: Vec<String> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role.to_owned()).filter(|role| !role.is_empty()),
                None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
                None => None,
            },
        )
        .collect();
    roles.sort();
    roles.dedup();
    joined(&roles, ",")
}

fn address<'a>(object: &'a Object, kind: &str) -> &'a str {
    let addresses = object.list(&["status", "addresses"]);
    let found = addresses.iter().find(|address| text(address, "type") == kind);
    found.map_or(NONE, |address| text(address, "address"))
}
