//! Which pods may speak with which: network policies as one nftables script.
//!
//! Meanings are those of the
//! [NetworkPolicy API](https://kubernetes.io/docs/concepts/services-networking/network-policies/): a pod that a policy
//! selects is reached, or reaches others, only as some policy that selects it allows. Rules are checked where packets are
//! forwarded, after services have led them to a pod. What the node itself sends to its pods and what they send to it
//! (names, the API, probes, the Ingress) is not forwarded, and always allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster_objects::Object;
use cluster_objects::selector::LabelSelector;
use serde_json::Value;

use crate::NetworkConfig;
use crate::ruleset::{elements, table_name};

/// What policies are about.
#[derive(Clone, Copy, Debug)]
pub struct PolicyObjects<'a> {
    /// The policies.
    pub policies: &'a [Arc<Object>],
    /// All pods of the cluster.
    pub pods: &'a [Arc<Object>],
    /// All namespaces.
    pub namespaces: &'a [Arc<Object>],
    /// Addresses of this node's pods, by UID. A status may still name one that another pod has by now.
    pub attached: &'a BTreeMap<String, Ipv4Addr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// A pod with an address.
struct Member<'a> {
    pod: &'a Object,
    ip: Ipv4Addr,
    is_local: bool,
}

/// A policy with its selector read.
struct Policy<'a> {
    object: &'a Object,
    selector: LabelSelector,
    ingress: bool,
    egress: bool,
}

/// The other side of an allowed connection.
enum Peers {
    Anybody,
    Pods(BTreeSet<Ipv4Addr>),
    Block(Block),
}

/// A range of addresses without some of its parts.
struct Block {
    range: Range,
    except: Vec<Range>,
}

#[derive(Clone, Copy)]
struct Range {
    base: u32,
    mask: u32,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// Field of a rule with the peers, and the peer's side of a packet.
    fn peers(self) -> (&'static str, &'static str) {
        match self {
            Self::Ingress => ("from", "saddr"),
            Self::Egress => ("to", "daddr"),
        }
    }
}

/// Writes the script that enforces policies on this node's pods, instead of what was enforced before.
pub fn policy_script(config: &NetworkConfig, objects: PolicyObjects<'_>) -> String {
    let policies = read_policies(objects.policies);
    if policies.is_empty() {
        return policy_removal_script(config);
    }
    let members = members(config, objects);
    let mut isolated = BTreeSet::new();
    let mut sections = String::new();
    let mut chains = String::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        // Pods with the same rules share a chain.
        let mut by_rules: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        let mut known = Memory::default();
        for member in members.iter().filter(|member| member.is_local) {
            let selecting: Vec<&Policy<'_>> = policies
                .iter()
                .filter(|policy| policy.selects(member, direction))
                .collect();
            if selecting.is_empty() {
                continue;
            }
            let rules: String = selecting
                .iter()
                .map(|policy| policy.rules(direction, member, &members, objects.namespaces, &mut known))
                .collect();
            by_rules.entry(rules).or_default().push(member.ip);
            isolated.insert(member.ip);
        }
        let name = direction.name();
        let mut jumps = Vec::new();
        for (index, (rules, pods)) in by_rules.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = writeln!(chains, "  chain {name}_{index} {{\n{rules}    drop\n  }}");
            jumps.extend(pods.iter().map(|ip| format!("{ip} : jump {name}_{index}")));
        }
        let _ = writeln!(
            sections,
            "  map {name} {{ type ipv4_addr : verdict; {}}}",
            elements(&jumps)
        );
    }
    let themselves: Vec<String> = isolated.iter().map(|ip| format!("{ip} . {ip}")).collect();
    let table = policy_table(config);
    format!(
        "{removal}table ip {table} {{
{chains}{sections}  set themselves {{ type ipv4_addr . ipv4_addr; {themselves}}}
  chain forward {{
    type filter hook forward priority filter + 10; policy accept;
    ct state established,related accept
    ip saddr . ip daddr @themselves accept
    ip saddr vmap @egress
    ip daddr vmap @ingress
  }}
}}
",
        removal = policy_removal_script(config),
        themselves = elements(&themselves),
    )
}

