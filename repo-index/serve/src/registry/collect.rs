//! Removing content that nothing refers to.
//!
//! Kept are manifests that a repository has, the blobs they name, and what is younger than the time of grace: a client
//! sends blobs first and the manifest that names them last. Nobody adds content meanwhile.
//!
//! Manifests without a tag stay, as somebody may know their digests, unless it is asked to remove those that nothing
//! with a tag leads to: neither an index that lists them nor a subject that they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::manifest::Manifest;
use super::store::{RegistryStore, names_in};
use crate::digest::Digest;
use crate::durable;
use crate::name::RepositoryName;

/// Uploads that nobody went on with are removed after this long at least.
const UPLOAD_SECONDS_MIN: u64 = 24 * 3600;

/// What is garbage.
#[derive(Debug, Clone, Copy)]
pub struct Garbage {
    /// What is younger stays.
    pub grace: Duration,
    /// Manifests without a tag are garbage as well, unless something with a tag leads to them.
    pub untagged: bool,
}

/// What was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Blobs and manifests.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads that were given up.
    pub uploads: usize,
}

impl RegistryStore {
    /// Removes what is garbage.
    pub(crate) fn collect(&self, now: SystemTime, garbage: Garbage) -> io::Result<Collected> {
        let _guard = self.sweeping();
        let grace = garbage.grace;
        let is_old = |path: &Path, grace: Duration| {
            let modified = fs::metadata(path).and_then(|about| about.modified());
            modified.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age >= grace))
        };
        let layout = self.layout();
        let mut collected = Collected::default();
        let mut kept = BTreeSet::new();
        for name in self.repositories()? {
            let mut manifests = self.all_manifests(&name)?;
            if garbage.untagged {
                let young = |digest: &Digest| !is_old(&layout.manifest_link(&name, digest), grace);
                let roots = manifests.keys().filter(|digest| young(digest)).cloned();
                let wanted = reached(&manifests, roots.chain(self.tagged(&name)?));
                for digest in manifests.keys().filter(|digest| !wanted.contains(*digest)) {
                    self.delete_manifest(&name, digest)?;
                }
                manifests.retain(|digest, _| wanted.contains(digest));
            }
            let named: BTreeSet<&Digest> = manifests
                .values()
                .flatten()
                .flat_map(|manifest| &manifest.blobs)
                .collect();
            kept.extend(manifests.keys().cloned());
            for digest in self.blobs(&name)? {
                let link = layout.blob_link(&name, &digest);
                if named.contains(&digest) || !is_old(&link, grace) {
                    kept.insert(digest);
                } else {
                    durable::remove(&link)?;
                }
            }
            for id in names_in(&layout.uploads(&name))? {
                let path = layout.uploads(&name).join(id);
                if is_old(&path, grace.max(Duration::from_secs(UPLOAD_SECONDS_MIN))) {
                    durable::remove(&path)?;
                    collected.uploads += 1;
                }
            }
        }
        for digest in self.stored()? {
            let path = layout.blob(&digest);
            if !kept.contains(&digest) && is_old(&path, grace) {
                collected.bytes += fs::metadata(&path).map_or(0, |about| about.len());
                durable::remove(&path)?;
                collected.blobs += 1;
            }
        }
        Ok(collected)
    }

    /// The manifests of a repository; one that cannot be read names nothing.
    fn all_manifests(&self, name: &RepositoryName) -> io::Result<BTreeMap<Digest, Option<Manifest>>> {
        let mut found = BTreeMap::new();
        for digest in self.manifests(name)? {
            let manifest = self.read_manifest(name, &digest)?;
            found.insert(digest, manifest);
        }
        Ok(found)
    }

    /// What the tags of a repository point to.
    fn tagged(&self, name: &RepositoryName) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for tag in self.tags(name)? {
            found.extend(self.tag(name, &tag)?);
        }
        Ok(found)
    }

    /// Everything that is stored.
    fn stored(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        let blobs = self.layout().blobs();
        for algorithm in names_in(&blobs)? {
            let shelves = blobs.join(&algorithm);
            for shelf in names_in(&shelves)? {
                let files = names_in(&shelves.join(shelf))?;
                found.extend(
                    files
                        .iter()
                        .filter_map(|hex| format!("{algorithm}:{hex}").parse().ok()),
                );
            }
        }
        Ok(found)
    }
}

/// Which manifests are wanted: the roots, what indexes among them list, and what refers to a wanted one.
fn reached(
    manifests: &BTreeMap<Digest, Option<Manifest>>,
    roots: impl Iterator<Item = Digest>,
) -> BTreeSet<Digest> {
    let mut leads_to: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
    for (digest, manifest) in manifests {
        let Some(manifest) = manifest else { continue };
        leads_to.entry(digest).or_default().extend(&manifest.children);
        if let Some(subject) = &manifest.subject {
            leads_to.entry(subject).or_default().push(digest);
        }
    }
    let mut wanted = BTreeSet::new();
    let mut open: Vec<Digest> = roots.collect();
    while let Some(digest) = open.pop() {
        if wanted.insert(digest.clone()) {
            let next = leads_to.get(&digest).into_iter().flatten();
            open.extend(next.map(|digest| (*digest).clone()));
        }
    }
    wanted
}
