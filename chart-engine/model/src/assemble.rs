//! From a chart's files to the chart.

use std::collections::BTreeMap;

use chart_values::Value;
use chart_values::yaml::{Limits as YamlLimits, from_yaml_with, values_from_yaml_with};

use crate::archive::{likely_bytes, unpack};
use crate::chart::{Chart, File, Seen};
use crate::error::LoadChartError;
use crate::limits::Limits;
use crate::metadata::{Lock, Metadata};

/// What is left of the limits while a chart and the charts in it are read.
pub(crate) struct Budget<'s> {
    pub(crate) limits: Limits,
    pub(crate) bytes_left: u64,
    pub(crate) files_left: usize,
    /// Is given each file of an archive at once, with its whole path.
    pub(crate) seen: Option<Seen<'s>>,
    depth: usize,
}

impl Budget<'_> {
    pub(crate) fn new(limits: Limits) -> Self {
        Budget {
            limits,
            seen: None,
            bytes_left: limits.chart_bytes_max,
            files_left: limits.files_max,
            depth: 0,
        }
    }
}

/// Sorts the files of a chart into its parts.
pub(crate) fn chart(files: Vec<File>, budget: &mut Budget<'_>) -> Result<Chart, LoadChartError> {
    let yaml_limits = budget.limits.yaml;
    let mut chart = Chart {
        metadata: metadata(&files, yaml_limits)?,
        ..Chart::default()
    };
    let mut subcharts: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in &files {
        match file.name.as_str() {
            "Chart.yaml" => {}
            "Chart.lock" => chart.lock = Some(lock("Chart.lock", file, yaml_limits)?),
            "values.yaml" => {
                chart.values = values_from_yaml_with(&file.text(), yaml_limits).map_err(|source| {
                    LoadChartError::Yaml {
                        file: "values.yaml",
                        values: true,
                        source,
                    }
                })?;
            }
            "values.schema.json" => chart.schema = Some(file.data.clone()),
            "requirements.yaml" => {
                let value = yaml("requirements.yaml", file, yaml_limits)?;
                chart
                    .metadata
                    .update(&value)
                    .map_err(|source| LoadChartError::Metadata {
                        file: "requirements.yaml",
                        source,
                    })?;
                if chart.metadata.api_version == "v1" {
                    chart.files.push(file.clone());
                }
            }
            "requirements.lock" => {
                chart.lock = Some(lock("requirements.lock", file, yaml_limits)?);
                if chart.metadata.api_version == "v1" {
                    chart.files.push(file.clone());
                }
            }
            name if name.starts_with("templates/") => chart.templates.push(file.clone()),
            name => match name.strip_prefix("charts/") {
                Some(rest) if !name.ends_with(".prov") => {
                    let (first, inner) = rest.split_once('/').unwrap_or((rest, ""));
                    let inner = File {
                        name: inner.to_owned(),
                        data: file.data.clone(),
                    };
                    subcharts.entry(first.to_owned()).or_default().push(inner);
                }
                _ => chart.files.push(file.clone()),
            },
        }
    }
    chart.metadata.validate()?;
    chart.raw = files;
    if budget.depth >= budget.limits.depth_max && !subcharts.is_empty() {
        return Err(LoadChartError::DeepSubcharts {
            limit: budget.limits.depth_max,
        });
    }
    budget.depth += 1;
    for (name, files) in subcharts {
        if name.starts_with(['_', '.']) {
            continue;
        }
        let loaded = subchart(&name, files, budget);
        let subchart = loaded.map_err(|source| LoadChartError::Subchart {
            subchart: name,
            parent: chart.metadata.name.clone(),
            source: Box::new(source),
        })?;
        chart.dependencies.push(subchart);
    }
    budget.depth -= 1;
    Ok(chart)
}

fn subchart(name: &str, mut files: Vec<File>, budget: &mut Budget<'_>) -> Result<Chart, LoadChartError> {
    if name.ends_with(".tgz")
        && let [file] = files.as_slice()
        && file.name.is_empty()
    {
        let files = unpack(&*file.data, likely_bytes(&file.data), budget)?;
        return chart(files, budget);
    }
    // A file that lies directly in `charts/` belongs to no chart.
    files.retain(|file| !file.name.is_empty());
    chart(files, budget)
}

