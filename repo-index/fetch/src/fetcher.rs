//! From a reference to an archive, wherever it is.

use std::io;

use bytes::Bytes;
use chart_model::{Chart, LoadChartError};
use chart_values::constraint::{ConstraintError, Version};
use repo_index::{
    ChartPlace, ChartReference, DEVEL, Digest, OciReference, OciReferenceError, ReferenceError,
    check_chart_name, ranked,
};
use reqwest::Url;

use crate::builtin::{BuiltinError, BuiltinRepository};
use crate::content_cache::ContentCache;
use crate::http::{Credentials, HttpClient, HttpError, HttpOptions};
use crate::index_cache::CachedVersion;
use crate::locations::Locations;
use crate::observer::Observer;
use crate::registry::{DockerConfig, DockerConfigError, Registry, RegistryError, RegistryOptions};
use crate::repositories::{Repositories, RepositoriesError, RepositoryConfig};
use crate::repository::{Freshness, RepositoryClient, RepositoryError};

/// How servers are reached, and who we are there.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// How servers are spoken to.
    pub http: HttpOptions,
    /// Who we are, for the server that the user names; added repositories and registries have their own.
    pub credentials: Option<Credentials>,
    /// Registries are spoken to without TLS.
    pub plain_http: bool,
    /// Where credential helpers are looked for.
    pub helper_path: Option<String>,
}

/// Which chart is wanted, besides the reference to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// A version or a constraint; empty for the highest.
    pub version: String,
    /// Pre-releases too, where no version is given.
    pub devel: bool,
    /// The address of the repository in which a chart's bare name is looked for.
    pub repository: String,
    /// The provenance file is wanted too.
    pub provenance: bool,
}

/// A chart that was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The archive.
    pub archive: Bytes,
    /// The name of the archive's file, safe to be one.
    pub file_name: String,
    /// The archive's digest.
    pub digest: Digest,
    /// The provenance file, if it was wanted and is there.
    pub provenance: Option<Bytes>,
    /// Where it came from.
    pub source: String,
    /// The digest of its manifest, if it came from a registry.
    pub manifest_digest: Option<Digest>,
}

