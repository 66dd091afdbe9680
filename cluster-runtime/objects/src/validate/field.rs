//! A place in an object: the value there and the path that leads to it.

use std::fmt;

use serde_json::Value;

static NULL: Value = Value::Null;

/// A value in an object with its path; an absent value is `null`.
#[derive(Clone, Copy)]
pub(crate) struct Field<'v, 'p> {
    pub(super) value: &'v Value,
    parent: Option<&'p Field<'v, 'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Name(&'p str),
    Index(usize),
    Key(&'p str),
}

impl<'v, 'p> Field<'v, 'p> {
    /// A top-level field of an object.
    pub(super) fn top(object: &'v crate::Object, name: &'p str) -> Self {
        let value = object.fields().get(name).unwrap_or(&NULL);
        Self {
            value,
            parent: None,
            step: Step::Name(name),
        }
    }

    /// A field of this one.
    pub(super) fn get<'q>(&'q self, name: &'q str) -> Field<'v, 'q> {
        Field {
            value: self.value.get(name).unwrap_or(&NULL),
            parent: Some(self),
            step: Step::Name(name),
        }
    }

    /// An entry of this map, named in brackets.
    pub(super) fn key<'q>(&'q self, key: &'q str) -> Field<'v, 'q> {
        Field {
            value: self.value.get(key).unwrap_or(&NULL),
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    /// The items of this list.
    pub(super) fn items<'q>(&'q self) -> impl Iterator<Item = Field<'v, 'q>> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(move |(index, value)| Field {
            value,
            parent: Some(self),
            step: Step::Index(index),
        })
    }

    /// The keys of this map.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'v str> + use<'v> {
        self.value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// Whether it is absent, or an empty text, list or map.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// The text, empty where there is none.
    pub(super) fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(super) fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }
}

impl fmt::Display for Field<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Name(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Name(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}
