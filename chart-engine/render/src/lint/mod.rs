//! Checking a chart before somebody installs it.

mod manifests;
mod metadata;
mod removed;

use std::fmt;

use chart_model::{Chart, File, Limits, LoadChartError};
use chart_values::coalesce::{Nulls, coalesce};
use chart_values::yaml::values_from_yaml_with;
use chart_values::{Map, Value};

use crate::error::RenderError;
use crate::options::{ReleaseFacts, RenderOptions};
use crate::render::render_what_can_be;
use crate::schema::{Fault, validate};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// The chart works, but should be changed.
    Warning,
    /// The chart does not work.
    Error,
}

/// Something to change in a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder, from the chart's folder on; empty for the chart itself.
    pub path: String,
    /// The line, where it is known.
    pub line: Option<usize>,
    /// What to change.
    pub message: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "INFO",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.severity, self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Finding {
    fn new(severity: Severity, path: &str, message: impl Into<String>) -> Finding {
        Finding {
            severity,
            path: path.to_owned(),
            line: None,
            message: message.into(),
        }
    }

    fn at(mut self, line: Option<usize>) -> Finding {
        self.line = line;
        self
    }
}

/// Something wrong with an object that a template gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFault {
    /// How bad it is.
    pub severity: Severity,
    /// The field, as `spec.containers[0].image`; empty for the object itself.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// Finds what is wrong with an object, by what its kind says.
pub type Judge<'j> = &'j dyn Fn(&Map) -> Vec<ObjectFault>;

/// Finds what is wrong with a chart, given its files as [`Chart::read_files`] reads them, and a user's values.
///
/// Everything is looked at, also when the chart cannot be loaded, and all templates, also when some of them fail. In the
/// templates `required` and `fail` do not count. `judge` knows more of objects than this crate does.
pub fn lint(
    files: Vec<File>,
    values: &Map,
    options: &RenderOptions,
    limits: Limits,
    judge: Judge<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    metadata::check(&files, &mut findings);
    check_values(&files, limits, &mut findings);
    let text = |name: &str| {
        files
            .iter()
            .find(|file| file.name == name)
            .map(|file| file.text().into_owned())
    };
    let values_text = text("values.yaml");
    match Chart::from_files_within(files, limits) {
        Ok(chart) => {
            check_schema(&chart, values, values_text.as_deref(), options, &mut findings);
            check_dependencies(&chart, &mut findings);
            check_templates(&chart, values, options, judge, &mut findings);
        }
        Err(error) => {
            let finding = of_loading(&error);
            let known = |known: &Finding| known.path == finding.path && known.line == finding.line;
            if !findings.iter().any(known) {
                findings.push(finding);
            }
        }
    }
    findings
}

fn of_loading(error: &LoadChartError) -> Finding {
    let line = match error {
        LoadChartError::Yaml { source, .. } => source.line,
        _ => None,
    };
    let path = match error {
        LoadChartError::Yaml { file, .. } | LoadChartError::Metadata { file, .. } => file,
        LoadChartError::Validation(_) | LoadChartError::NoChartFile => "Chart.yaml",
        _ => "",
    };
    Finding::new(Severity::Error, path, format!("unable to load chart\n\t{error}")).at(line)
}

fn check_values(files: &[File], limits: Limits, findings: &mut Vec<Finding>) {
    const PATH: &str = "values.yaml";
    match files.iter().find(|file| file.name == PATH) {
        None => findings.push(Finding::new(Severity::Info, PATH, "file does not exist")),
        Some(file) => {
            if let Err(error) = values_from_yaml_with(&file.text(), limits.yaml) {
                let message = format!("unable to parse YAML: {error}");
                findings.push(Finding::new(Severity::Error, PATH, message).at(error.line));
            }
        }
    }
}

