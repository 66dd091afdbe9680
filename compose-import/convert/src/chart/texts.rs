//! The files of a chart that people read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::chart::holes::service_of;
use crate::chart::{ChartOptions, Dialect};
use crate::convert::Conversion;
use crate::object::Role;
use crate::yaml::to_yaml;

pub(super) const HELMIGNORE: &str = ".git/\n.gitignore\n*.swp\n*.bak\n*.orig\n*~\n.DS_Store\n";

pub(super) const VALUES_HEAD: &str = "# What differs from one place to the next. `services` has an entry for each service of the project: its image,\n\
# replicas, environment, resources, its ports outside of the cluster and an Ingress.\n";

pub(super) fn chart_yaml(options: &ChartOptions) -> String {
    to_yaml(&json!({
        "apiVersion": "v2", "name": options.name, "version": options.version, "type": "application",
        "description": format!("The Compose project {}", options.name),
    }))
}

pub(super) fn readme(conversion: &Conversion, options: &ChartOptions, values: &Value) -> String {
    let name = &options.name;
    let mut text = format!(
        "# {name}\n\n\
         The Compose project `{name}` as a chart.\n\n\
         ```\ntug install {name} .\n```\n\n"
    );
    // Writing to a text does not fail.
    text.push_str("| service | image | replicas |\n|---|---|---|\n");
    for (service, value) in values["services"].as_object().into_iter().flatten() {
        let part = |key: &str| value["image"][key].as_str().unwrap_or_default();
        let tag = if part("tag").is_empty() {
            String::new()
        } else {
            format!(":{}", part("tag"))
        };
        let replicas = value
            .get("replicas")
            .map_or_else(|| "-".to_owned(), Value::to_string);
        let _ = writeln!(
            text,
            "| `{service}` | `{}{tag}` | {replicas} |",
            part("repository")
        );
    }
    if let Some(secrets) = values["secrets"].as_object() {
        text.push_str("\nSecrets whose content must be given, as `--set-file secrets.NAME=FILE`:\n\n");
        for secret in secrets.keys() {
            let _ = writeln!(text, "- `{secret}`");
        }
    }
    if !conversion.warnings.is_empty() {
        text.push_str("\nWhat of the project is not carried over, or differs:\n\n");
        for warning in &conversion.warnings {
            let _ = writeln!(
                text,
                "- {}: {}: {}",
                warning.subject, warning.attribute, warning.message
            );
        }
    }
    text.push_str("\nAll values, with their defaults, are in `values.yaml`.\n");
    text
}

pub(super) fn notes(conversion: &Conversion, options: &ChartOptions) -> String {
    let dialect = options.dialect;
    let (name, namespace) = match dialect {
        Dialect::Go => ("{{ .Release.Name }}", "{{ .Release.Namespace }}"),
        Dialect::Jinja => ("{{ release.name }}", "{{ release.namespace }}"),
    };
    let mut text = format!(
        "{} is installed as `{name}` in the namespace `{namespace}`.\n",
        options.name
    );
    for object in conversion
        .objects
        .iter()
        .filter(|object| object.role == Role::Published)
    {
        let ports: Vec<String> = object.value["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| port["port"].to_string())
            .collect();
        let _ = writeln!(
            text,
            "{} is published on port {}: kubectl get service {} --namespace {namespace}",
            service_of(object),
            ports.join(", "),
            object.name(),
        );
    }
    for object in conversion
        .objects
        .iter()
        .filter(|object| object.role == Role::Secret)
    {
        let value = dialect.value(&["secrets", object.name()]);
        let line = format!(
            "The secret {} is empty: give it with --set-file secrets.{}=FILE\n",
            object.name(),
            object.name()
        );
        text.push_str(&match dialect {
            Dialect::Go => format!("{{{{- if not {value} }}}}\n{line}{{{{- end }}}}\n"),
            Dialect::Jinja => format!("{{% if not {value} %}}\n{line}{{% endif %}}\n"),
        });
    }
    text
}
