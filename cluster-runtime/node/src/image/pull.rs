//! Pulling from a registry: the name becomes a digest once, then every blob is fetched by digest.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::io::AsyncWriteExt;

use super::digest::Hashing;
use super::manifest::{self, Descriptor, Index, Manifest};
use super::store::ImageStore;
use super::{Digest, Image, ImageError, ImageName};
use crate::causes::with_causes;

const LAYERS_AT_ONCE: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const ACCEPTED: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Who pulls. It does not print its password.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user of the registry.
    Basic {
        /// Name of the user.
        user: String,
        /// Password or token.
        password: String,
    },
    /// A token that the registry issued.
    Bearer(String),
}

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullProgress {
    /// The name has become a digest.
    Resolved {
        /// Digest of the manifest.
        digest: Digest,
        /// Layers, and how many of them are there already.
        layers: usize,
        /// Layers that are there already.
        present: usize,
    },
    /// A layer is whole.
    Fetched {
        /// Digest of the blob.
        layer: Digest,
        /// Its bytes.
        bytes: u64,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { user, .. } => write!(f, "Basic({user}, ...)"),
            Self::Bearer(_) => f.write_str("Bearer(...)"),
        }
    }
}

impl ImageStore {
    /// Pulls an image and unpacks it. Layers that are there already are not fetched.
    ///
    /// A registry on `localhost` or a loopback address is spoken to without TLS, as Docker does. The process must
    /// have installed a TLS provider (`rustls::crypto::CryptoProvider::install_default`).
    pub async fn pull(&self, name: &str, credentials: &Credentials) -> Result<Image, ImageError> {
        self.pull_with(name, credentials, &|_| {}).await
    }

