//! Archives of images: what `docker save` writes, and OCI layouts, plain or compressed with gzip.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use tar::{Archive, EntryType};

use super::manifest::{self, CONFIG, Descriptor, Index, LAYER, MANIFEST, Manifest};
use super::store::ImageStore;
use super::{Digest, ImageError, ImageName};

const FILES_MAX: usize = 100_000;
const FULL_NAME: &str = "io.containerd.image.name";
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// The regular files of an archive, all of them blobs of the store by now.
struct Files {
    by_path: BTreeMap<String, (Digest, u64)>,
    /// Old archives of Docker link layers that are the same.
    links: BTreeMap<String, String>,
}

/// One image of `manifest.json`, as `docker save` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

impl ImageStore {
    /// Loads every image of an archive: `docker save` or an OCI layout, as tar or tar.gz. Gives the names, or the
    /// digest of an image that the archive does not name.
    ///
    /// Digests are checked, and layers are unpacked. An image is named when all of it is in the store; on an error
    /// no image of the archive is named.
    pub fn load(&self, archive: impl Read) -> Result<Vec<String>, ImageError> {
        let holding = self.hold_content()?;
        let loaded = self.load_all(archive);
        drop(holding);
        if loaded.is_err() {
            // What came before the error is of no use; a failure to clean it up is met by the next collection.
            let _ = self.collect();
        }
        loaded
    }

    fn load_all(&self, archive: impl Read) -> Result<Vec<String>, ImageError> {
        let files = self.take_in(archive)?;
        let mut images: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        if let Some((digest, _)) = files.get("index.json") {
            let index: Index = manifest::parse("index.json", &self.read_blob("index.json", digest)?)?;
            for descriptor in &index.manifests {
                let manifest = self.chosen_manifest(descriptor)?;
                images.entry(manifest).or_default().extend(name_of(descriptor));
            }
        }
        if let Some((digest, _)) = files.get("manifest.json") {
            let saved: Vec<Saved> =
                manifest::parse("manifest.json", &self.read_blob("manifest.json", digest)?)?;
            for one in saved {
                let names: Vec<String> = one
                    .repo_tags
                    .iter()
                    .flatten()
                    .map(|name| name.parse::<ImageName>().map(|name| name.to_string()))
                    .collect::<Result<_, _>>()?;
                let manifest = self.saved_manifest(&files, &one, images.keys())?;
                images.entry(manifest).or_default().extend(names);
            }
        }
        if images.is_empty() {
            let why = "it has neither an `index.json` nor a `manifest.json` that names an image".into();
            return Err(ImageError::NoImage { why });
        }
        let mut loaded = Vec::new();
        for (digest, names) in images {
            let mut names: Vec<String> = names.into_iter().collect();
            if names.is_empty() {
                names.push(digest.to_string());
            }
            self.finish(&names, &digest, &digest)?;
            loaded.extend(names);
        }
        Ok(loaded)
    }

