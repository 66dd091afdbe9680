//! Values of charts made into values of templates, and back.

use std::rc::Rc;

use super::{Contents, List, Map, Text, Value};

impl From<&chart_values::Value> for Value {
    fn from(value: &chart_values::Value) -> Self {
        match value {
            chart_values::Value::Null => Value::Nil,
            chart_values::Value::Bool(flag) => Value::Bool(*flag),
            chart_values::Value::Int(number) => Value::int64(*number),
            chart_values::Value::Float(number) => Value::Float(*number),
            chart_values::Value::String(text) => Value::from(text.as_str()),
            chart_values::Value::List(items) => {
                Value::List(Rc::new(List::new(items.iter().map(Value::from).collect())))
            }
            chart_values::Value::Map(map) => Value::from(map),
        }
    }
}

impl From<&chart_values::Map> for Value {
    fn from(map: &chart_values::Map) -> Self {
        let entries = map
            .iter()
            .map(|(key, value)| (Text::from(key.as_str()), Value::from(value)));
        Value::Map(Rc::new(Map::new(entries.collect())))
    }
}

impl Value {
    /// The value as plain data; integers of any width become one, objects export themselves.
    ///
    /// The caller has made sure that the value is not endless.
    pub fn to_plain(&self) -> chart_values::Value {
        match self {
            Value::Invalid | Value::Nil => chart_values::Value::Null,
            Value::Bool(flag) => chart_values::Value::Bool(*flag),
            Value::Int(number, _) => chart_values::Value::Int(*number),
            Value::Float(number) => chart_values::Value::Float(*number),
            Value::String(text) => chart_values::Value::String(text.to_str().into_owned()),
            Value::Bytes(bytes) => chart_values::Value::String(crate::functions::base64(bytes)),
            Value::List(list) => {
                chart_values::Value::List(list.items().iter().map(Value::to_plain).collect())
            }
            Value::Map(map) => chart_values::Value::Map(
                map.entries()
                    .iter()
                    .map(|(key, value)| (key.to_str().into_owned(), value.to_plain()))
                    .collect(),
            ),
            Value::Object(object) => match object.contents() {
                Some(Contents::Items(items)) => {
                    chart_values::Value::List(items.iter().map(Value::to_plain).collect())
                }
                Some(Contents::Entries(entries)) => chart_values::Value::Map(
                    entries
                        .iter()
                        .map(|(key, value)| (key.to_str().into_owned(), value.to_plain()))
                        .collect(),
                ),
                None => match object.export() {
                    Value::Object(_) => chart_values::Value::Null,
                    plain => plain.to_plain(),
                },
            },
        }
    }
}
