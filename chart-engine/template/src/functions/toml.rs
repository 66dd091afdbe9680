//! TOML, written as the BurntSushi package writes it.

use super::{Entry, Outcome, made, string, takes};
use crate::fault::Fault;
use crate::format::shortest;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::time::{Moment, Zone, parse as parse_time};
use crate::value::{Contents, Element, List, Text, Value};

pub(super) const ROWS: &[Entry] = &[
    takes("toToml", &[Type::Any], |scope, args| {
        match to_toml(scope, &args[0]) {
            // A value that TOML cannot hold gives the message as the output.
            Err(fault) if !fault.is_limit() && !args[0].is_nil() => Ok(Value::from(fault.message())),
            outcome => outcome,
        }
    }),
    takes("mustToToml", &[Type::Any], |scope, args| to_toml(scope, &args[0])),
    takes("fromToml", &[Type::String], from_toml),
];

fn to_toml(scope: &mut Scope, value: &Value) -> Outcome {
    if value.is_nil() {
        return Err(Fault::new("reflect: call of reflect.Value.Type on zero Value"));
    }
    scope.walk(value)?;
    let mut writer = Writer { out: String::new() };
    match entries(value) {
        Some(entries) => writer.table_body(&mut Vec::new(), entries)?,
        None => writer.element(value)?,
    }
    made(scope, writer.out.into_bytes())
}

