//! Sets of fields of an object, as `fieldsV1` of `metadata.managedFields` has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::field_text::write_text;

/// A set of fields: a tree of path elements, of which some are members.
///
/// Path elements are kept as they are written: `f:` and the name of a field, `k:` and the keys of an item of a list,
/// `v:` and a value of a list, `i:` and an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    member: bool,
    children: BTreeMap<String, FieldSet>,
}

/// Why a value is no `fieldsV1`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldSetError {
    /// The part at a path is no map.
    #[error("fieldsV1 has no map at `{0}`")]
    NoMap(String),
    /// A key has none of the known prefixes.
    #[error("fieldsV1 has the unknown key `{0}`")]
    UnknownKey(String),
    /// It is nested too deep.
    #[error("fieldsV1 is nested too deep")]
    TooDeep,
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub fn from_value(value: &Value) -> Result<Self, FieldSetError> {
        crate::nesting::check(value).map_err(|_| FieldSetError::TooDeep)?;
        let mut set = Self::read(value, "")?;
        set.member = false;
        Ok(set)
    }

    fn read(value: &Value, key: &str) -> Result<Self, FieldSetError> {
        let Value::Object(entries) = value else {
            return Err(FieldSetError::NoMap(key.to_owned()));
        };
        let mut set = Self {
            member: entries.is_empty(),
            children: BTreeMap::new(),
        };
        for (key, below) in entries {
            if key == "." {
                set.member = true;
            } else if is_element(key) {
                set.children.insert(key.clone(), Self::read(below, key)?);
            } else {
                return Err(FieldSetError::UnknownKey(key.clone()));
            }
        }
        Ok(set)
    }

    /// Gives `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut entries = Map::new();
        if self.member && !self.children.is_empty() {
            entries.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (key, below) in &self.children {
            entries.insert(key.clone(), below.to_value());
        }
        Value::Object(entries)
    }

    /// Writes `fieldsV1` as JSON text.
    pub(super) fn write_set(&self, out: &mut String) {
        out.push('{');
        let mut comma = false;
        if self.member && !self.children.is_empty() {
            out.push_str("\".\":{}");
            comma = true;
        }
        for (key, below) in &self.children {
            if comma {
                out.push(',');
            }
            comma = true;
            write_text(key, out);
            out.push(':');
            below.write_set(out);
        }
        out.push('}');
    }

    /// Whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether the field at a path is in the set.
    pub fn contains(&self, path: &[&str]) -> bool {
        let found = path
            .iter()
            .try_fold(self, |set, element| set.children.get(*element));
        found.is_some_and(|set| set.member)
    }

    /// Adds the field at a path.
    pub fn insert(&mut self, path: &[&str]) {
        let set = path.iter().fold(self, |set, element| set.child_mut(element));
        set.member = true;
    }

    /// Fields that are in one of the sets.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.extend(other);
        self
    }

    /// Fields that are in one of the sets, without copying either.
    #[must_use]
    pub(super) fn joined(mut self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        self.member |= other.member;
        for (key, below) in other.children {
            let own = self.children.entry(key).or_default();
            *own = std::mem::take(own).joined(below);
        }
        self
    }

    /// Whether a field is in both sets.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let below =
            |(key, other): (&String, &Self)| self.children.get(key).is_some_and(|own| own.meets(other));
        (self.member && other.member) || other.children.iter().any(below)
    }

    /// Whether all fields of another set are in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let below =
            |(key, other): (&String, &Self)| self.children.get(key).is_some_and(|own| own.covers(other));
        (self.member || !other.member) && other.children.iter().all(below)
    }

    /// Takes the fields of another set out, looking at no more than that has.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (key, other) in &other.children {
            if let Some(below) = self.children.get_mut(key) {
                below.subtract(other);
                if below.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.member |= other.member;
        for (key, below) in &other.children {
            self.child_mut(key).extend(below);
        }
    }

    /// Fields that are in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let children = self
            .children
            .iter()
            .map(|(key, below)| match other.children.get(key) {
                Some(other) => (key, below.difference(other)),
                None => (key, below.clone()),
            });
        let children = children.filter(|(_, below)| !below.is_empty());
        Self {
            member: self.member && !other.member,
            children: children.map(|(key, below)| (key.clone(), below)).collect(),
        }
    }

    /// Fields that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.children.iter().filter_map(|(key, below)| {
            let below = below.intersection(other.children.get(key)?);
            (!below.is_empty()).then(|| (key.clone(), below))
        });
        Self {
            member: self.member && other.member,
            children: both.collect(),
        }
    }

    /// Takes a field and all below it out of the set.
    pub(super) fn remove_tree(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            *self = Self::default();
            return;
        };
        if rest.is_empty() {
            self.children.remove(*first);
        } else if let Some(below) = self.children.get_mut(*first) {
            below.remove_tree(rest);
            if below.is_empty() {
                self.children.remove(*first);
            }
        }
    }

    /// The paths of all fields in the set, as messages name them: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, path: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.to_owned());
        }
        for (key, below) in &self.children {
            below.collect_paths(&format!("{path}{}", readable(key)), paths);
        }
    }

    pub(super) fn is_member(&self) -> bool {
        self.member
    }

    pub(super) fn set_member(&mut self) {
        self.member = true;
    }

    pub(super) fn child(&self, element: &str) -> Option<&Self> {
        self.children.get(element)
    }

    /// The part of the set below an element, made where absent; [`FieldSet::prune`] takes out what stays empty.
    pub(super) fn child_mut(&mut self, element: &str) -> &mut Self {
        self.children.entry(element.to_owned()).or_default()
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&String, &Self)> {
        self.children.iter()
    }

    /// Takes out branches without members.
    pub(super) fn prune(&mut self) {
        self.children.retain(|_, below| {
            below.prune();
            !below.is_empty()
        });
    }
}

