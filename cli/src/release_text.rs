//! A release as text, as Helm prints it.

use chart_release::action::LiveResource;
use chart_release::readiness::Readiness;
use chart_release::{HookEvent, Release};

use crate::failure::Failure;
use crate::output::{OutputFormat, to_json, to_yaml};
use crate::settings::Settings;
use crate::table::Table;

/// Which parts are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    /// Leave the notes out.
    pub(crate) hide_notes: bool,
    /// Name the chart and its versions.
    pub(crate) chart: bool,
    /// Show values.
    pub(crate) values: bool,
    /// Show hooks and manifest.
    pub(crate) manifest: bool,
    /// Leave Secrets out of the manifest.
    pub(crate) hide_secrets: bool,
    /// The objects as they are.
    pub(crate) resources: Option<&'a [LiveResource]>,
}

/// Prints a release in a format.
pub(crate) fn print(
    release: &Release,
    format: OutputFormat,
    parts: &Parts<'_>,
    settings: &Settings,
) -> Result<(), Failure> {
    let console = &settings.console;
    match format {
        OutputFormat::Table => console.data(&text(release, parts)?),
        OutputFormat::Name => console.line(&release.name),
        OutputFormat::Json | OutputFormat::Yaml => {
            let mut release = release.clone();
            if parts.hide_secrets {
                release.manifest = without_secrets(&release.manifest);
            }
            if let Some(resources) = parts.resources {
                // The chart is left out where the objects are in, as in Helm.
                release.chart = None;
                let value = serde_json::to_value(by_kind(resources))
                    .map_err(|error| Failure::new("cannot write JSON").because_error(&error))?;
                release.info.other.insert("resources".into(), value);
            }
            if format == OutputFormat::Json {
                console.line(to_json(&release)?)
            } else {
                console.data(&to_yaml(&release)?)
            }
        }
    }
}

/// The objects under `VERSION/KIND`, as Helm has them in JSON.
fn by_kind(
    resources: &[LiveResource],
) -> std::collections::BTreeMap<String, Vec<&serde_json::Map<String, serde_json::Value>>> {
    let mut kinds = std::collections::BTreeMap::new();
    for resource in resources {
        if let Some(object) = &resource.object {
            let version = resource.api_version.rsplit('/').next().unwrap_or_default();
            let list: &mut Vec<_> = kinds.entry(format!("{version}/{}", resource.kind)).or_default();
            list.push(object.fields());
        }
    }
    kinds
}

/// A release as text.
pub(crate) fn text(release: &Release, parts: &Parts<'_>) -> Result<String, Failure> {
    let info = &release.info;
    let deployed = info.last_deployed.map(|time| time.ansic()).unwrap_or_default();
    let mut text = format!(
        "NAME: {}\nLAST DEPLOYED: {deployed}\nNAMESPACE: {}\nSTATUS: {}\nREVISION: {}\n",
        release.name, release.namespace, info.status, release.revision
    );
    if parts.chart
        && let Some(chart) = &release.chart
    {
        text += &format!(
            "CHART: {}\nVERSION: {}\nAPP_VERSION: {}\n",
            chart.name(),
            chart.version(),
            release.app_version()
        );
    }
    text += &format!("DESCRIPTION: {}\n", info.description);
    if let Some(resources) = parts.resources.filter(|resources| !resources.is_empty()) {
        text += &format!("RESOURCES:\n{}\n", resource_table(resources));
    }
    text += &tests(release);
    if parts.values {
        text += &format!("USER-SUPPLIED VALUES:\n{}\n", config_yaml(release)?);
        text += &format!("COMPUTED VALUES:\n{}\n", computed_yaml(release)?);
    }
    if parts.manifest {
        let manifest = if parts.hide_secrets {
            without_secrets(&release.manifest)
        } else {
            release.manifest.clone()
        };
        text += &format!("HOOKS:\n{}MANIFEST:\n{manifest}\n", hooks(release));
    }
    if !parts.hide_notes && !info.notes.is_empty() {
        text += &format!("NOTES:\n{}\n", info.notes.trim());
    }
    Ok(text)
}

/// The values of the user as YAML; `null` where there are none.
pub(crate) fn config_yaml(release: &Release) -> Result<String, Failure> {
    if release.config.is_empty() {
        return Ok("null\n".to_owned());
    }
    to_yaml(&release.config)
}

/// The values of the user over the defaults of the chart, as YAML.
pub(crate) fn computed_yaml(release: &Release) -> Result<String, Failure> {
    to_yaml(&chart_release::json::from_map(&chart_release::values::computed(
        release,
    )))
}

/// The hooks, each with the template that it came from.
pub(crate) fn hooks(release: &Release) -> String {
    let documents = release.hooks.iter();
    documents
        .map(|hook| format!("---\n# Source: {}\n{}\n", hook.path, hook.manifest))
        .collect()
}

fn resource_table(resources: &[LiveResource]) -> String {
    let mut table = Table::new(&["OBJECT", "NAMESPACE", "READY", "REASON"]);
    for resource in resources {
        let (ready, reason) = match &resource.readiness {
            Some(Readiness::Ready) => ("yes", ""),
            Some(Readiness::Waiting(reason)) => ("no", reason.as_str()),
            Some(Readiness::Failed(reason)) => ("failed", reason.as_str()),
            None => ("no", "it is not there"),
        };
        table.row(vec![
            format!("{}/{}", resource.kind, resource.name),
            resource.namespace.clone(),
            ready.to_owned(),
            reason.to_owned(),
        ]);
    }
    // Nothing is read by columns here, as Helm's tables are: no spaces behind the last.
    let lines = table.to_string();
    lines
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn tests(release: &Release) -> String {
    let order = release.hooks_at(&HookEvent::Test);
    if order.is_empty() {
        return "TEST SUITE: None\n".to_owned();
    }
    let mut text = String::new();
    for hook in order.into_iter().map(|index| &release.hooks[index]) {
        let Some(started) = hook.last_run.started_at else {
            continue;
        };
        let completed = hook
            .last_run
            .completed_at
            .map(|time| time.ansic())
            .unwrap_or_default();
        text += &format!(
            "TEST SUITE:     {}\nLast Started:   {}\nLast Completed: {completed}\nPhase:          {}\n",
            hook.name,
            started.ansic(),
            hook.last_run.phase
        );
    }
    text
}

/// What stands for a Secret that is not to be seen, in Helm's words.
const HIDDEN: &str = "# HIDDEN: The Secret output has been suppressed\n";

fn without_secrets(manifest: &str) -> String {
    let mut text = String::new();
    for document in manifest.split_inclusive("---\n") {
        let (body, separator) = match document.strip_suffix("---\n") {
            Some(body) => (body, "---\n"),
            None => (document, ""),
        };
        let is_secret = body.lines().any(|line| line.trim_end() == "kind: Secret");
        if is_secret {
            let source = body.lines().find(|line| line.starts_with("# Source:"));
            text += &source.map(|line| format!("{line}\n")).unwrap_or_default();
            text += HIDDEN;
        } else {
            text += body;
        }
        text += separator;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let manifest = "---\n# Source: a/s.yaml\nkind: Secret\ndata: {x: eA==}\n---\nkind: ConfigMap\n";
        let expected = format!("---\n# Source: a/s.yaml\n{HIDDEN}---\nkind: ConfigMap\n");
        assert_eq!(without_secrets(manifest), expected);
    }
}
