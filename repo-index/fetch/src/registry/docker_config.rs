//! Logins as docker and helm keep them: `config.json` and credential helpers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::atomic_file::write_atomic;
use crate::secret::Secret;

/// Longest time that a helper may think.
const HELPER_TIME_MAX: Duration = Duration::from_secs(60);
/// The name under which docker's own registry is kept.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// The user name that stands for an identity token.
const TOKEN_USER: &str = "<token>";

/// A file of logins. Fields that are not about logins are kept.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
    fields: Map<String, Value>,
    helper_path: Option<String>,
}

/// How to log in at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// With name and password.
    Password { username: String, password: Secret },
    /// With a token that is exchanged for others.
    IdentityToken(Secret),
}

/// Why logins cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum DockerConfigError {
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
    /// It is no JSON.
    #[error("cannot read `{}`: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A helper does not do its work.
    #[error("the credential helper `{helper}` fails: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// Why.
        reason: String,
    },
    /// Nobody was logged in.
    #[error("not logged in to {0}")]
    NotLoggedIn(String),
}

impl DockerConfig {
    /// Reads a file of logins; one that does not exist is empty.
    ///
    /// `helper_path` is where helpers are looked for, as in `PATH`.
    pub fn load(path: &Path, helper_path: Option<String>) -> Result<Self, DockerConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(DockerConfigError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let format = |reason: String| DockerConfigError::Format {
            path: path.to_owned(),
            reason,
        };
        let fields = if text.trim().is_empty() {
            Map::new()
        } else {
            match serde_json::from_str(&text).map_err(|error| format(error.to_string()))? {
                Value::Object(fields) => fields,
                _ => return Err(format("it must be a table".to_owned())),
            }
        };
        Ok(Self {
            path: path.to_owned(),
            fields,
            helper_path,
        })
    }

    /// The login at a registry, if there is one.
    pub(crate) async fn login(&self, registry: &str) -> Result<Option<Login>, DockerConfigError> {
        let server = server_name(registry);
        let known = names(registry).find_map(|name| self.fields.get("auths")?.get(&name));
        if let Some(helper) = self.helper(registry) {
            return self.ask_helper(&helper, &server).await;
        }
        Ok(known.and_then(login_of_entry))
    }

    /// Keeps a login, with the helper if one is named, else in the file.
    pub async fn keep(
        &mut self,
        registry: &str,
        username: &str,
        password: &Secret,
    ) -> Result<(), DockerConfigError> {
        let server = server_name(registry);
        let entry = match self.helper(registry) {
            Some(helper) => {
                let login = json!({"ServerURL": server, "Username": username, "Secret": password.reveal()});
                self.run_helper(&helper, "store", &login.to_string()).await?;
                json!({})
            }
            None => json!({"auth": BASE64_STANDARD.encode(format!("{username}:{}", password.reveal()))}),
        };
        let auths = self.fields.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[&server] = entry;
        self.save()
    }

    /// Forgets a login.
    pub async fn forget(&mut self, registry: &str) -> Result<(), DockerConfigError> {
        let mut known = false;
        if let Some(Value::Object(auths)) = self.fields.get_mut("auths") {
            for name in names(registry) {
                known |= auths.remove(&name).is_some();
            }
        }
        if let Some(helper) = self.helper(registry) {
            let server = server_name(registry);
            known |= self.ask_helper(&helper, &server).await?.is_some();
            if known {
                self.run_helper(&helper, "erase", &server).await?;
            }
        }
        if !known {
            return Err(DockerConfigError::NotLoggedIn(registry.to_owned()));
        }
        self.save()
    }

    fn save(&self) -> Result<(), DockerConfigError> {
        let mut text = serde_json::to_string_pretty(&self.fields).unwrap_or_default();
        text.push('\n');
        write_atomic(&self.path, text.as_bytes(), true).map_err(|source| DockerConfigError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// The helper for a registry: its own, else the one for all.
    fn helper(&self, registry: &str) -> Option<String> {
        let own = names(registry).find_map(|name| self.fields.get("credHelpers")?.get(&name)?.as_str());
        let helper = own.or_else(|| self.fields.get("credsStore")?.as_str())?;
        Some(helper.to_owned()).filter(|helper| !helper.is_empty())
    }

    async fn ask_helper(&self, helper: &str, server: &str) -> Result<Option<Login>, DockerConfigError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            #[serde(default)]
            username: String,
            #[serde(default)]
            secret: Secret,
        }
        let Some(text) = self.run_helper(helper, "get", server).await? else {
            return Ok(None);
        };
        let found: Found = serde_json::from_str(&text).map_err(|error| DockerConfigError::Helper {
            helper: helper_program(helper),
            reason: error.to_string(),
        })?;
        Ok(if found.secret.is_empty() {
            None
        } else if found.username == TOKEN_USER {
            Some(Login::IdentityToken(found.secret))
        } else {
            Some(Login::Password {
                username: found.username,
                password: found.secret,
            })
        })
    }

