//! `.Values`, and the dot itself, which Go knows by the same type.

use std::rc::Rc;

use chart_template::{Fault, Map, MapType, NamedMap, Signature, Text, Type, Value};
use chart_values::coalesce::GLOBAL;

/// Helm's `common.Values`: a map with methods.
static VALUES: NamedMap = NamedMap {
    name: "common.Values",
    method,
    call,
};

/// Makes a map of Helm's own map type.
pub(crate) fn values_map(entries: impl IntoIterator<Item = (Text, Value)>) -> Value {
    Value::typed_map(MapType::Named(&VALUES), entries)
}

/// The values of a subchart: the part of its parent's that its name leads to. Changes show in both, also in what the
/// tables in globals hold, which Helm does not copy.
///
/// Points in a name lead through tables, as in Helm.
pub(crate) fn subchart_values(parent: &Value, name: &str) -> Value {
    let found = name
        .split('.')
        .try_fold(parent.clone(), |value, part| match value {
            Value::Map(map) => map.get(part),
            _ => None,
        });
    match found {
        Some(values @ Value::Map(_)) => {
            share_globals(parent, &values);
            values
        }
        _ => values_map([]),
    }
}

fn share_globals(parent: &Value, subchart: &Value) {
    let globals = |values: &Value| values.get(GLOBAL)?.as_map().cloned();
    let (Some(parent), Some(subchart)) = (globals(parent), globals(subchart)) else {
        return;
    };
    for (key, value) in parent.to_vec() {
        match (value, subchart.get(&key)) {
            (list @ Value::List(_), Some(Value::List(_))) => subchart.set(key, list),
            (Value::Map(table), Some(Value::Map(own))) => {
                for (key, value) in table.to_vec() {
                    if let (Value::Map(_), Some(Value::Map(_))) | (Value::List(_), Some(Value::List(_))) =
                        (&value, own.get(&key))
                    {
                        own.set(key, value);
                    }
                }
            }
            _ => {}
        }
    }
}

fn method(name: &str) -> Option<Signature> {
    match name {
        "AsMap" | "YAML" => Some(Signature::new(&[])),
        "Table" | "PathValue" => Some(Signature::new(&[Type::String])),
        _ => None,
    }
}

fn call(map: &Rc<Map>, name: &str, args: &[Value]) -> Result<Value, Fault> {
    let path = args
        .first()
        .and_then(Value::as_text)
        .map(|text| text.to_str().into_owned())
        .unwrap_or_default();
    match name {
        "AsMap" => Ok(Value::map(map.to_vec())),
        "YAML" => {
            let plain = Value::Map(Rc::clone(map)).to_plain();
            let text = chart_values::yaml::to_yaml(&plain).map_err(|error| Fault::new(error.to_string()))?;
            Ok(Value::from(text + "\n"))
        }
        "Table" => match at(map, &path) {
            Some(Value::Map(table)) => Ok(values_map(table.to_vec())),
            _ => Err(Fault::new(format!(
                "{} is not a table",
                chart_values::number::go_quote(&path)
            ))),
        },
        _ => match at(map, &path) {
            Some(Value::Map(_)) | None => {
                let last = path.rsplit('.').next().unwrap_or_default();
                Err(Fault::new(format!(
                    "{} is not a value",
                    chart_values::number::go_quote(last)
                )))
            }
            Some(value) => Ok(value),
        },
    }
}

fn at(map: &Rc<Map>, path: &str) -> Option<Value> {
    path.split('.')
        .try_fold(Value::Map(Rc::clone(map)), |value, part| {
            value.as_map()?.get(part)
        })
}
