//! The distribution protocol, as far as charts need it.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use repo_index::{Digest, OciReference, version_of_tag};
use reqwest::Url;
use serde::Deserialize;

use super::docker_config::{DockerConfig, Login};
use super::error::RegistryError;
use super::token::Challenge;
use crate::http::{Answer, Credentials, HttpClient, Request};
use crate::observer::Observer;
use crate::secret::Secret;

/// The most tags of a chart that are read.
const TAGS_MAX: usize = 200_000;
/// Name of the application in a request for a token.
const CLIENT_ID: &str = "tug";

/// How registries are spoken to.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Without TLS.
    pub plain_http: bool,
    /// Who we are, instead of the logins in the files.
    pub credentials: Option<Credentials>,
    /// Files of logins, the first that knows a registry wins.
    pub logins: Vec<DockerConfig>,
    /// Where downloads are kept that are not complete.
    pub partial_folder: PathBuf,
}

/// The client of registries.
#[derive(Debug)]
pub struct Registry {
    pub(super) http: HttpClient,
    pub(super) options: RegistryOptions,
    /// What to send to a registry for a scope, learned from its challenges.
    known: Mutex<HashMap<(String, String), Option<Credentials>>>,
}

/// What is done at a path, as tokens name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Pull,
    Push,
}

impl Right {
    fn scope(self, repository: &str) -> String {
        match self {
            Self::Pull => format!("repository:{repository}:pull"),
            Self::Push => format!("repository:{repository}:pull,push"),
        }
    }
}

impl Registry {
    /// Makes a client; nothing is sent yet.
    pub fn new(http: HttpClient, options: RegistryOptions) -> Self {
        Self {
            http,
            options,
            known: Mutex::default(),
        }
    }

    /// Tries name and password at a registry.
    pub async fn check_login(
        &self,
        registry: &str,
        username: &str,
        password: &Secret,
    ) -> Result<(), RegistryError> {
        let url = self.url(registry, "")?;
        let credentials = Credentials::Basic {
            username: username.to_owned(),
            password: password.clone(),
        };
        let answer = self.http.send(Request::get(url.clone())).await?;
        let answer = match challenge_of(&answer) {
            None => answer,
            Some(Challenge::Basic) => {
                let request = Request::get(url).with_credentials(Some(&credentials));
                self.http.send(request).await?
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                let login = Login::Password {
                    username: username.to_owned(),
                    password: password.clone(),
                };
                let token = self
                    .token(registry, &realm, service.as_deref(), None, Some(login))
                    .await?;
                self.http
                    .send(Request::get(url).with_credentials(Some(&token)))
                    .await?
            }
        };
        refuse_unauthorized(registry, "", &answer)?;
        answer.success()?;
        Ok(())
    }

    /// The versions of a chart: the tags that can be versions, in the registry's order.
    pub async fn versions(&self, reference: &OciReference) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Tags {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let first = self.url(
            &reference.registry,
            &format!("{}/tags/list", reference.repository),
        )?;
        let mut next = Some(first);
        let mut versions = Vec::new();
        while let Some(url) = next.take() {
            let answer = self
                .send(reference, Right::Pull, Request::get(url.clone()))
                .await?;
            let answer = found(answer, &reference.to_string())?;
            let page: Tags = parse(&reference.registry, &answer.body)?;
            let tags = page.tags.unwrap_or_default();
            let empty = tags.is_empty();
            let tags = tags.iter().map(|tag| version_of_tag(tag));
            versions.extend(tags.filter(|tag| tag.parse::<chart_values::constraint::Version>().is_ok()));
            if !empty && versions.len() < TAGS_MAX {
                next = next_page(&answer).and_then(|link| url.join(&link).ok());
                next = next.filter(|next| crate::http::same_origin(next, &url) && *next != url);
            }
        }
        Ok(versions)
    }

