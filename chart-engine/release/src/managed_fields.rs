//! Fields that Helm owned by client-side writes, handed over to server-side apply.
//!
//! A release born in Helm 3 owns its fields as `helm`, operation `Update`. Applied on the server without more, a
//! changed field would conflict with that and a dropped one would stay. What is done about it is what kubectl does:
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply>.

use cluster_client::Patch;
use cluster_objects::Object;
use serde_json::{Map, Value, json};

/// Names under which Helm wrote: it takes the name of its program.
const HELM_MANAGERS: [&str; 3] = ["helm", "helm3", "Helm"];

/// The patch that makes client-side writes of Helm server-side ones; `None` where there are none.
///
/// It carries the object's `resourceVersion`, so that it is refused where somebody was faster.
pub(crate) fn migration(object: &Object, manager: &str) -> Option<Patch> {
    let held = object.list(&["metadata", "managedFields"]);
    if !held.iter().any(is_client_side) {
        return None;
    }
    // The sets of fields as trees, which they need not be in memory.
    let wire = object.wire_value();
    let entries = wire["metadata"]["managedFields"].as_array()?;
    let is_own = |entry: &&Value| {
        entry["manager"] == manager && entry["operation"] == "Apply" && has_no_subresource(entry)
    };
    let mut fields = Map::new();
    let mut api_version = object.api_version().to_owned();
    let mut time = Value::Null;
    for entry in entries
        .iter()
        .filter(|entry| is_own(entry) || is_client_side(entry))
    {
        if let Some(owned) = entry["fieldsV1"].as_object() {
            unite(&mut fields, owned);
        }
        if let Some(version) = entry["apiVersion"].as_str() {
            version.clone_into(&mut api_version);
        }
        time = entry["time"].clone();
    }
    let mut united = json!({
        "manager": manager, "operation": "Apply", "apiVersion": api_version, "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    });
    if !time.is_null() {
        united["time"] = time;
    }
    let others = entries
        .iter()
        .filter(|entry| !is_own(entry) && !is_client_side(entry));
    let all: Vec<Value> = std::iter::once(united).chain(others.cloned()).collect();
    Some(Patch::Json(json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": all},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": object.resource_version()},
    ])))
}

fn is_client_side(entry: &Value) -> bool {
    let manager = entry["manager"].as_str().unwrap_or_default();
    entry["operation"] == "Update" && HELM_MANAGERS.contains(&manager) && has_no_subresource(entry)
}

fn has_no_subresource(entry: &Value) -> bool {
    entry["subresource"].as_str().unwrap_or_default().is_empty()
}

/// Adds the fields of one set to another.
fn unite(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        match (fields.get_mut(key), value) {
            (Some(Value::Object(known)), Value::Object(more)) => unite(known, more),
            (Some(_), _) => {}
            (None, value) => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(entries: Value) -> Object {
        let mut object = Object::new("v1", "ConfigMap", Some("shop"), "c");
        object.set(&["metadata", "resourceVersion"], "7");
        object.set(&["metadata", "managedFields"], entries);
        object
    }

    #[test]
    fn writes_of_helm_3_become_applies() {
        let before = object(json!([
            {"manager": "helm", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "kubectl", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:z": {}}}},
            {"manager": "helm", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:b": {}}}},
        ]));
        let Some(Patch::Json(patch)) = migration(&before, "helm") else {
            panic!("a patch")
        };
        let entries = &patch[0]["value"];
        assert_eq!(entries[0]["fieldsV1"], json!({"f:data": {"f:a": {}, "f:b": {}}}));
        assert_eq!(entries[0]["operation"], "Apply");
        assert_eq!(entries[1]["manager"], "kubectl");
        assert_eq!(entries.as_array().unwrap().len(), 2);
        assert_eq!(patch[1]["value"], "7");
    }

    #[test]
    fn nothing_to_do_where_helm_only_applied() {
        let applied = json!([{"manager": "helm", "operation": "Apply", "fieldsV1": {}}]);
        assert_eq!(migration(&object(applied), "helm"), None);
        let status =
            json!([{"manager": "helm", "operation": "Update", "subresource": "status", "fieldsV1": {}}]);
        assert_eq!(migration(&object(status), "helm"), None);
    }
}
