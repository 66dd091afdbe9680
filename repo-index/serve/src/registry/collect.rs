//! Removing content that nothing refers to.
//!
//! Kept are manifests that a repository has, the blobs they name, and what is younger than the time of grace: a client
//! sends blobs first and the manifest that names them last. Nobody adds content meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::store::{RegistryStore, names_in};
use crate::digest::Digest;
use crate::durable;

/// Uploads that nobody went on with are removed after this long at least.
const UPLOAD_SECONDS_MIN: u64 = 24 * 3600;

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
    /// Removes what nothing refers to and what is older than `grace`.
    pub(crate) fn collect(&self, now: SystemTime, grace: Duration) -> io::Result<Collected> {
        let _guard = self.sweeping();
        let is_old = |path: &Path, grace: Duration| {
            let modified = fs::metadata(path).and_then(|about| about.modified());
            modified.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age >= grace))
        };
        let layout = self.layout();
        let mut collected = Collected::default();
        let mut kept = BTreeSet::new();
        for name in self.repositories()? {
            let mut named = BTreeSet::new();
            for digest in self.manifests(&name)? {
                if let Some(manifest) = self.read_manifest(&name, &digest)? {
                    named.extend(manifest.blobs);
                }
                kept.insert(digest);
            }
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
