//! `tug compose convert`

use std::fs;
use std::path::{Path, PathBuf};

use compose_convert::chart::{self, ChartOptions, Dialect};
use compose_convert::{BindMounts, Conversion, DiskSources, Options, VolumeKind, Warning, to_yaml};
use compose_load::Project;

use super::place::load;
use super::project::ProjectArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// Convert a project to Kubernetes objects, or to a chart
#[derive(clap::Args)]
pub(crate) struct ConvertArgs {
    /// Only these services, and what they depend on
    services: Vec<String>,
    #[command(flatten)]
    result: ResultArgs,
}

/// What a project is converted to, and where that is written.
#[derive(clap::Args)]
pub(super) struct ResultArgs {
    /// Write there: a file if it ends in .yaml, .yml or .json, else a folder with a file for each object
    #[arg(
        short,
        long = "out",
        alias = "output",
        value_name = "PATH",
        conflicts_with = "chart"
    )]
    out: Option<PathBuf>,
    /// Write a chart into this folder
    #[arg(long, value_name = "DIR")]
    chart: Option<PathBuf>,
    /// With --chart, write templates in Jinja, which only tug reads
    #[arg(long, requires = "chart")]
    jinja: bool,
    /// With --chart, make the content of secrets a default value
    #[arg(long, requires = "chart")]
    with_secrets: bool,
    /// With --chart, its version
    #[arg(long, value_name = "VERSION", default_value = "0.1.0")]
    chart_version: String,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Make errors of warnings
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    objects: ObjectArgs,
}

/// What objects are made.
#[derive(clap::Args)]
#[command(next_help_heading = "Objects")]
struct ObjectArgs {
    /// What folders and files of the host become
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    bind: BindArg,
    /// What named volumes become
    #[arg(long, value_name = "WHAT", default_value = "claim")]
    volumes: VolumeArg,
    /// Size of volumes that do not say how large they are [default: 1Gi]
    #[arg(long, value_name = "SIZE")]
    volume_size: Option<String>,
    /// Make policies even where there is one network only
    #[arg(long)]
    network_policies: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum BindArg {
    /// Small content of the project a ConfigMap, what is empty a claim, the rest a path of the host
    Auto,
    /// A path of the host
    HostPath,
    /// A claim, empty at first
    Claim,
    /// An empty folder as old as its pod
    EmptyDir,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum VolumeArg {
    /// A claim
    Claim,
    /// An empty folder as old as its pod
    EmptyDir,
}

impl ObjectArgs {
    fn options(&self, settings: &Settings) -> Options {
        Options {
            namespace: settings.namespace.clone(),
            volume_size: self.volume_size.clone(),
            bind_mounts: match self.bind {
                BindArg::Auto => BindMounts::Auto,
                BindArg::HostPath => BindMounts::HostPath,
                BindArg::Claim => BindMounts::Claim,
                BindArg::EmptyDir => BindMounts::EmptyDir,
            },
            volumes: match self.volumes {
                VolumeArg::Claim => VolumeKind::Claim,
                VolumeArg::EmptyDir => VolumeKind::EmptyDir,
            },
            network_policies: self.network_policies,
            ..Options::default()
        }
    }
}

pub(super) fn run(
    arguments: &ConvertArgs,
    project: &ProjectArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    let project = load(project, &arguments.services, settings)?;
    arguments.result.write(&project, false, settings)
}

impl ResultArgs {
    /// Converts a project, with the defaults of Swarm if it is one of its stacks, and writes what it becomes.
    pub(super) fn write(&self, project: &Project, swarm: bool, settings: &Settings) -> Result<(), Failure> {
        let options = Options {
            swarm,
            ..self.objects.options(settings)
        };
        let conversion = convert(project, &options, self.strict, settings)?;
        if let Some(folder) = &self.chart {
            let options = ChartOptions {
                name: conversion.instance.clone(),
                version: self.chart_version.clone(),
                dialect: if self.jinja { Dialect::Jinja } else { Dialect::Go },
                with_secrets: self.with_secrets,
            };
            return write_files(folder, chart::files(&conversion, &options));
        }
        match &self.out {
            None => settings.console.data(&documents(&conversion, self.json, 2)?),
            Some(path) if is_document(path) => {
                let as_json = self.json || path.extension().is_some_and(|ending| ending == "json");
                write(path, &documents(&conversion, as_json, 2)?)
            }
            Some(folder) => write_files(folder, object_files(&conversion, self.json, 2)?),
        }
    }
}

/// Converts, and says what is not honoured; strictly, that is a failure.
pub(super) fn convert(
    project: &Project,
    options: &Options,
    strict: bool,
    settings: &Settings,
) -> Result<Conversion, Failure> {
    let conversion = compose_convert::convert(project, &DiskSources, options);
    if strict && !conversion.warnings.is_empty() {
        let count = conversion.warnings.len();
        let failure = Failure::new(format!("{count} attributes are not honoured as they are written"));
        return Err(conversion
            .warnings
            .iter()
            .fold(failure, |failure, warning| failure.because(warning.to_string())));
    }
    warn(&conversion.warnings, settings);
    Ok(conversion)
}

pub(super) fn warn(warnings: &[Warning], settings: &Settings) {
    for warning in warnings {
        settings.console.warn(warning.to_string());
    }
}

/// Whether a path is meant for one file of all objects.
pub(super) fn is_document(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("yaml" | "yml" | "json")) && !path.is_dir()
}

/// All objects in one text: YAML documents, or one JSON list.
pub(super) fn documents(conversion: &Conversion, as_json: bool, indent: usize) -> Result<String, Failure> {
    if as_json {
        let items: Vec<_> = conversion.objects.iter().map(|object| &object.value).collect();
        return json(
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}),
            indent,
        );
    }
    let documents = conversion
        .objects
        .iter()
        .map(|object| format!("---\n{}", to_yaml(&object.value)));
    Ok(documents.collect())
}

/// A file for each object.
pub(super) fn object_files(
    conversion: &Conversion,
    as_json: bool,
    indent: usize,
) -> Result<Vec<(String, String)>, Failure> {
    let ending = if as_json { "json" } else { "yaml" };
    conversion
        .objects
        .iter()
        .map(|object| {
            let text = if as_json {
                json(&object.value, indent)?
            } else {
                to_yaml(&object.value)
            };
            Ok((format!("{}.{ending}", object.file_stem()), text))
        })
        .collect()
}

fn json(value: &serde_json::Value, indent: usize) -> Result<String, Failure> {
    use serde::Serialize as _;
    let spaces = " ".repeat(indent);
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| Failure::new("cannot write JSON").because_error(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}

/// Writes files below a folder, which is made where it is missing.
pub(super) fn write_files(folder: &Path, files: Vec<(String, String)>) -> Result<(), Failure> {
    for (name, content) in files {
        write(&folder.join(name), &content)?;
    }
    Ok(())
}

pub(super) fn write(path: &Path, content: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(format!("cannot write `{}`", path.display())).because_error(&error)
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    fs::write(path, content).map_err(cannot)
}
