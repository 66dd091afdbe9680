//! Writing YAML, fed by events.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::natural::{natural_cmp, natural_cmp_pretty, sort};
use super::scalar::{
    Form, Place, form_of, has_break, through_json, write_double, write_literal, write_plain, write_single,
};
use crate::number;
use crate::value::Value;

/// The column from which `toYaml` folds long texts at spaces.
const FOLD_AT: usize = 80;
/// Longer keys are written with a `? ` of their own.
const SIMPLE_KEY_MAX: usize = 128;

/// Which of Helm's two YAML writers to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `toYaml`: go-yaml version 2 behind a JSON round trip. Lists are not indented in tables, long texts are folded.
    ToYaml,
    /// `toYamlPretty`: go-yaml version 3. Lists are indented in tables, nothing is folded.
    Pretty,
}

impl Style {
    /// How the style compares the keys of a table.
    fn key_order(self) -> fn(&str, &str) -> Ordering {
        match self {
            Style::ToYaml => natural_cmp,
            Style::Pretty => natural_cmp_pretty,
        }
    }
}

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// A number that JSON does not have.
    #[error("json: unsupported value: {0}")]
    UnsupportedNumber(&'static str),
    /// A character that YAML does not have.
    #[error("error converting JSON to YAML: yaml: control characters are not allowed")]
    ControlCharacter,
    /// A key that YAML does not take for one: it is too long, or has a line end.
    #[error("error converting JSON to YAML: yaml: did not find expected ',' or '}}'")]
    UnreadableKey,
}

/// A writer of one YAML document.
///
/// The caller walks its own values and calls one method per event, with the entries of a table in the order of
/// [`Emitter::sort`]. So values of any type can be written without a copy.
///
/// ```
/// use chart_values::yaml::{Emitter, Style};
/// let mut emitter = Emitter::new(Style::ToYaml);
/// emitter.begin_map();
/// emitter.key("ports");
/// emitter.begin_list();
/// emitter.int(80);
/// emitter.end_list();
/// emitter.end_map();
/// assert_eq!(emitter.finish().unwrap(), "ports:\n- 80\n");
/// ```
#[derive(Debug)]
pub struct Emitter {
    out: String,
    style: Style,
    frames: Vec<Frame>,
    slot: Slot,
    error: Option<EmitError>,
}

/// An open table or list.
#[derive(Debug, Clone, Copy)]
struct Frame {
    list: bool,
    /// The column of its keys or dashes.
    indent: usize,
    /// Nothing was written yet, not even the line end before its first entry.
    empty: bool,
    /// What it was opened in.
    slot: Slot,
}

/// Where the next value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Root,
    /// After `key:`.
    Value,
    /// After the `:` of a `? ` key, where a table may start on the same line.
    CompactValue,
    /// In a list.
    Item,
}

impl Emitter {
    /// Starts a document.
    pub fn new(style: Style) -> Self {
        Emitter::onto(String::new(), style)
    }

    /// Starts a document behind what `out` holds, which must be nothing or end with a line end.
    pub fn onto(out: String, style: Style) -> Self {
        Emitter {
            out,
            style,
            frames: Vec::new(),
            slot: Slot::Root,
            error: None,
        }
    }

    /// Sorts the entries of a table as the style wants them.
    pub fn sort<T>(&self, entries: &mut Vec<T>, key: impl Fn(&T) -> &str) {
        let compare = self.style.key_order();
        sort(entries, |a, b| compare(key(a), key(b)));
    }

