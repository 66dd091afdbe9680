//! Networks as policies: who shares none cannot speak to each other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::convert::Context;
use crate::jobs::network_owner;
use crate::names::{Names, dns_label, is_label_value, with_suffix};
use crate::network::{container_ports, is_loopback};
use crate::object::{Object, Role, head};
use crate::service::{Service, says_something};
use crate::storage::annotate;

/// What says of a pod that it is on a network.
pub(crate) fn network_label(network: &str) -> String {
    let name = if is_label_value(network) {
        network.to_owned()
    } else {
        dns_label(network)
    };
    format!("network.compose.tug.dev/{name}")
}

/// What says of a pod that it is on no network.
pub(crate) const NO_NETWORK: &str = "compose.tug.dev/no-network";

fn is_external(cx: &Context<'_>, network: &str) -> bool {
    network_field(cx, network, "external")
}

fn network_field(cx: &Context<'_>, network: &str, field: &str) -> bool {
    let networks = cx.project.model.get("networks");
    networks
        .and_then(|networks| networks.get(network)?.get(field))
        .is_some_and(says_something)
}

/// The networks that a service is on.
pub(crate) fn networks_of<'a>(service: &Service<'a>) -> Vec<&'a str> {
    let mode = service
        .peek("network_mode")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if mode == "none" || mode == "host" || network_owner(service).is_some() {
        return Vec::new();
    }
    let named: Vec<&str> = service.map("networks").map(|(name, _)| name).collect();
    if named.is_empty() { vec!["default"] } else { named }
}

/// Whether the networks of the project part anything.
pub(crate) fn are_needed(cx: &Context<'_>) -> bool {
    let used: BTreeSet<&str> = cx.services.values().flat_map(networks_of).collect();
    cx.options.network_policies
        || used.len() > 1
        || used.iter().any(|network| network_field(cx, network, "internal"))
}

/// The policies of the project's networks, and of services that have none.
pub(crate) fn policies(cx: &Context<'_>) -> Vec<Object> {
    let mut names = Names::default();
    let mut objects = Vec::new();
    tell_networks(cx);
    if cx.services.values().any(has_no_network) {
        let mut object = head(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            &names.claim("no-network"),
        );
        cx.label(&mut object, None);
        object["spec"] = json!({"podSelector": {"matchLabels": {NO_NETWORK: "true"}}, "policyTypes": ["Ingress", "Egress"]});
        objects.push(Object::new(Role::Policy, "none", object));
    }
    if !cx.policies {
        return objects;
    }
    let used: BTreeSet<&str> = cx.services.values().flat_map(networks_of).collect();
    let open: Vec<&str> = used
        .iter()
        .copied()
        .filter(|network| !network_field(cx, network, "internal"))
        .collect();
    for network in used {
        // Pods of other projects are on it, of which nothing is known here: its members may be spoken to by anyone.
        let anyone = is_external(cx, network);
        let label = network_label(network);
        let members = json!({"podSelector": {"matchLabels": {&label: "true"}}});
        let mut object = head(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            &names.claim(&dns_label(network)),
        );
        cx.label(&mut object, None);
        let networks = cx.project.model.get("networks");
        let labels = networks.and_then(|networks| networks.get(network)?.get("labels")?.as_object());
        annotate(&mut object, labels);
        let ingress = if anyone {
            json!([{}])
        } else {
            json!([{"from": [members]}])
        };
        object["spec"] = json!({
            "podSelector": {"matchLabels": {&label: "true"}}, "policyTypes": ["Ingress"], "ingress": ingress,
        });
        if network_field(cx, network, "internal") {
            let outside: Vec<Value> = open
                .iter()
                .map(|open| json!({"key": network_label(open), "operator": "DoesNotExist"}))
                .collect();
            let mut egress = object.clone();
            egress["metadata"]["name"] = json!(names.claim(&with_suffix(&dns_label(network), "-internal")));
            egress["spec"] = json!({
                "podSelector": {"matchLabels": {&label: "true"}, "matchExpressions": outside},
                "policyTypes": ["Egress"],
                "egress": [
                    {"to": [members]},
                    {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
                ],
            });
            if outside_is_empty(&egress) {
                egress["spec"]["podSelector"]
                    .as_object_mut()
                    .map(|selector| selector.remove("matchExpressions"));
            }
            objects.push(Object::new(Role::Policy, network, egress));
        }
        objects.push(Object::new(Role::Policy, network, object));
    }
    for service in cx
        .services
        .values()
        .filter(|service| !networks_of(service).is_empty())
    {
        let published: BTreeSet<u16> = service
            .list("ports")
            .iter()
            .filter(|port| !is_loopback(port))
            .filter_map(|port| u16::try_from(port.get("target")?.as_u64()?).ok())
            .collect();
        let ports: Vec<Value> = container_ports(service)
            .into_iter()
            .filter(|port| published.contains(&port.number))
            .map(|port| json!({"port": port.number, "protocol": port.protocol}))
            .collect();
        if ports.is_empty() {
            continue;
        }
        let name = names.claim(&with_suffix(&service.label, "-published"));
        let mut object = head("networking.k8s.io/v1", "NetworkPolicy", &name);
        cx.label(&mut object, Some(service));
        object["spec"] = json!({
            "podSelector": {"matchLabels": cx.selector(service)}, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}],
        });
        objects.push(Object::new(Role::Policy, service.name, object));
    }
    objects
}

fn outside_is_empty(policy: &Value) -> bool {
    policy["spec"]["podSelector"]["matchExpressions"]
        .as_array()
        .is_some_and(Vec::is_empty)
}

/// Whether a service is on no network at all.
pub(crate) fn has_no_network(service: &Service<'_>) -> bool {
    service.peek("network_mode").is_some_and(|mode| mode == "none")
}

/// Tells what of the networks themselves is not carried over.
fn tell_networks(cx: &Context<'_>) {
    for (key, network) in cx.project.resources("networks") {
        let mut network = network.clone();
        // The engine's own driver and an empty `ipam` say nothing.
        network.retain(|field, value| {
            !(field == "driver" && matches!(value.as_str(), Some("bridge" | "overlay" | "default")))
        });
        cx.tell_reported("networks", key, &network);
    }
}

/// Tells what of a service's place on a network is not carried over.
pub(crate) fn tell_places(service: &Service<'_>) {
    for (network, place) in service.map("networks") {
        for (field, value) in place.as_object().into_iter().flatten() {
            if field != "aliases" && !field.starts_with("x-") && says_something(value) {
                service.tell(
                    &format!("networks.{network}.{field}"),
                    "addresses and interfaces of pods are the cluster's choice",
                );
            }
        }
    }
}
