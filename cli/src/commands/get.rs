//! `tug get`: the parts of a release's record.

use std::collections::BTreeMap;

use chart_release::Release;
use chart_release::action::Get;
use serde::Serialize;
use serde_json::Value;

use super::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat, to_json, to_yaml};
use crate::release_text::{self, Parts};
use crate::settings::Settings;

/// Show the parts of a release's record
#[derive(clap::Args)]
pub(crate) struct GetArgs {
    #[command(subcommand)]
    part: Part,
}

#[derive(clap::Subcommand)]
enum Part {
    /// Show everything
    All(ReleaseArgs),
    /// Show the hooks
    Hooks(ReleaseArgs),
    /// Show the objects that are applied
    Manifest(ReleaseArgs),
    /// Show what is known of the release
    Metadata(PrintedArgs),
    /// Show the notes
    Notes(ReleaseArgs),
    /// Show the values
    Values(ValuesArgs),
}

/// Which revision.
#[derive(clap::Args)]
struct ReleaseArgs {
    /// Name of the release
    name: String,
    /// Revision to show [default: the last]
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
}

#[derive(clap::Args)]
struct PrintedArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
struct ValuesArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Show the defaults of the chart too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(arguments: &GetArgs, settings: &Settings) -> Result<(), Failure> {
    let console = &settings.console;
    match &arguments.part {
        Part::All(arguments) => {
            let parts = Parts {
                chart: true,
                values: true,
                manifest: true,
                ..Parts::default()
            };
            console.data(&release_text::text(&read(arguments, settings)?, &parts)?)
        }
        Part::Hooks(arguments) => console.data(&release_text::hooks(&read(arguments, settings)?)),
        Part::Manifest(arguments) => console.line(read(arguments, settings)?.manifest),
        Part::Notes(arguments) => {
            let release = read(arguments, settings)?;
            if release.info.notes.is_empty() {
                return Ok(());
            }
            console.line(format!("NOTES:\n{}", release.info.notes))
        }
        Part::Metadata(arguments) => {
            let metadata = metadata(&read(&arguments.release, settings)?);
            match arguments.output.output {
                OutputFormat::Table => console.data(&metadata_text(&metadata)),
                OutputFormat::Json => console.line(to_json(&metadata)?),
                OutputFormat::Yaml => console.data(&to_yaml(&metadata)?),
                OutputFormat::Name => console.line(&metadata.name),
            }
        }
        Part::Values(arguments) => values(arguments, settings),
    }
}

fn read(arguments: &ReleaseArgs, settings: &Settings) -> Result<Release, Failure> {
    let action = Get {
        name: arguments.name.clone(),
        revision: arguments.revision,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
        outcome.map_err(|error| explain(&error))
    })
}

fn values(arguments: &ValuesArgs, settings: &Settings) -> Result<(), Failure> {
    let release = read(&arguments.release, settings)?;
    let console = &settings.console;
    let (heading, yaml) = if arguments.all {
        ("COMPUTED VALUES:", release_text::computed_yaml(&release)?)
    } else {
        ("USER-SUPPLIED VALUES:", release_text::config_yaml(&release)?)
    };
    match arguments.output.output {
        OutputFormat::Table => console.data(&format!("{heading}\n{yaml}")),
        OutputFormat::Yaml => console.data(&yaml),
        OutputFormat::Name => Err(Failure::new("values have no names").hint("`-o table|json|yaml`")),
        OutputFormat::Json if arguments.all => {
            let computed = chart_release::values::computed(&release);
            console.line(to_json(&chart_release::json::from_map(&computed))?)
        }
        // As in Helm, no values at all are `null`.
        OutputFormat::Json if release.config.is_empty() => console.line("null"),
        OutputFormat::Json => console.line(to_json(&release.config)?),
    }
}

/// What is known of a release, in Helm's names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    chart: String,
    version: String,
    app_version: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<Value>,
    namespace: String,
    revision: u32,
    status: String,
    deployed_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    apply_method: String,
    #[serde(skip)]
    shown_apply_method: String,
}

fn metadata(release: &Release) -> Metadata {
    let chart = release.chart.clone().unwrap_or_default();
    let part = |name: &str| chart.metadata().and_then(|metadata| metadata.get(name));
    let annotations = part("annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let method = serde_json::to_value(&release.apply_method).unwrap_or_default();
    Metadata {
        name: release.name.clone(),
        chart: chart.name().to_owned(),
        version: chart.version().to_owned(),
        app_version: release.app_version().to_owned(),
        annotations: annotations
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        labels: release.stored_labels.clone(),
        dependencies: part("dependencies")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        namespace: release.namespace.clone(),
        revision: release.revision,
        status: release.info.status.to_string(),
        deployed_at: release
            .info
            .last_deployed
            .map(|time| time.to_seconds())
            .unwrap_or_default(),
        apply_method: method.as_str().unwrap_or_default().to_owned(),
        shown_apply_method: release.apply_method.describe().to_owned(),
    }
}

fn metadata_text(metadata: &Metadata) -> String {
    let pairs = |map: &BTreeMap<String, String>| {
        let texts: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
        texts.join(",")
    };
    let dependencies: Vec<&str> = metadata
        .dependencies
        .iter()
        .filter_map(|dependency| dependency["name"].as_str())
        .collect();
    let lines = [
        ("NAME", metadata.name.clone()),
        ("CHART", metadata.chart.clone()),
        ("VERSION", metadata.version.clone()),
        ("APP_VERSION", metadata.app_version.clone()),
        ("ANNOTATIONS", pairs(&metadata.annotations)),
        ("LABELS", pairs(&metadata.labels)),
        ("DEPENDENCIES", dependencies.join(",")),
        ("NAMESPACE", metadata.namespace.clone()),
        ("REVISION", metadata.revision.to_string()),
        ("STATUS", metadata.status.clone()),
        ("DEPLOYED_AT", metadata.deployed_at.clone()),
        ("APPLY_METHOD", metadata.shown_apply_method.clone()),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}