    /// Ends the document, which ends with a line end.
    pub fn finish(mut self) -> Result<String, EmitError> {
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    /// Opens a table.
    pub fn begin_map(&mut self) {
        self.open(false);
    }

    /// Closes the table opened last.
    pub fn end_map(&mut self) {
        self.close("{}");
    }

    /// Opens a list.
    pub fn begin_list(&mut self) {
        self.open(true);
    }

    /// Closes the list opened last.
    pub fn end_list(&mut self) {
        self.close("[]");
    }

    /// Writes the key of the next value.
    pub fn key(&mut self, key: &str) {
        let indent = self.entry();
        if self.style == Style::ToYaml && !is_readable_key(key) {
            self.error.get_or_insert(EmitError::UnreadableKey);
        }
        let key = &*self.through_json(key);
        let long = key.len() > SIMPLE_KEY_MAX || has_break(key);
        let form = form_of(key, self.style, !long);
        if long || form == Form::Literal {
            self.out.push_str("? ");
            self.text(key, form_of(key, self.style, false), indent + 2, true);
            self.line(indent);
            self.out.push(':');
            self.slot = Slot::CompactValue;
        } else {
            self.text(key, form, indent + 2, false);
            self.out.push(':');
            self.slot = Slot::Value;
        }
    }

    /// Writes `null`.
    pub fn null(&mut self) {
        self.bare("null");
    }

    /// Writes `true` or `false`.
    pub fn bool(&mut self, flag: bool) {
        self.bare(if flag { "true" } else { "false" });
    }

    /// Writes a whole number.
    pub fn int(&mut self, number: i64) {
        self.bare(&number.to_string());
    }

    /// Writes a number. Infinities and NaN make [`Emitter::finish`] fail, unless the style can write them.
    pub fn float(&mut self, float: f64) {
        let text = match self.style {
            Style::ToYaml => number::yaml_by_json(float),
            Style::Pretty if float.is_nan() => Some(".nan".to_owned()),
            Style::Pretty if float.is_infinite() => {
                Some(if float > 0.0 { ".inf" } else { "-.inf" }.to_owned())
            }
            Style::Pretty => Some(number::go_g(float)),
        };
        if text.is_none() {
            let name = match float {
                f64::INFINITY => "+Inf",
                f64::NEG_INFINITY => "-Inf",
                _ => "NaN",
            };
            self.error.get_or_insert(EmitError::UnsupportedNumber(name));
        }
        self.bare(text.as_deref().unwrap_or("null"));
    }

    /// Writes a text, quoted where it would read back as something else.
    pub fn string(&mut self, text: &str) {
        let parent = self.before_scalar();
        let text = &*self.through_json(text);
        self.text(text, form_of(text, self.style, false), parent, true);
    }

    fn through_json<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        // Plain ASCII is left as it is, but for one character.
        if self.style == Style::Pretty || (text.is_ascii() && !text.contains('\u{7f}')) {
            return Cow::Borrowed(text);
        }
        through_json(text).unwrap_or_else(|| {
            self.error.get_or_insert(EmitError::ControlCharacter);
            Cow::Borrowed(text)
        })
    }

