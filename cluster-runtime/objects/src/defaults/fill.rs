//! Filling in single fields of JSON maps.

use serde_json::{Map, Value};

pub(super) type Fields = Map<String, Value>;

/// Sets a field that is absent or `null`: the rule of fields that are pointers in Go.
pub(super) fn absent(fields: &mut Fields, key: &str, value: impl Into<Value>) {
    if fields.get(key).is_none_or(Value::is_null) {
        fields.insert(key.to_owned(), value.into());
    }
}

/// Sets a field that is absent, `null`, an empty text or 0: the rule of plain fields in Go.
pub(super) fn zero(fields: &mut Fields, key: &str, value: impl Into<Value>) {
    let open = match fields.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if open {
        fields.insert(key.to_owned(), value.into());
    }
}

/// A map field, made where absent; `None` when something else stands there.
pub(super) fn map<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    absent(fields, key, Fields::new());
    fields.get_mut(key)?.as_object_mut()
}

/// A map field that is there.
pub(super) fn given<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    fields.get_mut(key)?.as_object_mut()
}

/// The maps in a list field.
pub(super) fn items<'a>(fields: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    let list = fields.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// A text field, empty where absent.
pub(super) fn text<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a field is there and not `null`.
pub(super) fn has(fields: &Fields, key: &str) -> bool {
    fields.get(key).is_some_and(|value| !value.is_null())
}
