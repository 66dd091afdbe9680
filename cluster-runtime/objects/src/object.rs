//! A Kubernetes object of any kind, as the JSON map that it is on the wire.

use std::borrow::Cow;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::apply::field_text;

/// A Kubernetes object of any kind.
///
/// It is the JSON map of the API, so that fields nobody here knows are kept and given back. Accessors read the
/// parts that every object has; a part of the wrong JSON type reads as absent, since validation has refused it
/// before it is stored.
///
/// In memory the sets of fields in `metadata.managedFields` may be text, see [`Self::wire_value`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Object(Map<String, Value>);

/// Why a JSON value is no object.
#[derive(Debug, thiserror::Error)]
#[error("expected a JSON object, found {found}")]
pub struct ObjectError {
    found: &'static str,
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version of the owner, as `apps/v1`.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the namespace of the object or cluster-wide.
    pub name: String,
    /// UID of the owner: a later object of the same name is not the owner.
    pub uid: String,
    /// Whether the owner manages the object; at most one owner does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether the owner, when deleted in the foreground, waits for the object to go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

impl Object {
    /// Makes an object with the given type and name and nothing else.
    pub fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        let mut metadata = Map::new();
        metadata.insert("name".into(), name.into());
        if let Some(namespace) = namespace {
            metadata.insert("namespace".into(), namespace.into());
        }
        let mut fields = Map::new();
        fields.insert("apiVersion".into(), api_version.into());
        fields.insert("kind".into(), kind.into());
        fields.insert("metadata".into(), metadata.into());
        Self(fields)
    }

    /// Takes a JSON value that must be a map.
    pub fn from_value(value: Value) -> Result<Self, ObjectError> {
        let found = match value {
            Value::Object(fields) => return Ok(Self(fields)),
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
        };
        Err(ObjectError { found })
    }

    /// Gives the JSON value as it is in memory.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The JSON value as clients see it, which is also what the object serializes as.
    ///
    /// Stored objects keep each `fieldsV1` of `metadata.managedFields` as one text; here it is the tree that it
    /// stands for.
    pub fn wire_value(&self) -> Value {
        let mut fields = self.0.clone();
        if let Some(metadata) = fields.get_mut("metadata") {
            expand_managed_fields(metadata);
        }
        Value::Object(fields)
    }

