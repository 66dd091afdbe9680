//! The schemas of a document: the types that it needs, in OpenAPI's words.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::registry::KindRow;
use crate::schema::builtin;
use crate::schema::types::{Field, ListKind, Shape, TypeDef, TypeRef, full_name};

const META: &str = "apimachinery.pkg.apis.meta.v1";

/// The schemas of a document.
#[derive(Default)]
pub(super) struct Schemas {
    made: Map<String, Value>,
    /// Short names of types that were referred to and are not made yet.
    open: BTreeSet<&'static str>,
}

impl Schemas {
    /// A reference to a type of the metadata API, as `Status`.
    pub(super) fn meta(&mut self, name: &str) -> Value {
        self.named(&format!("{META}.{name}"))
    }

    /// A reference to a built-in type by its short name; any object when there is no such type.
    pub(super) fn named(&mut self, name: &str) -> Value {
        let Some(entry) = builtin::entry(name) else {
            return json!({"type": "object"});
        };
        self.open.insert(entry.name());
        reference(&full_name(name))
    }

    /// A reference to the type of a kind.
    pub(super) fn of_kind(&mut self, row: &KindRow) -> Value {
        match row.schema.shape() {
            Shape::Object(TypeRef::BuiltIn(entry)) => self.named(entry.name()),
            shape => {
                let name = custom_name(row);
                if !self.made.contains_key(&name) {
                    let mut schema = match shape {
                        Shape::Object(definition) => self.object(definition),
                        _ => self.unknown_object(),
                    };
                    schema["x-kubernetes-group-version-kind"] = json!([kind_of(row)]);
                    self.made.insert(name.clone(), schema);
                }
                reference(&name)
            }
        }
    }

    /// A reference to the type of the lists of a kind.
    pub(super) fn list_of_kind(&mut self, row: &KindRow) -> Value {
        let items = self.of_kind(row);
        let base = match row.schema.root() {
            Some(root) if !root.name.is_empty() => root.full_name(),
            _ => custom_name(row),
        };
        let name = match base.rsplit_once('.') {
            Some((package, _)) => format!("{package}.{}", row.list_kind),
            None => row.list_kind.clone().into_owned(),
        };
        let metadata = self.meta("ListMeta");
        let list_kind = json!([{"group": row.group, "version": row.version, "kind": row.list_kind}]);
        let (api_version, kind) = (self.type_field("apiVersion"), self.type_field("kind"));
        let schema = json!({
            "description": format!("{} is a list of {}", row.list_kind, row.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {"description": "Standard list metadata.", "allOf": [metadata]},
                "items": {"description": "The objects of the list.", "type": "array", "items": {"allOf": [items]}},
            },
            "x-kubernetes-group-version-kind": list_kind,
        });
        self.made.insert(name.clone(), schema);
        reference(&name)
    }

    /// `apiVersion` or `kind` of an object.
    fn type_field(&mut self, name: &str) -> Value {
        let field = builtin::entry("core.v1.ConfigMap").and_then(|entry| entry.type_def().field(name));
        field.map_or_else(|| json!({"type": "string"}), |field| self.field(field))
    }