fn metadata(files: &[File], limits: YamlLimits) -> Result<Metadata, LoadChartError> {
    let Some(file) = files.iter().find(|file| file.name == "Chart.yaml") else {
        return Err(LoadChartError::NoChartFile);
    };
    let value = yaml("Chart.yaml", file, limits)?;
    let mut metadata = Metadata::from_value(&value).map_err(|source| LoadChartError::Metadata {
        file: "Chart.yaml",
        source,
    })?;
    if metadata.api_version.is_empty() {
        metadata.api_version = "v1".to_owned();
    }
    Ok(metadata)
}

fn lock(name: &'static str, file: &File, limits: YamlLimits) -> Result<Lock, LoadChartError> {
    let value = yaml(name, file, limits)?;
    Lock::from_value(&value).map_err(|source| LoadChartError::Metadata { file: name, source })
}

fn yaml(name: &'static str, file: &File, limits: YamlLimits) -> Result<Value, LoadChartError> {
    from_yaml_with(&file.text(), limits).map_err(|source| LoadChartError::Yaml {
        file: name,
        values: false,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File {
            name: name.to_owned(),
            data: text.as_bytes().into(),
        }
    }

    fn check_err(chart_yaml: &str, message: &str) {
        let error = Chart::from_files(vec![file("Chart.yaml", chart_yaml)]).unwrap_err();
        assert_eq!(error.to_string(), message, "{chart_yaml}");
    }

    #[test]
    fn sorts_files_into_their_parts() {
        let chart = Chart::from_files(vec![
            file(
                "Chart.yaml",
                "apiVersion: v1\nname: n\nversion: 1\nappVersion: 1.10\nkeywords: [a, 2]\nunknown: x",
            ),
            file(
                "requirements.yaml",
                "dependencies: [{name: db, version: 1.x, alias: d}]",
            ),
            file("values.yaml", "a: 1"),
            file("values.schema.json", "{}"),
            file("templates/a.yaml", ""),
            file("crds/b.yaml", ""),
            file("charts/x.tgz.prov", ""),
            file("other", ""),
        ])
        .unwrap();
        // `name: n` is a truth value to YAML 1.1.
        assert_eq!(chart.name(), "false");
        assert_eq!(
            (
                chart.metadata.version.as_str(),
                chart.metadata.app_version.as_str()
            ),
            ("1", "1.1")
        );
        assert_eq!(chart.metadata.keywords, ["a", "2"]);
        assert_eq!(chart.metadata.dependencies[0].alias, "d");
        let names: Vec<&str> = chart.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            ["requirements.yaml", "crds/b.yaml", "charts/x.tgz.prov", "other"]
        );
        assert_eq!(chart.crds()[0].path, "false/crds/b.yaml");
        assert_eq!(chart.raw.len(), 8);
    }

    #[test]
    fn err_says_what_helm_says() {
        assert_eq!(
            Chart::from_files(vec![]).unwrap_err().to_string(),
            "Chart.yaml file is missing"
        );
        check_err("version: 1.0.0", "validation: chart.metadata.name is required");
        check_err("name: a", "validation: chart.metadata.version is required");
        check_err(
            "name: a/b\nversion: 1.0.0",
            "validation: chart.metadata.name \"a/b\" is invalid",
        );
        check_err(
            "name: a\nversion: one",
            "validation: chart.metadata.version \"one\" is invalid",
        );
        check_err(
            "name: a\nversion: 1.0.0\ntype: x",
            "validation: chart.metadata.type must be application or library",
        );
        check_err(
            "name: a\nversion: 1.0.0\ndependencies: [null]",
            "validation: dependencies must not contain empty or null nodes",
        );
        check_err(
            "name: a\nversion: 1.0.0\nmaintainers: [null]",
            "validation: maintainers must not contain empty or null nodes",
        );
        check_err(
            "name: a\nversion: 1.0.0\ndependencies: [{name: b, alias: b.c}]",
            "validation: dependency \"b\" has disallowed characters in the alias",
        );
        check_err(
            "name: a\nversion: 1.0.0\ndependencies: [{name: b}, {name: c, alias: b}]",
            "validation: more than one dependency with name or alias \"b\"",
        );
        check_err(
            "name: a\nversion: [1]",
            "cannot load Chart.yaml: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go struct field .version of type string",
        );
        check_err(
            "name: a\nb: c: d",
            "cannot load Chart.yaml: error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context",
        );
        let broken = Chart::from_files(vec![
            file("Chart.yaml", "name: a\nversion: 1.0.0"),
            file("charts/README.md", "stray"),
        ]);
        assert_eq!(
            broken.unwrap_err().to_string(),
            "error unpacking subchart README.md in a: Chart.yaml file is missing"
        );
    }
}