    /// Pulls an image and tells how far it is.
    pub async fn pull_with(
        &self,
        name: &str,
        credentials: &Credentials,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<Image, ImageError> {
        let name: ImageName = name.parse()?;
        let holding = self.hold_content()?;
        let pull = Pull::new(self, &name, credentials)?;
        let (manifest_digest, digest, manifest) = pull.resolve().await?;
        let mut wanted = manifest.layers.clone();
        wanted.sort_by_key(|layer| layer.digest.hex());
        wanted.dedup_by(|a, b| a.digest == b.digest);
        let layers = wanted.len();
        wanted.retain(|layer| !self.has_blob(&layer.digest));
        progress(PullProgress::Resolved {
            digest: digest.clone(),
            layers,
            present: layers - wanted.len(),
        });
        pull.fetch(&manifest.config).await?;
        let pull = &pull;
        futures::stream::iter(wanted)
            .map(|layer| async move {
                pull.fetch(&layer).await?;
                progress(PullProgress::Fetched {
                    layer: layer.digest,
                    bytes: layer.size,
                });
                Ok::<_, ImageError>(())
            })
            .buffer_unordered(LAYERS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        let store = self.clone();
        let full = name.to_string();
        tokio::task::spawn_blocking(move || {
            store.finish(std::slice::from_ref(&full), &manifest_digest, &digest)?;
            drop(holding);
            store.resolve(&full)
        })
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

/// One pull.
struct Pull<'a> {
    store: &'a ImageStore,
    name: &'a ImageName,
    reference: Reference,
    auth: RegistryAuth,
    client: Client,
}

impl<'a> Pull<'a> {
    fn new(
        store: &'a ImageStore,
        name: &'a ImageName,
        credentials: &Credentials,
    ) -> Result<Self, ImageError> {
        let (registry, repository) = (name.registry().to_owned(), name.repository().to_owned());
        let reference = match (name.digest(), name.tag()) {
            (Some(digest), _) => Reference::with_digest(registry, repository, digest.to_string()),
            (None, tag) => Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned()),
        };
        let auth = match credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { user, password } => RegistryAuth::Basic(user.clone(), password.clone()),
            Credentials::Bearer(token) => RegistryAuth::Bearer(token.clone()),
        };
        let protocol = if is_loopback(name.registry()) {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("tug/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| refused(name, &error))?;
        Ok(Self {
            store,
            name,
            reference,
            auth,
            client,
        })
    }

    /// Gives the digest of the manifest for this machine, the digest that the name stands for, and the manifest.
    async fn resolve(&self) -> Result<(Digest, Digest, Manifest), ImageError> {
        let (bytes, digest) = self.document(&self.reference).await?;
        let Ok(index) = serde_json::from_slice::<Index>(&bytes) else {
            return Ok((digest.clone(), digest, manifest::parse("manifest", &bytes)?));
        };
        let chosen = manifest::choose(&index)?;
        let (registry, repository) = (self.name.registry().to_owned(), self.name.repository().to_owned());
        let reference = Reference::with_digest(registry, repository, chosen.digest.to_string());
        let (bytes, found) = self.document(&reference).await?;
        if found != chosen.digest {
            let what = format!("manifest of {}", self.name);
            return Err(ImageError::WrongDigest {
                what,
                expected: chosen.digest.clone(),
                found,
            });
        }
        Ok((found, digest, manifest::parse("manifest", &bytes)?))
    }

    async fn document(&self, reference: &Reference) -> Result<(Vec<u8>, Digest), ImageError> {
        let answered = self
            .client
            .pull_manifest_raw(reference, &self.auth, ACCEPTED)
            .await;
        let (bytes, _) = answered.map_err(|error| refused(self.name, &error))?;
        let found = self.store.write_blob(&mut bytes.as_ref())?.0;
        let asked = reference
            .digest()
            .and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(expected) = asked.filter(|expected| *expected != found) {
            let what = format!("manifest of {}", self.name);
            return Err(ImageError::WrongDigest {
                what,
                expected,
                found,
            });
        }
        Ok((bytes.to_vec(), found))
    }

    /// Fetches one blob into its place.
    async fn fetch(&self, blob: &Descriptor) -> Result<(), ImageError> {
        if self.store.has_blob(&blob.digest) {
            return Ok(());
        }
        let incoming = self.store.incoming();
        let fetched = self.fetch_into(blob, &incoming).await;
        let placed = fetched.and_then(|()| self.store.place_blob(&incoming, &blob.digest));
        if placed.is_err() {
            let _ = tokio::fs::remove_file(&incoming).await;
        }
        placed
    }

    async fn fetch_into(&self, blob: &Descriptor, incoming: &Path) -> Result<(), ImageError> {
        let descriptor = OciDescriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.to_string(),
            size: i64::try_from(blob.size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let answered = self.client.pull_blob_stream(&self.reference, &descriptor).await;
        let mut pieces = answered.map_err(|error| refused(self.name, &error))?.stream;
        let mut file = tokio::fs::File::create_new(incoming)
            .await
            .map_err(ImageError::at("write", incoming))?;
        let mut hashing = Hashing::new(io::sink());
        let mut left = blob.size;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| ImageError::Pull {
                name: self.name.to_string(),
                reason: with_causes(&error),
                retriable: true,
            })?;
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| ImageError::Pull {
                    name: self.name.to_string(),
                    reason: format!(
                        "the blob {} is longer than the {} bytes it should have",
                        blob.digest, blob.size
                    ),
                    retriable: false,
                })?;
            io::Write::write_all(&mut hashing, &piece).map_err(ImageError::Archive)?;
            file.write_all(&piece)
                .await
                .map_err(ImageError::at("write", incoming))?;
        }
        file.flush().await.map_err(ImageError::at("write", incoming))?;
        let (found, _) = hashing.finish();
        if found != blob.digest {
            let what = format!("blob of {}", self.name);
            return Err(ImageError::WrongDigest {
                what,
                expected: blob.digest.clone(),
                found,
            });
        }
        Ok(())
    }
}

fn refused(name: &ImageName, error: &OciDistributionError) -> ImageError {
    let retriable = match error {
        OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
        _ => false,
    };
    ImageError::Pull {
        name: name.to_string(),
        reason: with_causes(error),
        retriable,
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = registry
        .rsplit_once(':')
        .map_or(registry, |(host, _)| host)
        .trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
