//! YAML for people: keys in the order in which one reads objects, blocks for long texts.

use serde_json::Value;

/// Keys that come first, in this order; all others follow by name.
const FIRST: &[&str] = &["apiVersion", "kind", "name", "metadata", "namespace", "image"];

/// An object as a YAML document, without `---` before it.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, Place::Root);
    out
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    /// Behind `key:`.
    Value,
    /// Behind `- `.
    Item,
}

/// The rank of a key: what it sorts by.
pub(crate) fn rank(key: &str) -> (usize, &str) {
    let rank = FIRST.iter().position(|first| *first == key);
    (rank.unwrap_or(FIRST.len()), key)
}

fn write(out: &mut String, value: &Value, indent: usize, place: Place) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            let mut keys: Vec<_> = entries.keys().map(String::as_str).collect();
            keys.sort_by_key(|key| rank(key));
            if place == Place::Value {
                out.push('\n');
            }
            for (number, key) in keys.into_iter().enumerate() {
                if place != Place::Item || number > 0 {
                    pad(out, indent);
                }
                out.push_str(&scalar(key));
                out.push(':');
                let value = &entries[key];
                // Lists stand at the depth of their key.
                let deeper = if value.is_array() { indent } else { indent + 2 };
                write(out, value, deeper, Place::Value);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            if place == Place::Value {
                out.push('\n');
            }
            for (number, item) in items.iter().enumerate() {
                if place != Place::Item || number > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                write(out, item, indent + 2, Place::Item);
            }
        }
        Value::String(text) if place == Place::Value && is_block(text) => {
            out.push(' ');
            block(out, text, indent);
        }
        scalar_value => {
            if place == Place::Value {
                out.push(' ');
            }
            let text = match scalar_value {
                Value::String(text) => scalar(text),
                Value::Object(_) => "{}".to_owned(),
                Value::Array(_) => "[]".to_owned(),
                other => other.to_string(),
            };
            out.push_str(&text);
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a text reads better, and as itself, as a literal block.
pub(crate) fn is_block(text: &str) -> bool {
    let Some(first) = text.lines().next() else { return false };
    text.contains('\n')
        && !first.is_empty()
        && !first.starts_with([' ', '\t'])
        && text.chars().all(|char| char == '\n' || char == '\t' || is_printable(char))
}

/// Writes a literal block with its head: `|`, and how it ends.
pub(crate) fn block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    let lines = if text.ends_with('\n') { &text[..text.len() - 1] } else { text };
    for line in lines.split('\n') {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A text as a scalar on one line: plain where every reader takes it for a text, else in double quotes.
pub(crate) fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"];
    (first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_./:@+=".contains(char))
        && !text.contains(": ")
        && !text.ends_with(':')
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

fn is_printable(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// A text in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if is_printable(char) => out.push(char),
            char => {
                let code = u32::from(char);
                out.push_str(&if code <= 0xff { format!("\\x{code:02x}") } else { format!("\\u{code:04x}") });
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_read_from_the_top() {
        let object = json!({
            "spec": {"list": [{"b": 1, "name": "x"}, []], "empty": {}}, "kind": "K", "apiVersion": "v1",
            "data": {"file": "a\n b\n", "on": "yes", "n": "1"},
        });
        let text = "apiVersion: v1\nkind: K\ndata:\n  file: |\n    a\n     b\n  \"n\": \"1\"\n  \"on\": \"yes\"\nspec:\n  empty: {}\n  list:\n  - name: x\n    b: 1\n  - []\n";
        assert_eq!(to_yaml(&object), text);
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in ["", "yes", "1", "a: b", "- a", "#", "null", "0x1", "a:", "é", "a b", "\u{85}"] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        assert_eq!(scalar("nginx:1.25"), "nginx:1.25");
        assert_eq!(scalar("\u{85}\u{2028}"), "\"\\x85\\u2028\"");
    }
}
