//! Chart values as JSON and back: records and objects are JSON.

use chart_values::Value;
use serde_json::Value as Json;

/// Largest whole number up to which floats are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value as JSON; whole floats become integers, as Go writes them.
pub fn from_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => (*number).into(),
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within i64")]
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => (*number as i64).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(from_value).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), from_value(value)))
            .collect(),
    }
}

/// JSON as a value; every number becomes a float, as Helm reads records.
pub fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(to_value).collect()),
        Json::Object(map) => Value::Map(to_map(map)),
    }
}

/// A JSON map as values.
pub fn to_map(map: &serde_json::Map<String, Json>) -> chart_values::Map {
    map.iter()
        .map(|(key, value)| (key.clone(), to_value(value)))
        .collect()
}

/// Values as a JSON map.
pub fn from_map(map: &chart_values::Map) -> serde_json::Map<String, Json> {
    map.iter()
        .map(|(key, value)| (key.clone(), from_value(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_floats_are_integers() {
        let value = chart_values::yaml::from_yaml("a: 1\nb: 0.5\nc: [1e3]\nd: 1099511627776\n").unwrap();
        let expected = json!({"a": 1, "b": 0.5, "c": [1000], "d": 1_099_511_627_776_u64});
        assert_eq!(from_value(&value), expected);
        assert_eq!(to_value(&expected), value);
    }
}
