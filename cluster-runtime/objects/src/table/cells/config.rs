//! Namespaces, config maps, secrets, service accounts, quotas.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{age, name, plain, text_or};
use crate::Object;

pub(in crate::table) fn namespace(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text_or(object, &["status", "phase"], "").into(),
        age(object, now),
    ]
}

fn entries(object: &Object, key: &str) -> usize {
    object
        .fields()
        .get(key)
        .and_then(Value::as_object)
        .map_or(0, Map::len)
}

pub(in crate::table) fn config_map(object: &Object, now: Timestamp) -> Vec<Value> {
    let data = entries(object, "data") + entries(object, "binaryData");
    vec![name(object), data.into(), age(object, now)]
}

pub(in crate::table) fn secret(object: &Object, now: Timestamp) -> Vec<Value> {
    let kind = text_or(object, &["type"], "");
    vec![
        name(object),
        kind.into(),
        entries(object, "data").into(),
        age(object, now),
    ]
}

pub(in crate::table) fn service_account(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        object.list(&["secrets"]).len().into(),
        age(object, now),
    ]
}

pub(in crate::table) fn resource_quota(object: &Object, now: Timestamp) -> Vec<Value> {
    let mut requests = Vec::new();
    let mut limits = Vec::new();
    let hard = object.at(&["status", "hard"]).and_then(Value::as_object);
    for (resource, most) in hard.into_iter().flatten() {
        let used = object
            .at(&["status", "used", resource])
            .map_or_else(|| "0".to_owned(), plain);
        let text = format!("{resource}: {used}/{}", plain(most));
        if resource.starts_with("limits.") {
            limits.push(text);
        } else {
            requests.push(text);
        }
    }
    vec![
        name(object),
        requests.join(", ").into(),
        limits.join(", ").into(),
        age(object, now),
    ]
}
