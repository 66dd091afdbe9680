//! Unpacking an archive into a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chart_model::{Chart, LoadChartError};
use repo_index::{ReferenceError, check_chart_name};

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is no chart, or one made to do harm.
    #[error(transparent)]
    Chart(#[from] LoadChartError),
    /// Its name would be a path.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// Something is in the way.
    #[error("failed to untar: a file or directory with the name {} already exists", .path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// The files cannot be written.
    #[error("cannot write `{}`: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Unpacks an archive into `folder/NAME`, which appears when everything is there. Gives its path.
pub fn unpack_archive(archive: &[u8], folder: &Path) -> Result<PathBuf, UnpackError> {
    let chart = Chart::from_archive(archive)?;
    check_chart_name(chart.name())?;
    let target = folder.join(chart.name());
    if target.symlink_metadata().is_ok() {
        return Err(UnpackError::Exists { path: target });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| UnpackError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let staging = tempfile::Builder::new()
        .prefix(".tug-")
        .tempdir_in(folder)
        .map_err(failed(folder))?;
    for file in &chart.raw {
        // The loader has refused paths that lead out of the chart.
        let path = staging.path().join(&file.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::write(&path, &file.data).map_err(failed(&path))?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(staging.path(), mode).map_err(failed(&target))?;
    fs::rename(staging.keep(), &target).map_err(failed(&target))?;
    Ok(target)
}
