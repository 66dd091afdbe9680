//! Finding the archives of a folder and of the tenants in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;
use repo_index::IndexEntry;

use super::cache::{Records, Stamp};
use super::listing::Listing;
use super::version::ChartVersion;
use crate::name::{FileName, Tenant};
use crate::options::Depth;

/// How deep tenants are looked for where they may be anywhere.
const DEPTH_MAX: usize = 8;

/// An archive that was found.
struct Found {
    tenant: Tenant,
    file: FileName,
    path: PathBuf,
    stamp: Stamp,
    modified: SystemTime,
}

/// What a folder holds.
pub(crate) struct Scan {
    pub(crate) tenants: BTreeMap<Tenant, Listing>,
    pub(crate) stamps: BTreeMap<(Tenant, String), Stamp>,
    /// How many archives had to be read.
    pub(crate) unpacked: usize,
}

/// Lists the archives below a folder; those that the cache does not know are read, on all processors.
pub(crate) fn scan(root: &Path, depth: Depth, mut known: Records, chart_bytes_max: u64) -> io::Result<Scan> {
    let mut found = Vec::new();
    find(root, &Tenant::root(), depth, &mut found)?;
    let mut fresh = Vec::new();
    let mut versions = Vec::new();
    let mut stamps = BTreeMap::new();
    for archive in found {
        let key = (archive.tenant.to_string(), archive.file.to_string());
        stamps.insert((archive.tenant.clone(), key.1.clone()), archive.stamp);
        match known.remove(&key) {
            Some((stamp, version)) if stamp == archive.stamp => versions.push((archive.tenant, version)),
            _ => fresh.push(archive),
        }
    }
    let unpacked = fresh.len();
    versions.extend(read_all(&fresh, chart_bytes_max));
    // Of two archives of one version, the first by its name counts, at every start the same.
    versions.sort_by(|(a, x), (b, y)| (a, &x.file).cmp(&(b, &y.file)));
    let mut tenants: BTreeMap<Tenant, Listing> = BTreeMap::new();
    tenants.insert(Tenant::root(), Listing::default());
    let mut sorted: BTreeMap<Tenant, Vec<ChartVersion>> = BTreeMap::new();
    for (tenant, version) in versions {
        sorted.entry(tenant).or_default().push(version);
    }
    for (tenant, versions) in sorted {
        let listing = tenants.entry(tenant).or_default();
        for version in versions {
            if let Some(other) = listing.version(&version.name, version.version_text()) {
                tracing::warn!(
                    "`{}` is not served: `{}` holds the same version",
                    version.file,
                    other.file
                );
                continue;
            }
            listing.insert(version);
        }
    }
    Ok(Scan {
        tenants,
        stamps,
        unpacked,
    })
}

fn find(folder: &Path, tenant: &Tenant, depth: Depth, found: &mut Vec<Found>) -> io::Result<()> {
    let level = tenant.parts().count();
    let holds_archives = match depth {
        Depth::Dynamic => true,
        Depth::Fixed(depth) => level == depth,
    };
    let holds_tenants = match depth {
        Depth::Dynamic => level < DEPTH_MAX,
        Depth::Fixed(depth) => level < depth,
    };
    let mut folders = Vec::new();
    let mut archives = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // The source of a chart is no tenant, even if it holds archives.
        if name == "Chart.yaml" {
            return Ok(());
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            folders.push(name);
        } else if kind.is_file() && name.ends_with(".tgz") {
            archives.push((name, entry));
        }
    }
    for (name, entry) in archives.into_iter().filter(|_| holds_archives) {
        match name.parse::<FileName>() {
            Ok(file) => {
                let about = entry.metadata()?;
                found.push(Found {
                    tenant: tenant.clone(),
                    file,
                    path: entry.path(),
                    stamp: Stamp::of(&about),
                    modified: about.modified()?,
                });
            }
            Err(error) => tracing::warn!("not served: {error}"),
        }
    }
    for name in folders.into_iter().filter(|_| holds_tenants) {
        // Other folders, such as `.tug`, are none of ours.
        if let Ok(below) = tenant.join(&name).parse() {
            find(&folder.join(&name), &below, depth, found)?;
        }
    }
    Ok(())
}

fn read_all(archives: &[Found], chart_bytes_max: u64) -> Vec<(Tenant, ChartVersion)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let read = Mutex::new(Vec::with_capacity(archives.len()));
    std::thread::scope(|scope| {
        for _ in 0..workers.min(archives.len()) {
            scope.spawn(|| {
                while let Some(archive) = archives.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match read_one(archive, chart_bytes_max) {
                        Ok(version) => {
                            let mut read = read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            read.push((archive.tenant.clone(), version));
                        }
                        Err(why) => tracing::warn!("`{}` is not served: {why}", archive.path.display()),
                    }
                }
            });
        }
    });
    read.into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read_one(archive: &Found, chart_bytes_max: u64) -> Result<ChartVersion, String> {
    let bytes = crate::content::read_small(&archive.path, chart_bytes_max)
        .map_err(|error| error.to_string())?
        .unwrap_or_default();
    read_version(&bytes, &archive.file, archive.modified)
}

/// Reads an archive whose file is known.
pub(crate) fn read_version(
    bytes: &[u8],
    file: &FileName,
    modified: SystemTime,
) -> Result<ChartVersion, String> {
    version_of(read_entry(bytes, modified)?, file)
}

/// What an archive says of itself.
pub(crate) fn read_entry(bytes: &[u8], modified: SystemTime) -> Result<IndexEntry, String> {
    let created = Timestamp::try_from(modified).unwrap_or_default().to_string();
    let read = IndexEntry::of_archive(bytes, "", &created);
    read.map(|(_, entry)| entry).map_err(|error| error.to_string())
}

/// The entry of an archive in a file.
pub(crate) fn version_of(entry: IndexEntry, file: &FileName) -> Result<ChartVersion, String> {
    // File names hold `+`, which some take for a space in addresses.
    let url = format!("charts/{}", file.as_str().replace('+', "%2B"));
    let entry = entry.with_urls(vec![url]);
    ChartVersion::new(&entry, file.as_str()).map_err(|error| error.to_string())
}
