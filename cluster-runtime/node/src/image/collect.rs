//! Collecting what nothing needs: blobs and layers that no name and no container holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::store::ImageStore;
use super::{BUILTIN_IMAGE, Digest, Image, ImageError, ImageName};

/// Keeps the layers of a container's image from being collected, also when its name is taken away and when this
/// process ends. [`ImageStore::release`] gives them free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it: the container's id.
    pub holder: String,
}

impl ImageStore {
    /// Holds the layers of an image for a container.
    pub fn lease(&self, image: &Image, holder: &str) -> Result<Lease, ImageError> {
        let _reading = self.hold_content()?;
        let layers: Vec<&str> = image
            .layers
            .iter()
            .filter_map(|layer| layer.file_name()?.to_str())
            .collect();
        if let Some(gone) = image.layers.iter().find(|layer| !layer.exists()) {
            return Err(ImageError::NotFound {
                name: format!("{} ({})", image.name, gone.display()),
            });
        }
        let incoming = self.incoming();
        fs::write(&incoming, layers.join("\n")).map_err(ImageError::at("write", &incoming))?;
        let path = self.lease_path(holder);
        fs::rename(&incoming, &path).map_err(ImageError::at("write", &path))?;
        Ok(Lease {
            holder: holder.to_owned(),
        })
    }

    /// Gives the layers of a container free; one that holds nothing is no error.
    pub fn release(&self, holder: &str) {
        let _ = fs::remove_file(self.lease_path(holder));
    }

    /// Gives free what is held by containers that are not among these.
    pub fn release_all_but(&self, prefix: &str, holders: &BTreeSet<String>) -> Result<(), ImageError> {
        for name in file_names(&self.dir().join("leases"))? {
            if name.starts_with(prefix) && !holders.contains(&name) {
                self.release(&name);
            }
        }
        Ok(())
    }

    fn lease_path(&self, holder: &str) -> PathBuf {
        self.dir().join("leases").join(holder)
    }

    /// Takes the names away of all images that no container uses, but the built-in one, and then what nothing needs.
    /// Gives the names.
    pub fn prune(&self) -> Result<Vec<String>, ImageError> {
        let mut used = BTreeSet::new();
        for lease in file_names(&self.dir().join("leases"))? {
            let path = self.lease_path(&lease);
            used.insert(fs::read_to_string(&path).map_err(ImageError::at("read", &path))?);
        }
        let builtin = BUILTIN_IMAGE.parse::<ImageName>()?.to_string();
        let mut unused = Vec::new();
        for (name, named) in self.names()?.images {
            let config = self.config(&self.manifest(&named.manifest)?.config.digest)?;
            let layers: Vec<String> = config.rootfs.diff_ids.iter().map(Digest::hex).collect();
            if name != builtin && !used.contains(&layers.join("\n")) {
                unused.push(name);
            }
        }
        for name in &unused {
            match self.remove(name) {
                // Somebody else has removed it meanwhile.
                Err(ImageError::NotFound { .. }) | Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        self.collect()?;
        Ok(unused)
    }

    /// Removes blobs and layers that nothing needs. While something is being added or looked up it does nothing:
    /// the next call finds the same.
    pub fn collect(&self) -> Result<(), ImageError> {
        let Some(_owning) = self.try_own_content()? else {
            return Ok(());
        };
        let (mut blobs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        for named in self.names()?.images.values() {
            let manifest = self.manifest(&named.manifest)?;
            let config = self.config(&manifest.config.digest)?;
            blobs.extend([named.manifest.hex(), manifest.config.digest.hex()]);
            blobs.extend(manifest.layers.iter().map(|layer| layer.digest.hex()));
            layers.extend(config.rootfs.diff_ids.iter().map(Digest::hex));
        }
        for lease in file_names(&self.dir().join("leases"))? {
            let path = self.lease_path(&lease);
            let held = fs::read_to_string(&path).map_err(ImageError::at("read", &path))?;
            layers.extend(held.lines().map(str::to_owned));
        }
        self.sweep("blobs/sha256", &blobs)?;
        self.sweep("layers", &layers)?;
        self.sweep("incoming", &BTreeSet::new())
    }

    fn sweep(&self, folder: &str, keep: &BTreeSet<String>) -> Result<(), ImageError> {
        let folder = self.dir().join(folder);
        for name in file_names(&folder)?
            .into_iter()
            .filter(|name| !keep.contains(name))
        {
            let path = folder.join(name);
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(ImageError::at("remove", &path))?;
        }
        Ok(())
    }
}

fn file_names(folder: &Path) -> Result<Vec<String>, ImageError> {
    let entries = fs::read_dir(folder).map_err(ImageError::at("list", folder))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names
        .collect::<Result<_, _>>()
        .map_err(ImageError::at("list", folder))
}