    /// An object of which only type and metadata are known.
    fn unknown_object(&mut self) -> Value {
        let (api_version, kind, metadata) = (
            self.type_field("apiVersion"),
            self.type_field("kind"),
            self.meta("ObjectMeta"),
        );
        json!({
            "type": "object",
            "properties": {"apiVersion": api_version, "kind": kind, "metadata": {"allOf": [metadata]}},
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }

    /// All schemas, with everything that they refer to.
    pub(super) fn into_map(mut self) -> Map<String, Value> {
        while let Some(name) = self.open.pop_first() {
            let full = full_name(name);
            if self.made.contains_key(&full) {
                continue;
            }
            let Some(entry) = builtin::entry(name) else {
                continue;
            };
            let schema = self.entry(entry);
            self.made.insert(full, schema);
        }
        self.made
    }

    fn entry(&mut self, entry: &'static builtin::Entry) -> Value {
        let description = entry.description();
        let mut schema = match entry.shape() {
            Shape::Object(definition) => return self.object(&definition),
            Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            Shape::IntOrString => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
            _ => json!({"type": "object"}),
        };
        schema["description"] = description.into();
        schema
    }

    fn object(&mut self, definition: &TypeDef) -> Value {
        let mut schema = json!({"type": "object"});
        if !definition.description.is_empty() {
            schema["description"] = definition.description.as_ref().into();
        }
        let required: Vec<&str> = definition
            .fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name.as_ref())
            .collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        let properties = definition
            .fields
            .iter()
            .map(|field| (field.name.clone().into_owned(), self.field(field)));
        let properties: Map<String, Value> = properties.collect();
        if !properties.is_empty() {
            schema["properties"] = properties.into();
        }
        if definition.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        if definition.open {
            schema["x-kubernetes-preserve-unknown-fields"] = true.into();
        }
        if let Some((api_version, kind)) = &definition.kind {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": group, "version": version, "kind": kind}]);
        }
        schema
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut schema = self.shape(&field.shape);
        if schema.get("$ref").is_some() {
            // Beside a reference nothing else may stand.
            schema = json!({"allOf": [schema]});
        }
        if !field.description.is_empty() {
            schema["description"] = field.description.as_ref().into();
        }
        if let Some(default) = &field.default {
            schema["default"] = default.clone();
        }
        if let Some(atomic) = field.atomic {
            schema["x-kubernetes-map-type"] = if atomic { "atomic" } else { "granular" }.into();
        }
        let patch = &field.patch;
        let strategies = [
            (patch.merge, "merge"),
            (patch.replace, "replace"),
            (patch.retain_keys, "retainKeys"),
        ];
        let strategies: Vec<&str> = strategies
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        if !strategies.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
        if let Some(key) = &patch.merge_key {
            schema["x-kubernetes-patch-merge-key"] = key.as_ref().into();
        }
        schema
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Shape::Text => json!({"type": "string"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Double => json!({"type": "number", "format": "double"}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Quantity => self.named("apimachinery.pkg.api.resource.Quantity"),
            Shape::IntOrString => self.named("apimachinery.pkg.util.intstr.IntOrString"),
            Shape::Time => self.meta("Time"),
            Shape::MicroTime => self.meta("MicroTime"),
            Shape::Object(TypeRef::BuiltIn(entry)) => self.named(entry.name()),
            Shape::Object(definition) => self.object(definition),
            Shape::List(list) => {
                let items = self.wrapped(&list.items);
                let mut schema = json!({"type": "array", "items": items});
                match &list.kind {
                    ListKind::Atomic => schema["x-kubernetes-list-type"] = "atomic".into(),
                    ListKind::Set => schema["x-kubernetes-list-type"] = "set".into(),
                    ListKind::Map(keys) => {
                        schema["x-kubernetes-list-type"] = "map".into();
                        schema["x-kubernetes-list-map-keys"] = json!(keys);
                    }
                }
                schema
            }
            Shape::Map(map) => {
                let values = self.wrapped(&map.values);
                let mut schema = json!({"type": "object", "additionalProperties": values});
                if map.atomic {
                    schema["x-kubernetes-map-type"] = "atomic".into();
                }
                schema
            }
        }
    }

    /// A schema for items and values, with references as Kubernetes writes them there.
    fn wrapped(&mut self, shape: &Shape) -> Value {
        let schema = self.shape(shape);
        if schema.get("$ref").is_some() {
            json!({"allOf": [schema]})
        } else {
            schema
        }
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// `{group, version, kind}` of a row.
pub(super) fn kind_of(row: &KindRow) -> Value {
    json!({"group": row.group, "version": row.version, "kind": row.kind})
}

/// How the type of a custom resource is called: its group turned around, version and kind.
fn custom_name(row: &KindRow) -> String {
    let mut parts: Vec<&str> = row.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), row.version, row.kind)
}