    /// The paths in a registry, where it lists them.
    pub async fn repositories(&self, registry: &str) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Catalog {
            #[serde(default)]
            repositories: Option<Vec<String>>,
        }
        let everything = OciReference {
            registry: registry.to_owned(),
            repository: String::new(),
            tag: None,
            digest: None,
        };
        let mut next = Some(self.url(registry, "_catalog?n=1000")?);
        let mut repositories = Vec::new();
        while let Some(url) = next.take() {
            let answer = self
                .send(&everything, Right::Pull, Request::get(url.clone()))
                .await?;
            let answer = found(answer, registry)?;
            let page: Catalog = parse(registry, &answer.body)?;
            let names = page.repositories.unwrap_or_default();
            if !names.is_empty() && repositories.len() < TAGS_MAX {
                next = next_page(&answer).and_then(|link| url.join(&link).ok());
                next = next.filter(|next| crate::http::same_origin(next, &url) && *next != url);
            }
            repositories.extend(names);
        }
        Ok(repositories)
    }

    /// A manifest by the digest or tag of the reference, checked against the digest if one is given.
    pub(super) async fn manifest(&self, reference: &OciReference) -> Result<(Digest, Bytes), RegistryError> {
        let name = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        };
        let url = self.url(
            &reference.registry,
            &format!("{}/manifests/{name}", reference.repository),
        )?;
        let request = Request::get(url).with_header(
            header::ACCEPT,
            "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json",
        );
        let answer = found(
            self.send(reference, Right::Pull, request).await?,
            &reference.to_string(),
        )?;
        let digest = Digest::of(&answer.body);
        match reference.digest {
            Some(wanted) if wanted != digest => Err(RegistryError::Digest {
                what: reference.to_string(),
                wanted,
                found: digest,
            }),
            _ => Ok((digest, answer.body)),
        }
    }

    /// A blob, checked against its digest. Goes on where an earlier download broke off.
    pub(super) async fn blob(
        &self,
        reference: &OciReference,
        digest: Digest,
        observer: &dyn Observer,
    ) -> Result<Bytes, RegistryError> {
        let url = self.url(
            &reference.registry,
            &format!("{}/blobs/{digest}", reference.repository),
        )?;
        let credentials = self.credentials(reference, Right::Pull, &url).await?;
        let request = Request::get(url).with_credentials(credentials.as_ref());
        let folder = &self.options.partial_folder;
        let bytes = self.http.download(request, folder, observer).await?;
        let found = Digest::of(&bytes);
        if found == digest {
            return Ok(bytes);
        }
        Err(RegistryError::Digest {
            what: format!("blob {digest} of {reference}"),
            wanted: digest,
            found,
        })
    }

    /// Uploads a blob unless the registry has it.
    pub(super) async fn push_blob(
        &self,
        reference: &OciReference,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let (registry, repository) = (&reference.registry, &reference.repository);
        let head = Request::new(
            Method::HEAD,
            self.url(registry, &format!("{repository}/blobs/{digest}"))?,
        );
        let known = self.send(reference, Right::Push, head).await?;
        refuse_unauthorized(registry, repository, &known)?;
        if known.status.is_success() {
            return Ok(digest);
        }
        let start = self.url(registry, &format!("{repository}/blobs/uploads/"))?;
        let started = self
            .send(reference, Right::Push, Request::new(Method::POST, start))
            .await?;
        let started = found(started, &reference.to_string())?;
        let location = started
            .header(&header::LOCATION)
            .and_then(|to| started.url.join(to).ok());
        let mut location = location.ok_or_else(|| RegistryError::Answer {
            registry: registry.clone(),
            reason: "an upload begins without a `Location`".to_owned(),
        })?;
        location
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        // A registry may have its blobs elsewhere; that place is told no credentials.
        let own = crate::http::same_origin(&location, &started.url);
        let put = Request::new(Method::PUT, location).with_body("application/octet-stream", bytes);
        let answer = if own {
            self.send(reference, Right::Push, put).await?
        } else {
            self.http.send(put).await?
        };
        found(answer, &reference.to_string())?;
        Ok(digest)
    }

    /// Uploads a manifest under the tag of the reference.
    pub(super) async fn push_manifest(
        &self,
        reference: &OciReference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let name = reference.tag.clone().unwrap_or_else(|| digest.to_string());
        let url = self.url(
            &reference.registry,
            &format!("{}/manifests/{name}", reference.repository),
        )?;
        let mut put = Request::new(Method::PUT, url).with_body(media_type, bytes);
        put.repeatable = true;
        found(
            self.send(reference, Right::Push, put).await?,
            &reference.to_string(),
        )?;
        Ok(digest)
    }

    pub(super) fn url(&self, registry: &str, path: &str) -> Result<Url, RegistryError> {
        let scheme = if self.options.plain_http { "http" } else { "https" };
        // Docker's own registry answers under another name than the one it is known by.
        let host = if registry == "docker.io" {
            "registry-1.docker.io"
        } else {
            registry
        };
        let text = format!("{scheme}://{host}/v2/{path}");
        Url::parse(&text).map_err(|_| RegistryError::Http(crate::http::HttpError::Url { url: text }))
    }

    /// Sends a request with what the registry demands, asking it what that is where it is not known yet.
    pub(super) async fn send(
        &self,
        reference: &OciReference,
        right: Right,
        request: Request<'_>,
    ) -> Result<Answer, RegistryError> {
        let key = (reference.registry.clone(), right.scope(&reference.repository));
        let known = self.lock().get(&key).cloned();
        let credentials = known.clone().flatten();
        let answer = self
            .http
            .send(request.clone().with_credentials(credentials.as_ref()))
            .await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // Tokens expire: one that is refused is got anew, once.
        let credentials = self.meet(reference, right, &answer).await?;
        if credentials.is_none() {
            return Ok(answer);
        }
        Ok(self
            .http
            .send(request.with_credentials(credentials.as_ref()))
            .await?)
    }

    /// The credentials for a download, which is asked for once without its body to learn what is demanded.
    async fn credentials(
        &self,
        reference: &OciReference,
        right: Right,
        url: &Url,
    ) -> Result<Option<Credentials>, RegistryError> {
        let key = (reference.registry.clone(), right.scope(&reference.repository));
        if let Some(known) = self.lock().get(&key) {
            return Ok(known.clone());
        }
        let head = Request::new(Method::HEAD, url.clone());
        let answer = self.send(reference, right, head).await?;
        refuse_unauthorized(&reference.registry, &reference.repository, &answer)?;
        Ok(self.lock().get(&key).cloned().flatten())
    }

    /// Gets what an answer demands.
    async fn meet(
        &self,
        reference: &OciReference,
        right: Right,
        answer: &Answer,
    ) -> Result<Option<Credentials>, RegistryError> {
        let login = self.login(&reference.registry).await?;
        let own_scope = right.scope(&reference.repository);
        let credentials = match (challenge_of(answer), login) {
            (Some(Challenge::Basic), Some(Login::Password { username, password })) => {
                Some(Credentials::Basic { username, password })
            }
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                login,
            ) => {
                let scope = scope.unwrap_or_else(|| own_scope.clone());
                let token = self
                    .token(
                        &reference.registry,
                        &realm,
                        service.as_deref(),
                        Some(&scope),
                        login,
                    )
                    .await?;
                Some(token)
            }
            _ => None,
        };
        let key = (reference.registry.clone(), own_scope);
        self.lock().insert(key, credentials.clone());
        Ok(credentials)
    }

    async fn login(&self, registry: &str) -> Result<Option<Login>, RegistryError> {
        match &self.options.credentials {
            Some(Credentials::Basic { username, password }) => {
                return Ok(Some(Login::Password {
                    username: username.clone(),
                    password: password.clone(),
                }));
            }
            Some(Credentials::Bearer(token)) => return Ok(Some(Login::IdentityToken(token.clone()))),
            None => {}
        }
        for config in &self.options.logins {
            if let Some(login) = config.login(registry).await? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// Asks for a token, with a login or as anybody.
    async fn token(
        &self,
        registry: &str,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        login: Option<Login>,
    ) -> Result<Credentials, RegistryError> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(default)]
            token: Secret,
            #[serde(default)]
            access_token: Secret,
        }
        let mut url = Url::parse(realm).map_err(|_| RegistryError::Answer {
            registry: registry.to_owned(),
            reason: format!("`{realm}` is no address of tokens"),
        })?;
        if url.scheme() != "https" && !self.options.plain_http {
            return Err(RegistryError::Answer {
                registry: registry.to_owned(),
                reason: format!("tokens would come from {realm}, without TLS"),
            });
        }
        let answer = match login {
            Some(Login::IdentityToken(refresh)) => {
                let mut form = Url::parse("form:///").map_err(|_| RegistryError::Answer {
                    registry: registry.to_owned(),
                    reason: String::new(),
                })?;
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", refresh.reveal())
                    .append_pair("client_id", CLIENT_ID)
                    .extend_pairs(service.map(|service| ("service", service)))
                    .extend_pairs(scope.map(|scope| ("scope", scope)));
                let body = Bytes::from(form.query().unwrap_or_default().to_owned());
                let request = Request::new(Method::POST, url);
                let request = request.with_body("application/x-www-form-urlencoded", body);
                self.http.send(request).await?
            }
            login => {
                url.query_pairs_mut()
                    .extend_pairs(service.map(|service| ("service", service)))
                    .extend_pairs(scope.map(|scope| ("scope", scope)));
                let credentials = match login {
                    Some(Login::Password { username, password }) => {
                        Some(Credentials::Basic { username, password })
                    }
                    _ => None,
                };
                let request = Request::get(url).with_credentials(credentials.as_ref());
                self.http.send(request).await?
            }
        };
        refuse_unauthorized(registry, scope.unwrap_or_default(), &answer)?;
        let token: Token = parse(registry, &answer.success()?.body)?;
        let token = if token.token.is_empty() {
            token.access_token
        } else {
            token.token
        };
        if token.is_empty() {
            return Err(RegistryError::Answer {
                registry: registry.to_owned(),
                reason: "there is no token in the answer".to_owned(),
            });
        }
        Ok(Credentials::Bearer(token))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Option<Credentials>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn challenge_of(answer: &Answer) -> Option<Challenge> {
    if answer.status != StatusCode::UNAUTHORIZED {
        return None;
    }
    let headers = answer.headers.get_all(header::WWW_AUTHENTICATE);
    headers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(Challenge::parse)
}

fn refuse_unauthorized(registry: &str, repository: &str, answer: &Answer) -> Result<(), RegistryError> {
    if !matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Ok(());
    }
    Err(RegistryError::Unauthorized {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        status: answer.status.to_string(),
    })
}

/// The answer if it is a yes.
fn found(answer: Answer, reference: &str) -> Result<Answer, RegistryError> {
    if answer.status == StatusCode::NOT_FOUND {
        return Err(RegistryError::NotFound {
            reference: reference.to_owned(),
        });
    }
    let host = answer.url.host_str().unwrap_or_default().to_owned();
    refuse_unauthorized(&host, reference, &answer)?;
    Ok(answer.success()?)
}

fn parse<'b, T: Deserialize<'b>>(registry: &str, body: &'b [u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(body).map_err(|error| RegistryError::Answer {
        registry: registry.to_owned(),
        reason: error.to_string(),
    })
}

/// The address in `Link: <...>; rel="next"`.
fn next_page(answer: &Answer) -> Option<String> {
    let links = answer.header(&header::LINK)?;
    let link = links
        .split(',')
        .find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
    let (_, rest) = link.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}