/// Why a chart cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The reference is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A place in a registry is none.
    #[error(transparent)]
    Oci(#[from] OciReferenceError),
    /// The client cannot be made, or the server did not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The repository is of no use.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The list of repositories is of no use.
    #[error(transparent)]
    Repositories(#[from] RepositoriesError),
    /// The registry did not give the chart.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Logins cannot be read.
    #[error(transparent)]
    Logins(#[from] DockerConfigError),
    /// No such repository was added.
    #[error("repo {name} not found")]
    NoRepository {
        /// Its name.
        name: String,
    },
    /// The reference needs a repository.
    #[error("non-absolute URLs should be in form of repo_name/path_to_chart, got: {0}")]
    NoName(String),
    /// The index has no such chart or version.
    #[error(
        "chart {chart:?} matching {version} not found in {repository} index. (try 'tug repo update'): {reason}"
    )]
    NoVersion {
        /// The chart.
        chart: String,
        /// What was wanted.
        version: String,
        /// The repository.
        repository: String,
        /// Whether the chart or the version is missing.
        reason: String,
        /// The versions that there are, the highest first.
        available: Vec<String>,
    },
    /// A registry has no such version.
    #[error("could not locate a version matching provided version string {version}")]
    NoTag {
        /// What was wanted.
        version: String,
    },
    /// The version in the reference is not the one that is wanted.
    #[error("chart reference and version mismatch: {version} is not {tag}")]
    TwoVersions {
        /// The wanted version.
        version: String,
        /// The version in the reference.
        tag: String,
    },
    /// The constraint on versions cannot be read.
    #[error("version {version:?}: {source}")]
    Constraint {
        /// The constraint.
        version: String,
        /// What is wrong with it.
        source: ConstraintError,
    },
    /// What came is not what was pinned.
    #[error("{source_of} has the digest {found}, and {wanted} was pinned")]
    Pin {
        /// Where it came from.
        source_of: String,
        /// The pin.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// What came is no chart.
    #[error("{source_of} is no chart: {source}")]
    NoChart {
        /// Where it came from.
        source_of: String,
        /// Why it is none.
        source: LoadChartError,
    },
    /// A chart in the program itself is broken.
    #[error(transparent)]
    Builtin(#[from] BuiltinError),
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Fetches charts by reference.
pub struct Fetcher<'o> {
    access: Access,
    locations: Locations,
    builtin: Option<BuiltinRepository>,
    observer: &'o dyn Observer,
}

impl<'o> Fetcher<'o> {
    /// Makes a fetcher; nothing is read or sent yet.
    pub fn new(
        access: Access,
        locations: Locations,
        builtin: Option<BuiltinRepository>,
        observer: &'o dyn Observer,
    ) -> Self {
        Self {
            access,
            locations,
            builtin,
            observer,
        }
    }

    /// Where files are.
    pub fn locations(&self) -> &Locations {
        &self.locations
    }

    /// Who is told what happens.
    pub fn observer(&self) -> &'o dyn Observer {
        self.observer
    }

    /// The repository in the program itself.
    pub fn builtin(&self) -> Option<&BuiltinRepository> {
        self.builtin.as_ref()
    }

    /// The repositories that were added.
    pub fn repositories(&self) -> Result<Repositories, FetchError> {
        Ok(Repositories::load(&self.locations.repositories)?)
    }

    /// The client of a repository that was added, or of one that is only named by its address.
    pub fn repository(&self, config: RepositoryConfig) -> Result<RepositoryClient, FetchError> {
        Ok(RepositoryClient::new(config, &self.access.http, &self.locations)?)
    }

    /// The client of the repository at an address: with the settings of an added one if there is one of that address.
    pub fn repository_at(&self, url: &str) -> Result<RepositoryClient, FetchError> {
        if let Some(known) = self.repositories()?.by_url(url) {
            return self.repository(known.clone());
        }
        let (username, password) = match &self.access.credentials {
            Some(Credentials::Basic { username, password }) => (username.clone(), password.clone()),
            _ => Default::default(),
        };
        self.repository(RepositoryConfig {
            url: url.to_owned(),
            username,
            password,
            pass_credentials_all: self.access.http.pass_credentials,
            ..RepositoryConfig::default()
        })
    }

    /// The client of registries.
    pub fn registry(&self) -> Result<Registry, FetchError> {
        let files = [
            Some(&self.locations.registry_config),
            self.locations.docker_config.as_ref(),
        ];
        let logins = files.into_iter().flatten();
        let logins = logins
            .map(|path| DockerConfig::load(path, self.access.helper_path.clone()))
            .collect::<Result<_, _>>()?;
        let options = RegistryOptions {
            plain_http: self.access.plain_http,
            credentials: self.access.credentials.clone(),
            logins,
            partial_folder: self.content().partial_folder(),
        };
        Ok(Registry::new(HttpClient::new(self.access.http.clone())?, options))
    }

    fn content(&self) -> ContentCache {
        ContentCache::new(&self.locations.content_cache)
    }

    /// Fetches a chart. Paths are read as archives; a folder is for the caller to load.
    pub async fn fetch(&self, reference: &ChartReference, wish: &Wish) -> Result<Fetched, FetchError> {
        let fetched = match &reference.place {
            ChartPlace::Word(chart) | ChartPlace::Path(chart) if !wish.repository.is_empty() => {
                check_chart_name(chart)?;
                let client = self.repository_at(&wish.repository)?;
                self.fetch_from_repository(&client, chart, wish, reference.pin)
                    .await?
            }
            ChartPlace::Path(path) => self.read_archive(path)?,
            ChartPlace::Word(word) => return Err(FetchError::NoName(word.clone())),
            ChartPlace::Named { repository, chart } => {
                self.fetch_named(repository, chart, wish, reference.pin).await?
            }
            ChartPlace::Url(url) => self.fetch_url(url, wish).await?,
            ChartPlace::Oci(place) => self.fetch_from_registry(place, wish).await?,
        };
        match reference.pin {
            Some(wanted) if wanted != fetched.digest => Err(FetchError::Pin {
                source_of: fetched.source,
                wanted,
                found: fetched.digest,
            }),
            _ => Ok(fetched),
        }
    }

    async fn fetch_named(
        &self,
        repository: &str,
        chart: &str,
        wish: &Wish,
        pin: Option<Digest>,
    ) -> Result<Fetched, FetchError> {
        if let Some(config) = self.repositories()?.get(repository) {
            let client = self.repository(config.clone())?;
            return self.fetch_from_repository(&client, chart, wish, pin).await;
        }
        let builtin = self.builtin.filter(|builtin| builtin.name == repository);
        let builtin = builtin.ok_or_else(|| FetchError::NoRepository {
            name: repository.to_owned(),
        })?;
        let wanted = wished_version(wish);
        let found = builtin
            .find(chart, wanted)
            .map_err(|source| FetchError::Constraint {
                version: wanted.to_owned(),
                source,
            })?;
        let (metadata, files) =
            found.ok_or_else(|| no_version(repository, chart, wish, builtin.versions(chart)))?;
        let archive = crate::builtin::archive(files)?;
        Ok(Fetched {
            file_name: format!("{}-{}.tgz", metadata.name, metadata.version),
            digest: Digest::of(&archive),
            archive,
            provenance: None,
            source: format!("{repository}/{chart}"),
            manifest_digest: None,
        })
    }

    /// Fetches a chart from a repository, at its highest version that the wish allows.
    pub async fn fetch_from_repository(
        &self,
        client: &RepositoryClient,
        chart: &str,
        wish: &Wish,
        pin: Option<Digest>,
    ) -> Result<Fetched, FetchError> {
        let config = client.config();
        // Nobody updates a repository that was never added.
        let freshness = if config.name.is_empty() {
            Freshness::Asked
        } else {
            Freshness::Kept
        };
        let index = client.index(freshness, self.observer).await?;
        let name = if config.name.is_empty() {
            &config.url
        } else {
            &config.name
        };
        let known = index.chart(chart);
        let versions = known.map(|known| known.versions).unwrap_or_default();
        let version = choose(&versions, wish, pin)?.ok_or_else(|| {
            let available = versions.iter().map(|known| known.version.clone()).collect();
            no_version(name, chart, wish, available)
        })?;
        let (url, archive, provenance) = client
            .archive(chart, version, wish.provenance, self.observer)
            .await?;
        Ok(Fetched {
            file_name: file_name_of_url(&url, chart, &version.version),
            digest: Digest::of(&archive),
            archive,
            provenance,
            source: url,
            manifest_digest: None,
        })
    }

    async fn fetch_url(&self, text: &str, wish: &Wish) -> Result<Fetched, FetchError> {
        let url = Url::parse(text).map_err(|_| HttpError::Url { url: text.to_owned() })?;
        // An archive of an added repository is fetched with that repository's credentials.
        let repositories = self.repositories()?;
        let owner = repositories.list.iter().find(|repository| {
            let base = repository.url.trim_end_matches('/');
            text.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
        });
        let client = match owner {
            Some(config) => self.repository(config.clone())?,
            None => self.repository_at(&folder_of(&url))?,
        };
        let version = CachedVersion {
            urls: vec![text.to_owned()],
            ..CachedVersion::default()
        };
        let (source, archive, provenance) = client
            .archive(text, &version, wish.provenance, self.observer)
            .await?;
        Ok(Fetched {
            file_name: file_name_of_url(&source, "chart", "0"),
            digest: Digest::of(&archive),
            archive,
            provenance,
            source,
            manifest_digest: None,
        })
    }

    /// Fetches a chart from a registry, by digest, by tag, or at its highest version that the wish allows.
    pub async fn fetch_from_registry(
        &self,
        place: &OciReference,
        wish: &Wish,
    ) -> Result<Fetched, FetchError> {
        let registry = self.registry()?;
        let place = self.settle(&registry, place, wish).await?;
        let pulled = registry
            .pull_chart(&place, wish.provenance, self.observer)
            .await?;
        let chart = Chart::from_archive(&pulled.archive).map_err(|source| FetchError::NoChart {
            source_of: place.to_string(),
            source,
        })?;
        check_chart_name(chart.name())?;
        if let Err(error) = self.content().keep(&pulled.archive, pulled.provenance.as_deref()) {
            tracing::debug!(%error, "the archive is not kept");
        }
        Ok(Fetched {
            file_name: format!(
                "{}-{}.tgz",
                chart.name(),
                chart.metadata.version.replace(['/', '\\'], "_")
            ),
            digest: Digest::of(&pulled.archive),
            archive: pulled.archive,
            provenance: pulled.provenance,
            source: place.to_string(),
            manifest_digest: Some(pulled.manifest_digest),
        })
    }

    /// Gives a place in a registry the tag that the wish means.
    async fn settle(
        &self,
        registry: &Registry,
        place: &OciReference,
        wish: &Wish,
    ) -> Result<OciReference, FetchError> {
        if let Some(tag) = place.version() {
            if !wish.version.is_empty() && wish.version != tag {
                return Err(FetchError::TwoVersions {
                    version: wish.version.clone(),
                    tag,
                });
            }
            return Ok(place.clone());
        }
        if place.digest.is_some() {
            return Ok(place.clone());
        }
        if Version::parse_strict(&wish.version).is_ok() {
            return Ok(place.with_version(&wish.version));
        }
        let versions = registry.versions(place).await?;
        let wanted = wished_version(wish);
        let best =
            ranked(versions.iter().map(String::as_str), wanted).map_err(|source| FetchError::Constraint {
                version: wanted.to_owned(),
                source,
            })?;
        let best = best.first().ok_or_else(|| FetchError::NoTag {
            version: wish.version.clone(),
        })?;
        Ok(place.with_version(&versions[*best]))
    }

    fn read_archive(&self, path: &str) -> Result<Fetched, FetchError> {
        let failed = |source| FetchError::Read {
            path: path.to_owned(),
            source,
        };
        let archive = std::fs::read(path).map_err(failed)?;
        let name = std::path::Path::new(path).file_name().unwrap_or_default();
        Ok(Fetched {
            file_name: name.to_string_lossy().into_owned(),
            digest: Digest::of(&archive),
            archive: archive.into(),
            provenance: std::fs::read(format!("{path}.prov")).ok().map(Bytes::from),
            source: path.to_owned(),
            manifest_digest: None,
        })
    }
}

fn wished_version(wish: &Wish) -> &str {
    if wish.version.is_empty() && wish.devel {
        DEVEL
    } else {
        &wish.version
    }
}

fn choose<'v>(
    versions: &'v [CachedVersion],
    wish: &Wish,
    pin: Option<Digest>,
) -> Result<Option<&'v CachedVersion>, FetchError> {
    // A pin says best which version is meant.
    if let (Some(pin), true) = (pin, wish.version.is_empty())
        && let Some(pinned) = versions
            .iter()
            .find(|version| Digest::from_hex(&version.digest) == Ok(pin))
    {
        return Ok(Some(pinned));
    }
    let wanted = wished_version(wish);
    let best = ranked(versions.iter().map(|version| version.version.as_str()), wanted);
    let best = best.map_err(|source| FetchError::Constraint {
        version: wanted.to_owned(),
        source,
    })?;
    Ok(best.first().map(|place| &versions[*place]))
}

fn no_version(repository: &str, chart: &str, wish: &Wish, available: Vec<String>) -> FetchError {
    let reason = if available.is_empty() {
        "no chart name found".to_owned()
    } else {
        format!("no chart version found for {chart}-{}", wish.version)
    };
    FetchError::NoVersion {
        chart: chart.to_owned(),
        version: wish.version.clone(),
        repository: repository.to_owned(),
        reason,
        available,
    }
}

/// The last part of an address if it can be the name of a file, else one made of chart and version.
fn file_name_of_url(url: &str, chart: &str, version: &str) -> String {
    let name = Url::parse(url).ok().and_then(|url| {
        let last = url.path_segments()?.next_back()?.to_owned();
        check_chart_name(&last).is_ok().then_some(last)
    });
    let safe = |text: &str| text.replace(['/', '\\'], "_");
    name.filter(|name| name.ends_with(".tgz"))
        .unwrap_or_else(|| format!("{}-{}.tgz", safe(chart), safe(version)))
}

fn folder_of(url: &Url) -> String {
    let mut folder = url.clone();
    folder.set_query(None);
    if let Ok(mut parts) = folder.path_segments_mut() {
        parts.pop();
    }
    folder.to_string()
}
