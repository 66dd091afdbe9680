//! A hash that changes when a service must be created anew.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::project::Project;

/// The hash of a service's configuration: of what its containers are made from, not of how many there are, what they wait
/// for, or how their image comes to be. `None` if there is no such service.
pub fn hash_of(project: &Project, service: &str) -> Option<String> {
    let mut service = project.model.get("services")?.get(service)?.as_object()?.clone();
    for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
        service.remove(key);
    }
    let deploy = service
        .entry("deploy")
        .or_insert_with(|| json!({"resources": {}, "placement": {}}));
    if let Some(deploy) = deploy.as_object_mut() {
        deploy.remove("replicas");
    }
    let digest = Sha256::digest(sorted(&Value::Object(service)).to_string());
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The same value with its keys in the order of the alphabet, whatever order the map keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort();
            let entries: Map<String, Value> = keys
                .into_iter()
                .map(|key| (key.clone(), sorted(&object[key])))
                .collect();
            Value::Object(entries)
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        value => value.clone(),
    }
}
