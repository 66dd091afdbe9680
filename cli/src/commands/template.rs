//! `tug template`

use std::collections::BTreeSet;
use std::fs;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chart_render::{
    Capabilities, KubeVersion, Lookup, Output, ReleaseFacts, RenderError, RenderOptions, Rendered, Resolve,
    Snapshot, ensure_installable, render,
};

use crate::arguments::{ChartArgs, ValuesArgs, load_chart};
use crate::failure::Failure;
use crate::settings::Settings;

/// Render a chart and print the manifests
#[derive(clap::Args)]
pub(crate) struct TemplateArgs {
    /// Name of the release [default: release-name] and chart: a folder or a .tgz file
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
    /// Leave the chart's resource definitions out (the default)
    #[arg(long, hide = true)]
    skip_crds: bool,
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
    /// Let templates ask the domain name system
    #[arg(long)]
    enable_dns: bool,
    // Rendering asks nothing of a cluster, which is what scripts mean with it.
    #[arg(
        long,
        hide = true,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: Option<String>,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    chart: ChartArgs,
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
        ([name, reference], false) => (name.clone(), reference),
        _ => return Err(Failure::new("expected a chart")),
    };
    if let Some(place) = arguments
        .dry_run
        .as_deref()
        .filter(|place| !matches!(*place, "client" | "none"))
    {
        return Err(Failure::new(format!("--dry-run={place} is not supported: charts are rendered without a cluster"))
            .hint("`--lookup-from FILE` answers lookups, `--kube-version` and `--api-versions` say what the cluster can do")
            .hint("`tug install NAME CHART --dry-run=server` renders with a cluster"));
    }
    let options = RenderOptions {
        release: ReleaseFacts {
            name: name.clone(),
            namespace: settings.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            is_install: !arguments.is_upgrade,
            is_upgrade: arguments.is_upgrade,
            ..ReleaseFacts::default()
        },
        capabilities: capabilities(arguments)?,
        resolve: resolver(arguments.enable_dns),
        lookup: arguments.lookup_from.as_deref().map(snapshot).transpose()?,
        ..arguments.chart.render_options()
    };
    let chart = load_chart(reference, settings)?;
    ensure_installable(&chart)?;
    let values = arguments.values.read()?;
    let rendered = render(&chart, &values, &options).map_err(|error| explain(&error))?;
    for warning in &rendered.warnings.dependencies {
        settings.console.warn(warning.to_string());
    }
    let output = Output {
        include_crds: arguments.include_crds && !arguments.skip_crds,
        no_hooks: arguments.no_hooks,
        skip_tests: arguments.skip_tests,
        show_only: arguments.show_only.clone(),
        hide_secrets: arguments.hide_secret,
    };
    match &arguments.output_dir {
        None => settings.console.data(&output.text(&rendered)?),
        Some(folder) => {
            let folder = if arguments.release_name {
                folder.join(&name)
            } else {
                folder.clone()
            };
            write_files(&folder, &output, &rendered, settings)
        }
    }
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

fn resolver(enabled: bool) -> Option<Arc<dyn Resolve>> {
    if enabled {
        Some(Arc::new(SystemResolver))
    } else {
        None
    }
}

/// Asks the machine's resolver.
#[derive(Debug)]
struct SystemResolver;

impl Resolve for SystemResolver {
    fn address(&self, host: &str) -> Option<String> {
        let found = (host, 0).to_socket_addrs().ok()?.next()?;
        Some(found.ip().to_string())
    }
}

fn snapshot(path: &Path) -> Result<Arc<dyn Lookup>, Failure> {
    let failed = || Failure::new(format!("cannot read objects from `{}`", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed().because_error(&error))?;
    let snapshot = Snapshot::parse(&text).map_err(|error| failed().because_error(&error))?;
    Ok(Arc::new(snapshot))
}

/// Adds to an error of rendering the line of the template, and what to type next.
pub(super) fn explain(error: &RenderError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        RenderError::Template(fault) => match fault.place() {
            Some(place) if place.file != "gotpl" => {
                let snippet = place.snippet().replace('\n', "\n  ");
                failure.because(format!("{}:{}\n  {snippet}", place.file, place.line))
            }
            _ => failure,
        },
        RenderError::Schema(_) => failure.hint("`--skip-schema-validation` renders all the same"),
        RenderError::Manifests(fault) => match fault.line() {
            Some((number, line)) => failure.because(format!("line {number} of what it rendered: {line}")),
            None => failure,
        },
        _ => failure,
    }
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
