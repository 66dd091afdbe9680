//! The seam to the file system.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What the loader asks of a file system. Paths are absolute.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    ///
    /// What the file system says; [`io::ErrorKind::NotFound`] for what is not there.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether there is a file (not a folder) of that name.
    fn is_file(&self, path: &Path) -> bool;
    /// Whether there is a folder of that name.
    fn is_dir(&self, path: &Path) -> bool;
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| !metadata.is_dir())
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

/// Files in memory, for tests and fuzzing.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.0.get(path) {
            Some(content) => Ok(content.clone()),
            None if self.is_dir(path) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn is_file(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.0.keys().any(|file| file != path && file.starts_with(path))
    }
}
