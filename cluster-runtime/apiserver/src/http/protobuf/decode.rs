//! Protobuf to the JSON that the same client would have sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::messages::{Count, Field, Holds, fields};
use super::wire::{Fields, Wire};

/// What every protobuf body of Kubernetes starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages.
const DEPTH_MAX: usize = 64;

/// Why bytes are no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum DecodeError {
    #[error("the body does not start as protobuf of Kubernetes does")]
    Magic,
    #[error("the protobuf breaks off")]
    Truncated,
    #[error("the protobuf has a field of the unknown wire type {0}")]
    WireType(u64),
    #[error("no protobuf form of {kind} in {api_version:?} is known here")]
    Kind { api_version: String, kind: String },
    #[error("the field {0:?} holds something else than the API says")]
    Field(String),
    #[error("messages are nested too deeply")]
    Depth,
}

/// Reads an object with its envelope, which names its type.
pub(in super::super) fn object(bytes: &[u8]) -> Result<Value, DecodeError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::new(body) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Fields::new(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = text_of(text, "apiVersion")?,
                        (2, Wire::Bytes(text)) => kind = text_of(text, "kind")?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let Some(fields) = fields(&name) else {
        return Err(DecodeError::Kind { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    message(fields, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

/// `apps/v1` and `Deployment` are `apps/v1.Deployment`; of a longer group only the first part counts. The options
/// of deletions are sent in the version of whatever is deleted.
fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta/v1.DeleteOptions".to_owned();
    }
    match api_version.split_once('/') {
        Some((group, version)) => {
            let group = group.split('.').next().unwrap_or_default();
            format!("{group}/{version}.{kind}")
        }
        None => format!("core/{api_version}.{kind}"),
    }
}

/// Reads the fields of a message into an object.
fn message(
    fields: &[Field],
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::Depth);
    }
    for read in Fields::new(bytes) {
        let (number, wire) = read?;
        // Fields of later versions are left out, as every protobuf reader does.
        let Ok(at) = fields.binary_search_by_key(&number, |field| field.number) else {
            continue;
        };
        let field = &fields[at];
        let Some(name) = field.name else {
            let (Holds::Message(inner), Wire::Bytes(bytes)) = (field.holds, wire) else {
                return Err(DecodeError::Field(number.to_string()));
            };
            message(known(inner)?, bytes, object, depth + 1)?;
            continue;
        };
        match field.count {
            Count::One => {
                let value = value(field.holds, wire, name, depth)?;
                if field.keeps_zero || !is_zero(&value) {
                    object.insert(name.to_owned(), value);
                }
            }
            Count::List => {
                let value = value(field.holds, wire, name, depth)?;
                let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut()
                    .ok_or_else(|| DecodeError::Field(name.to_owned()))?
                    .push(value);
            }
            Count::Map => {
                let (key, value) = entry(field.holds, wire, name, depth)?;
                let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
                map.as_object_mut()
                    .ok_or_else(|| DecodeError::Field(name.to_owned()))?
                    .insert(key, value);
            }
        }
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static [Field], DecodeError> {
    fields(name).ok_or_else(|| DecodeError::Field(name.to_owned()))
}

/// Whether a value is what Go has where nothing was set, and leaves out of JSON.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn entry(holds: Holds, wire: Wire<'_>, name: &str, depth: usize) -> Result<(String, Value), DecodeError> {
    let Wire::Bytes(bytes) = wire else {
        return Err(DecodeError::Field(name.to_owned()));
    };
    let (mut key, mut found) = (String::new(), None);
    for field in Fields::new(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = text_of(text, name)?,
            (2, wire) => found = Some(value(holds, wire, name, depth)?),
            _ => {}
        }
    }
    // An absent value is the empty one.
    let found = match (found, holds) {
        (Some(found), _) => found,
        (None, Holds::Text | Holds::Bytes) => Value::String(String::new()),
        (None, _) => value(holds, Wire::Bytes(&[]), name, depth)?,
    };
    Ok((key, found))
}

fn value(holds: Holds, wire: Wire<'_>, name: &str, depth: usize) -> Result<Value, DecodeError> {
    let wrong = || DecodeError::Field(name.to_owned());
    Ok(match (holds, wire) {
        (Holds::Integer, Wire::Varint(number)) => number.cast_signed().into(),
        (Holds::Boolean, Wire::Varint(number)) => (number != 0).into(),
        (Holds::Double, Wire::Fixed64(bits)) => Number::from_f64(f64::from_bits(bits))
            .map(Value::Number)
            .ok_or_else(wrong)?,
        (Holds::Text, Wire::Bytes(bytes)) => text_of(bytes, name)?.into(),
        (Holds::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Holds::Message(inner), Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            message(known(inner)?, bytes, &mut object, depth + 1)?;
            object.into()
        }
        (Holds::Time, Wire::Bytes(bytes)) => time(bytes, 0).ok_or_else(wrong)?,
        (Holds::MicroTime, Wire::Bytes(bytes)) => time(bytes, 6).ok_or_else(wrong)?,
        (Holds::Quantity, Wire::Bytes(bytes)) => {
            let mut text = Value::String(String::new());
            for field in Fields::new(bytes) {
                if let (1, Wire::Bytes(bytes)) = field? {
                    text = text_of(bytes, name)?.into();
                }
            }
            text
        }
        (Holds::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes, name)?,
        (Holds::Json, Wire::Bytes(bytes)) => {
            let mut found = Value::Null;
            for field in Fields::new(bytes) {
                if let (1, Wire::Bytes(raw)) = field? {
                    found = raw_value(raw, name, depth)?;
                }
            }
            found
        }
        (Holds::Texts, Wire::Bytes(bytes)) => {
            let mut texts = Vec::new();
            for field in Fields::new(bytes) {
                if let (1, Wire::Bytes(bytes)) = field? {
                    texts.push(Value::String(text_of(bytes, name)?));
                }
            }
            texts.into()
        }
        _ => return Err(wrong()),
    })
}

/// What stands where any object may: JSON, or protobuf with an envelope of its own.
fn raw_value(raw: &[u8], name: &str, depth: usize) -> Result<Value, DecodeError> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(MAGIC) && depth < DEPTH_MAX {
        return object(raw);
    }
    serde_json::from_slice(raw).map_err(|_| DecodeError::Field(name.to_owned()))
}

