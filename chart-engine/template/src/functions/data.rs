//! YAML and JSON.

use chart_values::json::write_string;
use chart_values::number;
use chart_values::yaml::{Emitter, Style};

use super::{Entry, Outcome, made, string, takes, text};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{Contents, Text, Value};

const ANY: &[Type] = &[Type::Any];
const TEXT: &[Type] = &[Type::String];

pub(super) const ROWS: &[Entry] = &[
    takes("toYaml", ANY, |scope, args| {
        // What cannot be written is nothing at all; only the `must` form fails.
        lenient(to_yaml(scope, &args[0], Style::ToYaml))
    }),
    takes("mustToYaml", ANY, |scope, args| {
        to_yaml(scope, &args[0], Style::ToYaml)
    }),
    takes("toYamlPretty", ANY, |scope, args| {
        lenient(to_yaml(scope, &args[0], Style::Pretty))
    }),
    takes("fromYaml", TEXT, |scope, args| {
        read(scope, &args[0])?;
        let parsed = chart_values::yaml::map_from_yaml(&string(&args[0]));
        Ok(match parsed {
            Ok(map) => Value::from(&map),
            Err(err) => Value::map([("Error".into(), Value::from(err.to_string()))]),
        })
    }),
    takes("fromYamlArray", TEXT, from_yaml_array),
    takes("fromJson", TEXT, from_json_object),
    takes("mustFromJson", TEXT, |scope, args| {
        read(scope, &args[0])?;
        let parsed = chart_values::json::from_json(&string(&args[0]));
        parsed
            .map(|value| Value::from(&value))
            .map_err(|err| Fault::new(err.to_string()))
    }),
    takes("fromJsonArray", TEXT, from_json_array),
    takes("toJson", ANY, |scope, args| {
        lenient(to_json(scope, &args[0], Json::Escaped))
    }),
    takes("mustToJson", ANY, |scope, args| {
        to_json(scope, &args[0], Json::Escaped)
    }),
    takes("toPrettyJson", ANY, |scope, args| {
        lenient(to_json(scope, &args[0], Json::Pretty))
    }),
    takes("mustToPrettyJson", ANY, |scope, args| {
        to_json(scope, &args[0], Json::Pretty)
    }),
    takes("toRawJson", ANY, |scope, args| {
        to_json(scope, &args[0], Json::Raw)
    }),
    takes("mustToRawJson", ANY, |scope, args| {
        to_json(scope, &args[0], Json::Raw)
    }),
];

/// Counts a text that is about to be read: a short one may hold many values.
fn read(scope: &mut Scope, given: &Value) -> Result<(), Fault> {
    scope.spend(text(given).len() as u64 / 8)
}

fn lenient(outcome: Outcome) -> Outcome {
    match outcome {
        Err(fault) if !fault.is_limit() => Ok(Value::from("")),
        outcome => outcome,
    }
}

fn to_yaml(scope: &mut Scope, value: &Value, style: Style) -> Outcome {
    scope.walk(value)?;
    let mut emitter = Emitter::new(style);
    events(&mut emitter, value, style);
    let text = emitter
        .finish()
        .map_err(|err| Fault::new(format!("error marshaling into JSON: {err}")))?;
    let mut bytes = text.into_bytes();
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    made(scope, bytes)
}

/// Feeds an emitter with a value that the caller has walked.
fn events(emitter: &mut Emitter, value: &Value, style: Style) {
    match value {
        Value::Invalid | Value::Nil => emitter.null(),
        Value::Bool(flag) => emitter.bool(*flag),
        Value::Int(number, _) => emitter.int(*number),
        Value::Float(number) => emitter.float(*number),
        Value::String(text) => emitter.string(&text.to_str()),
        Value::Bytes(bytes) => emitter.string(&super::base64(bytes)),
        // Only the way through JSON knows nil lists and maps.
        value if value.is_nil_reference() && style == Style::ToYaml => emitter.null(),
        Value::List(list) => list_events(emitter, list.items(), style),
        Value::Map(map) => {
            let entries = map.entries();
            map_events(emitter, entries.iter().collect(), style);
        }
        Value::Object(object) => match object.contents() {
            Some(Contents::Items(items)) => list_events(emitter, &items, style),
            Some(Contents::Entries(entries)) => {
                map_events(
                    emitter,
                    entries.iter().map(|(key, value)| (key, value)).collect(),
                    style,
                );
            }
            None => match object.export() {
                // Complex numbers are the only values that neither format has.
                Value::Object(_) => emitter.float(f64::NAN),
                plain => events(emitter, &plain, style),
            },
        },
    }
}

fn list_events(emitter: &mut Emitter, items: &[Value], style: Style) {
    emitter.begin_list();
    for item in items {
        events(emitter, item, style);
    }
    emitter.end_list();
}

fn map_events(emitter: &mut Emitter, entries: Vec<(&Text, &Value)>, style: Style) {
    emitter.begin_map();
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(key, value)| (key.to_str(), value))
        .collect();
    emitter.sort(&mut entries, |(key, _)| key);
    for (key, value) in entries {
        emitter.key(&key);
        events(emitter, value, style);
    }
    emitter.end_map();
}

