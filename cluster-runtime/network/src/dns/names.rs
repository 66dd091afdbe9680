//! The names of services and pods, after the Kubernetes DNS specification 1.1.0
//! (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster_objects::Object;
use hickory_proto::rr::rdata::{A, CNAME, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::Value;

use crate::table::{SERVICE_NAME_LABEL, addresses, cluster_ips, number};

/// All names of the cluster at one moment.
#[derive(Debug, Default)]
pub struct Names {
    domain: String,
    records: HashMap<String, Vec<RData>>,
    /// Names that have something below them and nothing of their own: they exist.
    branches: HashSet<String>,
}

/// The answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Resolution {
    /// These records; the name exists also where the list is empty.
    Found(Vec<RData>),
    /// There is no such name in the cluster.
    Unknown,
    /// The name is not the cluster's to answer for.
    Outside,
}

/// Version of the specification that the names follow, served as `dns-version.<domain>`.
const SCHEMA_VERSION: &str = "1.1.0";

impl Names {
    /// Takes the services and EndpointSlices of the cluster and its domain, as `cluster.local`.
    pub fn new(domain: &str, services: &[Arc<Object>], slices: &[Arc<Object>]) -> Self {
        let mut names = Self {
            domain: domain.to_ascii_lowercase(),
            ..Self::default()
        };
        let version = format!("dns-version.{}", names.domain);
        names.add(version, RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()])));
        let mut by_service: HashMap<(&str, &str), Vec<&Object>> = HashMap::new();
        for slice in slices {
            if let (Some(namespace), Some(service)) = (slice.namespace(), slice.label(SERVICE_NAME_LABEL)) {
                by_service.entry((namespace, service)).or_default().push(slice);
            }
        }
        for service in services {
            let namespace = service.namespace().unwrap_or_default();
            names.add_service(
                service,
                by_service
                    .get(&(namespace, service.name()))
                    .map_or(&[], |list| list),
            );
        }
        names
    }

    /// Answers a question for a name and type of record.
    pub fn resolve(&self, name: &Name, kind: RecordType) -> Resolution {
        let name = key(name);
        let inside = name == self.domain || name.ends_with(&format!(".{}", self.domain));
        if let Some(records) = self.records.get(&name) {
            let wanted = records.iter().filter(|data| {
                let found = data.record_type();
                kind == RecordType::ANY || found == kind || found == RecordType::CNAME
            });
            return Resolution::Found(wanted.cloned().collect());
        }
        if !inside {
            return Resolution::Outside;
        }
        if let Some(address) = self.pod_address(&name) {
            let wanted = matches!(kind, RecordType::A | RecordType::ANY);
            return Resolution::Found(if wanted {
                vec![RData::A(A(address))]
            } else {
                Vec::new()
            });
        }
        if name == self.domain || self.branches.contains(&name) {
            return Resolution::Found(Vec::new());
        }
        Resolution::Unknown
    }

    /// `10-42-0-5.shop.pod.cluster.local` names an address without looking whether a pod has it.
    fn pod_address(&self, name: &str) -> Option<Ipv4Addr> {
        let rest = name.strip_suffix(&self.domain)?.strip_suffix(".pod.")?;
        let (address, namespace) = rest.split_once('.')?;
        if namespace.contains('.') {
            return None;
        }
        address.replace('-', ".").parse().ok()
    }

    fn add_service(&mut self, service: &Object, slices: &[&Object]) {
        let namespace = service.namespace().unwrap_or_default();
        let base = format!("{}.{namespace}.svc.{}", service.name(), self.domain).to_ascii_lowercase();
        if service.text(&["spec", "type"]) == Some("ExternalName") {
            let target = service.text(&["spec", "externalName"]).and_then(absolute);
            if let Some(target) = target {
                self.add(base, RData::CNAME(CNAME(target)));
            }
            return;
        }
        let cluster_ips = cluster_ips(service);
        if cluster_ips.is_empty() {
            self.add_headless(&base, slices, service.at(&["spec", "publishNotReadyAddresses"]));
            return;
        }
        for address in &cluster_ips {
            self.add(base.clone(), RData::A(A(*address)));
            self.add_pointer(*address, &base);
        }
        for port in service.list(&["spec", "ports"]) {
            self.add_port(&base, port, &base);
        }
    }

    /// A headless service names its endpoints, together and one by one.
    fn add_headless(&mut self, base: &str, slices: &[&Object], publish_not_ready: Option<&Value>) {
        let all = publish_not_ready.and_then(Value::as_bool).unwrap_or_default();
        let mut hosts = BTreeSet::new();
        for slice in slices {
            for endpoint in slice.list(&["endpoints"]) {
                if !all && endpoint["conditions"]["ready"].as_bool() == Some(false) {
                    continue;
                }
                for address in addresses(endpoint) {
                    let dashed = address.to_string().replace('.', "-");
                    let host = endpoint["hostname"].as_str().unwrap_or(&dashed);
                    let host = format!("{host}.{base}").to_ascii_lowercase();
                    if hosts.insert((host.clone(), address)) {
                        self.add(base.to_owned(), RData::A(A(address)));
                        self.add(host.clone(), RData::A(A(address)));
                        self.add_pointer(address, &host);
                    }
                    for port in slice.list(&["ports"]) {
                        self.add_port(base, port, &host);
                    }
                }
            }
        }
    }

    fn add_port(&mut self, base: &str, port: &Value, target: &str) {
        let name = port["name"].as_str().filter(|name| !name.is_empty());
        let (Some(name), Some(number), Some(target)) = (name, number(&port["port"]), absolute(target)) else {
            return;
        };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let owner = format!("_{name}._{protocol}.{base}").to_ascii_lowercase();
        self.add(owner, RData::SRV(SRV::new(0, 100, number, target)));
    }

    fn add_pointer(&mut self, address: Ipv4Addr, target: &str) {
        let [a, b, c, d] = address.octets();
        if let Some(target) = absolute(target) {
            self.add(format!("{d}.{c}.{b}.{a}.in-addr.arpa"), RData::PTR(PTR(target)));
        }
    }

    fn add(&mut self, name: String, data: RData) {
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if parent == self.domain || !self.branches.insert(parent.to_owned()) {
                break;
            }
            rest = parent;
        }
        let records = self.records.entry(name).or_default();
        if !records.contains(&data) {
            records.push(data);
        }
    }
}

