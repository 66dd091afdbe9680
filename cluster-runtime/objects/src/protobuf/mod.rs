//! Bodies in Kubernetes' protobuf encoding, read into objects.
//!
//! Some clients send them whatever the server says it prefers (`kubectl create` does). The encoding is an envelope with
//! `apiVersion` and kind around a protobuf message
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>); what the fields of a message
//! are comes from the schema, their numbers from a text that `generate` writes. Custom definitions have no such
//! encoding here.

mod numbers;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use crate::Object;
use crate::schema::Schema;
use crate::schema::builtin::{self, Entry};
use crate::schema::types::{Field, MapShape, Shape, TypeDef};
use numbers::{Place, places};
use wire::{Reader, WireValue};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// The type of the body of a deletion.
const DELETE_OPTIONS: &str = "apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// Messages deeper than this are refused.
const DEPTH_MAX: usize = 64;
/// Integers that Go writes as 0 when they are not set, and for which 0 is no value.
const ZERO_IS_UNSET: [&str; 8] = [
    "failureThreshold",
    "generation",
    "healthCheckNodePort",
    "hostPort",
    "nodePort",
    "periodSeconds",
    "successThreshold",
    "timeoutSeconds",
];
/// Texts for which the empty one is a value.
const EMPTY_IS_SET: [&str; 2] = ["ingressClassName", "storageClassName"];

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It does not begin as it must.
    #[error("the body is not in Kubernetes' protobuf encoding")]
    NoEnvelope,
    /// Its bytes are no message.
    #[error("the protobuf body is damaged: {0}")]
    Damaged(&'static str),
    /// Its kind has no protobuf encoding here.
    #[error("{api_version}, Kind={kind} cannot be read from protobuf; send JSON")]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// A field that the schema does not have.
    #[error("protobuf field {number} of {type_name} is not known; send JSON")]
    UnknownField {
        /// The message.
        type_name: String,
        /// The field.
        number: u32,
    },
}

/// Reads a body.
pub fn decode(body: &[u8]) -> Result<Object, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoEnvelope)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(envelope) {
        match field? {
            (1, WireValue::Bytes(type_meta)) => {
                for field in Reader::new(type_meta) {
                    match field? {
                        (1, WireValue::Bytes(text)) => api_version = utf8(text)?,
                        (2, WireValue::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, WireValue::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let schema = Schema::of_kind(group, version, &kind);
    let unknown = || ProtobufError::UnknownKind {
        api_version: api_version.clone(),
        kind: kind.clone(),
    };
    // The options of a deletion go with every group.
    let options = (kind == "DeleteOptions")
        .then(|| builtin::entry(DELETE_OPTIONS))
        .flatten();
    let root = options
        .map(Entry::type_def)
        .or_else(|| schema.root())
        .ok_or_else(unknown)?;
    places(&root.name).ok_or_else(unknown)?;
    let mut fields = Map::new();
    read_message(raw, &root.name, root, &mut fields, 0)?;
    fields.insert("apiVersion".into(), api_version.into());
    fields.insert("kind".into(), kind.into());
    Ok(Object::from(fields))
}

/// Reads the fields of a message into the map that JSON has for them.
fn read_message(
    bytes: &[u8],
    message: &str,
    type_def: &TypeDef,
    fields: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Damaged("messages are nested too deep"));
    }
    let Some(known) = places(message) else {
        return Err(ProtobufError::Damaged("a message that JSON has no fields for"));
    };
    for field in Reader::new(bytes) {
        let (number, value) = field?;
        match known.get(number) {
            Some(Place::Inline(inner)) => {
                read_message(value.bytes()?, inner, type_def, fields, depth + 1)?;
            }
            Some(Place::Field(name)) => {
                let place = type_def.fields.iter().find(|field| field.name == name);
                let place = place.ok_or(ProtobufError::Damaged("a field that JSON does not have"))?;
                read_field(&value, place, fields, depth)?;
            }
            // Fields of newer clients that say nothing are no loss.
            None if value.is_empty() => {}
            None => {
                return Err(ProtobufError::UnknownField {
                    type_name: message.to_owned(),
                    number,
                });
            }
        }
    }
    Ok(())
}

fn read_field(
    value: &WireValue<'_>,
    field: &Field,
    fields: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    let name = field.name.as_ref();
    match &field.shape {
        Shape::List(list) => {
            let entry = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = entry else { return Ok(()) };
            match (&list.items, value) {
                (Shape::Int32 | Shape::Int64, WireValue::Bytes(packed)) => {
                    for number in wire::packed(packed) {
                        items.push(integer(number?).into());
                    }
                }
                (shape, value) => items.push(read_value(value, shape, depth)?.unwrap_or(Value::Null)),
            }
        }
        Shape::Map(map) => {
            let entry = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(entries) = entry else {
                return Ok(());
            };
            read_entry(value.bytes()?, map, entries, depth)?;
        }
        shape => {
            let read = read_value(value, shape, depth)?;
            let unset = match &read {
                None => true,
                Some(Value::String(text)) => text.is_empty() && !EMPTY_IS_SET.contains(&name),
                Some(Value::Number(number)) => number.as_i64() == Some(0) && ZERO_IS_UNSET.contains(&name),
                Some(_) => false,
            };
            if let Some(read) = read.filter(|_| !unset) {
                fields.insert(name.to_owned(), read);
            }
        }
    }
    Ok(())
}

fn read_entry(
    bytes: &[u8],
    map: &MapShape,
    entries: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    let (mut key, mut value) = (String::new(), None);
    for field in Reader::new(bytes) {
        match field? {
            (1, WireValue::Bytes(text)) => key = utf8(text)?,
            (2, held) => {
                value = match &map.values {
                    // A list cannot be the value of an entry: a message of its items is.
                    Shape::List(list) => {
                        let mut items = Vec::new();
                        for item in Reader::new(held.bytes()?) {
                            items.extend(read_value(&item?.1, &list.items, depth + 1)?);
                        }
                        Some(Value::Array(items))
                    }
                    shape => read_value(&held, shape, depth + 1)?,
                };
            }
            _ => {}
        }
    }
    let empty = || match map.values {
        Shape::Text | Shape::Bytes => Value::String(String::new()),
        _ => Value::Null,
    };
    entries.insert(key, value.unwrap_or_else(empty));
    Ok(())
}

/// One value; `None` where the message stands for nothing.
fn read_value(value: &WireValue<'_>, shape: &Shape, depth: usize) -> Result<Option<Value>, ProtobufError> {
    Ok(Some(match shape {
        Shape::Text => utf8(value.bytes()?)?.into(),
        Shape::Bytes => STANDARD.encode(value.bytes()?).into(),
        Shape::Int32 | Shape::Int64 => integer(value.varint()?).into(),
        Shape::Boolean => (value.varint()? != 0).into(),
        Shape::Double => match value {
            WireValue::Fixed64(bits) => {
                Number::from_f64(f64::from_bits(*bits)).map_or(Value::Null, Value::Number)
            }
            _ => return Err(ProtobufError::Damaged("a number of the wrong wire type")),
        },
        Shape::Quantity => wire::text_field(value.bytes()?, 1)?.into(),
        Shape::IntOrString => int_or_string(value.bytes()?)?,
        Shape::Time | Shape::MicroTime => return time(value.bytes()?, matches!(shape, Shape::MicroTime)),
        Shape::Any => return embedded(value.bytes()?),
        Shape::Object(inner) => {
            let mut fields = Map::new();
            read_message(value.bytes()?, &inner.name, inner, &mut fields, depth + 1)?;
            Value::Object(fields)
        }
        Shape::List(_) | Shape::Map(_) => return Err(ProtobufError::Damaged("a list inside a list")),
    }))
}

/// Integers are sent as the 64 bits of their two's complement.
fn integer(bits: u64) -> i64 {
    bits.cast_signed()
}

fn utf8(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Damaged("a text that is not UTF-8"))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, value) => is_text = value.varint()? == 1,
            (2, value) => number = integer(value.varint()?),
            (3, value) => text = utf8(value.bytes()?)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn time(bytes: &[u8], micro: bool) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, value) => seconds = integer(value.varint()?),
            (2, value) => nanos = integer(value.varint()?),
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Damaged("a time out of range"))?;
    let time = jiff::Timestamp::new(seconds, if micro { nanos } else { 0 })
        .map_err(|_| ProtobufError::Damaged("a time out of range"))?;
    Ok(Some(
        if micro {
            format!("{time:.6}")
        } else {
            time.to_string()
        }
        .into(),
    ))
}

