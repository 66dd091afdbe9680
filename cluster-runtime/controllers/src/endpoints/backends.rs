//! What a service shows of a pod: its addresses, whether they are ready, and its ports.

use cluster_objects::Object;
use serde_json::{Map, Value, json};

use crate::pod;

/// The state of a pod behind a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) serving: bool,
    pub(crate) terminating: bool,
}

/// Whether a pod can stand behind a service at all: it has an address and has not ended.
pub(crate) fn counts(pod: &Object) -> bool {
    !pod::is_finished(pod) && !addresses(pod).is_empty()
}

/// The addresses of a pod.
pub(crate) fn addresses(pod: &Object) -> Vec<&str> {
    let listed = pod.list(&["status", "podIPs"]).iter();
    let mut addresses: Vec<&str> = listed.filter_map(|entry| entry["ip"].as_str()).collect();
    if addresses.is_empty() {
        addresses.extend(
            pod.text(&["status", "podIP"])
                .filter(|address| !address.is_empty()),
        );
    }
    addresses
}

/// Whether an address is of IPv6.
pub(crate) fn is_v6(address: &str) -> bool {
    address.contains(':')
}

/// `spec.publishNotReadyAddresses`: whether pods are shown as ready before they are.
pub(crate) fn publishes_not_ready(service: &Object) -> bool {
    service.at(&["spec", "publishNotReadyAddresses"]) == Some(&Value::Bool(true))
}

/// Whether the service has no address of its own.
pub(crate) fn is_headless(service: &Object) -> bool {
    service.text(&["spec", "clusterIP"]) == Some("None")
}

/// The state of a pod behind a service.
pub(crate) fn readiness(service: &Object, pod: &Object) -> Readiness {
    let serving = pod::is_ready(pod);
    let terminating = pod.deletion_timestamp().is_some();
    Readiness {
        ready: publishes_not_ready(service) || (serving && !terminating),
        serving,
        terminating,
    }
}

/// The ports of a service as this pod has them; a named port that the pod does not have is left out.
pub(crate) fn ports(service: &Object, pod: &Object) -> Vec<Value> {
    let ports = service.list(&["spec", "ports"]).iter();
    ports
        .filter_map(|port| Some(port_of(port, target_of(port, pod)?)))
        .collect()
}

fn port_of(port: &Value, number: i64) -> Value {
    let mut shown = Map::new();
    shown.insert("name".into(), port["name"].as_str().unwrap_or_default().into());
    shown.insert("port".into(), number.into());
    shown.insert("protocol".into(), protocol(port).into());
    if let Some(application) = port["appProtocol"].as_str() {
        shown.insert("appProtocol".into(), application.into());
    }
    Value::Object(shown)
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

fn target_of(port: &Value, pod: &Object) -> Option<i64> {
    let name = match &port["targetPort"] {
        Value::Number(number) => {
            return number
                .as_i64()
                .filter(|number| *number != 0)
                .or(port["port"].as_i64());
        }
        Value::String(name) if !name.is_empty() => name,
        _ => return port["port"].as_i64(),
    };
    let sidecars = pod.list(&["spec", "initContainers"]).iter();
    let sidecars = sidecars.filter(|container| container["restartPolicy"] == "Always");
    let containers = pod.list(&["spec", "containers"]).iter().chain(sidecars);
    let mut ports = containers
        .filter_map(|container| container["ports"].as_array())
        .flatten();
    let named = ports.find(|own| own["name"] == *name && protocol(own) == protocol(port));
    named.and_then(|own| own["containerPort"].as_i64())
}

/// A reference to the pod.
pub(crate) fn target_reference(pod: &Object) -> Value {
    json!({"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()})
}

/// The name of the pod in the DNS of the service, where it asked for one.
pub(crate) fn host_name<'a>(service: &Object, pod: &'a Object) -> Option<&'a str> {
    let host = pod.text(&["spec", "hostname"]).filter(|host| !host.is_empty())?;
    (pod.text(&["spec", "subdomain"]) == Some(service.name())).then_some(host)
}