/// Each complaint of the schemas is a finding of its own, at the line of `values.yaml` where the value stands, if it
/// stands there.
fn check_schema(
    chart: &Chart,
    values: &Map,
    values_text: Option<&str>,
    options: &RenderOptions,
    findings: &mut Vec<Finding>,
) {
    if options.skip_schema_validation {
        return;
    }
    let mut chart = chart.clone();
    let mut prepare = || {
        chart.process_dependencies(values)?;
        coalesce(&chart.scope(), values.clone(), Nulls::Remove, &mut Vec::new())
    };
    let coalesced = match prepare() {
        Ok(coalesced) => coalesced,
        Err(error) => return findings.push(Finding::new(Severity::Error, "values.yaml", error.to_string())),
    };
    let Err(error) = validate(&chart, &coalesced) else {
        return;
    };
    for fault in error.charts {
        let prefix = if fault.chart == chart.name() {
            String::new()
        } else {
            format!("{}: ", fault.chart)
        };
        match fault.fault {
            Fault::Schema(message) => {
                let message = format!("{prefix}{message}");
                findings.push(Finding::new(Severity::Error, "values.schema.json", message));
            }
            Fault::NotATable(found) => {
                let message = format!("{prefix}expected a table, got {found}");
                findings.push(Finding::new(Severity::Error, "values.yaml", message));
            }
            Fault::Values(complaints) => {
                for complaint in complaints {
                    let inside = (fault.chart != chart.name()).then_some(fault.chart.as_str());
                    let path: Vec<&str> = inside
                        .into_iter()
                        .chain(complaint.path.iter().map(String::as_str))
                        .collect();
                    let line = values_text.and_then(|text| chart_values::yaml::locate(text, &path));
                    let finding =
                        Finding::new(Severity::Error, "values.yaml", format!("{prefix}{complaint}"));
                    findings.push(finding.at(line.map(|(line, _)| line)));
                }
            }
        }
    }
}

fn check_dependencies(chart: &Chart, findings: &mut Vec<Finding>) {
    let wanted = &chart.metadata.dependencies;
    let unknown: Vec<&str> = chart
        .dependencies
        .iter()
        .map(Chart::name)
        .filter(|name| !wanted.iter().any(|dependency| dependency.name == *name))
        .collect();
    if !unknown.is_empty() {
        let message = format!(
            "chart metadata is missing these dependencies: {}",
            unknown.join(",")
        );
        findings.push(Finding::new(Severity::Error, "Chart.yaml", message));
    }
    let missing = chart.missing_dependencies();
    if !missing.is_empty() {
        let message = format!(
            "chart directory is missing these dependencies: {}",
            missing.join(",")
        );
        findings.push(Finding::new(Severity::Warning, "charts/", message));
    }
}

fn check_templates(
    chart: &Chart,
    values: &Map,
    options: &RenderOptions,
    judge: Judge<'_>,
    findings: &mut Vec<Finding>,
) {
    for file in &chart.templates {
        manifests::check_ending(&file.name, findings);
    }
    let options = RenderOptions {
        release: ReleaseFacts {
            name: "test-release".to_owned(),
            ..options.release.clone()
        },
        skip_schema_validation: true,
        lint: true,
        ..options.clone()
    };
    let (rendered, faults) = render_what_can_be(chart.clone(), values.clone(), &options);
    for fault in &faults {
        let finding = of_rendering(fault, chart.name());
        // A fault in a partial shows in every template that includes it.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    let Some(rendered) = rendered else { return };
    let own = format!("{}/", chart.name());
    let inner = format!("{}/charts/", chart.name());
    for (path, text) in &rendered.files {
        if let Some(path) = path.strip_prefix(&own).filter(|_| !path.starts_with(&inner)) {
            let source = chart.templates.iter().find(|file| file.name == path);
            let source = source.map(chart_model::File::text).unwrap_or_default();
            manifests::check(path, text, &source, &options.capabilities, judge, findings);
        }
    }
}

fn of_rendering(error: &RenderError, chart: &str) -> Finding {
    let (path, line) = match error {
        RenderError::Template(fault) => fault
            .place()
            .map(|place| (place.file.as_str(), Some(place.line)))
            .unzip(),
        RenderError::Jinja(fault) => fault
            .place()
            .map(|place| (place.file.as_str(), Some(place.line)))
            .unzip(),
        _ => (None, None),
    };
    let path = path.map_or("templates/", |path| {
        path.strip_prefix(&format!("{chart}/")).unwrap_or(path)
    });
    Finding::new(Severity::Error, path, error.to_string()).at(line.flatten())
}

fn is_text(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::String(_)))
}
