//! Cluster addresses and node ports of services.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_objects::{Object, StatusCause};
use cluster_store::{Selection, Store};
use serde_json::Value;

/// What services are given out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRanges {
    /// First address of the service network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// First node port.
    pub port_first: u16,
    /// Last node port.
    pub port_last: u16,
}

impl Default for ServiceRanges {
    fn default() -> Self {
        Self {
            network: Ipv4Addr::new(10, 43, 0, 0),
            prefix: 16,
            port_first: 30000,
            port_last: 32767,
        }
    }
}

/// The addresses and ports that are in use.
#[derive(Clone)]
pub(super) struct Addresses {
    ranges: ServiceRanges,
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// What one service holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// Addresses and ports taken for a service that is not stored yet; dropped without [`Reservation::keep`], they are
/// free again.
pub(super) struct Reservation {
    used: Arc<Mutex<Used>>,
    /// Free again unless kept.
    taken: Held,
    /// Free once kept.
    left: Held,
}

impl Reservation {
    /// The service is stored: what it took stays taken, what it left is free.
    pub(super) fn keep(mut self) {
        self.taken = std::mem::take(&mut self.left);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.used).free(&self.taken);
    }
}

impl Used {
    fn free(&mut self, held: &Held) {
        for address in &held.addresses {
            self.addresses.remove(address);
        }
        for port in &held.ports {
            self.ports.remove(port);
        }
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Addresses {
    pub(super) fn new(ranges: ServiceRanges) -> Self {
        Self {
            ranges,
            used: Arc::default(),
        }
    }

    /// Reads what the stored services hold.
    pub(super) fn rebuild(&self, store: &dyn Store) {
        let services = Selection {
            table: "services".into(),
            namespace: None,
        };
        let Ok(list) = store.list(&services, None, None, 0, &|_| true) else {
            return;
        };
        let mut used = lock(&self.used);
        *used = Used::default();
        for service in &list.objects {
            let held = held(service);
            used.addresses.extend(held.addresses);
            used.ports.extend(held.ports);
        }
    }

    /// Frees what a removed service held.
    pub(super) fn release(&self, service: &Object) {
        lock(&self.used).free(&held(service));
    }

    /// Gives a new or changed service what it needs, and keeps what it had; 422's cause when a wish cannot be met.
    pub(super) fn reserve(
        &self,
        service: &mut Object,
        old: Option<&Object>,
        random: u128,
    ) -> Result<Reservation, StatusCause> {
        let before = old.map(held).unwrap_or_default();
        if let Some(old) = old {
            carry_over(service, old);
            refuse_other_address(service, old)?;
        }
        let mut reservation = Reservation {
            used: Arc::clone(&self.used),
            taken: Held::default(),
            left: Held::default(),
        };
        let mut used = lock(&self.used);
        // An early return drops the reservation, which locks: the guard has to go first.
        let outcome = self
            .address(service, &before, &mut used, &mut reservation.taken, random)
            .and_then(|()| self.ports(service, &before, &mut used, &mut reservation.taken, random));
        drop(used);
        outcome?;
        let now = held(service);
        reservation.left = Held {
            addresses: before.addresses.difference(&now.addresses).copied().collect(),
            ports: before.ports.difference(&now.ports).copied().collect(),
        };
        Ok(reservation)
    }

    fn address(
        &self,
        service: &mut Object,
        before: &Held,
        used: &mut Used,
        taken: &mut Held,
        random: u128,
    ) -> Result<(), StatusCause> {
        if service_type(service) == "ExternalName" {
            return Ok(());
        }
        let wish = match service.text(&["spec", "clusterIP"]).unwrap_or_default() {
            "" => service
                .list(&["spec", "clusterIPs"])
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default(),
            wish => wish,
        };
        let address = match wish {
            "None" => "None".to_owned(),
            "" => {
                let address = self.free_address(used, random)?;
                used.addresses.insert(address);
                taken.addresses.insert(address);
                address.to_string()
            }
            wish => {
                let fault = |why: &str| cause("spec.clusterIPs", &format!("[{wish:?}]"), why);
                let address: Ipv4Addr = wish
                    .parse()
                    .map_err(|_| fault("must be a valid IP address, (e.g. 10.9.8.7)"))?;
                if !before.addresses.contains(&address) {
                    if !self.contains(address) {
                        let range = format!("{}/{}", self.ranges.network, self.ranges.prefix);
                        return Err(fault(&format!(
                            "failed to allocate IP {address}: the provided IP ({address}) is not in the valid \
                             range. The range of valid IPs is {range}"
                        )));
                    }
                    if !used.addresses.insert(address) {
                        return Err(fault(&format!(
                            "failed to allocate IP {address}: provided IP is already allocated"
                        )));
                    }
                    taken.addresses.insert(address);
                }
                address.to_string()
            }
        };
        let without_selector = address == "None" && service.at(&["spec", "selector"]).is_none();
        service.set(&["spec", "clusterIP"], address.as_str());
        service.set(&["spec", "clusterIPs"], vec![address]);
        let (families, policy) = if without_selector {
            // What has neither selector nor address says nothing of families, so it takes all.
            (vec!["IPv4", "IPv6"], "RequireDualStack")
        } else {
            (vec!["IPv4"], "SingleStack")
        };
        if service.list(&["spec", "ipFamilies"]).is_empty() {
            service.set(&["spec", "ipFamilies"], families);
        }
        if service.at(&["spec", "ipFamilyPolicy"]).is_none() {
            service.set(&["spec", "ipFamilyPolicy"], policy);
        }
        Ok(())
    }

    fn ports(
        &self,
        service: &mut Object,
        before: &Held,
        used: &mut Used,
        taken: &mut Held,
        random: u128,
    ) -> Result<(), StatusCause> {
        let wants_ports = match service_type(service) {
            "NodePort" => true,
            "LoadBalancer" => {
                service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false))
            }
            _ => false,
        };
        // First the ports that are named, so that none of them is given away to another port of the same service.
        let mut own: HashSet<u16> = HashSet::new();
        for (index, port) in service.list(&["spec", "ports"]).iter().enumerate() {
            let Some(wish) = port["nodePort"].as_i64().filter(|wish| *wish != 0) else {
                continue;
            };
            let field = format!("spec.ports[{index}].nodePort");
            let fault = |why: &str| cause(&field, &wish.to_string(), why);
            let (first, last) = (self.ranges.port_first, self.ranges.port_last);
            let Some(port) = u16::try_from(wish)
                .ok()
                .filter(|port| (first..=last).contains(port))
            else {
                return Err(fault(&format!(
                    "provided port is not in the valid range. The range of valid ports is {first}-{last}"
                )));
            };
            if !own.insert(port) || before.ports.contains(&port) {
                continue;
            }
            if !used.ports.insert(port) {
                return Err(fault("provided port is already allocated"));
            }
            taken.ports.insert(port);
        }
        if wants_ports {
            let ports = service
                .at_mut(&["spec"])
                .get_mut("ports")
                .and_then(Value::as_array_mut);
            let mut given: Vec<(Value, u16)> = Vec::new();
            for (index, port) in ports.into_iter().flatten().enumerate() {
                if port["nodePort"].as_i64().unwrap_or_default() != 0 {
                    continue;
                }
                // One port over several protocols has one node port.
                let same = given.iter().find(|(number, _)| *number == port["port"]);
                let chosen = match same {
                    Some((_, chosen)) => *chosen,
                    None => {
                        let chosen = self.free_port(used, random.rotate_left(16 * (index as u32 % 8)))?;
                        used.ports.insert(chosen);
                        taken.ports.insert(chosen);
                        given.push((port["port"].clone(), chosen));
                        chosen
                    }
                };
                if let Some(port) = port.as_object_mut() {
                    port.insert("nodePort".to_owned(), chosen.into());
                }
            }
        }
        let is_local = service.text(&["spec", "externalTrafficPolicy"]) == Some("Local");
        let has_check = service
            .integer(&["spec", "healthCheckNodePort"])
            .unwrap_or_default()
            != 0;
        if service_type(service) == "LoadBalancer" && is_local && !has_check {
            let chosen = self.free_port(used, random.rotate_left(64))?;
            used.ports.insert(chosen);
            taken.ports.insert(chosen);
            service.set(&["spec", "healthCheckNodePort"], chosen);
        }
        Ok(())
    }

