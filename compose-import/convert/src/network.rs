//! Names and ports: the Services by which services are found, inside and outside of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::convert::Context;
use crate::jobs::network_owner;
use crate::names::{Names, is_dns_label, service_label, with_suffix};
use crate::object::{Object, Role, head};
use crate::options::Publish;
use crate::service::{Service, says_something};

/// A port that a container listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
    pub(crate) name: Option<String>,
    pub(crate) app_protocol: Option<String>,
    /// The port of the node that leads to it.
    pub(crate) host_port: Option<u16>,
}

/// A port outside of the cluster, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    /// None: whichever is free.
    outside: Option<u16>,
    target: u16,
    protocol: String,
    app_protocol: Option<String>,
}

/// `3000-3002/udp` as its ports.
fn port_range(text: &str) -> Option<(std::ops::RangeInclusive<u16>, String)> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let first: u16 = first.trim().parse().ok()?;
    let last: u16 = last.trim().parse().ok()?;
    (first > 0 && first <= last).then(|| (first..=last, protocol.to_ascii_uppercase()))
}

fn number(value: Option<&Value>) -> Option<u16> {
    let value = value?;
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn protocol(port: &Value) -> String {
    text(port, "protocol").unwrap_or("tcp").to_ascii_uppercase()
}

/// The ports on the side of the container: what is published and what is exposed.
pub(crate) fn container_ports(service: &Service<'_>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    let on_host = service
        .steering()
        .get("controller.port.expose")
        .is_some_and(|text| *text == "true");
    for (index, port) in service.list("ports").iter().enumerate() {
        let Some(target) = number(port.get("target")) else {
            service.tell_item("ports", index, "a port without a target");
            continue;
        };
        let protocol = protocol(port);
        let published = published_number(port);
        let host_port = published.filter(|_| on_host || text(port, "mode") == Some("host"));
        let known = ports
            .iter_mut()
            .find(|known| known.number == target && known.protocol == protocol);
        if let Some(known) = known {
            known.host_port = known.host_port.or(host_port);
            continue;
        }
        let name = text(port, "name");
        if let Some(name) = name
            && !is_port_name(name)
        {
            service.tell_item("ports", index, format!("`{name}` cannot be the name of a port"));
        }
        ports.push(Port {
            number: target,
            protocol,
            name: name.filter(|name| is_port_name(name)).map(str::to_owned),
            app_protocol: text(port, "app_protocol").map(str::to_owned),
            host_port,
        });
    }
    for entry in service.list("expose") {
        let entry = entry.as_str().map_or_else(|| entry.to_string(), str::to_owned);
        let Some((numbers, protocol)) = port_range(&entry) else {
            service.tell("expose", format!("`{entry}` is no port"));
            continue;
        };
        for number in numbers {
            if !ports
                .iter()
                .any(|port| port.number == number && port.protocol == protocol)
            {
                let protocol = protocol.clone();
                ports.push(Port {
                    number,
                    protocol,
                    name: None,
                    app_protocol: None,
                    host_port: None,
                });
            }
        }
    }
    let mut names = BTreeSet::new();
    for port in &mut ports {
        if port.name.as_ref().is_some_and(|name| !names.insert(name.clone())) {
            port.name = None;
        }
    }
    if ports.len() > PORTS_MAX {
        service.tell(
            "expose",
            format!("of {} ports the first {PORTS_MAX} are kept", ports.len()),
        );
        ports.truncate(PORTS_MAX);
    }
    ports
}

/// More than anyone lists by hand; a range over all ports would make an object that no cluster takes.
const PORTS_MAX: usize = 1000;

fn is_port_name(name: &str) -> bool {
    is_dns_label(name)
        && name.len() <= 15
        && !name.contains("--")
        && name.contains(|char: char| char.is_ascii_alphabetic())
}

impl Port {
    pub(crate) fn label(&self) -> String {
        let given = self.name.clone();
        given.unwrap_or_else(|| format!("{}-{}", self.protocol.to_ascii_lowercase(), self.number))
    }
}

/// The first port of what is published, which may be a range to choose from.
fn published_number(port: &Value) -> Option<u16> {
    let published = port.get("published")?;
    match published.as_str() {
        Some(range) => Some(*port_range(range)?.0.start()),
        None => number(Some(published)),
    }
}

/// The Services of the project: each service's own, those of its other names, and those of its published ports.
pub(crate) fn services(cx: &Context<'_>) -> Vec<Object> {
    let mut names = Names::default();
    for service in cx.services.values() {
        names.claim(&service.label);
    }
    let mut objects = Vec::new();
    let mut outside = BTreeMap::new();
    for service in cx.services.values() {
        let ports = container_ports(service);
        if let Some(object) = own(cx, service, &ports) {
            objects.push(object);
        }
        published(cx, service, &mut names, &mut outside, &mut objects);
    }
    aliases(cx, &mut names, &mut objects);
    external_links(cx, &mut names, &mut objects);
    subdomains(cx, &mut names, &mut objects);
    objects
}

/// Whether a service has a name that others can ask for.
fn is_addressed(cx: &Context<'_>, service: &Service<'_>, ports: &[Port]) -> bool {
    let mode = service
        .peek("network_mode")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if mode == "none" || network_owner(service).is_some() {
        return false;
    }
    !ports.is_empty() || mode != "host" && !cx.controller(service).ends()
}

fn own(cx: &Context<'_>, service: &Service<'_>, ports: &[Port]) -> Option<Object> {
    let mode = service.text("deploy.endpoint_mode");
    if !is_addressed(cx, service, ports) {
        return None;
    }
    let headless = service
        .steering()
        .get("service.type")
        .is_some_and(|kind| kind.eq_ignore_ascii_case("headless"));
    let mut object = service_object(cx, &service.label, service, ports);
    if ports.is_empty() || headless || mode == Some("dnsrr") {
        object["spec"]["clusterIP"] = json!("None");
    }
    Some(Object::new(Role::Name, service.name, object))
}

fn service_object(cx: &Context<'_>, name: &str, service: &Service<'_>, ports: &[Port]) -> Value {
    let mut object = head("v1", "Service", name);
    cx.label(&mut object, Some(service));
    object["spec"]["selector"] = cx.selector(service);
    if !ports.is_empty() {
        object["spec"]["ports"] = ports.iter().map(service_port).collect();
    }
    object
}

fn service_port(port: &Port) -> Value {
    let mut entry = json!({"name": port.label(), "port": port.number, "targetPort": port.number, "protocol": port.protocol});
    if let Some(app_protocol) = &port.app_protocol {
        entry["appProtocol"] = json!(app_protocol);
    }
    entry
}

/// The ports of nodes that services may have, unless a cluster is told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// The Services of what a service publishes.
fn published(
    cx: &Context<'_>,
    service: &Service<'_>,
    names: &mut Names,
    taken: &mut BTreeMap<(u16, String), String>,
    objects: &mut Vec<Object>,
) {
    let steering = service.steering();
    let node_network = service.peek("network_mode").is_some_and(|mode| mode == "host");
    let kind = steering.get("service.type").map(|kind| kind.to_ascii_lowercase());
    let ports = published_ports(service);
    if ports.is_empty()
        || node_network
        || network_owner(service).is_some()
        || steering.contains_key("service.expose")
    {
        return;
    }
    if matches!(kind.as_deref(), Some("clusterip" | "headless")) {
        service.tell(
            "ports",
            "they stay within the cluster, as the label `kompose.service.type` says",
        );
        return;
    }
    let mut numbered = Vec::new();
    let mut free = Vec::new();
    for port in ports {
        match port.outside {
            Some(outside) => {
                let key = (outside, port.protocol.clone());
                if let Some(other) = taken.get(&key) {
                    service.tell(
                        "ports",
                        format!("port {outside} is published by `{other}` as well: only one of them gets it"),
                    );
                }
                taken.entry(key).or_insert_with(|| service.name.to_owned());
                numbered.push(port);
            }
            None => free.push(port),
        }
    }
    let is_node_port = kind.as_deref() == Some("nodeport");
    let also_node_ports = cx.options.publish == Publish::AlsoNodePorts;
    let node_port = steering
        .get("service.nodeport.port")
        .and_then(|text| text.parse::<u16>().ok());
    for (ports, suffix, kind) in [
        (
            numbered,
            "-published",
            if is_node_port { "NodePort" } else { "LoadBalancer" },
        ),
        (free, "-node", "NodePort"),
    ] {
        if ports.is_empty() {
            continue;
        }
        let name = names.claim(&with_suffix(&service.label, suffix));
        let mut object = service_object(cx, &name, service, &[]);
        object["spec"]["type"] = json!(kind);
        let single = ports.len() == 1;
        let mut entries = Vec::new();
        for port in ports {
            let number = port.outside.unwrap_or(port.target);
            let protocol = port.protocol.to_ascii_lowercase();
            let mut entry = json!({
                "name": format!("{protocol}-{number}"), "port": number, "targetPort": port.target, "protocol": port.protocol,
            });
            if let Some(app_protocol) = port.app_protocol {
                entry["appProtocol"] = json!(app_protocol);
            }
            let given = node_port.filter(|_| single && is_node_port);
            let as_it_is = port
                .outside
                .filter(|port| also_node_ports && NODE_PORTS.contains(port));
            if let Some(node_port) = given.or(as_it_is) {
                entry["nodePort"] = json!(node_port);
            }
            entries.push(entry);
        }
        object["spec"]["ports"] = Value::Array(entries);
        match steering
            .get("service.external-traffic-policy")
            .map(|policy| policy.to_ascii_lowercase())
            .as_deref()
        {
            Some("local") => object["spec"]["externalTrafficPolicy"] = json!("Local"),
            Some("cluster") => object["spec"]["externalTrafficPolicy"] = json!("Cluster"),
            _ => {}
        }
        objects.push(Object::new(Role::Published, service.name, object));
    }
}

/// Whether a port is published on the host's own loopback only.
pub(crate) fn is_loopback(port: &Value) -> bool {
    let host_ip = text(port, "host_ip").unwrap_or_default();
    host_ip.starts_with("127.") || host_ip == "::1"
}

fn published_ports(service: &Service<'_>) -> Vec<Published> {
    let mut ports: Vec<Published> = Vec::new();
    for (index, port) in service.list("ports").iter().enumerate() {
        let Some(target) = number(port.get("target")) else {
            continue;
        };
        let on_host = text(port, "mode") == Some("host");
        let host_ip = text(port, "host_ip").unwrap_or_default();
        let outside = published_number(port);
        if is_loopback(port) {
            let message = format!(
                "port {target} is published on loopback only, so not at all: `kubectl port-forward` reaches it"
            );
            service.tell_item("ports", index, message);
            continue;
        }
        if !matches!(host_ip, "" | "0.0.0.0" | "::") {
            service.tell_item(
                "ports",
                index,
                format!("port {target} is published on all addresses, not on {host_ip} alone"),
            );
        }
        let given = port
            .get("published")
            .filter(|value| says_something(value))
            .and_then(Value::as_str);
        match (given, outside) {
            (Some(range), Some(first)) if range.contains('-') => {
                service.tell_item("ports", index, format!("of {range}, port {first} is published"));
            }
            (Some(given), None) if given != "0" => {
                service.tell_item("ports", index, format!("`{given}` is no port"));
            }
            _ => {}
        }
        if on_host && outside.is_some() {
            continue;
        }
        let published = Published {
            outside,
            target,
            protocol: protocol(port),
            app_protocol: text(port, "app_protocol").map(str::to_owned),
        };
        let same = |other: &Published| {
            other.outside.unwrap_or(other.target) == outside.unwrap_or(target)
                && other.protocol == published.protocol
        };
        if !ports.iter().any(same) {
            ports.push(published);
        }
    }
    ports
}

/// Who asks for a name: the attribute, the service that wrote it, and the service that is meant.
type Wish<'a> = (&'static str, &'a str, &'a str);

