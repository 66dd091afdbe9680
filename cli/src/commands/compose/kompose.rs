//! `tug convert`: conversion with Kompose's flags.

use std::path::PathBuf;

use compose_convert::chart::{self, ChartOptions, Dialect};
use compose_convert::{BindMounts, Controller, Options, VolumeKind};

use super::convert::{convert, documents, is_document, object_files, write, write_files};
use super::project::ProjectArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// Convert a Compose file, with the flags of `kompose convert`
#[derive(clap::Args)]
pub(crate) struct KomposeArgs {
    /// Compose file, `-` is stdin; may be repeated
    #[arg(short, long, value_name = "FILE")]
    file: Vec<String>,
    /// Write there: a file, or a folder
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Print to stdout
    #[arg(long, conflicts_with = "out")]
    stdout: bool,
    /// Write JSON
    #[arg(short, long)]
    json: bool,
    /// Spaces to indent JSON by
    #[arg(long, value_name = "N", default_value_t = 2)]
    indent: usize,
    /// Write a chart
    #[arg(short, long)]
    chart: bool,
    /// What services become
    #[arg(long, value_name = "KIND")]
    controller: Option<ControllerArg>,
    /// Pods of each service that does not say how many
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// Profile to enable; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    profile: Vec<String>,
    /// Leave variables as they are written
    #[arg(long)]
    no_interpolate: bool,
    /// What volumes become
    #[arg(long, value_name = "KIND", default_value = "persistentVolumeClaim")]
    volumes: VolumesArg,
    /// Size of volumes that do not say how large they are
    #[arg(long, value_name = "SIZE")]
    pvc_request_size: Option<String>,
    /// Make policies even where there is one network only
    #[arg(long)]
    generate_network_policies: bool,
    /// Say nothing of what is not honoured
    #[arg(long, alias = "suppress-warning")]
    suppress_warnings: bool,
    /// Make errors of warnings
    #[arg(long)]
    error_on_warning: bool,
    /// Only `kubernetes`
    #[arg(long, value_name = "NAME", default_value = "kubernetes")]
    provider: String,
    /// Only `none`: images are built by other means
    #[arg(long, value_name = "HOW", default_value = "none")]
    build: String,
    // Kompose's flags that say what is so anyway, or nothing.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    with_kompose_annotation: Option<Option<bool>>,
    #[arg(long, hide = true)]
    secrets_as_files: bool,
    #[arg(short, long, hide = true)]
    verbose: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    push_image: Option<Option<bool>>,
    #[arg(long, hide = true, value_name = "REGISTRY")]
    push_image_registry: Option<String>,
    #[arg(long, hide = true, value_name = "MODE")]
    service_group_mode: Option<String>,
    #[arg(long, hide = true, value_name = "NAME")]
    service_group_name: Option<String>,
    #[arg(short, long, hide = true)]
    yaml: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "lower")]
enum ControllerArg {
    Deployment,
    DaemonSet,
    StatefulSet,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "camelCase")]
enum VolumesArg {
    PersistentVolumeClaim,
    EmptyDir,
    HostPath,
    ConfigMap,
}

impl KomposeArgs {
    fn options(&self, settings: &Settings) -> Options {
        let (bind_mounts, volumes) = match self.volumes {
            VolumesArg::PersistentVolumeClaim | VolumesArg::ConfigMap => {
                (BindMounts::Auto, VolumeKind::Claim)
            }
            VolumesArg::EmptyDir => (BindMounts::EmptyDir, VolumeKind::EmptyDir),
            VolumesArg::HostPath => (BindMounts::HostPath, VolumeKind::Claim),
        };
        Options {
            namespace: settings.namespace.clone(),
            volume_size: self.pvc_request_size.clone(),
            bind_mounts,
            volumes,
            controller: self.controller.map(|controller| match controller {
                ControllerArg::Deployment => Controller::Deployment,
                ControllerArg::DaemonSet => Controller::DaemonSet,
                ControllerArg::StatefulSet => Controller::StatefulSet,
            }),
            replicas: self.replicas,
            network_policies: self.generate_network_policies,
            ..Options::default()
        }
    }

    /// Refuses what cannot be done, rather than doing something else.
    fn check(&self) -> Result<(), Failure> {
        if self.provider != "kubernetes" {
            return Err(
                Failure::new(format!("the provider `{}` is not supported", self.provider))
                    .because("only Kubernetes is"),
            );
        }
        if self.build != "none"
            || matches!(self.push_image, Some(None | Some(true)))
            || self.push_image_registry.is_some()
        {
            return Err(Failure::new("images are not built or pushed here")
                .hint("`docker compose build --push`, then `tug convert`"));
        }
        if self.service_group_mode.is_some() || self.service_group_name.is_some() {
            return Err(Failure::new("services are not grouped by flags")
                .because("`network_mode: service:NAME` in the Compose file puts services into one pod"));
        }
        Ok(())
    }
}

pub(crate) fn run(arguments: &KomposeArgs, settings: &Settings) -> Result<(), Failure> {
    arguments.check()?;
    let mut project = ProjectArgs::default();
    project.file.clone_from(&arguments.file);
    project.profile.clone_from(&arguments.profile);
    let mut load_options = project.options(settings)?;
    load_options.no_interpolate = arguments.no_interpolate;
    let project = project.load(&load_options, settings)?;
    let options = arguments.options(settings);
    let conversion = if arguments.suppress_warnings && !arguments.error_on_warning {
        compose_convert::convert(&project, &compose_convert::DiskSources, &options)
    } else {
        convert(&project, &options, arguments.error_on_warning, settings)?
    };
    if arguments.chart {
        let options = ChartOptions {
            name: conversion.instance.clone(),
            version: "0.0.1".to_owned(),
            dialect: Dialect::Go,
            with_secrets: true,
        };
        let folder = arguments
            .out
            .clone()
            .unwrap_or_else(|| conversion.instance.clone().into());
        write_files(&folder, chart::files(&conversion, &options))?;
        settings
            .console
            .say(format!("chart created in {:?}", folder.display().to_string()));
        return Ok(());
    }
    let (as_json, indent) = (arguments.json, arguments.indent);
    match &arguments.out {
        None if arguments.stdout => settings.console.data(&documents(&conversion, as_json, indent)?),
        Some(path) if is_document(path) => write(path, &documents(&conversion, as_json, indent)?),
        folder => {
            let folder = folder.clone().unwrap_or_default();
            let files = object_files(&conversion, as_json, indent)?;
            for (name, _) in &files {
                settings.console.say(format!(
                    "file {:?} created",
                    folder.join(name).display().to_string()
                ));
            }
            write_files(&folder, files)
        }
    }
}