    /// Addresses of the network without its first and last.
    fn hosts(&self) -> (u32, u32) {
        let size = 1u32.checked_shl(32 - u32::from(self.ranges.prefix)).unwrap_or(0);
        let first = u32::from(self.ranges.network);
        (first + 1, first + size.saturating_sub(2))
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let (first, last) = self.hosts();
        (first..=last).contains(&u32::from(address))
    }

    /// A free address from the part of the network that is left to chance; only when that is full from the first
    /// addresses, which people name in manifests.
    fn free_address(&self, used: &Used, random: u128) -> Result<Ipv4Addr, StatusCause> {
        let (first, last) = self.hosts();
        let size = last - first + 1;
        let named = (size / 16).clamp(16, 256).min(size);
        let band = |start: u32, length: u32| {
            let offset = if length == 0 {
                0
            } else {
                (random % u128::from(length)) as u32
            };
            (0..length).map(move |step| Ipv4Addr::from(start + (offset + step) % length))
        };
        band(first + named, size - named)
            .chain(band(first, named))
            .find(|address| !used.addresses.contains(address))
            .ok_or_else(|| failure("failed to allocate a serviceIP: range is full"))
    }

    fn free_port(&self, used: &Used, random: u128) -> Result<u16, StatusCause> {
        let (first, last) = (self.ranges.port_first, self.ranges.port_last);
        let size = last - first + 1;
        let named = (size / 32).clamp(16, 128).min(size);
        let band = |start: u16, length: u16| {
            let offset = if length == 0 {
                0
            } else {
                (random % u128::from(length)) as u16
            };
            (0..length).map(move |step| start + (offset + step) % length)
        };
        band(first + named, size - named)
            .chain(band(first, named))
            .find(|port| !used.ports.contains(port))
            .ok_or_else(|| failure("failed to allocate a nodePort: range is full"))
    }
}

