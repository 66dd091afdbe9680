//! Making an index of a folder of archives.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chart_model::LoadChartError;
use repo_index::{Index, IndexEntry};

/// Why a folder cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexFolderError {
    /// The folder or an archive cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An archive is no chart.
    #[error("cannot load `{}`: {source}", .path.display())]
    Chart {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: LoadChartError,
    },
}

/// Makes the index of the archives in a folder and in the folders in it, as `helm repo index` does.
///
/// `url` comes before their paths, and `now`, RFC 3339, is when they were made. Archives that are no charts are passed
/// over, and told.
pub fn index_folder(
    folder: &Path,
    url: &str,
    now: &str,
) -> Result<(Index, Vec<IndexFolderError>), IndexFolderError> {
    let mut index = Index::default();
    now.clone_into(&mut index.generated);
    let mut odd = Vec::new();
    for path in archives(folder)? {
        let relative = path
            .strip_prefix(folder)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let address = if url.is_empty() {
            relative
        } else {
            format!("{}/{relative}", url.trim_end_matches('/'))
        };
        let bytes = fs::read(&path).map_err(|source| IndexFolderError::Read {
            path: path.clone(),
            source,
        })?;
        match IndexEntry::of_archive(&bytes, &address, now) {
            Ok((_, entry)) => drop(index.insert(entry)),
            Err(source) => odd.push(IndexFolderError::Chart { path, source }),
        }
    }
    Ok((index, odd))
}

/// The archives of a folder and of the folders in it, in order.
fn archives(folder: &Path) -> Result<Vec<PathBuf>, IndexFolderError> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>, IndexFolderError> {
        let failed = |source| IndexFolderError::Read {
            path: folder.to_owned(),
            source,
        };
        let entries = fs::read_dir(folder).map_err(failed)?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        paths.sort();
        Ok(paths)
    };
    let mut found = Vec::new();
    let top = list(folder)?;
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|end| end == "tgz") && path.is_file();
    found.extend(top.iter().filter(|path| is_archive(path)).cloned());
    for inner in top.iter().filter(|path| path.is_dir()) {
        found.extend(list(inner)?.into_iter().filter(is_archive));
    }
    Ok(found)
}