fn text_of(bytes: &[u8], name: &str) -> Result<String, DecodeError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| DecodeError::Field(name.to_owned()))
}

/// Seconds and nanoseconds as RFC 3339 text; an empty message is no time.
fn time(bytes: &[u8], digits: u8) -> Option<Value> {
    if bytes.is_empty() {
        return Some(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in Fields::new(bytes) {
        match field.ok()? {
            (1, Wire::Varint(number)) => seconds = number.cast_signed(),
            (2, Wire::Varint(number)) => nanoseconds = i32::try_from(number.cast_signed()).ok()?,
            _ => {}
        }
    }
    let time = Timestamp::new(seconds, nanoseconds).ok()?;
    let text = match digits {
        0 => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        _ => time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
    };
    Some(text.into())
}

fn int_or_string(bytes: &[u8], name: &str) -> Result<Value, DecodeError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = text_of(bytes, name)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Writes a field of bytes.
    fn bytes(number: u8, data: &[u8]) -> Vec<u8> {
        assert!(data.len() < 128);
        let mut out = vec![number << 3 | 2, data.len() as u8];
        out.extend_from_slice(data);
        out
    }

    fn number(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
    }

    #[test]
    fn a_secret_has_bytes_and_maps() {
        let data = bytes(2, &[bytes(1, b"key"), bytes(2, b"value")].concat());
        let metadata = bytes(1, &[bytes(1, b"web"), bytes(2, b""), bytes(8, b"")].concat());
        let raw = [metadata, data, bytes(3, b"Opaque"), number(5, 0)].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "type": "Opaque",
            "data": {"key": "dmFsdWU="}, "immutable": false,
        });
        assert_eq!(object(&envelope("v1", "Secret", &raw)), Ok(expected));
    }

    #[test]
    fn inline_messages_stand_in_the_object_itself() {
        let http = [
            bytes(1, b"/ready"),
            bytes(2, &[number(1, 1), bytes(3, b"web")].concat()),
        ]
        .concat();
        let probe = [bytes(1, &bytes(2, &http)), number(2, 5), number(4, 0)].concat();
        let container = [bytes(1, b"main"), bytes(11, &probe)].concat();
        let spec = [bytes(2, &container), number(4, 0)].concat();
        let raw = bytes(2, &spec);
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod",
            "spec": {
                "containers": [{
                    "name": "main",
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "web"}, "initialDelaySeconds": 5},
                }],
                "terminationGracePeriodSeconds": 0,
            },
        });
        assert_eq!(object(&envelope("v1", "Pod", &raw)), Ok(expected));
    }

    #[test]
    fn times_are_written_as_json_has_them() {
        let lease = bytes(2, &bytes(4, &[number(1, 5), vec![2 << 3, 0xe8, 0x07]].concat()));
        let read = object(&envelope("coordination.k8s.io/v1", "Lease", &lease)).unwrap();
        assert_eq!(read["spec"]["renewTime"], "1970-01-01T00:00:05.000001Z");
    }

    #[test]
    fn err_other_bytes_are_refused() {
        assert_eq!(object(b"{}"), Err(DecodeError::Magic));
        let unknown = object(&envelope("example.com/v1", "Widget", b"")).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "no protobuf form of Widget in \"example.com/v1\" is known here"
        );
        let broken = envelope("v1", "Secret", &bytes(3, &[0xff]));
        assert_eq!(object(&broken), Err(DecodeError::Field("type".to_owned())));
        let short = envelope("v1", "Secret", &bytes(3, b"Opaque"));
        assert_eq!(object(&short[..short.len() - 1]), Err(DecodeError::Truncated));
    }
}
