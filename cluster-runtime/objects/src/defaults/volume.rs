//! Volumes of pods, persistent volumes and their claims.

use super::fill::{Fields, absent, given, has, items, zero};
use crate::Object;
use crate::registry::KindRow;

/// Mode of files that a volume is made of: `0644`.
const FILE_MODE: i64 = 0o644;

/// One entry of `spec.volumes` of a pod.
pub(super) fn volume(volume: &mut Fields) {
    if !volume
        .iter()
        .any(|(key, value)| key != "name" && !value.is_null())
    {
        volume.insert("emptyDir".to_owned(), Fields::new().into());
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = given(volume, source) {
            absent(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = given(volume, "downwardAPI") {
        field_references(source);
    }
    if let Some(projected) = given(volume, "projected") {
        for source in items(projected, "sources") {
            if let Some(source) = given(source, "downwardAPI") {
                field_references(source);
            }
            if let Some(token) = given(source, "serviceAccountToken") {
                absent(token, "expirationSeconds", 3600);
            }
        }
    }
    if let Some(path) = given(volume, "hostPath") {
        absent(path, "type", "");
    }
    if let Some(image) = given(volume, "image") {
        zero(image, "pullPolicy", "IfNotPresent");
    }
    if let Some(iscsi) = given(volume, "iscsi") {
        zero(iscsi, "iscsiInterface", "default");
    }
    let template = given(volume, "ephemeral").and_then(|source| given(source, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|template| given(template, "spec")) {
        absent(spec, "volumeMode", "Filesystem");
    }
}

fn field_references(source: &mut Fields) {
    for item in items(source, "items") {
        if let Some(reference) = given(item, "fieldRef") {
            zero(reference, "apiVersion", "v1");
        }
    }
}

pub(crate) fn persistent_volume(_row: &KindRow, object: &mut Object) {
    if let Some(spec) = given(object.fields_mut(), "spec") {
        zero(spec, "persistentVolumeReclaimPolicy", "Retain");
        absent(spec, "volumeMode", "Filesystem");
        if let Some(path) = given(spec, "hostPath") {
            absent(path, "type", "");
        }
    }
}

pub(crate) fn persistent_volume_claim(_row: &KindRow, object: &mut Object) {
    claim(object.fields_mut());
}

/// A claim in the templates of a stateful set, where it has type and phase too.
pub(super) fn claim_template(fields: &mut Fields) {
    zero(fields, "apiVersion", "v1");
    zero(fields, "kind", "PersistentVolumeClaim");
    claim(fields);
    if !has(fields, "status") {
        fields.insert("status".to_owned(), Fields::new().into());
    }
    if let Some(status) = given(fields, "status") {
        zero(status, "phase", "Pending");
    }
}

fn claim(fields: &mut Fields) {
    if let Some(spec) = given(fields, "spec") {
        absent(spec, "volumeMode", "Filesystem");
    }
}