/// The Services of other names: of aliases, links and containers.
fn aliases(cx: &Context<'_>, names: &mut Names, objects: &mut Vec<Object>) {
    for (alias, wishes) in wishes(cx) {
        let label = service_label(alias);
        let meant: BTreeSet<&str> = wishes.iter().map(|(_, _, meant)| *meant).collect();
        for (attribute, writer, _) in &wishes {
            let Some(writer) = cx.services.get(*writer) else {
                continue;
            };
            if label != *alias {
                writer.tell(
                    attribute,
                    format!("the name `{alias}` is called `{label}` in Kubernetes"),
                );
            }
        }
        let owner = cx.services.values().find(|service| service.label == label);
        if let Some(owner) = owner {
            for (attribute, writer, _) in wishes.iter().filter(|(_, _, meant)| *meant != owner.name) {
                if let Some(writer) = cx.services.get(*writer) {
                    writer.tell(
                        attribute,
                        format!("`{label}` leads to the service `{}` of that name", owner.name),
                    );
                }
            }
            continue;
        }
        if names.has(&label) {
            continue;
        }
        let mut members = meant
            .iter()
            .filter_map(|name| cx.services.get(*name))
            .filter(|service| {
                let ports = container_ports(service);
                is_addressed(cx, service, &ports)
            });
        let Some(first) = members.next() else { continue };
        let name = names.claim(&label);
        let mut ports = container_ports(first);
        let mut object_of_many = false;
        for member in members {
            object_of_many = true;
            for port in container_ports(member) {
                if !ports
                    .iter()
                    .any(|known| known.number == port.number && known.protocol == port.protocol)
                {
                    ports.push(port);
                }
            }
        }
        let mut object = service_object(cx, &name, first, &ports);
        if ports.is_empty() {
            object["spec"]["clusterIP"] = json!("None");
        }
        if object_of_many {
            object["spec"]["selector"] =
                json!({alias_label(&label): "true", crate::convert::INSTANCE: cx.instance});
        }
        objects.push(Object::new(Role::Name, first.name, object));
    }
}

