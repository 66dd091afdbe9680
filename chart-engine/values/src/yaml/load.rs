//! From a YAML text to a value.

use std::borrow::Cow;
use std::collections::HashMap;

use super::documents::documents;
use super::error::{YamlError, YamlFault};
use super::parse::{Event, ParseError, Parser};
use super::resolve::{Scalar, resolve};
use super::scan::Mark;
use crate::number;
use crate::value::{Map, Value};

const TAG: &str = "tag:yaml.org,2002:";
const MERGE: &str = "tag:yaml.org,2002:merge";

/// Limits against texts that are made to hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep lists and tables may nest.
    pub depth_max: usize,
    /// Bytes of memory that copies of anchored values may take, about.
    pub copied_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            depth_max: 1000,
            copied_bytes_max: 32 << 20,
        }
    }
}

/// Reads the first document of `text`.
///
/// Every number becomes a [`Value::Float`], every key a text; of equal keys the last counts; an empty text is
/// [`Value::Null`]. Aliases that blow a small text up are refused.
pub fn from_yaml(text: &str) -> Result<Value, YamlError> {
    from_yaml_with(text, Limits::default())
}

/// As [`from_yaml`], with limits of the caller's.
pub fn from_yaml_with(text: &str, limits: Limits) -> Result<Value, YamlError> {
    check_characters(text)?;
    let loader = Loader {
        parser: Parser::new(text),
        anchors: HashMap::new(),
        open: Vec::new(),
        limits,
        decoded: 0,
        aliased: 0,
        copied: 0,
        later: None,
    };
    loader.document().map_err(|mut error| {
        // Where the text ends too early, the fault is on its last line.
        let lines = text.lines().count().max(1);
        error.line = error.line.map(|line| line.min(lines));
        error
    })
}

/// A text with control characters is no YAML at all.
pub(super) fn check_characters(text: &str) -> Result<(), YamlError> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    let tame = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    // Without an early end within a block, many bytes are looked at at once.
    let all_tame = |block: &[u8]| block.iter().fold(true, |all, byte| all & tame(byte));
    if text.as_bytes().chunks(256).all(all_tame) {
        return Ok(());
    }
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    match body.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(()),
        Some((at, _)) => {
            let before = &body[..at];
            let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            let fault = YamlFault::Syntax("control characters are not allowed".to_owned());
            Err(YamlError::at(fault, line, column))
        }
    }
}

/// Reads the first document of `text`, which must be a table or empty.
pub fn map_from_yaml(text: &str) -> Result<Map, YamlError> {
    map_from_yaml_with(text, Limits::default())
}

fn map_from_yaml_with(text: &str, limits: Limits) -> Result<Map, YamlError> {
    match from_yaml_with(text, limits)? {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(not_a_map(&other)),
    }
}

/// Reads a values file: the tables of all its documents, each laid over the ones before it.
///
/// Positions in errors count from the start of the file; the line that Go names counts from the start of the document.
pub fn values_from_yaml(text: &str) -> Result<Map, YamlError> {
    values_from_yaml_with(text, Limits::default())
}

/// As [`values_from_yaml`], with limits of the caller's.
pub fn values_from_yaml_with(text: &str, limits: Limits) -> Result<Map, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values = Map::new();
    for (first_line, document) in documents(text) {
        let map = map_from_yaml_with(document, limits).map_err(|mut error| {
            error.line = error.line.map(|line| line + first_line - 1);
            error
        })?;
        if values.is_empty() {
            values = map;
        } else {
            crate::coalesce::overlay(&mut values, map);
        }
    }
    Ok(values)
}

fn not_a_map(found: &Value) -> YamlError {
    let found = match found {
        Value::Bool(_) => "bool",
        other => other.json_kind(),
    };
    YamlError {
        fault: YamlFault::NotAMap { found },
        line: Some(1),
        column: Some(1),
        go_line: None,
    }
}

/// Reads events with a stack of its own, so that deep nesting costs memory and not the thread's stack.
struct Loader<'t> {
    parser: Parser<'t>,
    /// Per anchor its value; `None` while it is being read.
    anchors: HashMap<&'t str, Option<Anchored>>,
    open: Vec<Open<'t>>,
    limits: Limits,
    decoded: usize,
    aliased: usize,
    /// Bytes of memory that copies of anchored values take, about.
    copied: usize,
    /// A fault that shows only once everything was read.
    later: Option<YamlError>,
}

