//! The words of Helm's schema library.

use chart_values::number::{go_g, go_quote};
use serde_json::Value;

/// A text in single quotes.
pub(super) fn quote(text: &str) -> String {
    let quoted = go_quote(text).replace("\\\"", "\"").replace('\'', "\\'");
    format!("'{}'", &quoted[1..quoted.len() - 1])
}

/// Several texts in single quotes.
pub(super) fn quote_all<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// A value that is no list and no table, as it stands in the schema.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// What JSON calls the kind of a value.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A count with commas between the thousands.
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number as people write it: `1,234.5`, `1.5×10⁰⁶`.
pub(super) fn number(value: &Value) -> String {
    let text = go_g(value.as_f64().unwrap_or_default());
    if let Some((mantissa, exponent)) = text.split_once('e') {
        let raised = exponent.chars().map(|c| match c {
            '+' => String::new(),
            '-' => '⁻'.to_string(),
            digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"
                .chars()
                .nth(digit as usize - '0' as usize)
                .unwrap_or(digit)
                .to_string(),
        });
        return format!("{mantissa}×10{}", raised.collect::<String>());
    }
    let (sign, text) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{sign}{}.{fraction}", grouped(whole)),
        None => format!("{sign}{}", grouped(text)),
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