/// All names that are asked for besides the services' own.
fn wishes<'a>(cx: &'a Context<'_>) -> BTreeMap<&'a str, Vec<Wish<'a>>> {
    let mut wishes: BTreeMap<&str, Vec<Wish<'_>>> = BTreeMap::new();
    for service in cx.services.values() {
        for (_, network) in service.map("networks") {
            for alias in network
                .get("aliases")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                wishes
                    .entry(alias)
                    .or_default()
                    .push(("networks", service.name, service.name));
            }
        }
        if let Some(name) = service.text("container_name") {
            wishes
                .entry(name)
                .or_default()
                .push(("container_name", service.name, service.name));
        }
        for link in service.texts("links") {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            match cx.services.get_key_value(target) {
                Some((target, _)) => wishes
                    .entry(alias)
                    .or_default()
                    .push(("links", service.name, target)),
                None => service.tell("links", format!("there is no service `{target}`")),
            }
        }
    }
    for list in wishes.values_mut() {
        list.sort_unstable();
        list.dedup();
    }
    wishes.retain(|alias, list| list.iter().any(|(_, _, meant)| meant != alias));
    wishes
}

fn alias_label(label: &str) -> String {
    format!("alias.compose.tug.dev/{label}")
}

/// The labels by which pods are found under names that several services share.
pub(crate) fn alias_labels(cx: &Context<'_>) -> BTreeMap<String, Vec<String>> {
    let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (alias, wishes) in wishes(cx) {
        let meant: BTreeSet<&str> = wishes.iter().map(|(_, _, meant)| *meant).collect();
        if meant.len() > 1 {
            for name in meant {
                labels
                    .entry(name.to_owned())
                    .or_default()
                    .push(alias_label(&service_label(alias)));
            }
        }
    }
    labels
}