/// A value with an anchor.
struct Anchored {
    value: Value,
    nodes: usize,
    bytes: usize,
}

/// A list or table that is being read.
struct Open<'t> {
    content: Content,
    anchor: Option<&'t str>,
    mark: Mark,
    decoded_before: usize,
}

enum Content {
    List(Vec<Value>),
    Map { map: Map, key: Option<Key> },
}

/// The key whose value comes next.
enum Key {
    Typed(Typed, Mark),
    Merge,
}

impl<'t> Loader<'t> {
    fn document(mut self) -> Result<Value, YamlError> {
        match self.read() {
            // Go reads a document whole before it looks at what it means, so a fault of grammar comes first.
            Err(error) if error.fault.is_of_meaning() => {
                self.read_on()?;
                Err(error)
            }
            Ok(value) => self.later.map_or(Ok(value), Err),
            result => result,
        }
    }

    /// Reads the rest of the document for its grammar only.
    fn read_on(&mut self) -> Result<(), YamlError> {
        loop {
            match self.next()? {
                (Event::StreamEnd | Event::DocumentEnd, _) => return Ok(()),
                (Event::Alias(anchor), mark) if !self.anchors.contains_key(anchor) => {
                    return Err(fault_at(YamlFault::UnknownAnchor(anchor.to_owned()), mark));
                }
                (
                    Event::Scalar {
                        anchor: Some(anchor), ..
                    }
                    | Event::SequenceStart {
                        anchor: Some(anchor), ..
                    }
                    | Event::MappingStart {
                        anchor: Some(anchor), ..
                    },
                    _,
                ) => {
                    self.anchors.insert(anchor, None);
                }
                _ => {}
            }
        }
    }

    /// Keeps a fault that shows only once everything was read: of several, the one of the earlier stage.
    fn postpone(&mut self, fault: YamlFault, mark: Mark) {
        let stage = |fault: &YamlFault| matches!(fault, YamlFault::UnsupportedNumber(_));
        if self
            .later
            .as_ref()
            .is_none_or(|known| stage(&known.fault) && !stage(&fault))
        {
            self.later = Some(fault_at(fault, mark));
        }
    }

    fn read(&mut self) -> Result<Value, YamlError> {
        loop {
            let (event, mark) = self.next()?;
            let done = match event {
                Event::StreamEnd => return Ok(Value::Null),
                Event::DocumentStart | Event::DocumentEnd => None,
                Event::Alias(anchor) => {
                    let value = self.alias(anchor, mark)?;
                    self.place(value, mark)?
                }
                Event::Scalar {
                    anchor,
                    tag,
                    text,
                    plain,
                } => {
                    self.decoded += 1;
                    let wants_key = self.wants_key();
                    if wants_key && text == "<<" && (plain || tag.as_deref() == Some(MERGE)) {
                        self.set_key(Key::Merge);
                        continue;
                    }
                    let typed = scalar(text, tag.as_deref(), plain).map_err(|fault| fault_at(fault, mark))?;
                    if wants_key && anchor.is_none() {
                        self.set_key(Key::Typed(typed, mark));
                        continue;
                    }
                    let key = wants_key.then(|| typed.clone());
                    let value = json_value(typed).unwrap_or_else(|fault| {
                        self.postpone(fault, mark);
                        Value::Null
                    });
                    if let Some(anchor) = anchor {
                        self.keep(anchor, &value, 1, mark)?;
                    }
                    if let Some(key) = key {
                        self.set_key(Key::Typed(key, mark));
                        continue;
                    }
                    self.place(value, mark)?
                }
                Event::SequenceStart { anchor, .. } => {
                    self.begin(Content::List(Vec::new()), anchor, mark)?;
                    None
                }
                Event::MappingStart { anchor, .. } => {
                    self.begin(
                        Content::Map {
                            map: Map::new(),
                            key: None,
                        },
                        anchor,
                        mark,
                    )?;
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
            };
            if let Some(value) = done {
                // What follows the node must still be the end of a document.
                self.next()?;
                return Ok(value);
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Mark), YamlError> {
        self.parser.next().map_err(|error| syntax(&error))
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                content: Content::Map { key: None, .. },
                ..
            })
        )
    }

