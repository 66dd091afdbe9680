//! Writing short forms out, so that every attribute has one form.

mod device;
pub(crate) mod port;
pub(crate) mod volume;

use crate::error::Fault;
use crate::merge::{build, depends_on, names};
use crate::node::{Data, Map, Node, Place, Sources};
use crate::paths::clean;
use crate::project::Warning;

/// Writes the short forms of a file out.
///
/// `lenient` leaves texts that cannot be read as they are, for files whose variables were not filled in.
pub(crate) fn write_out(
    root: &mut Node,
    lenient: bool,
    sources: &Sources,
    warnings: &mut Vec<Warning>,
) -> Result<(), Vec<Fault>> {
    let mut writer = Writer {
        lenient,
        sources,
        warnings,
        faults: Vec::new(),
    };
    let Some(file) = root.as_map_mut() else {
        return Ok(());
    };
    each(file, "services", |name, service| writer.service(name, service));
    for kind in ["networks", "volumes", "secrets", "configs"] {
        each(file, kind, |name, entry| writer.external(kind, name, entry));
    }
    if let Some(include) = file.get_mut("include") {
        for item in include.as_list_mut().into_iter().flatten() {
            to_mapping(item, "path");
            if let Some(map) = item.as_map_mut() {
                for key in ["path", "env_file"] {
                    if let Some(value) = map.get_mut(key) {
                        to_list(value);
                    }
                }
            }
        }
    }
    if writer.faults.is_empty() {
        Ok(())
    } else {
        Err(writer.faults)
    }
}

/// Does something with every entry under a key.
pub(crate) fn each(file: &mut Map, key: &str, mut action: impl FnMut(&str, &mut Node)) {
    if let Some(entries) = file.get_mut(key).and_then(Node::as_map_mut) {
        for (name, entry) in entries {
            action(name, entry);
        }
    }
}

/// A text becomes a list of it.
fn to_list(node: &mut Node) {
    if let Data::Text(_) = node.data {
        let item = node.clone();
        node.data = Data::List(vec![item]);
    }
}

/// A text becomes a mapping with it under a key.
fn to_mapping(node: &mut Node, key: &str) {
    if let Data::Text(_) = node.data {
        let item = node.clone();
        node.data = Data::Map(Map::from([(key.to_owned(), item)]));
    }
}

/// Runs a function that takes a node and gives another, in place.
fn replace(node: &mut Node, change: impl FnOnce(Node) -> Node) {
    let taken = std::mem::replace(node, Node::new(Data::Null, node.at));
    *node = change(taken);
}

struct Writer<'a> {
    lenient: bool,
    sources: &'a Sources,
    warnings: &'a mut Vec<Warning>,
    faults: Vec<Fault>,
}

