//! Volumes, claims and what provides them.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, UNSET, age, flag, joined, name, plain, text, text_or};
use crate::Object;

/// Access modes by their short names.
fn access_modes(modes: &[Value]) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| modes.iter().any(|found| found == mode);
    let short = SHORT
        .iter()
        .filter(|(mode, _)| has(mode))
        .map(|(_, short)| *short);
    short.collect::<Vec<_>>().join(",")
}

/// The phase, unless the object is on its way out.
fn phase(object: &Object) -> &str {
    if object.deletion_timestamp().is_some() {
        return "Terminating";
    }
    text_or(object, &["status", "phase"], "")
}

/// The storage class; an older annotation goes before the field.
fn class(object: &Object) -> &str {
    const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
    let annotated = object.annotation(ANNOTATION);
    annotated.unwrap_or_else(|| text_or(object, &["spec", "storageClassName"], ""))
}

pub(in crate::table) fn persistent_volume(object: &Object, now: Timestamp) -> Vec<Value> {
    let claim = object.at(&["spec", "claimRef"]).filter(|claim| claim.is_object());
    let claim = claim.map(|claim| format!("{}/{}", text(claim, "namespace"), text(claim, "name")));
    vec![
        name(object),
        object
            .at(&["spec", "capacity", "storage"])
            .map(plain)
            .unwrap_or_default()
            .into(),
        access_modes(object.list(&["spec", "accessModes"])).into(),
        text_or(object, &["spec", "persistentVolumeReclaimPolicy"], "").into(),
        phase(object).into(),
        claim.unwrap_or_default().into(),
        class(object).into(),
        text_or(object, &["spec", "volumeAttributesClassName"], UNSET).into(),
        text_or(object, &["status", "reason"], "").into(),
        age(object, now),
        text_or(object, &["spec", "volumeMode"], UNSET).into(),
    ]
}

pub(in crate::table) fn persistent_volume_claim(object: &Object, now: Timestamp) -> Vec<Value> {
    let volume = text_or(object, &["spec", "volumeName"], "");
    let (modes, capacity) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = object
            .at(&["status", "capacity", "storage"])
            .map(plain)
            .unwrap_or_default();
        (access_modes(object.list(&["status", "accessModes"])), capacity)
    };
    vec![
        name(object),
        phase(object).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        class(object).into(),
        text_or(object, &["spec", "volumeAttributesClassName"], UNSET).into(),
        age(object, now),
        text_or(object, &["spec", "volumeMode"], UNSET).into(),
    ]
}

pub(in crate::table) fn storage_class(object: &Object, now: Timestamp) -> Vec<Value> {
    const DEFAULT: [&str; 2] = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    let is_default = DEFAULT
        .iter()
        .any(|annotation| object.annotation(annotation) == Some("true"));
    let mark = if is_default { " (default)" } else { "" };
    vec![
        format!("{}{mark}", object.name()).into(),
        text_or(object, &["provisioner"], "").into(),
        text_or(object, &["reclaimPolicy"], "Delete").into(),
        text_or(object, &["volumeBindingMode"], "Immediate").into(),
        flag(object.at(&["allowVolumeExpansion"])).into(),
        age(object, now),
    ]
}

pub(in crate::table) fn csi_driver(object: &Object, now: Timestamp) -> Vec<Value> {
    let texts = |path: &[&str], key: Option<&str>| -> Vec<String> {
        let items = object.list(path).iter();
        items
            .map(|item| key.map_or_else(|| plain(item), |key| text(item, key).to_owned()))
            .collect()
    };
    let requests = texts(&["spec", "tokenRequests"], Some("audience"));
    let or_true = |key: &str| object.at(&["spec", key]).and_then(Value::as_bool).unwrap_or(true);
    vec![
        name(object),
        or_true("attachRequired").into(),
        flag(object.at(&["spec", "podInfoOnMount"])).into(),
        flag(object.at(&["spec", "storageCapacity"])).into(),
        if requests.is_empty() {
            UNSET.to_owned()
        } else {
            requests.join(",")
        }
        .into(),
        flag(object.at(&["spec", "requiresRepublish"])).into(),
        joined(&texts(&["spec", "volumeLifecycleModes"], None), ",").into(),
        age(object, now),
    ]
}

pub(in crate::table) fn csi_node(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        object.list(&["spec", "drivers"]).len().into(),
        age(object, now),
    ]
}

pub(in crate::table) fn csi_storage_capacity(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text_or(object, &["storageClassName"], "").into(),
        object
            .at(&["capacity"])
            .map_or_else(|| UNSET.to_owned(), plain)
            .into(),
        age(object, now),
    ]
}

pub(in crate::table) fn volume_attachment(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text_or(object, &["spec", "attacher"], "").into(),
        text_or(object, &["spec", "source", "persistentVolumeName"], NONE).into(),
        text_or(object, &["spec", "nodeName"], "").into(),
        flag(object.at(&["status", "attached"])).into(),
        age(object, now),
    ]
}

pub(in crate::table) fn volume_attributes_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text_or(object, &["driverName"], "").into(),
        age(object, now),
    ]
}
