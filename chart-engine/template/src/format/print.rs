//! Values in their default form, `%v`.

use std::io::Write as _;

use super::float::shortest;
use crate::value::{Contents, Value};

/// Writes a value as `%v` does. Callers bound the depth by [`crate::limits::Budget::walk`].
pub(crate) fn print_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Invalid | Value::Nil => out.extend_from_slice(b"<nil>"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number, _) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::Float(number) => out.extend_from_slice(shortest(*number).as_bytes()),
        Value::String(text) => out.extend_from_slice(text),
        Value::Bytes(bytes) => {
            out.push(b'[');
            for (i, byte) in bytes.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                let _ = write!(out, "{byte}");
            }
            out.push(b']');
        }
        Value::List(list) => print_items(out, list.items()),
        Value::Map(map) => {
            out.extend_from_slice(b"map[");
            for (i, (key, value)) in map.entries().iter().enumerate() {
                print_entry(out, i, key, value);
            }
            out.push(b']');
        }
        Value::Object(object) => match object.contents() {
            Some(Contents::Items(items)) => print_items(out, &items),
            Some(Contents::Entries(entries)) => {
                out.extend_from_slice(b"map[");
                for (i, (key, value)) in entries.iter().enumerate() {
                    print_entry(out, i, key, value);
                }
                out.push(b']');
            }
            None => out.extend_from_slice(object.print().as_bytes()),
        },
    }
}

fn print_items(out: &mut Vec<u8>, items: &[Value]) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        print_value(out, item);
    }
    out.push(b']');
}

fn print_entry(out: &mut Vec<u8>, i: usize, key: &[u8], value: &Value) {
    if i > 0 {
        out.push(b' ');
    }
    out.extend_from_slice(key);
    out.push(b':');
    print_value(out, value);
}

/// Writes operands as `print` does: a space between two when neither is a string.
pub(crate) fn print_operands(out: &mut Vec<u8>, values: &[Value]) {
    let mut after_string = true;
    for (i, value) in values.iter().enumerate() {
        let string = matches!(value, Value::String(_));
        if i > 0 && !string && !after_string {
            out.push(b' ');
        }
        print_value(out, value);
        after_string = string;
    }
}
