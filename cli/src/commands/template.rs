//! `tug template`

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chart_release::ReleaseName;
use chart_release::render::{RenderReleaseError, look_into, render_apart};
use chart_render::{KubeVersion, Output, ReleaseFacts, RenderOptions, Rendered};

use super::block_on;
use crate::arguments::{ChartArgs, DryRunArg, ValuesArgs, load_installable_chart};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Render a chart and print what would be installed
#[derive(clap::Args)]
#[command(override_usage = "tug template [OPTIONS] [NAME] <CHART>")]
pub(crate) struct TemplateArgs {
    /// Name of the release [default: release-name] and chart: a folder or a .tgz file
    #[arg(value_name = "NAME> <CHART", num_args = 1..=2, required = true)]
    name_and_chart: Vec<String>,
    /// API version that the cluster is taken to serve, as `apps/v1` or `apps/v1/Deployment`; may be repeated
    #[arg(short, long, value_name = "VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Print the chart's resource definitions too
    #[arg(long)]
    include_crds: bool,
    /// Render as for an upgrade
    #[arg(long)]
    is_upgrade: bool,
    /// Version of Kubernetes that the cluster is taken to have
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// Print no hooks
    #[arg(long)]
    no_hooks: bool,
    /// Print no tests
    #[arg(long)]
    skip_tests: bool,
    /// Print only what comes from this template; may be repeated
    #[arg(short, long, value_name = "PATH")]
    show_only: Vec<String>,
    /// Write files into this folder instead
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// With --output-dir, put the files into a folder named as the release
    #[arg(long)]
    release_name: bool,
    /// Make up a name
    #[arg(short, long)]
    generate_name: bool,
    /// With `server`, templates see the cluster
    #[arg(
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<DryRunArg>,
    /// Leave Secrets out
    #[arg(long)]
    hide_secret: bool,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    chart: ChartArgs,
}

/// What Helm adds where a chart broke while it was rendered.
const DEBUG_HINT: &str = "\n\nUse --debug flag to render out invalid YAML";

pub(super) fn run(arguments: &TemplateArgs, settings: &Settings) -> Result<(), Failure> {
    let (name, reference) = match (arguments.name_and_chart.as_slice(), arguments.generate_name) {
        ([_, _], true) => return Err(Failure::new("cannot set --generate-name and also specify a name")),
        ([name, reference], false) => {
            name.parse::<ReleaseName>()
                .map_err(|error| Failure::from_error(&error).prefixed("release name check failed: "))?;
            (name.clone(), reference)
        }
        ([reference], true) => (
            ReleaseName::generate(reference, settings.now())?.to_string(),
            reference,
        ),
        ([reference], false) => (ReleaseFacts::default().name, reference),
        _ => unreachable!("clap takes one or two"),
    };
    let chart = load_installable_chart(reference, settings)?;
    let values = arguments.values.read()?;
    let mut options = options(arguments, name.clone(), settings)?;
    let online = arguments.dry_run == Some(DryRunArg::Server);
    let config = if online {
        Some(connection::choose(settings, Start::Always)?)
    } else {
        None
    };
    let rendered = block_on(async {
        if let Some(config) = &config {
            let cluster = connection::connect(settings, config).await?;
            look_into(&cluster, &mut options).await?;
            // What is said explicitly is added to what the cluster says.
            options
                .capabilities
                .api_versions
                .extend(arguments.api_versions.clone());
        }
        render_apart(chart, values, options)
            .await
            .map_err(|error| explain(&error))
    })?;
    for warning in &rendered.warnings.values {
        settings.console.warn(warning.to_string());
    }
    for warning in &rendered.warnings.dependencies {
        settings.console.warn(warning.to_string());
    }
    let output = Output {
        include_crds: arguments.include_crds,
        no_hooks: arguments.no_hooks,
        skip_tests: arguments.skip_tests,
        show_only: arguments.show_only.clone(),
        hide_secrets: arguments.hide_secret,
    };
    match &arguments.output_dir {
        None => settings.console.data(&output.text(&rendered)?),
        Some(dir) => {
            let dir = if arguments.release_name {
                dir.join(&name)
            } else {
                dir.clone()
            };
            write_files(&dir, &output, &rendered, settings)
        }
    }
}

fn options(arguments: &TemplateArgs, name: String, settings: &Settings) -> Result<RenderOptions, Failure> {
    let chart = arguments.chart.options();
    let mut options = RenderOptions {
        release: ReleaseFacts {
            name,
            namespace: settings.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            is_install: !arguments.is_upgrade,
            is_upgrade: arguments.is_upgrade,
            ..ReleaseFacts::default()
        },
        skip_schema_validation: chart.skip_schema_validation,
        subchart_notes: chart.subchart_notes,
        ..RenderOptions::default()
    };
    if let Some(version) = &arguments.kube_version {
        options.capabilities.kube_version = KubeVersion::parse(version)?;
    }
    options
        .capabilities
        .api_versions
        .extend(arguments.api_versions.clone());
    Ok(options)
}

fn explain(error: &RenderReleaseError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        RenderReleaseError::Render(render) if render.is_of_rendering() => failure.suffixed(DEBUG_HINT),
        _ => failure,
    }
}

/// Writes each template's output to a file of its own path, and says so.
fn write_files(dir: &Path, output: &Output, rendered: &Rendered, settings: &Settings) -> Result<(), Failure> {
    let mut documents: Vec<(&str, &str)> = Vec::new();
    if output.include_crds {
        documents.extend(
            rendered
                .crds
                .iter()
                .map(|crd| (crd.path.as_str(), crd.content.as_str())),
        );
    }
    let manifests = rendered.manifests.iter();
    documents.extend(manifests.map(|manifest| (manifest.path.as_str(), manifest.content.as_str())));
    if !output.no_hooks {
        let hooks = rendered
            .hooks
            .iter()
            .filter(|hook| !(output.skip_tests && hook.is_test()));
        documents.extend(hooks.map(|hook| (hook.path.as_str(), hook.manifest.as_str())));
    }
    let mut written = BTreeSet::new();
    for (path, content) in documents {
        let file = dir.join(path);
        let again = !written.insert(path);
        append(&file, &format!("---\n# Source: {path}\n{content}\n"), again).map_err(|error| {
            Failure::new(format!("cannot write `{}`", file.display())).because_error(&error)
        })?;
        if !again {
            settings.console.line(format!("wrote {}", file.display()))?;
        }
    }
    Ok(())
}

fn append(file: &Path, text: &str, again: bool) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(again).truncate(!again);
    options.open(file)?.write_all(text.as_bytes())
}