fn external_links(cx: &Context<'_>, names: &mut Names, objects: &mut Vec<Object>) {
    for service in cx.services.values() {
        for link in service.texts("external_links") {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            let label = service_label(alias);
            let host = service_label(target);
            if names.has(&label) {
                continue;
            }
            if label != *alias {
                service.tell(
                    "external_links",
                    format!("the name `{alias}` is called `{label}` in Kubernetes"),
                );
            }
            let name = names.claim(&label);
            let mut object = head("v1", "Service", &name);
            cx.label(&mut object, Some(service));
            object["spec"] = json!({"type": "ExternalName", "externalName": host});
            let message = format!(
                "`{alias}` leads to the name `{host}`, which must be a host that the cluster can resolve"
            );
            service.tell("external_links", message);
            objects.push(Object::new(Role::Name, service.name, object));
        }
    }
}

/// Headless Services that give `hostname.domainname` a meaning.
fn subdomains(cx: &Context<'_>, names: &mut Names, objects: &mut Vec<Object>) {
    for service in cx.services.values() {
        let Some(domain) = service.text("domainname").filter(|domain| is_dns_label(domain)) else {
            continue;
        };
        let label = service_label(domain);
        if label != domain || names.has(&label) {
            continue;
        }
        let name = names.claim(&label);
        let mut object = service_object(cx, &name, service, &[]);
        object["spec"]["clusterIP"] = json!("None");
        objects.push(Object::new(Role::Name, service.name, object));
    }
}

