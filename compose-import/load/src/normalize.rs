//! What follows from the project as a whole: names, implied networks and dependencies.

use crate::interpolate::Environment;
use crate::node::{Data, Map, Node, Place};

use crate::rules::is_external;
use crate::short::each;

/// Adds to a file in its long form what it implies.
pub(crate) fn normalize(root: &mut Node, name: &str, environment: &Environment) {
    let Some(file) = root.as_map_mut() else { return };
    let mut uses_default = false;
    each(file, "services", |_, service| {
        if let Some(service) = service.as_map_mut() {
            uses_default |= normalize_service(service, environment);
        }
    });
    networks(file, uses_default);
    for kind in ["networks", "volumes", "configs", "secrets"] {
        each(file, kind, |key, entry| {
            if entry.is_null() {
                entry.data = Data::Map(Map::new());
            }
            let external = is_external(entry);
            let at = entry.at;
            let Some(map) = entry.as_map_mut() else { return };
            if !map.contains_key("name") {
                let full = if external {
                    key.to_owned()
                } else {
                    format!("{name}_{key}")
                };
                map.insert("name".to_owned(), Node::text(full, at));
            }
        });
    }
}

/// Without being declared, the network `default` is there, if it is used.
fn networks(file: &mut Map, uses_default: bool) {
    if !uses_default {
        return;
    }
    let networks = file
        .entry("networks".to_owned())
        .or_insert_with(|| Node::new(Data::Map(Map::new()), Place::default()));
    if let Some(map) = networks.as_map_mut() {
        map.entry("default".to_owned())
            .or_insert_with(|| Node::new(Data::Null, Place::default()));
    }
}

/// Gives whether the service is on the network `default`.
fn normalize_service(service: &mut Map, environment: &Environment) -> bool {
    if service.get("pull_policy").and_then(Node::as_str) == Some("if_not_present")
        && let Some(policy) = service.get_mut("pull_policy")
    {
        policy.data = Data::Text("missing".to_owned());
    }
    if let Some(build) = service.get_mut("build") {
        let at = build.at;
        if let Some(map) = build.as_map_mut() {
            map.entry("context".to_owned())
                .or_insert_with(|| Node::text(".", at));
            if !map.contains_key("dockerfile") && !map.contains_key("dockerfile_inline") {
                map.insert("dockerfile".to_owned(), Node::text("Dockerfile", at));
            }
            if let Some(args) = map.get_mut("args") {
                inherit(args, environment);
            }
        }
    }
    if let Some(variables) = service.get_mut("environment") {
        inherit(variables, environment);
    }

    for (dependency, restart, at) in implied(service) {
        let on = service
            .entry("depends_on".to_owned())
            .or_insert_with(|| Node::new(Data::Map(Map::new()), at));
        if let Some(map) = on.as_map_mut() {
            map.entry(dependency).or_insert_with(|| {
                let entry = Map::from([
                    ("condition".to_owned(), Node::text("service_started", at)),
                    ("required".to_owned(), Node::bool(true, at)),
                    ("restart".to_owned(), Node::bool(restart, at)),
                ]);
                Node::new(Data::Map(entry), at)
            });
        }
    }
    if service.contains_key("provider") || has_text(service, "network_mode") {
        return service
            .get("networks")
            .is_some_and(|networks| networks.get("default").is_some());
    }
    let at = Place::default();
    let on_some = service
        .get("networks")
        .and_then(Node::as_map)
        .is_some_and(|networks| !networks.is_empty());
    if !on_some {
        let default = Map::from([("default".to_owned(), Node::new(Data::Null, at))]);
        service.insert("networks".to_owned(), Node::new(Data::Map(default), at));
    }
    service
        .get("networks")
        .is_some_and(|networks| networks.get("default").is_some())
}

fn has_text(service: &Map, key: &str) -> bool {
    service
        .get(key)
        .and_then(Node::as_str)
        .is_some_and(|text| !text.is_empty())
}

/// Variables without a value take the environment's.
fn inherit(node: &mut Node, environment: &Environment) {
    match &mut node.data {
        Data::Map(map) => {
            for (key, value) in map {
                if value.is_null()
                    && let Some(found) = environment.get(key)
                {
                    value.data = Data::Text(found.clone());
                }
            }
        }
        Data::List(items) => {
            for item in items {
                if let Data::Text(text) = &item.data
                    && !text.contains('=')
                    && let Some(found) = environment.get(text)
                {
                    item.data = Data::Text(format!("{text}={found}"));
                }
            }
        }
        _ => {}
    }
}

/// The services that others are named in links and namespaces, and whether their restart restarts this one.
fn implied(service: &Map) -> Vec<(String, bool, Place)> {
    let mut found = Vec::new();
    let texts = |key: &str| -> Vec<(String, Place)> {
        service
            .get(key)
            .and_then(Node::as_list)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| Some((item.as_str()?.to_owned(), item.at)))
            .collect()
    };
    for (link, at) in texts("links") {
        let name = link.split(':').next().unwrap_or_default();
        found.push((name.to_owned(), true, at));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(name) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            found.push((name.to_owned(), true, node.at));
        }
    }
    for (volume, at) in texts("volumes_from") {
        if !volume.starts_with("container:") {
            let name = volume.split(':').next().unwrap_or_default();
            found.push((name.to_owned(), false, at));
        }
    }
    found
}
