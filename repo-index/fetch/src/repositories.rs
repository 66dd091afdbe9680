//! `repositories.yaml`: the repositories that were added.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use chart_values::yaml::{EmitError, YamlError, from_yaml, to_yaml};
use chart_values::{Map, Value};

use crate::atomic_file::write_atomic;
use crate::secret::Secret;

/// A repository that was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryConfig {
    /// Its name in `NAME/CHART`.
    pub name: String,
    /// Its address; `index.yaml` is below it.
    pub url: String,
    /// A name to log in with.
    pub username: String,
    /// A password to log in with.
    pub password: Secret,
    /// Certificates of authorities.
    pub ca_file: String,
    /// Our certificate.
    pub cert_file: String,
    /// The key of our certificate.
    pub key_file: String,
    /// Trust any certificate.
    pub insecure_skip_tls_verify: bool,
    /// Tell name and password to other hosts that the index leads to.
    pub pass_credentials_all: bool,
}

/// The repositories that were added, in the order of the file, which Helm reads and writes as well.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Repositories {
    /// The repositories.
    pub list: Vec<RepositoryConfig>,
    api_version: String,
    generated: Option<Value>,
}

/// Why the repositories cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoriesError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write `{}`: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no YAML.
    #[error("couldn't load repositories file ({}): {source}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: YamlError,
    },
    /// It is YAML of another shape.
    #[error("couldn't load repositories file ({}): {reason}", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written as YAML.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The name would be a path.
    #[error("repository name ({0}) contains '/', please specify a different name without '/'")]
    SlashInName(String),
    /// The name is no name of a file.
    #[error("repository name ({0}) is invalid")]
    Name(String),
}

/// Refuses names that cannot stand in `NAME/CHART` and in names of files.
pub fn check_repository_name(name: &str) -> Result<(), RepositoriesError> {
    if name.contains('/') {
        return Err(RepositoriesError::SlashInName(name.to_owned()));
    }
    if name.is_empty() || name.starts_with('.') || name.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(RepositoriesError::Name(name.to_owned()));
    }
    Ok(())
}

impl Repositories {
    /// Reads the file; one that does not exist is empty.
    pub fn load(path: &Path) -> Result<Self, RepositoriesError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(RepositoriesError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let value = from_yaml(&text).map_err(|source| RepositoriesError::Yaml {
            path: path.to_owned(),
            source,
        })?;
        Self::from_value(&value).map_err(|reason| RepositoriesError::Shape {
            path: path.to_owned(),
            reason,
        })
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let fields = match value {
            Value::Map(fields) => fields,
            Value::Null => return Ok(Self::default()),
            _ => return Err("it must be a table".to_owned()),
        };
        let list = match fields.get("repositories") {
            None | Some(Value::Null) => &[][..],
            Some(Value::List(list)) => list,
            Some(_) => return Err("`repositories` must be a list".to_owned()),
        };
        let list = list.iter().map(repository_from).collect::<Result<_, _>>()?;
        Ok(Self {
            list,
            api_version: text(fields, "apiVersion")?,
            generated: fields.get("generated").cloned(),
        })
    }

