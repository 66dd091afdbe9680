//! What the tables show of an object, as Kubernetes' printers compute it.

pub(super) mod autoscaling;
pub(super) mod batch;
pub(super) mod config;
pub(super) mod event;
pub(super) mod network;
pub(super) mod node;
pub(super) mod platform;
pub(super) mod pod;
pub(super) mod storage;
pub(super) mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration::{self, UNKNOWN};
use crate::Object;
use crate::selector::LabelSelector;

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";

pub(super) fn name_and_age(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

pub(super) fn created_at(object: &Object) -> Vec<Value> {
    let created = duration::parse(object.at(&["metadata", "creationTimestamp"]));
    let created = created.map_or_else(
        || UNKNOWN.to_owned(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    );
    vec![name(object), created.into()]
}

/// The conditions of a row: a pod that ended tells so, and `kubectl` can leave it out.
pub(super) fn row_conditions(object: &Object) -> Option<Value> {
    if object.kind() != "Pod" {
        return None;
    }
    let (reason, message) = match object.text(&["status", "phase"])? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn name(object: &Object) -> Value {
    object.name().into()
}

fn age(object: &Object, now: Timestamp) -> Value {
    duration::since(object.at(&["metadata", "creationTimestamp"]), now).into()
}

/// A text, or what stands for an absent or empty one.
fn text_or<'a>(object: &'a Object, path: &[&str], otherwise: &'a str) -> &'a str {
    object
        .text(path)
        .filter(|text| !text.is_empty())
        .unwrap_or(otherwise)
}

/// A count, 0 where absent.
fn count(object: &Object, path: &[&str]) -> Value {
    object.integer(path).unwrap_or_default().into()
}

fn flag(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool).unwrap_or_default()
}

/// The text of a field of a JSON value, empty where absent.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A text or number as it prints.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A list as text, `<none>` when empty.
fn joined(items: &[String], separator: &str) -> String {
    if items.is_empty() {
        NONE.to_owned()
    } else {
        items.join(separator)
    }
}

/// The first items of a list, and how many there are more.
fn first_of(items: &[String], shown: usize) -> String {
    let list = items
        .iter()
        .take(shown)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    match items.len().saturating_sub(shown) {
        0 => list,
        more => format!("{list} + {more} more..."),
    }
}

/// A map of labels as `a=b,c=d`.
fn labels(value: Option<&Value>) -> String {
    let pairs: Vec<String> = value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    joined(&pairs, ",")
}

/// A label selector as text.
fn selector(value: Option<&Value>) -> String {
    let parsed = value.map(LabelSelector::from_value);
    match parsed {
        Some(Ok(selector)) if !selector.requirements().is_empty() => selector.to_string(),
        Some(Err(_)) => "<error>".to_owned(),
        _ => NONE.to_owned(),
    }
}

/// Names and images of the containers of a pod template.
fn containers(object: &Object, path: &[&str]) -> [Value; 2] {
    let all = |key: &str| {
        let items = object.list(path).iter();
        items
            .map(|container| text(container, key))
            .collect::<Vec<_>>()
            .join(",")
    };
    [all("name").into(), all("image").into()]
}

/// The condition of a type in `status.conditions`.
fn condition<'a>(object: &'a Object, kind: &str) -> Option<&'a Value> {
    object
        .list(&["status", "conditions"])
        .iter()
        .find(|condition| text(condition, "type") == kind)
}

/// Whether the condition of a type is true.
fn is_true(object: &Object, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "status") == "True")
}
