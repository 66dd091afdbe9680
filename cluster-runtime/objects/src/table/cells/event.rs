//! Events, under the field names of either of their groups.

use jiff::Timestamp;
use serde_json::Value;

use super::{name, text, text_or};
use crate::Object;
use crate::table::duration;

pub(in crate::table) fn event(object: &Object, now: Timestamp) -> Vec<Value> {
    let field = |core: &str, other: &str| object.fields().get(core).or_else(|| object.fields().get(other));
    let ago = |value: Option<&Value>| duration::since(value, now);
    let given = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|time| !time.is_empty());
    let mut first = field("firstTimestamp", "deprecatedFirstTimestamp");
    if !given(first) {
        first = object.at(&["eventTime"]);
    }
    let mut last = field("lastTimestamp", "deprecatedLastTimestamp");
    if !given(last) {
        last = first;
    }
    let mut count = field("count", "deprecatedCount")
        .and_then(Value::as_i64)
        .unwrap_or_default()
        .max(1);
    if let Some(series) = object.at(&["series"]).filter(|series| series.is_object()) {
        last = series.get("lastObservedTime");
        count = series.get("count").and_then(Value::as_i64).unwrap_or(count);
    }
    let involved = field("involvedObject", "regarding").unwrap_or(&Value::Null);
    let kind = text(involved, "kind").to_lowercase();
    let target = match text(involved, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let message = field("message", "note")
        .and_then(Value::as_str)
        .unwrap_or_default();
    vec![
        ago(last).into(),
        text_or(object, &["type"], "").into(),
        text_or(object, &["reason"], "").into(),
        target.into(),
        text(involved, "fieldPath").into(),
        source(object).into(),
        message.trim().into(),
        ago(first).into(),
        count.into(),
        name(object),
    ]
}

/// Who reports, and from where.
fn source(object: &Object) -> String {
    let reported = |keys: [&str; 2]| {
        let mut values = keys.iter().filter_map(|key| object.fields().get(*key));
        values.find_map(Value::as_str).unwrap_or_default()
    };
    let source = object
        .at(&["source"])
        .or_else(|| object.at(&["deprecatedSource"]))
        .unwrap_or(&Value::Null);
    let component = match text(source, "component") {
        "" => reported(["reportingComponent", "reportingController"]),
        component => component,
    };
    let host = match text(source, "host") {
        "" => reported(["reportingInstance", "reportingInstance"]),
        host => host,
    };
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}
