//! `tug template`

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chart_release::render::{RenderReleaseError, look_into, render_apart};
use chart_render::{
    Capabilities, KubeVersion, Lookup, Output, ReadAhead, ReleaseFacts, RenderOptions, Rendered, Snapshot,
};

use super::block_on;
use super::explain::explain_rendering;
use crate::arguments::{ChartArgs, DryRunArg, FetchArgs, PostRenderArgs, ValuesArgs, load_installable_from};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Render a chart and print the manifests
#[derive(clap::Args)]
pub(crate) struct TemplateArgs {
    /// Name of the release [default: release-name] and chart: a folder, a .tgz file, REPO/NAME, oci://... or https://...
    #[arg(value_name = "NAME> <CHART", num_args = 1..=2, required = true)]
    name_and_chart: Vec<String>,
    /// Make up a name
    #[arg(short, long)]
    generate_name: bool,
    /// Only what these templates give: patterns of paths in the chart
    #[arg(short, long, value_name = "TEMPLATE")]
    show_only: Vec<String>,
    /// Print the chart's resource definitions too
    #[arg(long)]
    include_crds: bool,
    /// Without effect, as in Helm: what is not asked for is left out
    #[arg(long = "skip-crds", hide = true)]
    _skip_crds: bool,
    /// Leave tests out
    #[arg(long)]
    skip_tests: bool,
    /// Leave hooks out
    #[arg(long)]
    no_hooks: bool,
    /// Leave the contents of Secrets out
    #[arg(long)]
    hide_secret: bool,
    /// Write files into this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Add the release's name to the folder
    #[arg(long, requires = "output_dir")]
    release_name: bool,
    /// Render as for an upgrade
    #[arg(long)]
    is_upgrade: bool,
    /// Version of Kubernetes that templates see
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// API versions that templates see besides the usual ones
    #[arg(short, long, value_name = "GROUP/VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Answer `lookup` from the objects in this YAML file
    #[arg(long, value_name = "FILE")]
    lookup_from: Option<PathBuf>,
    /// With `server`, templates see what the cluster serves and what is in it
    #[arg(
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<DryRunArg>,
    #[command(flatten)]
    fetch: FetchArgs,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    chart: ChartArgs,
    #[command(flatten)]
    post_render: PostRenderArgs,
}

pub(super) fn run(arguments: &TemplateArgs, settings: &Settings) -> Result<(), Failure> {
    let (name, reference) = match (arguments.name_and_chart.as_slice(), arguments.generate_name) {
        ([_, _], true) => return Err(Failure::new("cannot set --generate-name and also specify a name")),
        ([reference], true) => {
            let name = chart_release::ReleaseName::generate(reference, settings.now());
            (
                name.map_err(|error| Failure::from_error(&error))?.to_string(),
                reference,
            )
        }
        ([reference], false) => ("release-name".to_owned(), reference),
        ([name, reference], false) => {
            let checked = name.parse::<chart_release::ReleaseName>();
            checked.map_err(|error| Failure::from_error(&error).prefixed("release name check failed: "))?;
            (name.clone(), reference)
        }
        _ => return Err(Failure::new("expected a chart")),
    };
    let mut options = RenderOptions {
        release: ReleaseFacts {
            name: name.clone(),
            namespace: settings.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            is_install: !arguments.is_upgrade,
            is_upgrade: arguments.is_upgrade,
            ..ReleaseFacts::default()
        },
        capabilities: capabilities(arguments)?,
        lookup: arguments.lookup_from.as_deref().map(snapshot).transpose()?,
        post_renderer: arguments.post_render.post_renderer(),
        ..arguments.chart.render_options(settings)
    };
    let ahead = Arc::new(ReadAhead::new(options.limits));
    let chart = load_installable_from(&arguments.fetch, reference, settings, Some(&ahead))?;
    options.read_ahead = Some(ahead);
    let values = arguments.values.read(settings)?;
    let online = arguments.dry_run == Some(DryRunArg::Server);
    let config = if online {
        Some(connection::choose(settings, Start::Always)?)
    } else {
        None
    };
    let rendered = match &config {
        None => chart_render::render(chart, values, &options).map_err(RenderReleaseError::from),
        Some(config) => block_on(async {
            let cluster = connection::connect(settings, config).await?;
            look_into(&cluster, &mut options).await?;
            // What is said explicitly is added to what the cluster says.
            let said = arguments.api_versions.iter().cloned();
            options.capabilities.api_versions.extend(said);
            Ok(render_apart(chart, values, options).await)
        })?,
    };
    let rendered = rendered.map_err(|error| explain_rendering(&error))?;
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
    let done = match &arguments.output_dir {
        None => settings.console.data(&output.text(&rendered)?),
        Some(folder) => {
            let folder = if arguments.release_name {
                folder.join(&name)
            } else {
                folder.clone()
            };
            write_files(&folder, &output, &rendered, settings)
        }
    };
    // The process ends now: giving its memory back piece by piece takes a tenth of the time of a small chart.
    std::mem::forget((rendered, output));
    done
}

fn capabilities(arguments: &TemplateArgs) -> Result<Capabilities, Failure> {
    let mut capabilities = Capabilities::default();
    if let Some(version) = &arguments.kube_version {
        capabilities.kube_version = KubeVersion::parse(version)?;
    }
    capabilities
        .api_versions
        .extend(arguments.api_versions.iter().cloned());
    Ok(capabilities)
}

fn snapshot(path: &Path) -> Result<Arc<dyn Lookup>, Failure> {
    let failed = || Failure::new(format!("cannot read objects from `{}`", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed().because_error(&error))?;
    let snapshot = Snapshot::parse(&text).map_err(|error| failed().because_error(&error))?;
    Ok(Arc::new(snapshot))
}

/// Writes each template's documents into a file of its own.
fn write_files(
    folder: &Path,
    output: &Output,
    rendered: &Rendered,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut written = BTreeSet::new();
    for (path, text) in output.files(rendered) {
        let target = folder.join(&path);
        let failed = |error: &std::io::Error| {
            Failure::new(format!("cannot write `{}`", target.display())).because_error(error)
        };
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(&error))?;
        }
        if written.insert(path) {
            fs::write(&target, &text).map_err(|error| failed(&error))?;
            settings.console.line(format!("wrote {}", target.display()))?;
        } else {
            let mut known = fs::read_to_string(&target).map_err(|error| failed(&error))?;
            known.push_str(&text);
            fs::write(&target, known).map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}
