//! The order in which a release brings a project up: groups of objects, and which wait for which.
//!
//! `depends_on` becomes the resource groups of HIP-0025. Helm's own annotation for what a group waits for,
//! `helm.sh/depends-on/resource-groups`, has two slashes, which no API server takes, so it is [`DEPENDS_ON`] here; the
//! conditions as compose has them stand beside it in [`CONDITIONS`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::convert::Context;
use crate::convert::NAME;
use crate::object::{Object, Role};

/// The annotation that puts an object into a group.
const GROUP: &str = "helm.sh/resource-group";
/// The annotation that says which groups come before: a JSON list of names.
const DEPENDS_ON: &str = "tug.dev/depends-on-resource-groups";
/// The annotation that says what of which service is waited for: a JSON table.
const CONDITIONS: &str = "compose.tug.dev/depends-on";
/// The group of what belongs to no service alone.
const SHARED: &str = "(shared)";

/// Per pod of services the pods that it waits for, and the conditions of its services.
type Waits = BTreeMap<String, (Vec<String>, Map<String, Value>)>;

/// Puts objects into groups where services wait for each other; elsewhere all come together.
pub(crate) fn order(cx: &Context<'_>, objects: &mut [Object]) {
    let mut waits = Waits::new();
    for service in cx.services.values() {
        let owner = cx.owner(service);
        waits.entry(owner.label.clone()).or_default();
        for (name, dependency) in service.map("depends_on") {
            let Some(other) = cx.services.get(name) else {
                service.tell("depends_on", format!("`{name}` is not part of what is converted"));
                continue;
            };
            let other_owner = cx.owner(other);
            if other_owner.name == owner.name {
                continue;
            }
            // Files cannot wait in a circle, but pods of several services can.
            if waits_for(&waits, &other_owner.label, &owner.label) {
                service.tell(
                    "depends_on",
                    format!(
                        "`{name}` is not waited for: its pod waits for that of `{}`",
                        owner.name
                    ),
                );
                continue;
            }
            let entry = waits.entry(owner.label.clone()).or_default();
            let condition = dependency.get("condition").and_then(Value::as_str);
            entry
                .1
                .insert(other.label.clone(), json!(condition.unwrap_or("service_started")));
            let is_required = dependency
                .get("required")
                .is_none_or(|required| required != false);
            if is_required && !entry.0.contains(&other_owner.label) {
                entry.0.push(other_owner.label.clone());
            }
        }
    }
    if waits.values().all(|(_, conditions)| conditions.is_empty()) {
        return;
    }
    let claims = first_users(objects);
    let owners: BTreeMap<&str, &str> = cx
        .services
        .values()
        .map(|service| (service.label.as_str(), cx.owner(service).label.as_str()))
        .collect();
    for object in objects {
        let label = object.value["metadata"]["labels"][NAME].as_str();
        let owner = label
            .and_then(|label| owners.get(label))
            .map(|owner| (*owner).to_owned());
        let group = match object.role {
            Role::Namespace => continue,
            Role::Workload | Role::Published | Role::Ingress | Role::Scaler => owner,
            // A claim may be bound only once its first pod is there, so it must not be waited for before.
            Role::Claim => claims.get(object.name()).cloned(),
            Role::Config | Role::Secret | Role::Policy | Role::Name => None,
        };
        let annotations = &mut object.value["metadata"]["annotations"];
        annotations[GROUP] = json!(group.as_deref().unwrap_or(SHARED));
        if object.role != Role::Workload {
            continue;
        }
        let Some((groups, conditions)) = group.and_then(|group| waits.get(&group)) else {
            continue;
        };
        let groups: Vec<&str> = std::iter::once(SHARED)
            .chain(groups.iter().map(String::as_str))
            .collect();
        annotations[DEPENDS_ON] = json!(json!(groups).to_string());
        if !conditions.is_empty() {
            annotations[CONDITIONS] = json!(Value::Object(conditions.clone()).to_string());
        }
    }
}

/// Whether one pod waits for another, be it through others.
fn waits_for(waits: &Waits, pod: &str, other: &str) -> bool {
    let mut seen = BTreeSet::from([pod]);
    let mut next = vec![pod];
    while let Some(pod) = next.pop() {
        if pod == other {
            return true;
        }
        let groups = waits.get(pod).into_iter().flat_map(|(groups, _)| groups);
        next.extend(groups.map(String::as_str).filter(|group| seen.insert(group)));
    }
    false
}

/// The first workload that mounts each claim, by their names.
fn first_users(objects: &[Object]) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for object in objects.iter().filter(|object| object.role == Role::Workload) {
        for volume in object.pod_spec()["volumes"].as_array().into_iter().flatten() {
            if let Some(claim) = volume
                .pointer("/persistentVolumeClaim/claimName")
                .and_then(Value::as_str)
            {
                users
                    .entry(claim.to_owned())
                    .or_insert_with(|| object.name().to_owned());
            }
        }
    }
    users
}
