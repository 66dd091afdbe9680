//! From options to a project: the stages in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use serde_json::{Map as JsonMap, Value};

use crate::consistency::{self, Parts};
use crate::discover::{self, Found};
use crate::error::{Fault, LoadError};
use crate::files::Files;
use crate::node::{Node, Sources};
use crate::normalize::normalize;
use crate::options::Options;
use crate::project::{Positions, Project};
use crate::reader::{Faults, Reader, Scope};
use crate::service_files::read_service_files;
use crate::set_aside::{SetAside, read_through};
use crate::typed;

/// Loads the project that `options` name, reading its files through `files`.
///
/// # Errors
///
/// All faults, with file, line and column where there is one. What cannot be judged for a fault before it is not told:
/// that a service lacks what was refused, for instance.
pub fn load(options: &Options, files: &dyn Files) -> Result<Project, LoadError> {
    read_through(|aside| stages(options, files, aside)).map_err(|mut faults| {
        let mut seen = BTreeSet::new();
        faults.retain(|fault| seen.insert((fault.message.clone(), fault.position.clone())));
        LoadError { faults }
    })
}

const KINDS: [&str; 6] = ["services", "networks", "volumes", "configs", "secrets", "models"];

fn stages(options: &Options, files: &dyn Files, aside: &mut SetAside) -> Result<Project, Faults> {
    let mut reader = Reader {
        files,
        home: options.home.as_deref(),
        stdin: options.stdin.as_deref(),
        interpolate: !options.no_interpolate,
        sources: Sources::default(),
        warnings: Vec::new(),
        told: BTreeSet::new(),
        read_before: HashMap::new(),
        aside,
    };
    let mut found = discover::find(options, &mut reader)?;
    let name = discover::project_name(options, &found, &mut reader)?;
    found
        .environment
        .insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    let mut model = read_model(options, &found, &mut reader)?;
    if !options.no_normalize {
        normalize(&mut model, &name, &found.environment);
    }
    if let Some(map) = model.as_map_mut() {
        map.remove("name");
    }

    let mut project = Project {
        working_dir: found.folder.clone(),
        compose_files: found
            .files
            .iter()
            .filter(|file| *file != "-")
            .map(PathBuf::from)
            .collect(),
        positions: Positions {
            root: None,
            sources: reader.sources.clone(),
        },
        ..Project::default()
    };
    if options.no_interpolate {
        // Texts with variables have no types yet, so the model stays as it was read.
        let mut json = model.to_json();
        project.positions.root = Some(model);
        if let Some(object) = json.as_object_mut() {
            object.insert("name".to_owned(), Value::from(name.as_str()));
        }
        project.model = json;
    } else {
        fill_project(&mut project, model, &name, &found, options, &mut reader)?;
    }
    project.name = name;
    project.environment = found.environment;
    project.warnings = reader.warnings;
    Ok(project)
}

fn read_model(options: &Options, found: &Found, reader: &mut Reader<'_>) -> Result<Node, Faults> {
    let scope = Scope {
        folder: &found.folder,
        environment: &found.environment,
        including: &[],
    };
    let folder = found.folder.to_string_lossy();
    let prefix = (!options.no_path_resolution).then_some(&*folder);
    let model = reader.model(&found.files, scope, prefix)?;
    if discover::is_empty(&model) {
        return Err(vec![Fault::new("empty compose file")]);
    }
    Ok(model)
}

/// Gives the model its types, selects services, and checks that all fits together.
fn fill_project(
    project: &mut Project,
    model: Node,
    name: &str,
    found: &Found,
    options: &Options,
    reader: &mut Reader<'_>,
) -> Result<(), Faults> {
    let mut object = typed_model(&model, &mut project.extensions, reader)?;
    project.positions.root = Some(model);
    project.is_typed = true;
    object.insert("name".to_owned(), Value::from(name));
    let mut services = match object.remove("services") {
        Some(Value::Object(services)) => services,
        _ => JsonMap::new(),
    };
    let mut disabled = JsonMap::new();
    let wanted = |value: &Value| {
        let profiles = value.get("profiles").and_then(Value::as_array);
        let active = |profile: &Value| {
            found
                .profiles
                .iter()
                .any(|wanted| wanted == "*" || Some(wanted.as_str()) == profile.as_str())
        };
        profiles.is_none_or(|profiles| profiles.is_empty() || profiles.iter().any(active))
    };
    let names: Vec<String> = services.keys().cloned().collect();
    for service in names {
        if !wanted(&services[&service])
            && let Some(value) = services.remove(&service)
        {
            disabled.insert(service, value);
        }
    }
    if !options.no_consistency {
        let faults = consistency::check(&Parts {
            enabled: &services,
            disabled: &disabled,
            model: &object,
            positions: &project.positions,
        });
        if !faults.is_empty() {
            return Err(faults);
        }
    }
    if !options.services.is_empty() {
        select(&mut services, &mut disabled, &options.services)?;
    }
    let all_needed = !options.no_env_resolution;
    read_service_files(
        &mut services,
        &found.environment,
        all_needed,
        &project.positions,
        reader,
    )?;
    if !options.all_resources {
        drop_unused(&mut object, &services);
    }
    object.insert("services".to_owned(), Value::Object(services));
    project.model = Value::Object(object);
    project.disabled_services = disabled;
    Ok(())
}

