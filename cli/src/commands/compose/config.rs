//! `tug compose config`

use std::collections::BTreeSet;

use chart_values::yaml::{Emitter, Style};
use compose_load::{Options, Project, hash_of, variables};
use serde_json::Value;

use super::project::ProjectArgs;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::table::Table;

/// Print a project with everything filled in, or parts of it
#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    /// Only these services and what they depend on
    service: Vec<String>,
    /// Print as `yaml` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// Check only, print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Print the names of the services
    #[arg(long)]
    services: bool,
    /// Print the names of the volumes
    #[arg(long)]
    volumes: bool,
    /// Print the names of the networks
    #[arg(long)]
    networks: bool,
    /// Print the names of the models
    #[arg(long)]
    models: bool,
    /// Print the names of the profiles
    #[arg(long)]
    profiles: bool,
    /// Print the images of the services
    #[arg(long)]
    images: bool,
    /// Print the hashes of these services, separated by commas; `*` is all
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the variables that the files were read with
    #[arg(long)]
    environment: bool,
    /// Print the variables that the files use, with their defaults
    #[arg(long)]
    variables: bool,
    /// Leave variables as they are written
    #[arg(long)]
    no_interpolate: bool,
    /// Add nothing that follows from the project as a whole
    #[arg(long)]
    no_normalize: bool,
    /// Leave paths as they are written
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not check that the parts of the project fit together
    #[arg(long)]
    no_consistency: bool,
    /// Do without env files that are not there
    #[arg(long)]
    no_env_resolution: bool,
}

/// How the project is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub(super) fn run(arguments: &ConfigArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let options = Options {
        services: arguments.service.clone(),
        no_interpolate: arguments.no_interpolate || arguments.variables,
        no_normalize: arguments.no_normalize,
        no_path_resolution: arguments.no_path_resolution,
        no_consistency: arguments.no_consistency,
        no_env_resolution: arguments.no_env_resolution,
        ..project.options(settings)?
    };
    let loaded = project.load(&options, settings)?;
    if arguments.quiet {
        return Ok(());
    }
    let text = text(arguments, &loaded)?;
    match &arguments.output {
        None => settings.console.data(&text),
        Some(path) => std::fs::write(path, text).map_err(|error| {
            Failure::new(format!("cannot write `{}`", path.display())).because_error(&error)
        }),
    }
}

fn text(arguments: &ConfigArgs, project: &Project) -> Result<String, Failure> {
    let resources = |kind: &str| lines(project.resources(kind).map(|(name, _)| name));
    if arguments.services {
        return Ok(lines(project.services_in_order()));
    }
    if arguments.volumes {
        return Ok(resources("volumes"));
    }
    if arguments.networks {
        return Ok(resources("networks"));
    }
    if arguments.models {
        return Ok(resources("models"));
    }
    if arguments.profiles {
        let all = project
            .services()
            .map(|(_, service)| service)
            .chain(project.disabled_services.values().filter_map(Value::as_object));
        let names: BTreeSet<&str> = all
            .filter_map(|service| service.get("profiles")?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        return Ok(lines(names.into_iter()));
    }
    if arguments.images {
        let images = project.services_in_order().map(|name| project.image(name));
        return Ok(lines(images));
    }
    if let Some(wanted) = &arguments.hash {
        return hashes(wanted, project);
    }
    if arguments.environment {
        return Ok(lines(
            project
                .environment
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        ));
    }
    if arguments.variables {
        return variable_text(arguments, project);
    }
    match arguments.format {
        Some(Format::Json) => {
            let mut text = serde_json::to_string_pretty(&project.config_json())?;
            text.push('\n');
            Ok(text)
        }
        None | Some(Format::Yaml) => yaml(&project.config_yaml()),
    }
}

/// One item a line.
fn lines(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    items.map(|item| format!("{item}\n")).collect()
}

fn hashes(wanted: &str, project: &Project) -> Result<String, Failure> {
    let names: Vec<&str> = if wanted == "*" {
        project.services().map(|(name, _)| name).collect()
    } else {
        wanted.split(',').collect()
    };
    let mut text = String::new();
    for name in names {
        let hash = hash_of(project, name)
            .ok_or_else(|| Failure::new(format!("no such service: {name}: not found")))?;
        text += &format!("{name} {hash}\n");
    }
    Ok(text)
}

fn variable_text(arguments: &ConfigArgs, project: &Project) -> Result<String, Failure> {
    let found = variables(&project.model);
    if arguments.format == Some(Format::Json) {
        let object: serde_json::Map<String, Value> = found
            .into_iter()
            .map(|variable| {
                let value = serde_json::json!({
                    "Name": variable.name,
                    "DefaultValue": variable.default,
                    "PresenceValue": variable.alternate,
                    "Required": variable.required,
                });
                (variable.name, value)
            })
            .collect();
        let mut text = serde_json::to_string_pretty(&object)?;
        text.push('\n');
        return Ok(text);
    }
    let mut table = Table::new(&["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"]);
    for variable in found {
        table.row(vec![
            variable.name,
            variable.required.to_string(),
            variable.default,
            variable.alternate,
        ]);
    }
    Ok(table.to_string())
}

/// The project as YAML: its name first, then its parts in the order that people know.
fn yaml(model: &Value) -> Result<String, Failure> {
    let mut emitter = Emitter::new(Style::Pretty);
    let Some(object) = model.as_object() else {
        return Ok(String::new());
    };
    const FIRST: [&str; 7] = [
        "name", "services", "networks", "volumes", "secrets", "configs", "models",
    ];
    emitter.begin_map();
    let known = FIRST.iter().filter_map(|key| object.get_key_value(*key));
    let rest = object.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
    for (key, value) in known.chain(rest) {
        emitter.key(key);
        emit(&mut emitter, value);
    }
    emitter.end_map();
    Ok(emitter.finish()?)
}

fn emit(emitter: &mut Emitter, value: &Value) {
    match value {
        Value::Null => emitter.null(),
        Value::Bool(flag) => emitter.bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => emitter.int(number),
            None => emitter.float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => emitter.string(text),
        Value::Array(items) => {
            emitter.begin_list();
            for item in items {
                emit(emitter, item);
            }
            emitter.end_list();
        }
        Value::Object(object) => {
            emitter.begin_map();
            for (key, value) in object {
                emitter.key(key);
                emit(emitter, value);
            }
            emitter.end_map();
        }
    }
}
