//! Services, ingresses, network policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::faults::Faults;
use super::field::Field;
use super::{metadata, pod};
use crate::Object;
use crate::names;
use crate::registry::KindRow;

pub(crate) fn service(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    let kind = spec.get("type");
    faults.one_of(&kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    let headless = spec.get("clusterIP").text() == "None";
    let list = spec.get("ports");
    if list.is_empty() && !headless && kind.text() != "ExternalName" {
        faults.required(&list, "");
    }
    if kind.text() == "ExternalName" {
        let name = spec.get("externalName");
        let plain = name.text().strip_suffix('.').unwrap_or(name.text());
        if plain.is_empty() {
            faults.required(&name, "");
        } else {
            faults.invalid_text(&name, name.text(), &names::dns1123_subdomain_faults(plain));
        }
        if !matches!(spec.get("clusterIP").text(), "") {
            faults.forbidden(
                &spec.get("clusterIPs"),
                "may not be set for ExternalName services",
            );
        }
    }
    if headless && matches!(kind.text(), "LoadBalancer" | "NodePort") {
        let why = format!("may not be set to 'None' for {} services", kind.text());
        faults.add(
            "FieldValueInvalid",
            &spec.get("clusterIPs").key("0").to_string(),
            format!("Invalid value: \"None\": {why}"),
        );
    }
    ports(&list, kind.text(), headless, faults);
    faults.one_of(&spec.get("sessionAffinity"), &["ClientIP", "None"]);
    faults.one_of(&spec.get("internalTrafficPolicy"), &["Cluster", "Local"]);
    let external = spec.get("externalTrafficPolicy");
    if matches!(kind.text(), "LoadBalancer" | "NodePort") {
        faults.one_of(&external, &["Cluster", "Local"]);
    } else if !external.is_empty() && spec.get("externalIPs").is_empty() {
        faults.invalid(&external, "may only be set for externally-accessible services");
    }
    for address in spec
        .get("clusterIPs")
        .items()
        .chain(spec.get("externalIPs").items())
    {
        if address.text() != "None" && address.text().parse::<IpAddr>().is_err() {
            faults.invalid(
                &address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }
    metadata::labels(&spec.get("selector"), faults);
}

fn ports(list: &Field<'_, '_>, kind: &str, headless: bool, faults: &mut Faults) {
    let several = list.items().count() > 1;
    let (mut named, mut numbered, mut on_nodes) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for port in list.items() {
        let name = port.get("name");
        if name.is_empty() {
            if several {
                faults.required(&name, "");
            }
        } else {
            faults.invalid_text(&name, name.text(), &names::dns1123_label_faults(name.text()));
            if !named.insert(name.text()) {
                faults.duplicate(&name, name.value);
            }
        }
        let number = port.get("port");
        if number.is_absent() {
            faults.invalid_value(&number, &Value::from(0), "must be between 1 and 65535, inclusive");
        }
        faults.port(&number);
        let protocol = port.get("protocol");
        if faults.require(&protocol) {
            faults.one_of(&protocol, &["SCTP", "TCP", "UDP"]);
        }
        faults.port_or_name(&port.get("targetPort"));
        if headless && port.get("targetPort").is_absent() {
            faults.required(&port.get("targetPort"), "");
        }
        let key = (number.value, protocol.value);
        if numbered.contains(&key) {
            faults.duplicate(&port, &json!({"protocol": protocol.value, "port": number.value}));
        }
        numbered.push(key);
        let on_node = port.get("nodePort");
        if on_node.integer().unwrap_or_default() != 0 {
            if matches!(kind, "ClusterIP" | "ExternalName") {
                faults.forbidden(&on_node, &format!("may not be used when `type` is '{kind}'"));
            } else {
                faults.port(&on_node);
                if !on_nodes.insert((on_node.integer(), protocol.text())) {
                    faults.duplicate(&on_node, on_node.value);
                }
            }
        }
    }
}

pub(crate) fn service_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    let (spec, before) = (Field::top(new, "spec"), Field::top(old, "spec"));
    let kept = |spec: &Field<'_, '_>| spec.get("type").text() != "ExternalName";
    let was = before.get("clusterIP");
    if kept(&spec) && kept(&before) && !was.is_empty() && spec.get("clusterIP").value != was.value {
        let list = spec.get("clusterIPs");
        let first = list.items().next();
        let value = json!([spec.get("clusterIP").value]);
        match first {
            Some(first) => faults.invalid_value(&first, list.value, "may not change once set"),
            None => faults.invalid_value(&list, &value, "may not change once set"),
        }
    }
}

pub(crate) fn endpoint_slice(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let kind = Field::top(object, "addressType");
    if faults.require(&kind) {
        faults.one_of(&kind, &["FQDN", "IPv4", "IPv6"]);
    }
    for endpoint in Field::top(object, "endpoints").items() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            faults.required(&addresses, "must contain at least 1 endpoint address");
        }
        for address in addresses.items() {
            let parsed = address.text().parse::<IpAddr>();
            let fits = match kind.text() {
                "IPv4" => parsed.is_ok_and(|address| address.is_ipv4()),
                "IPv6" => parsed.is_ok_and(|address| address.is_ipv6()),
                _ => true,
            };
            if !fits {
                faults.invalid(&address, &format!("must be a valid {} address", kind.text()));
            }
        }
    }
    for port in Field::top(object, "ports").items() {
        faults.port(&port.get("port"));
        faults.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

pub(crate) fn ingress(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    let (backend, rules) = (spec.get("defaultBackend"), spec.get("rules"));
    if backend.is_absent() && rules.is_empty() {
        let why = "either `defaultBackend` or `rules` must be specified";
        faults.invalid_value(&spec, &json!([]), why);
    }
    if !backend.is_absent() {
        ingress_backend(&backend, faults);
    }
    for rule in rules.items() {
        let host = rule.get("host");
        if !host.is_empty() {
            if host.text().parse::<IpAddr>().is_ok() {
                faults.invalid(&host, "must be a DNS name, not an IP address");
            } else {
                let name = host.text().strip_prefix("*.").unwrap_or(host.text());
                faults.invalid_text(&host, host.text(), &names::dns1123_subdomain_faults(name));
            }
        }
        let http = rule.get("http");
        if http.is_absent() {
            continue;
        }
        let paths = http.get("paths");
        faults.require(&paths);
        for path in paths.items() {
            let kind = path.get("pathType");
            if kind.is_empty() {
                faults.required(&kind, "pathType must be specified");
            } else {
                faults.one_of(&kind, &["Exact", "ImplementationSpecific", "Prefix"]);
            }
            let text = path.get("path");
            let must = matches!(kind.text(), "Exact" | "Prefix");
            if (must || !text.is_empty()) && !text.text().starts_with('/') {
                faults.invalid(&text, "must be an absolute path");
            }
            ingress_backend(&path.get("backend"), faults);
        }
    }
    let class = spec.get("ingressClassName");
    if !class.is_empty() {
        faults.invalid_text(
            &class,
            class.text(),
            &names::dns1123_subdomain_faults(class.text()),
        );
    }
}

fn ingress_backend(backend: &Field<'_, '_>, faults: &mut Faults) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_absent(), resource.is_absent()) {
        (true, true) => {
            faults.required(backend, "resource or service backend is required");
        }
        (false, false) => {
            faults.invalid_value(
                backend,
                &Value::from(""),
                "cannot set both resource and service backends",
            );
        }
        (true, false) => {}
        (false, true) => {
            let name = service.get("name");
            if faults.require(&name) {
                faults.invalid_text(&name, name.text(), &names::dns1035_label_faults(name.text()));
            }
            let port = service.get("port");
            let (number, text) = (port.get("number"), port.get("name"));
            match (number.integer().unwrap_or_default() != 0, !text.is_empty()) {
                (false, false) => faults.required(&port, "port name or number is required"),
                (true, true) => {
                    let why = "cannot set both port name & port number";
                    faults.invalid_value(&port, &Value::from(""), why);
                }
                (true, false) => faults.port(&number),
                (false, true) => {
                    faults.invalid_text(&text, text.text(), &names::port_name_faults(text.text()));
                }
            }
        }
    }
}

