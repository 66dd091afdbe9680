//! Conditions in the status of an object.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::time;

/// What a condition should say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

/// The condition of a type.
pub(crate) fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// Whether the condition of a type is there and `True`.
pub(crate) fn is_true(conditions: &[Value], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Sets a condition. One with the same status and reason stays as it is; the transition time moves only when the
/// status changes.
pub(crate) fn set(conditions: &mut Vec<Value>, wanted: Condition<'_>, now: Timestamp) {
    if let Some(present) = find(conditions, wanted.kind)
        && present["status"] == wanted.status
        && present["reason"] == wanted.reason
    {
        return;
    }
    replace(conditions, wanted, now);
}

/// Sets a condition and its update time, also where only the message is new.
pub(crate) fn replace(conditions: &mut Vec<Value>, wanted: Condition<'_>, now: Timestamp) {
    let now = time::format(now);
    let since = find(conditions, wanted.kind)
        .filter(|present| present["status"] == wanted.status)
        .and_then(|present| present["lastTransitionTime"].as_str())
        .unwrap_or(&now)
        .to_owned();
    let written = json!({
        "type": wanted.kind, "status": wanted.status, "reason": wanted.reason, "message": wanted.message,
        "lastUpdateTime": now, "lastTransitionTime": since,
    });
    match conditions
        .iter_mut()
        .find(|condition| condition["type"] == wanted.kind)
    {
        Some(present) => *present = written,
        None => conditions.push(written),
    }
}

/// Sets a condition of a type that carries no update time.
pub(crate) fn set_plain(conditions: &mut Vec<Value>, wanted: Condition<'_>, now: Timestamp) {
    if let Some(present) = find(conditions, wanted.kind)
        && present["status"] == wanted.status
        && present["reason"] == wanted.reason
        && present["message"] == wanted.message
    {
        return;
    }
    replace(conditions, wanted, now);
    let written = conditions
        .iter_mut()
        .find(|condition| condition["type"] == wanted.kind);
    if let Some(Value::Object(written)) = written {
        written.remove("lastUpdateTime");
    }
}

/// Removes the condition of a type.
pub(crate) fn remove(conditions: &mut Vec<Value>, kind: &str) {
    conditions.retain(|condition| condition["type"] != kind);
}