    fn set_key(&mut self, wanted: Key) {
        if let Some(Open {
            content: Content::Map { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(wanted);
        }
    }

    fn begin(&mut self, content: Content, anchor: Option<&'t str>, mark: Mark) -> Result<(), YamlError> {
        if self.open.len() >= self.limits.depth_max {
            return Err(fault_at(YamlFault::TooDeep(self.limits.depth_max), mark));
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open {
            content,
            anchor,
            mark,
            decoded_before: self.decoded,
        });
        self.decoded += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<Option<Value>, YamlError> {
        let Some(Open {
            content,
            anchor,
            mark,
            decoded_before,
        }) = self.open.pop()
        else {
            return Ok(None);
        };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { map, .. } => Value::Map(map),
        };
        if let Some(anchor) = anchor {
            self.keep(anchor, &value, self.decoded - decoded_before, mark)?;
        }
        self.place(value, mark)
    }

    /// Keeps a copy of a value for the aliases of its anchor.
    fn keep(&mut self, anchor: &'t str, value: &Value, nodes: usize, mark: Mark) -> Result<(), YamlError> {
        let bytes = weight(value);
        self.copy(bytes, mark)?;
        let value = value.clone();
        self.anchors
            .insert(anchor, Some(Anchored { value, nodes, bytes }));
        Ok(())
    }

    /// Counts a copy that is about to be made: one long text, or anchors within anchors, weigh much and are few nodes.
    fn copy(&mut self, bytes: usize, mark: Mark) -> Result<(), YamlError> {
        self.copied = self.copied.saturating_add(bytes);
        let max = self.limits.copied_bytes_max;
        if self.copied > max {
            return Err(fault_at(YamlFault::TooManyCopies(max), mark));
        }
        Ok(())
    }

    /// Puts a finished value where it belongs; gives it back when it is the whole document.
    fn place(&mut self, value: Value, mark: Mark) -> Result<Option<Value>, YamlError> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => return Ok(Some(value)),
            Some(Content::List(items)) => items.push(value),
            Some(Content::Map { map, key }) => match key.take() {
                None => match value {
                    Value::List(_) | Value::Map(_) => {
                        return Err(fault_at(YamlFault::InvalidKey(go_syntax(&value)), mark));
                    }
                    value => *key = Some(Key::Typed(Typed::of(value), mark)),
                },
                Some(Key::Merge) => merge(map, value).map_err(|fault| fault_at(fault, mark))?,
                Some(Key::Typed(key, mark)) => match key_text(key, &value) {
                    Ok(key) => {
                        map.insert(key, value);
                    }
                    Err(fault) => self.postpone(fault, mark),
                },
            },
        }
        Ok(None)
    }

    fn alias(&mut self, anchor: &str, mark: Mark) -> Result<Value, YamlError> {
        let (nodes, bytes) = match self.anchors.get(anchor) {
            Some(Some(known)) => (known.nodes, known.bytes),
            Some(None) => return Err(fault_at(YamlFault::SelfReference(anchor.to_owned()), mark)),
            None => return Err(fault_at(YamlFault::UnknownAnchor(anchor.to_owned()), mark)),
        };
        self.decoded += nodes;
        self.aliased += nodes;
        if self.aliased > 100 && self.decoded > 1000 && self.aliased_share() > allowed_share(self.decoded) {
            return Err(fault_at(YamlFault::ExcessiveAliasing, mark));
        }
        self.copy(bytes, mark)?;
        let known = self.anchors.get(anchor).and_then(Option::as_ref);
        Ok(known.map(|known| known.value.clone()).unwrap_or_default())
    }

    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    fn aliased_share(&self) -> f64 {
        self.aliased as f64 / self.decoded as f64
    }
}

/// The bytes that a value takes in memory, about.
fn weight(value: &Value) -> usize {
    /// A table has its entries in blocks of six to eleven, of which the last may be nearly empty.
    const ENTRIES: usize = 6;
    const BLOCK: usize = 11 * (size_of::<String>() + size_of::<Value>());
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        Value::String(text) => text.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(map) if map.is_empty() => 0,
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| key.len() + weight(value));
            (map.len() / ENTRIES + 1) * BLOCK + entries.sum::<usize>()
        }
    };
    size_of::<Value>() + inside
}

