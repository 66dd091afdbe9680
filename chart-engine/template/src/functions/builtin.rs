//! The functions of Go's template language itself.

use super::{Action, Entry, Outcome, compare, made, takes, takes_many, text};
use crate::fault::Fault;
use crate::format::{print_operands, print_value, printf as format_values};
use crate::signature::{Signature, Type};
use crate::surroundings::Scope;
use crate::value::{Contents, Kind, MapType, Value};

pub(super) const ROWS: &[Entry] = &[
    (
        "and",
        Signature::variadic(&[Type::Reflect], Type::Reflect),
        Action::And,
    ),
    (
        "or",
        Signature::variadic(&[Type::Reflect], Type::Reflect),
        Action::Or,
    ),
    takes("not", &[Type::Reflect], |_, args| {
        Ok(Value::Bool(!args[0].truth()))
    }),
    takes_many("eq", &[Type::Reflect], Type::Reflect, compare::eq),
    takes("ne", &[Type::Reflect, Type::Reflect], compare::ne),
    takes("lt", &[Type::Reflect, Type::Reflect], compare::lt),
    takes("le", &[Type::Reflect, Type::Reflect], compare::le),
    takes("gt", &[Type::Reflect, Type::Reflect], compare::gt),
    takes("ge", &[Type::Reflect, Type::Reflect], compare::ge),
    takes("len", &[Type::Reflect], len),
    takes_many("index", &[Type::Reflect], Type::Reflect, index),
    takes_many("call", &[Type::Reflect], Type::Reflect, call),
    takes_many("print", &[], Type::Any, print),
    takes_many("println", &[], Type::Any, println),
    takes_many("printf", &[Type::String], Type::Any, printf),
    takes_many("html", &[], Type::Any, html),
    takes_many("js", &[], Type::Any, js),
    takes_many("urlquery", &[], Type::Any, urlquery),
];

fn type_name(value: &Value) -> String {
    value
        .type_name()
        .map_or_else(|| "nil".to_owned(), std::borrow::Cow::into_owned)
}