/// As many as `resolv.conf` holds, and Kubernetes takes.
const NAME_SERVERS_MAX: usize = 3;

/// Whether a name can stand in `hostAliases`: a DNS-1123 subdomain.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// `hostAliases` and `dnsConfig`, and the names of the pod itself.
pub(crate) fn pod_names(service: &Service<'_>, spec: &mut Value) {
    let mut by_address: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in service.texts("extra_hosts") {
        let Some((host, address)) = entry.split_once('=').or_else(|| entry.split_once(':')) else {
            continue;
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        if !is_host_name(host) {
            service.tell(
                "extra_hosts",
                format!("`{host}` is no name that Kubernetes takes"),
            );
        } else if address.parse::<std::net::IpAddr>().is_ok() {
            by_address.entry(address).or_default().push(host);
        } else {
            service.tell(
                "extra_hosts",
                format!("`{host}`: the address `{address}` is known on the node only"),
            );
        }
    }
    if !by_address.is_empty() {
        spec["hostAliases"] = by_address
            .into_iter()
            .map(|(address, hosts)| json!({"ip": address, "hostnames": hosts}))
            .collect();
    }
    let texts = |path: &str| service.texts(path).collect::<Vec<_>>();
    let (mut servers, searches) = (texts("dns"), texts("dns_search"));
    servers.retain(|server| {
        let is_address = server.parse::<std::net::IpAddr>().is_ok();
        if !is_address {
            service.tell("dns", format!("`{server}` is no address"));
        }
        is_address
    });
    if servers.len() > NAME_SERVERS_MAX {
        service.tell(
            "dns",
            format!(
                "of {} servers the first {NAME_SERVERS_MAX} are kept",
                servers.len()
            ),
        );
        servers.truncate(NAME_SERVERS_MAX);
    }
    if !servers.is_empty() {
        spec["dnsConfig"]["nameservers"] = json!(servers);
    }
    if !searches.is_empty() {
        spec["dnsConfig"]["searches"] = json!(searches);
    }
    let options: Vec<Value> = service
        .texts("dns_opt")
        .map(|option| match option.split_once(':') {
            Some((name, value)) => json!({"name": name, "value": value}),
            None => json!({"name": option}),
        })
        .collect();
    if !options.is_empty() {
        spec["dnsConfig"]["options"] = Value::Array(options);
    }
    if let Some(hostname) = service.text("hostname") {
        let first = hostname
            .split('.')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if is_dns_label(&first) && first.len() <= 63 {
            spec["hostname"] = json!(first);
        }
        if first != hostname {
            service.tell("hostname", format!("`{hostname}` is no DNS label"));
        }
    }
    if let Some(domain) = service.text("domainname") {
        if is_dns_label(domain) && service_label(domain) == domain {
            spec["subdomain"] = json!(domain);
        } else {
            service.tell("domainname", format!("`{domain}` is no DNS label"));
        }
    }
}

/// Whether a service is on the node's own network.
pub(crate) fn is_on_host(service: &Service<'_>) -> bool {
    service.peek("network_mode").is_some_and(|mode| mode == "host")
}
