//! The server: what it has open, and how it starts and stops.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::answer::Refusal;
use crate::auth::{Auth, AuthError};
use crate::certificate::{self, CertificateError};
use crate::charts::store::ChartStore;
use crate::connection;
use crate::durable::create_folder;
use crate::layout::Layout;
use crate::metrics::{Gauges, Metrics};
use crate::options::ServeOptions;
use crate::registry::collect::{Collected, Garbage};
use crate::registry::store::RegistryStore;
use crate::registry::uploads::Uploads;
use crate::web::Pages;

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, or a file in it.
    #[error("cannot use `{}`", .path.display())]
    Folder {
        /// Folder or file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another server has it.
    #[error("another server already serves `{}`", .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Accounts or rights.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A repository that is open and can be served.
#[derive(Debug)]
pub struct RepoServer {
    server: Arc<Server>,
    tls: Option<rustls::ServerConfig>,
    /// Held as long as the folder is served.
    _lock: File,
}

/// What every request can use.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) options: ServeOptions,
    pub(crate) charts: ChartStore,
    pub(crate) registry: RegistryStore,
    pub(crate) uploads: Uploads,
    pub(crate) auth: Auth,
    pub(crate) metrics: Metrics,
    pub(crate) pages: Pages,
    /// Told when something was deleted, and with it perhaps what only it referred to.
    pub(crate) garbage: Notify,
    unpacking: Arc<Semaphore>,
    /// Charts that are in memory while they come.
    uploading: Arc<Semaphore>,
    stopping: AtomicBool,
}

impl RepoServer {
    /// Opens a folder: takes its lock, reads accounts and certificates, lists the archives.
    pub fn open(options: ServeOptions) -> Result<Self, OpenError> {
        let layout = Layout::new(&options.folder);
        let folder = |path: PathBuf| move |source| OpenError::Folder { path, source };
        create_folder(&absolute(&layout.drafts()).map_err(folder(layout.drafts()))?)
            .map_err(folder(layout.drafts()))?;
        let lock = File::create(layout.lock()).map_err(folder(layout.lock()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked {
                    path: options.folder.clone(),
                });
            }
            Err(error) => return Err(folder(layout.lock())(error.into())),
        }
        let auth = Auth::open(&options)?;
        let tls = options.tls.as_ref().map(certificate::read).transpose()?;
        // What was being written when an earlier server ended.
        sweep(&layout.drafts()).map_err(folder(layout.drafts()))?;
        let limits = options.limits;
        let charts = ChartStore::open(layout.clone(), options.depth, limits.chart_bytes_max)
            .map_err(folder(options.folder.clone()))?;
        let server = Server {
            charts,
            registry: RegistryStore::new(layout.clone(), limits.manifest_bytes_max),
            uploads: Uploads::new(layout, limits.uploads_max, limits.blob_bytes_max),
            auth,
            metrics: Metrics::default(),
            pages: Pages::new(),
            garbage: Notify::new(),
            uploading: Arc::new(Semaphore::new(limits.charts_uploading_max)),
            unpacking: Arc::new(Semaphore::new(limits.unpacking_max)),
            stopping: AtomicBool::new(false),
            options,
        };
        Ok(Self {
            server: Arc::new(server),
            tls,
            _lock: lock,
        })
    }

    /// How many charts and versions are listed.
    pub fn counts(&self) -> (usize, usize) {
        self.server.charts.counts()
    }

    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether everybody may do everything.
    pub fn is_open_to_everybody(&self) -> bool {
        !self.server.auth.has_accounts()
    }

    /// Removes what is garbage in the registry.
    pub fn collect_garbage(&self, now: SystemTime, garbage: Garbage) -> io::Result<Collected> {
        self.server.registry.collect(now, garbage)
    }

    /// Serves until `shutdown`, then lets requests under way end, for some seconds at most.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let collector = tokio::spawn(collect(Arc::clone(&self.server), shutdown.clone()));
        let ended = {
            let server = Arc::clone(&self.server);
            let stopping = shutdown.clone();
            tokio::spawn(async move {
                stopping.cancelled().await;
                server.stopping.store(true, Ordering::Relaxed);
            })
        };
        let outcome = connection::serve(&self.server, listener, self.tls, shutdown.clone()).await;
        shutdown.cancel();
        // Both end with the shutdown, and have nothing to say.
        let _ = tokio::join!(collector, ended);
        outcome
    }
}

impl Server {
    /// A place to unpack a chart in memory.
    pub(crate) async fn unpacking_place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.unpacking).await
    }

    /// A place to take a chart into memory.
    pub(crate) async fn upload_place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.uploading).await
    }

    /// Whether new requests are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let (charts, versions) = self.charts.counts();
        Gauges {
            charts,
            versions,
            uploads: self.uploads.count(),
        }
    }
}

async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let place = Arc::clone(places).acquire_owned().await;
    place.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "the server stops"))
}

/// Removes garbage at the start, and some time after something was deleted.
async fn collect(server: Arc<Server>, shutdown: CancellationToken) {
    let garbage = server.options.garbage;
    loop {
        let work = {
            let server = Arc::clone(&server);
            move || server.registry.collect(SystemTime::now(), garbage)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(collected)) if collected != Collected::default() => {
                let Collected {
                    blobs,
                    bytes,
                    uploads,
                } = collected;
                tracing::info!(blobs, bytes, uploads, "removed what nothing refers to");
            }
            Ok(Err(error)) => tracing::error!(%error, "cannot remove what nothing refers to"),
            Ok(Ok(_)) | Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = server.garbage.notified() => {}
        }
        // What was deleted now may be removed when the time of grace has passed.
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(garbage.grace + Duration::from_secs(1)) => {}
        }
    }
}

fn sweep(drafts: &std::path::Path) -> io::Result<()> {
    for entry in fs::read_dir(drafts)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

fn absolute(path: &std::path::Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}
