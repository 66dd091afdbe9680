//! Reading a chart's folder.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::chart::File;
use crate::content::Content;
use crate::error::{ArchiveError, LoadChartError};
use crate::ignore::IgnoreRules;
use crate::limits::Limits;

/// Deeper folders are taken for a circle of links.
const FOLDER_DEPTH_MAX: usize = 64;

/// Reads every file that `.helmignore` leaves in, in the order of their names, folder by folder.
///
/// Links are followed, also out of the folder: the folder belongs to whoever runs this. (In archives they are refused.)
pub(crate) fn read(folder: &Path, limits: Limits) -> Result<Vec<File>, LoadChartError> {
    let ignore_file = folder.join(".helmignore");
    let rules = match fs::read(&ignore_file) {
        Ok(bytes) => IgnoreRules::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|source| LoadChartError::Ignore { source })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => IgnoreRules::default(),
        Err(source) => {
            return Err(LoadChartError::Read {
                path: ignore_file,
                source,
            });
        }
    };
    let mut reader = Reader {
        rules: rules.with_defaults(),
        limits,
        files: Vec::new(),
        bytes: 0,
    };
    reader.folder(folder, "", 0)?;
    Ok(reader.files)
}

struct Reader {
    rules: IgnoreRules,
    limits: Limits,
    files: Vec<File>,
    bytes: u64,
}

impl Reader {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), LoadChartError> {
        if depth > FOLDER_DEPTH_MAX {
            return Err(LoadChartError::TooDeep {
                path: folder.to_owned(),
            });
        }
        let failed = |source| LoadChartError::Read {
            path: folder.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let inside = format!("{prefix}{}", name.to_string_lossy());
            let about = fs::metadata(&path).map_err(|source| LoadChartError::Read {
                path: path.clone(),
                source,
            })?;
            if self.rules.ignores(&inside, about.is_dir()) {
                continue;
            }
            if about.is_dir() {
                self.folder(&path, &format!("{inside}/"), depth + 1)?;
            } else {
                self.file(&path, inside, &about)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: String, about: &fs::Metadata) -> Result<(), LoadChartError> {
        if !about.is_file() {
            return Err(LoadChartError::Irregular {
                path: path.to_owned(),
            });
        }
        if self.files.len() >= self.limits.files_max {
            return Err(LoadChartError::ManyFiles {
                limit: self.limits.files_max,
            });
        }
        let limit = self.limits.file_bytes_max;
        if about.len() > limit {
            return Err(LoadChartError::LargeFile { name, limit });
        }
        let data = read_up_to(path, limit)?;
        if data.len() as u64 > limit {
            return Err(LoadChartError::LargeFile { name, limit });
        }
        self.bytes += data.len() as u64;
        if self.bytes > self.limits.chart_bytes_max {
            return Err(ArchiveError::LargeChart {
                limit: self.limits.chart_bytes_max,
            }
            .into());
        }
        let bytes = data.len();
        let mark = bytes - without_mark(&data).len();
        self.files.push(File {
            name,
            data: Content::whole(data).part(mark..bytes),
        });
        Ok(())
    }
}

/// Reads at most one byte more than `limit`, so that the caller can tell.
fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, LoadChartError> {
    let failed = unreadable(path);
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(&failed)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> LoadChartError {
    move |source| LoadChartError::Read {
        path: path.to_owned(),
        source,
    }
}

/// The file without the mark that some editors put at its head.
pub(crate) fn without_mark(data: &[u8]) -> &[u8] {
    data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)
}