fn len(_: &mut Scope, args: &[Value]) -> Outcome {
    let count = match &args[0] {
        Value::Invalid => return Err(Fault::new("reflect: call of reflect.Value.Type on zero Value")),
        Value::Nil => return Err(Fault::new("len of nil pointer")),
        Value::String(text) => Some(text.len()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::List(list) => Some(list.len()),
        Value::Map(map) => Some(map.len()),
        Value::Object(object) => object.len(),
        _ => None,
    };
    match count {
        Some(count) => Ok(Value::int(i64::try_from(count).unwrap_or(i64::MAX))),
        None => Err(Fault::new(format!("len of type {}", type_name(&args[0])))),
    }
}

fn index(_: &mut Scope, args: &[Value]) -> Outcome {
    let mut item = args[0].clone();
    if item.is_nil() {
        return Err(Fault::new("index of untyped nil"));
    }
    for key in &args[1..] {
        item = match &item {
            Value::Invalid | Value::Nil => return Err(Fault::new("index of nil pointer")),
            Value::Map(map) => {
                let key = map_key(key)?;
                let zero = if map.map_type() == MapType::Strings {
                    Value::from("")
                } else {
                    Value::Nil
                };
                map.get(key).unwrap_or(zero)
            }
            Value::String(text) => {
                let at = position(key, text.len(), "string")?;
                Value::Int(i64::from(text[at]), crate::value::Integer::Uint8)
            }
            Value::Bytes(bytes) => {
                let at = position(key, bytes.len(), "slice")?;
                Value::Int(i64::from(bytes[at]), crate::value::Integer::Uint8)
            }
            Value::List(list) => list.items()[position(key, list.len(), "slice")?].clone(),
            Value::Object(object) => match object.contents() {
                Some(Contents::Items(items)) => items[position(key, items.len(), "slice")?].clone(),
                Some(Contents::Entries(entries)) => {
                    let key = map_key(key)?;
                    let found = entries.into_iter().find(|(known, _)| known.as_bytes() == key);
                    found.map_or(Value::Nil, |(_, value)| value)
                }
                None => return Err(cannot_index(&item)),
            },
            _ => return Err(cannot_index(&item)),
        };
    }
    Ok(item)
}

fn cannot_index(item: &Value) -> Fault {
    Fault::new(format!("can't index item of type {}", type_name(item)))
}

fn map_key(key: &Value) -> Result<&[u8], Fault> {
    match key {
        Value::String(text) => Ok(text),
        Value::Invalid | Value::Nil => Err(Fault::new("value is nil; should be of type string")),
        _ => Err(Fault::new(format!(
            "value has type {}; should be string",
            type_name(key)
        ))),
    }
}

fn position(key: &Value, len: usize, kind: &str) -> Result<usize, Fault> {
    match key {
        Value::Int(at, _) => match usize::try_from(*at) {
            Ok(position) if position < len => Ok(position),
            // Go's own check lets the place after the last one pass, and `reflect` stops there.
            Ok(position) if position == len => Err(Fault::new(format!("reflect: {kind} index out of range"))),
            _ => Err(Fault::new(format!("index out of range: {at}"))),
        },
        Value::Invalid | Value::Nil => Err(Fault::new("cannot index slice/array with nil")),
        _ => Err(Fault::new(format!(
            "cannot index slice/array with type {}",
            type_name(key)
        ))),
    }
}

fn call(_: &mut Scope, args: &[Value]) -> Outcome {
    // No value of a chart is a function.
    match &args[0] {
        Value::Invalid | Value::Nil => Err(Fault::new("call of nil")),
        value => Err(Fault::new(format!(
            "non-function {value} of type {}",
            type_name(value)
        ))),
    }
}

fn walked(scope: &mut Scope, args: &[Value]) -> Result<(), Fault> {
    args.iter().try_for_each(|arg| scope.walk(arg))
}

fn print(scope: &mut Scope, args: &[Value]) -> Outcome {
    walked(scope, args)?;
    let mut out = Vec::new();
    print_operands(&mut out, args);
    made(scope, out)
}

fn println(scope: &mut Scope, args: &[Value]) -> Outcome {
    walked(scope, args)?;
    let mut out = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        print_value(&mut out, arg);
    }
    out.push(b'\n');
    made(scope, out)
}

fn printf(scope: &mut Scope, args: &[Value]) -> Outcome {
    walked(scope, args)?;
    let max = scope.budget.limits.text_bytes_max;
    match format_values(text(&args[0]), &args[1..], max) {
        Some(bytes) => made(scope, bytes),
        None => Err(Fault::limit(format!(
            "template makes a text of more than {max} bytes"
        ))),
    }
}

/// The arguments as one text, for the functions that escape it.
fn joined(scope: &mut Scope, args: &[Value]) -> Result<String, Fault> {
    walked(scope, args)?;
    let mut out = Vec::new();
    let shown: Vec<Value> = args
        .iter()
        .map(|arg| {
            if arg.is_nil() {
                Value::from("<no value>")
            } else {
                arg.clone()
            }
        })
        .collect();
    print_operands(&mut out, &shown);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn html(scope: &mut Scope, args: &[Value]) -> Outcome {
    let input = joined(scope, args)?;
    let mut out = String::with_capacity(input.len());
    for c in input.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    made(scope, out.into_bytes())
}

fn js(scope: &mut Scope, args: &[Value]) -> Outcome {
    let input = joined(scope, args)?;
    let mut out = String::with_capacity(input.len());
    for c in input.chars() {
        match c {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            ' '..='~' => out.push(c),
            c if !c.is_ascii() && crate::format::is_printable(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    made(scope, out.into_bytes())
}

fn urlquery(scope: &mut Scope, args: &[Value]) -> Outcome {
    let input = joined(scope, args)?;
    let mut out = String::with_capacity(input.len());
    for byte in input.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    made(scope, out.into_bytes())
}

/// Whether a value is a list to functions that ask for its kind.
pub(super) fn is_slice(value: &Value) -> bool {
    value.kind() == Kind::Slice
}
