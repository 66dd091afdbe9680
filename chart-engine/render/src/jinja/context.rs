//! What Jinja templates see.

use std::collections::BTreeMap;
use std::sync::Arc;

use chart_model::{Chart, Content, File};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};

use super::convert::{map_to_jinja, table};
use crate::capabilities::Capabilities;
use crate::glob::glob;
use crate::options::ReleaseFacts;

/// What the Jinja templates of one chart see.
#[derive(Debug)]
pub(crate) struct Context {
    values: Value,
    chart: Value,
    release: Value,
    capabilities: Value,
    files: Value,
}

impl Context {
    pub(crate) fn new(
        chart: &Chart,
        values: &chart_values::Map,
        release: &ReleaseFacts,
        capabilities: &Capabilities,
        is_root: bool,
    ) -> Context {
        Context {
            values: map_to_jinja(values),
            chart: chart_value(chart, is_root),
            release: table([
                ("name", Value::from(release.name.as_str())),
                ("namespace", Value::from(release.namespace.as_str())),
                ("revision", Value::from(release.revision)),
                ("is_install", Value::from(release.is_install)),
                ("is_upgrade", Value::from(release.is_upgrade)),
                ("service", Value::from("Helm")),
            ]),
            capabilities: table([
                (
                    "kube_version",
                    table([
                        ("version", Value::from(capabilities.kube_version.version.as_str())),
                        ("major", Value::from(capabilities.kube_version.major.as_str())),
                        ("minor", Value::from(capabilities.kube_version.minor.as_str())),
                    ]),
                ),
                ("api_versions", Value::from(capabilities.api_versions.clone())),
            ]),
            files: Value::from_object(Files::new(&chart.files)),
        }
    }

    /// The names that the template called `template` finds.
    pub(super) fn value(&self, template: &str) -> Value {
        let folder = template
            .rfind("/templates/")
            .map_or(template, |at| &template[..at + "/templates".len()]);
        table([
            ("values", self.values.clone()),
            ("chart", self.chart.clone()),
            ("release", self.release.clone()),
            ("capabilities", self.capabilities.clone()),
            ("files", self.files.clone()),
            (
                "template",
                table([
                    ("name", Value::from(template)),
                    ("base_path", Value::from(folder)),
                ]),
            ),
        ])
    }
}

fn chart_value(chart: &Chart, is_root: bool) -> Value {
    let metadata = &chart.metadata;
    let annotations = table(
        metadata
            .annotations
            .iter()
            .flatten()
            .map(|(key, text)| (key, Value::from(text.as_str()))),
    );
    table([
        ("name", Value::from(metadata.name.as_str())),
        ("version", Value::from(metadata.version.as_str())),
        ("app_version", Value::from(metadata.app_version.as_str())),
        ("api_version", Value::from(metadata.api_version.as_str())),
        ("description", Value::from(metadata.description.as_str())),
        ("type", Value::from(metadata.kind.as_str())),
        ("home", Value::from(metadata.home.as_str())),
        ("icon", Value::from(metadata.icon.as_str())),
        ("kube_version", Value::from(metadata.kube_version.as_str())),
        ("deprecated", Value::from(metadata.deprecated)),
        ("keywords", Value::from(metadata.keywords.clone())),
        ("sources", Value::from(metadata.sources.clone())),
        ("annotations", annotations),
        ("is_root", Value::from(is_root)),
    ])
}

/// `files`: the files of a chart that are no templates, by path, with `get`, `lines` and `glob`.
#[derive(Debug)]
struct Files {
    files: BTreeMap<String, Content>,
}

impl Files {
    fn new(files: &[File]) -> Files {
        Files {
            files: files
                .iter()
                .map(|file| (file.name.clone(), file.data.clone()))
                .collect(),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        self.files
            .get(path)
            .map(|data| String::from_utf8_lossy(data).into_owned())
    }

    fn missing(path: &str) -> Error {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("the chart has no file `{path}`"),
        )
    }
}

impl Object for Files {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.text(key.as_str()?).map(Value::from)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.files.keys().map(|path| Value::from(path.as_str())).collect())
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let argument = match args {
            [one] => one.as_str().map(str::to_owned),
            _ => None,
        };
        let Some(argument) = argument else {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("`files.{method}` takes one text"),
            ));
        };
        match method {
            "get" => self
                .text(&argument)
                .map(Value::from)
                .ok_or_else(|| Files::missing(&argument)),
            "lines" => {
                let text = self.text(&argument).ok_or_else(|| Files::missing(&argument))?;
                Ok(text.lines().map(str::to_owned).collect())
            }
            "glob" => {
                let glob = glob(&argument).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidOperation, format!("`{argument}` is no pattern"))
                })?;
                let files = self.files.iter().filter(|(path, _)| glob.matches(path));
                let files = files.map(|(path, data)| (path.clone(), data.clone())).collect();
                Ok(Value::from_object(Files { files }))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}
