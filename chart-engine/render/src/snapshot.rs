//! Objects from a file that answer lookups.

use chart_values::yaml::{YamlError, documents, from_yaml};
use chart_values::{Map, Value};

use crate::lookup::{Lookup, LookupError};

/// Objects that answer lookups in place of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: Vec<Map>,
}

impl Snapshot {
    /// Reads objects from YAML: one a document, or lists of them, as `kubectl get -o yaml` prints them.
    pub fn parse(text: &str) -> Result<Snapshot, YamlError> {
        let mut snapshot = Snapshot::default();
        for (_, document) in documents(text) {
            snapshot.add(from_yaml(document)?);
        }
        Ok(snapshot)
    }

    fn add(&mut self, object: Value) {
        match object {
            Value::List(items) => items.into_iter().for_each(|item| self.add(item)),
            Value::Map(mut map) => match map.remove("items") {
                Some(Value::List(items)) => items.into_iter().for_each(|item| self.add(item)),
                Some(other) => {
                    map.insert("items".to_owned(), other);
                    self.objects.push(map);
                }
                None => self.objects.push(map),
            },
            _ => {}
        }
    }
}

fn text<'m>(object: &'m Map, path: &[&str]) -> &'m str {
    let (first, rest) = path.split_first().unwrap_or((&"", &[]));
    let found = object
        .get(*first)
        .and_then(|value| value.at(rest.iter().copied()));
    found.and_then(Value::as_str).unwrap_or_default()
}

impl Lookup for Snapshot {
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, LookupError> {
        let mut fitting = self.objects.iter().filter(|object| {
            text(object, &["apiVersion"]) == api_version
                && text(object, &["kind"]) == kind
                && (namespace.is_empty() || text(object, &["metadata", "namespace"]) == namespace)
        });
        if name.is_empty() {
            let items: Vec<Value> = fitting.map(|object| Value::Map(object.clone())).collect();
            if items.is_empty() {
                return Ok(Value::Map(Map::new()));
            }
            return Ok(Value::from_iter([
                ("apiVersion", Value::from(api_version)),
                ("kind", Value::from(format!("{kind}List"))),
                ("items", Value::List(items)),
            ]));
        }
        let found = fitting.find(|object| text(object, &["metadata", "name"]) == name);
        Ok(Value::Map(found.cloned().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_version_kind_namespace_and_name() {
        let snapshot = Snapshot::parse(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: ns}\n---\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b, namespace: ms}}\n",
        )
        .unwrap();
        let name = |namespace: &str, name: &str| {
            let found = snapshot.lookup("v1", "Secret", namespace, name).unwrap();
            found
                .at(["metadata", "name"])
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        assert_eq!(name("ns", "a").as_deref(), Some("a"));
        assert_eq!(name("ns", "b"), None);
        assert_eq!(name("", "b").as_deref(), Some("b"));
        let list = snapshot.lookup("v1", "Secret", "", "").unwrap();
        assert_eq!(
            list.get("items").and_then(Value::as_list).map(<[_]>::len),
            Some(2)
        );
        assert_eq!(
            snapshot.lookup("v1", "Pod", "", "").unwrap(),
            Value::Map(Map::new())
        );
    }
}