    /// Writes a whole value with the keys of its tables sorted.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(flag) => self.bool(*flag),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => self.float(*number),
            Value::String(text) => self.string(text),
            Value::List(items) => {
                self.begin_list();
                for item in items {
                    self.value(item);
                }
                self.end_list();
            }
            Value::Map(map) => {
                self.begin_map();
                let mut entries: Vec<(&String, &Value)> = map.iter().collect();
                self.sort(&mut entries, |(key, _)| key);
                for (key, item) in entries {
                    self.key(key);
                    self.value(item);
                }
                self.end_map();
            }
        }
    }

    fn open(&mut self, list: bool) {
        let slot = self.item();
        let parent = self.frames.last().map(|frame| frame.indent);
        let indent = match (parent, slot) {
            (None, _) => 0,
            // The dashes of a list stand below the key, not further in.
            (Some(indent), Slot::Value) if list && self.style == Style::ToYaml => indent,
            (Some(indent), _) => indent + 2,
        };
        self.frames.push(Frame {
            list,
            indent,
            empty: true,
            slot,
        });
        self.slot = self.slot_in_parent();
    }

    fn close(&mut self, when_empty: &str) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.empty {
            if matches!(frame.slot, Slot::Value | Slot::CompactValue | Slot::Item) {
                self.out.push(' ');
            }
            self.out.push_str(when_empty);
        }
        self.slot = self.slot_in_parent();
    }

    fn slot_in_parent(&self) -> Slot {
        match self.frames.last() {
            Some(frame) if frame.list => Slot::Item,
            Some(_) => Slot::Value,
            None => Slot::Root,
        }
    }

    /// Writes the dash where the next value is an item of a list, and tells where the value goes.
    fn item(&mut self) -> Slot {
        if self.slot == Slot::Item {
            self.entry();
            self.out.push('-');
        }
        self.slot
    }

    /// Goes to where the next key or dash of the innermost table or list stands, and gives its column.
    fn entry(&mut self) -> usize {
        let Some(frame) = self.frames.last_mut() else {
            return 0;
        };
        let (first, slot, indent) = (frame.empty, frame.slot, frame.indent);
        frame.empty = false;
        let list = frame.list;
        // The first entry of a collection in a list stands behind the dash.
        if first && matches!(slot, Slot::Item | Slot::CompactValue) {
            self.out.push(' ');
        } else if !(first && slot == Slot::Root) {
            self.line(indent);
        }
        if list {
            self.slot = Slot::Item;
        }
        indent
    }

    /// Goes to the given column of a new line.
    fn line(&mut self, indent: usize) {
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Writes what stands between the key or dash and a scalar, and gives the indentation of the scalar's own lines.
    fn before_scalar(&mut self) -> usize {
        if self.item() != Slot::Root {
            self.out.push(' ');
        }
        self.slot = self.slot_in_parent();
        self.frames.last().map_or(2, |frame| frame.indent + 2)
    }

    fn bare(&mut self, text: &str) {
        self.before_scalar();
        self.out.push_str(text);
    }

    fn text(&mut self, text: &str, form: Form, indent: usize, may_fold: bool) {
        let fold_at = (may_fold && self.style == Style::ToYaml).then_some(FOLD_AT);
        let line_start = self.out.rfind('\n').map_or(0, |at| at + 1);
        let column = if fold_at.is_some() {
            self.out[line_start..].chars().count()
        } else {
            0
        };
        let place = Place {
            column,
            indent,
            fold_at,
        };
        match form {
            Form::Plain => write_plain(&mut self.out, text, place),
            Form::Single => write_single(&mut self.out, text, place),
            Form::Double => write_double(&mut self.out, text, place),
            Form::Literal => write_literal(&mut self.out, text, place),
        }
    }
}