fn service_type(service: &Object) -> &str {
    service.text(&["spec", "type"]).unwrap_or("ClusterIP")
}

/// What a service holds, by its fields.
fn held(service: &Object) -> Held {
    let mut held = Held::default();
    if service_type(service) != "ExternalName" {
        let address = service
            .text(&["spec", "clusterIP"])
            .and_then(|text| text.parse::<Ipv4Addr>().ok());
        held.addresses.extend(address);
    }
    let ports = service
        .list(&["spec", "ports"])
        .iter()
        .map(|port| port["nodePort"].as_i64());
    let check = service.integer(&["spec", "healthCheckNodePort"]);
    let numbers = ports
        .chain([check])
        .flatten()
        .filter_map(|port| u16::try_from(port).ok());
    held.ports.extend(numbers.filter(|port| *port != 0));
    held
}

/// Keeps what the server gave before, where the changed service leaves it open, and drops what its new type has no
/// use for.
fn carry_over(service: &mut Object, old: &Object) {
    let (now, before) = (service_type(service).to_owned(), service_type(old).to_owned());
    let has_address = |kind: &str| kind != "ExternalName";
    let is_open = service
        .text(&["spec", "clusterIP"])
        .unwrap_or_default()
        .is_empty()
        && service.list(&["spec", "clusterIPs"]).is_empty();
    let keys = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
    if has_address(&now) && has_address(&before) && is_open {
        for key in keys {
            if let Some(value) = old.at(&["spec", key]) {
                service.set(&["spec", key], value.clone());
            }
        }
    }
    if !has_address(&now) && has_address(&before) {
        for key in keys {
            if service.at(&["spec", key]) == old.at(&["spec", key]) {
                service.remove(&["spec", key]);
            }
        }
    }
    let has_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let old_ports = old.list(&["spec", "ports"]);
    let ports = service
        .at_mut(&["spec"])
        .get_mut("ports")
        .and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        let same = old_ports
            .iter()
            .find(|old| old.get("protocol") == port.get("protocol") && old.get("port") == port.get("port"));
        let given = same.and_then(|old| old.get("nodePort"));
        match (has_ports(&now), has_ports(&before), given) {
            (true, true, Some(given)) if port.get("nodePort").is_none_or(|port| port == 0) => {
                port.insert("nodePort".to_owned(), given.clone());
            }
            (false, true, Some(given)) if port.get("nodePort") == Some(given) => {
                port.remove("nodePort");
            }
            _ => {}
        }
    }
    let needs_check =
        now == "LoadBalancer" && service.text(&["spec", "externalTrafficPolicy"]) == Some("Local");
    match old.at(&["spec", "healthCheckNodePort"]) {
        Some(check) if needs_check => service.set(&["spec", "healthCheckNodePort"], check.clone()),
        Some(check) if service.at(&["spec", "healthCheckNodePort"]) == Some(check) => {
            service.remove(&["spec", "healthCheckNodePort"]);
        }
        _ => {}
    }
}

/// A service keeps its address as long as it has one.
fn refuse_other_address(service: &Object, old: &Object) -> Result<(), StatusCause> {
    if service_type(service) == "ExternalName" || service_type(old) == "ExternalName" {
        return Ok(());
    }
    let before = old.text(&["spec", "clusterIP"]).unwrap_or_default();
    let now = service.text(&["spec", "clusterIP"]).unwrap_or_default();
    if before.is_empty() || now == before {
        return Ok(());
    }
    Err(cause(
        "spec.clusterIPs[0]",
        &format!("[{now:?}]"),
        "may not change once set",
    ))
}

fn cause(field: &str, value: &str, why: &str) -> StatusCause {
    StatusCause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {value}: {why}"),
        field: field.to_owned(),
    }
}