fn typed_model(
    model: &Node,
    extensions: &mut Vec<Vec<String>>,
    reader: &Reader<'_>,
) -> Result<JsonMap<String, Value>, Faults> {
    let mut faults = Vec::new();
    let mut object = JsonMap::new();
    for (key, node) in model.as_map().into_iter().flatten() {
        if !KINDS.contains(&key.as_str()) {
            if key.starts_with("x-") {
                object.insert(key.clone(), node.to_json());
            }
            continue;
        }
        let mut entries = JsonMap::new();
        for (name, entry) in node.as_map().into_iter().flatten() {
            match typed::entry(key, name, entry, extensions) {
                Ok(value) => {
                    entries.insert(name.clone(), value);
                }
                Err(found) => faults.extend(
                    found
                        .into_iter()
                        .map(|fault| Fault::new(fault.message).at(reader.sources.position(fault.at))),
                ),
            }
        }
        if !entries.is_empty() || key == "services" {
            object.insert(key.clone(), Value::Object(entries));
        }
    }
    if faults.is_empty() {
        Ok(object)
    } else {
        Err(faults)
    }
}

/// Keeps the named services and what they depend on. The profiles of those that are named count as enabled.
fn select(
    services: &mut JsonMap<String, Value>,
    disabled: &mut JsonMap<String, Value>,
    named: &[String],
) -> Result<(), Faults> {
    let profiles: BTreeSet<String> = named
        .iter()
        .filter_map(|name| disabled.get(name)?.get("profiles")?.as_array())
        .flatten()
        .filter_map(|profile| profile.as_str().map(str::to_owned))
        .collect();
    let enabled: Vec<String> = disabled
        .iter()
        .filter(|(_, service)| {
            let own = service.get("profiles").and_then(Value::as_array);
            own.into_iter()
                .flatten()
                .any(|profile| profile.as_str().is_some_and(|profile| profiles.contains(profile)))
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in enabled {
        if let Some(service) = disabled.remove(&name) {
            services.insert(name, service);
        }
    }
    let unknown: Faults = named
        .iter()
        .filter(|name| !services.contains_key(*name))
        .map(|name| Fault::new(format!("no such service: {name}")))
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<String> = named.to_vec();
    while let Some(name) = waiting.pop() {
        if let Some(service) = services.get(&name)
            && kept.insert(name)
        {
            let dependencies = service.get("depends_on").and_then(Value::as_object);
            waiting.extend(dependencies.into_iter().flatten().map(|(name, _)| name.clone()));
        }
    }
    let names: Vec<String> = services.keys().cloned().collect();
    for name in names {
        if !kept.contains(&name)
            && let Some(service) = services.remove(&name)
        {
            disabled.insert(name, service);
        }
    }
    Ok(())
}

/// Drops the resources that no service uses.
fn drop_unused(object: &mut JsonMap<String, Value>, services: &JsonMap<String, Value>) {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut note = |kind: &'static str, name: &str| {
        used.entry(kind).or_default().insert(name.to_owned());
    };
    for service in services.values() {
        for kind in ["networks", "models"] {
            for (name, _) in service.get(kind).and_then(Value::as_object).into_iter().flatten() {
                note(kind, name);
            }
        }
        let sources = |value: Option<&Value>, key: &str| -> Vec<Value> {
            value
                .and_then(|value| value.get(key)?.as_array())
                .cloned()
                .unwrap_or_default()
        };
        for volume in sources(Some(service), "volumes") {
            if let ("volume", Some(source)) = (
                volume.get("type").and_then(Value::as_str).unwrap_or_default(),
                volume.get("source").and_then(Value::as_str),
            ) {
                note("volumes", source);
            }
        }
        for kind in ["secrets", "configs"] {
            for entry in sources(Some(service), kind) {
                if let Some(source) = entry.get("source").and_then(Value::as_str) {
                    note(kind, source);
                }
            }
        }
        for entry in sources(service.get("build"), "secrets") {
            if let Some(source) = entry.get("source").and_then(Value::as_str) {
                note("secrets", source);
            }
        }
    }
    for kind in KINDS {
        if kind == "services" {
            continue;
        }
        if let Some(Value::Object(entries)) = object.get_mut(kind) {
            entries.retain(|name, _| used.get(kind).is_some_and(|used| used.contains(name)));
            if entries.is_empty() {
                object.remove(kind);
            }
        }
    }
}
