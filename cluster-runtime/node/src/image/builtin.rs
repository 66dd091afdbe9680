//! The image that comes inside the binary: one program, made into an image when the store is opened.

use std::io::Cursor;

use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::archive::descriptor;
use super::manifest::{CONFIG, LAYER, MANIFEST, Manifest, architecture};
use super::store::ImageStore;
use super::{Digest, ImageError, ImageName};

/// Name of the built-in image: a tiny HTTP server and a few tools.
pub const BUILTIN_IMAGE: &str = "tug/hello:1.0";

/// The program of the built-in image.
pub(crate) const BUILTIN_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
const TOOLS: &[&str] = &[
    "sh", "cat", "ls", "env", "echo", "sleep", "get", "resolve", "id", "touch", "rm", "mkdir", "true",
    "false", "pwd", "hostname",
];

impl ImageStore {
    /// Stores the built-in image where it is not there yet, or another version of it is.
    pub(super) fn ensure_builtin(&self) -> Result<(), ImageError> {
        let name: ImageName = BUILTIN_IMAGE.parse()?;
        let name = name.to_string();
        let layer = layer().map_err(ImageError::Archive)?;
        let config = config(&Digest::of(&layer));
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.into(),
            config: descriptor(CONFIG, &Digest::of(&config), config.len() as u64),
            layers: vec![descriptor(LAYER, &Digest::of(&layer), layer.len() as u64)],
        };
        let known = self.names()?.images.remove(&name);
        let same = known.and_then(|known| self.manifest(&known.manifest).ok());
        if same.is_some_and(|known| known == manifest) && self.layer_path(&Digest::of(&layer)).exists() {
            return Ok(());
        }
        let _adding = self.hold_content()?;
        self.write_blob(&mut Cursor::new(&layer))?;
        self.write_blob(&mut Cursor::new(&config))?;
        let digest = self.write_manifest(&manifest)?;
        self.finish(&[name], &digest, &digest)
    }
}

/// The one layer: the program under `/bin`, its names, users, and a folder for temporary files.
fn layer() -> std::io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::with_capacity(BUILTIN_PROGRAM.len() + 64 * 1024));
    let mut add = |path: &str, kind, mode, content: &[u8], target: Option<&str>| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        match target {
            Some(target) => archive.append_link(&mut header, path, target),
            None => archive.append_data(&mut header, path, content),
        }
    };
    for (folder, mode) in [
        ("bin/", 0o755),
        ("dev/", 0o755),
        ("etc/", 0o755),
        ("proc/", 0o755),
        ("root/", 0o700),
        ("sys/", 0o755),
        ("tmp/", 0o1777),
    ] {
        add(folder, EntryType::Directory, mode, b"", None)?;
    }
    add("bin/hello", EntryType::Regular, 0o755, BUILTIN_PROGRAM, None)?;
    for tool in TOOLS {
        add(
            &format!("bin/{tool}"),
            EntryType::Symlink,
            0o777,
            b"",
            Some("hello"),
        )?;
    }
    let users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
    add("etc/passwd", EntryType::Regular, 0o644, users, None)?;
    add(
        "etc/group",
        EntryType::Regular,
        0o644,
        b"root:x:0:\nnogroup:x:65534:\n",
        None,
    )?;
    archive.into_inner()
}

fn config(diff_id: &Digest) -> Vec<u8> {
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/bin"],
            "Entrypoint": ["/bin/hello"],
            "WorkingDir": "/",
            "ExposedPorts": { "80/tcp": {} },
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    config.to_string().into_bytes()
}