/// The entries of anything that is written as a table, in key order.
fn entries(value: &Value) -> Option<Vec<(Text, Value)>> {
    match value {
        Value::Map(map) => Some(map.to_vec()),
        Value::Object(object) => match (object.contents(), object.export()) {
            (Some(Contents::Entries(entries)), _) => Some(entries),
            (None, Value::Map(map)) => Some(map.to_vec()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a list is written as an array of tables.
fn is_table_array(value: &Value) -> Result<bool, Fault> {
    let Some(items) = value.items() else {
        return Ok(false);
    };
    if items.iter().any(Value::is_nil_reference) {
        return Err(Fault::new("toml: cannot encode array with nil element"));
    }
    Ok(!items.is_empty() && items.iter().all(|item| entries(item).is_some()))
}

struct Writer {
    out: String,
}

impl Writer {
    fn gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, path: &[String]) {
        for _ in 1..path.len() {
            self.out.push_str("  ");
        }
    }

    /// The entries of a table: simple values first, then tables.
    fn table_body(&mut self, path: &mut Vec<String>, entries: Vec<(Text, Value)>) -> Result<(), Fault> {
        let mut tables = Vec::new();
        for (key, value) in entries {
            if value.is_nil_reference() {
                continue;
            }
            if self::entries(&value).is_some() || is_table_array(&value)? {
                tables.push((key, value));
                continue;
            }
            path.push(quote_key(&key));
            self.indent(path);
            self.out.push_str(&path[path.len() - 1]);
            self.out.push_str(" = ");
            self.element(&value)?;
            self.out.push('\n');
            path.pop();
        }
        for (key, value) in tables {
            path.push(quote_key(&key));
            match self::entries(&value) {
                Some(entries) => {
                    if path.len() == 1 {
                        self.gap();
                    }
                    self.header(path, "[", "]");
                    self.table_body(path, entries)?;
                }
                None => {
                    for table in value.items().unwrap_or_default().iter() {
                        self.gap();
                        self.header(path, "[[", "]]");
                        self.table_body(path, self::entries(table).unwrap_or_default())?;
                    }
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn header(&mut self, path: &[String], open: &str, close: &str) {
        self.indent(path);
        self.out.push_str(open);
        self.out.push_str(&path.join("."));
        self.out.push_str(close);
        self.out.push('\n');
    }

    /// A value on the right of `=` or in an array.
    fn element(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Invalid | Value::Nil => {
                return Err(Fault::new("toml: cannot encode array with nil element"));
            }
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(number, _) => self.out.push_str(&number.to_string()),
            Value::Float(number) => self.out.push_str(&float(*number)),
            Value::String(text) => self.out.push_str(&quoted(text)),
            Value::Object(object) => match (value.downcast::<Moment>(), object.contents()) {
                (Some(moment), _) => {
                    self.out
                        .push_str(&moment.format("2006-01-02T15:04:05.999999999Z07:00"));
                }
                (None, Some(_)) => self.container(value)?,
                (None, None) => self.out.push_str(&quoted(object.print().as_bytes())),
            },
            _ => self.container(value)?,
        }
        Ok(())
    }

    fn container(&mut self, value: &Value) -> Result<(), Fault> {
        if let Some(entries) = entries(value) {
            self.out.push('{');
            let present = entries.into_iter().filter(|(_, value)| !value.is_nil());
            for (i, (key, value)) in present.enumerate() {
                if i > 0 {
                    self.out.push_str(", ");
                }
                self.out.push_str(&quote_key(&key));
                self.out.push_str(" = ");
                self.element(&value)?;
            }
            self.out.push('}');
            return Ok(());
        }
        is_table_array(value)?;
        self.out.push('[');
        for (i, item) in value.items().unwrap_or_default().iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.element(item)?;
        }
        self.out.push(']');
        Ok(())
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = shortest(number);
    if text.contains(['.', 'e']) {
        text
    } else {
        text + ".0"
    }
}

fn quote_key(key: &Text) -> String {
    let bare = !key.is_empty()
        && key
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { key.to_string() } else { quoted(key) }
}

fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn from_toml(scope: &mut Scope, args: &[Value]) -> Outcome {
    let text = string(&args[0]);
    scope.spend(text.len() as u64)?;
    let local = super::dates::local(scope);
    Ok(match text.parse::<toml_edit::DocumentMut>() {
        Ok(document) => table(document.as_table(), &local),
        Err(err) => {
            let at = err.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            let message = format!(
                "toml: line {line}: {}",
                err.message().lines().next().unwrap_or_default()
            );
            Value::map([("Error".into(), Value::from(message))])
        }
    })
}

fn table(table: &toml_edit::Table, local: &Zone) -> Value {
    Value::map(
        table
            .iter()
            .map(|(key, item)| (Text::from(key), from_item(item, local))),
    )
}

fn from_item(item: &toml_edit::Item, local: &Zone) -> Value {
    match item {
        toml_edit::Item::None => Value::Nil,
        toml_edit::Item::Value(value) => from_value(value, local),
        toml_edit::Item::Table(inner) => table(inner, local),
        toml_edit::Item::ArrayOfTables(tables) => {
            let items = tables.iter().map(|inner| table(inner, local)).collect();
            Value::List(List::typed(Element::Map, items).into())
        }
    }
}

fn from_value(value: &toml_edit::Value, local: &Zone) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::int64(*number.value()),
        toml_edit::Value::Float(number) => Value::Float(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::Bool(*flag.value()),
        toml_edit::Value::Datetime(datetime) => from_datetime(&datetime.value().to_string(), local),
        toml_edit::Value::Array(items) => {
            Value::list(items.iter().map(|item| from_value(item, local)).collect())
        }
        toml_edit::Value::InlineTable(inner) => Value::map(
            inner
                .iter()
                .map(|(key, value)| (Text::from(key), from_value(value, local))),
        ),
    }
}

/// A date, a time of day, or both, with or without an offset.
fn from_datetime(text: &str, local: &Zone) -> Value {
    let text = text.replace(['t', ' '], "T").replace('z', "Z");
    let layouts = [
        "2006-01-02T15:04:05Z07:00",
        "2006-01-02T15:04:05",
        "2006-01-02",
        "15:04:05",
    ];
    let moment = layouts
        .iter()
        .find_map(|layout| parse_time(layout, &text, local).ok());
    moment.map_or_else(|| Value::from(text.as_str()), Value::object)
}