/// Writes the script that lets everybody speak with everybody.
pub fn policy_removal_script(config: &NetworkConfig) -> String {
    let table = policy_table(config);
    format!("add table ip {table}\ndelete table ip {table}\n")
}

fn policy_table(config: &NetworkConfig) -> String {
    format!("{}_policies", table_name(config))
}

fn read_policies(objects: &[Arc<Object>]) -> Vec<Policy<'_>> {
    let read = |object: &'_ Arc<Object>| {
        let types = object.list(&["spec", "policyTypes"]);
        let has = |name: &str| types.iter().any(|one| one == name);
        (
            has("Ingress") || types.is_empty(),
            has("Egress") || types.is_empty() && !object.list(&["spec", "egress"]).is_empty(),
        )
    };
    let mut policies: Vec<Policy<'_>> = objects
        .iter()
        .map(|object| {
            let (ingress, egress) = read(object);
            Policy {
                object,
                // A selector that cannot be read was stored by something that does not check: it selects everything,
                // so that nothing is open that somebody wanted closed.
                selector: object
                    .at(&["spec", "podSelector"])
                    .and_then(|selector| LabelSelector::from_value(selector).ok())
                    .unwrap_or_else(LabelSelector::everything),
                ingress,
                egress,
            }
        })
        .collect();
    policies.sort_by_key(|policy| policy.object.key().to_string());
    policies
}

fn members<'a>(config: &NetworkConfig, objects: PolicyObjects<'a>) -> Vec<Member<'a>> {
    let mut members: Vec<Member<'a>> = objects
        .pods
        .iter()
        .filter(|pod| !matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed")))
        .filter(|pod| pod.at(&["spec", "hostNetwork"]) != Some(&Value::Bool(true)))
        .filter_map(|pod| {
            let told = || pod.text(&["status", "podIP"])?.parse().ok();
            let (ip, is_local) = match objects.attached.get(pod.uid()) {
                Some(ip) => (*ip, true),
                None => (told()?, false),
            };
            let is_stale = !is_local && config.pod_subnet.contains(ip);
            (!is_stale).then_some(Member { pod, ip, is_local })
        })
        .collect();
    members.sort_by_key(|member| member.ip);
    members
}

/// The addresses that selectors stand for, each worked out once.
#[derive(Default)]
struct Memory(BTreeMap<String, BTreeSet<Ipv4Addr>>);