impl Writer<'_> {
    fn fault(&mut self, message: impl Into<String>, at: Place) {
        self.faults
            .push(Fault::new(message).at(self.sources.position(at)));
    }

    fn service(&mut self, name: &str, service: &mut Node) {
        let Some(map) = service.as_map_mut() else { return };
        if let Some(node) = map.get_mut("build") {
            replace(node, build);
            if let Some(map) = node.as_map_mut() {
                if let Some(secrets) = map.get_mut("secrets") {
                    references(secrets);
                }
                if let Some(ssh) = map.get_mut("ssh") {
                    ssh_keys(ssh);
                }
                if let Some(contexts) = map.get_mut("additional_contexts") {
                    to_entries(contexts);
                }
                if let Some(filter) = map.get_mut("no_cache_filter") {
                    to_list(filter);
                }
            }
        }
        if let Some(node) = map.get_mut("depends_on") {
            replace(node, depends_on);
            for entry in node.as_map_mut().into_iter().flatten().map(|(_, entry)| entry) {
                let at = entry.at;
                if let Some(map) = entry.as_map_mut() {
                    map.entry("required".to_owned())
                        .or_insert_with(|| Node::bool(true, at));
                }
            }
        }
        for key in ["networks", "models"] {
            if let Some(node) = map.get_mut(key) {
                replace(node, names);
            }
        }
        for key in ["dns", "dns_search", "tmpfs", "label_file"] {
            if let Some(node) = map.get_mut(key) {
                to_list(node);
            }
        }
        if let Some(node) = map.get_mut("extends") {
            to_mapping(node, "service");
        }
        if let Some(node) = map.get_mut("env_file") {
            to_list(node);
            for item in node.as_list_mut().into_iter().flatten() {
                to_mapping(item, "path");
                let at = item.at;
                if let Some(map) = item.as_map_mut() {
                    map.entry("required".to_owned())
                        .or_insert_with(|| Node::bool(true, at));
                }
            }
        }
        for key in ["secrets", "configs"] {
            if let Some(node) = map.get_mut(key) {
                references(node);
            }
        }
        if let Some(node) = map.get_mut("ports") {
            self.ports(name, node);
        }
        if let Some(node) = map.get_mut("volumes") {
            self.volumes(node);
        }
        if let Some(node) = map.get_mut("devices") {
            for item in node.as_list_mut().into_iter().flatten() {
                if let Data::Text(text) = &item.data {
                    match device::parse_device(text, item.at) {
                        Ok(device) => *item = device,
                        Err(_) if self.lenient => {}
                        Err(message) => {
                            let at = item.at;
                            self.fault(message, at);
                        }
                    }
                }
            }
        }
        if let Some(node) = map.get_mut("gpus")
            && node.as_str() == Some("all")
        {
            let at = node.at;
            let request = Map::from([("count".to_owned(), Node::text("all", at))]);
            node.data = Data::List(vec![Node::new(Data::Map(request), at)]);
        }
        if let Some(list) = map.get_mut("dns").and_then(Node::as_list_mut) {
            list.retain(|item| !item.is_null() && item.as_str() != Some(""));
        }
        let watch = map
            .get_mut("develop")
            .and_then(Node::as_map_mut)
            .and_then(|map| map.get_mut("watch"));
        for item in watch.and_then(Node::as_list_mut).into_iter().flatten() {
            for key in ["ignore", "include"] {
                if let Some(node) = item.as_map_mut().and_then(|map| map.get_mut(key)) {
                    to_list(node);
                }
            }
        }
    }

    fn ports(&mut self, service: &str, node: &mut Node) {
        let Some(items) = node.as_list_mut() else { return };
        // Where one is not readable yet, all stay as they are.
        let kept = if self.lenient { items.clone() } else { Vec::new() };
        let mut written = Vec::with_capacity(items.len());
        for item in std::mem::take(items) {
            let at = item.at;
            let text = match &item.data {
                Data::Text(text) => text.clone(),
                Data::Int(number) => number.to_string(),
                Data::Map(_) => {
                    written.push(item);
                    continue;
                }
                Data::Float(_) => {
                    self.fault(
                        format!("services.{service}.ports: invalid type float64 for port"),
                        at,
                    );
                    continue;
                }
                _ => {
                    self.fault(format!("services.{service}.ports: invalid type for port"), at);
                    continue;
                }
            };
            match port::parse_ports(&text, at) {
                Ok(ports) => written.extend(ports),
                Err(_) if self.lenient => {
                    *items = kept;
                    return;
                }
                Err(message) => self.fault(message, at),
            }
        }
        *items = written;
    }

    fn volumes(&mut self, node: &mut Node) {
        for item in node.as_list_mut().into_iter().flatten() {
            if let Some(target) = item.as_map_mut().and_then(|map| map.get_mut("target"))
                && let Data::Text(text) = &target.data
            {
                target.data = Data::Text(clean(text));
            }
            let Data::Text(text) = &item.data else { continue };
            match volume::parse_volume(text) {
                Ok(volume) => *item = volume.into_node(item.at),
                Err(_) if self.lenient => {}
                Err(message) => {
                    let at = item.at;
                    self.fault(message, at);
                }
            }
        }
    }

    /// `external: {name: NAME}` of old.
    fn external(&mut self, kind: &str, name: &str, entry: &mut Node) {
        let Some(map) = entry.as_map_mut() else { return };
        let Some(external) = map.get_mut("external") else {
            return;
        };
        let at = external.at;
        let Some(inside) = external.as_map() else { return };
        let given = inside.get("name").cloned();
        external.data = Data::Bool(true);
        let Some(given) = given else { return };
        self.warnings.push(Warning {
            message: format!(
                "{kind}.{name}: external.name is deprecated. Please set name and external: true"
            ),
            position: self.sources.position(at),
        });
        if map.get("name").is_some_and(|name| !name.same(&given)) {
            self.fault(
                format!("{kind}.{name}: name and external.name conflict; only use name"),
                at,
            );
            return;
        }
        map.insert("name".to_owned(), given);
    }
}

/// The long forms of references to secrets and configs.
fn references(node: &mut Node) {
    for item in node.as_list_mut().into_iter().flatten() {
        to_mapping(item, "source");
    }
}

/// A list of `ID=PATH` becomes a mapping.
fn ssh_keys(node: &mut Node) {
    to_list(node);
    to_entries(node);
}

/// A list of `KEY=VALUE` becomes a mapping.
fn to_entries(node: &mut Node) {
    let Data::List(items) = &node.data else { return };
    let entries = items.iter().filter_map(|item| {
        let text = item.as_str()?;
        Some(match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Node::text(value, item.at)),
            None => (text.to_owned(), Node::new(Data::Null, item.at)),
        })
    });
    node.data = Data::Map(entries.collect());
}
