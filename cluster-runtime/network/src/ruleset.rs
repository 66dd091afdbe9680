//! How services are balanced in the kernel: the table as one nftables script.
//!
//! Everything is in one table of ours, which each script replaces as one transaction; other tables are not touched.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::NetworkConfig;
use crate::overlay::link_name;
use crate::table::ServicePort;

/// Writes the script that makes the kernel balance these services.
///
/// A connection to a service address or node port gets a backend at random, each with the same chance. A service
/// without backends refuses at once. Node ports on 127.0.0.1 are not among the rules: the kernel does not route from
/// loopback to pods, so a listener forwards them.
pub fn script(config: &NetworkConfig, table: &[ServicePort]) -> String {
    let name = table_name(config);
    let Sections {
        addresses,
        node_ports,
        refused,
        refused_node_ports,
        hairpins,
        chains,
    } = sections(table);
    let pods = config.pod_subnet;
    let all_pods = config.all_pods();
    let services = config.service_subnet;
    let bridge = &config.bridge;
    let tunnel = link_name(bridge);
    // Adding before deleting makes the deletion succeed the first time as well.
    format!(
        "add table ip {name}
delete table ip {name}
table ip {name} {{
  map service_ports {{ type ipv4_addr . inet_proto . inet_service : verdict; {addresses}}}
  map node_ports {{ type inet_proto . inet_service : verdict; {node_ports}}}
  set refused_ports {{ type ipv4_addr . inet_proto . inet_service; {refused}}}
  set refused_node_ports {{ type inet_proto . inet_service; {refused_node_ports}}}
  set hairpins {{ type ipv4_addr . ipv4_addr; {hairpins}}}
{chains}  chain services {{
    ip daddr . meta l4proto . th dport vmap @service_ports
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr . ip daddr @hairpins masquerade
    ip saddr {pods} ip daddr != {all_pods} oifname != \"{bridge}\" masquerade
    ip saddr != {all_pods} oifname \"{tunnel}\" masquerade
  }}
  chain reply {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain refuse {{
    ip daddr . meta l4proto . th dport @refused_ports goto reply
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport @refused_node_ports goto reply
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    ct state new jump refuse
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state new jump refuse
    ip daddr {services} ct state new ct status & dnat == 0 goto reply
  }}
  chain local {{
    type filter hook output priority filter; policy accept;
    ct state new jump refuse
  }}
}}
"
    )
}

/// Writes the script that leads services to other backends, where nothing else has changed; `None` where more has.
///
/// It leaves all other rules as they are: with thousands of services the whole table takes a good part of a second.
pub fn update_script(
    config: &NetworkConfig,
    before: &[ServicePort],
    after: &[ServicePort],
) -> Option<String> {
    let is_alike = |(old, new): (&ServicePort, &ServicePort)| {
        let is_same = (&old.name, &old.cluster_ips, old.port, old.node_port, old.protocol)
            == (&new.name, &new.cluster_ips, new.port, new.node_port, new.protocol);
        is_same && old.backends.is_empty() == new.backends.is_empty()
    };
    if before.len() != after.len() || !before.iter().zip(after).all(is_alike) {
        return None;
    }
    let name = table_name(config);
    let (old, new) = (hairpins(before), hairpins(after));
    let mut script = String::new();
    for (verb, changed) in [("add", new.difference(&old)), ("delete", old.difference(&new))] {
        let changed: Vec<&str> = changed.map(String::as_str).collect();
        if !changed.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                script,
                "{verb} element ip {name} hairpins {{ {} }}",
                changed.join(", ")
            );
        }
    }
    for (index, service) in after.iter().enumerate() {
        if service.backends != before[index].backends {
            let chain = format!("ip {name} service_{index}");
            let _ = writeln!(
                script,
                "flush chain {chain}\nadd rule {chain} {}",
                balance(service)
            );
        }
    }
    Some(script)
}

/// Writes the script that removes everything of ours.
pub fn removal_script(config: &NetworkConfig) -> String {
    let name = table_name(config);
    format!("add table ip {name}\ndelete table ip {name}\n")
}

