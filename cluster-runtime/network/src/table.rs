//! What is balanced: services and their endpoints as one flat table.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use cluster_objects::Object;
use serde_json::Value;

/// Transport protocols that services balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default of a service port.
    Tcp,
    /// UDP.
    Udp,
}

/// One port of one service with where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/service:port`, for messages and comments.
    pub name: String,
    /// Addresses of the service: its own, and those that a load balancer passes on unchanged.
    pub cluster_ips: BTreeSet<Ipv4Addr>,
    /// Port on those addresses.
    pub port: u16,
    /// Port on every address of the node, for NodePort and LoadBalancer services.
    pub node_port: Option<u16>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where connections go, each with the same share.
    pub backends: Vec<SocketAddrV4>,
    /// How long a client that was led to a backend is led there again.
    pub affinity_seconds: Option<u32>,
}

/// Label by which an EndpointSlice belongs to a service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

impl Protocol {
    /// Lower-case name, as rules write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }
}

/// Puts services and their EndpointSlices together.
///
/// Services without an address of their own (headless, ExternalName) are not in the table, nor are ports of other
/// protocols than TCP and UDP. Ready endpoints are used; while there are none, those that still serve while they
/// terminate (<https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions>). Where a traffic
/// policy is `Local`, only endpoints of the node count, and a port that is asked from inside and from outside by other
/// policies is two rows; without a node there are no such policies. The order of the result depends on names alone.
pub fn service_table(
    services: &[Arc<Object>],
    slices: &[Arc<Object>],
    node: Option<&str>,
) -> Vec<ServicePort> {
    let mut by_service: HashMap<(&str, &str), Vec<&Object>> = HashMap::new();
    for slice in slices {
        if let (Some(namespace), Some(service)) = (slice.namespace(), slice.label(SERVICE_NAME_LABEL)) {
            by_service.entry((namespace, service)).or_default().push(slice);
        }
    }
    let mut sorted: Vec<&Arc<Object>> = services.iter().collect();
    sorted.sort_by_key(|service| (service.namespace().map(str::to_owned), service.name().to_owned()));
    let mut table = Vec::new();
    for service in sorted {
        let namespace = service.namespace().unwrap_or_default();
        let slices = by_service
            .get(&(namespace, service.name()))
            .map_or(&[][..], Vec::as_slice);
        table.extend(ports_of(service, slices, node));
    }
    table
}

fn ports_of(service: &Object, slices: &[&Object], node: Option<&str>) -> Vec<ServicePort> {
    let cluster_ips = cluster_ips(service);
    let external = matches!(service.text(&["spec", "type"]), Some("NodePort" | "LoadBalancer"));
    if cluster_ips.is_empty() {
        return Vec::new();
    }
    let balancer_ips: BTreeSet<Ipv4Addr> = balancer_ips(service).collect();
    let is_local = |field: &str| node.is_some() && service.text(&["spec", field]) == Some("Local");
    let (inside, outside) = (
        is_local("internalTrafficPolicy"),
        is_local("externalTrafficPolicy"),
    );
    let read = |port: &Value| {
        let name = port["name"].as_str().unwrap_or_default();
        let protocol = Protocol::parse(port["protocol"].as_str())?;
        let node_port = number(&port["nodePort"]).filter(|_| external);
        let row = |suffix: &str, ips: BTreeSet<Ipv4Addr>, node_port, local: bool| {
            Some(ServicePort {
                name: format!(
                    "{}:{}{suffix}",
                    service.key(),
                    if name.is_empty() { "-" } else { name }
                ),
                cluster_ips: ips,
                port: number(&port["port"])?,
                node_port,
                protocol,
                backends: backends(slices, name, protocol, node.filter(|_| local)),
                affinity_seconds: affinity(service),
            })
        };
        let is_called_from_outside = node_port.is_some() || !balancer_ips.is_empty();
        Some(if inside == outside || !is_called_from_outside {
            let ips = cluster_ips.union(&balancer_ips).copied().collect();
            vec![row("", ips, node_port, inside)?]
        } else {
            vec![
                row("", cluster_ips.clone(), None, inside)?,
                row(" from outside", balancer_ips.clone(), node_port, outside)?,
            ]
        })
    };
    let ports = service.list(&["spec", "ports"]).iter();
    ports.filter_map(read).flatten().collect()
}

