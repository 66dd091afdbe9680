//! `tug lint`

use std::path::Path;

use chart_model::Chart;
use chart_render::{Finding, KubeVersion, RenderOptions, Severity, lint};
use chart_values::Map;

use crate::arguments::{ChartArgs, FetchArgs, ValuesArgs};
use crate::failure::Failure;
use crate::judge::ApiJudge;
use crate::settings::Settings;

/// Check charts: their files, values and templates
#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// Folders, .tgz files, REPO/NAME, oci://... or https://...
    #[arg(value_name = "CHART", default_value = ".")]
    charts: Vec<String>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print warnings and errors only
    #[arg(long)]
    quiet: bool,
    /// Check subcharts too
    #[arg(long)]
    with_subcharts: bool,
    /// Version of Kubernetes to check against
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    #[command(flatten)]
    fetch: FetchArgs,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    chart: ChartArgs,
}

pub(super) fn run(arguments: &LintArgs, settings: &Settings) -> Result<(), Failure> {
    let mut options = arguments.chart.render_options(settings);
    if let Some(namespace) = &settings.namespace {
        options.release.namespace.clone_from(namespace);
    }
    if let Some(version) = &arguments.kube_version {
        options.capabilities.kube_version = KubeVersion::parse(version)?;
    }
    let values = arguments.values.read(settings)?;
    let fatal = if arguments.strict {
        Severity::Warning
    } else {
        Severity::Error
    };
    let shown = if arguments.quiet {
        Severity::Warning
    } else {
        Severity::Info
    };
    let (mut checked, mut failed) = (0, 0);
    let mut text = String::new();
    for chart in &arguments.charts {
        let fetched = arguments.fetch.archive_on_disk(chart, settings)?;
        let on_disk = fetched
            .as_ref()
            .map_or(chart.as_str(), |fetched| fetched.as_str());
        for (path, outcome) in check(on_disk, &values, &options, arguments.with_subcharts, settings) {
            // The archive of a chart from elsewhere is shown as the chart was named.
            let path = if path == on_disk { chart.clone() } else { path };
            checked += 1;
            let mut lines = Vec::new();
            match outcome {
                Ok(findings) => {
                    failed += usize::from(findings.iter().any(|finding| finding.severity >= fatal));
                    let shown = findings.iter().filter(|finding| finding.severity >= shown);
                    lines.extend(shown.map(ToString::to_string));
                }
                Err(reason) => {
                    failed += 1;
                    lines.push(format!("Error {reason}"));
                }
            }
            if !arguments.quiet || !lines.is_empty() {
                text += &format!("==> Linting {path}\n");
                text.extend(lines.into_iter().map(|line| line + "\n"));
                text.push('\n');
            }
        }
    }
    let summary = format!("{checked} chart(s) linted, {failed} chart(s) failed");
    if failed > 0 {
        settings.console.data(&text)?;
        return Err(Failure::new(summary));
    }
    if !arguments.quiet {
        text += &format!("{summary}\n");
    }
    settings.console.data(&text)
}

type Outcome = Result<Vec<Finding>, String>;

/// What is found in a chart, and in the folders of its subcharts if they are wanted.
fn check(
    reference: &str,
    values: &Map,
    options: &RenderOptions,
    subcharts: bool,
    settings: &Settings,
) -> Vec<(String, Outcome)> {
    let path = Path::new(reference);
    let files = match Chart::read_files(path, settings.limits.chart) {
        Ok(files) if files.iter().any(|file| file.name == "Chart.yaml") => files,
        Ok(_) => {
            let reason = format!(
                "unable to check Chart.yaml file in chart: stat {reference}/Chart.yaml: no such file or directory"
            );
            return vec![(reference.to_owned(), Err(reason))];
        }
        Err(error) => return vec![(reference.to_owned(), Err(error.to_string()))],
    };
    let mut outcomes = Vec::new();
    if subcharts && path.is_dir() {
        let inner = std::fs::read_dir(path.join("charts"))
            .into_iter()
            .flatten()
            .flatten();
        let mut folders: Vec<_> = inner
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        for folder in folders {
            outcomes.extend(check(
                &folder.to_string_lossy(),
                &Map::new(),
                options,
                true,
                settings,
            ));
        }
    }
    let api = ApiJudge::new(&files);
    let judge = |object: &Map| api.faults(object);
    let found = lint(files, values, options, settings.limits.chart, &judge);
    outcomes.insert(0, (reference.to_owned(), Ok(found)));
    outcomes
}
