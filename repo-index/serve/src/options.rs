//! How a server is to behave.

use std::path::PathBuf;
use std::time::Duration;

use crate::registry::collect::Garbage;

/// How a server is to behave.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the archives. What belongs to the server itself is in `.tug` below it.
    pub folder: PathBuf,
    /// Where tenants are.
    pub depth: Depth,
    /// Users and passwords, an htpasswd file with bcrypt; without it everybody may do everything.
    pub htpasswd: Option<PathBuf>,
    /// Who may do what; without it every user of `htpasswd` may do everything.
    pub rights: Option<PathBuf>,
    /// How registry clients are asked for who they are.
    pub challenge: Challenge,
    /// Certificate chain and private key, PEM.
    pub tls: Option<TlsFiles>,
    /// Address that clients see, without a slash at its end: `https://charts.example.com`.
    pub external_url: Option<String>,
    /// The most that may be sent.
    pub limits: Limits,
    /// A tag that was pushed keeps its digest.
    pub immutable_tags: bool,
    /// Log each request.
    pub access_log: bool,
    /// What of the registry is removed; the time of grace lets uploads under way find what they need.
    pub garbage: Garbage,
}

/// Files of a certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// Where tenants are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Every folder is a tenant, the folder itself too.
    #[default]
    Dynamic,
    /// Tenants have exactly this many parts; 0 is one repository for all.
    Fixed(usize),
}

/// How registry clients are asked for who they are. Both ways are always taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Challenge {
    /// User and password with each request.
    #[default]
    Basic,
    /// A token from `/token`, by the protocol of Docker's registry.
    Token,
}

/// The most that may be sent.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a packed chart.
    pub chart_bytes_max: u64,
    /// Bytes of a blob.
    pub blob_bytes_max: u64,
    /// Bytes of a manifest.
    pub manifest_bytes_max: u64,
    /// Descriptors in one answer to who refers to a manifest; more are on a next page.
    pub referrers_page_max: usize,
    /// Uploads of blobs that are open at the same time.
    pub uploads_max: usize,
    /// Charts that come at the same time, each in memory.
    pub charts_uploading_max: usize,
    /// Charts that are unpacked at the same time.
    pub unpacking_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chart_bytes_max: 32 << 20,
            blob_bytes_max: 16 << 30,
            manifest_bytes_max: 4 << 20,
            referrers_page_max: 1000,
            uploads_max: 1000,
            charts_uploading_max: 64,
            unpacking_max: 4,
        }
    }
}

impl ServeOptions {
    /// A server of a folder that everybody may use.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            depth: Depth::default(),
            htpasswd: None,
            rights: None,
            challenge: Challenge::default(),
            tls: None,
            external_url: None,
            limits: Limits::default(),
            immutable_tags: false,
            access_log: true,
            garbage: Garbage {
                grace: Duration::from_secs(3600),
                untagged: false,
            },
        }
    }
}
