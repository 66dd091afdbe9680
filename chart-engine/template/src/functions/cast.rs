//! Loose conversions between numbers and strings, as Sprig takes them from the `cast` package: what cannot be
//! converted is zero.

use crate::format::print_value;
use crate::syntax::parse_integer;
use crate::value::{Integer, Kind, Text, Value};

/// Any value as an `int64`.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number, _) => *number,
        Value::Float(number) => truncate(*number),
        Value::Bool(flag) => i64::from(*flag),
        Value::String(text) => std::str::from_utf8(text).ok().and_then(parse_int).unwrap_or(0),
        // Months and days of the week are numbers here, durations are not.
        Value::Object(object) if object.kind() == Kind::Integer(Integer::Int) => match object.export() {
            Value::Int(number, _) => number,
            _ => 0,
        },
        _ => 0,
    }
}

/// A float as Go converts it on the usual machines: what does not fit becomes the smallest integer.
pub(super) fn truncate(number: f64) -> i64 {
    let fits = number > -9_223_372_036_854_777_856.0 && number < 9_223_372_036_854_775_808.0;
    if fits { number as i64 } else { i64::MIN }
}

/// A text in any of Go's bases; `1.00` passes for `1`.
fn parse_int(text: &str) -> Option<i64> {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    parse_integer(whole)
}

/// Any value as a `float64`.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(number, _) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::String(text) => std::str::from_utf8(text)
            .ok()
            .and_then(parse_float)
            .unwrap_or(0.0),
        Value::Object(_) => to_int(value) as f64,
        _ => 0.0,
    }
}

/// A float as Go's `strconv.ParseFloat` reads it.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let value = match unsigned.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => return Some(f64::NAN),
        _ if !has_fitting_underscores(&unsigned) => return None,
        _ => crate::syntax::parse_float(&unsigned.replace('_', ""))?,
    };
    Some(if text.starts_with('-') { -value } else { value })
}

/// Whether every underscore stands between two digits, or between the prefix of a base and a digit.
fn has_fitting_underscores(unsigned: &str) -> bool {
    let (digits, is_digit): (_, fn(&char) -> bool) = match unsigned.strip_prefix("0x") {
        Some(hex) => (hex, char::is_ascii_hexdigit),
        None => (unsigned, char::is_ascii_digit),
    };
    let is_prefixed = digits.len() < unsigned.len();
    digits.match_indices('_').all(|(at, _)| {
        let before = digits[..at].chars().next_back();
        let after = digits[at + 1..].chars().next();
        before.map_or(is_prefixed, |c| is_digit(&c)) && after.is_some_and(|c| is_digit(&c))
    })
}

/// Any value as a string: strings and bytes as they are, the rest as `%v`.
pub(super) fn to_text(value: &Value) -> Text {
    match value {
        Value::String(text) => text.clone(),
        Value::Bytes(bytes) => Text::from(std::rc::Rc::clone(bytes)),
        value => {
            let mut out = Vec::new();
            print_value(&mut out, value);
            Text::from(out)
        }
    }
}

/// Any value as strings: the elements of a list without its nils, or the one value.
pub(super) fn to_texts(value: &Value) -> Vec<Text> {
    match value.items() {
        Some(items) => items.iter().filter(|item| !item.is_nil()).map(to_text).collect(),
        None if value.is_nil() => Vec::new(),
        None => vec![to_text(value)],
    }
}
