//! Clients that stay with a backend: `sessionAffinity: ClientIP` as nftables scripts.
//!
//! It has a table of its own beside that of the services, because the kernel's memory of clients is in it: that one is
//! replaced as a whole now and then, this one only changes by what is different. Its chains come first; a connection that
//! they have led somewhere is not led again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::NetworkConfig;
use crate::ruleset::{elements, table_name};
use crate::table::ServicePort;

/// Whether clients of a service stay with a backend.
pub fn stays(service: &ServicePort) -> bool {
    service.affinity_seconds.is_some() && !service.backends.is_empty()
}

/// Writes the script that makes clients of these services stay with their backends, and of no others. `before` is what
/// the last script was written of; without it the table is made anew, and no client is remembered.
pub fn script(config: &NetworkConfig, before: Option<&[ServicePort]>, after: &[ServicePort]) -> String {
    let table = table_of(config);
    let mut text = match before {
        Some(_) => String::new(),
        None => removal_script(config),
    };
    let (old, new) = (Chains::of(before.unwrap_or_default()), Chains::of(after));
    if before.is_none() && after.is_empty() {
        return text;
    }
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "table ip {table} {{
  map service_ports {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  chain prerouting {{ type nat hook prerouting priority dstnat - 1; policy accept; }}
  chain output {{ type nat hook output priority -101; policy accept; }}
}}
flush map ip {table} service_ports
flush map ip {table} node_ports
flush chain ip {table} prerouting
flush chain ip {table} output
"
    );
    for chain in old.chains.keys() {
        let _ = writeln!(text, "flush chain ip {table} {chain}");
    }
    for chain in old.chains.keys().filter(|chain| !new.chains.contains_key(*chain)) {
        let _ = writeln!(text, "delete chain ip {table} {chain}");
    }
    for (set, _) in old.sets.iter().filter(|(set, _)| !new.sets.contains_key(*set)) {
        let _ = writeln!(text, "delete set ip {table} {set}");
    }
    for (set, seconds) in &new.sets {
        let _ = writeln!(
            text,
            "add set ip {table} {set} {{ type ipv4_addr; flags dynamic,timeout; timeout {seconds}s; }}"
        );
    }
    for chain in new.chains.keys() {
        let _ = writeln!(text, "add chain ip {table} {chain}");
    }
    for (chain, rules) in &new.chains {
        for rule in rules {
            let _ = writeln!(text, "add rule ip {table} {chain} {rule}");
        }
    }
    for (map, keys) in [("service_ports", &new.addresses), ("node_ports", &new.node_ports)] {
        let listed = elements(keys);
        if let Some(listed) = listed
            .strip_prefix("elements = ")
            .map(|list| list.trim_end_matches("; "))
        {
            let _ = writeln!(text, "add element ip {table} {map} {listed}");
        }
    }
    for hook in ["prerouting", "output"] {
        let _ = writeln!(
            text,
            "add rule ip {table} {hook} ip daddr . meta l4proto . th dport vmap @service_ports
add rule ip {table} {hook} ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node_ports"
        );
    }
    text
}

/// Writes the script that removes the table.
pub fn removal_script(config: &NetworkConfig) -> String {
    let table = table_of(config);
    format!("add table ip {table}\ndelete table ip {table}\n")
}

fn table_of(config: &NetworkConfig) -> String {
    format!("{}_affinity", table_name(config))
}

/// What the table holds for some services.
#[derive(Default)]
struct Chains {
    /// Rules by chain.
    chains: BTreeMap<String, Vec<String>>,
    /// Clients of a backend, and how long they stay. The time is a part of the name: another time is another set.
    sets: BTreeMap<String, u32>,
    addresses: Vec<String>,
    node_ports: Vec<String>,
}

impl Chains {
    fn of(services: &[ServicePort]) -> Self {
        let mut all = Self::default();
        for service in services {
            all.add(service);
        }
        all
    }

    fn add(&mut self, service: &ServicePort) {
        let Some(seconds) = service.affinity_seconds else {
            return;
        };
        let protocol = service.protocol.as_str();
        let digest = Sha256::digest(format!("{}/{protocol}", service.name).as_bytes());
        let key: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let chain = format!("service_{key}");
        let mut known = Vec::new();
        let mut shares = Vec::new();
        let backends: BTreeSet<_> = service.backends.iter().collect();
        for (share, backend) in backends.iter().enumerate() {
            let sign = format!(
                "{key}_{}_{}",
                backend.ip().to_string().replace('.', "_"),
                backend.port()
            );
            let (set, leading) = (format!("clients_{sign}_{seconds}"), format!("backend_{sign}"));
            known.push(format!("ip saddr @{set} goto {leading}"));
            shares.push(format!("{share} : goto {leading}"));
            self.chains.insert(
                leading,
                vec![format!(
                    "meta l4proto {protocol} update @{set} {{ ip saddr timeout {seconds}s }} dnat ip to {backend}"
                )],
            );
            self.sets.insert(set, seconds);
        }
        known.push(format!(
            "numgen random mod {} vmap {{ {} }}",
            shares.len(),
            shares.join(", ")
        ));
        self.chains.insert(chain.clone(), known);
        let addresses = service.cluster_ips.iter();
        self.addresses.extend(
            addresses.map(|address| format!("{address} . {protocol} . {} : goto {chain}", service.port)),
        );
        self.node_ports.extend(
            service
                .node_port
                .map(|port| format!("{protocol} . {port} : goto {chain}")),
        );
    }
}
