//! `env_file` and `label_file`: variables and labels that a service takes from files.

use std::path::Path;

use serde_json::{Map, Value};

use crate::dotenv::{self, Dotenv};
use crate::error::Fault;
use crate::interpolate::Environment;
use crate::node::Place;
use crate::project::Positions;
use crate::reader::{Faults, Reader, os_words, unset};

/// Reads the files of all services and takes their names out of the model. Unless all are needed, missing ones are left out.
pub(crate) fn read_service_files(
    services: &mut Map<String, Value>,
    environment: &Environment,
    all_needed: bool,
    positions: &Positions,
    reader: &mut Reader<'_>,
) -> Result<(), Faults> {
    let mut faults = Vec::new();
    for (name, service) in services {
        let Some(service) = service.as_object_mut() else {
            continue;
        };
        if let Some(files) = service.remove("env_file")
            && let Err(fault) = env_files(service, &files, environment, all_needed, reader)
        {
            faults.push(fault.at(positions.find(&["services", name, "env_file"])));
        }
        if let Some(files) = service.remove("label_file")
            && let Err(fault) = label_files(service, &files, reader)
        {
            faults.push(fault.at(positions.find(&["services", name, "label_file"])));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn env_files(
    service: &mut Map<String, Value>,
    files: &Value,
    environment: &Environment,
    all_needed: bool,
    reader: &mut Reader<'_>,
) -> Result<(), Fault> {
    let own = service
        .get("environment")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let mut all: Map<String, Value> = Map::new();
    for file in files.as_array().into_iter().flatten() {
        let path = file.get("path").and_then(Value::as_str).unwrap_or_default();
        let required = all_needed && file.get("required") != Some(&Value::Bool(false));
        let Some(text) = read_file(path, required, "env file", reader)? else {
            continue;
        };
        let before = all.clone();
        let given = |map: &Map<String, Value>, name: &str| map.get(name)?.as_str().map(str::to_owned);
        let outside = |name: &str| environment.get(name).cloned().or_else(|| given(&own, name));
        let earlier = |name: &str| given(&before, name);
        let read = match file.get("format").and_then(Value::as_str) {
            None | Some("") => dotenv::parse(&text, &outside, &earlier),
            Some("raw") => dotenv::parse_raw(&text, &outside),
            Some(other) => {
                return Err(Fault::new(format!("unsupported env_file format \"{other}\""))
                    .with_hint("known formats: `raw`, or none"));
            }
        };
        let read = take(read, path, reader)?;
        all.extend(
            read.values
                .into_iter()
                .map(|(key, value)| (key, Value::from(value))),
        );
    }
    all.extend(own);
    if !all.is_empty() {
        service.insert("environment".to_owned(), Value::Object(all));
    }
    Ok(())
}

fn label_files(
    service: &mut Map<String, Value>,
    files: &Value,
    reader: &mut Reader<'_>,
) -> Result<(), Fault> {
    let mut all: Map<String, Value> = Map::new();
    for path in files.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(text) = read_file(path, true, "label file", reader)? else {
            continue;
        };
        let read = take(dotenv::parse(&text, &|_| None, &|_| None), path, reader)?;
        all.extend(
            read.values
                .into_iter()
                .map(|(key, value)| (key, Value::from(value))),
        );
    }
    if let Some(own) = service.get("labels").and_then(Value::as_object) {
        all.extend(own.clone());
    }
    if !all.is_empty() {
        service.insert("labels".to_owned(), Value::Object(all));
    }
    Ok(())
}

fn read_file(
    path: &str,
    required: bool,
    kind: &str,
    reader: &mut Reader<'_>,
) -> Result<Option<String>, Fault> {
    match reader.files.read(Path::new(path)) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Fault::new(format!(
            "{kind} {path} not found: stat {path}: {}",
            os_words(&error)
        ))),
        Err(error) => Err(Fault::new(format!(
            "failed to read {path}: read {path}: {}",
            os_words(&error)
        ))),
    }
}

/// Passes on what was read, with warnings and positions.
fn take(
    read: Result<Dotenv, dotenv::DotenvFault>,
    path: &str,
    reader: &mut Reader<'_>,
) -> Result<Dotenv, Fault> {
    let read = read.map_err(|fault| reader.dotenv_fault(path, &fault, "failed to read"))?;
    for name in &read.unset {
        reader.warn(unset(name), Place::default());
    }
    Ok(read)
}
