//! Blobs, manifests and tags on disk. Everything here blocks, and is called from threads that may.
//!
//! Content is kept once, by its digest. What a repository has is said by small files in its folder, so that one cannot
//! read through a repository what is in another.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::manifest::Manifest;
use crate::content::read_small;
use crate::digest::Digest;
use crate::durable::{self, Draft, is_absent};
use crate::layout::{Layout, digest_of};
use crate::name::{RepositoryName, Tag};

/// Links and tags are small files.
const LINK_BYTES_MAX: u64 = 4096;
/// Bytes of the descriptors in one answer to who refers to a subject, where it has more than one.
const REFERRERS_BYTES_MAX: usize = 4 << 20;

/// Blobs, manifests and tags.
#[derive(Debug)]
pub(crate) struct RegistryStore {
    layout: Layout,
    manifest_bytes_max: u64,
    /// Those who add content hold it to read, who removes content without an owner to write.
    sweeping: RwLock<()>,
}

/// Which of those that refer to a subject are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Referrers {
    pub(crate) artifact_type: Option<String>,
    /// Only those after it.
    pub(crate) after: Option<Digest>,
    pub(crate) count_max: usize,
}

/// A manifest as it is stored.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
}

impl RegistryStore {
    pub(crate) fn new(layout: Layout, manifest_bytes_max: u64) -> Self {
        Self {
            layout,
            manifest_bytes_max,
            sweeping: RwLock::new(()),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn adding(&self) -> RwLockReadGuard<'_, ()> {
        self.sweeping.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sweeping(&self) -> RwLockWriteGuard<'_, ()> {
        self.sweeping.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_blob(&self, name: &RepositoryName, digest: &Digest) -> bool {
        self.layout.blob_link(name, digest).exists() && self.layout.blob(digest).exists()
    }

    /// Says that content is still wanted: somebody asked for it and may refer to it next.
    pub(crate) fn touch(&self, name: &RepositoryName, digest: &Digest, now: SystemTime, after: Duration) {
        let path = self.layout.blob_link(name, digest);
        let is_old = |about: fs::Metadata| {
            let age = about
                .modified()
                .ok()
                .and_then(|then| now.duration_since(then).ok());
            age.is_some_and(|age| age > after / 2)
        };
        if fs::metadata(&path).is_ok_and(is_old)
            && let Ok(file) = fs::File::options().write(true).open(&path)
        {
            // Without it the content is kept for the shorter time.
            let _ = file.set_modified(now);
        }
    }

    /// Takes a file that is whole and on disk as a blob of a repository.
    pub(crate) fn adopt_blob(&self, name: &RepositoryName, digest: &Digest, file: &Path) -> io::Result<()> {
        let _guard = self.adding();
        let target = self.layout.blob(digest);
        let shelf = target.parent().unwrap_or(Path::new("/"));
        durable::create_folder(shelf)?;
        let mut permissions = fs::metadata(file)?.permissions();
        permissions.set_readonly(true);
        fs::set_permissions(file, permissions)?;
        fs::rename(file, &target)?;
        durable::sync_folder(shelf)?;
        self.link_blob(name, digest)
    }

    fn link_blob(&self, name: &RepositoryName, digest: &Digest) -> io::Result<()> {
        durable::write(&self.layout.blob_link(name, digest), b"", &self.layout.drafts())
    }

    /// Stores bytes as a blob.
    pub(crate) fn add_blob(&self, name: &RepositoryName, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::sha256(bytes);
        let _guard = self.adding();
        durable::write(&self.layout.blob(&digest), bytes, &self.layout.drafts())?;
        self.link_blob(name, &digest)?;
        Ok(digest)
    }

    /// Gives a repository a blob of another. `false` if the other has it not.
    pub(crate) fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<bool> {
        let _guard = self.adding();
        if !self.has_blob(from, digest) {
            return Ok(false);
        }
        self.link_blob(to, digest)?;
        Ok(true)
    }

    /// Takes a blob away from a repository. `false` if it has it not.
    pub(crate) fn delete_blob(&self, name: &RepositoryName, digest: &Digest) -> io::Result<bool> {
        durable::remove(&self.layout.blob_link(name, digest))
    }

    /// Which of a manifest's blobs the repository has not.
    pub(crate) fn missing(&self, name: &RepositoryName, manifest: &Manifest) -> Option<Digest> {
        let missing = manifest.blobs.iter().find(|digest| !self.has_blob(name, digest));
        missing.cloned()
    }

    /// Stores a manifest, and what it refers to must be there: the first missing blob is given back.
    pub(crate) fn put_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        bytes: &[u8],
    ) -> io::Result<Option<Digest>> {
        let _guard = self.adding();
        if let Some(missing) = self.missing(name, manifest) {
            return Ok(Some(missing));
        }
        let drafts = self.layout.drafts();
        durable::write(&self.layout.blob(digest), bytes, &drafts)?;
        if let Some(subject) = &manifest.subject {
            let descriptor = manifest.descriptor(digest, bytes.len()).to_string();
            let path = self.layout.referrer(name, subject, digest);
            durable::write(&path, descriptor.as_bytes(), &drafts)?;
        }
        let link = self.layout.manifest_link(name, digest);
        durable::write(&link, manifest.media_type.as_bytes(), &drafts)?;
        Ok(None)
    }

    /// Points a tag to a manifest. `false` if it must stay where it points.
    pub(crate) fn put_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        immutable: bool,
    ) -> io::Result<bool> {
        let path = self.layout.tag(name, tag);
        let text = digest.to_string();
        if !immutable {
            durable::write(&path, text.as_bytes(), &self.layout.drafts())?;
            return Ok(true);
        }
        durable::create_folder(&self.layout.tags(name))?;
        let draft = Draft::of(&self.layout.drafts(), text.as_bytes())?;
        if draft.name_new(&path)? {
            durable::sync_folder(&self.layout.tags(name))?;
            return Ok(true);
        }
        Ok(self.tag(name, tag)?.as_ref() == Some(digest))
    }