/// How long a client stays with a backend, where it does: three hours unless the service says otherwise.
fn affinity(service: &Object) -> Option<u32> {
    const SECONDS: u32 = 10_800;
    if service.text(&["spec", "sessionAffinity"]) != Some("ClientIP") {
        return None;
    }
    let told = service.integer(&["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"]);
    Some(
        told.and_then(|told| u32::try_from(told).ok())
            .filter(|told| *told > 0)
            .unwrap_or(SECONDS),
    )
}

/// The service's own IPv4 addresses; empty for headless services.
pub fn cluster_ips(service: &Object) -> BTreeSet<Ipv4Addr> {
    let listed = service
        .list(&["spec", "clusterIPs"])
        .iter()
        .filter_map(Value::as_str);
    listed
        .chain(service.text(&["spec", "clusterIP"]))
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// Addresses under which the service is called from outside and that arrive here as they are.
fn balancer_ips(service: &Object) -> impl Iterator<Item = Ipv4Addr> {
    let ingress = service.list(&["status", "loadBalancer", "ingress"]).iter();
    // Unset reads as `VIP`: https://kubernetes.io/docs/concepts/services-networking/service/#load-balancer-ip-mode.
    let arrives = ingress.filter(|ingress| ingress["ipMode"].as_str().unwrap_or("VIP") == "VIP");
    arrives.filter_map(|ingress| ingress["ip"].as_str()?.parse().ok())
}

/// Where connections to a port go; with a node, only what is on it.
fn backends(
    slices: &[&Object],
    port_name: &str,
    protocol: Protocol,
    node: Option<&str>,
) -> Vec<SocketAddrV4> {
    let mut ready = BTreeSet::new();
    let mut serving = BTreeSet::new();
    for slice in slices {
        let Some(port) = slice_port(slice, port_name, protocol) else {
            continue;
        };
        for endpoint in slice.list(&["endpoints"]) {
            if node.is_some_and(|node| endpoint["nodeName"] != node) {
                continue;
            }
            let conditions = &endpoint["conditions"];
            // Unknown reads as ready: https://kubernetes.io/docs/reference/kubernetes-api, EndpointConditions.
            let is_ready = conditions["ready"].as_bool().unwrap_or(true);
            let is_serving = conditions["serving"].as_bool().unwrap_or(is_ready);
            for address in addresses(endpoint) {
                let backend = SocketAddrV4::new(address, port);
                if is_ready {
                    ready.insert(backend);
                } else if is_serving {
                    serving.insert(backend);
                }
            }
        }
    }
    (if ready.is_empty() { serving } else { ready })
        .into_iter()
        .collect()
}

fn slice_port(slice: &Object, name: &str, protocol: Protocol) -> Option<u16> {
    let ports = slice.list(&["ports"]);
    let port = ports.iter().find(|port| {
        port["name"].as_str().unwrap_or_default() == name
            && Protocol::parse(port["protocol"].as_str()) == Some(protocol)
    })?;
    number(&port["port"])
}

/// The IPv4 addresses of one endpoint of a slice.
pub(crate) fn addresses(endpoint: &Value) -> Vec<Ipv4Addr> {
    let addresses = endpoint["addresses"].as_array().map_or(&[][..], Vec::as_slice);
    addresses
        .iter()
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect()
}

pub(crate) fn number(value: &Value) -> Option<u16> {
    value
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
}

/// The table by what a client connects to, for whoever listens there.
pub(crate) type Frontends = BTreeMap<(Ipv4Addr, u16, Protocol), Vec<SocketAddrV4>>;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn object(value: Value) -> Arc<Object> {
        Arc::new(Object::from_value(value).unwrap())
    }

    pub(crate) fn web(kind: &str, cluster_ip: &str) -> Arc<Object> {
        object(json!({
            "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"type": kind, "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ports": [
                {"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080},
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "odd", "port": 99, "protocol": "SCTP"},
            ]},
        }))
    }

    pub(crate) fn web_slice(endpoints: &Value) -> Arc<Object> {
        object(json!({
            "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": "web-1", "labels": {SERVICE_NAME_LABEL: "web"}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
        }))
    }

    fn http_backends(endpoints: &Value) -> Vec<String> {
        let table = service_table(
            &[web("ClusterIP", "10.43.0.7")],
            &[web_slice(endpoints)],
            Some("n1"),
        );
        table[0].backends.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ready_endpoints_are_used_and_serving_ones_only_without_them() {
        let ready = json!({"addresses": ["10.42.0.5"], "conditions": {"ready": true}});
        let unknown = json!({"addresses": ["10.42.0.4"]});
        let leaving = json!({"addresses": ["10.42.0.6"], "conditions": {"ready": false, "serving": true}});
        let broken = json!({"addresses": ["10.42.0.7"], "conditions": {"ready": false, "serving": false}});
        assert_eq!(
            http_backends(&json!([ready, unknown, leaving])),
            ["10.42.0.4:8080", "10.42.0.5:8080"]
        );
        assert_eq!(http_backends(&json!([leaving, broken])), ["10.42.0.6:8080"]);
        assert!(http_backends(&json!([broken])).is_empty());
    }

    #[test]
    fn node_ports_count_only_where_the_type_has_them() {
        let ports = |kind| {
            let table = service_table(&[web(kind, "10.43.0.7")], &[], Some("n1"));
            table
                .iter()
                .map(|port| (port.name.clone(), port.node_port))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ports("NodePort"),
            [
                ("shop/web:http".into(), Some(30080)),
                ("shop/web:dns".into(), None)
            ]
        );
        assert_eq!(ports("ClusterIP")[0].1, None);
    }

    #[test]
    fn headless_services_are_left_out() {
        assert!(service_table(&[web("ClusterIP", "None")], &[], Some("n1")).is_empty());
    }

    #[test]
    fn local_traffic_stays_on_the_node() {
        let near = json!({"addresses": ["10.42.0.5"], "nodeName": "n1"});
        let far = json!({"addresses": ["10.42.1.5"], "nodeName": "n2"});
        let rows = |policies: &Value| {
            let mut service = Object::clone(&web("NodePort", "10.43.0.7"));
            for (field, value) in policies.as_object().unwrap() {
                service.set(&["spec", field], value.clone());
            }
            let slice = web_slice(&json!([near, far]));
            let mut table = service_table(&[Arc::new(service)], &[slice], Some("n1"));
            table.retain(|row| row.protocol == Protocol::Tcp);
            let row =
                |row: &ServicePort| (row.cluster_ips.len(), row.node_port.is_some(), row.backends.len());
            table.iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(rows(&json!({})), [(1, true, 2)]);
        assert_eq!(
            rows(&json!({"externalTrafficPolicy": "Local"})),
            [(1, false, 2), (0, true, 1)]
        );
        assert_eq!(
            rows(&json!({"internalTrafficPolicy": "Local"})),
            [(1, false, 1), (0, true, 2)]
        );
        let both = json!({"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"});
        assert_eq!(rows(&both), [(1, true, 1)]);
    }

    #[test]
    fn clients_stay_for_three_hours_or_as_told() {
        let seconds = |fields: Value| {
            let mut service = Object::clone(&web("ClusterIP", "10.43.0.7"));
            for (field, value) in fields.as_object().unwrap() {
                service.set(&["spec", field], value.clone());
            }
            service_table(&[Arc::new(service)], &[], Some("n1"))[0].affinity_seconds
        };
        assert_eq!(seconds(json!({})), None);
        assert_eq!(seconds(json!({"sessionAffinity": "ClientIP"})), Some(10_800));
        let told = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}});
        assert_eq!(seconds(told), Some(5));
    }
}
