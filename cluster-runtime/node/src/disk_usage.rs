//! How much a folder holds on its disk.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::runtime::DiskUsage;

/// Blocks of `stat` have this size on every file system.
const BLOCK_BYTES: u64 = 512;
/// So many entries are counted at most, for a folder of a stranger may have any number.
const ENTRIES_MAX: u64 = 2_000_000;

/// Bytes and files below a folder, as `du` counts them: a file with several names once, links not followed, other file
/// systems left out. What goes meanwhile counts nothing, and neither does what lies deeper than a path can name.
pub(crate) fn disk_usage(folder: &Path) -> DiskUsage {
    let mut usage = DiskUsage::default();
    let Ok(top) = fs::symlink_metadata(folder) else {
        return usage;
    };
    let mut linked: HashSet<u64> = HashSet::new();
    let mut counts = |metadata: &Metadata| {
        metadata.dev() == top.dev()
            && (metadata.is_dir() || metadata.nlink() == 1 || linked.insert(metadata.ino()))
    };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if !counts(&metadata) {
                continue;
            }
            usage.bytes += metadata.blocks() * BLOCK_BYTES;
            usage.inodes += 1;
            if usage.inodes >= ENTRIES_MAX {
                return usage;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        fs::write(path("sub/file"), vec![1; 100 << 10]).unwrap();
        let once = disk_usage(dir.path());
        assert!(once.bytes >= 100 << 10, "{once:?}");
        assert_eq!(once.inodes, 2);
        fs::hard_link(path("sub/file"), path("again")).unwrap();
        std::os::unix::fs::symlink("/", path("root")).unwrap();
        let twice = disk_usage(dir.path());
        assert!(twice.bytes < once.bytes + (50 << 10), "{twice:?}");
        assert_eq!(twice.inodes, 3);
    }

    #[test]
    fn err_a_folder_that_is_not_there_holds_nothing() {
        assert_eq!(disk_usage(Path::new("/nowhere/at/all")), DiskUsage::default());
    }
}
