//! Rows of custom resources, from their definitions.

use std::borrow::Cow;

use serde_json::Value;

use crate::Object;
use crate::schema::Schema;
use crate::table::Columns;

use super::row::{Hooks, KindRow};
use super::subresource::ScalePaths;

/// The rows of the served versions of a `CustomResourceDefinition`, all of them kept in one table.
///
/// The definition is valid by now; a version without a name is left out. Objects are pruned, get the defaults of
/// their schema and are held against its rules. Not done: conversion between versions by webhook, CEL rules.
pub fn rows_of_definition(definition: &Object) -> Vec<KindRow> {
    let text = |path: &[&str]| definition.text(path).unwrap_or_default().to_owned();
    let group = text(&["spec", "group"]);
    let (plural, kind) = (
        text(&["spec", "names", "plural"]),
        text(&["spec", "names", "kind"]),
    );
    let versions = definition.list(&["spec", "versions"]);
    let named = |version: &Value| version.get("name").and_then(Value::as_str).map(str::to_owned);
    let is_true = |version: &Value, key: &str| version.get(key) == Some(&Value::Bool(true));
    let stored = versions
        .iter()
        .find(|version| is_true(version, "storage"))
        .and_then(named);
    let served = versions.iter().filter(|version| is_true(version, "served"));
    let rows = served.filter_map(|version| {
        let name = named(version)?;
        let mut row = KindRow::new(group.clone(), name.clone(), kind.clone(), plural.clone()).generation();
        row.namespaced = definition.text(&["spec", "scope"]) != Some("Cluster");
        let words = |key: &str| -> Vec<Cow<'static, str>> {
            let list = definition.list(&["spec", "names", key]).iter();
            list.filter_map(Value::as_str)
                .map(|word| Cow::Owned(word.to_owned()))
                .collect()
        };
        row.short_names = words("shortNames");
        row.categories = words("categories");
        for (key, field) in [("singular", &mut row.singular), ("listKind", &mut row.list_kind)] {
            if let Some(word) = definition
                .text(&["spec", "names", key])
                .filter(|word| !word.is_empty())
            {
                *field = Cow::Owned(word.to_owned());
            }
        }
        let stored = stored.as_ref().unwrap_or(&name);
        row.storage_version = format!("{group}/{stored}").into();
        let subresource = |key: &str| {
            version
                .get("subresources")?
                .get(key)
                .filter(|value| value.is_object())
        };
        if subresource("status").is_some() {
            row = row.status();
        }
        if let Some(scale) = subresource("scale") {
            row = row.scale();
            row.scale = Some(scale_paths(scale));
        }
        if let Some(schema) = version
            .get("schema")
            .and_then(|schema| schema.get("openAPIV3Schema"))
        {
            row = row.schema(Schema::of_definition(schema));
        }
        let list = |key: &str| {
            version
                .get(key)
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice)
        };
        row.columns = Columns::of_definition(list("additionalPrinterColumns"));
        let paths = list("selectableFields")
            .iter()
            .filter_map(|field| field.get("jsonPath")?.as_str());
        row.selectable_fields = paths.map(dotted).collect();
        let fill = Hooks {
            default: |row, object| {
                row.schema.prune(object);
                row.schema.fill_defaults(object);
            },
            validate: |row, object, faults| row.schema.validate(object, faults),
            ..Hooks::default()
        };
        Some(row.hooks(fill))
    });
    rows.collect()
}

fn scale_paths(scale: &Value) -> ScalePaths {
    let path = |key: &str| scale.get(key).and_then(Value::as_str).map(dotted);
    ScalePaths {
        spec_replicas: path("specReplicasPath").unwrap_or(Cow::Borrowed("spec.replicas")),
        status_replicas: path("statusReplicasPath").unwrap_or(Cow::Borrowed("status.replicas")),
        selector: path("labelSelectorPath"),
    }
}

/// `.spec.replicas` as `spec.replicas`.
fn dotted(path: &str) -> Cow<'static, str> {
    Cow::Owned(path.strip_prefix('.').unwrap_or(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_gives_a_row_for_each_served_version() {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer", "default": 3},
                "nested": {"type": "object", "default": {}, "properties": {"on": {"type": "boolean", "default": true}}},
                "rules": {"type": "array", "items": {"type": "object", "properties": {"verb": {"type": "string", "default": "get"}}}},
            }},
            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        }}});
        let definition = Object::from_value(json!({"spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wg"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema,
                 "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                 "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
                {"name": "v1alpha1", "served": true, "storage": false},
                {"name": "v0", "served": false, "storage": false},
            ],
        }}))
        .unwrap();
        let rows = rows_of_definition(&definition);
        assert_eq!(rows.len(), 2);
        let row = &rows[0];
        assert_eq!(
            (row.table.as_ref(), row.storage_version.as_ref()),
            ("widgets.example.com", "example.com/v1")
        );
        assert!(row.has_status() && row.schema.has_status_subresource() && !rows[1].has_status());
        assert_eq!(rows[1].storage_version, "example.com/v1");
        assert_eq!(row.columns.definitions()[1].name, "Size");
        let mut widget = Object::from_value(json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "w", "namespace": "default"}, "spec": {"rules": [{}], "foo": 1}}))
        .unwrap();
        assert_eq!(row.schema.check(&widget).unknown, ["spec.foo"]);
        row.apply_defaults(&mut widget);
        assert_eq!(
            widget.at(&["spec"]),
            Some(&json!({"rules": [{"verb": "get"}], "size": 3, "nested": {"on": true}}))
        );
        assert_eq!(
            row.scale_of(&widget).unwrap().integer(&["spec", "replicas"]),
            Some(3)
        );
        assert_eq!(row.validate_create(&widget), []);
        assert!(rows_of_definition(&Object::default()).is_empty());
    }
}
