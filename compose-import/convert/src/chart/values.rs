//! The default values of a chart, and their schema.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::chart::ChartOptions;
use crate::chart::holes::{pod_path, service_of};
use crate::convert::Conversion;
use crate::object::{Object, Role};

/// Whether a chart offers an Ingress for a service's name.
pub(super) fn can_have_ingress(conversion: &Conversion, object: &Object) -> bool {
    let service = service_of(object);
    let ports = object.value["spec"]["ports"].as_array();
    object.role == Role::Name
        && object.name() == service
        && ports.is_some_and(|ports| ports.iter().any(|port| port["protocol"] == "TCP"))
        && !conversion
            .objects
            .iter()
            .any(|other| other.role == Role::Ingress && service_of(other) == service)
}

/// The default values.
pub(super) fn values(conversion: &Conversion, options: &ChartOptions) -> Value {
    let mut services = Map::new();
    let mut volumes = Map::new();
    let mut secrets = Map::new();
    for object in &conversion.objects {
        match object.role {
            Role::Workload => workload(object, &mut services),
            Role::Published if object.name().ends_with("-published") => {
                let ports = object.value["spec"]["ports"].as_array().into_iter().flatten();
                let ports: Map<String, Value> = ports
                    .filter_map(|port| Some((port["name"].as_str()?.to_owned(), port["port"].clone())))
                    .collect();
                let published = json!({
                    "enabled": true, "type": object.value["spec"]["type"], "ports": ports, "annotations": {},
                });
                merge(&mut services, service_of(object), "published", published);
            }
            Role::Name if can_have_ingress(conversion, object) => {
                let ingress = json!({
                    "enabled": false, "className": "", "host": format!("{}.example.com", object.name()), "path": "/",
                    "tlsSecret": "", "annotations": {},
                });
                merge(&mut services, service_of(object), "ingress", ingress);
            }
            Role::Claim => {
                let spec = &object.value["spec"];
                let volume = json!({
                    "size": spec["resources"]["requests"]["storage"], "accessModes": spec["accessModes"],
                    "storageClass": spec["storageClassName"].as_str().unwrap_or_default(),
                });
                volumes.insert(object.name().to_owned(), volume);
            }
            Role::Secret => {
                let text = content_of_secret(object).filter(|_| options.with_secrets);
                let text = text.map(|(text, _)| text);
                secrets.insert(object.name().to_owned(), json!(text.unwrap_or_default()));
            }
            _ => {}
        }
    }
    let mut values = json!({"imagePullSecrets": [], "services": services});
    if !volumes.is_empty() {
        values["volumes"] = Value::Object(volumes);
    }
    if !secrets.is_empty() {
        values["secrets"] = Value::Object(secrets);
    }
    values
}

/// The content of a secret as a value, and whether it is in base64, which it is where it is no text.
pub(super) fn content_of_secret(object: &Object) -> Option<(String, bool)> {
    let (_, data) = object.value["data"].as_object()?.iter().next()?;
    let data = data.as_str()?;
    match String::from_utf8(BASE64.decode(data).ok()?) {
        Ok(text) => Some((text, false)),
        Err(_) => Some((data.to_owned(), true)),
    }
}

fn merge(services: &mut Map<String, Value>, service: &str, key: &str, value: Value) {
    services.entry(service).or_insert_with(|| json!({}))[key] = value;
}

fn workload(object: &Object, services: &mut Map<String, Value>) {
    let containers = object
        .value
        .pointer(&format!("{}/containers", pod_path(object)))
        .and_then(Value::as_array);
    for container in containers.into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        let environment: Map<String, Value> = container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                // Charts escape dollars themselves.
                let value = entry["value"].as_str()?.replace("$$", "$");
                Some((entry["name"].as_str()?.to_owned(), json!(value)))
            })
            .collect();
        merge(
            services,
            name,
            "image",
            image(container["image"].as_str().unwrap_or_default()),
        );
        merge(
            services,
            name,
            "pullPolicy",
            json!(container["imagePullPolicy"].as_str().unwrap_or_default()),
        );
        merge(services, name, "env", Value::Object(environment));
        let resources = container.get("resources").cloned().unwrap_or_else(|| json!({}));
        merge(services, name, "resources", resources);
    }
    if let Some(replicas) = object.value.pointer("/spec/replicas") {
        merge(services, service_of(object), "replicas", replicas.clone());
    }
}

/// `registry:5000/name:tag@digest` in its parts.
fn image(reference: &str) -> Value {
    let (name, digest) = reference.split_once('@').unwrap_or((reference, ""));
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[slash..].rfind(':') {
        Some(colon) => (&name[..slash + colon], &name[slash + colon + 1..]),
        None => (name, ""),
    };
    json!({"repository": repository, "tag": tag, "digest": digest})
}

/// The schema of the values: their types, with what may be chosen.
pub(super) fn schema(values: &Value) -> String {
    let mut schema = of(values, "");
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn of(value: &Value, key: &str) -> Value {
    match (key, value) {
        ("env" | "annotations", _) => {
            json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}})
        }
        ("resources", _) => json!({"type": "object"}),
        ("ports", _) => {
            json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 65535}})
        }
        ("type", Value::String(_)) => json!({"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}),
        ("pullPolicy", _) => json!({"enum": ["", "Always", "IfNotPresent", "Never"]}),
        ("replicas", _) => json!({"type": "integer", "minimum": 0}),
        ("secrets", Value::Object(entries)) => {
            let properties: Map<String, Value> = entries
                .keys()
                .map(|key| (key.clone(), json!({"type": "string"})))
                .collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
        ("repository", _) => json!({"type": "string", "minLength": 1}),
        ("size", _) => json!({"type": "string", "minLength": 1}),
        ("tag" | "digest", _) => json!({"type": ["string", "number", "null"]}),
        (_, Value::Object(entries)) => {
            let properties: Map<String, Value> = entries
                .iter()
                .map(|(key, value)| (key.clone(), of(value, key)))
                .collect();
            let mut schema = json!({"type": "object", "properties": properties});
            // Typing errors in names of services would otherwise go unseen.
            if matches!(key, "services" | "volumes" | "image" | "published" | "ingress") {
                schema["additionalProperties"] = json!(false);
            }
            schema
        }
        (_, Value::Array(_)) => json!({"type": "array"}),
        (_, Value::Bool(_)) => json!({"type": "boolean"}),
        (_, Value::Number(_)) => json!({"type": "number"}),
        (_, Value::String(_) | Value::Null) => json!({"type": "string"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_images_are_split() {
        for (reference, parts) in [
            ("nginx", ("nginx", "", "")),
            ("nginx:1.25", ("nginx", "1.25", "")),
            ("host:5000/a/b:2@sha256:00", ("host:5000/a/b", "2", "sha256:00")),
            ("host:5000/a", ("host:5000/a", "", "")),
        ] {
            let split = json!({"repository": parts.0, "tag": parts.1, "digest": parts.2});
            assert_eq!(image(reference), split, "{reference}");
        }
    }
}