    /// Writes the file, for its owner's eyes only, as there may be passwords in it.
    pub fn save(&self, path: &Path) -> Result<(), RepositoriesError> {
        let list = self.list.iter().map(|repository| {
            let texts = [
                ("caFile", repository.ca_file.as_str()),
                ("certFile", &repository.cert_file),
                ("keyFile", &repository.key_file),
                ("name", &repository.name),
                ("password", repository.password.reveal()),
                ("url", &repository.url),
                ("username", &repository.username),
            ];
            let flags = [
                ("insecure_skip_tls_verify", repository.insecure_skip_tls_verify),
                ("pass_credentials_all", repository.pass_credentials_all),
            ];
            let texts = texts.map(|(key, text)| (key.to_owned(), Value::from(text)));
            let flags = flags.map(|(key, flag)| (key.to_owned(), Value::Bool(flag)));
            Value::Map(texts.into_iter().chain(flags).collect())
        });
        let generated = self
            .generated
            .clone()
            .unwrap_or_else(|| "0001-01-01T00:00:00Z".into());
        let fields = Map::from([
            ("apiVersion".to_owned(), self.api_version.as_str().into()),
            ("generated".to_owned(), generated),
            ("repositories".to_owned(), Value::List(list.collect())),
        ]);
        let text = to_yaml(&Value::Map(fields))? + "\n";
        write_atomic(path, text.as_bytes(), true).map_err(|source| RepositoriesError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Changes the file while no other tug and no Helm changes it.
    pub fn change<T, E: From<RepositoriesError>>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = lock(path)?;
        let mut repositories = Self::load(path)?;
        let before = repositories.clone();
        let outcome = change(&mut repositories)?;
        if repositories != before {
            repositories.save(path)?;
        }
        Ok(outcome)
    }

    /// The repository of a name.
    pub fn get(&self, name: &str) -> Option<&RepositoryConfig> {
        self.list.iter().find(|repository| repository.name == name)
    }

    /// The repository of an address, whether it ends with a slash or not.
    pub fn by_url(&self, url: &str) -> Option<&RepositoryConfig> {
        let bare = url.trim_end_matches('/');
        self.list
            .iter()
            .find(|repository| repository.url.trim_end_matches('/') == bare)
    }

    /// Adds a repository, or replaces the one of the same name in its place.
    pub fn put(&mut self, repository: RepositoryConfig) {
        match self.list.iter_mut().find(|known| known.name == repository.name) {
            Some(known) => *known = repository,
            None => self.list.push(repository),
        }
    }

    /// Removes a repository.
    pub fn remove(&mut self, name: &str) -> Option<RepositoryConfig> {
        let place = self.list.iter().position(|repository| repository.name == name)?;
        Some(self.list.remove(place))
    }
}

/// Takes Helm's lock for the file, which is kept until the handle is dropped.
fn lock(path: &Path) -> Result<File, RepositoriesError> {
    let path = path.with_extension("lock");
    let failed = |source| RepositoriesError::Write {
        path: path.clone(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn repository_from(value: &Value) -> Result<RepositoryConfig, String> {
    let fields = value.as_map().ok_or("`repositories` must be a list of tables")?;
    Ok(RepositoryConfig {
        name: text(fields, "name")?,
        url: text(fields, "url")?,
        username: text(fields, "username")?,
        password: Secret::new(text(fields, "password")?),
        ca_file: text(fields, "caFile")?,
        cert_file: text(fields, "certFile")?,
        key_file: text(fields, "keyFile")?,
        insecure_skip_tls_verify: flag(fields, "insecure_skip_tls_verify")?,
        pass_credentials_all: flag(fields, "pass_credentials_all")?,
    })
}

fn text(fields: &Map, key: &str) -> Result<String, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Int(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("`{key}` must be a text")),
    }
}

fn flag(fields: &Map, key: &str) -> Result<bool, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(format!("`{key}` must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Helm 4.3.1 writes it.
    const HELMS: &str = "apiVersion: \"\"\ngenerated: \"0001-01-01T00:00:00Z\"\nrepositories:\n- caFile: \"\"\n  certFile: \"\"\n  insecure_skip_tls_verify: false\n  keyFile: \"\"\n  name: t\n  pass_credentials_all: false\n  password: \"\"\n  url: http://127.0.0.1:8931\n  username: \"\"\n";

    #[test]
    fn the_file_is_helms() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/repositories.yaml");
        Repositories::change(&path, |repositories| {
            repositories.put(RepositoryConfig {
                name: "t".into(),
                url: "http://127.0.0.1:8931".into(),
                ..RepositoryConfig::default()
            });
            Ok::<_, RepositoriesError>(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), HELMS);
        let read = Repositories::load(&path).unwrap();
        assert!(read.by_url("http://127.0.0.1:8931/").is_some());
        assert!(read.get("u").is_none());
        Repositories::change(&path, |repositories| {
            assert!(repositories.remove("t").is_some());
            Ok::<_, RepositoriesError>(())
        })
        .unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .ends_with("\nrepositories: []\n")
        );
    }

    #[test]
    fn err_names_that_would_be_paths() {
        for name in ["a/b", "", "..", ".a", "a\\b", "a\nb"] {
            assert!(check_repository_name(name).is_err(), "{name}");
        }
        check_repository_name("bitnami-2").unwrap();
    }

    #[test]
    fn err_files_of_another_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yaml");
        for text in [
            "[]",
            "repositories: x",
            "repositories: [x]",
            "repositories: [{name: [x]}]",
            "a: b: c",
        ] {
            fs::write(&path, text).unwrap();
            assert!(Repositories::load(&path).is_err(), "{text}");
        }
    }
}
