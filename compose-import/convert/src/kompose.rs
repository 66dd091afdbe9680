//! Kompose's labels, honoured as input: https://kompose.io/user-guide/#labels.

use serde_json::{Value, json};

use crate::convert::Context;
use crate::names::dns_label;
use crate::network::container_ports;
use crate::object::{Object, Role, head};
use crate::options::Controller;
use crate::probes;
use crate::service::Service;

/// Labels that are read somewhere in this crate.
const KNOWN: &[&str] = &[
    "controller.port.expose",
    "controller.type",
    "cronjob.backoff_limit",
    "cronjob.concurrency_policy",
    "cronjob.schedule",
    "ephemeral-storage.limit",
    "ephemeral-storage.request",
    "hpa.cpu",
    "hpa.memory",
    "hpa.replicas.max",
    "hpa.replicas.min",
    "image-pull-policy",
    "image-pull-secret",
    "init.containers.command",
    "init.containers.image",
    "init.containers.name",
    "security-context.fsgroup",
    "service.expose",
    "service.expose.ingress-class-name",
    "service.expose.tls-secret",
    "service.external-traffic-policy",
    "service.nodeport.port",
    "service.type",
    "serviceaccount-name",
    "volume.selector",
    "volume.size",
    "volume.storage-class-name",
    "volume.subpath",
    "volume.type",
];

/// Tells of Kompose's labels that are not honoured.
pub(crate) fn tell_unknown(service: &Service<'_>) {
    for (label, value) in service.steering() {
        if KNOWN.contains(&label) || label.starts_with("service.healthcheck.") {
            continue;
        }
        let why = match label {
            "service.name_override" => "services keep their names, by which others find them",
            "service.group" => "`network_mode: service:NAME` puts services into one pod",
            _ => "it is not known",
        };
        service.tell(
            "labels",
            format!("`kompose.{label}: {value}` is not honoured: {why}"),
        );
    }
}

/// Fields of the pod.
pub(crate) fn pod_fields(service: &Service<'_>, spec: &mut Value) {
    let steering = service.steering();
    if let Some(secret) = steering.get("image-pull-secret") {
        spec["imagePullSecrets"] = json!([{"name": secret}]);
    }
    if let Some(account) = steering.get("serviceaccount-name") {
        spec["serviceAccountName"] = json!(account);
    }
}

/// The init container that labels ask for.
pub(crate) fn init_container(service: &Service<'_>) -> Option<Value> {
    let steering = service.steering();
    let image = steering.get("init.containers.image")?;
    let name = steering
        .get("init.containers.name")
        .map_or_else(|| format!("{}-init", service.label), |name| dns_label(name));
    let mut container = json!({"name": name, "image": image});
    if let Some(command) = steering.get("init.containers.command") {
        let words: Vec<String> =
            serde_json::from_str(command).unwrap_or_else(|_| probes::words(&json!(command)));
        container["command"] = json!(words);
    }
    Some(container)
}

/// The Ingress that labels ask for: `true`, or `HOST[/PATH],...`.
pub(crate) fn ingress(cx: &Context<'_>, service: &Service<'_>) -> Option<Object> {
    let steering = service.steering();
    let expose = steering.get("service.expose")?;
    let ports = container_ports(service);
    let Some(port) = ports.first() else {
        service.tell("labels", "`kompose.service.expose` needs a port");
        return None;
    };
    let backend = json!({"service": {"name": service.label, "port": {"number": port.number}}});
    let mut rules = Vec::new();
    let mut hosts = Vec::new();
    for entry in expose.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (host, path) = match entry.split_once('/') {
            _ if entry == "true" => ("", "/".to_owned()),
            Some((host, path)) => (host, format!("/{path}")),
            None => (entry, "/".to_owned()),
        };
        let mut rule = json!({"http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}});
        if !host.is_empty() {
            rule["host"] = json!(host.to_ascii_lowercase());
            hosts.push(host.to_ascii_lowercase());
        }
        rules.push(rule);
    }
    let mut object = head("networking.k8s.io/v1", "Ingress", &service.label);
    cx.label(&mut object, Some(service));
    object["spec"]["rules"] = Value::Array(rules);
    if let Some(class) = steering.get("service.expose.ingress-class-name") {
        object["spec"]["ingressClassName"] = json!(class);
    }
    if let Some(secret) = steering.get("service.expose.tls-secret") {
        object["spec"]["tls"] = json!([{"secretName": secret, "hosts": hosts}]);
    }
    Some(Object::new(Role::Ingress, service.name, object))
}

/// The autoscaler that labels ask for.
pub(crate) fn autoscaler(cx: &Context<'_>, service: &Service<'_>, controller: Controller) -> Option<Object> {
    let steering = service.steering();
    if !steering.keys().any(|key| key.starts_with("hpa.")) {
        return None;
    }
    if !matches!(controller, Controller::Deployment | Controller::StatefulSet) {
        service.tell(
            "labels",
            format!(
                "a {} is not scaled: `kompose.hpa.*` is not honoured",
                controller.kind()
            ),
        );
        return None;
    }
    let number = |key: &str| {
        steering
            .get(key)
            .and_then(|text| text.trim().trim_end_matches('%').parse::<i64>().ok())
    };
    let min = number("hpa.replicas.min").unwrap_or(1).max(1);
    let max = number("hpa.replicas.max").unwrap_or(3).max(min);
    let mut metrics = Vec::new();
    for (name, key, default) in [("cpu", "hpa.cpu", 50), ("memory", "hpa.memory", 70)] {
        let Some(text) = steering.get(key) else { continue };
        let target = match number(key) {
            Some(percent) => json!({"type": "Utilization", "averageUtilization": percent}),
            None if text.starts_with(|char: char| char.is_ascii_digit()) => {
                json!({"type": "AverageValue", "averageValue": text})
            }
            None => {
                service.tell(
                    "labels",
                    format!("`kompose.{key}: {text}` is no share: {default} % is taken"),
                );
                json!({"type": "Utilization", "averageUtilization": default})
            }
        };
        metrics.push(json!({"type": "Resource", "resource": {"name": name, "target": target}}));
    }
    if metrics.is_empty() {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}));
    }
    let mut object = head("autoscaling/v2", "HorizontalPodAutoscaler", &service.label);
    cx.label(&mut object, Some(service));
    object["spec"] = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": controller.kind(), "name": service.label},
        "minReplicas": min, "maxReplicas": max, "metrics": metrics,
    });
    Some(Object::new(Role::Scaler, service.name, object))
}
