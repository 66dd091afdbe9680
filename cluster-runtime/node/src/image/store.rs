//! The store: a folder that several processes may use at once.
//!
//! ```text
//! blobs/sha256/HEX    every blob, renamed into place when whole
//! layers/HEX/         every layer, unpacked, by the digest of its archive; shared by all images and containers
//! images.json         names and manifests, replaced at once under `names.lock`
//! leases/             the layers that containers use
//! incoming/           what is being written
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};

use super::digest::Hashing;
use super::manifest::{self, DOCUMENT_BYTES_MAX, Manifest};
use super::unpack::{UnpackLimits, unpack_layer};
use super::{Digest, ImageConfig, ImageError, ImageName};

/// A folder of images.
///
/// All methods block; call them from a thread that may. Two processes may open the same folder: what is written
/// appears whole by renaming, and the list of names is changed under a lock.
#[derive(Clone, Debug)]
pub struct ImageStore {
    dir: PathBuf,
    limits: UnpackLimits,
}

/// An image that containers can be made of.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name that it was asked by, in full.
    pub name: String,
    /// Digest of its configuration: the identity of the image.
    pub id: Digest,
    /// Digest of its manifest, or of the index it was chosen from: how a registry names it.
    pub digest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Folders of its layers, lowest first.
    pub layers: Vec<PathBuf>,
}

/// One line of a list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// Full name, or the digest of an image that has no name.
    pub name: String,
    /// Digest of its configuration.
    pub id: Digest,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Bytes of its blobs.
    pub size: u64,
    /// When it was made, as it says.
    pub created: Option<String>,
    /// When it came into the store, RFC 3339.
    pub stored: String,
}

/// `images.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    #[serde(default)]
    pub images: BTreeMap<String, Named>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    /// The manifest in the store.
    pub manifest: Digest,
    /// What the registry calls it.
    pub digest: Digest,
    /// When it came, RFC 3339.
    pub stored: String,
}

