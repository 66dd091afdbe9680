//! A service of the project as conversion reads it: what was not read is known in the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::attributes::{self, Fate};
use crate::quantity;
use crate::report::Report;

/// A service, with a note of every attribute that was read.
pub(crate) struct Service<'a> {
    /// Its name in the file.
    pub(crate) name: &'a str,
    /// Its name in Kubernetes.
    pub(crate) label: String,
    model: &'a Map<String, Value>,
    report: &'a Report<'a>,
    read: RefCell<BTreeSet<String>>,
}

/// Whether a value says anything.
pub(crate) fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

impl<'a> Service<'a> {
    pub(crate) fn new(
        name: &'a str,
        label: String,
        model: &'a Map<String, Value>,
        report: &'a Report<'a>,
    ) -> Self {
        Self {
            name,
            label,
            model,
            report,
            read: RefCell::default(),
        }
    }

    /// An attribute that says something, by its path: `deploy.mode`.
    pub(crate) fn get(&self, path: &str) -> Option<&'a Value> {
        let value = self.peek(path)?;
        self.read.borrow_mut().insert(path.to_owned());
        Some(value)
    }

    /// The same without a note that it was read.
    pub(crate) fn peek(&self, path: &str) -> Option<&'a Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let value = self.model.get(first)?;
        let value = rest
            .split('.')
            .filter(|key| !key.is_empty())
            .try_fold(value, |value, key| value.get(key))?;
        says_something(value).then_some(value)
    }

    /// An attribute of the service whatever it says, `false` included.
    pub(crate) fn peek_any(&self, key: &str) -> Option<&'a Value> {
        self.model.get(key)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&'a str> {
        self.get(path)?.as_str()
    }

    pub(crate) fn flag(&self, path: &str) -> bool {
        self.get(path).is_some_and(|value| value.as_bool() == Some(true))
    }

    pub(crate) fn list(&self, path: &str) -> &'a [Value] {
        self.get(path)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn texts(&self, path: &str) -> impl Iterator<Item = &'a str> {
        self.list(path).iter().filter_map(Value::as_str)
    }

    pub(crate) fn map(&self, path: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let entries = self.get(path).and_then(Value::as_object);
        entries
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn number(&self, path: &str) -> Option<f64> {
        quantity::number(self.get(path)?)
    }

    pub(crate) fn integer(&self, path: &str) -> Option<i64> {
        quantity::integer(self.get(path)?)
    }

    pub(crate) fn size(&self, path: &str) -> Option<u64> {
        quantity::size(self.get(path)?)
    }

    /// Tells of an attribute what becomes of it.
    pub(crate) fn tell(&self, path: &str, message: impl Into<String>) {
        self.report.service(self.name, path, message);
    }

    /// Tells of an item of a list what becomes of it.
    pub(crate) fn tell_item(&self, path: &str, index: usize, message: impl Into<String>) {
        self.report.item(self.name, path, index, message);
    }

    /// The labels that steer Kompose, from both places where they may stand.
    pub(crate) fn steering(&self) -> BTreeMap<&'a str, &'a str> {
        ["labels", "deploy.labels"]
            .into_iter()
            .filter_map(|path| self.peek(path)?.as_object())
            .flatten()
            .filter_map(|(key, value)| Some((key.strip_prefix("kompose.")?, value.as_str()?)))
            .collect()
    }

    /// Tells of every attribute that says something and was not read.
    pub(crate) fn tell_unread(&self) {
        let read = self.read.borrow();
        let mut paths = Vec::new();
        for key in self.model.keys() {
            self.paths(key, &mut paths);
        }
        for path in paths.iter().filter(|path| !read.contains(*path)) {
            match attributes::of_service(path) {
                Some(row) if row.fate == Fate::Used => {}
                Some(row) if row.fate == Fate::Reported => self.tell(path, row.becomes),
                Some(_) => self.tell(path, "it is not carried over"),
                None if path.rsplit('.').next().is_some_and(|key| key.starts_with("x-")) => {}
                None => self.tell(path, "it is not known, and not carried over"),
            }
        }
    }

    /// The paths of the rows that an attribute, or what is below it, is in.
    fn paths(&self, path: &str, found: &mut Vec<String>) {
        let Some(value) = self.peek(path) else { return };
        let has_rows = attributes::has_rows_below(path);
        match value {
            Value::Object(entries) if has_rows => {
                for key in entries.keys() {
                    self.paths(&format!("{path}.{key}"), found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }
}
