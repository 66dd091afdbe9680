//! Repositories with an `index.yaml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{StatusCode, header};
use repo_index::{Digest, Index, ReadIndexError};
use reqwest::Url;

use crate::atomic_file::write_atomic;
use crate::content_cache::ContentCache;
use crate::http::{Credentials, HttpClient, HttpError, HttpOptions, Request, TlsOptions, same_origin};
use crate::index_cache::{CachedIndex, CachedVersion};
use crate::locations::Locations;
use crate::observer::{Event, Observer};
use crate::repositories::RepositoryConfig;

/// Bad entries of an index that are told one by one.
const SKIPPED_SHOWN_MAX: usize = 5;

/// The client of a repository.
#[derive(Debug)]
pub struct RepositoryClient {
    config: RepositoryConfig,
    url: Url,
    http: HttpClient,
    credentials: Option<Credentials>,
    index_path: PathBuf,
    charts_path: PathBuf,
    content: ContentCache,
}

/// Whether the server is asked when an index was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What was kept is good enough.
    Kept,
    /// The server is asked whether the index changed; if it is down, what was kept must do, with a warning.
    Asked,
}

/// Why a repository is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The server did not answer, or said no.
    #[error("looks like \"{url}\" is not a valid chart repository or cannot be reached: {source}")]
    Index {
        /// The repository's address.
        url: String,
        /// Why.
        source: HttpError,
    },
    /// What it gives is no index.
    #[error("looks like \"{url}\" is not a valid chart repository or cannot be reached: {source}")]
    Format {
        /// The repository's address.
        url: String,
        /// Why.
        source: ReadIndexError,
    },
    /// The archive or its provenance file did not come.
    #[error(transparent)]
    Download(#[from] HttpError),
    /// The archive is not what the index promises.
    #[error("{url} has the digest {found}, and {wanted} was expected")]
    Digest {
        /// The archive's address.
        url: String,
        /// The digest in the index.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The index names no address for the archive.
    #[error("chart {chart:?} has no downloadable URLs")]
    NoUrl {
        /// The chart.
        chart: String,
    },
    /// The index has an address or a digest that is none.
    #[error("the index of {url} has `{text}` where {wanted} should be")]
    BadEntry {
        /// The repository's address.
        url: String,
        /// What stands there.
        text: String,
        /// What should.
        wanted: &'static str,
    },
    /// The repository's address is none.
    #[error("could not find protocol handler for: `{0}` is no address of a repository")]
    Url(String),
    /// What came cannot be kept.
    #[error("cannot write `{}`: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RepositoryClient {
    /// Makes the client of a repository; nothing is sent. Its own settings come before those of `options`.
    pub fn new(
        config: RepositoryConfig,
        options: &HttpOptions,
        locations: &Locations,
    ) -> Result<Self, RepositoryError> {
        let url = Url::parse(&config.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| RepositoryError::Url(config.url.clone()))?;
        let own = |own: &str, usual: &Option<PathBuf>| {
            if own.is_empty() {
                usual.clone()
            } else {
                Some(PathBuf::from(own))
            }
        };
        let tls = TlsOptions {
            ca_file: own(&config.ca_file, &options.tls.ca_file),
            cert_file: own(&config.cert_file, &options.tls.cert_file),
            key_file: own(&config.key_file, &options.tls.key_file),
            insecure: config.insecure_skip_tls_verify || options.tls.insecure,
        };
        let http = HttpClient::new(HttpOptions {
            tls,
            pass_credentials: config.pass_credentials_all || options.pass_credentials,
            ..options.clone()
        })?;
        let credentials = (!config.username.is_empty()).then(|| Credentials::Basic {
            username: config.username.clone(),
            password: config.password.clone(),
        });
        let key = if config.name.is_empty() {
            // Only named by its address: a name that no added repository can have.
            format!(
                ".url-{}",
                &Digest::of(url.as_str().trim_end_matches('/').as_bytes()).hex()[..32]
            )
        } else {
            config.name.clone()
        };
        Ok(Self {
            index_path: locations.repository_cache.join(format!("{key}-index.yaml")),
            charts_path: locations.repository_cache.join(format!("{key}-charts.txt")),
            content: ContentCache::new(&locations.content_cache),
            config,
            url,
            http,
            credentials,
        })
    }

    /// Name and address.
    pub fn config(&self) -> &RepositoryConfig {
        &self.config
    }

    /// The index.
    pub async fn index(
        &self,
        freshness: Freshness,
        observer: &dyn Observer,
    ) -> Result<CachedIndex, RepositoryError> {
        let kept = self.kept();
        match (freshness, kept) {
            (Freshness::Kept, Some(kept)) => Ok(kept),
            (_, kept) => match self.refresh(kept.as_ref()).await {
                Ok(Some(fresh)) => {
                    self.report(&fresh, observer);
                    Ok(fresh)
                }
                Ok(None) => Ok(kept.unwrap_or_default()),
                Err(RepositoryError::Index { url, source }) if source.is_offline() && kept.is_some() => {
                    observer.event(Event::Warning(format!(
                        "{url} cannot be asked, its index is the one that was kept: {source}"
                    )));
                    Ok(kept.unwrap_or_default())
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Gets the index from the server even if it is down now and then: no answer is a failure.
    pub async fn update(&self, observer: &dyn Observer) -> Result<(), RepositoryError> {
        if let Some(fresh) = self.refresh(self.kept().as_ref()).await? {
            self.report(&fresh, observer);
        }
        Ok(())
    }

    /// Forgets what was kept of the repository.
    pub fn forget(&self) {
        forget(&self.index_path, &self.charts_path);
    }

    fn report(&self, index: &CachedIndex, observer: &dyn Observer) {
        let url = &self.config.url;
        for skipped in index.origin.skipped.iter().take(SKIPPED_SHOWN_MAX) {
            observer.event(Event::Warning(format!("{url}: {skipped}")));
        }
        let more = index.origin.skipped.len().saturating_sub(SKIPPED_SHOWN_MAX);
        if more > 0 {
            observer.event(Event::Warning(format!("{url}: {more} more entries are skipped")));
        }
    }

    /// What was kept of the index; parsed again only if somebody else wrote it.
    pub fn kept(&self) -> Option<CachedIndex> {
        if let Some(cached) = CachedIndex::load(&self.index_path) {
            return Some(cached);
        }
        let bytes = fs::read(&self.index_path).ok()?;
        let cached = CachedIndex::of(&Index::read(&bytes).ok()?);
        if let Err(error) = cached.save(&self.index_path) {
            tracing::debug!(%error, "the index will be parsed again");
        }
        Some(cached)
    }

    /// Asks for the index unless it is the one that was kept.
    async fn refresh(&self, kept: Option<&CachedIndex>) -> Result<Option<CachedIndex>, RepositoryError> {
        let failed = |source| RepositoryError::Index {
            url: self.config.url.clone(),
            source,
        };
        let mut request = Request::get(self.below("index.yaml")).with_credentials(self.credentials.as_ref());
        if let Some(etag) = kept.and_then(|kept| kept.origin.etag.as_deref()) {
            request = request.with_header(header::IF_NONE_MATCH, etag);
        }
        if let Some(time) = kept.and_then(|kept| kept.origin.last_modified.as_deref()) {
            request = request.with_header(header::IF_MODIFIED_SINCE, time);
        }
        let answer = self.http.send(request).await.map_err(failed)?;
        if answer.status == StatusCode::NOT_MODIFIED && kept.is_some() {
            return Ok(None);
        }
        let answer = answer.success().map_err(failed)?;
        let read = Index::read(&answer.body).map_err(|source| RepositoryError::Format {
            url: self.config.url.clone(),
            source,
        })?;
        let text = |name| answer.header(name).map(str::to_owned);
        let mut cached = CachedIndex::of(&read);
        cached.origin.etag = text(&header::ETAG);
        cached.origin.last_modified = text(&header::LAST_MODIFIED);
        let names: Vec<&str> = cached.charts().map(|chart| chart.name).collect();
        self.write(&self.charts_path, (names.join("\n") + "\n").as_bytes())?;
        self.write(&self.index_path, &answer.body)?;
        let saved = cached.save(&self.index_path);
        saved.map_err(|source| RepositoryError::Write {
            path: self.index_path.clone(),
            source,
        })?;
        Ok(Some(cached))
    }

    /// Fetches the archive of a version, and its provenance file if it is wanted. What was kept is not fetched again.
    pub async fn archive(
        &self,
        chart: &str,
        version: &CachedVersion,
        with_provenance: bool,
        observer: &dyn Observer,
    ) -> Result<(String, Bytes, Option<Bytes>), RepositoryError> {
        let url = version.urls.first().ok_or_else(|| RepositoryError::NoUrl {
            chart: chart.to_owned(),
        })?;
        let url = self.resolve(url)?;
        let wanted = match version.digest.as_str() {
            "" => None,
            digest => Some(Digest::from_hex(digest).map_err(|_| RepositoryError::BadEntry {
                url: self.config.url.clone(),
                text: digest.to_owned(),
                wanted: "a digest",
            })?),
        };
        let kept = wanted.and_then(|digest| self.content.archive(digest));
        let fetched = kept.is_none();
        let archive = match kept {
            Some(archive) => archive,
            None => self.download(&url, observer).await?,
        };
        let found = Digest::of(&archive);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(RepositoryError::Digest {
                url: url.to_string(),
                wanted,
                found,
            });
        }
        let provenance = if with_provenance {
            Some(self.provenance(&url, observer).await?)
        } else {
            None
        };
        if fetched {
            // Only saves time.
            if let Err(error) = self.content.keep(&archive, provenance.as_deref()) {
                tracing::debug!(%error, "the archive is not kept");
            }
        }
        Ok((url.to_string(), archive, provenance))
    }

    async fn provenance(&self, archive: &Url, observer: &dyn Observer) -> Result<Bytes, RepositoryError> {
        let mut url = archive.clone();
        url.set_path(&format!("{}.prov", archive.path()));
        Ok(self.download(&url, observer).await?)
    }

    async fn download(&self, url: &Url, observer: &dyn Observer) -> Result<Bytes, HttpError> {
        let told = same_origin(url, &self.url) || self.config.pass_credentials_all;
        let credentials = self.credentials.as_ref().filter(|_| told);
        let request = Request::get(url.clone()).with_credentials(credentials);
        self.http
            .download(request, &self.content.partial_folder(), observer)
            .await
    }

    /// The address of something in the repository, as the index writes it.
    fn resolve(&self, text: &str) -> Result<Url, RepositoryError> {
        let bad = || RepositoryError::BadEntry {
            url: self.config.url.clone(),
            text: text.to_owned(),
            wanted: "an address of an archive",
        };
        if let Ok(url) = Url::parse(text) {
            let good = matches!(url.scheme(), "http" | "https") && url.has_host();
            return if good { Ok(url) } else { Err(bad()) };
        }
        let mut url = self.below("").join(text).map_err(|_| bad())?;
        if url.query().is_none() {
            url.set_query(self.url.query());
        }
        Ok(url)
    }

    /// The address of something below the repository's own.
    fn below(&self, name: &str) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/{name}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
        write_atomic(path, bytes, false).map_err(|source| RepositoryError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

fn forget(index: &Path, charts: &Path) {
    CachedIndex::remove(index);
    for path in [index, charts] {
        // There may be none.
        let _ = fs::remove_file(path);
    }
}