/// Holds a lock of the store until dropped.
pub(super) struct Held(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl ImageStore {
    /// Opens a store, makes it where it is missing, and puts the built-in image into it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        Self::open_with(dir, UnpackLimits::default())
    }

    /// Opens a store whose layers have other limits.
    pub fn open_with(dir: impl Into<PathBuf>, limits: UnpackLimits) -> Result<Self, ImageError> {
        let store = Self {
            dir: dir.into(),
            limits,
        };
        for folder in ["blobs/sha256", "layers", "leases", "incoming"] {
            let path = store.dir.join(folder);
            fs::create_dir_all(&path).map_err(ImageError::at("make", &path))?;
        }
        store.ensure_builtin()?;
        Ok(store)
    }

    /// The folder of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All images by name.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let names = self.names()?;
        names
            .images
            .iter()
            .map(|(name, named)| self.summary(name, named))
            .collect()
    }

    fn summary(&self, name: &str, named: &Named) -> Result<ImageSummary, ImageError> {
        let manifest = self.manifest(&named.manifest)?;
        let config = self.config(&manifest.config.digest)?;
        let layers: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
        Ok(ImageSummary {
            name: name.to_owned(),
            id: manifest.config.digest,
            digest: named.digest.clone(),
            size: manifest.config.size + layers,
            created: config.created,
            stored: named.stored.clone(),
        })
    }

    /// Finds an image by name, or by the digest of its configuration or manifest, and sees to it that its layers are
    /// unpacked.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let _reading = self.hold_content()?;
        let (name, named) = self.find(name)?;
        let manifest = self.manifest(&named.manifest)?;
        let config = self.config(&manifest.config.digest)?;
        self.unpack_missing(&manifest, &config)?;
        let layers = config
            .rootfs
            .diff_ids
            .iter()
            .map(|diff_id| self.layer_path(diff_id))
            .collect();
        Ok(Image {
            name,
            id: manifest.config.digest,
            digest: named.digest,
            config,
            layers,
        })
    }

    /// Gives an image a further name.
    pub fn tag(&self, existing: &str, name: &str) -> Result<(), ImageError> {
        let name: ImageName = name.parse()?;
        let (_, named) = self.find(existing)?;
        self.record(&[name.to_string()], &named.manifest, &named.digest)
    }

    /// Takes a name away, and then what no name and no container needs any more. Gives the full name.
    pub fn remove(&self, name: &str) -> Result<String, ImageError> {
        let (full, _) = self.find(name)?;
        self.change_names(|names| names.images.remove(&full))?;
        self.collect()?;
        Ok(full)
    }

    pub(super) fn find(&self, name: &str) -> Result<(String, Named), ImageError> {
        let names = self.names()?;
        if let Ok(digest) = name.parse::<Digest>() {
            for (known, named) in &names.images {
                let same = *known == digest.to_string() || named.digest == digest || named.manifest == digest;
                if same || self.manifest(&named.manifest)?.config.digest == digest {
                    return Ok((known.clone(), named.clone()));
                }
            }
            return Err(ImageError::NotFound {
                name: name.to_owned(),
            });
        }
        let asked: ImageName = name.parse()?;
        let full = asked.to_string();
        if let Some(named) = names.images.get(&full) {
            return Ok((full, named.clone()));
        }
        // An image loaded under a tag is also known by its digest.
        let same_digest = asked.digest().and_then(|digest| {
            names.images.iter().find(|(known, named)| {
                let parsed = known.parse::<ImageName>().ok();
                let same_repository =
                    parsed.is_some_and(|known| known.without_version() == asked.without_version());
                same_repository && (named.digest == *digest || named.manifest == *digest)
            })
        });
        match same_digest {
            Some((_, named)) => Ok((full, named.clone())),
            None => Err(ImageError::NotFound { name: full }),
        }
    }

    // ---- for the ways into the store ----

    /// Keeps content from being collected while something is added or used.
    pub(super) fn hold_content(&self) -> Result<Held, ImageError> {
        let path = self.dir.join("content.lock");
        let file = open_lock(&path)?;
        file.lock_shared().map_err(ImageError::at("lock", &path))?;
        Ok(Held(file))
    }

    /// Sole use of the content; `None` while others add or use something.
    pub(super) fn try_own_content(&self) -> Result<Option<Held>, ImageError> {
        let path = self.dir.join("content.lock");
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(ImageError::at("lock", &path)(source)),
        }
    }

    /// Sees to it that the layers are unpacked, then gives a manifest its names.
    pub(super) fn finish(
        &self,
        names: &[String],
        manifest_digest: &Digest,
        digest: &Digest,
    ) -> Result<(), ImageError> {
        let manifest = self.manifest(manifest_digest)?;
        let config = self.config(&manifest.config.digest)?;
        self.unpack_missing(&manifest, &config)?;
        self.record(names, manifest_digest, digest)
    }

    fn record(&self, names: &[String], manifest: &Digest, digest: &Digest) -> Result<(), ImageError> {
        let stored = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default();
        let named = Named {
            manifest: manifest.clone(),
            digest: digest.clone(),
            stored: stored.to_string(),
        };
        self.change_names(|all| {
            for name in names {
                all.images.insert(name.clone(), named.clone());
            }
        })
    }

    pub(super) fn names(&self) -> Result<Names, ImageError> {
        let path = self.dir.join("images.json");
        match fs::read(&path) {
            Ok(bytes) => manifest::parse("list of images", &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names::default()),
            Err(error) => Err(ImageError::at("read", &path)(error)),
        }
    }

    fn change_names<T>(&self, change: impl FnOnce(&mut Names) -> T) -> Result<T, ImageError> {
        let lock_path = self.dir.join("names.lock");
        let lock = open_lock(&lock_path)?;
        lock.lock().map_err(ImageError::at("lock", &lock_path))?;
        let before = self.names()?;
        let mut names = before.clone();
        let outcome = change(&mut names);
        if names != before {
            let text = serde_json::to_vec_pretty(&names).map_err(|source| ImageError::Document {
                what: "list of images".into(),
                source,
            })?;
            // Not among the incoming files: those may be collected, and this one is guarded by its own lock.
            let next = self.dir.join("images.json.next");
            write_through(&next, &text).map_err(ImageError::at("write", &next))?;
            let path = self.dir.join("images.json");
            fs::rename(&next, &path).map_err(ImageError::at("write", &path))?;
        }
        Ok(outcome)
    }

    /// A path for something that is being written.
    pub(super) fn incoming(&self) -> PathBuf {
        let number = RandomState::new().build_hasher().finish();
        self.dir.join("incoming").join(format!("{number:016x}"))
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    pub(super) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.dir.join("layers").join(diff_id.hex())
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Writes a blob; it gets its place when it is whole.
    pub(super) fn write_blob(&self, from: &mut dyn Read) -> Result<(Digest, u64), ImageError> {
        let incoming = self.incoming();
        let file = File::create_new(&incoming).map_err(ImageError::at("write", &incoming))?;
        let mut hashing = Hashing::new(file);
        let copied = io::copy(from, &mut hashing);
        let (digest, bytes) = hashing.finish();
        let placed = copied
            .map_err(ImageError::Archive)
            .and_then(|_| self.place_blob(&incoming, &digest));
        if placed.is_err() {
            let _ = fs::remove_file(&incoming);
        }
        placed.map(|()| (digest, bytes))
    }

    pub(super) fn place_blob(&self, incoming: &Path, digest: &Digest) -> Result<(), ImageError> {
        let path = self.blob_path(digest);
        fs::rename(incoming, &path).map_err(ImageError::at("write", &path))
    }

    /// The whole of a small blob, checked against its digest.
    pub(super) fn read_blob(&self, what: &str, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(ImageError::at("read", &path))?;
        let mut bytes = Vec::new();
        file.take(DOCUMENT_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(ImageError::at("read", &path))?;
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(ImageError::WrongDigest {
                what: what.to_owned(),
                expected: digest.clone(),
                found,
            })
        }
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Result<Manifest, ImageError> {
        manifest::parse("manifest", &self.read_blob("manifest", digest)?)
    }

    pub(super) fn config(&self, digest: &Digest) -> Result<ImageConfig, ImageError> {
        manifest::parse(
            "image configuration",
            &self.read_blob("image configuration", digest)?,
        )
    }

    /// Unpacks the layers that are not there yet, side by side.
    fn unpack_missing(&self, manifest: &Manifest, config: &ImageConfig) -> Result<(), ImageError> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let why = format!(
                "its manifest has {} layers, its configuration {}",
                manifest.layers.len(),
                diff_ids.len()
            );
            return Err(ImageError::NoImage { why });
        }
        let missing: Vec<(&Digest, &Digest)> = diff_ids
            .iter()
            .zip(&manifest.layers)
            .filter(|(diff_id, _)| !self.layer_path(diff_id).exists())
            .map(|(diff_id, layer)| (diff_id, &layer.digest))
            .collect();
        let at_once = thread::available_parallelism().map_or(2, usize::from).clamp(1, 4);
        for some in missing.chunks(at_once) {
            thread::scope(|scope| {
                let workers: Vec<_> = some
                    .iter()
                    .map(|(diff_id, blob)| scope.spawn(|| self.unpack(diff_id, blob)))
                    .collect();
                workers.into_iter().try_for_each(|worker| {
                    worker
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
            })?;
        }
        Ok(())
    }

    fn unpack(&self, diff_id: &Digest, blob: &Digest) -> Result<(), ImageError> {
        let incoming = self.incoming();
        fs::create_dir(&incoming).map_err(ImageError::at("make", &incoming))?;
        let placed = self.unpack_at(&incoming, diff_id, blob).and_then(|()| {
            let target = self.layer_path(diff_id);
            match fs::rename(&incoming, &target) {
                // Another process was faster.
                Err(_) if target.is_dir() => fs::remove_dir_all(&incoming),
                other => other,
            }
            .map_err(ImageError::at("write", &target))
        });
        if placed.is_err() {
            let _ = fs::remove_dir_all(&incoming);
        }
        placed
    }

    fn unpack_at(&self, folder: &Path, diff_id: &Digest, blob: &Digest) -> Result<(), ImageError> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .map_err(ImageError::at("set the mode of", folder))?;
        let path = self.blob_path(blob);
        let file = File::open(&path).map_err(ImageError::at("read", &path))?;
        let unpacked = unpack_layer(file, folder, &self.limits).map_err(|source| ImageError::Unpack {
            layer: diff_id.clone(),
            source,
        })?;
        if unpacked.devices_left_out > 0 {
            tracing::debug!(layer = %diff_id, count = unpacked.devices_left_out, "device nodes left out");
        }
        if unpacked.diff_id != *diff_id {
            let what = format!("layer {blob}");
            return Err(ImageError::WrongDigest {
                what,
                expected: diff_id.clone(),
                found: unpacked.diff_id,
            });
        }
        Ok(())
    }
}

pub(super) fn open_lock(path: &Path) -> Result<File, ImageError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(ImageError::at("open", path))
}

pub(super) fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}