/// Lays the tables named by `<<` over what the table holds so far; entries after it lie over them in turn.
fn merge(map: &mut Map, value: Value) -> Result<(), YamlFault> {
    match value {
        Value::Map(merged) => map.extend(merged),
        Value::List(items) => {
            // The first of several tables wins.
            for item in items.into_iter().rev() {
                let Value::Map(merged) = item else {
                    return Err(YamlFault::BadMerge);
                };
                map.extend(merged);
            }
        }
        _ => return Err(YamlFault::BadMerge),
    }
    Ok(())
}

/// How large a share of all nodes may come from aliases: nearly all of them in small texts, a tenth in huge ones.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
fn allowed_share(decoded: usize) -> f64 {
    const SMALL: usize = 400_000;
    const HUGE: usize = 4_000_000;
    match decoded {
        ..=SMALL => 0.99,
        HUGE.. => 0.10,
        between => 0.99 - 0.89 * (between - SMALL) as f64 / (HUGE - SMALL) as f64,
    }
}

/// A scalar with the type that YAML gives it, which keys and values turn into text and numbers differently.
#[derive(Debug, Clone)]
enum Typed {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    String(String),
}

impl Typed {
    fn of(value: Value) -> Self {
        match value {
            Value::Bool(flag) => Typed::Bool(flag),
            Value::Int(number) => Typed::Int(number),
            Value::Float(number) => Typed::Float(number),
            Value::String(text) => Typed::String(text),
            Value::Null | Value::List(_) | Value::Map(_) => Typed::Null,
        }
    }
}

