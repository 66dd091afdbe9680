//! YAML for people: keys in the order in which one reads objects, blocks for long texts.

use serde_json::Value;

/// Keys that come first, in this order; all others follow by name.
const FIRST: &[&str] = &["apiVersion", "kind", "name", "metadata", "namespace", "image"];

/// An object as a YAML document, without `---` before it.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer::new(&Nothing);
    writer.value(value, 0, Place::Root);
    writer.out
}

/// What stands in a document instead of values, and how plain text keeps clear of it.
pub(crate) trait Template {
    /// Whether something stands for the entry at a path: its lines, given the depth of its key.
    fn entry(&self, path: &str, indent: usize) -> Option<String>;
    /// Whether something stands for the value at a path, on its line.
    fn inline(&self, path: &str) -> Option<String>;
    /// Text that is to stay as it is.
    fn escape(&self, text: String) -> String;
}

/// A document that is no template.
struct Nothing;

impl Template for Nothing {
    fn entry(&self, _: &str, _: usize) -> Option<String> {
        None
    }

    fn inline(&self, _: &str) -> Option<String> {
        None
    }

    fn escape(&self, text: String) -> String {
        text
    }
}

/// An object as a template of a YAML document.
pub(crate) fn to_template(value: &Value, template: &dyn Template) -> String {
    let mut writer = Writer::new(template);
    writer.value(value, 0, Place::Root);
    writer.out
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// Behind `key:`.
    Value,
    /// Behind `- `.
    Item,
}

/// The rank of a key: what it sorts by.
fn rank(key: &str) -> (usize, &str) {
    let rank = FIRST.iter().position(|first| *first == key);
    (rank.unwrap_or(FIRST.len()), key)
}

struct Writer<'a> {
    out: String,
    /// Where the value that is written stands, as a JSON pointer.
    path: String,
    template: &'a dyn Template,
}

impl<'a> Writer<'a> {
    fn new(template: &'a dyn Template) -> Self {
        Self {
            out: String::new(),
            path: String::new(),
            template,
        }
    }

    fn value(&mut self, value: &Value, indent: usize, place: Place) {
        if let Some(text) = self.template.inline(&self.path) {
            if place == Place::Value {
                self.out.push(' ');
            }
            self.out.push_str(&text);
            self.out.push('\n');
            return;
        }
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                let mut keys: Vec<_> = entries.keys().map(String::as_str).collect();
                keys.sort_by_key(|key| rank(key));
                if place == Place::Value {
                    self.out.push('\n');
                }
                for (number, key) in keys.into_iter().enumerate() {
                    let value = &entries[key];
                    self.within(&pointer_part(key), |writer| {
                        writer.entry(key, value, indent, place == Place::Item && number == 0);
                    });
                }
            }
            Value::Array(items) if !items.is_empty() => {
                if place == Place::Value {
                    self.out.push('\n');
                }
                for (number, item) in items.iter().enumerate() {
                    if place != Place::Item || number > 0 {
                        pad(&mut self.out, indent);
                    }
                    self.out.push_str("- ");
                    self.within(&number.to_string(), |writer| {
                        writer.value(item, indent + 2, Place::Item);
                    });
                }
            }
            Value::String(text) if place == Place::Value && is_block(text) => {
                self.out.push(' ');
                let mut lines = String::new();
                block(&mut lines, text, indent);
                self.out.push_str(&self.template.escape(lines));
            }
            scalar_value => {
                if place == Place::Value {
                    self.out.push(' ');
                }
                let text = match scalar_value {
                    Value::String(text) => scalar(text),
                    Value::Object(_) => "{}".to_owned(),
                    Value::Array(_) => "[]".to_owned(),
                    other => other.to_string(),
                };
                self.out.push_str(&self.template.escape(text));
                self.out.push('\n');
            }
        }
    }

    fn entry(&mut self, key: &str, value: &Value, indent: usize, is_on_line: bool) {
        if let Some(lines) = self.template.entry(&self.path, indent) {
            self.out.push_str(&lines);
            return;
        }
        if !is_on_line {
            pad(&mut self.out, indent);
        }
        let key = self.template.escape(scalar(key));
        self.out.push_str(&key);
        self.out.push(':');
        // Lists stand at the depth of their key.
        let deeper = if value.is_array() { indent } else { indent + 2 };
        self.value(value, deeper, Place::Value);
    }

    fn within(&mut self, part: &str, write: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(part);
        write(self);
        self.path.truncate(length);
    }
}

/// A key as a part of a JSON pointer.
pub(crate) fn pointer_part(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a text reads better, and as itself, as a literal block.
fn is_block(text: &str) -> bool {
    let Some(first) = text.lines().next() else {
        return false;
    };
    text.contains('\n')
        && !first.is_empty()
        && !first.starts_with([' ', '\t'])
        && text
            .chars()
            .all(|char| char == '\n' || char == '\t' || is_printable(char))
}

/// Writes a literal block with its head: `|`, and how it ends.
fn block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    let lines = text.strip_suffix('\n').unwrap_or(text);
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
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    let words = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf",
    ];
    first.is_ascii_alphabetic()
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_./:@+=".contains(char))
        && !text.contains(": ")
        && !text.ends_with(':')
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

fn is_printable(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
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
                out.push_str(&if code <= 0xff {
                    format!("\\x{code:02x}")
                } else {
                    format!("\\u{code:04x}")
                });
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
        for text in [
            "", "yes", "1", "a: b", "- a", "#", "null", "0x1", "a:", "é", "a b", "\u{85}",
        ] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        assert_eq!(scalar("nginx:1.25"), "nginx:1.25");
        assert_eq!(scalar("\u{85}\u{2028}"), "\"\\x85\\u2028\"");
    }
}
