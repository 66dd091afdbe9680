//! What the agent mounts for pods, and how it lets go of it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cluster_objects::quantity::Quantity;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts that appear while others are let go: so often the list is read again.
const ROUNDS_MAX: usize = 10;

/// Mounts a file system in memory, unless one is there.
pub(crate) fn mount_memory(path: &Path, size: Option<Quantity>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if let (Some(above), Ok(own)) = (path.parent(), fs::metadata(path))
        && fs::metadata(above)?.dev() != own.dev()
    {
        return Ok(());
    }
    let size = size.map_or_else(String::new, |size| format!(",size={}", size.units()));
    let options = format!("mode=0777{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str()))?;
    Ok(())
}

/// Whether something is mounted at a path. The path is not looked at: what is mounted there may not answer.
pub(crate) fn is_mounted(path: &Path) -> io::Result<bool> {
    let above = path.parent().unwrap_or(path).canonicalize()?;
    let path = above.join(path.file_name().unwrap_or_default());
    Ok(mount_points()?.contains(&path))
}

/// Removes a folder with all that is in it, after every mount below it: what is on the other side of a mount stays. A
/// folder that is not there is no error.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    unmount_below(folder)?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lets go of every mount below a folder; an error where one stays.
fn unmount_below(folder: &Path) -> io::Result<()> {
    // The kernel lists mounts by their real paths.
    let folder = match folder.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for _ in 0..ROUNDS_MAX {
        let mut below = mount_points()?;
        below.retain(|point| point.starts_with(&folder));
        if below.is_empty() {
            return Ok(());
        }
        // The inner ones first.
        below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
        for point in below {
            umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
        }
    }
    Err(io::Error::other(format!(
        "mounts below `{}` do not go away",
        folder.display()
    )))
}

fn mount_points() -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.map(|point| PathBuf::from(unescape(point))).collect())
}

/// The list of mounts writes spaces and a few others as `\040`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = std::str::from_utf8(tail.get(..3).unwrap_or_default());
        match code
            .ok()
            .filter(|_| *first == b'\\')
            .and_then(|code| u8::from_str_radix(code, 8).ok())
        {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_with_spaces_are_read() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
    }

    #[test]
    fn the_other_side_of_a_mount_stays() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (far, near) = (dir.path().join("far"), dir.path().join("pod"));
        let point = near.join("volumes/data");
        fs::create_dir_all(&point).unwrap();
        fs::create_dir(&far).unwrap();
        fs::write(far.join("kept"), "1").unwrap();
        // Found also where the way to it leads over a link, and twice at one place.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&near, &link).unwrap();
        for _ in 0..2 {
            let nothing = None::<&str>;
            mount(Some(&far), &point, nothing, MsFlags::MS_BIND, nothing).unwrap();
        }
        assert!(is_mounted(&link.join("volumes/data")).unwrap());
        assert!(!is_mounted(&near.join("volumes")).unwrap());
        remove_folder(&link.join("volumes")).unwrap();
        assert!(far.join("kept").exists());
        assert!(!near.join("volumes").exists());
        remove_folder(&link.join("volumes")).unwrap();
    }
}