impl Policy<'_> {
    fn namespace(&self) -> &str {
        self.object.namespace().unwrap_or_default()
    }

    fn selects(&self, member: &Member<'_>, direction: Direction) -> bool {
        let is_about = match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        };
        is_about
            && member.pod.namespace() == Some(self.namespace())
            && self.selector.matches(member.pod.labels())
    }

    /// The lines of this policy in the chain of a pod.
    fn rules(
        &self,
        direction: Direction,
        pod: &Member<'_>,
        members: &[Member<'_>],
        namespaces: &[Arc<Object>],
        known: &mut Memory,
    ) -> String {
        let (field, side) = direction.peers();
        let mut lines = String::new();
        for rule in self.object.list(&["spec", direction.name()]) {
            let listed = rule[field].as_array().map_or(&[][..], Vec::as_slice);
            let peers: Vec<Peers> = if listed.is_empty() {
                vec![Peers::Anybody]
            } else {
                listed
                    .iter()
                    .filter_map(|peer| self.peers(peer, members, namespaces, known))
                    .collect()
            };
            let ports = rule["ports"].as_array().map_or(&[][..], Vec::as_slice);
            for peer in &peers {
                let from = peer.condition(side);
                if ports.is_empty() {
                    let _ = writeln!(lines, "    {from}return");
                }
                for port in ports {
                    for condition in port_conditions(port, direction, pod, peer, members) {
                        let _ = writeln!(lines, "    {from}{condition} return");
                    }
                }
            }
        }
        lines
    }

    /// Whom a peer means; nobody where it cannot be read.
    fn peers(
        &self,
        peer: &Value,
        members: &[Member<'_>],
        namespaces: &[Arc<Object>],
        known: &mut Memory,
    ) -> Option<Peers> {
        if peer["ipBlock"].is_object() {
            return Block::read(&peer["ipBlock"]).map(Peers::Block);
        }
        let key = format!("{} {peer}", self.namespace());
        if let Some(found) = known.0.get(&key) {
            return (!found.is_empty()).then(|| Peers::Pods(found.clone()));
        }
        let read = |selector: &Value| match selector {
            Value::Null => Some(LabelSelector::everything()),
            selector => LabelSelector::from_value(selector).ok(),
        };
        let pods = read(&peer["podSelector"])?;
        let allowed: BTreeSet<&str> = match &peer["namespaceSelector"] {
            Value::Null => [self.namespace()].into(),
            selector => {
                let selector = read(selector)?;
                let chosen = namespaces.iter().filter(|one| selector.matches(one.labels()));
                chosen.map(|namespace| namespace.name()).collect()
            }
        };
        let is_meant = |member: &&Member<'_>| {
            member
                .pod
                .namespace()
                .is_some_and(|namespace| allowed.contains(namespace))
                && pods.matches(member.pod.labels())
        };
        let found: BTreeSet<Ipv4Addr> = members.iter().filter(is_meant).map(|member| member.ip).collect();
        known.0.insert(key, found.clone());
        (!found.is_empty()).then_some(Peers::Pods(found))
    }
}

impl Peers {
    /// What a rule asks of the peer's address, with a space behind it.
    fn condition(&self, side: &str) -> String {
        match self {
            Self::Anybody => String::new(),
            Self::Pods(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("ip {side} {{ {} }} ", list.join(", "))
            }
            Self::Block(block) => {
                // One comparison for each: nft refuses ranges in one list that overlap.
                let except: String = block
                    .except
                    .iter()
                    .map(|range| format!("ip {side} != {range} "))
                    .collect();
                // The whole of IPv4 is everybody.
                match block.range.mask {
                    0 => except,
                    _ => format!("ip {side} {} {except}", block.range),
                }
            }
        }
    }

    fn has(&self, ip: Ipv4Addr) -> bool {
        match self {
            Self::Anybody => true,
            Self::Pods(addresses) => addresses.contains(&ip),
            Self::Block(block) => block.range.has(ip) && !block.except.iter().any(|except| except.has(ip)),
        }
    }
}

