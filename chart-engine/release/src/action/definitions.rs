//! The resource definitions that a chart brings: they come before everything else.
//!
//! Helm only creates them. Here they are changed too when the chart brings others, unless that would take away what
//! is in use: a version in which objects are stored, or a field that an object has. They are never deleted.

use std::sync::Arc;
use std::time::Duration;

use chart_model::Chart;
use cluster_client::{ApiResource, Collection, ListOptions};
use cluster_objects::{GroupVersionResource, Object};
use serde_json::Value;

use crate::action::{ActionError, DryRun, deploy};
use crate::apply::{self, ApplyError, ApplyOptions};
use crate::cluster::Cluster;
use crate::manifest::{self, ManifestObject};
use crate::progress::Event;
use crate::readiness::Finish;
use crate::resource::{self, Resource};
use crate::wait::{self, WaitOptions};

/// Custom objects that are looked through for fields that a new definition no longer has.
const OBJECTS_CHECKED_MAX: u32 = 500;

/// The objects in the `crds` folders of a chart.
pub(crate) fn of_chart(chart: &Chart) -> Result<Vec<ManifestObject>, ActionError> {
    let mut objects: Vec<ManifestObject> = Vec::new();
    for crd in chart.crds() {
        let parsed = manifest::parse(&crd.file.text()).map_err(ActionError::Manifest)?;
        objects.extend(parsed);
    }
    Ok(objects)
}

/// The kinds that definitions define, as the cluster will serve them.
pub(crate) fn kinds(objects: &[ManifestObject]) -> Vec<ApiResource> {
    let mut kinds = Vec::new();
    for ManifestObject { object, .. } in objects {
        let spec = |path: &[&str]| object.text(&[&["spec"], path].concat()).unwrap_or_default();
        for version in object.list(&["spec", "versions"]) {
            let (Some(name), true) = (version["name"].as_str(), version["served"] == true) else {
                continue;
            };
            let api_version = format!("{}/{name}", spec(&["group"]));
            kinds.push(ApiResource {
                resource: GroupVersionResource::new(&api_version, spec(&["names", "plural"])),
                kind: spec(&["names", "kind"]).to_owned(),
                namespaced: spec(&["scope"]) == "Namespaced",
                verbs: Vec::new(),
            });
        }
    }
    kinds
}

/// The definitions that are not there, and those that differ from what is there.
pub(crate) async fn changed(
    cluster: &Cluster,
    objects: Vec<ManifestObject>,
) -> Result<Vec<(Resource, Option<Arc<Object>>)>, ActionError> {
    let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
    let resolved = resource::resolve(objects, &discovery, &cluster.namespace);
    let mut changed = Vec::new();
    for resource in resolved.map_err(ActionError::UnknownKinds)? {
        match cluster.api.get(&resource.target()).await {
            Ok(live) if is_definition(&resource) => {
                if !contains(&Value::from(live.fields().clone()), &spec_only(&resource.object)) {
                    changed.push((resource, Some(live)));
                }
            }
            // Other objects in `crds` are left as they are, as Helm leaves them.
            Ok(_) => {}
            Err(status) if status.is_not_found() => changed.push((resource, None)),
            Err(status) => return Err(ActionError::Unreachable(status)),
        }
    }
    Ok(changed)
}

/// The cluster as it is once the definitions of a chart are brought to it: they are, or where that is only tried, it is
/// as if they were.
pub(crate) async fn with(
    cluster: &Cluster,
    objects: &[ManifestObject],
    dry_run: DryRun,
    timeout: Duration,
) -> Result<Cluster, ActionError> {
    match dry_run {
        DryRun::None => bring(cluster, objects.to_vec(), timeout).await?,
        DryRun::Server if !objects.is_empty() => {
            let foreseen = cluster.foreseeing(kinds(objects)).await;
            return foreseen.map_err(ActionError::Unreachable);
        }
        DryRun::Client | DryRun::Server => {}
    }
    Ok(cluster.clone())
}

