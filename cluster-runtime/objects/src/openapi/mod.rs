//! OpenAPI documents of the served kinds, as `kubectl explain` and `kubectl apply` read them: v3, and v2 made of it.
//!
//! The documents have the form that Kubernetes gives them: schemas by their Go names with the `x-kubernetes-`
//! extensions, paths with operations. Making one takes milliseconds; the API server keeps what it made until its
//! registry changes.

mod paths;
mod schemas;
mod v2;

use std::hash::{Hash as _, Hasher};

use serde_json::{Map, Value, json};

use crate::registry::Registry;
use schemas::Schemas;
pub use v2::document_v2;

/// Version of Kubernetes whose API this is.
pub const API_VERSION: &str = "v1.37.0";

/// The index that `/openapi/v3` answers: each document's path with a hash that changes with its content.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for group in registry.groups() {
        for version in registry.versions(&group) {
            let path = root_path(&group, &version);
            let hash = hash_of(registry, &group, &version);
            let url = format!("/openapi/v3/{path}?hash={hash:016X}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The document of one group and version; `None` when nothing of it is served.
pub fn document(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    registry.rows_of(group, version).next()?;
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    let root = root_path(group, version);
    paths.insert(
        format!("/{root}/"),
        paths::resources(group, version, &mut schemas),
    );
    for row in registry.rows_of(group, version) {
        paths::add_row(row, &root, &mut schemas, &mut paths);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": API_VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas.into_map(),
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "in": "header", "name": "authorization",
                "description": "Bearer Token authentication",
            }},
        },
        "security": [{"BearerToken": []}],
    }))
}

/// `api/v1` or `apis/apps/v1`.
fn root_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// A number that is another one when the document is another one.
fn hash_of(registry: &Registry, group: &str, version: &str) -> u64 {
    // The built-in types change only with the program, whose version goes in.
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), API_VERSION).hash(&mut hasher);
    for row in registry.rows_of(group, version) {
        row.gvk().hash(&mut hasher);
        (&row.plural, row.namespaced, row.verbs).hash(&mut hasher);
        row.schema.fingerprint().hash(&mut hasher);
        for subresource in &row.subresources {
            (&subresource.name, &subresource.kind, subresource.verbs).hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::KindRow;
    use crate::schema::Schema;

    #[test]
    fn every_document_refers_only_to_schemas_that_it_has() {
        let registry = Registry::builtin();
        for group in registry.groups() {
            for version in registry.versions(&group) {
                let document = document(&registry, &group, &version).unwrap();
                let schemas = document["components"]["schemas"].as_object().unwrap();
                let mut open = vec![&document];
                while let Some(value) = open.pop() {
                    match value {
                        Value::Object(map) => {
                            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                                let name = reference.strip_prefix("#/components/schemas/").unwrap();
                                assert!(schemas.contains_key(name), "{group}/{version}: {name}");
                            }
                            open.extend(map.values());
                        }
                        Value::Array(list) => open.extend(list),
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn schemas_tell_kinds_and_merge_keys() {
        let registry = Registry::builtin();
        let document = document(&registry, "apps", "v1").unwrap();
        let schemas = &document["components"]["schemas"];
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            deployment["x-kubernetes-group-version-kind"],
            json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
        );
        assert_eq!(
            deployment["properties"]["spec"]["allOf"][0]["$ref"],
            "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"
        );
        assert!(deployment["properties"]["spec"]["description"].is_string());
        let ports = &schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"];
        assert_eq!(
            ports["x-kubernetes-list-map-keys"],
            json!(["containerPort", "protocol"])
        );
        assert_eq!(ports["x-kubernetes-list-type"], "map");
        assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
        assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(
            schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"],
            "atomic"
        );
        assert_eq!(
            schemas["io.k8s.api.apps.v1.DeploymentList"]["required"],
            json!(["items"])
        );
    }

    #[test]
    fn operations_say_what_they_take() {
        let registry = Registry::builtin();
        let document = document(&registry, "apps", "v1").unwrap();
        let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        let patch = &path["patch"];
        assert_eq!(patch["x-kubernetes-action"], "patch");
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        let names: Vec<&str> = patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
        assert!(
            patch["requestBody"]["content"]
                .get("application/strategic-merge-patch+json")
                .is_some()
        );
        let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
        assert_eq!(scale["get"]["x-kubernetes-group-version-kind"]["kind"], "Scale");
        assert_eq!(
            document["paths"]["/apis/apps/v1/deployments"]["get"]["x-kubernetes-action"],
            "list"
        );
    }

    #[test]
    fn the_index_changes_with_the_kinds() {
        let mut registry = Registry::builtin();
        let before = index(&registry);
        assert!(
            before["paths"]["api/v1"]["serverRelativeURL"]
                .as_str()
                .unwrap()
                .starts_with("/openapi/v3/api/v1?hash=")
        );
        assert_eq!(before, index(&Registry::builtin()));
        let mut row = KindRow::new("example.com", "v1", "Widget", "widgets");
        let schema = |kind: &str| {
            json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"size": {"type": kind}}}}})
        };
        row.schema = Schema::of_definition(&schema("integer"));
        registry.insert(row.clone());
        let with = index(&registry);
        assert_eq!(with["paths"]["apis/apps/v1"], before["paths"]["apis/apps/v1"]);
        row.schema = Schema::of_definition(&schema("string"));
        registry.insert(row);
        assert_ne!(
            index(&registry)["paths"]["apis/example.com/v1"],
            with["paths"]["apis/example.com/v1"]
        );
        let document = document(&registry, "example.com", "v1").unwrap();
        let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
        assert_eq!(
            widget["properties"]["spec"]["properties"]["size"]["type"],
            "string"
        );
        assert!(
            document["components"]["schemas"]
                .get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
                .is_some()
        );
    }
}