/// Tells whether YAML takes the key for one where it stands in JSON.
fn is_readable_key(key: &str) -> bool {
    const SIMPLE_JSON_KEY_MAX: usize = 1024;
    if key.len() < 160 && !key.contains('\u{85}') {
        return true;
    }
    let mut json = String::new();
    crate::json::write_string(&mut json, key, true);
    !json.contains('\u{85}') && json.chars().count() <= SIMPLE_JSON_KEY_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{to_yaml, to_yaml_pretty};

    fn map(entries: &[(&str, Value)]) -> Value {
        entries.iter().cloned().collect()
    }

    #[test]
    fn writes_collections() {
        let value = map(&[
            (
                "list",
                vec![Value::from(1.0), map(&[("a", 1.0.into()), ("b", 2.0.into())])].into(),
            ),
            (
                "nested",
                Value::List(vec![vec![1.0, 2.0].into(), Value::List(vec![])]),
            ),
            ("empty", map(&[])),
            ("none", Value::Null),
        ]);
        assert_eq!(
            to_yaml(&value).unwrap(),
            "empty: {}\nlist:\n- 1\n- a: 1\n  b: 2\nnested:\n- - 1\n  - 2\n- []\nnone: null"
        );
        assert_eq!(
            to_yaml_pretty(&value).unwrap(),
            "empty: {}\nlist:\n  - 1\n  - a: 1\n    b: 2\nnested:\n  - - 1\n    - 2\n  - []\nnone: null"
        );
        assert_eq!(to_yaml(&map(&[])).unwrap(), "{}");
        assert_eq!(to_yaml(&Value::List(vec![])).unwrap(), "[]");
    }

    #[test]
    fn writes_texts_so_that_they_read_back() {
        let long = "word ".repeat(20);
        let folded = format!("{}\n  word word word", "word ".repeat(17).trim_end());
        for (text, yaml, pretty) in [
            ("plain", "plain", "plain"),
            ("", "\"\"", "\"\""),
            ("yes", "\"yes\"", "\"yes\""),
            ("0644", "\"0644\"", "\"0644\""),
            ("12:30:45", "\"12:30:45\"", "\"12:30:45\""),
            ("{{ x }}", "'{{ x }}'", "'{{ x }}'"),
            ("it's: x", "'it''s: x'", "'it''s: x'"),
            (" x", "' x'", "' x'"),
            ("=", "=", "="),
            ("<<", "<<", "<<"),
            ("a:b", "a:b", "a:b"),
            ("a\nb", "|-\n  a\n  b", "|-\n  a\n  b"),
            ("a\n", "|\n  a", "|\n  a"),
            ("a\n\n", "|+\n  a\n", "|+\n  a\n"),
            ("\na", "|2-\n\n  a", "|2-\n\n  a"),
            ("tab\t\nx", "\"tab\\t\\nx\"", "|-\n  tab\t\n  x"),
            ("a \nb", "\"a \\nb\"", "\"a \\nb\""),
            ("\u{7}\u{1F600}", "\"\\a\\U0001F600\"", "\"\\a\\U0001F600\""),
            (long.trim_end(), &folded, long.trim_end()),
        ] {
            assert_eq!(to_yaml(&text.into()).unwrap(), yaml, "{text:?}");
            assert_eq!(to_yaml_pretty(&text.into()).unwrap(), pretty, "{text:?}");
        }
    }

    #[test]
    fn sorts_keys_by_style() {
        let keys = ["b", "B", "_x", "a1.", "a1x", "10", "9"];
        let value: Value = keys.iter().map(|key| (*key, Value::Null)).collect();
        let order = |text: String| {
            text.lines()
                .map(|line| line.replace(['"', ':'], "").replace(" null", ""))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(order(to_yaml(&value).unwrap()), "_x 9 10 B a1. a1x b");
        assert_eq!(order(to_yaml_pretty(&value).unwrap()), "_x 9 10 B a1x a1. b");
    }

    #[test]
    fn err_keys_in_a_circle_are_written_in_some_order() {
        let keys: Vec<String> = (0..500)
            .flat_map(|n| [format!("a{n}"), format!("a{n}x"), format!("{n}a")])
            .collect();
        let value: Value = keys.iter().map(|key| (key.as_str(), Value::Null)).collect();
        assert_eq!(to_yaml(&value).unwrap().lines().count(), keys.len());
    }

    #[test]
    fn long_keys_and_keys_with_lines_stand_alone() {
        let long = "k".repeat(129);
        let value = map(&[(&long, map(&[("a", 1.0.into())])), ("a\nb", vec![1.0].into())]);
        assert_eq!(
            to_yaml(&value).unwrap(),
            format!("? |-\n  a\n  b\n: - 1\n? {long}\n: a: 1")
        );
    }

    #[test]
    fn err_what_json_or_yaml_lacks_is_refused() {
        assert_eq!(
            to_yaml(&f64::NAN.into()),
            Err(EmitError::UnsupportedNumber("NaN"))
        );
        assert_eq!(to_yaml(&"a\u{7f}".into()), Err(EmitError::ControlCharacter));
        assert_eq!(
            to_yaml(&map(&[(&"k".repeat(1023), Value::Null)])),
            Err(EmitError::UnreadableKey)
        );
        assert!(to_yaml_pretty(&f64::NAN.into()).is_ok());
    }
}