    /// Runs a helper by docker's protocol: a word as argument, the rest by stdin. `None`: it knows no such login.
    async fn run_helper(
        &self,
        helper: &str,
        word: &str,
        input: &str,
    ) -> Result<Option<String>, DockerConfigError> {
        let program = helper_program(helper);
        let failed = |reason: String| DockerConfigError::Helper {
            helper: program.clone(),
            reason,
        };
        if helper.contains(['/', '\\']) {
            return Err(failed("its name is a path".to_owned()));
        }
        let mut command = Command::new(&program);
        command
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(path) = &self.helper_path {
            let found = std::env::split_paths(path).map(|folder| folder.join(&program));
            let found = found.into_iter().find(|program| program.is_file());
            let Some(found) = found else {
                return Err(failed("it is not on the path".to_owned()));
            };
            let mut known = Command::new(found);
            known
                .arg(word)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true);
            command = known;
        }
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let work = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that does not read says so by its status.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(HELPER_TIME_MAX, work)
            .await
            .map_err(|_| failed("it does not end".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(Some(said));
        }
        // The words of the protocol.
        if word == "get" && said.contains("credentials not found") {
            return Ok(None);
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(failed(if said.is_empty() { complaint } else { said }))
    }
}

fn helper_program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

fn server_name(registry: &str) -> String {
    match registry {
        "docker.io" | "registry-1.docker.io" | "index.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

/// The names under which a login may be kept, the usual one first.
fn names(registry: &str) -> impl Iterator<Item = String> + use<> {
    let server = server_name(registry);
    let others = [
        format!("https://{registry}"),
        format!("http://{registry}"),
        format!("https://{registry}/v1/"),
    ];
    std::iter::once(server)
        .chain(std::iter::once(registry.to_owned()))
        .chain(others)
}

fn login_of_entry(entry: &Value) -> Option<Login> {
    let text = |field: &str| {
        entry
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(token) = text("identitytoken") {
        return Some(Login::IdentityToken(Secret::new(token)));
    }
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(Login::Password {
            username: username.to_owned(),
            password: Secret::new(password),
        });
    }
    let pair = BASE64_STANDARD.decode(text("auth")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Login::Password {
        username: username.to_owned(),
        password: Secret::new(password.trim_end_matches('\0')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        // A helper that keeps logins in files.
        let helper = folder.path().join("docker-credential-file");
        std::fs::write(
            &helper,
            format!(
                "#!/bin/sh\nread -r line\ncd '{}'\ncase $1 in\nget) [ -f kept ] && cat kept || {{ echo 'credentials not found in native keychain'; exit 1; }};;\nstore) echo \"$line\" > kept;;\nerase) rm kept;;\nesac\n",
                folder.path().display()
            ),
        )
        .unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let helper_path = format!("{}:/usr/bin:/bin", folder.path().display());
        let config = DockerConfig::load(&path, Some(helper_path)).unwrap();
        (folder, config)
    }

    fn password(username: &str, password: &str) -> Option<Login> {
        Some(Login::Password {
            username: username.into(),
            password: Secret::new(password),
        })
    }

    #[tokio::test]
    async fn logins_are_found_under_every_name() {
        let (_folder, config) = config(
            r#"{"auths": {"a:5000": {"auth": "YW5uOnM6dA=="}, "https://b": {"username": "u", "password": "p"},
                "https://index.docker.io/v1/": {"identitytoken": "t"}, "empty": {}, "bad": {"auth": "%"}}}"#,
        );
        for (registry, wanted) in [
            ("a:5000", password("ann", "s:t")),
            ("b", password("u", "p")),
            ("docker.io", Some(Login::IdentityToken(Secret::new("t")))),
            ("empty", None),
            ("bad", None),
            ("a", None),
        ] {
            assert_eq!(config.login(registry).await.unwrap(), wanted, "{registry}");
        }
    }

    #[tokio::test]
    async fn a_login_is_kept_and_forgotten_and_the_rest_stays() {
        let (folder, mut config) = config(r#"{"detachKeys": "x", "auths": {"old": {}}}"#);
        config.keep("h:1", "ann", &Secret::new("pw")).await.unwrap();
        let path = folder.path().join("config.json");
        let again = DockerConfig::load(&path, None).unwrap();
        assert_eq!(again.login("h:1").await.unwrap(), password("ann", "pw"));
        assert_eq!(again.fields["detachKeys"], "x");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        config.forget("h:1").await.unwrap();
        assert_eq!(config.login("h:1").await.unwrap(), None);
        assert!(config.forget("h:1").await.is_err());
    }

    #[tokio::test]
    async fn helpers_keep_logins_outside_of_the_file() {
        for text in [r#"{"credsStore": "file"}"#, r#"{"credHelpers": {"h": "file"}}"#] {
            let (folder, mut config) = config(text);
            assert_eq!(config.login("h").await.unwrap(), None);
            config.keep("h", "ann", &Secret::new("pw")).await.unwrap();
            let file = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
            assert!(!file.contains("YW5u"), "{file}");
            assert_eq!(config.login("h").await.unwrap(), password("ann", "pw"));
            config.forget("h").await.unwrap();
            assert_eq!(config.login("h").await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn err_a_helper_that_is_missing_or_a_path() {
        let (_folder, config) = config(r#"{"credsStore": "none", "credHelpers": {"h": "../x"}}"#);
        for (registry, words) in [
            (
                "a",
                "the credential helper `docker-credential-none` fails: it is not on the path",
            ),
            (
                "h",
                "the credential helper `docker-credential-../x` fails: its name is a path",
            ),
        ] {
            assert_eq!(config.login(registry).await.unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn err_a_file_that_is_no_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for text in ["{", "[]"] {
            std::fs::write(&path, text).unwrap();
            assert!(DockerConfig::load(&path, None).is_err());
        }
    }
}
