//! `Chart.yaml`

use chart_model::{File, Metadata};
use chart_values::constraint::Version;
use chart_values::number::go_quote;
use chart_values::yaml::{from_yaml, locate};
use chart_values::{Map, Value};

use super::{Finding, Severity, is_text};

const PATH: &str = "Chart.yaml";

/// The fields that there are.
const FIELDS: &[&str] = &[
    "annotations",
    "apiVersion",
    "appVersion",
    "condition",
    "dependencies",
    "deprecated",
    "description",
    "home",
    "icon",
    "keywords",
    "kubeVersion",
    "maintainers",
    "name",
    "sources",
    "tags",
    "type",
    "version",
];

pub(super) fn check(files: &[File], findings: &mut Vec<Finding>) {
    let Some(file) = files.iter().find(|file| file.name == PATH) else {
        return;
    };
    let text = file.text();
    let fields = match from_yaml(&text) {
        Ok(Value::Map(fields)) => fields,
        Ok(_) => Map::new(),
        Err(error) => {
            let message = format!("unable to parse YAML\n\t{error}");
            return findings.push(Finding::new(Severity::Error, PATH, message).at(error.line));
        }
    };
    let mut checker = Checker {
        text: &text,
        findings,
    };
    checker.types(&fields);
    if let Ok(metadata) = Metadata::from_value(&Value::Map(fields)) {
        checker.rules(&metadata);
    }
}

struct Checker<'f, 't> {
    text: &'t str,
    findings: &'f mut Vec<Finding>,
}

impl Checker<'_, '_> {
    fn say(&mut self, severity: Severity, path: &[&str], message: impl Into<String>) {
        let line = locate(self.text, path).map(|(line, _)| line);
        self.findings
            .push(Finding::new(severity, PATH, message).at(line.filter(|_| !path.is_empty())));
    }

    fn types(&mut self, fields: &Map) {
        for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            let message = format!(
                "failed to strictly parse chart metadata file\n\terror unmarshaling JSON: while decoding JSON: json: unknown field {}",
                go_quote(name)
            );
            self.say(Severity::Warning, &[name], message);
        }
        for name in ["version", "appVersion"] {
            let value = fields.get(name);
            if !is_text(value) {
                let found = match value {
                    Some(Value::Bool(_)) => "bool",
                    Some(Value::List(_)) => "[]interface {}",
                    Some(Value::Map(_)) => "map[string]interface {}",
                    _ => "float64",
                };
                let message = format!("{name} should be of type string but it's of type {found}");
                self.say(Severity::Error, &[name], message);
            }
        }
    }

    fn rules(&mut self, metadata: &Metadata) {
        use Severity::{Error, Info, Warning};
        if metadata.name.is_empty() {
            self.say(Error, &[], "name is required");
        } else if metadata.name.contains('/') || matches!(metadata.name.as_str(), "." | "..") {
            self.say(
                Error,
                &["name"],
                format!("chart name {} is invalid", go_quote(&metadata.name)),
            );
        }
        match metadata.api_version.as_str() {
            "v1" | "v2" => {}
            "" => self.say(
                Error,
                &[],
                "apiVersion is required. The value must be either \"v1\" or \"v2\"",
            ),
            other => {
                let message =
                    format!("apiVersion '{other}' is not valid. The value must be either \"v1\" or \"v2\"");
                self.say(Error, &["apiVersion"], message);
            }
        }
        let version = &metadata.version;
        if version.is_empty() {
            self.say(Error, &[], "version is required");
        } else if version.parse::<Version>().is_err() {
            self.say(
                Error,
                &["version"],
                format!("version '{version}' is not a valid SemVer"),
            );
        } else if Version::parse_strict(version).is_err() {
            self.say(
                Warning,
                &["version"],
                format!("version '{version}' is not a valid SemVerV2"),
            );
        }
        for (index, maintainer) in metadata.maintainers.iter().enumerate() {
            let index = index.to_string();
            let path = ["maintainers", index.as_str()];
            if maintainer.name.is_empty() {
                self.say(Error, &path, "each maintainer requires a name");
            } else if !maintainer.email.is_empty() && !is_email(&maintainer.email) {
                let (email, name) = (&maintainer.email, &maintainer.name);
                self.say(
                    Error,
                    &path,
                    format!("invalid email '{email}' for maintainer '{name}'"),
                );
            } else if !maintainer.url.is_empty() && !is_url(&maintainer.url) {
                let (url, name) = (&maintainer.url, &maintainer.name);
                self.say(
                    Error,
                    &path,
                    format!("invalid url '{url}' for maintainer '{name}'"),
                );
            }
        }
        for (index, source) in metadata.sources.iter().enumerate() {
            if !is_url(source) {
                self.say(
                    Error,
                    &["sources", &index.to_string()],
                    format!("invalid source URL '{source}'"),
                );
            }
        }
        if metadata.icon.is_empty() {
            self.say(Info, &[], "icon is recommended");
        } else if !is_url(&metadata.icon) {
            self.say(Error, &["icon"], format!("invalid icon URL '{}'", metadata.icon));
        }
        if metadata.api_version == "v1" {
            if !metadata.kind.is_empty() {
                let message = "chart type is not valid in apiVersion 'v1'. It is valid in apiVersion 'v2'";
                self.say(Error, &["type"], message);
            }
            if !metadata.dependencies.is_empty() {
                let message = "dependencies are not valid in the Chart file with apiVersion 'v1'. They are valid in apiVersion 'v2'";
                self.say(Error, &["dependencies"], message);
            }
        }
        if metadata.chart_kind().is_none() {
            self.say(
                Error,
                &["type"],
                format!("chart type '{}' is not valid", metadata.kind),
            );
        }
    }
}

fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else {
        return false;
    };
    !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace)
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let scheme_is_one = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    scheme_is_one && !rest.is_empty() && !text.contains(char::is_whitespace)
}
