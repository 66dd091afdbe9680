//! Rules on single entries, which types cannot say; and the defaults that hold wherever an entry comes from.

use std::net::IpAddr;

use crate::error::Fault;
use crate::node::{Data, Map, Node, Place, Sources};
use crate::short::each;

/// Fills in what is left out of ports, mounts, secrets and device requests.
pub(crate) fn fill_in(root: &mut Node) {
    let Some(file) = root.as_map_mut() else { return };
    each(file, "services", |_, service| {
        let Some(service) = service.as_map_mut() else {
            return;
        };
        if let Some(build) = service.get_mut("build") {
            put(build, "context", || Data::Text(".".to_owned()));
        }
        for port in items(service, "ports") {
            put(port, "protocol", || Data::Text("tcp".to_owned()));
            put(port, "mode", || Data::Text("ingress".to_owned()));
        }
        for secret in items(service, "secrets") {
            let target = secret
                .get("source")
                .and_then(Node::as_str)
                .map(|source| format!("/run/secrets/{source}"));
            if let Some(target) = target {
                put(secret, "target", || Data::Text(target));
            }
        }
        for request in items(service, "gpus") {
            request_all(request);
        }
        for request in reserved_devices(service) {
            request_all(request);
        }
    });
}

/// A request for devices that says neither how many nor which is for all.
fn request_all(request: &mut Node) {
    if request.get("device_ids").is_none() {
        put(request, "count", || Data::Text("all".to_owned()));
    }
}

fn reserved_devices(service: &mut Map) -> &mut [Node] {
    service
        .get_mut("deploy")
        .and_then(|deploy| {
            let resources = deploy.as_map_mut()?.get_mut("resources")?.as_map_mut()?;
            let devices = resources
                .get_mut("reservations")?
                .as_map_mut()?
                .get_mut("devices")?;
            devices.as_list_mut()
        })
        .map_or(&mut [], Vec::as_mut_slice)
}

/// The items of a list under a key.
fn items<'m>(map: &'m mut Map, key: &str) -> &'m mut [Node] {
    map.get_mut(key)
        .and_then(Node::as_list_mut)
        .map_or(&mut [], Vec::as_mut_slice)
}

/// Puts a value under a key of a mapping that has none there.
fn put(node: &mut Node, key: &str, data: impl FnOnce() -> Data) {
    let at = node.at;
    if let Some(map) = node.as_map_mut()
        && !map.contains_key(key)
    {
        map.insert(key.to_owned(), Node::new(data(), at));
    }
}

/// Checks the rules.
pub(crate) fn check(root: &mut Node, sources: &Sources) -> Vec<Fault> {
    let mut checker = Checker {
        sources,
        faults: Vec::new(),
    };
    let Some(file) = root.as_map_mut() else {
        return Vec::new();
    };
    each(file, "configs", |name, entry| {
        checker.file_object("configs", name, entry, &["file", "environment", "content"]);
    });
    each(file, "secrets", |name, entry| {
        checker.file_object("secrets", name, entry, &["file", "environment"]);
    });
    each(file, "services", |name, entry| checker.service(name, entry));
    each(file, "volumes", |name, entry| {
        checker.external_volume(name, entry);
    });
    checker.faults
}

struct Checker<'a> {
    sources: &'a Sources,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, message: impl Into<String>, at: Place) {
        self.faults
            .push(Fault::new(message).at(self.sources.position(at)));
    }

    fn external_volume(&mut self, name: &str, volume: &Node) {
        let Some(map) = volume.as_map() else { return };
        if !is_external(volume) {
            return;
        }
        for (key, entry) in map {
            match key.as_str() {
                "name" | "external" => {}
                key if key.starts_with("x-") => {}
                key => self.fault(
                    format!("volumes.{name}: conflicting parameters \"external\" and \"{key}\" specified"),
                    entry.at,
                ),
            }
        }
    }

    fn file_object(&mut self, kind: &str, name: &str, entry: &Node, keys: &[&str]) {
        let Some(map) = entry.as_map() else { return };
        let given: Vec<&&str> = keys.iter().filter(|key| map.contains_key(**key)).collect();
        let listed = keys.join("|");
        if given.len() > 1 {
            self.fault(
                format!("{kind}.{name}: {listed} attributes are mutually exclusive"),
                entry.at,
            );
        }
        if given.is_empty() {
            if is_external(entry) || map.contains_key("driver") {
                return;
            }
            self.fault(format!("{kind}.{name}: one of {listed} must be set"), entry.at);
        }
    }

    fn service(&mut self, name: &str, service: &mut Node) {
        let Some(map) = service.as_map_mut() else { return };
        for port in items(map, "ports").iter() {
            if let Some(ip) = port.get("host_ip").and_then(Node::as_str)
                && ip.parse::<IpAddr>().is_err()
                && !ip.contains('$')
            {
                self.fault(
                    format!("services.{name}.ports.[]: invalid ip address: {ip}"),
                    port.at,
                );
            }
        }
        let watch = map
            .get_mut("develop")
            .and_then(|develop| develop.as_map_mut()?.get_mut("watch")?.as_list_mut());
        for item in watch.into_iter().flatten() {
            if item.get("path").and_then(Node::as_str) == Some("") {
                self.fault(
                    format!("services.{name}.develop.watch.[].path: value can't be blank"),
                    item.at,
                );
            }
        }
        let gpus: Vec<&Node> = items(map, "gpus").iter().collect();
        let mut requests: Vec<(String, Node)> = gpus
            .into_iter()
            .map(|request| (format!("services.{name}.gpus.[]"), request.clone()))
            .collect();
        requests.extend(reserved_devices(map).iter().map(|request| {
            let path = format!("services.{name}.deploy.resources.reservations.devices.[]");
            (path, request.clone())
        }));
        for (path, request) in requests {
            if request.get("count").is_some() && request.get("device_ids").is_some() {
                self.fault(
                    format!("{path}: \"count\" and \"device_ids\" attributes are exclusive"),
                    request.at,
                );
            }
        }
    }
}

/// Whether a resource is said to exist already.
pub(crate) fn is_external(entry: &Node) -> bool {
    match entry.get("external").map(|external| &external.data) {
        Some(Data::Bool(flag)) => *flag,
        Some(Data::Text(text)) => text == "true",
        Some(Data::Map(_)) => true,
        _ => false,
    }
}
