//! `Chart.lock`: which versions were chosen for a chart's dependencies.

use chart_model::{Dependency, ImportValues, LockedDependency};
use chart_values::json::{to_json, write_string};
use chart_values::yaml::{EmitError, YamlError, from_yaml, to_yaml};
use chart_values::{Map, Value};

use crate::digest::{Digest, DigestError};

/// What `Chart.lock` says.
///
/// Helm knows `dependencies`, `digest` and `generated`, and passes over `artifacts`, which are ours: the digest of every
/// archive of the whole tree, so that what is fetched tomorrow is what was fetched today.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChartLock {
    /// The direct dependencies, in the order of `Chart.yaml`.
    pub dependencies: Vec<LockedDependency>,
    /// Helm's digest over the dependencies as wished and as chosen.
    pub digest: String,
    /// When it was written, RFC 3339.
    pub generated: String,
    /// The archives of all charts in the tree, in the order of their paths.
    pub artifacts: Vec<LockedArtifact>,
}

/// An archive that was chosen somewhere in the tree of dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArtifact {
    /// The names of the charts from the root's dependency down to this one, with `/` between them; one that another of
    /// the same name stands beside has `@version` behind it.
    pub path: String,
    /// Where it came from.
    pub repository: String,
    /// The version.
    pub version: String,
    /// The digest of its archive; none for folders, which may change.
    pub digest: Option<Digest>,
}

/// Why a lock cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChartLockError {
    /// No YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A part is not what it must be.
    #[error("`{field}` must be {wanted}")]
    Shape {
        /// Where.
        field: &'static str,
        /// What must be there.
        wanted: &'static str,
    },
    /// A digest of an artifact is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl ChartLock {
    /// Reads the text of `Chart.lock` or `requirements.lock`.
    pub fn read(text: &str) -> Result<Self, ChartLockError> {
        let value = from_yaml(text)?;
        let Value::Map(fields) = &value else {
            return Err(shape("", "a table"));
        };
        let mut lock = Self {
            digest: text_of(fields, "digest")?,
            generated: text_of(fields, "generated")?,
            ..Self::default()
        };
        for entry in tables(fields, "dependencies")? {
            lock.dependencies.push(LockedDependency {
                name: text_of(entry, "name")?,
                version: text_of(entry, "version")?,
                repository: text_of(entry, "repository")?,
            });
        }
        for entry in tables(fields, "artifacts")? {
            let digest = text_of(entry, "digest")?;
            lock.artifacts.push(LockedArtifact {
                path: text_of(entry, "path")?,
                repository: text_of(entry, "repository")?,
                version: text_of(entry, "version")?,
                digest: if digest.is_empty() {
                    None
                } else {
                    Some(digest.parse()?)
                },
            });
        }
        Ok(lock)
    }

    /// Writes it as Helm does, keys in alphabetical order.
    pub fn write(&self) -> Result<String, EmitError> {
        let texts = |fields: &[(&str, &str)]| -> Value { fields.iter().copied().collect() };
        let dependencies = self.dependencies.iter().map(|locked| {
            texts(&[
                ("name", &locked.name),
                ("repository", &locked.repository),
                ("version", &locked.version),
            ])
        });
        let artifacts = self.artifacts.iter().map(|artifact| {
            let digest = artifact.digest.map(|digest| digest.to_string());
            let mut fields = vec![
                ("path", artifact.path.as_str()),
                ("repository", &artifact.repository),
                ("version", &artifact.version),
            ];
            fields.extend(digest.as_deref().map(|digest| ("digest", digest)));
            texts(&fields)
        });
        let mut fields = Map::from([
            ("dependencies".to_owned(), Value::List(dependencies.collect())),
            ("digest".to_owned(), self.digest.as_str().into()),
            ("generated".to_owned(), self.generated.as_str().into()),
        ]);
        if !self.artifacts.is_empty() {
            fields.insert("artifacts".to_owned(), Value::List(artifacts.collect()));
        }
        to_yaml(&Value::Map(fields)).map(|text| text + "\n")
    }

    /// Tells whether the lock was made for these wishes.
    pub fn fits(&self, wanted: &[Dependency]) -> bool {
        self.digest == lock_digest(wanted, &self.dependencies) || self.digest == old_digest(wanted)
    }

    /// The digest that is locked for the archive at a path.
    pub fn artifact(&self, path: &str) -> Option<&LockedArtifact> {
        self.artifacts.iter().find(|artifact| artifact.path == path)
    }
}

fn shape(field: &'static str, wanted: &'static str) -> ChartLockError {
    ChartLockError::Shape { field, wanted }
}

fn text_of(fields: &Map, field: &'static str) -> Result<String, ChartLockError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        // An unquoted `1.2` is meant as a version.
        Some(number @ (Value::Int(_) | Value::Float(_))) => Ok(to_json(number)),
        Some(_) => Err(shape(field, "a text")),
    }
}

fn tables<'f>(fields: &'f Map, field: &'static str) -> Result<Vec<&'f Map>, ChartLockError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => items
            .iter()
            .map(|item| item.as_map().ok_or_else(|| shape(field, "a list of tables")))
            .collect(),
        Some(_) => Err(shape(field, "a list of tables")),
    }
}

