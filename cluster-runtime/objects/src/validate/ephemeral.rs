//! Ephemeral containers: they join a pod that is there, through a subresource of its own.
//!
//! Rules and words are those of `k8s.io/kubernetes/pkg/apis/core/validation`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::container::{Surroundings, check};
use super::faults::Faults;
use super::field::Field;
use crate::Object;
use crate::names;
use crate::registry::KindRow;

/// What an ephemeral container may say; the rest is for containers that others rely on.
const ALLOWED: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];
const NOT_HERE: &str = "cannot be set for an Ephemeral Container";

/// A new pod has none.
pub(crate) fn pod_create(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    let list = spec.get("ephemeralContainers");
    if !list.is_empty() {
        faults.forbidden(&list, "cannot be set on create");
    }
}

/// To those of a pod that is there others may be added.
pub(crate) fn pod_part(_row: &KindRow, subresource: &str, new: &Object, old: &Object, faults: &mut Faults) {
    if subresource != "ephemeralcontainers" {
        return;
    }
    let spec = Field::top(new, "spec");
    let list = spec.get("ephemeralContainers");
    containers(&spec, &list, faults);
    let wished = new.list(&["spec", "ephemeralContainers"]);
    for before in old.list(&["spec", "ephemeralContainers"]) {
        let name = &before["name"];
        match wished.iter().find(|container| container["name"] == *name) {
            None => faults.forbidden(
                &list,
                &format!("existing ephemeral containers {name} may not be removed\n"),
            ),
            Some(after) if after != before => faults.forbidden(
                &list,
                &format!("existing ephemeral containers {name} may not be changed\n"),
            ),
            Some(_) => {}
        }
    }
}

fn containers(spec: &Field<'_, '_>, list: &Field<'_, '_>, faults: &mut Faults) {
    let volumes = spec.get("volumes");
    let surroundings = Surroundings {
        volumes: volumes.items().map(|volume| name_of(volume.value)).collect(),
        host_network: spec.get("hostNetwork").is_true(),
    };
    let lasting: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|key| spec.value[*key].as_array().map_or(&[][..], Vec::as_slice))
        .map(name_of)
        .collect();
    let mut seen = lasting.clone();
    for container in list.items() {
        let name = container.get("name");
        if faults.require(&name) {
            faults.invalid_text(&name, name.text(), &names::dns1123_label_faults(name.text()));
        }
        check(&container, &surroundings, faults);
        if !seen.insert(name.text()) {
            faults.duplicate(&name, name.value);
        }
        let target = container.get("targetContainerName");
        if !target.is_empty() && !lasting.contains(target.text()) {
            faults.not_found(&target);
        }
        for key in container.keys().filter(|key| !ALLOWED.contains(key)) {
            let field = container.get(key);
            if !field.is_empty() {
                faults.forbidden(&field, NOT_HERE);
            }
        }
        let mounts = container.get("volumeMounts");
        for mount in mounts.items() {
            for key in ["subPath", "subPathExpr"] {
                if !mount.get(key).is_empty() {
                    faults.forbidden(&mount.get(key), NOT_HERE);
                }
            }
        }
    }
}

fn name_of(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}
