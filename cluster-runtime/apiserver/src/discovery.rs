//! What is served, as the discovery documents tell it.

use cluster_client::{ApiResource, Discovery, ServerVersion};
use cluster_objects::registry::{KindRow, Registry, Subresource};
use serde_json::{Value, json};

use crate::engine::GIT_VERSION;

/// The numbers of [`GIT_VERSION`].
const MAJOR: &str = "1";
const MINOR: &str = "37";

/// The resources that are served, as a value.
pub(crate) fn summary(registry: &Registry) -> Discovery {
    let resources = registry.rows().map(|row| ApiResource {
        resource: row.resource(),
        kind: row.kind.clone().into_owned(),
        namespaced: row.namespaced,
        verbs: row.verbs.iter().map(|verb| (*verb).to_owned()).collect(),
    });
    Discovery {
        version: ServerVersion {
            git_version: GIT_VERSION.to_owned(),
            major: MAJOR.to_owned(),
            minor: MINOR.to_owned(),
        },
        resources: resources.collect(),
    }
}

/// `GET /version`.
pub(crate) fn version() -> Value {
    json!({
        "major": MAJOR, "minor": MINOR, "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
    })
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `GET /api`.
pub(crate) fn core_versions(registry: &Registry) -> Value {
    json!({
        "kind": "APIVersions", "versions": registry.versions(""),
        "serverAddressByClientCIDRs": [],
    })
}

/// `GET /apis`.
pub(crate) fn groups(registry: &Registry) -> Value {
    let groups = registry.groups().into_iter().filter(|group| !group.is_empty());
    let groups: Vec<Value> = groups.map(|name| group_entry(registry, &name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/GROUP`; `None` for a group that is not served.
pub(crate) fn group(registry: &Registry, name: &str) -> Option<Value> {
    if name.is_empty() || registry.versions(name).is_empty() {
        return None;
    }
    let mut entry = group_entry(registry, name);
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Some(entry)
}

fn group_entry(registry: &Registry, name: &str) -> Value {
    let versions = registry.versions(name);
    let entry = |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

/// `GET /api/VERSION` and `GET /apis/GROUP/VERSION`; `None` where nothing is served.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for row in registry.rows_of(group, version) {
        resources.push(resource(row));
        resources.extend(row.subresources.iter().map(|sub| subresource(row, sub)));
    }
    if resources.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    }))
}

fn resource(row: &KindRow) -> Value {
    let mut entry = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
        "verbs": row.verbs,
    });
    add_names(&mut entry, row);
    if row.is_stored() {
        entry["storageVersionHash"] = storage_version_hash(row).into();
    }
    entry
}

fn add_names(entry: &mut Value, row: &KindRow) {
    if !row.short_names.is_empty() {
        entry["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        entry["categories"] = json!(row.categories);
    }
}

/// Eight bytes that differ between kinds and storage versions.
fn storage_version_hash(row: &KindRow) -> String {
    use base64::Engine as _;
    let hash = crate::http::fingerprint(format!("{}/{}", row.table, row.storage_version).as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash.to_be_bytes())
}

fn subresource(row: &KindRow, subresource: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", row.plural, subresource.name), "singularName": "",
        "namespaced": row.namespaced, "kind": subresource.kind, "verbs": subresource.verbs,
    });
    if (&subresource.group, &subresource.version) != (&row.group, &row.version) {
        entry["group"] = subresource.group.as_ref().into();
        entry["version"] = subresource.version.as_ref().into();
    }
    entry
}

/// The aggregated form of `GET /api` (`core`) and `GET /apis`.
pub(crate) fn aggregated(registry: &Registry, core: bool) -> Value {
    let groups = registry
        .groups()
        .into_iter()
        .filter(|group| group.is_empty() == core);
    let items: Vec<Value> = groups
        .map(|group| {
            let versions = registry.versions(&group);
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = registry
                        .rows_of(&group, version)
                        .map(|row| aggregated_resource(row))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if core { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn aggregated_resource(row: &KindRow) -> Value {
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": kind(&row.group, &row.version, &row.kind),
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
    });
    add_names(&mut entry, row);
    let subresources: Vec<Value> = row
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": kind(&sub.group, &sub.version, &sub.kind),
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
