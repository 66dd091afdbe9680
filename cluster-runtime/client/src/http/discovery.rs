//! What a cluster serves: the aggregated documents, or group by group where a server has none.

use cluster_objects::GroupVersionResource;
use serde::Deserialize;
use serde_json::Value;

use crate::ApiResource;

/// `Accept` of the aggregated documents, with the plain ones as the way back.
pub(super) const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What `/api` or `/apis` said.
#[derive(Debug, PartialEq)]
pub(super) enum Root {
    /// Everything below, at once.
    Aggregated(Vec<ApiResource>),
    /// Paths of the groups' versions, as `/apis/apps/v1`, still to be read.
    Versions(Vec<String>),
}

/// Reads the answer of `/api` (with `core`) or `/apis`.
pub(super) fn root(value: &Value) -> Root {
    match value["kind"].as_str() {
        Some("APIGroupDiscoveryList") => Root::Aggregated(aggregated(value)),
        Some("APIVersions") => {
            let versions = texts(&value["versions"]);
            Root::Versions(versions.map(|version| format!("/api/{version}")).collect())
        }
        _ => {
            let groups = value["groups"].as_array().into_iter().flatten();
            let versions = groups.flat_map(|group| group["versions"].as_array().into_iter().flatten());
            let paths = versions.filter_map(|version| version["groupVersion"].as_str());
            Root::Versions(paths.map(|path| format!("/apis/{path}")).collect())
        }
    }
}

fn aggregated(value: &Value) -> Vec<ApiResource> {
    let mut resources = Vec::new();
    for group in value["items"].as_array().into_iter().flatten() {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        for version in group["versions"].as_array().into_iter().flatten() {
            for resource in version["resources"].as_array().into_iter().flatten() {
                // A resource that has only subresources, or whose server is away, says no kind.
                let Some(kind) = resource["responseKind"]["kind"].as_str() else {
                    continue;
                };
                resources.push(ApiResource {
                    resource: GroupVersionResource {
                        group: name.to_owned(),
                        version: version["version"].as_str().unwrap_or_default().to_owned(),
                        resource: resource["resource"].as_str().unwrap_or_default().to_owned(),
                    },
                    kind: kind.to_owned(),
                    namespaced: resource["scope"] == "Namespaced",
                    verbs: texts(&resource["verbs"]).map(str::to_owned).collect(),
                });
            }
        }
    }
    resources
}

/// Reads an `APIResourceList`.
pub(super) fn resource_list(value: &Value) -> Vec<ApiResource> {
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        kind: String,
        #[serde(default)]
        namespaced: bool,
        #[serde(default)]
        verbs: Vec<String>,
    }
    let group_version = value["groupVersion"].as_str().unwrap_or_default();
    let entries = value["resources"].as_array().into_iter().flatten();
    entries
        .filter_map(|entry| Entry::deserialize(entry).ok())
        .filter(|entry| !entry.name.contains('/'))
        .map(|entry| ApiResource {
            resource: GroupVersionResource::new(group_version, &entry.name),
            kind: entry.kind,
            namespaced: entry.namespaced,
            verbs: entry.verbs,
        })
        .collect()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployments() -> Vec<ApiResource> {
        vec![ApiResource {
            resource: GroupVersionResource::new("apps/v1", "deployments"),
            kind: "Deployment".into(),
            namespaced: true,
            verbs: vec!["get".into()],
        }]
    }

    #[test]
    fn both_forms_say_the_same() {
        let together = json!({"kind": "APIGroupDiscoveryList", "items": [{
            "metadata": {"name": "apps"},
            "versions": [{"version": "v1", "resources": [{
                "resource": "deployments", "scope": "Namespaced", "verbs": ["get"],
                "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "subresources": [{"subresource": "scale"}],
            }]}],
        }]});
        assert_eq!(root(&together), Root::Aggregated(deployments()));
        let groups = json!({"kind": "APIGroupList", "groups": [{
            "name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
        }]});
        assert_eq!(root(&groups), Root::Versions(vec!["/apis/apps/v1".into()]));
        let list = json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["get"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["get"]},
        ]});
        assert_eq!(resource_list(&list), deployments());
        let core = json!({"kind": "APIVersions", "versions": ["v1"]});
        assert_eq!(root(&core), Root::Versions(vec!["/api/v1".into()]));
    }
}
