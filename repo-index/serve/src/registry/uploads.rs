//! Uploads of blobs: pieces are appended to a file and hashed as they come.
//!
//! The file alone tells how far an upload is. One that a server before this one began is gone on with by hashing what
//! is there.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::answer::Refusal;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::durable;
use crate::layout::Layout;
use crate::name::RepositoryName;
use crate::request::next_data;

/// How long a request waits for another one of the same upload, which may be about to find its client gone.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The uploads that this process knows.
#[derive(Debug)]
pub(crate) struct Uploads {
    layout: Layout,
    open: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Upload>>>>,
    open_max: usize,
    blob_bytes_max: u64,
}

/// One upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) id: Uuid,
    name: RepositoryName,
    path: PathBuf,
    file: File,
    size: u64,
    hasher: Hasher,
}

impl Uploads {
    pub(crate) fn new(layout: Layout, open_max: usize, blob_bytes_max: u64) -> Self {
        Self {
            layout,
            open: Mutex::default(),
            open_max,
            blob_bytes_max,
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Begins an upload.
    pub(crate) async fn start(
        &self,
        name: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<OwnedMutexGuard<Upload>, Refusal> {
        let id = Uuid::new_v4();
        let path = self.layout.upload(name, id);
        let folder = self.layout.uploads(name);
        tokio::task::spawn_blocking(move || durable::create_folder(&folder)).await??;
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)
            .await?;
        let upload = Upload {
            id,
            name: name.clone(),
            path,
            file,
            size: 0,
            hasher: Hasher::new(algorithm),
        };
        self.keep(upload)
    }

    fn keep(&self, upload: Upload) -> Result<OwnedMutexGuard<Upload>, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= self.open_max {
            // Those that nobody works on can be opened again from their files.
            open.retain(|_, upload| Arc::strong_count(upload) > 1);
        }
        if open.len() >= self.open_max {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TOOMANYREQUESTS",
                "too many uploads are open",
            ));
        }
        let id = upload.id;
        let upload = open
            .entry(id)
            .or_insert_with(|| Arc::new(tokio::sync::Mutex::new(upload)));
        Arc::clone(upload).try_lock_owned().map_err(|_| busy())
    }

    /// An upload to go on with. One request at a time has it.
    pub(crate) async fn get(
        &self,
        name: &RepositoryName,
        id: Uuid,
    ) -> Result<OwnedMutexGuard<Upload>, Refusal> {
        let known = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.get(&id).cloned()
        };
        let upload = match known {
            Some(known) => tokio::time::timeout(BUSY_TIMEOUT, known.lock_owned())
                .await
                .map_err(|_| busy())?,
            None => self.keep(self.reopen(name, id).await?)?,
        };
        // One that ended while this request waited has no file any more.
        if upload.name != *name || !upload.path.exists() {
            return Err(unknown());
        }
        Ok(upload)
    }

    async fn reopen(&self, name: &RepositoryName, id: Uuid) -> Result<Upload, Refusal> {
        let path = self.layout.upload(name, id);
        let options = OpenOptions::new().read(true).append(true).open(&path).await;
        let file = options.map_err(|error| {
            if durable::is_absent(&error) {
                unknown()
            } else {
                error.into()
            }
        })?;
        let mut upload = Upload {
            id,
            name: name.clone(),
            path,
            file,
            size: 0,
            hasher: Hasher::new(Algorithm::Sha256),
        };
        upload.hash_again(Algorithm::Sha256).await?;
        Ok(upload)
    }

    /// Appends a body. When its sender goes away, what came stays.
    pub(crate) async fn append(&self, upload: &mut Upload, mut body: Body) -> Result<(), Refusal> {
        let outcome = loop {
            let data = match next_data(&mut body).await {
                Ok(Some(data)) => data,
                Ok(None) => break Ok(()),
                Err(refusal) => break Err(refusal),
            };
            if upload.size + data.len() as u64 > self.blob_bytes_max {
                self.forget(upload).await;
                return Err(Refusal::too_large("the blob", self.blob_bytes_max));
            }
            if let Err(error) = upload.file.write_all(&data).await {
                // How much was written is not known: the file will tell.
                self.close(upload.id);
                return Err(error.into());
            }
            upload.size += data.len() as u64;
            upload.hasher.update(&data);
        };
        upload.file.flush().await?;
        outcome
    }

    /// Makes the file whole and durable, if its digest is the one that was wanted.
    pub(crate) async fn finish(&self, upload: &mut Upload, wanted: &Digest) -> Result<PathBuf, Refusal> {
        if upload.hasher.algorithm() != wanted.algorithm() {
            upload.hash_again(wanted.algorithm()).await?;
        }
        let digest = upload.hasher.clone().finish();
        if digest != *wanted {
            self.forget(upload).await;
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                format!("the content has the digest {digest}"),
            ));
        }
        upload.file.sync_all().await?;
        self.close(upload.id);
        Ok(upload.path.clone())
    }

    /// Gives an upload up.
    pub(crate) async fn forget(&self, upload: &mut Upload) {
        self.close(upload.id);
        // It is removed with other old ones if it cannot be now.
        let _ = tokio::fs::remove_file(&upload.path).await;
    }

    fn close(&self, id: Uuid) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

impl Upload {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    async fn hash_again(&mut self, algorithm: Algorithm) -> io::Result<()> {
        let mut hasher = Hasher::new(algorithm);
        let mut file = File::open(&self.path).await?;
        let (mut size, mut buffer) = (0, vec![0; 128 * 1024]);
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            size += count as u64;
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
        (self.size, self.hasher) = (size, hasher);
        Ok(())
    }
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload")
}

fn busy() -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "BLOB_UPLOAD_INVALID",
        "another request works on this upload",
    )
}