fn from_yaml_array(scope: &mut Scope, args: &[Value]) -> Outcome {
    read(scope, &args[0])?;
    let parsed = chart_values::yaml::from_yaml(&string(&args[0]));
    Ok(match parsed {
        Ok(chart_values::Value::Null) => Value::list(Vec::new()),
        Ok(value @ chart_values::Value::List(_)) => Value::from(&value),
        Ok(value) => Value::list(vec![Value::from(format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type []interface {{}}",
            go_json_kind(&value)
        ))]),
        Err(err) => Value::list(vec![Value::from(err.to_string())]),
    })
}

/// The name that Go's decoder has for what it found.
fn go_json_kind(value: &chart_values::Value) -> &'static str {
    match value.json_kind() {
        "boolean" => "bool",
        kind => kind,
    }
}

fn wrong_json(value: &chart_values::Value, wanted: &str) -> String {
    format!(
        "json: cannot unmarshal {} into Go value of type {wanted}",
        go_json_kind(value)
    )
}

fn from_json_object(scope: &mut Scope, args: &[Value]) -> Outcome {
    read(scope, &args[0])?;
    let error = |message: String| Value::map([("Error".into(), Value::from(message))]);
    Ok(match chart_values::json::from_json(&string(&args[0])) {
        Ok(value @ chart_values::Value::Map(_)) => Value::from(&value),
        Ok(chart_values::Value::Null) => Value::map([]),
        Ok(value) => error(wrong_json(&value, "map[string]interface {}")),
        Err(err) => error(err.to_string()),
    })
}

fn from_json_array(scope: &mut Scope, args: &[Value]) -> Outcome {
    read(scope, &args[0])?;
    let error = |message: String| Value::list(vec![Value::from(message)]);
    Ok(match chart_values::json::from_json(&string(&args[0])) {
        Ok(value @ chart_values::Value::List(_)) => Value::from(&value),
        Ok(chart_values::Value::Null) => {
            Value::List(crate::value::List::nil(crate::value::Element::Any).into())
        }
        Ok(value) => error(wrong_json(&value, "[]interface {}")),
        Err(err) => error(err.to_string()),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Json {
    /// On one line, with `<`, `>` and `&` escaped.
    Escaped,
    /// On many lines, escaped as well.
    Pretty,
    /// On one line, nothing escaped that need not be.
    Raw,
}

fn to_json(scope: &mut Scope, value: &Value, form: Json) -> Outcome {
    scope.walk(value)?;
    let mut out = String::new();
    write_json(&mut out, value, form, 0)?;
    made(scope, out.into_bytes())
}

fn write_json(out: &mut String, value: &Value, form: Json, depth: usize) -> Result<(), Fault> {
    match value {
        Value::Invalid | Value::Nil => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number, _) => out.push_str(&number.to_string()),
        Value::Float(float) => match number::json(*float) {
            Some(text) => out.push_str(&text),
            None => {
                return Err(Fault::new(format!(
                    "json: unsupported value: {}",
                    number::go_g(*float)
                )));
            }
        },
        Value::String(text) => write_string(out, &text.to_str(), form != Json::Raw),
        Value::Bytes(bytes) => write_string(out, &super::base64(bytes), form != Json::Raw),
        value if value.is_nil_reference() => out.push_str("null"),
        Value::List(list) => write_list(out, list.items(), form, depth)?,
        Value::Map(map) => write_map(out, map.entries().iter(), form, depth)?,
        Value::Object(object) if let Some(fields) = object.json_fields() => {
            write_map(out, fields.iter().map(|(key, value)| (key, value)), form, depth)?;
        }
        Value::Object(object) => match object.contents() {
            Some(Contents::Items(items)) => write_list(out, &items, form, depth)?,
            Some(Contents::Entries(entries)) => {
                write_map(out, entries.iter().map(|(key, value)| (key, value)), form, depth)?;
            }
            None => match object.export() {
                Value::Object(_) => {
                    return Err(Fault::new(format!(
                        "json: unsupported type: {}",
                        object.type_name()
                    )));
                }
                plain => write_json(out, &plain, form, depth)?,
            },
        },
    }
    Ok(())
}

fn line(out: &mut String, form: Json, depth: usize) {
    if form == Json::Pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn write_list(out: &mut String, items: &[Value], form: Json, depth: usize) -> Result<(), Fault> {
    if items.is_empty() {
        out.push_str("[]");
        return Ok(());
    }
    for (i, item) in items.iter().enumerate() {
        out.push(if i == 0 { '[' } else { ',' });
        line(out, form, depth + 1);
        write_json(out, item, form, depth + 1)?;
    }
    line(out, form, depth);
    out.push(']');
    Ok(())
}

fn write_map<'v>(
    out: &mut String,
    entries: impl Iterator<Item = (&'v Text, &'v Value)>,
    form: Json,
    depth: usize,
) -> Result<(), Fault> {
    let mut some = false;
    for (key, value) in entries {
        out.push(if some { ',' } else { '{' });
        some = true;
        line(out, form, depth + 1);
        write_string(out, &key.to_str(), form != Json::Raw);
        out.push_str(if form == Json::Pretty { ": " } else { ":" });
        write_json(out, value, form, depth + 1)?;
    }
    if !some {
        out.push_str("{}");
        return Ok(());
    }
    line(out, form, depth);
    out.push('}');
    Ok(())
}
