//! Templates and what they render.

use chart_values::number::go_quote;
use chart_values::yaml::{from_yaml, locate};
use chart_values::{Map, Value};

use super::removed::removed;
use super::{Finding, Judge, ObjectFault, Severity};
use crate::capabilities::Capabilities;
use crate::jinja;
use crate::split::split_manifests;

const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Kinds whose names follow looser rules: they are parts of paths only.
const PATH_NAMES: &[&str] = &["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];

pub(super) fn check_ending(path: &str, findings: &mut Vec<Finding>) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let bare = name.strip_suffix(jinja::ENDING).unwrap_or(name);
    let ending = bare.rfind('.').map_or("", |at| &bare[at..]);
    let partial = name.starts_with('_') && name.ends_with(jinja::ENDING);
    if !partial && !matches!(ending, ".yaml" | ".yml" | ".tpl" | ".txt") {
        let message =
            format!("file extension '{ending}' not valid. Valid extensions are .yaml, .yml, .tpl, or .txt");
        findings.push(Finding::new(Severity::Error, path, message));
    }
}

/// Looks at the documents that a template gave.
pub(super) fn check(
    path: &str,
    text: &str,
    source: &str,
    capabilities: &Capabilities,
    judge: Judge<'_>,
    findings: &mut Vec<Finding>,
) {
    let bare = path.strip_suffix(jinja::ENDING).unwrap_or(path);
    if !(bare.ends_with(".yaml") || bare.ends_with(".yml")) || text.trim().is_empty() {
        return;
    }
    // Documents lose the white space before them when cut, so the first line is looked at before.
    for document in text.split("\n---") {
        let first = document
            .lines()
            .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        if let Some(line) = first.filter(|line| line.starts_with(' ')) {
            let message = format!(
                "document starts with an illegal indent: {}, which may cause parsing problems",
                go_quote(line)
            );
            findings.push(Finding::new(Severity::Warning, path, message));
        }
    }
    for document in split_manifests(text) {
        match from_yaml(document) {
            Err(error) => {
                let message = format!("unable to parse YAML: {error}");
                findings.push(Finding::new(Severity::Error, path, message));
            }
            Ok(Value::Map(object)) => {
                check_object(path, &object, capabilities, findings);
                for fault in judge(&object) {
                    findings.push(of_object(path, &object, document, source, &fault));
                }
            }
            Ok(_) => {}
        }
    }
}

/// A fault of an object at the line of the template that writes the field, where only one line can have done so.
fn of_object(path: &str, object: &Map, document: &str, source: &str, fault: &ObjectFault) -> Finding {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text(object.get("kind"));
    let name = text(object.get("metadata").and_then(|metadata| metadata.get("name")));
    let steps = steps(&fault.field);
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let line = steps.last().and_then(|key| only_line_with_key(source, key));
    let message = format!("{kind} {}: {}", go_quote(&name), fault.message);
    let finding = match (line, locate(document, &steps)) {
        // It is a line of the text, not of the template: it tells where to look, not where to go.
        (None, Some((line, _))) if !steps.is_empty() => {
            let shown = document.lines().nth(line - 1).unwrap_or_default().trim();
            Finding::new(fault.severity, path, format!("{message} (at `{shown}`)"))
        }
        _ => Finding::new(fault.severity, path, message),
    };
    finding.at(line)
}

/// The keys and indices of a field: `spec.ports[0].name` is spec, ports, 0, name.
fn steps(field: &str) -> Vec<String> {
    let parts = field.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.map(|part| part.trim_matches('"').to_owned()).collect()
}

/// The line of a template that starts with a key, if there is just one.
fn only_line_with_key(source: &str, key: &str) -> Option<usize> {
    let starts = |line: &str| {
        let line = line.trim_start().trim_start_matches("- ").trim_start_matches('"');
        let rest = line
            .strip_prefix(key)
            .map(|rest| rest.trim_start_matches('"').trim_start());
        rest.is_some_and(|rest| rest.starts_with(':'))
    };
    let mut lines = source.lines().enumerate().filter(|(_, line)| starts(line));
    let (index, _) = lines.next()?;
    lines.next().is_none().then_some(index + 1)
}

fn check_object(path: &str, object: &Map, capabilities: &Capabilities, findings: &mut Vec<Finding>) {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let metadata = object.get("metadata");
    let meta = |name: &str| metadata.and_then(|metadata| metadata.get(name));
    let (kind, name) = (
        text("kind"),
        meta("name").and_then(Value::as_str).unwrap_or_default(),
    );
    if kind.is_empty() {
        return;
    }
    let mut warn = |message: String| findings.push(Finding::new(Severity::Warning, path, message));
    let list = kind == "List" || kind.ends_with("List");
    let generated = meta("generateName").is_some() && name.is_empty();
    let path_name = PATH_NAMES.contains(&kind) && !name.is_empty() && !name.contains(['/', '%']);
    if !list && !generated && !path_name && !is_subdomain(name) {
        let shown = go_quote(name);
        warn(format!(
            "object name does not conform to Kubernetes naming requirements: {shown}: metadata.name: Invalid value: {shown}: {NAME_RULE}"
        ));
    }
    if let Some(message) = removed(text("apiVersion"), kind, &capabilities.kube_version) {
        warn(message);
    }
    if matches!(kind, "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        && object.get("spec").and_then(|spec| spec.get("selector")).is_none()
    {
        warn(format!(
            "a {kind} must contain matchLabels or matchExpressions, and {} does not",
            go_quote(name)
        ));
    }
    if kind == "List"
        && let Some(items) = object.get("items").and_then(Value::as_list)
        && items.iter().any(|item| {
            let policy = item.at(["metadata", "annotations", "helm.sh/resource-policy"]);
            policy.is_some()
        })
    {
        warn("annotation 'helm.sh/resource-policy' within List objects are ignored".to_owned());
    }
}

fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
