//! From rendered files to manifests and hooks.

use std::collections::BTreeMap;

use chart_values::number;
use chart_values::yaml::{YamlError, entries_from_yaml, from_yaml};
use chart_values::{Map, Value};

use crate::hook::Hook;
use crate::order::KindOrder;
use crate::split::split_manifests;

const HOOK: &str = "helm.sh/hook";

/// One object to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The template it comes from.
    pub path: String,
    /// Its YAML.
    pub content: String,
    /// What it says it is.
    pub head: Head,
}

/// What a manifest says it is; fields that it lacks are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
}

/// The manifests of a rendering.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// The objects, in the order of their installation.
    pub manifests: Vec<Manifest>,
    /// The hooks, in the same order.
    pub hooks: Vec<Hook>,
}

/// A rendered file that holds something else than manifests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("YAML parse error on {path}: {fault}")]
pub struct SortManifestsError {
    /// The template.
    pub path: String,
    /// The document's text.
    pub document: String,
    /// What is wrong with it.
    pub fault: HeadError,
}

impl SortManifestsError {
    /// The number and text of the rendered line that is wrong, where it is known.
    pub fn line(&self) -> Option<(usize, &str)> {
        let HeadError::Yaml(error) = &self.fault else {
            return None;
        };
        let number = error.line?;
        Some((number, self.document.lines().nth(number - 1)?))
    }
}

/// Why a document is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is no YAML.
    #[error("{0}")]
    Yaml(YamlError),
    /// It, or one of the fields that make a manifest, has the wrong type.
    #[error(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go {target} of type {wanted}"
    )]
    WrongType {
        /// What JSON calls what is there.
        found: &'static str,
        /// Go's name of the place: `value`, or `struct field .metadata.name`.
        target: String,
        /// Go's name of the wanted type.
        wanted: &'static str,
    },
}

/// Cuts rendered files into manifests and hooks, and sorts them by kind.
///
/// Files are taken in the order of their paths, and objects of one kind stay in that order. Partials and blank files
/// are passed over, and so are hooks of events that nobody knows.
pub fn sort_manifests(
    files: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    order: KindOrder,
) -> Result<Sorted, SortManifestsError> {
    let mut sorted = Sorted::default();
    // A file that is given away ends with its turn, so that large texts are not there twice.
    for (path, content) in files {
        let (path, content) = (path.as_ref(), content.as_ref());
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.starts_with('_') {
            continue;
        }
        for document in split_manifests(content) {
            let head = Head::parse(document).map_err(|fault| SortManifestsError {
                path: path.to_owned(),
                document: document.to_owned(),
                fault,
            })?;
            match head.annotations.get(HOOK).cloned() {
                None => sorted.manifests.push(Manifest {
                    path: path.to_owned(),
                    content: document.to_owned(),
                    head,
                }),
                Some(events) => {
                    sorted
                        .hooks
                        .extend(Hook::new(&events, &head, path, document.to_owned()));
                }
            }
        }
    }
    sorted
        .manifests
        .sort_by(|a, b| order.compare(&a.head.kind, &b.head.kind));
    sorted.hooks.sort_by(|a, b| order.compare(&a.kind, &b.kind));
    Ok(sorted)
}

impl Head {
    /// Reads a document as far as it makes a manifest.
    pub fn parse(document: &str) -> Result<Head, HeadError> {
        let mut head = Head::default();
        if let Some(entries) = entries_from_yaml(document, &["apiVersion", "kind", "metadata"]) {
            head.take(&entries)?;
            return Ok(head);
        }
        match from_yaml(document).map_err(HeadError::Yaml)? {
            Value::Null => {}
            Value::Map(map) => head.take(&map)?,
            other => return Err(wrong_type(&other, "value", "util.SimpleHead")),
        }
        Ok(head)
    }

    fn take(&mut self, map: &Map) -> Result<(), HeadError> {
        text(map, "apiVersion", ".apiVersion", &mut self.api_version)?;
        text(map, "kind", ".kind", &mut self.kind)?;
        let metadata = match find(map, "metadata") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Map(metadata)) => metadata,
            Some(other) => {
                let wanted = "struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \"json:\\\"annotations\\\"\" }";
                return Err(wrong_type(other, "struct field .metadata", wanted));
            }
        };
        text(metadata, "name", ".metadata.name", &mut self.name)?;
        match find(metadata, "annotations") {
            None | Some(Value::Null) => {}
            Some(Value::Map(annotations)) => {
                for (key, value) in annotations {
                    let mut found = String::new();
                    text_of(value, &format!(".metadata.annotations.{key}"), &mut found)?;
                    self.annotations.insert(key.clone(), found);
                }
            }
            Some(other) => {
                return Err(wrong_type(
                    other,
                    "struct field .metadata.annotations",
                    "map[string]string",
                ));
            }
        }
        Ok(())
    }
}

