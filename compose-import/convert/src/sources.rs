//! The seam to the files that a project mounts and gives as configs and secrets.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands at a path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nothing, or nothing that may be read.
    Missing,
    /// A file and its content.
    File(Vec<u8>),
    /// A folder and its files, by their paths below it, in order.
    Folder(Vec<(String, Vec<u8>)>),
    /// More than was asked for.
    TooLarge,
    /// A socket, a device, a pipe.
    Special,
}

/// What conversion asks of a file system. Paths are absolute.
pub trait Sources {
    /// Looks at a path; content beyond `bytes_max` in all, or more than `files_max` files, is [`Source::TooLarge`].
    fn look(&self, path: &Path, bytes_max: u64, files_max: usize) -> Source;
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskSources;

impl Sources for DiskSources {
    fn look(&self, path: &Path, bytes_max: u64, files_max: usize) -> Source {
        let Ok(metadata) = fs::metadata(path) else {
            return Source::Missing;
        };
        if metadata.is_file() {
            if metadata.len() > bytes_max {
                return Source::TooLarge;
            }
            return fs::read(path).map_or(Source::Missing, Source::File);
        }
        if !metadata.is_dir() {
            return Source::Special;
        }
        let mut walk = Walk {
            bytes_left: bytes_max,
            files_left: files_max,
            files: Vec::new(),
        };
        match walk.folder(path, "", 0) {
            Some(()) => {
                walk.files.sort();
                Source::Folder(walk.files)
            }
            None => Source::TooLarge,
        }
    }
}

const DEPTH_MAX: usize = 16;

struct Walk {
    bytes_left: u64,
    files_left: usize,
    files: Vec<(String, Vec<u8>)>,
}

impl Walk {
    /// `None`: there is too much.
    fn folder(&mut self, path: &Path, below: &str, depth: usize) -> Option<()> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let inner = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if metadata.is_dir() {
                if depth == DEPTH_MAX {
                    return None;
                }
                self.folder(&path, &inner, depth + 1)?;
            } else if metadata.is_file() {
                self.bytes_left = self.bytes_left.checked_sub(metadata.len())?;
                self.files_left = self.files_left.checked_sub(1)?;
                if let Ok(content) = fs::read(&path) {
                    self.files.push((inner, content));
                }
            }
        }
        Some(())
    }
}
