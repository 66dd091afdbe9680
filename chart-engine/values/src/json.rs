//! JSON, read and written as Go's `encoding/json` does.

use crate::number::{self, go_quote_char};
use crate::value::{Map, Value};

/// How deep arrays and objects may nest. Go's limit is 10000.
pub const DEPTH_MAX: usize = 1000;

/// Why a text is not JSON. The text of the error is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends too early.
    #[error("unexpected end of JSON input")]
    UnexpectedEnd,
    /// A character that cannot stand there.
    #[error("invalid character {} {context}", go_quote_char(*.found))]
    InvalidCharacter {
        /// The character.
        found: char,
        /// What was being read: `looking for beginning of value`.
        context: &'static str,
        /// Its byte offset.
        offset: usize,
    },
    /// Arrays and objects nest too deeply.
    #[error("exceeded max depth")]
    TooDeep,
    /// A number that does not fit.
    #[error("json: cannot unmarshal number {text} into Go value of type float64")]
    NumberRange {
        /// The number as it stands there.
        text: String,
    },
}

impl JsonError {
    /// The byte offset of the fault, where one is known.
    pub fn offset(&self) -> Option<usize> {
        match self {
            JsonError::InvalidCharacter { offset, .. } => Some(*offset),
            _ => None,
        }
    }
}

/// Reads one JSON value; nothing but white space may follow it.
///
/// Every number becomes a [`Value::Float`]. Of an object's equal keys the last one counts.
pub fn from_json(text: &str) -> Result<Value, JsonError> {
    let (value, used) = from_json_prefix(text)?;
    let rest = &text[used..];
    let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    match rest[blank..].chars().next() {
        None => Ok(value),
        Some(found) => Err(JsonError::InvalidCharacter {
            found,
            context: "after top-level value",
            offset: used + blank,
        }),
    }
}

/// Reads the JSON value at the head of `text` and tells how many bytes it took.
pub fn from_json_prefix(text: &str) -> Result<(Value, usize), JsonError> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    let value = reader.value("looking for beginning of value")?;
    Ok((value, reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, context: &'static str) -> JsonError {
        match self.text[self.at..].chars().next() {
            None => JsonError::UnexpectedEnd,
            Some(found) => JsonError::InvalidCharacter {
                found,
                context,
                offset: self.at,
            },
        }
    }

    fn value(&mut self, context: &'static str) -> Result<Value, JsonError> {
        self.blank();
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self
                .word(
                    "true",
                    &[
                        "in literal true (expecting 'r')",
                        "in literal true (expecting 'u')",
                        "in literal true (expecting 'e')",
                    ],
                )
                .map(|()| Value::Bool(true)),
            Some(b'f') => self
                .word(
                    "false",
                    &[
                        "in literal false (expecting 'a')",
                        "in literal false (expecting 'l')",
                        "in literal false (expecting 's')",
                        "in literal false (expecting 'e')",
                    ],
                )
                .map(|()| Value::Bool(false)),
            Some(b'n') => self
                .word(
                    "null",
                    &[
                        "in literal null (expecting 'u')",
                        "in literal null (expecting 'l')",
                        "in literal null (expecting 'l')",
                    ],
                )
                .map(|()| Value::Null),
            _ => Err(self.unexpected(context)),
        }
    }

    fn word(&mut self, word: &str, contexts: &[&'static str]) -> Result<(), JsonError> {
        for (index, expected) in word.bytes().enumerate() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected(contexts[index.saturating_sub(1).min(contexts.len() - 1)]));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            Err(JsonError::TooDeep)
        } else {
            Ok(())
        }
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        self.enter()?;
        let mut map = Map::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Value::Map(map));
        }
        let mut key_context = "looking for beginning of object key string";
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected(key_context));
            }
            key_context = "looking for beginning of object key string";
            let key = self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            let value = self.value("looking for beginning of value")?;
            map.insert(key, value);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Value::Map(map));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        self.enter()?;
        let mut items = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value("looking for beginning of value")?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Value::List(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = &self.text[start..self.at];
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(JsonError::NumberRange {
                text: text.to_owned(),
            }),
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                None => return Err(JsonError::UnexpectedEnd),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                Some(_) => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), JsonError> {
        let plain = match self.peek() {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                out.push(self.after_unit(unit)?);
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// A lone half of a surrogate pair becomes the replacement character, as in Go.
    fn after_unit(&mut self, unit: u32) -> Result<char, JsonError> {
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with("\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| (b as char).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// Writes a value as Go's `json.Marshal` does: keys in byte order, no spaces, and `<`, `>`, `&` as `\u003c` and so on.
///
/// Infinities and NaN, which no chart can hold, become `null`.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, true);
    out
}

/// As [`to_json`], but `<`, `>` and `&` stay as they are.
pub fn to_raw_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, false);
    out
}

fn write_value(out: &mut String, value: &Value, escape_html: bool) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(float) => out.push_str(number::json(*float).as_deref().unwrap_or("null")),
        Value::String(text) => write_string(out, text, escape_html),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item, escape_html);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, key, escape_html);
                out.push(':');
                write_value(out, item, escape_html);
            }
            out.push('}');
        }
    }
}

/// Appends `text` as a JSON string, in Go's choice of escapes.
pub fn write_string(out: &mut String, text: &str, escape_html: bool) {
    out.push('"');
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let escaped: &str = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '<' if escape_html => "\\u003c",
            '>' if escape_html => "\\u003e",
            '&' if escape_html => "\\u0026",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            c if (c as u32) < 0x20 => {
                out.push_str(&text[start..at]);
                out.push_str(&format!("\\u{:04x}", c as u32));
                start = at + c.len_utf8();
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[start..at]);
        out.push_str(escaped);
        start = at + c.len_utf8();
    }
    out.push_str(&text[start..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_same_text() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            r#"{"a":[1,2.5,-3,1e+21],"b":{"c":"d"}}"#,
            r#""\u003c\u0026\u003e \" \\ \n \u0001 \u2028 é 😀""#,
        ] {
            assert_eq!(to_json(&from_json(text).unwrap()), text);
        }
    }

    #[test]
    fn joins_surrogate_pairs_and_replaces_halves() {
        assert_eq!(from_json(r#""\ud83d\ude00""#).unwrap(), Value::from("😀"));
        assert_eq!(from_json(r#""\ud83dx""#).unwrap(), Value::from("\u{fffd}x"));
    }

    #[test]
    fn err_says_what_go_says() {
        for (text, message) in [
            ("", "unexpected end of JSON input"),
            ("[1,2", "unexpected end of JSON input"),
            (
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("1 2", "invalid character '2' after top-level value"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("01", "invalid character '1' after top-level value"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
        ] {
            assert_eq!(from_json(text).unwrap_err().to_string(), message, "{text}");
        }
        assert_eq!(from_json(&"[".repeat(5000)).unwrap_err(), JsonError::TooDeep);
    }
}
