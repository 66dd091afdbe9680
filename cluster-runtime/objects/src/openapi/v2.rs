//! The one OpenAPI v2 document of all served kinds, for clients that do not read v3 yet.

use serde_json::{Map, Value, json};

use super::{API_VERSION, document};
use crate::registry::Registry;

/// The document that `/openapi/v2` answers, made of the v3 documents of all groups and versions.
///
/// It takes tens of milliseconds and some megabytes: callers make it when somebody asks.
pub fn document_v2(registry: &Registry) -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    for group in registry.groups() {
        for version in registry.versions(&group) {
            let Some(Value::Object(mut of_version)) = document(registry, &group, &version) else {
                continue;
            };
            if let Some(Value::Object(items)) = of_version.remove("paths") {
                paths.extend(items.into_iter().map(|(path, item)| (path, path_item(item))));
            }
            let schemas = of_version
                .get_mut("components")
                .and_then(|components| components.get_mut("schemas"));
            if let Some(Value::Object(schemas)) = schemas.map(Value::take) {
                for (name, schema) in schemas {
                    definitions.entry(name).or_insert_with(|| plain(schema));
                }
            }
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": API_VERSION},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "type": "apiKey", "in": "header", "name": "authorization",
            "description": "Bearer Token authentication",
        }},
        "security": [{"BearerToken": []}],
    })
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else {
        return item;
    };
    let parts = item.into_iter().map(|(key, value)| match key.as_str() {
        "parameters" => (key, parameters(value)),
        _ => (key, operation(value)),
    });
    Value::Object(parts.collect())
}

fn operation(operation: Value) -> Value {
    let Value::Object(mut operation) = operation else {
        return operation;
    };
    let mut all = match operation.remove("parameters").map(parameters) {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    let mut consumes = vec![json!("*/*")];
    if let Some(body) = operation.remove("requestBody") {
        let content = body.get("content").and_then(Value::as_object);
        let schema = content
            .and_then(|content| content.values().next()?.get("schema"))
            .cloned();
        if let Some(types) = content.filter(|content| !content.contains_key("*/*")) {
            consumes = types.keys().map(|one| one.as_str().into()).collect();
        }
        let schema = plain(schema.unwrap_or_else(|| json!({})));
        all.insert(
            0,
            json!({"in": "body", "name": "body", "required": true, "schema": schema}),
        );
    }
    let mut produces: Vec<Value> = Vec::new();
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for response in responses.values_mut().filter_map(Value::as_object_mut) {
            let Some(Value::Object(content)) = response.remove("content") else {
                continue;
            };
            produces = content.keys().map(|one| one.as_str().into()).collect();
            if let Some(schema) = content
                .into_iter()
                .next()
                .and_then(|(_, one)| one.get("schema").cloned())
            {
                response.insert("schema".to_owned(), plain(schema));
            }
        }
    }
    if !all.is_empty() {
        operation.insert("parameters".to_owned(), all.into());
    }
    operation.insert("consumes".to_owned(), consumes.into());
    if !produces.is_empty() {
        operation.insert("produces".to_owned(), produces.into());
    }
    operation.insert("schemes".to_owned(), json!(["https"]));
    Value::Object(operation)
}

/// What v3 says of a parameter's type in `schema`, v2 says beside its name.
fn parameters(parameters: Value) -> Value {
    let Value::Array(mut parameters) = parameters else {
        return parameters;
    };
    for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
        if let Some(Value::Object(schema)) = parameter.remove("schema").map(plain) {
            parameter.extend(schema);
        }
    }
    parameters.into()
}

/// A schema without what v2 does not know.
fn plain(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Array(list) => return list.into_iter().map(plain).collect(),
        other => return other,
    };
    // `allOf` with one reference is how v3 puts a description beside one.
    if let Some(Value::Array(all)) = schema.get("allOf")
        && let [Value::Object(only)] = all.as_slice()
        && only.contains_key("$ref")
    {
        let reference = only.get("$ref").cloned();
        schema.remove("allOf");
        schema.extend(reference.map(|reference| ("$ref".to_owned(), reference)));
    }
    if schema.remove("oneOf").is_some() && !schema.contains_key("type") {
        schema.insert("type".to_owned(), "string".into());
    }
    for unknown in ["anyOf", "not", "nullable"] {
        schema.remove(unknown);
    }
    let parts = schema.into_iter().map(|(key, value)| {
        let value = match (key.as_str(), value) {
            ("$ref", Value::String(name)) => name.replace("#/components/schemas/", "#/definitions/").into(),
            ("default" | "enum" | "example", value) => value,
            // Their keys are names, whatever else these words mean.
            ("properties", Value::Object(properties)) => properties
                .into_iter()
                .map(|(name, schema)| (name, plain(schema)))
                .collect::<Map<_, _>>()
                .into(),
            (_, value) => plain(value),
        };
        (key, value)
    });
    Value::Object(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_in_one_document_of_the_old_form() {
        let document = document_v2(&Registry::builtin());
        let text = document.to_string();
        for v3 in [
            "#/components/",
            "\"oneOf\":[",
            "\"requestBody\":",
            "\"content\":{\"application",
        ] {
            assert!(!text.contains(v3), "{v3} is not of version 2");
        }
        let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(path["parameters"][0]["in"], "body");
        assert!(
            path["consumes"]
                .as_array()
                .unwrap()
                .contains(&json!("application/json-patch+json"))
        );
        assert_eq!(path["x-kubernetes-action"], "patch");
        assert_eq!(
            path["responses"]["200"]["schema"]["$ref"],
            "#/definitions/io.k8s.api.apps.v1.Deployment"
        );
        let definitions = document["definitions"].as_object().unwrap();
        let pod = &definitions["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
        assert_eq!(
            pod["properties"]["spec"]["$ref"],
            "#/definitions/io.k8s.api.core.v1.PodSpec"
        );
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                        let name = name.strip_prefix("#/definitions/").unwrap();
                        assert!(definitions.contains_key(name), "{name} is not defined");
                    }
                    open.extend(map.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
    }
}