fn text(map: &Map, key: &str, field: &str, target: &mut String) -> Result<(), HeadError> {
    match find(map, key) {
        None => Ok(()),
        Some(value) => text_of(value, field, target),
    }
}

/// Go finds the fields of a struct whatever the case of their names.
fn find<'m>(map: &'m Map, key: &str) -> Option<&'m Value> {
    map.get(key).or_else(|| {
        let entry = map.iter().find(|(found, _)| found.eq_ignore_ascii_case(key));
        entry.map(|(_, value)| value)
    })
}

/// Scalars of every type pass for texts.
fn text_of(value: &Value, field: &str, target: &mut String) -> Result<(), HeadError> {
    match value {
        Value::Null => {}
        Value::String(text) => target.clone_from(text),
        Value::Bool(flag) => *target = flag.to_string(),
        Value::Int(number) => *target = number.to_string(),
        Value::Float(float) => *target = number::json(*float).unwrap_or_default(),
        Value::List(_) | Value::Map(_) => {
            return Err(wrong_type(value, &format!("struct field {field}"), "string"));
        }
    }
    Ok(())
}

fn wrong_type(found: &Value, target: &str, wanted: &'static str) -> HeadError {
    let found = match found {
        Value::Bool(_) => "bool",
        other => other.json_kind(),
    };
    HeadError::WrongType {
        found,
        target: target.to_owned(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{HookDeletePolicy, HookEvent};

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn sorts_by_kind_and_keeps_the_order_of_files() {
        let sorted = sort_manifests(
            &files(&[
                (
                    "c/templates/b.yaml",
                    "kind: Service\nmetadata: {name: b}\n---\nkind: Secret\n",
                ),
                ("c/templates/a.yaml", "kind: Service\nmetadata: {name: a}\n"),
                ("c/templates/c.yaml", "# nothing\n"),
                ("c/templates/_d.yaml", "{{"),
                ("c/templates/e.yaml", "  \n"),
            ]),
            KindOrder::Install,
        )
        .unwrap();
        let found: Vec<(&str, &str, &str)> = sorted
            .manifests
            .iter()
            .map(|manifest| {
                (
                    manifest.head.kind.as_str(),
                    manifest.head.name.as_str(),
                    manifest.path.as_str(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("Secret", "", "c/templates/b.yaml"),
                ("Service", "a", "c/templates/a.yaml"),
                ("Service", "b", "c/templates/b.yaml"),
                ("", "", "c/templates/c.yaml"),
            ]
        );
    }

    #[test]
    fn finds_hooks() {
        let hook = |annotations: &str| {
            let text = format!("kind: Job\nmetadata:\n  name: j\n  annotations: {{{annotations}}}\n");
            sort_manifests(&files(&[("c/templates/j.yaml", &text)]), KindOrder::Install).unwrap()
        };
        let sorted = hook(
            "helm.sh/hook: 'pre-install, Test-Success', helm.sh/hook-weight: -5, helm.sh/hook-delete-policy: 'hook-failed,x'",
        );
        assert_eq!(sorted.manifests, []);
        let found = &sorted.hooks[0];
        assert_eq!(found.events, [HookEvent::PreInstall, HookEvent::Test]);
        assert_eq!((found.weight, found.is_test()), (-5, true));
        assert_eq!(found.delete_policies, [HookDeletePolicy::HookFailed]);
        assert_eq!(hook("helm.sh/hook: crd-install"), Sorted::default());
        assert_eq!(hook("a: b").hooks, []);
    }

    #[test]
    fn err_names_the_template() {
        for (text, message) in [
            (
                "a: b: c",
                "error converting YAML to JSON: yaml: mapping values are not allowed in this context",
            ),
            (
                "[1]",
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type util.SimpleHead",
            ),
            (
                "true",
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal bool into Go value of type util.SimpleHead",
            ),
        ] {
            let error =
                sort_manifests(&files(&[("c/templates/a.yaml", text)]), KindOrder::Install).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("YAML parse error on c/templates/a.yaml: {message}")
            );
        }
    }
}
