//! Images on their way from tug's store into the engine's.

use std::io::{self, Write};
use std::thread;

use bollard::query_parameters::{ImportImageOptions, ListImagesOptions, RemoveImageOptions};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::super::api::RuntimeError;
use super::engine::{Engine, is_not_found, words};
use crate::image::{Digest, ImageStore};

const PIECE_BYTES: usize = 256 * 1024;
const PIECES_WAITING_MAX: usize = 4;

/// The images of one node in an engine: those that its containers are made of.
pub(super) struct EngineImages {
    store: ImageStore,
    /// The repository that they are tagged in.
    repository: String,
    /// One is loaded at a time: two that share layers would both bring them.
    loading: tokio::sync::Mutex<()>,
}

impl EngineImages {
    pub(super) fn new(store: ImageStore, instance: &str) -> Self {
        Self {
            store,
            repository: format!("tug-{instance}"),
            loading: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> &ImageStore {
        &self.store
    }

    /// Sees to it that the engine has an image, given by the digest of its configuration; gives its name there.
    pub(super) async fn ensure(&self, engine: &Engine, config: &Digest) -> Result<String, RuntimeError> {
        let name = format!("{}:{}", self.repository, config.hex());
        if self.is_there(engine, &name).await? {
            return Ok(name);
        }
        let _alone = self.loading.lock().await;
        if !self.is_there(engine, &name).await? {
            self.load(engine, config, &name).await?;
        }
        Ok(name)
    }

    async fn is_there(&self, engine: &Engine, name: &str) -> Result<bool, RuntimeError> {
        match engine.docker.inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(RuntimeError::machine(
                "look for the image in the engine",
                words(&error),
            )),
        }
    }

    async fn load(&self, engine: &Engine, config: &Digest, name: &str) -> Result<(), RuntimeError> {
        let failed = |reason: String| RuntimeError::machine("load the image into the engine", reason);
        let (sender, mut receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let (store, config, tag) = (self.store.clone(), config.clone(), name.to_owned());
        let failure = sender.clone();
        thread::Builder::new()
            .name("image".into())
            .spawn(move || {
                let pieces = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(sender));
                if let Err(error) = store.save_config(&config, &tag, pieces) {
                    // Nobody listens any more where the engine has refused.
                    let _ = failure.blocking_send(Err(io::Error::other(error)));
                }
            })
            .map_err(|error| failed(error.to_string()))?;
        let pieces = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let options = ImportImageOptions {
            quiet: true,
            ..ImportImageOptions::default()
        };
        let body = bollard::body_try_stream(pieces);
        let mut said = std::pin::pin!(engine.patient.import_image(options, body, None));
        while let Some(one) = said.next().await {
            one.map_err(|error| failed(words(&error)))?;
        }
        if self.is_there(engine, name).await? {
            Ok(())
        } else {
            Err(failed("the engine took it and does not have it".to_owned()))
        }
    }

    /// Removes images that tug's store no longer has. What a container still uses stays until the next time.
    pub(super) async fn collect(&self, engine: &Engine) {
        let options = ListImagesOptions {
            filters: Some([("reference".to_owned(), vec![self.repository.clone()])].into()),
            ..ListImagesOptions::default()
        };
        let Ok(images) = engine.docker.list_images(Some(options)).await else {
            return;
        };
        let store = self.store.clone();
        let listed = tokio::task::spawn_blocking(move || store.list()).await;
        let Ok(Ok(known)) = listed else { return };
        for tag in images.into_iter().flat_map(|image| image.repo_tags) {
            let is_known = known.iter().any(|one| tag.ends_with(&one.id.hex()));
            if !is_known {
                let _ = engine
                    .docker
                    .remove_image(&tag, None::<RemoveImageOptions>, None)
                    .await;
            }
        }
    }
}

/// The writing end of an archive that is sent piece by piece.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = self.0.blocking_send(piece);
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
