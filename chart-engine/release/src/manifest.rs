//! Manifests: YAML text as objects.

use chart_values::yaml;
use cluster_objects::Object;
use serde_json::Value;

use crate::json;

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestObject {
    /// The object.
    pub object: Object,
    /// Template that rendered it, from the comment `# Source:`; empty where there is none.
    pub source: String,
}

/// Why a manifest holds no objects.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A document is not YAML.
    #[error("YAML parse error{}", at(.source_file, *.line))]
    Yaml {
        /// Template that rendered it.
        source_file: String,
        /// Line of the manifest on which the document starts.
        line: usize,
        /// Why.
        source: yaml::YamlError,
    },
    /// A document is no object.
    #[error("{reason}{}", at(.source_file, *.line))]
    NoObject {
        /// Template that rendered it.
        source_file: String,
        /// Line of the manifest on which the document starts.
        line: usize,
        /// What is missing.
        reason: &'static str,
    },
}

fn at(source_file: &str, line: usize) -> String {
    if source_file.is_empty() {
        format!(" in the document at line {line}")
    } else {
        format!(" in `{source_file}`")
    }
}

/// Reads the objects of a manifest, in their order. Empty documents are left out, lists are taken apart.
pub fn parse(manifest: &str) -> Result<Vec<ManifestObject>, ManifestError> {
    let mut objects = Vec::new();
    for (line, document) in yaml::documents(manifest) {
        let source_file = source_comment(document).to_owned();
        let value = yaml::from_yaml(document).map_err(|source| ManifestError::Yaml {
            source_file: source_file.clone(),
            line,
            source,
        })?;
        let refuse = |reason| ManifestError::NoObject {
            source_file: source_file.clone(),
            line,
            reason,
        };
        let object = match json::from_value(&value) {
            Value::Null => continue,
            Value::Object(fields) if fields.is_empty() => continue,
            Value::Object(fields) => Object::from(fields),
            _ => return Err(refuse("expected an object")),
        };
        for object in flatten(object) {
            if object.kind().is_empty() {
                return Err(refuse("no `kind` is set"));
            }
            if object.api_version().is_empty() {
                return Err(refuse("no `apiVersion` is set"));
            }
            if object.name().is_empty() && object.text(&["metadata", "generateName"]).is_none() {
                return Err(refuse("no `metadata.name` is set"));
            }
            objects.push(ManifestObject {
                object,
                source: source_file.clone(),
            });
        }
    }
    Ok(objects)
}

/// The items of a `List`, or the object itself.
fn flatten(object: Object) -> Vec<Object> {
    let is_list = object.kind().ends_with("List") && object.at(&["items"]).is_some_and(Value::is_array);
    if !is_list {
        return vec![object];
    }
    let items = object.list(&["items"]).iter();
    items
        .filter_map(|item| Object::from_value(item.clone()).ok())
        .flat_map(flatten)
        .collect()
}

fn source_comment(document: &str) -> &str {
    let mut lines = document.lines();
    let found = lines.find_map(|line| line.strip_prefix("# Source: "));
    found.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_objects_and_lists_are_taken_apart() {
        let manifest = "---\n# Source: a/templates/x.yaml\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n\
            ---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  \
            metadata: {name: s}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n";
        let objects = parse(manifest).unwrap();
        let found: Vec<(&str, &str, &str)> = objects
            .iter()
            .map(|entry| (entry.object.kind(), entry.object.name(), entry.source.as_str()))
            .collect();
        let expected = [
            ("Pod", "p", "a/templates/x.yaml"),
            ("Secret", "s", ""),
            ("ConfigMap", "c", ""),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn err_what_is_no_object() {
        for (manifest, expected) in [
            ("a: [", "YAML parse error in the document at line 1"),
            ("# Source: a/b.yaml\n- 1\n", "expected an object in `a/b.yaml`"),
            (
                "kind: Pod\nmetadata: {name: a}\n",
                "no `apiVersion` is set in the document at line 1",
            ),
            (
                "apiVersion: v1\nmetadata: {name: a}\n",
                "no `kind` is set in the document at line 1",
            ),
            (
                "apiVersion: v1\nkind: Pod\n",
                "no `metadata.name` is set in the document at line 1",
            ),
        ] {
            assert_eq!(parse(manifest).unwrap_err().to_string(), expected);
        }
    }
}
