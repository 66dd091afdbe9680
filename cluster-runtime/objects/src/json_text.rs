//! Objects as JSON text, byte for byte as `serde_json` writes them.
//!
//! Every change is written to the log, into snapshots and to watchers: with a serializer that knows any format this was a
//! seventh of the work of a busy cluster.

use std::io::Write as _;

use serde_json::{Map, Value};

use crate::Object;
use crate::apply::field_text::is_tree;

/// Where texts stand for trees on the wire.
const TEXTS_OF_TREES: &[&str] = &["metadata", "managedFields", "fieldsV1"];

impl Object {
    /// Appends the JSON text of the object as clients see it, see [`Self::wire_value`].
    pub fn write_wire_json(&self, out: &mut Vec<u8>) {
        write_map(self.fields(), TEXTS_OF_TREES, out);
    }

    /// Appends the JSON text of the object as it is in memory.
    pub fn write_held_json(&self, out: &mut Vec<u8>) {
        write_map(self.fields(), &[], out);
    }
}

/// Writes a map; `trees` is the way from here to texts that are trees.
fn write_map(map: &Map<String, Value>, trees: &[&str], out: &mut Vec<u8>) {
    let (special, below) = match trees.split_first() {
        Some((special, below)) => (Some(*special), below),
        None => (None, trees),
    };
    let mut before = b'{';
    for (key, value) in map {
        out.push(before);
        before = b',';
        write_text(key, out);
        out.push(b':');
        if special == Some(key) {
            write_special(value, below, out);
        } else {
            write_value(value, out);
        }
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn write_special(value: &Value, trees: &[&str], out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_map(map, trees, out),
        Value::Array(items) => write_list(items, out, |item, out| write_special(item, trees, out)),
        Value::String(text) if trees.is_empty() && is_tree(text) => {
            out.extend_from_slice(text.as_bytes());
        }
        other => write_value(other, out),
    }
}

fn write_list(items: &[Value], out: &mut Vec<u8>, write: impl Fn(&Value, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        // Writing into memory does not fail.
        Value::Number(number) => _ = write!(out, "{number}"),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_list(items, out, write_value),
        Value::Object(map) => write_map(map, &[], out),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, escaped) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = escaped.split_first() else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            // Writing into memory does not fail.
            control => _ = write!(out, "\\u{control:04x}"),
        }
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes there are before the first that JSON escapes: eight at a time.
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let (words, tail) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest high bit that is left belongs to the first byte that is meant; those above it may be wrong.
        let less = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
        let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
        let found = (less(word, b' ') | is(b'"') | is(b'\\')) & HIGHS;
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_escaped = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    let in_tail = tail.iter().position(is_escaped).unwrap_or(tail.len());
    text.len() - tail.len() + in_tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: Value) {
        let object = Object::from_value(value).unwrap();
        let (mut wire, mut held) = (Vec::new(), Vec::new());
        object.write_wire_json(&mut wire);
        object.write_held_json(&mut held);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(text(wire), serde_json::to_string(&object).unwrap());
        assert_eq!(text(held), serde_json::to_string(object.fields()).unwrap());
    }

    #[test]
    fn objects_are_written_as_the_library_writes_them() {
        check(json!({}));
        check(json!({"a": null, "b": [], "c": {}, "d": [true, false, [1]], "e": ""}));
        check(json!({"numbers": [0, -1, u64::MAX, i64::MIN, 1.5, 1e300, -0.0, 1e-7, 0.1]}));
        let fields = "{\"f:data\":{\"k:{\\\"a\\\":1}\":{}}}";
        for fields in [
            json!(fields),
            json!({"f:data": {}}),
            json!("{\"f:data\""),
            json!(1),
        ] {
            check(json!({
                "metadata": {"managedFields": [{"fieldsV1": fields}], "fieldsV1": fields},
                "fieldsV1": fields,
            }));
        }
    }

    #[test]
    fn every_character_is_escaped_at_every_place() {
        let escaped = (0u8..0x80)
            .map(char::from)
            .chain(['ü', '\u{2028}', '🚢', '\u{7f}']);
        for character in escaped {
            for before in 0..17 {
                for after in [0, 1, 9] {
                    let text = format!("{}{character}{}", "x".repeat(before), "é".repeat(after));
                    check(json!({ &text: &text, "twice": format!("{text}{text}") }));
                }
            }
        }
    }
}