/// A failure that is not the request's fault: it names no field.
fn failure(why: &str) -> StatusCause {
    StatusCause {
        reason: String::new(),
        message: why.to_owned(),
        field: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: Value) -> Object {
        let mut service = Object::new("v1", "Service", None, "web");
        service.set(&["spec"], spec);
        service
    }

    fn small() -> Addresses {
        Addresses::new(ServiceRanges {
            network: Ipv4Addr::new(10, 0, 0, 0),
            prefix: 29,
            port_first: 30000,
            port_last: 30002,
        })
    }

    fn spec(service: &Object) -> &Value {
        service.at(&["spec"]).unwrap()
    }

    #[test]
    fn a_service_gets_an_address_and_ports() {
        let addresses = Addresses::new(ServiceRanges::default());
        let ports = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]);
        let mut web = service(json!({"type": "NodePort", "ports": ports}));
        addresses.reserve(&mut web, None, 0).unwrap().keep();
        assert_eq!(spec(&web)["clusterIP"], "10.43.1.1");
        assert_eq!(spec(&web)["clusterIPs"], json!(["10.43.1.1"]));
        assert_eq!(spec(&web)["ipFamilyPolicy"], "SingleStack");
        let given: Vec<&Value> = web
            .list(&["spec", "ports"])
            .iter()
            .map(|port| &port["nodePort"])
            .collect();
        assert_eq!(given, [&json!(30086), &json!(30086), &json!(30087)]);
    }

    #[test]
    fn what_is_not_kept_is_free_again() {
        let addresses = small();
        for _ in 0..100 {
            let mut web = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
            drop(addresses.reserve(&mut web, None, 3).unwrap());
        }
        let mut web = service(json!({"clusterIP": "10.0.0.1"}));
        addresses.reserve(&mut web, None, 0).unwrap().keep();
        let taken = addresses.reserve(&mut web.clone(), None, 0).err().unwrap();
        assert_eq!(
            taken.message,
            r#"Invalid value: ["10.0.0.1"]: failed to allocate IP 10.0.0.1: provided IP is already allocated"#
        );
        addresses.release(&web);
        assert!(addresses.reserve(&mut web, None, 0).is_ok());
    }

    #[test]
    fn a_changed_service_keeps_what_it_was_given() {
        let addresses = small();
        let wish = json!({"type": "NodePort", "ports": [{"port": 80}]});
        let mut old = service(wish.clone());
        addresses.reserve(&mut old, None, 0).unwrap().keep();
        let mut new = service(wish);
        addresses.reserve(&mut new, Some(&old), 1).unwrap().keep();
        assert_eq!(new, old);
        let mut inner = service(json!({"type": "ClusterIP", "ports": new.list(&["spec", "ports"])}));
        addresses.reserve(&mut inner, Some(&new), 1).unwrap().keep();
        assert_eq!(inner.list(&["spec", "ports"]), [json!({"port": 80})]);
        assert_eq!(inner.at(&["spec", "clusterIP"]), old.at(&["spec", "clusterIP"]));
        assert!(lock(&addresses.used).ports.is_empty());
        let mut moved = service(json!({"clusterIP": "10.0.0.6"}));
        let refused = addresses.reserve(&mut moved, Some(&inner), 1).err().unwrap();
        assert_eq!(
            refused.message,
            r#"Invalid value: ["10.0.0.6"]: may not change once set"#
        );
    }

    #[test]
    fn headless_and_external_services_take_nothing() {
        let addresses = small();
        let mut headless = service(json!({"clusterIP": "None", "selector": {"app": "web"}}));
        addresses.reserve(&mut headless, None, 0).unwrap().keep();
        assert_eq!(spec(&headless)["clusterIPs"], json!(["None"]));
        let mut external = service(json!({"type": "ExternalName", "externalName": "example.com"}));
        addresses.reserve(&mut external, None, 0).unwrap().keep();
        assert_eq!(spec(&external).get("clusterIP"), None);
        assert!(lock(&addresses.used).addresses.is_empty());
    }

    #[test]
    fn err_wishes_that_cannot_be_met() {
        let addresses = small();
        for (wish, field, message) in [
            (
                json!({"clusterIP": "10.1.0.1"}),
                "spec.clusterIPs",
                "Invalid value: [\"10.1.0.1\"]: failed to allocate IP 10.1.0.1: the provided IP (10.1.0.1) is not \
                 in the valid range. The range of valid IPs is 10.0.0.0/29",
            ),
            (
                json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2, "nodePort": 80}]}),
                "spec.ports[1].nodePort",
                "Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30002",
            ),
            (
                json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}, {"port": 3}, {"port": 4}]}),
                "",
                "failed to allocate a nodePort: range is full",
            ),
        ] {
            let refused = addresses.reserve(&mut service(wish), None, 0).err().unwrap();
            assert_eq!(
                (refused.field.as_str(), refused.message.as_str()),
                (field, message)
            );
        }
        assert!(lock(&addresses.used).ports.is_empty());
    }
}
