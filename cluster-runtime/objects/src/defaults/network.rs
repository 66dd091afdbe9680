//! Services, endpoints, ingress classes, network policies.

use serde_json::{Value, json};

use super::fill::{Fields, absent, given, items, map, text, zero};
use crate::Object;
use crate::registry::KindRow;

pub(crate) fn service(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    zero(spec, "sessionAffinity", "None");
    if text(spec, "sessionAffinity") == "ClientIP" {
        if let Some(client) = map(spec, "sessionAffinityConfig").and_then(|config| map(config, "clientIP")) {
            absent(client, "timeoutSeconds", 10_800);
        }
    } else {
        spec.remove("sessionAffinityConfig");
    }
    zero(spec, "type", "ClusterIP");
    items(spec, "ports").for_each(service_port);
    let kind = text(spec, "type").to_owned();
    let balanced = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if balanced {
        zero(spec, "externalTrafficPolicy", "Cluster");
    }
    if balanced || kind == "ClusterIP" {
        absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        absent(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn service_port(port: &mut Fields) {
    zero(port, "protocol", "TCP");
    if let Some(number) = port.get("port").cloned() {
        zero(port, "targetPort", number);
    }
}

pub(crate) fn endpoints(_row: &KindRow, object: &mut Object) {
    for subset in items(object.fields_mut(), "subsets") {
        items(subset, "ports").for_each(|port| zero(port, "protocol", "TCP"));
    }
}

pub(crate) fn endpoint_slice(_row: &KindRow, object: &mut Object) {
    for port in items(object.fields_mut(), "ports") {
        absent(port, "name", "");
        absent(port, "protocol", "TCP");
    }
}

pub(crate) fn ingress_class(_row: &KindRow, object: &mut Object) {
    let spec = given(object.fields_mut(), "spec");
    if let Some(parameters) = spec.and_then(|spec| given(spec, "parameters")) {
        absent(parameters, "scope", "Cluster");
    }
}

pub(crate) fn network_policy(_row: &KindRow, object: &mut Object) {
    let Some(spec) = given(object.fields_mut(), "spec") else {
        return;
    };
    for direction in ["ingress", "egress"] {
        for rule in items(spec, direction) {
            items(rule, "ports").for_each(|port| absent(port, "protocol", "TCP"));
        }
    }
    let listed = spec
        .get("policyTypes")
        .and_then(Value::as_array)
        .is_some_and(|types| !types.is_empty());
    if !listed {
        let egress = spec
            .get("egress")
            .and_then(Value::as_array)
            .is_some_and(|rules| !rules.is_empty());
        let types = if egress {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".to_owned(), types);
    }
}
