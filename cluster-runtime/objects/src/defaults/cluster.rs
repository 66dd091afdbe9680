//! Everything that is neither a workload nor of the network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::fill::{Fields, absent, given, has, items, map, text, zero};
use crate::Object;
use crate::registry::KindRow;

const RBAC: &str = "rbac.authorization.k8s.io";

pub(crate) fn namespace(_row: &KindRow, object: &mut Object) {
    let name = object.name().to_owned();
    if !name.is_empty() {
        object.set(&["metadata", "labels", "kubernetes.io/metadata.name"], name);
    }
}

/// Text becomes data, since only data is kept.
pub(crate) fn secret(_row: &KindRow, object: &mut Object) {
    let fields = object.fields_mut();
    zero(fields, "type", "Opaque");
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    let Some(data) = map(fields, "data") else {
        return;
    };
    for (key, value) in texts {
        let encoded = BASE64.encode(value.as_str().unwrap_or_default());
        data.insert(key, encoded.into());
    }
}

pub(crate) fn limit_range(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    for limit in items(spec, "limits").filter(|limit| text(limit, "type") == "Container") {
        copy_absent(limit, "max", "default");
        copy_absent(limit, "default", "defaultRequest");
        copy_absent(limit, "min", "defaultRequest");
    }
}

/// Copies the entries of one map that another map does not have.
fn copy_absent(fields: &mut Fields, from: &str, to: &str) {
    let Some(entries) = given(fields, from).map(|entries| entries.clone()) else {
        return;
    };
    if let Some(target) = map(fields, to) {
        entries
            .into_iter()
            .for_each(|(key, value)| absent(target, &key, value));
    }
}

pub(crate) fn horizontal_pod_autoscaler(row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    absent(spec, "minReplicas", 1);
    if row.version != "v2" {
        return;
    }
    let listed = spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_some_and(|metrics| !metrics.is_empty());
    if !listed {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    let Some(behavior) = given(spec, "behavior") else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = map(behavior, "scaleUp") {
        absent(up, "stabilizationWindowSeconds", 0);
        absent(up, "selectPolicy", "Max");
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        absent(up, "policies", json!([pods, percent]));
    }
    if let Some(down) = map(behavior, "scaleDown") {
        absent(down, "selectPolicy", "Max");
        absent(down, "policies", json!([percent]));
    }
}

pub(crate) fn role_binding(_row: &KindRow, object: &mut Object) {
    let fields = object.fields_mut();
    if let Some(role) = given(fields, "roleRef") {
        zero(role, "apiGroup", RBAC);
    }
    for subject in items(fields, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            zero(subject, "apiGroup", RBAC);
        }
    }
}

pub(crate) fn storage_class(_row: &KindRow, object: &mut Object) {
    absent(object.fields_mut(), "reclaimPolicy", "Delete");
    absent(object.fields_mut(), "volumeBindingMode", "Immediate");
}

pub(crate) fn csi_driver(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    absent(spec, "attachRequired", true);
    for key in [
        "podInfoOnMount",
        "storageCapacity",
        "requiresRepublish",
        "seLinuxMount",
    ] {
        absent(spec, key, false);
    }
    absent(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    absent(spec, "volumeLifecycleModes", json!(["Persistent"]));
}

pub(crate) fn webhook_configuration(row: &KindRow, object: &mut Object) {
    for webhook in items(object.fields_mut(), "webhooks") {
        absent(webhook, "failurePolicy", "Fail");
        absent(webhook, "matchPolicy", "Equivalent");
        absent(webhook, "namespaceSelector", Fields::new());
        absent(webhook, "objectSelector", Fields::new());
        absent(webhook, "timeoutSeconds", 10);
        if row.kind.starts_with("Mutating") {
            absent(webhook, "reinvocationPolicy", "Never");
        }
        items(webhook, "rules").for_each(|rule| absent(rule, "scope", "*"));
        if let Some(service) = given(webhook, "clientConfig").and_then(|config| given(config, "service")) {
            absent(service, "port", 443);
        }
    }
}

pub(crate) fn priority_class(_row: &KindRow, object: &mut Object) {
    absent(object.fields_mut(), "preemptionPolicy", "PreemptLowerPriority");
}

pub(crate) fn custom_resource_definition(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    zero(spec, "scope", "Namespaced");
    if let Some(names) = given(spec, "names") {
        let kind = text(names, "kind").to_owned();
        zero(names, "singular", kind.to_lowercase());
        zero(names, "listKind", format!("{kind}List"));
    }
    if let Some(conversion) = map(spec, "conversion") {
        zero(conversion, "strategy", "None");
        let service = given(conversion, "webhook")
            .and_then(|webhook| given(webhook, "clientConfig"))
            .and_then(|config| given(config, "service"));
        if let Some(service) = service {
            absent(service, "port", 443);
        }
    }
}

pub(crate) fn api_service(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    if has(spec, "service")
        && let Some(service) = given(spec, "service")
    {
        absent(service, "port", 443);
    }
}