/// Helm's digest over a chart's dependencies as wished and as chosen.
///
/// It is the SHA-256 of a JSON list of two lists, in the field order, with the omissions and the HTML escapes of Go's
/// encoder. Contents of charts do not enter it.
pub fn lock_digest(wanted: &[Dependency], locked: &[LockedDependency]) -> String {
    let mut json = String::from("[");
    write_list(&mut json, wanted);
    json.push(',');
    let locked: Vec<Dependency> = locked
        .iter()
        .map(|locked| Dependency {
            name: locked.name.clone(),
            version: locked.version.clone(),
            repository: locked.repository.clone(),
            ..Dependency::default()
        })
        .collect();
    write_list(&mut json, &locked);
    json.push(']');
    Digest::of(json.as_bytes()).to_string()
}

/// The digest of Helm 2, over the wishes alone, which Helm still takes.
fn old_digest(wanted: &[Dependency]) -> String {
    let mut json = String::from("{\"dependencies\":");
    write_list(&mut json, wanted);
    json.push('}');
    Digest::of(json.as_bytes()).to_string()
}

fn write_list(json: &mut String, dependencies: &[Dependency]) {
    if dependencies.is_empty() {
        // A list that was never made.
        json.push_str("null");
        return;
    }
    json.push('[');
    for (place, dependency) in dependencies.iter().enumerate() {
        if place > 0 {
            json.push(',');
        }
        write_dependency(json, dependency);
    }
    json.push(']');
}

fn write_dependency(json: &mut String, dependency: &Dependency) {
    let text = |json: &mut String, key: &str, text: &str| {
        json.push_str(&format!(",\"{key}\":"));
        write_string(json, text, true);
    };
    json.push_str("{\"name\":");
    write_string(json, &dependency.name, true);
    if !dependency.version.is_empty() {
        text(json, "version", &dependency.version);
    }
    text(json, "repository", &dependency.repository);
    if !dependency.condition.is_empty() {
        text(json, "condition", &dependency.condition);
    }
    if !dependency.tags.is_empty() {
        let tags = dependency.tags.iter().map(|tag| Value::from(tag.as_str()));
        json.push_str(",\"tags\":");
        json.push_str(&to_json(&Value::List(tags.collect())));
    }
    if dependency.enabled {
        json.push_str(",\"enabled\":true");
    }
    if !dependency.import_values.is_empty() {
        let values = dependency.import_values.iter().map(import_value);
        json.push_str(",\"import-values\":");
        json.push_str(&to_json(&Value::List(values.collect())));
    }
    if !dependency.alias.is_empty() {
        text(json, "alias", &dependency.alias);
    }
    json.push('}');
}

fn import_value(import: &ImportValues) -> Value {
    match import {
        ImportValues::Export(name) => name.as_str().into(),
        ImportValues::Table { child, parent } => [("child", child.as_str()), ("parent", parent.as_str())]
            .into_iter()
            .collect(),
        ImportValues::Other(value) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chart_model::Metadata;

    /// A chart's dependencies and the digest that Helm 4.3.1 wrote for them.
    #[test]
    fn the_digest_is_helms() {
        let metadata = from_yaml(
            r#"
name: dep
version: 0.1.0
dependencies:
- name: web
  version: "<=1.x"
  repository: http://127.0.0.1:8931
  condition: web.enabled
  tags: [a, b]
- name: web
  alias: other
  version: 0.1.0
  repository: http://127.0.0.1:8931
  import-values: [x, {child: a, parent: b}]
- name: db
  version: ">=0"
  repository: file://../src/db
"#,
        )
        .unwrap();
        let wanted = Metadata::from_value(&metadata).unwrap().dependencies;
        let mut lock = ChartLock::read(
            "dependencies:\n- name: web\n  repository: http://127.0.0.1:8931\n  version: 1.0.0\n- name: web\n  repository: http://127.0.0.1:8931\n  version: 0.1.0\n- name: db\n  repository: file://../src/db\n  version: 0.1.0\ndigest: sha256:3d9ed29415a6e05553d6f81c98dba88fb998b10d9cd2f412390c876642ef6458\ngenerated: \"2026-11-21T23:28:32.986395986Z\"\n",
        )
        .unwrap();
        assert_eq!(lock_digest(&wanted, &lock.dependencies), lock.digest);
        assert!(lock.fits(&wanted));
        lock.dependencies[0].version = "0.9.0".into();
        assert!(!lock.fits(&wanted));
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let text = "artifacts:\n- digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n  path: web/db\n  repository: https://h\n  version: 1.0.0\n- path: own\n  repository: file://../own\n  version: 2.0.0\ndependencies:\n- name: web\n  repository: https://h\n  version: 1.0.0\ndigest: sha256:00\ngenerated: \"2026-11-21T23:28:32Z\"\n";
        let lock = ChartLock::read(text).unwrap();
        assert_eq!(lock.artifact("web/db").unwrap().digest, Some(Digest::of(b"")));
        assert_eq!(lock.artifacts[1].digest, None);
        assert_eq!(lock.write().unwrap(), text);
    }

    #[test]
    fn err_locks_that_are_none() {
        for text in [
            "[]",
            "a: b: c",
            "digest: [1]",
            "dependencies: x",
            "dependencies: [x]",
            "artifacts: [{path: a, digest: sha256:12}]",
        ] {
            assert!(ChartLock::read(text).is_err(), "{text}");
        }
    }
}