    /// The fields as a map, as they are in memory.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The fields as a map to change.
    pub fn fields_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// The value at a path of keys, if every key on the way is there.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.0.get(*first)?, |value, key| value.as_object()?.get(*key))
    }

    /// The value at a path of keys, made as maps on the way where absent or of another type.
    pub fn at_mut(&mut self, path: &[&str]) -> &mut Map<String, Value> {
        path.iter().fold(&mut self.0, |map, key| {
            let entry = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            let Value::Object(next) = entry else {
                unreachable!("made a map above")
            };
            next
        })
    }

    /// Sets the value at a path of keys, making maps on the way.
    ///
    /// # Panics
    /// When `path` is empty.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let (last, parents) = path.split_last().expect("a path to set has at least one key");
        self.at_mut(parents).insert((*last).to_owned(), value.into());
    }

    /// Removes and returns the value at a path of keys.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut map = &mut self.0;
        for key in parents {
            map = map.get_mut(*key)?.as_object_mut()?;
        }
        map.remove(*last)
    }

    /// The text at a path of keys; absent and non-text read as `None`.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The integer at a path of keys.
    pub fn integer(&self, path: &[&str]) -> Option<i64> {
        self.at(path)?.as_i64()
    }

    /// The list at a path of keys, empty where absent.
    pub fn list(&self, path: &[&str]) -> &[Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// `apiVersion`, as `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"]).unwrap_or_default()
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.text(&["kind"]).unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"]).unwrap_or_default()
    }

    /// `metadata.namespace`, absent on cluster-wide objects.
    pub fn namespace(&self) -> Option<&str> {
        self.text(&["metadata", "namespace"])
            .filter(|namespace| !namespace.is_empty())
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"]).unwrap_or_default()
    }

    /// `metadata.resourceVersion`; empty on an object that was never stored.
    pub fn resource_version(&self) -> &str {
        self.text(&["metadata", "resourceVersion"]).unwrap_or_default()
    }

    /// `metadata.generation`, 0 where absent.
    pub fn generation(&self) -> i64 {
        self.integer(&["metadata", "generation"]).unwrap_or_default()
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "labels", key])
    }

    /// `metadata.labels`, where there are any.
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        self.at(&["metadata", "labels"])?.as_object()
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "annotations", key])
    }

    /// `metadata.deletionTimestamp`, set once deletion was asked for.
    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.text(&["metadata", "deletionTimestamp"])
    }

    /// `metadata.ownerReferences`; entries that cannot be read are left out.
    pub fn owner_references(&self) -> Vec<OwnerReference> {
        let references = self.list(&["metadata", "ownerReferences"]);
        references
            .iter()
            .filter_map(|entry| OwnerReference::deserialize(entry).ok())
            .collect()
    }

    /// The one owner that manages the object.
    pub fn controller(&self) -> Option<OwnerReference> {
        self.owner_references()
            .into_iter()
            .find(|owner| owner.controller == Some(true))
    }

    /// A reference that makes this object the managing owner of another.
    pub fn controller_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version().to_owned(),
            kind: self.kind().to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// `namespace/name`, or the name alone of a cluster-wide object: how logs and messages name it.
    pub fn key(&self) -> Cow<'_, str> {
        match self.namespace() {
            Some(namespace) => Cow::Owned(format!("{namespace}/{}", self.name())),
            None => Cow::Borrowed(self.name()),
        }
    }
}

/// Puts the trees in place of the texts in the `managedFields` of a `metadata`.
pub(crate) fn expand_managed_fields(metadata: &mut Value) {
    let entries = metadata.get_mut("managedFields").and_then(Value::as_array_mut);
    for fields in entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get_mut("fieldsV1"))
    {
        if let Some(tree) = fields.as_str().and_then(field_text::expand) {
            *fields = tree;
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.wire_value().serialize(serializer)
    }
}

impl From<Map<String, Value>> for Object {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Object(object.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_of_owned_fields_are_trees_on_the_wire() {
        let with = |fields: Value| {
            json!({
                "kind": "ConfigMap", "data": {"fieldsV1": "{}"},
                "metadata": {"name": "c", "managedFields": [{"manager": "m", "fieldsV1": fields}], "uid": "u"},
            })
        };
        for (held, shown) in [
            (json!("{\"f:data\":{}}"), json!({"f:data": {}})),
            (json!({"f:data": {}}), json!({"f:data": {}})),
            (json!("what somebody wrote"), json!("what somebody wrote")),
        ] {
            let object = Object::from_value(with(held)).unwrap();
            assert_eq!(object.wire_value(), with(shown.clone()));
            assert_eq!(serde_json::to_value(&object).unwrap(), with(shown));
        }
        for odd in [
            json!({"metadata": "{}"}),
            json!({"metadata": {"managedFields": "{}"}}),
            json!({}),
        ] {
            let object = Object::from_value(odd.clone()).unwrap();
            assert_eq!(serde_json::to_value(&object).unwrap(), odd);
        }
    }

    #[test]
    fn set_makes_the_maps_on_the_way() {
        let mut object = Object::new("v1", "Pod", Some("default"), "web");
        object.set(&["status", "phase"], "Running");
        assert_eq!(object.text(&["status", "phase"]), Some("Running"));
        assert_eq!(object.remove(&["status", "phase"]), Some(json!("Running")));
        assert_eq!(object.at(&["status"]), Some(&json!({})));
        assert_eq!(object.key(), "default/web");
    }

    #[test]
    fn err_a_list_is_no_object() {
        let error = Object::from_value(json!([1])).unwrap_err();
        assert_eq!(error.to_string(), "expected a JSON object, found a list");
    }
}
