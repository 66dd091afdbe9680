//! Containers of a pod.

use std::collections::BTreeSet;

use super::faults::Faults;
use super::field::Field;
use super::probe;
use crate::names;
use crate::quantity::Quantity;

/// What of its pod a container is checked against.
pub(super) struct Surroundings<'a> {
    /// Names of the volumes.
    pub(super) volumes: BTreeSet<&'a str>,
    /// Whether the pod is on the network of its node.
    pub(super) host_network: bool,
}

/// Containers and init containers of a pod; their names are told apart together.
pub(super) fn containers<'v>(
    list: &Field<'v, '_>,
    init: bool,
    seen: &mut BTreeSet<&'v str>,
    surroundings: &Surroundings<'_>,
    faults: &mut Faults,
) {
    for container in list.items() {
        let name = container.get("name");
        if faults.require(&name) {
            faults.invalid_text(&name, name.text(), &names::dns1123_label_faults(name.text()));
            if !seen.insert(name.text()) {
                faults.duplicate(&name, name.value);
            }
        }
        check(&container, surroundings, faults);
        let sidecar = container.get("restartPolicy").text() == "Always";
        if init && !sidecar {
            for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if !container.get(key).is_absent() {
                    faults.forbidden(
                        &container.get(key),
                        "may not be set for init containers without restartPolicy=Always",
                    );
                }
            }
        }
    }
}

pub(super) fn check(container: &Field<'_, '_>, surroundings: &Surroundings<'_>, faults: &mut Faults) {
    let image = container.get("image");
    if faults.require(&image) && image.text().trim() != image.text() {
        faults.invalid(&image, "must not have leading or trailing whitespace");
    }
    faults.one_of(
        &container.get("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    faults.one_of(
        &container.get("terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
    );
    ports(&container.get("ports"), surroundings.host_network, faults);
    environment(&container.get("env"), faults);
    environment_sources(&container.get("envFrom"), faults);
    mounts(&container.get("volumeMounts"), &surroundings.volumes, faults);
    resources(&container.get("resources"), faults);
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let one_success = key != "readinessProbe";
        probe::probe(&container.get(key), one_success, faults);
    }
    let lifecycle = container.get("lifecycle");
    for key in ["postStart", "preStop"] {
        let handler = lifecycle.get(key);
        if !handler.is_absent() {
            probe::handler(&handler, &["exec", "httpGet", "tcpSocket", "sleep"], faults);
        }
    }
}

fn ports(list: &Field<'_, '_>, host_network: bool, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for port in list.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let found = names::port_name_faults(name.text());
            faults.invalid_text(&name, name.text(), &found);
            if found.is_empty() && !seen.insert(name.text()) {
                faults.duplicate(&name, name.value);
            }
        }
        let number = port.get("containerPort");
        if number.integer().unwrap_or_default() == 0 {
            faults.required(&number, "");
        } else {
            faults.port(&number);
        }
        let on_host = port.get("hostPort");
        if on_host.integer().unwrap_or_default() != 0 {
            faults.port(&on_host);
            if host_network && on_host.value != number.value {
                faults.invalid(&on_host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
        if faults.require(&port.get("protocol")) {
            faults.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        }
    }
}

fn environment(list: &Field<'_, '_>, faults: &mut Faults) {
    for variable in list.items() {
        let name = variable.get("name");
        if faults.require(&name) {
            faults.invalid_text(&name, name.text(), &names::environment_name_faults(name.text()));
        }
        let source = variable.get("valueFrom");
        if source.is_absent() {
            continue;
        }
        let kinds = [
            "fieldRef",
            "resourceFieldRef",
            "configMapKeyRef",
            "secretKeyRef",
            "fileKeyRef",
        ];
        let given = kinds.iter().filter(|kind| !source.get(kind).is_absent()).count();
        if given == 0 {
            faults.invalid_value(
                &source,
                &serde_json::Value::from(""),
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            );
        } else if !variable.get("value").is_empty() {
            faults.invalid_value(
                &source,
                &serde_json::Value::from(""),
                "may not be specified when `value` is not empty",
            );
        } else if given > 1 {
            faults.invalid_value(
                &source,
                &serde_json::Value::from(""),
                "may not have more than one field specified at a time",
            );
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            let reference = source.get(kind);
            if reference.is_absent() {
                continue;
            }
            faults.require(&reference.get("name"));
            let key = reference.get("key");
            if faults.require(&key) {
                faults.invalid_text(&key, key.text(), &names::config_key_faults(key.text()));
            }
        }
        let field = source.get("fieldRef");
        if !field.is_absent() {
            faults.require(&field.get("fieldPath"));
        }
    }
}

fn environment_sources(list: &Field<'_, '_>, faults: &mut Faults) {
    for source in list.items() {
        let given: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|kind| !source.get(kind).is_absent())
            .collect();
        match given.as_slice() {
            [] => faults.invalid_value(
                &source,
                &serde_json::Value::from(""),
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            [kind] => drop(faults.require(&source.get(kind).get("name"))),
            _ => faults.invalid_value(
                &source,
                &serde_json::Value::from(""),
                "may not have more than one field specified at a time",
            ),
        }
    }
}

fn mounts(list: &Field<'_, '_>, volumes: &BTreeSet<&str>, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for mount in list.items() {
        let name = mount.get("name");
        if faults.require(&name) && !volumes.contains(name.text()) {
            faults.not_found(&name);
        }
        let path = mount.get("mountPath");
        if faults.require(&path) && !seen.insert(path.text()) {
            faults.invalid(&path, "must be unique");
        }
        let (below, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        for part in [below, expression] {
            if part.text().starts_with('/') {
                faults.invalid(&part, "must be a relative path");
            }
            if part.text().split('/').any(|step| step == "..") {
                faults.invalid(&part, "must not contain '..'");
            }
        }
        if !below.is_empty() && !expression.is_empty() {
            faults.invalid(&expression, "subPathExpr and subPath are mutually exclusive");
        }
    }
}

/// Requests and limits.
pub(super) fn resources(resources: &Field<'_, '_>, faults: &mut Faults) {
    let amount = |field: &Field<'_, '_>| Quantity::from_value(field.value).ok();
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for list in [limits, requests] {
        for resource in list.keys() {
            let field = list.key(resource);
            faults.invalid_text(&field, resource, &names::qualified_name_faults(resource));
            if amount(&field).is_some_and(Quantity::is_negative) {
                faults.invalid(&field, "must be greater than or equal to 0");
            }
        }
    }
    for resource in requests.keys() {
        let (request, limit) = (requests.key(resource), limits.key(resource));
        if limit.is_absent() {
            continue;
        }
        let (Some(wanted), Some(most)) = (amount(&request), amount(&limit)) else {
            continue;
        };
        if wanted > most {
            let why = format!("must be less than or equal to {resource} limit of {most}");
            faults.invalid_value(&requests, request.value, &why);
        }
    }
}
