//! Archives of images, as `docker save` writes them: what a store holds, for other programs and machines.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};

use serde_json::json;
use tar::{Builder, Header};

use super::store::ImageStore;
use super::{Digest, ImageError};

/// An image to write, and the names that it gets in the archive.
struct Saved {
    manifest: Digest,
    names: Vec<String>,
}

impl ImageStore {
    /// Writes images as one archive, each under the name that it was asked by. Layers that images share are written
    /// once, compressed as they came.
    pub fn save(&self, names: &[String], out: impl Write) -> Result<(), ImageError> {
        let _reading = self.hold_content()?;
        let images = names
            .iter()
            .map(|name| {
                let (full, named) = self.find(name)?;
                // An image that has no name is known by its digest, which is no name in an archive either.
                let names = full.parse::<Digest>().is_err().then_some(full);
                Ok(Saved {
                    manifest: named.manifest,
                    names: names.into_iter().collect(),
                })
            })
            .collect::<Result<Vec<_>, ImageError>>()?;
        self.write_archive(&images, out)
    }

    /// Writes the image of a configuration as an archive that names it as told.
    pub(crate) fn save_config(&self, config: &Digest, name: &str, out: impl Write) -> Result<(), ImageError> {
        let _reading = self.hold_content()?;
        let (_, named) = self.find(&config.to_string())?;
        let image = Saved {
            manifest: named.manifest,
            names: vec![name.to_owned()],
        };
        self.write_archive(&[image], out)
    }

    fn write_archive(&self, images: &[Saved], out: impl Write) -> Result<(), ImageError> {
        let mut archive = Builder::new(out);
        let mut written = BTreeSet::new();
        let mut table = Vec::new();
        for image in images {
            let manifest = self.manifest(&image.manifest)?;
            let config = format!("{}.json", manifest.config.digest.hex());
            if written.insert(config.clone()) {
                let bytes = self.read_blob("image configuration", &manifest.config.digest)?;
                let length = bytes.len() as u64;
                append(&mut archive, &config, length, Cursor::new(bytes)).map_err(ImageError::Archive)?;
            }
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                let name = format!("{}.tar", layer.digest.hex());
                layers.push(name.clone());
                if !written.insert(name.clone()) {
                    continue;
                }
                let path = self.blob_path(&layer.digest);
                let file = File::open(&path).map_err(ImageError::at("read", &path))?;
                let length = file.metadata().map_err(ImageError::at("read", &path))?.len();
                append(&mut archive, &name, length, file).map_err(ImageError::Archive)?;
            }
            table.push(json!({ "Config": config, "RepoTags": image.names, "Layers": layers }));
        }
        let table = serde_json::Value::from(table).to_string();
        let length = table.len() as u64;
        append(&mut archive, "manifest.json", length, Cursor::new(table)).map_err(ImageError::Archive)?;
        let mut out = archive.into_inner().map_err(ImageError::Archive)?;
        out.flush().map_err(ImageError::Archive)
    }
}

fn append(archive: &mut Builder<impl Write>, path: &str, length: u64, content: impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)
}