pub(crate) fn ingress_class(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    let controller = spec.get("controller");
    if faults.require(&controller) && !controller.text().contains('/') {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        faults.invalid(&controller, why);
    }
}

pub(crate) fn network_policy(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    pod::selector(&spec.get("podSelector"), faults);
    for kind in spec.get("policyTypes").items() {
        faults.one_of(&kind, &["Egress", "Ingress"]);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            for port in rule.get("ports").items() {
                faults.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
                faults.port_or_name(&port.get("port"));
                let end = port.get("endPort");
                faults.port(&end);
                if end
                    .integer()
                    .is_some_and(|end| port.get("port").integer().is_none_or(|port| end < port))
                {
                    faults.invalid(&end, "must be greater than or equal to `port`");
                }
            }
            for peer in rule.get(peers).items() {
                network_peer(&peer, faults);
            }
        }
    }
}

fn network_peer(peer: &Field<'_, '_>, faults: &mut Faults) {
    let (pods, namespaces, block) = (
        peer.get("podSelector"),
        peer.get("namespaceSelector"),
        peer.get("ipBlock"),
    );
    pod::selector(&pods, faults);
    pod::selector(&namespaces, faults);
    let selects = !pods.is_absent() || !namespaces.is_absent();
    if !selects && block.is_absent() {
        faults.required(peer, "must specify a peer");
    } else if selects && !block.is_absent() {
        faults.forbidden(peer, "may not specify both ipBlock and another peer");
    }
    if !block.is_absent() {
        let range = block.get("cidr");
        if faults.require(&range) && !is_range(range.text()) {
            faults.invalid(
                &range,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            );
        }
    }
}

/// Whether a text is an address range, `10.0.0.0/8`.
fn is_range(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}
