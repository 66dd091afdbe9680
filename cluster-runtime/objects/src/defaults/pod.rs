//! Pods and the pods in templates.

use serde_json::{Value, json};

use super::fill::{Fields, absent, given, has, items, map, text, zero};
use super::volume;
use crate::Object;
use crate::registry::KindRow;

pub(crate) fn pod(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    for list in ["containers", "initContainers"] {
        items(spec, list).for_each(requests_from_limits);
    }
    absent(spec, "enableServiceLinks", true);
    pod_spec(spec);
}

/// What admission adds to every new pod: tolerations of nodes that are away for a short time, and the priority of
/// pods without a class.
pub(crate) fn pod_on_create(object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    if text(spec, "priorityClassName").is_empty() {
        absent(spec, "priority", 0);
        absent(spec, "preemptionPolicy", "PreemptLowerPriority");
    }
    absent(spec, "tolerations", Vec::<Value>::new());
    let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) else {
        return;
    };
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = |toleration: &Value| {
            let field = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
            let key = field("key");
            (key == taint || key.is_empty()) && matches!(field("effect"), "NoExecute" | "")
        };
        if !tolerations.iter().any(tolerates) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// A pod template, as workloads carry it.
pub(super) fn template(owner: &mut Fields, key: &str) {
    if let Some(spec) = given(owner, key).and_then(|template| given(template, "spec")) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Fields) {
    zero(spec, "dnsPolicy", "ClusterFirst");
    zero(spec, "restartPolicy", "Always");
    absent(spec, "securityContext", Fields::new());
    absent(spec, "terminationGracePeriodSeconds", 30);
    zero(spec, "schedulerName", "default-scheduler");
    // The older name of the field goes along with the newer one.
    let account = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount"),
        account => account,
    };
    let account = account.to_owned();
    if !account.is_empty() {
        spec.insert("serviceAccountName".into(), account.as_str().into());
        spec.insert("serviceAccount".into(), account.into());
    }
    let host_network = spec
        .get("hostNetwork")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for entry in items(spec, list) {
            container(entry);
            if host_network && list != "ephemeralContainers" {
                items(entry, "ports").for_each(host_port);
            }
        }
    }
    items(spec, "volumes").for_each(volume::volume);
}

fn container(container: &mut Fields) {
    let policy = if has_tag_latest(text(container, "image")) {
        "Always"
    } else {
        "IfNotPresent"
    };
    zero(container, "imagePullPolicy", policy);
    zero(container, "terminationMessagePath", "/dev/termination-log");
    zero(container, "terminationMessagePolicy", "File");
    absent(container, "resources", Fields::new());
    items(container, "ports").for_each(|port| zero(port, "protocol", "TCP"));
    for variable in items(container, "env") {
        if let Some(field) = given(variable, "valueFrom").and_then(|source| given(source, "fieldRef")) {
            zero(field, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(entry) = given(container, name) {
            probe(entry);
        }
    }
    if let Some(lifecycle) = given(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = given(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

/// Whether an image is named without a fixed version: by the tag `latest`, or by neither tag nor digest.
fn has_tag_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Fields) {
    zero(probe, "timeoutSeconds", 1);
    zero(probe, "periodSeconds", 10);
    zero(probe, "successThreshold", 1);
    zero(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = given(probe, "grpc") {
        absent(grpc, "service", "");
    }
}

fn http_get(handler: &mut Fields) {
    if let Some(get) = given(handler, "httpGet") {
        zero(get, "path", "/");
        zero(get, "scheme", "HTTP");
    }
}

/// On the network of the host a port of the container is that port of the host.
fn host_port(port: &mut Fields) {
    if let Some(number) = port.get("containerPort").cloned() {
        zero(port, "hostPort", number);
    }
}

/// What is limited and not requested is requested up to its limit.
fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = given(container, "resources") else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    if limits.is_empty() && !has(resources, "requests") {
        return;
    }
    if let Some(requests) = map(resources, "requests") {
        for (resource, limit) in limits {
            absent(requests, &resource, limit);
        }
    }
}
