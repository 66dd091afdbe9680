//! The tree that a project is while it is being loaded: values that know where they were written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::position::Position;

/// Entries by key. Compose gives their order no meaning.
pub(crate) type Map = BTreeMap<String, Node>;

/// Where a node was written: a file of [`Sources`] and a line and column from 1; a line of 0 is nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// What a tag asks for when files are merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tag {
    #[default]
    None,
    /// `!reset`: take away what earlier files say.
    Reset,
    /// `!override`: take the place of what earlier files say.
    Override,
}

/// A value and its place: that of the key for an entry of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) at: Place,
    pub(crate) tag: Tag,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A date, which Compose takes nowhere.
    Time(String),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

impl Node {
    pub(crate) fn new(data: Data, at: Place) -> Self {
        Node {
            data,
            at,
            tag: Tag::None,
        }
    }

    pub(crate) fn text(text: impl Into<String>, at: Place) -> Self {
        Self::new(Data::Text(text.into()), at)
    }

    pub(crate) fn bool(flag: bool, at: Place) -> Self {
        Self::new(Data::Bool(flag), at)
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// The value under a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// A scalar as Go's `%v` prints it; `None` for the rest.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        Some(match &self.data {
            Data::Bool(flag) => flag.to_string(),
            Data::Int(number) => number.to_string(),
            Data::Float(number) => float_text(*number),
            Data::Text(text) | Data::Time(text) => text.clone(),
            Data::Null | Data::List(_) | Data::Map(_) => return None,
        })
    }

    /// Whether both say the same, wherever they stand.
    pub(crate) fn same(&self, other: &Node) -> bool {
        match (&self.data, &other.data) {
            (Data::Null, Data::Null) => true,
            (Data::Bool(a), Data::Bool(b)) => a == b,
            (Data::Int(a), Data::Int(b)) => a == b,
            #[expect(clippy::float_cmp, reason = "the same text gives the same number")]
            (Data::Float(a), Data::Float(b)) => a == b,
            (Data::Text(a), Data::Text(b)) | (Data::Time(a), Data::Time(b)) => a == b,
            (Data::List(a), Data::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Data::Map(a), Data::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|((key_a, a), (key_b, b))| key_a == key_b && a.same(b))
            }
            _ => false,
        }
    }

    /// The value as JSON, without its places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(flag) => Value::Bool(*flag),
            Data::Int(number) => Value::from(*number),
            Data::Float(number) => json_number(*number),
            Data::Text(text) | Data::Time(text) => Value::from(text.as_str()),
            Data::List(items) => items.iter().map(Node::to_json).collect(),
            Data::Map(map) => map
                .iter()
                .map(|(key, node)| (key.clone(), node.to_json()))
                .collect(),
        }
    }
}

/// A float as JSON has it: a whole one has no fraction.
#[expect(clippy::cast_possible_truncation, reason = "only where it is exact")]
pub(crate) fn json_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// A float as Go's `%v` prints it: the shortest digits, with an exponent where it is large or small.
pub(crate) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number}")
}

/// The files that were read, by the numbers that places carry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    files: Vec<Arc<str>>,
}

impl Sources {
    /// Adds a file, or finds it again.
    pub(crate) fn add(&mut self, file: &str) -> u32 {
        let known = self.files.iter().position(|known| **known == *file);
        let index = known.unwrap_or_else(|| {
            self.files.push(file.into());
            self.files.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// The position for a place, unless that is nowhere.
    pub(crate) fn position(&self, place: Place) -> Option<Position> {
        if place.line == 0 {
            return None;
        }
        Some(Position {
            file: self.files.get(place.file as usize)?.clone(),
            line: place.line,
            column: place.column,
        })
    }
}

/// Where a node is in the tree: the keys and indices that lead there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path {
    steps: Vec<String>,
}

impl Path {
    pub(crate) fn push(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    pub(crate) fn pop(&mut self) {
        self.steps.pop();
    }

    pub(crate) fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.steps.join("."))
    }
}