/// The table is named after the bridge, so that two clusters on one host keep apart.
pub(crate) fn table_name(config: &NetworkConfig) -> String {
    config
        .bridge
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

struct Sections {
    addresses: String,
    node_ports: String,
    refused: String,
    refused_node_ports: String,
    hairpins: String,
    chains: String,
}

/// Pods that may be led to themselves, in the form of the set's elements.
fn hairpins(table: &[ServicePort]) -> BTreeSet<String> {
    let backends = table.iter().flat_map(|service| &service.backends);
    backends
        .map(|backend| format!("{0} . {0}", backend.ip()))
        .collect()
}

fn sections(table: &[ServicePort]) -> Sections {
    let mut addresses = Vec::new();
    let mut node_ports = Vec::new();
    let mut refused = Vec::new();
    let mut refused_node_ports = Vec::new();
    let mut chains = String::new();
    for (index, service) in table.iter().enumerate() {
        let protocol = service.protocol.as_str();
        let port = service.port;
        let keys = service
            .cluster_ips
            .iter()
            .map(|address| format!("{address} . {protocol} . {port}"));
        let node_key = service.node_port.map(|port| format!("{protocol} . {port}"));
        if service.backends.is_empty() {
            refused.extend(keys);
            refused_node_ports.extend(node_key);
            continue;
        }
        addresses.extend(keys.map(|key| format!("{key} : goto service_{index}")));
        node_ports.extend(node_key.map(|key| format!("{key} : goto service_{index}")));
        // Writing to a string cannot fail.
        let _ = writeln!(
            chains,
            "  chain service_{index} {{\n    {}\n  }}",
            balance(service)
        );
    }
    Sections {
        addresses: elements(&addresses),
        node_ports: elements(&node_ports),
        refused: elements(&refused),
        refused_node_ports: elements(&refused_node_ports),
        hairpins: elements(&hairpins(table).into_iter().collect::<Vec<_>>()),
        chains,
    }
}

/// The rule that leads a connection to one of the backends.
fn balance(service: &ServicePort) -> String {
    let protocol = service.protocol.as_str();
    let shares: Vec<String> = service
        .backends
        .iter()
        .enumerate()
        .map(|(share, backend)| format!("{share} : {} . {}", backend.ip(), backend.port()))
        .collect();
    let target = match service.backends.as_slice() {
        [only] => only.to_string(),
        many => format!("numgen random mod {} map {{ {} }}", many.len(), shares.join(", ")),
    };
    format!(
        "meta l4proto {protocol} dnat ip to {target} comment \"{}\"",
        service.name
    )
}

/// nft refuses an empty list of elements.
pub(crate) fn elements(list: &[String]) -> String {
    if list.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}; ", list.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::table::service_table;
    use crate::table::tests::{web, web_slice};
    use serde_json::json;

    #[test]
    fn a_service_leads_to_its_backends_and_one_without_refuses() {
        let slice = web_slice(&json!([{"addresses": ["10.42.0.5", "10.42.0.6"]}]));
        let script = script(
            &config(),
            &service_table(&[web("NodePort", "10.43.0.7")], &[slice], Some("n1")),
        );
        for part in [
            "10.43.0.7 . tcp . 80 : goto service_0",
            "tcp . 30080 : goto service_0",
            "dnat ip to numgen random mod 2 map { 0 : 10.42.0.5 . 8080, 1 : 10.42.0.6 . 8080 }",
            "elements = { 10.43.0.7 . udp . 53 }",
            "10.42.0.5 . 10.42.0.5",
        ] {
            assert!(script.contains(part), "`{part}` is missing in\n{script}");
        }
    }

    #[test]
    fn other_backends_change_their_chain_alone_and_other_services_everything() {
        let table = |addresses: &[&str]| {
            let slice = web_slice(&json!([{"addresses": addresses}]));
            service_table(&[web("ClusterIP", "10.43.0.7")], &[slice], Some("n1"))
        };
        let update =
            |before: &[&str], after: &[&str]| update_script(&config(), &table(before), &table(after));
        assert_eq!(
            update(&["10.42.0.5", "10.42.0.6"], &["10.42.0.6", "10.42.0.7"]).unwrap(),
            "add element ip tug0 hairpins { 10.42.0.7 . 10.42.0.7 }
delete element ip tug0 hairpins { 10.42.0.5 . 10.42.0.5 }
flush chain ip tug0 service_0
add rule ip tug0 service_0 meta l4proto tcp dnat ip to numgen random mod 2 map \
{ 0 : 10.42.0.6 . 8080, 1 : 10.42.0.7 . 8080 } comment \"shop/web:http\"\n"
        );
        assert_eq!(update(&["10.42.0.5"], &["10.42.0.5"]).unwrap(), "");
        assert_eq!(update(&["10.42.0.5"], &[]), None);
        assert_eq!(update_script(&config(), &table(&["10.42.0.5"]), &[]), None);
    }

    #[test]
    fn a_table_without_services_has_no_empty_lists() {
        assert!(!script(&config(), &[]).contains("elements"));
    }
}