fn scalar(text: Cow<'_, str>, tag: Option<&str>, plain: bool) -> Result<Typed, YamlFault> {
    match tag.map(|tag| tag.strip_prefix(TAG).unwrap_or(tag)) {
        None if plain => Ok(typed(resolve(&text), text)),
        Some(wanted @ ("bool" | "int" | "float" | "null" | "timestamp")) => tagged(wanted, text),
        Some("binary") => {
            let bytes = decode_base64(&text).ok_or(YamlFault::BadBinary)?;
            Ok(Typed::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        // A quoted text, one marked as such, or one with a tag of its own.
        _ => Ok(Typed::String(text.into_owned())),
    }
}

fn typed(meaning: Scalar, text: Cow<'_, str>) -> Typed {
    match meaning {
        Scalar::Null => Typed::Null,
        Scalar::Bool(flag) => Typed::Bool(flag),
        Scalar::Int(number) => Typed::Int(number),
        Scalar::Uint(number) => Typed::Uint(number),
        Scalar::Float(number) => Typed::Float(number),
        Scalar::Timestamp | Scalar::String => Typed::String(text.into_owned()),
    }
}

fn tagged(wanted: &str, text: Cow<'_, str>) -> Result<Typed, YamlFault> {
    let meaning = resolve(&text);
    let (found, long) = match meaning {
        Scalar::Null => ("null", "!!null"),
        Scalar::Bool(_) => ("bool", "!!bool"),
        Scalar::Int(_) | Scalar::Uint(_) => ("int", "!!int"),
        Scalar::Float(_) => ("float", "!!float"),
        Scalar::Timestamp => ("timestamp", "!!timestamp"),
        Scalar::String => ("str", "!!str"),
    };
    if found == wanted || (wanted == "float" && matches!(meaning, Scalar::Int(_))) {
        return Ok(typed(meaning, text));
    }
    let wanted = match wanted {
        "bool" => "!!bool",
        "int" => "!!int",
        "float" => "!!float",
        "null" => "!!null",
        _ => "!!timestamp",
    };
    Err(YamlFault::BadTag {
        found: long,
        text: text.into_owned(),
        wanted,
    })
}

#[expect(clippy::cast_precision_loss, reason = "Helm's numbers are floats")]
fn json_value(typed: Typed) -> Result<Value, YamlFault> {
    Ok(match typed {
        Typed::Null => Value::Null,
        Typed::Bool(flag) => Value::Bool(flag),
        Typed::Int(number) => Value::Float(number as f64),
        Typed::Uint(number) => Value::Float(number as f64),
        Typed::Float(number) if number.is_nan() => return Err(YamlFault::UnsupportedNumber("NaN")),
        Typed::Float(f64::INFINITY) => return Err(YamlFault::UnsupportedNumber("+Inf")),
        Typed::Float(f64::NEG_INFINITY) => return Err(YamlFault::UnsupportedNumber("-Inf")),
        Typed::Float(number) => Value::Float(number),
        Typed::String(text) => Value::String(text),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "keys are written with the digits of a 32-bit float"
)]
fn key_text(key: Typed, value: &Value) -> Result<String, YamlFault> {
    Ok(match key {
        Typed::String(text) => text,
        Typed::Bool(flag) => flag.to_string(),
        Typed::Int(number) => number.to_string(),
        Typed::Float(number) if number.is_nan() => ".nan".to_owned(),
        Typed::Float(f64::INFINITY) => ".inf".to_owned(),
        Typed::Float(f64::NEG_INFINITY) => "-.inf".to_owned(),
        Typed::Float(number) => number::go_g32(number as f32),
        Typed::Null => {
            return Err(YamlFault::UnsupportedKey {
                kind: "%!s(<nil>)",
                key: "<nil>".to_owned(),
                value: go_syntax_plus(value),
            });
        }
        Typed::Uint(number) => {
            return Err(YamlFault::UnsupportedKey {
                kind: "uint64",
                key: format!("0x{number:x}"),
                value: go_syntax_plus(value),
            });
        }
    })
}

/// A value in Go's syntax (`%#v`), as go-yaml shows keys that it refuses.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number::go_g(*number),
        Value::String(text) => crate::number::go_quote(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Map(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}:{}", number::go_quote(key), go_syntax(value)))
                .collect();
            format!("map[interface {{}}]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}

fn go_syntax_plus(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        other => go_syntax(other),
    }
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut group = 0u32;
    let mut filled = 0;
    let mut padding = 0;
    for byte in text.bytes() {
        let digit = match byte {
            b'\r' | b'\n' => continue,
            b'=' => {
                padding += 1;
                0
            }
            _ if padding > 0 => return None,
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(digit);
        filled += 1;
        if filled == 4 {
            let bytes = group.to_be_bytes();
            out.extend_from_slice(&bytes[1..4 - usize::from(padding.min(2u8))]);
            group = 0;
            filled = 0;
        }
    }
    (filled == 0 && padding <= 2).then_some(out)
}

fn syntax(error: &ParseError) -> YamlError {
    let ParseError {
        mark,
        context,
        by_scanner,
        ..
    } = *error;
    let named = [mark, context].into_iter().find(|mark| mark.line > 0);
    YamlError {
        fault: YamlFault::Syntax(error.problem.to_owned()),
        line: Some(mark.line + 1),
        column: Some(mark.column + 1),
        go_line: named.map(|mark| mark.line + usize::from(by_scanner)),
    }
}

fn fault_at(fault: YamlFault, mark: Mark) -> YamlError {
    YamlError::at(fault, mark.line + 1, mark.column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_json;

    #[test]
    fn reads_what_helm_reads() {
        for (text, json) in [
            ("", "null"),
            ("# only a comment\n", "null"),
            ("a: 1\n<<: {a: 2, b: 3}\nb: 4", r#"{"a":2,"b":4}"#),
            (
                "x: &x {a: 1, b: 1}\nw: &y {b: 2}\nz:\n  <<: [*x, *y]\n  c: 3",
                r#"{"w":{"b":2},"x":{"a":1,"b":1},"z":{"a":1,"b":1,"c":3}}"#,
            ),
            (
                "y: yes\n2: no\n1.50: a\ntrue: on",
                r#"{"1.5":"a","2":false,"true":true}"#,
            ),
            ("a: 1\na: 2", r#"{"a":2}"#),
            ("a: 1\n---\nb: 2", r#"{"a":1}"#),
            (
                "a: 0644\nb: 1_000\nc: 123456789012345678\nd: 1e3",
                r#"{"a":420,"b":1000,"c":123456789012345680,"d":1000}"#,
            ),
            (
                "a: !!int \"12\"\nb: !foo 12\nc: !!float 1\nd: !!binary aGVsbG8=\ne: 2001-01-01",
                r#"{"a":12,"b":"12","c":1,"d":"hello","e":"2001-01-01"}"#,
            ),
            (
                "a: |\n  x\n   y\nb: >-\n  x\n  y\n",
                r#"{"a":"x\n y\n","b":"x y"}"#,
            ),
            ("a: -0.0\nb: -0", r#"{"a":-0,"b":0}"#),
        ] {
            assert_eq!(to_json(&from_yaml(text).unwrap()), json, "{text}");
        }
    }

    #[test]
    fn err_says_what_go_says() {
        for (text, message) in [
            (
                "{{ .x }}: 1",
                "error converting YAML to JSON: yaml: invalid map key: map[interface {}]interface {}{\".x\":interface {}(nil)}",
            ),
            (
                "a: [1",
                "error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'",
            ),
            (
                "~: 3",
                "error converting YAML to JSON: unsupported map key of type: %!s(<nil>), key: <nil>, value: 3",
            ),
            (
                "a: .inf",
                "error converting YAML to JSON: json: unsupported value: +Inf",
            ),
            (
                "a: b: c",
                "error converting YAML to JSON: yaml: mapping values are not allowed in this context",
            ),
            (
                "x: 1\na:\n\t- b",
                "error converting YAML to JSON: yaml: line 3: found character that cannot start any token",
            ),
            (
                "x: 1\na:\n  b: 1\n c: 1",
                "error converting YAML to JSON: yaml: line 3: did not find expected key",
            ),
            (
                "x: \"a\n",
                "error converting YAML to JSON: yaml: line 2: found unexpected end of stream",
            ),
            (
                "x: *a",
                "error converting YAML to JSON: yaml: unknown anchor 'a' referenced",
            ),
            (
                "x: &a [*a]",
                "error converting YAML to JSON: yaml: anchor 'a' value contains itself",
            ),
            (
                "x: @a",
                "error converting YAML to JSON: yaml: found character that cannot start any token",
            ),
            (
                "x: !!int \"a\"",
                "error converting YAML to JSON: yaml: cannot decode !!str `a` as a !!int",
            ),
            (
                "<<: 1",
                "error converting YAML to JSON: yaml: map merge requires map or sequence of maps as the value",
            ),
            (
                "%YAML 1.2\n---\na: 1",
                "error converting YAML to JSON: yaml: found incompatible YAML document",
            ),
        ] {
            assert_eq!(from_yaml(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn err_only_a_table_can_be_values() {
        for (text, message) in [
            ("- 1", "array"),
            ("foo", "string"),
            ("1", "number"),
            ("true", "bool"),
        ] {
            assert_eq!(
                values_from_yaml(text).unwrap_err().to_string(),
                format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {message} into Go value of type map[string]interface {{}}"
                )
            );
        }
    }

    #[test]
    fn values_of_several_documents_lie_over_each_other() {
        let values = values_from_yaml("a: {x: 1, z: 1}\n---\na: {z: 2}\nb: 1\n").unwrap();
        assert_eq!(to_json(&Value::Map(values)), r#"{"a":{"x":1,"z":2},"b":1}"#);
        let error = values_from_yaml("a: 1\n---\nb: 1\nc: @\n").unwrap_err();
        assert_eq!(
            (error.line, error.column, error.go_line),
            (Some(4), Some(4), Some(2))
        );
    }

    #[test]
    fn err_alias_bombs_and_deep_nesting_end_early() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 9].join(","));
        }
        assert_eq!(from_yaml(&bomb).unwrap_err().fault, YamlFault::ExcessiveAliasing);
        // Few nodes, but long ones; and copies of copies, without any alias.
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(50));
        let nested = format!("{}{}{}", "[&a ".repeat(500), "x".repeat(1 << 20), "]".repeat(500));
        for text in [long, nested] {
            assert_eq!(
                from_yaml(&text).unwrap_err().fault,
                YamlFault::TooManyCopies(32 << 20)
            );
        }
        let deep = "[".repeat(100_000);
        assert_eq!(from_yaml(&deep).unwrap_err().fault, YamlFault::TooDeep(1000));
    }
}