/// What a rule asks of protocol and port; nothing where a named port is nobody's.
fn port_conditions(
    port: &Value,
    direction: Direction,
    pod: &Member<'_>,
    peers: &Peers,
    members: &[Member<'_>],
) -> Vec<String> {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let word = match protocol {
        "TCP" => "tcp",
        "UDP" => "udp",
        "SCTP" => "sctp",
        _ => return Vec::new(),
    };
    match (&port["port"], &port["endPort"]) {
        (Value::Null, _) => vec![format!("meta l4proto {word}")],
        (Value::Number(first), Value::Number(last)) => vec![format!("{word} dport {first}-{last}")],
        (Value::Number(number), _) => vec![format!("{word} dport {number}")],
        (Value::String(name), _) if direction == Direction::Ingress => {
            let ports = named_ports(pod.pod, name, protocol);
            ports
                .iter()
                .map(|number| format!("{word} dport {number}"))
                .collect()
        }
        (Value::String(name), _) => {
            let meant = members.iter().filter(|member| peers.has(member.ip));
            let pairs: Vec<String> = meant
                .flat_map(|member| {
                    let ports = named_ports(member.pod, name, protocol);
                    ports
                        .into_iter()
                        .map(|number| format!("{} . {number}", member.ip))
                })
                .collect();
            if pairs.is_empty() {
                return Vec::new();
            }
            vec![format!("ip daddr . {word} dport {{ {} }}", pairs.join(", "))]
        }
        _ => Vec::new(),
    }
}

/// The numbers of a pod's ports of a name.
fn named_ports(pod: &Object, name: &str, protocol: &str) -> BTreeSet<u64> {
    let containers = pod.list(&["spec", "containers"]).iter();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports
        .filter(|port| port["name"] == name && port["protocol"].as_str().unwrap_or("TCP") == protocol)
        .filter_map(|port| port["containerPort"].as_u64())
        .collect()
}

impl Block {
    fn read(block: &Value) -> Option<Self> {
        let except = block["except"].as_array().map_or(&[][..], Vec::as_slice);
        Some(Self {
            range: Range::parse(block["cidr"].as_str()?)?,
            except: except
                .iter()
                .filter_map(|text| Range::parse(text.as_str()?))
                .collect(),
        })
    }
}

impl Range {
    /// Reads `10.0.0.0/8`; IPv6 has no rules here.
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        let address: Ipv4Addr = address.parse().ok()?;
        Some(Self {
            base: u32::from(address) & mask,
            mask,
        })
    }

    fn has(self, ip: Ipv4Addr) -> bool {
        u32::from(ip) & self.mask == self.base
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.mask.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::table::tests::object;
    use serde_json::json;

    const WEB: &str = "10.42.0.5";
    const DATABASE: &str = "10.42.0.6";
    const VISITOR: &str = "10.42.0.7";

    fn pod(namespace: &str, name: &str, ip: &str) -> Arc<Object> {
        object(json!({
            "metadata": {"namespace": namespace, "name": name, "uid": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "ports": [{"name": "sql", "containerPort": 5432}]}]},
            "status": {"podIP": ip},
        }))
    }

    /// The chain that the database's connections go through, line by line.
    fn lines(direction: &str, spec: Value) -> Vec<String> {
        let mut spec = spec;
        spec["podSelector"] = json!({"matchLabels": {"app": "database"}});
        let policy = object(json!({"metadata": {"namespace": "shop", "name": "p"}, "spec": spec}));
        let namespaces = [("shop", "yes"), ("street", "no")]
            .map(|(name, inner)| object(json!({"metadata": {"name": name, "labels": {"inner": inner}}})));
        let pods = [
            pod("shop", "web", WEB),
            pod("shop", "database", DATABASE),
            pod("street", "visitor", VISITOR),
            pod("shop", "old", "10.42.0.5"),
            pod("shop", "far", "10.42.1.9"),
        ];
        let attached = [("web", WEB), ("database", DATABASE), ("visitor", VISITOR)]
            .map(|(uid, ip)| (uid.to_owned(), ip.parse().unwrap()));
        let objects = PolicyObjects {
            policies: &[policy],
            pods: &pods,
            namespaces: &namespaces,
            attached: &attached.into(),
        };
        let script = policy_script(&config(), objects);
        let Some((_, rest)) = script.split_once(&format!("chain {direction}_0 {{\n")) else {
            assert!(
                !script.contains(&format!("{DATABASE} : jump {direction}")),
                "{script}"
            );
            return vec!["open".to_owned()];
        };
        assert!(
            script.contains(&format!("{DATABASE} : jump {direction}_0 }}")),
            "{script}"
        );
        let (chain, _) = rest.split_once("  }\n").unwrap();
        chain.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
    fn ingress(rule: Value) -> Vec<String> {
        lines("ingress", json!({"ingress": [rule]}))
    }

    #[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
    fn egress(rule: Value) -> Vec<String> {
        lines("egress", json!({"policyTypes": ["Egress"], "egress": [rule]}))
    }

    #[test]
    fn a_policy_closes_what_it_is_about_and_opens_what_it_names() {
        assert_eq!(lines("ingress", json!({})), ["drop"]);
        assert_eq!(lines("egress", json!({})), ["open"]);
        assert_eq!(lines("ingress", json!({"policyTypes": ["Egress"]})), ["open"]);
        assert_eq!(lines("egress", json!({"policyTypes": ["Egress"]})), ["drop"]);
        assert_eq!(lines("egress", json!({"egress": [{}]})), ["return", "drop"]);
        assert_eq!(ingress(json!({})), ["return", "drop"]);
    }

    #[test]
    fn peers_are_pods_of_namespaces() {
        let from = |peer: Value| ingress(json!({"from": [peer]}));
        assert_eq!(
            from(json!({"podSelector": {"matchLabels": {"app": "web"}}})),
            ["ip saddr { 10.42.0.5 } return", "drop"]
        );
        // Pods of other nodes are known by their status; one whose address another pod has by now is not.
        assert_eq!(
            from(json!({"podSelector": {}})),
            ["ip saddr { 10.42.0.5, 10.42.0.6, 10.42.1.9 } return", "drop"]
        );
        assert_eq!(
            from(json!({"namespaceSelector": {"matchLabels": {"inner": "no"}}})),
            ["ip saddr { 10.42.0.7 } return", "drop"]
        );
        assert_eq!(
            from(json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "visitor"}}})),
            ["ip saddr { 10.42.0.7 } return", "drop"]
        );
        assert_eq!(
            from(json!({"podSelector": {"matchLabels": {"app": "nobody"}}})),
            ["drop"]
        );
    }

    #[test]
    fn blocks_have_holes() {
        let block = json!({"cidr": "10.9.8.7/8", "except": ["10.1.0.0/16", "10.1.2.0/24"]});
        assert_eq!(
            ingress(json!({"from": [{"ipBlock": block}]})),
            [
                "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 ip saddr != 10.1.2.0/24 return",
                "drop"
            ]
        );
        let world = json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]});
        assert_eq!(
            egress(json!({"to": [{"ipBlock": world}]})),
            ["ip daddr != 10.0.0.0/8 return", "drop"]
        );
    }

    #[test]
    fn err_blocks_that_cannot_be_read_open_nothing() {
        for cidr in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/8", "x; drop"] {
            assert_eq!(
                ingress(json!({"from": [{"ipBlock": {"cidr": cidr}}]})),
                ["drop"],
                "{cidr}"
            );
        }
    }

    #[test]
    fn ports_are_numbers_ranges_and_names() {
        let port = |port: Value| ingress(json!({"ports": [port]}));
        assert_eq!(port(json!({"port": 80})), ["tcp dport 80 return", "drop"]);
        assert_eq!(
            port(json!({"protocol": "UDP"})),
            ["meta l4proto udp return", "drop"]
        );
        assert_eq!(
            port(json!({"protocol": "UDP", "port": 5000, "endPort": 5010})),
            ["udp dport 5000-5010 return", "drop"]
        );
        // The number of a name is the target's own.
        assert_eq!(port(json!({"port": "sql"})), ["tcp dport 5432 return", "drop"]);
        assert_eq!(port(json!({"port": "none"})), ["drop"]);
        assert_eq!(
            egress(
                json!({"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "sql"}]})
            ),
            [
                "ip daddr { 10.42.0.5 } ip daddr . tcp dport { 10.42.0.5 . 5432 } return",
                "drop"
            ]
        );
    }

    #[test]
    fn no_policies_leave_no_table() {
        let objects = PolicyObjects {
            policies: &[],
            pods: &[],
            namespaces: &[],
            attached: &BTreeMap::new(),
        };
        assert_eq!(
            policy_script(&config(), objects),
            "add table ip tug0_policies\ndelete table ip tug0_policies\n"
        );
    }
}