/// Raw JSON inside a message.
fn embedded(bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
    for field in Reader::new(bytes) {
        if let (1, WireValue::Bytes(raw)) = field? {
            let value = serde_json::from_slice(raw);
            return value
                .map(Some)
                .map_err(|_| ProtobufError::Damaged("raw JSON that is none"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A length-delimited field.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push((length & 0x7f | 0x80) as u8);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend(content);
        field
    }

    fn varint(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let metadata = [bytes(1, b"web"), bytes(3, b"shop"), bytes(8, b""), varint(7, 0)].concat();
        let entry = [bytes(1, b"key"), bytes(2, b"value")].concat();
        let binary = [bytes(1, b"raw"), bytes(2, &[0xff, 0])].concat();
        let raw = [bytes(1, &metadata), bytes(2, &entry), bytes(3, &binary)].concat();
        let object = decode(&body("v1", "ConfigMap", &raw)).unwrap();
        assert_eq!(
            object.into_value(),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "web", "namespace": "shop"},
                "data": {"key": "value"}, "binaryData": {"raw": "/wA="},
            })
        );
    }

    #[test]
    fn inlined_messages_and_special_types_are_read() {
        // A probe: its handler is inlined, and the handler's port is an integer or a text.
        let port = [varint(1, 1), varint(2, 0), bytes(3, b"http")].concat();
        let get = [bytes(1, b"/healthz"), bytes(2, &port)].concat();
        let probe = [bytes(1, &bytes(2, &get)), varint(2, 0), varint(4, 0)].concat();
        let container = [bytes(1, b"web"), bytes(11, &probe)].concat();
        let object = decode(&body("v1", "Pod", &bytes(2, &bytes(2, &container)))).unwrap();
        assert_eq!(
            object.at(&["spec", "containers"]),
            Some(&json!([{
                "name": "web",
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "initialDelaySeconds": 0},
            }]))
        );
    }

    #[test]
    fn err_what_cannot_be_read_says_so() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::NoEnvelope));
        let custom = decode(&body("example.com/v1", "Thing", b""));
        assert!(matches!(custom, Err(ProtobufError::UnknownKind { .. })));
        let unknown = decode(&body("v1", "ConfigMap", &bytes(15, b"x")));
        assert!(matches!(
            unknown,
            Err(ProtobufError::UnknownField { number: 15, .. })
        ));
        // No prefix of a body makes it panic.
        let whole = body("v1", "ConfigMap", &bytes(1, &bytes(1, b"web")));
        for length in 0..whole.len() {
            let _ = decode(&whole[..length]);
        }
    }
}