    /// Stores every file of the archive as a blob.
    fn take_in(&self, archive: impl Read) -> Result<Files, ImageError> {
        let mut buffered = BufReader::with_capacity(128 * 1024, archive);
        let start = buffered.fill_buf().map_err(ImageError::Archive)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return self.take_in_plain(MultiGzDecoder::new(buffered));
        }
        self.take_in_plain(buffered)
    }

    fn take_in_plain(&self, archive: impl Read) -> Result<Files, ImageError> {
        let mut files = Files {
            by_path: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let mut archive = Archive::new(archive);
        for entry in archive.entries().map_err(ImageError::Archive)? {
            let mut entry = entry.map_err(ImageError::Archive)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").to_owned();
            if files.by_path.len() + files.links.len() >= FILES_MAX {
                return Err(ImageError::NoImage {
                    why: format!("it has more than {FILES_MAX} files"),
                });
            }
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let wanted = entry.size();
                    let (digest, size) = self.write_blob(&mut entry)?;
                    if size != wanted {
                        return Err(ImageError::Archive(std::io::ErrorKind::UnexpectedEof.into()));
                    }
                    let stated = path
                        .strip_prefix("blobs/sha256/")
                        .and_then(|hex| hex.parse::<Digest>().ok());
                    if let Some(expected) = stated.filter(|expected| *expected != digest) {
                        return Err(ImageError::WrongDigest {
                            what: path,
                            expected,
                            found: digest,
                        });
                    }
                    files.by_path.insert(path, (digest, size));
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry
                        .link_name_bytes()
                        .map(|link| String::from_utf8_lossy(&link).into_owned());
                    let target = target.unwrap_or_default();
                    let target = match entry.header().entry_type() {
                        EntryType::Symlink => target.trim_start_matches("../").to_owned(),
                        _ => target,
                    };
                    files.links.insert(path, target);
                }
                _ => {}
            }
        }
        Ok(files)
    }

    /// The manifest for this machine behind a descriptor, which may be an index itself.
    fn chosen_manifest(&self, descriptor: &Descriptor) -> Result<Digest, ImageError> {
        let mut digest = descriptor.digest.clone();
        // An index in an index is in use; deeper ones are not.
        for _ in 0..3 {
            if !self.has_blob(&digest) {
                return Err(ImageError::NoImage {
                    why: format!("the blob {digest} is missing"),
                });
            }
            let bytes = self.read_blob("manifest", &digest)?;
            match serde_json::from_slice::<Index>(&bytes) {
                Ok(index) => digest = manifest::choose(&index)?.digest.clone(),
                Err(_) => {
                    let manifest: Manifest = manifest::parse("manifest", &bytes)?;
                    self.require_blobs(&manifest)?;
                    return Ok(digest);
                }
            }
        }
        Err(ImageError::NoImage {
            why: "its indexes are nested too deeply".into(),
        })
    }

    fn require_blobs(&self, manifest: &Manifest) -> Result<(), ImageError> {
        let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
        match blobs
            .map(|blob| &blob.digest)
            .find(|digest| !self.has_blob(digest))
        {
            Some(missing) => Err(ImageError::NoImage {
                why: format!("the blob {missing} is missing"),
            }),
            None => Ok(()),
        }
    }

    /// The manifest of an image as Docker saves it: one that came along, or one made of its parts.
    fn saved_manifest<'a>(
        &self,
        files: &Files,
        saved: &Saved,
        mut known: impl Iterator<Item = &'a Digest>,
    ) -> Result<Digest, ImageError> {
        let (config, config_size) = files.require(&saved.config)?;
        let same = known.find(|digest| {
            self.manifest(digest)
                .is_ok_and(|manifest| manifest.config.digest == *config)
        });
        if let Some(same) = same {
            return Ok(same.clone());
        }
        let stated = saved
            .config
            .strip_suffix(".json")
            .and_then(|hex| hex.parse::<Digest>().ok());
        if let Some(expected) = stated.filter(|expected| expected != config) {
            let what = saved.config.clone();
            return Err(ImageError::WrongDigest {
                what,
                expected,
                found: config.clone(),
            });
        }
        let layer = |path: &String| {
            let (digest, size) = files.require(path)?;
            Ok(descriptor(LAYER, digest, *size))
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.into(),
            config: descriptor(CONFIG, config, *config_size),
            layers: saved
                .layers
                .iter()
                .map(layer)
                .collect::<Result<_, ImageError>>()?,
        };
        self.write_manifest(&manifest)
    }

    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<Digest, ImageError> {
        let text = serde_json::to_vec(manifest).map_err(|source| ImageError::Document {
            what: "manifest".into(),
            source,
        })?;
        Ok(self.write_blob(&mut Cursor::new(text))?.0)
    }
}

impl Files {
    fn get(&self, path: &str) -> Option<&(Digest, u64)> {
        let mut path = path;
        // A chain of links is bounded by their number, and a circle is cut.
        for _ in 0..=self.links.len().min(16) {
            match self.links.get(path) {
                Some(target) => path = target,
                None => return self.by_path.get(path),
            }
        }
        None
    }

    fn require(&self, path: &str) -> Result<&(Digest, u64), ImageError> {
        self.get(path).ok_or_else(|| ImageError::NoImage {
            why: format!("the file `{path}` is missing"),
        })
    }
}

pub(super) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.clone(),
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// The full name that an index gives a manifest. A reference that is only a tag, as some tools write, names nothing.
fn name_of(descriptor: &Descriptor) -> Option<String> {
    let full = descriptor.annotations.get(FULL_NAME);
    let reference = descriptor
        .annotations
        .get(REFERENCE_NAME)
        .filter(|name| name.contains(['/', ':']));
    let name: ImageName = full.or(reference)?.parse().ok()?;
    Some(name.to_string())
}
