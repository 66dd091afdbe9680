//! The body of a request as a value.

use std::fmt;

use cluster_objects::{Object, Status, StatusReason};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::protobuf::{self, DecodeError};
use crate::engine::Body;

/// The media type of a `Content-Type`, without its parameters.
pub(crate) fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Reads an object in JSON, YAML or protobuf; 415 for other types, and for kinds without a protobuf form.
pub(crate) fn object(content_type: &str, bytes: &[u8]) -> Result<Body, Status> {
    let (value, duplicates) = value(content_type, bytes)?;
    let object = Object::from_value(value).map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(Body { object, duplicates })
}

/// Reads a value in JSON, YAML or protobuf, and the paths of fields that stood twice in it.
pub(crate) fn value(content_type: &str, bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    match media_type(content_type) {
        "" | "application/json" => json(bytes),
        "application/yaml" | "application/apply-patch+yaml" => {
            // What applies configurations mostly sends JSON, which reads much faster than YAML.
            if bytes.trim_ascii_start().first() == Some(&b'{')
                && let Ok(read) = json(bytes)
            {
                return Ok(read);
            }
            yaml(bytes)
        }
        protobuf::MEDIA_TYPE => match protobuf::object(bytes) {
            Ok(value) => Ok((value, Vec::new())),
            Err(error @ DecodeError::Kind { .. }) => Err(unsupported(&error.to_string())),
            Err(error) => Err(Status::bad_request(error.to_string())),
        },
        _ => Err(unsupported("the body of the request was in an unknown format")),
    }
}

fn unsupported(why: &str) -> Status {
    let message = format!(
        "{why} - accepted media types include: application/json, application/yaml, {}",
        protobuf::MEDIA_TYPE
    );
    Status::new(415, StatusReason::UnsupportedMediaType, message)
}

/// Reads JSON; nesting deeper than 128 is refused.
pub(crate) fn json(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let mut walk = Walk::default();
    let mut decoder = serde_json::Deserializer::from_slice(bytes);
    let read = Seed(&mut walk).deserialize(&mut decoder);
    let value = read.and_then(|value| decoder.end().map(|()| value));
    match value {
        Ok(value) => Ok((value, walk.duplicates)),
        Err(error) => Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type JSON or YAML): {error}"
        ))),
    }
}

fn yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let mut walk = Walk::default();
    let read = Seed(&mut walk).deserialize(serde_yaml::Deserializer::from_slice(bytes));
    match read {
        Ok(value) => Ok((value, walk.duplicates)),
        Err(error) => Err(Status::bad_request(format!("error decoding YAML: {error}"))),
    }
}

/// Where the reading is, and what was found.
#[derive(Default)]
struct Walk {
    path: String,
    duplicates: Vec<String>,
}

/// Reads any value; of a field that stands twice the last one counts, and its path is kept.
struct Seed<'a>(&'a mut Walk);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that JSON does not have"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or_default().min(1024));
        let length = self.0.path.len();
        loop {
            self.0.path.push_str(&format!("[{}]", list.len()));
            let item = items.next_element_seed(Seed(self.0));
            self.0.path.truncate(length);
            match item? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let length = self.0.path.len();
        while let Some(key) = entries.next_key::<String>()? {
            if length > 0 {
                self.0.path.push('.');
            }
            self.0.path.push_str(&key);
            if map.contains_key(&key) {
                let path = self.0.path.clone();
                self.0.duplicates.push(path);
            }
            let value = entries.next_value_seed(Seed(self.0));
            self.0.path.truncate(length);
            map.insert(key, value?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_read_the_same() {
        let expected = json!({"a": {"b": [1, -2, 2.5, true, null, "x"]}, "1": "one"});
        let text = expected.to_string();
        assert_eq!(
            value("application/json; charset=utf-8", text.as_bytes())
                .unwrap()
                .0,
            expected
        );
        let text = "a:\n  b: [1, -2, 2.5, true, null, x]\n1: one\n";
        assert_eq!(value("application/yaml", text.as_bytes()).unwrap().0, expected);
    }

    #[test]
    fn fields_that_stand_twice_are_named() {
        let text = r#"{"spec": {"replicas": 1, "list": [{"a": 1, "a": 2}], "replicas": 2}}"#;
        let (read, duplicates) = json(text.as_bytes()).unwrap();
        assert_eq!(read["spec"]["replicas"], 2);
        assert_eq!(duplicates, ["spec.list[0].a", "spec.replicas"]);
        let text = "spec:\n  replicas: 1\n  replicas: 2\n";
        assert_eq!(yaml(text.as_bytes()).unwrap().1, ["spec.replicas"]);
    }

    #[test]
    fn err_what_cannot_be_read_is_refused() {
        assert_eq!(
            value("application/vnd.kubernetes.protobuf", b"k8s\0")
                .unwrap_err()
                .code,
            415
        );
        let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
        for text in ["", "{", "{} {}", deep.as_str()] {
            assert_eq!(
                value("application/json", text.as_bytes()).unwrap_err().code,
                400,
                "{text}"
            );
        }
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n\
                    f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert_eq!(value("application/yaml", bomb.as_bytes()).unwrap_err().code, 400);
        assert_eq!(object("application/json", b"[1]").unwrap_err().code, 400);
    }
}
