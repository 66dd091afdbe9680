//! Archives that were fetched, by their digests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use repo_index::Digest;

use crate::atomic_file::write_atomic;

/// A folder of archives by their digests, in Helm's layout.
#[derive(Debug, Clone)]
pub struct ContentCache {
    folder: PathBuf,
}

impl ContentCache {
    /// Uses a folder, which is made when something is kept.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// An archive, if it was kept and is undamaged.
    pub fn archive(&self, digest: Digest) -> Option<Bytes> {
        let path = self.path(digest, "chart");
        let bytes = fs::read(&path).ok()?;
        if Digest::of(&bytes) == digest {
            return Some(bytes.into());
        }
        // Damage is not kept.
        let _ = fs::remove_file(path);
        None
    }

    /// The provenance file of an archive, if it was kept.
    pub fn provenance(&self, digest: Digest) -> Option<Bytes> {
        fs::read(self.path(digest, "prov")).ok().map(Bytes::from)
    }

    /// Keeps an archive, and its provenance file if there is one.
    pub fn keep(&self, archive: &[u8], provenance: Option<&[u8]>) -> io::Result<Digest> {
        let digest = Digest::of(archive);
        if self.archive(digest).is_none() {
            write_atomic(&self.path(digest, "chart"), archive, false)?;
        }
        if let Some(provenance) = provenance {
            write_atomic(&self.path(digest, "prov"), provenance, false)?;
        }
        Ok(digest)
    }

    /// Where downloads are kept that are not complete.
    pub fn partial_folder(&self) -> PathBuf {
        self.folder.join("partial")
    }

    fn path(&self, digest: Digest, extension: &str) -> PathBuf {
        let hex = digest.hex();
        self.folder.join(&hex[..2]).join(format!("{hex}.{extension}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_not_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ContentCache::new(folder.path());
        let digest = cache.keep(b"archive", Some(b"prov")).unwrap();
        assert_eq!(cache.archive(digest).unwrap(), "archive");
        assert_eq!(cache.provenance(digest).unwrap(), "prov");
        fs::write(cache.path(digest, "chart"), b"arch").unwrap();
        assert_eq!(cache.archive(digest), None);
        assert!(!cache.path(digest, "chart").exists());
    }
}