/// Creates the definitions that are not there, changes those that differ, and waits until they are served.
pub(crate) async fn bring(
    cluster: &Cluster,
    objects: Vec<ManifestObject>,
    timeout: Duration,
) -> Result<(), ActionError> {
    if objects.is_empty() {
        return Ok(());
    }
    let changed = changed(cluster, objects).await?;
    for (resource, live) in &changed {
        if let Some(live) = live {
            check_removals(cluster, live, &resource.object).await?;
        }
    }
    let mut brought = Vec::new();
    for (resource, _) in changed {
        let options = ApplyOptions {
            migrate: true,
            ..ApplyOptions::default()
        };
        match apply::apply(&cluster.api, &resource, &options).await {
            Ok(_) => brought.push(resource),
            Err(error @ ApplyError::Conflict { .. }) => {
                let text = format!(
                    "{} is left as it is, somebody else keeps it: {error}",
                    resource.label()
                );
                cluster.observer.event(Event::Warning(text));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if brought.is_empty() {
        return Ok(());
    }
    let awaited: Vec<_> = brought.iter().map(deploy::awaited).collect();
    let options = WaitOptions {
        timeout,
        finish: Finish::default(),
        cancel: cluster.cancel.clone(),
    };
    wait::until_ready(&cluster.api, &awaited, &options, cluster.observer.as_ref()).await?;
    cluster.forget_discovery().await;
    Ok(())
}

fn is_definition(resource: &Resource) -> bool {
    resource.object.kind() == "CustomResourceDefinition"
}

fn spec_only(object: &Object) -> Value {
    serde_json::json!({ "spec": object.at(&["spec"]) })
}

/// Whether everything that is wanted is there already; what the server added does not count.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| contains(live, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| contains(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// Refuses a definition that takes away a stored version or a field in use.
pub(crate) async fn check_removals(
    cluster: &Cluster,
    live: &Object,
    wanted: &Object,
) -> Result<(), ActionError> {
    let refuse = |reason: String| ActionError::Definition {
        name: wanted.name().to_owned(),
        reason,
    };
    let versions = |object: &Object| -> Vec<(String, Value)> {
        let versions = object.list(&["spec", "versions"]).iter();
        versions
            .filter_map(|version| {
                Some((
                    version["name"].as_str()?.to_owned(),
                    version["schema"]["openAPIV3Schema"].clone(),
                ))
            })
            .collect()
    };
    let (old, new) = (versions(live), versions(wanted));
    for stored in live
        .list(&["status", "storedVersions"])
        .iter()
        .filter_map(Value::as_str)
    {
        if !new.iter().any(|(name, _)| name == stored) {
            return Err(refuse(format!(
                "version `{stored}` is taken away, and objects may be stored in it"
            )));
        }
    }
    for (name, schema) in &old {
        let Some((_, after)) = new.iter().find(|(other, _)| other == name) else {
            let text = format!("{}: version `{name}` is served no longer", wanted.name());
            cluster.observer.event(Event::Warning(text));
            continue;
        };
        let removed = removed_fields(schema, after);
        if removed.is_empty() {
            continue;
        }
        let group = live.text(&["spec", "group"]).unwrap_or_default();
        let plural = live.text(&["spec", "names", "plural"]).unwrap_or_default();
        let collection = Collection {
            resource: GroupVersionResource::new(&format!("{group}/{name}"), plural),
            namespace: None,
        };
        let options = ListOptions {
            limit: OBJECTS_CHECKED_MAX,
            ..ListOptions::default()
        };
        // A version that is not served has no objects to look at.
        let Ok(list) = cluster.api.list(&collection, &options).await else {
            continue;
        };
        for object in &list.items {
            let used = removed
                .iter()
                .find(|path| is_set(&Value::from(object.fields().clone()), path));
            if let Some(path) = used {
                return Err(refuse(format!(
                    "field `{}` of version `{name}` is taken away, and `{}` uses it",
                    path.join("."),
                    object.key()
                )));
            }
        }
    }
    Ok(())
}

/// Paths of fields that the first schema has and the second has not; `[]` stands for the items of a list.
fn removed_fields(before: &Value, after: &Value) -> Vec<Vec<String>> {
    let mut removed = Vec::new();
    if after["x-kubernetes-preserve-unknown-fields"] == true {
        return removed;
    }
    for (field, schema) in before["properties"].as_object().into_iter().flatten() {
        let below = match after["properties"].get(field) {
            None => vec![Vec::new()],
            Some(after) => removed_fields(schema, after),
        };
        removed.extend(below.into_iter().map(|mut path| {
            path.insert(0, field.clone());
            path
        }));
    }
    if before["items"].is_object() {
        let below = removed_fields(&before["items"], &after["items"]);
        removed.extend(below.into_iter().map(|mut path| {
            path.insert(0, "[]".to_owned());
            path
        }));
    }
    removed
}

/// Whether an object has a field.
fn is_set(value: &Value, path: &[String]) -> bool {
    match path {
        [] => !value.is_null(),
        [first, rest @ ..] if first == "[]" => value
            .as_array()
            .is_some_and(|items| items.iter().any(|item| is_set(item, rest))),
        [first, rest @ ..] => value.get(first).is_some_and(|value| is_set(value, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_kinds_of_definitions_are_known_before_they_are_served() {
        let object = Object::from_value(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind":
            "CustomResourceDefinition", "metadata": {"name": "craters.moon"}, "spec": {"group": "moon", "scope":
            "Namespaced", "names": {"kind": "Crater", "plural": "craters"}, "versions": [{"name": "v1", "served": true},
            {"name": "v0", "served": false}]}}));
        let source = String::new();
        let kinds = kinds(&[ManifestObject {
            object: object.unwrap(),
            source,
        }]);
        let [crater] = &kinds[..] else { panic!("{kinds:?}") };
        assert_eq!(crater.resource, GroupVersionResource::new("moon/v1", "craters"));
        assert!(crater.kind == "Crater" && crater.namespaced);
    }

    #[test]
    fn fields_that_go_are_found_at_every_depth() {
        let before = json!({"properties": {
            "spec": {"properties": {"a": {}, "list": {"items": {"properties": {"b": {}, "c": {}}}}}},
            "open": {"properties": {"d": {}}},
        }});
        let after = json!({"properties": {
            "spec": {"properties": {"list": {"items": {"properties": {"b": {}}}}}},
            "open": {"x-kubernetes-preserve-unknown-fields": true},
        }});
        let removed = removed_fields(&before, &after);
        let shown: Vec<String> = removed.iter().map(|path| path.join(".")).collect();
        assert_eq!(shown, ["spec.a", "spec.list.[].c"]);
        let uses = |object: Value| removed.iter().any(|path| is_set(&object, path));
        assert!(uses(json!({"spec": {"list": [{"b": 1}, {"c": 2}]}})));
        assert!(!uses(json!({"spec": {"list": [{"b": 1}]}})));
    }

    #[test]
    fn what_the_server_added_is_no_difference() {
        let live = json!({"spec": {"a": 1, "added": true, "list": [{"x": 1, "y": 2}]}});
        assert!(contains(&live, &json!({"spec": {"a": 1, "list": [{"x": 1}]}})));
        assert!(!contains(&live, &json!({"spec": {"a": 2}})));
        assert!(!contains(&live, &json!({"spec": {"list": []}})));
    }
}