    /// Where a tag points.
    pub(crate) fn tag(&self, name: &RepositoryName, tag: &Tag) -> io::Result<Option<Digest>> {
        let text = read_small(&self.layout.tag(name, tag), LINK_BYTES_MAX)?;
        Ok(text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()))
    }

    /// A manifest of a repository.
    pub(crate) fn manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Option<StoredManifest>> {
        let text = read_small(&self.layout.manifest_link(name, digest), LINK_BYTES_MAX)?;
        Ok(text.map(|text| StoredManifest {
            digest: digest.clone(),
            media_type: String::from_utf8_lossy(&text).into_owned(),
        }))
    }

    /// What a manifest of a repository says.
    pub(crate) fn read_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Option<Manifest>> {
        let Some(stored) = self.manifest(name, digest)? else {
            return Ok(None);
        };
        let bytes = read_small(&self.layout.blob(digest), self.manifest_bytes_max)?;
        Ok(bytes.and_then(|bytes| Manifest::read(&bytes, Some(&stored.media_type)).ok()))
    }

    pub(crate) fn delete_tag(&self, name: &RepositoryName, tag: &Tag) -> io::Result<bool> {
        durable::remove(&self.layout.tag(name, tag))
    }

    /// Removes a manifest and the tags that point to it, which are given back; `None` if it is not there.
    pub(crate) fn delete_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Option<Vec<Tag>>> {
        let manifest = self.read_manifest(name, digest)?;
        let mut removed = Vec::new();
        for tag in self.tags(name)? {
            if self.tag(name, &tag)?.as_ref() == Some(digest) {
                self.delete_tag(name, &tag)?;
                removed.push(tag);
            }
        }
        if !durable::remove(&self.layout.manifest_link(name, digest))? {
            return Ok(None);
        }
        if let Some(subject) = manifest.and_then(|manifest| manifest.subject) {
            durable::remove(&self.layout.referrer(name, &subject, digest))?;
        }
        Ok(Some(removed))
    }

    /// Whether a repository has, or had, anything in it.
    pub(crate) fn has_repository(&self, name: &RepositoryName) -> bool {
        self.layout.manifests(name).is_dir()
    }

    /// The tags of a repository, without an order.
    pub(crate) fn tags(&self, name: &RepositoryName) -> io::Result<Vec<Tag>> {
        let names = names_in(&self.layout.tags(name))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The manifests of a repository.
    pub(crate) fn manifests(&self, name: &RepositoryName) -> io::Result<Vec<Digest>> {
        let names = names_in(&self.layout.manifests(name))?;
        Ok(names.iter().filter_map(|name| digest_of(name)).collect())
    }

    /// The blobs that a repository says it has.
    pub(crate) fn blobs(&self, name: &RepositoryName) -> io::Result<Vec<Digest>> {
        let names = names_in(&self.layout.repository(name).join("_blobs"))?;
        Ok(names.iter().filter_map(|name| digest_of(name)).collect())
    }

    /// One page of the descriptors of the manifests that refer to a subject, in the order of their digests, and the
    /// digest after which the next page begins, if there is more.
    pub(crate) fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        wanted: &Referrers,
    ) -> io::Result<(Vec<Value>, Option<Digest>)> {
        let folder = self.layout.referrers(name, subject);
        let files = names_in(&folder)?;
        let digests: BTreeSet<Digest> = files.iter().filter_map(|file| digest_of(file)).collect();
        let after = wanted.after.as_ref();
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for digest in digests {
            if after.is_some_and(|after| digest <= *after)
                || !self.layout.manifest_link(name, &digest).exists()
            {
                continue;
            }
            let path = self.layout.referrer(name, subject, &digest);
            let text = read_small(&path, self.manifest_bytes_max)?.unwrap_or_default();
            let Ok(descriptor) = serde_json::from_slice::<Value>(&text) else {
                continue;
            };
            let kind = wanted.artifact_type.as_ref();
            if kind.is_some_and(|kind| descriptor["artifactType"] != kind.as_str()) {
                continue;
            }
            bytes += text.len();
            let is_full = page.len() >= wanted.count_max || bytes > REFERRERS_BYTES_MAX;
            if is_full && last.is_some() {
                return Ok((page, last));
            }
            page.push(descriptor);
            last = Some(digest);
        }
        Ok((page, None))
    }

    /// All repositories that have a folder.
    pub(crate) fn repositories(&self) -> io::Result<BTreeSet<RepositoryName>> {
        let mut found = BTreeSet::new();
        let mut open = vec![String::new()];
        while let Some(above) = open.pop() {
            for name in names_in(&self.layout.repositories().join(&above))? {
                if name.starts_with('_') {
                    found.extend(above.parse());
                    continue;
                }
                open.push(if above.is_empty() {
                    name
                } else {
                    format!("{above}/{name}")
                });
            }
        }
        Ok(found)
    }
}

/// The names in a folder; none if there is no folder.
pub(crate) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
