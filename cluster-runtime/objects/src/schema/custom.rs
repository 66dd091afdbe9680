//! Schemas of custom resources, from the `openAPIV3Schema` of their definitions.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::builtin;
use super::types::{Field, ListKind, ListShape, MapShape, PatchStrategy, Shape, TypeDef, TypeRef};

/// The type of the objects of a definition.
pub(super) fn object_type(schema: &Value) -> TypeDef {
    let mut definition = type_def(schema);
    definition
        .fields
        .retain(|field| !matches!(field.name.as_ref(), "apiVersion" | "kind" | "metadata"));
    // Every kind has these three alike; those of a built-in one serve.
    let built_in = builtin::entry("core.v1.ConfigMap").map(builtin::Entry::type_def);
    for name in ["apiVersion", "kind", "metadata"] {
        let Some(field) = built_in.and_then(|of| of.field(name)) else {
            continue;
        };
        definition.fields.push(Field {
            name: field.name.clone(),
            description: field.description.clone(),
            required: false,
            shape: field.shape.clone(),
            atomic: None,
            patch: PatchStrategy::default(),
            default: None,
        });
    }
    definition.fields.sort_by(|a, b| a.name.cmp(&b.name));
    definition
}

/// Fills in the defaults that a definition gives, from the outside in: a default may itself have parts left open.
pub(super) fn fill_defaults(definition: &TypeDef, fields: &mut Map<String, Value>) {
    for field in &definition.fields {
        if let Some(default) = &field.default
            && fields.get(field.name.as_ref()).is_none_or(Value::is_null)
        {
            fields.insert(field.name.clone().into_owned(), default.clone());
        }
        if let Some(value) = fields.get_mut(field.name.as_ref()) {
            fill(&field.shape, value);
        }
    }
}

fn fill(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(TypeRef::Custom(of)), Value::Object(fields)) => fill_defaults(of, fields),
        (Shape::List(list), Value::Array(items)) => items.iter_mut().for_each(|item| fill(&list.items, item)),
        (Shape::Map(map), Value::Object(entries)) => {
            entries.values_mut().for_each(|entry| fill(&map.values, entry));
        }
        _ => {}
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn type_def(schema: &Value) -> TypeDef {
    let required: Vec<&str> = list(schema, "required")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let fields = properties.into_iter().flatten().map(|(name, property)| Field {
        name: Cow::Owned(name.clone()),
        description: Cow::Owned(text(property, "description").to_owned()),
        required: required.contains(&name.as_str()),
        shape: shape(property),
        atomic: None,
        patch: PatchStrategy::default(),
        default: property.get("default").cloned(),
    });
    let mut fields: Vec<Field> = fields.collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    TypeDef {
        name: Cow::Borrowed(""),
        description: Cow::Owned(text(schema, "description").to_owned()),
        kind: None,
        atomic: text(schema, "x-kubernetes-map-type") == "atomic",
        fields,
        open: flag(schema, "x-kubernetes-preserve-unknown-fields"),
    }
}

fn list<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn shape(schema: &Value) -> Shape {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    if flag(schema, "x-kubernetes-embedded-resource") {
        return Shape::Any;
    }
    match text(schema, "type") {
        "string" => match text(schema, "format") {
            "byte" => Shape::Bytes,
            _ => Shape::Text,
        },
        "boolean" => Shape::Boolean,
        "integer" => match text(schema, "format") {
            "int32" => Shape::Int32,
            _ => Shape::Int64,
        },
        "number" => Shape::Double,
        "array" => {
            let keys = list(schema, "x-kubernetes-list-map-keys")
                .iter()
                .filter_map(Value::as_str);
            let kind = match text(schema, "x-kubernetes-list-type") {
                "map" => ListKind::Map(keys.map(|key| Cow::Owned(key.to_owned())).collect()),
                "set" => ListKind::Set,
                _ => ListKind::Atomic,
            };
            let items = schema.get("items").map(shape).unwrap_or_default();
            Shape::List(Arc::new(ListShape { items, kind }))
        }
        "object" => match schema.get("additionalProperties") {
            Some(values) if values.is_object() => {
                let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
                Shape::Map(Arc::new(MapShape {
                    values: shape(values),
                    atomic,
                }))
            }
            Some(Value::Bool(true)) => Shape::Any,
            _ if schema.get("properties").is_none() => Shape::Any,
            _ => Shape::Object(TypeRef::Custom(Arc::new(type_def(schema)))),
        },
        _ => Shape::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_becomes_a_type() {
        let definition = object_type(&json!({
            "type": "object",
            "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer"},
                    "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        }));
        let Shape::Object(spec) = definition.field("spec").unwrap().shape.clone() else {
            panic!("no object")
        };
        assert!(spec.field("size").unwrap().required);
        assert!(matches!(spec.field("free").unwrap().shape, Shape::Any));
        let Shape::List(rules) = &spec.field("rules").unwrap().shape else {
            panic!("no list")
        };
        assert_eq!(rules.kind, ListKind::Map(vec!["name".into()]));
        assert!(
            matches!(&definition.field("metadata").unwrap().shape, Shape::Object(of) if of.name.ends_with("ObjectMeta"))
        );
    }
}
