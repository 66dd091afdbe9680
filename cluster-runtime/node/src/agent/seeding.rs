//! Volumes that begin with what the image has where they are mounted, as those of container engines do.
//!
//! Kubernetes' own begin empty. A pod asks for it by naming its volumes in [`SEEDED_VOLUMES`].

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{Mode, OFlags};

use super::pod::{ContainerConfig, Pod};
use crate::beneath;
use crate::runtime::ContainerSpec;

/// The annotation of a pod that names those of its volumes, with commas between them.
const SEEDED_VOLUMES: &str = "tug.dev/seeded-volumes";

/// A volume that is mounted at a path of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    volume: PathBuf,
    target: PathBuf,
}

/// The mounts of a container that begin with what the image has.
pub(crate) fn wanted(pod: &Pod, container: &ContainerConfig, spec: &ContainerSpec) -> Vec<Seed> {
    let Some(names) = pod.object.annotation(SEEDED_VOLUMES) else {
        return Vec::new();
    };
    // The first mounts of the container are those of its volumes, in their order.
    let mounts = container.volume_mounts.iter().zip(&spec.mounts);
    mounts
        .filter(|(mount, made)| names.split(',').any(|name| name == mount.name) && made.sub_path.is_empty())
        .map(|(_, made)| Seed {
            volume: made.source.clone(),
            target: made.target.clone(),
        })
        .collect()
}

/// Fills those volumes that are empty. `folder` is for what is needed meanwhile.
pub(crate) fn seed(seeds: &[Seed], layers: &[PathBuf], folder: &Path) -> io::Result<()> {
    let mut empty = Vec::new();
    for seed in seeds {
        if fs::read_dir(&seed.volume)?.next().is_none() {
            empty.push(seed);
        }
    }
    if empty.is_empty() || layers.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let image = MountedImage::open(layers, folder)?;
    for seed in empty {
        fill(seed, &image)?;
    }
    Ok(())
}

/// The files of an image, put together from its layers until dropped.
struct MountedImage {
    path: PathBuf,
}

impl MountedImage {
    fn open(layers: &[PathBuf], folder: &Path) -> io::Result<Self> {
        let path = folder.join("image");
        let nothing = folder.join("nothing");
        fs::create_dir_all(&path)?;
        // One layer alone makes no overlay.
        fs::create_dir_all(&nothing)?;
        // By their descriptors, since the kernel takes options of a page at most.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = layers.iter().rev().chain([&nothing]);
        let opened = opened
            .map(|layer| rustix::fs::open(layer, flags, Mode::empty()))
            .collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = opened
            .iter()
            .map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd()))
            .collect();
        let options = format!("lowerdir={}", names.join(":"));
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(
            Some("overlay"),
            &path,
            Some("overlay"),
            flags,
            Some(options.as_str()),
        )?;
        Ok(Self { path })
    }
}

impl Drop for MountedImage {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            tracing::warn!(path = %self.path.display(), %error, "cannot let go of an image");
        }
    }
}

/// Copies what the image has at the target into a volume, with owners and modes, those of the folder itself too.
fn fill(seed: &Seed, image: &MountedImage) -> io::Result<()> {
    let root = fs::File::open(&image.path)?;
    let inside = seed.target.strip_prefix("/").unwrap_or(&seed.target);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let found = match beneath::open(&root, inside.as_os_str().as_encoded_bytes(), flags) {
        Ok(found) => found,
        // The image has no such folder: the volume stays as it is.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    for entry in fs::read_dir(&source)? {
        let name = entry?.file_name();
        copy(&source.join(&name), &seed.volume.join(&name))?;
    }
    same_owner_and_mode(&fs::metadata(&source)?, &seed.volume)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let seen = fs::symlink_metadata(from)?;
    let kind = seen.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(seen.uid()), Some(seen.gid()));
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        // Devices and pipes of an image are nobody's data.
        return Ok(());
    }
    same_owner_and_mode(&seen, to)
}

/// The owner first: changing it takes away bits of the mode.
fn same_owner_and_mode(seen: &fs::Metadata, path: &Path) -> io::Result<()> {
    lchown(path, Some(seen.uid()), Some(seen.gid()))?;
    fs::set_permissions(path, Permissions::from_mode(seen.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_links_are_copied_with_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub/file"), Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(from.join("sub"), Permissions::from_mode(0o1777)).unwrap();
        symlink("sub/file", from.join("link")).unwrap();
        let to = dir.path().join("to");
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "content");
        assert_eq!(fs::metadata(to.join("sub/file")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(to.join("sub")).unwrap().mode() & 0o7777, 0o1777);
    }
}