fn is_element(key: &str) -> bool {
    ["f:", "k:", "v:", "i:"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

/// The path element of a field.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// A path element in messages.
fn readable(element: &str) -> String {
    let (prefix, text) = element.split_at(2.min(element.len()));
    match prefix {
        "f:" => format!(".{text}"),
        "v:" => format!("[={text}]"),
        "k:" => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let mut list = String::new();
            for (index, (key, value)) in keys.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let _ = write!(list, "{comma}{key}={value}");
            }
            format!("[{list}]")
        }
        _ => format!("[{text}]"),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> FieldSet {
        FieldSet::from_value(&value).unwrap()
    }

    #[test]
    fn sets_survive_the_wire() {
        let cases = [
            json!({}),
            json!({"f:spec": {"f:replicas": {}}}),
            json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"x\"": {}, "i:0": {}}}}),
        ];
        for value in cases {
            assert_eq!(set(value.clone()).to_value(), value);
        }
    }

    #[test]
    fn sets_are_joined_cut_and_compared() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let b = set(json!({"f:a": {"f:b": {}, "f:d": {}}}));
        assert_eq!(
            a.clone().union(&b).to_value(),
            json!({"f:a": {".": {}, "f:b": {}, "f:d": {}}, "f:c": {}})
        );
        assert_eq!(a.difference(&b).to_value(), json!({"f:a": {}, "f:c": {}}));
        assert_eq!(a.intersection(&b).to_value(), json!({"f:a": {"f:b": {}}}));
        assert!(a.contains(&["f:a", "f:b"]) && !b.contains(&["f:a"]));
        assert!(a.difference(&a).is_empty());
    }

    #[test]
    fn paths_are_readable() {
        let set = set(json!({
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}},
            "f:finalizers": {"v:\"x\"": {}},
        }));
        assert_eq!(
            set.paths(),
            [
                ".finalizers[=\"x\"]",
                ".spec.ports[containerPort=80,protocol=\"TCP\"]",
                ".spec.ports[containerPort=80,protocol=\"TCP\"].name",
            ]
        );
    }

    #[test]
    fn err_values_of_another_form_are_refused() {
        for value in [
            json!([]),
            json!({"f:a": 1}),
            json!({"x:a": {}}),
            json!({"spec": {}}),
        ] {
            assert!(FieldSet::from_value(&value).is_err(), "{value}");
        }
        let deep = (0..200).fold(json!({}), |value, _| json!({"f:a": value}));
        assert_eq!(FieldSet::from_value(&deep), Err(FieldSetError::TooDeep));
    }
}