/// Names are compared without case and without the dot at their end.
fn key(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn absolute(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::{object, web, web_slice};
    use serde_json::json;

    fn resolve(names: &Names, name: &str, kind: RecordType) -> String {
        match names.resolve(&Name::from_ascii(name).unwrap(), kind) {
            Resolution::Found(records) => records
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
            Resolution::Unknown => "unknown".into(),
            Resolution::Outside => "outside".into(),
        }
    }

    fn names() -> Names {
        let headless = object(json!({
            "kind": "Service", "metadata": {"namespace": "data", "name": "db"},
            "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]},
        }));
        let external = object(json!({
            "kind": "Service", "metadata": {"namespace": "shop", "name": "mail"},
            "spec": {"type": "ExternalName", "externalName": "mail.example.com"},
        }));
        let members = object(json!({
            "metadata": {"namespace": "data", "name": "db-x", "labels": {SERVICE_NAME_LABEL: "db"}},
            "ports": [{"name": "sql", "port": 5432}],
            "endpoints": [
                {"addresses": ["10.42.0.9"], "hostname": "db-0"},
                {"addresses": ["10.42.0.10"], "hostname": "db-1", "conditions": {"ready": false}},
            ],
        }));
        let slice = web_slice(&json!([{"addresses": ["10.42.0.5"]}]));
        Names::new(
            "cluster.local",
            &[web("ClusterIP", "10.43.0.7"), headless, external],
            &[slice, members],
        )
    }

    #[test]
    fn names_resolve_as_the_specification_says() {
        use RecordType::{A, AAAA, PTR, SRV, TXT};
        let names = names();
        for (name, kind, expected) in [
            ("web.shop.svc.cluster.local.", A, "10.43.0.7"),
            ("WEB.shop.svc.cluster.local.", A, "10.43.0.7"),
            ("web.shop.svc.cluster.local.", AAAA, ""),
            (
                "_http._tcp.web.shop.svc.cluster.local.",
                SRV,
                "0 100 80 web.shop.svc.cluster.local.",
            ),
            ("7.0.43.10.in-addr.arpa.", PTR, "web.shop.svc.cluster.local."),
            ("db.data.svc.cluster.local.", A, "10.42.0.9"),
            ("db-0.db.data.svc.cluster.local.", A, "10.42.0.9"),
            ("db-1.db.data.svc.cluster.local.", A, "unknown"),
            (
                "_sql._tcp.db.data.svc.cluster.local.",
                SRV,
                "0 100 5432 db-0.db.data.svc.cluster.local.",
            ),
            ("mail.shop.svc.cluster.local.", A, "mail.example.com."),
            ("10-42-0-5.shop.pod.cluster.local.", A, "10.42.0.5"),
            ("shop.svc.cluster.local.", A, ""),
            ("cluster.local.", A, ""),
            ("nobody.shop.svc.cluster.local.", A, "unknown"),
            ("dns-version.cluster.local.", TXT, "1.1.0"),
            ("example.com.", A, "outside"),
            ("notcluster.local.", A, "outside"),
        ] {
            assert_eq!(resolve(&names, name, kind), expected, "{name} {kind}");
        }
    }
}
