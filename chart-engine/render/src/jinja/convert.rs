//! Values between charts, Go templates and Jinja.

use std::collections::BTreeMap;

use chart_template::{Contents, Value as GoValue};
use minijinja::value::{Value, ValueKind};

use super::is_missing;

/// A table of Jinja.
pub(super) fn table<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    let entries: BTreeMap<String, Value> = entries
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect();
    Value::from(entries)
}

/// A value of a chart for Jinja. Whole numbers become integers: Jinja prints `80.0` as it is.
pub(super) fn to_jinja(value: &chart_values::Value) -> Value {
    match value {
        chart_values::Value::Null => Value::from(()),
        chart_values::Value::Bool(flag) => Value::from(*flag),
        chart_values::Value::Int(number) => Value::from(*number),
        chart_values::Value::Float(number) => number_to_jinja(*number),
        chart_values::Value::String(text) => Value::from(text.as_str()),
        chart_values::Value::List(items) => items.iter().map(to_jinja).collect(),
        chart_values::Value::Map(map) => map_to_jinja(map),
    }
}

/// A table of a chart for Jinja.
pub(super) fn map_to_jinja(map: &chart_values::Map) -> Value {
    table(map.iter().map(|(key, value)| (key.as_str(), to_jinja(value))))
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn number_to_jinja(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// What a Go function gives, for Jinja.
pub(super) fn go_to_jinja(value: &GoValue) -> Value {
    match value {
        GoValue::Invalid | GoValue::Nil => Value::from(()),
        GoValue::Bool(flag) => Value::from(*flag),
        GoValue::Int(number, _) => Value::from(*number),
        GoValue::Float(number) => number_to_jinja(*number),
        GoValue::String(text) => Value::from(text.to_str().into_owned()),
        GoValue::Bytes(bytes) => Value::from_bytes(bytes.to_vec()),
        GoValue::List(list) => list.items().iter().map(go_to_jinja).collect(),
        GoValue::Map(map) => table(
            map.to_vec()
                .iter()
                .map(|(key, value)| (key.to_str().into_owned(), go_to_jinja(value))),
        ),
        GoValue::Object(object) => match object.contents() {
            Some(Contents::Items(items)) => items.iter().map(go_to_jinja).collect(),
            Some(Contents::Entries(entries)) => table(
                entries
                    .iter()
                    .map(|(key, value)| (key.to_str().into_owned(), go_to_jinja(value))),
            ),
            None => Value::from(object.print().into_owned()),
        },
    }
}

/// An argument from Jinja for a Go function.
pub(super) fn jinja_to_go(value: &Value) -> GoValue {
    if is_missing(value) {
        return GoValue::Invalid;
    }
    match value.kind() {
        ValueKind::Bool => GoValue::Bool(value.is_true()),
        ValueKind::Number => match i64::try_from(value.clone()) {
            Ok(number) if value.is_integer() => GoValue::int(number),
            _ => f64::try_from(value.clone()).map_or(GoValue::Invalid, GoValue::Float),
        },
        ValueKind::String => GoValue::from(value.as_str().unwrap_or_default()),
        ValueKind::Bytes => GoValue::from(value.as_bytes().unwrap_or_default().to_vec()),
        ValueKind::Seq | ValueKind::Iterable => GoValue::list(
            value
                .try_iter()
                .into_iter()
                .flatten()
                .map(|item| jinja_to_go(&item))
                .collect(),
        ),
        ValueKind::Map => {
            let keys = value.try_iter().into_iter().flatten();
            GoValue::map(keys.map(|key| {
                let item = value.get_item(&key).unwrap_or_default();
                (key.to_string().into(), jinja_to_go(&item))
            }))
        }
        _ => GoValue::from(value.to_string()),
    }
}
