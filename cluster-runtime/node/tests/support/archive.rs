//! Archives of images and layers, made by hand, so that they may be as wrong as the test needs.

use std::io::Write;

use cluster_node::image::Digest;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// One entry of an archive.
#[derive(Clone)]
pub struct Item {
    pub path: &'static str,
    pub kind: EntryType,
    pub content: Vec<u8>,
    pub link: &'static str,
    pub mode: u32,
    pub attributes: Vec<(&'static str, &'static [u8])>,
}

pub fn file(path: &'static str, content: &str) -> Item {
    Item {
        path,
        kind: EntryType::Regular,
        content: content.into(),
        link: "",
        mode: 0o644,
        attributes: Vec::new(),
    }
}

pub fn folder(path: &'static str) -> Item {
    Item {
        kind: EntryType::Directory,
        mode: 0o755,
        ..file(path, "")
    }
}

pub fn link(path: &'static str, target: &'static str) -> Item {
    Item {
        kind: EntryType::Symlink,
        link: target,
        ..file(path, "")
    }
}

pub fn hard(path: &'static str, target: &'static str) -> Item {
    Item {
        kind: EntryType::Link,
        link: target,
        ..file(path, "")
    }
}

/// Puts entries into an archive; names are written as they are, however bad.
pub fn layer(items: &[Item]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for item in items {
        let records = item.attributes.iter().map(|(name, value)| (*name, *value));
        archive.append_pax_extensions(records).unwrap();
        let mut header = Header::new_gnu();
        let name = &mut header.as_gnu_mut().unwrap().name;
        name[..item.path.len()].copy_from_slice(item.path.as_bytes());
        let target = &mut header.as_gnu_mut().unwrap().linkname;
        target[..item.link.len()].copy_from_slice(item.link.as_bytes());
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(item.content.len() as u64);
        header.set_cksum();
        archive.append(&header, item.content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The parts of an image of one layer.
pub struct Parts {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

pub fn parts(layer: Vec<u8>, plain: &[u8], process: &Value) -> Parts {
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": process,
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(plain)] },
    });
    let config = config.to_string().into_bytes();
    let descriptor =
        |bytes: &[u8]| json!({ "digest": Digest::of(bytes), "size": bytes.len(), "mediaType": "x" });
    let manifest = json!({
        "schemaVersion": 2, "config": descriptor(&config), "layers": [descriptor(&layer)],
    });
    Parts {
        layer,
        config,
        manifest: manifest.to_string().into_bytes(),
    }
}

/// Files as a plain archive.
pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

/// An OCI layout with one image of that name.
pub fn oci(parts: &Parts, name: &str) -> Vec<(String, Vec<u8>)> {
    let blob = |bytes: &[u8]| {
        (
            format!("blobs/sha256/{}", Digest::of(bytes).hex()),
            bytes.to_vec(),
        )
    };
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(&parts.manifest), "size": parts.manifest.len(),
        "annotations": { "io.containerd.image.name": name },
    }] });
    vec![
        ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".into(), index.to_string().into_bytes()),
        blob(&parts.manifest),
        blob(&parts.config),
        blob(&parts.layer),
    ]
}

/// What `docker save` wrote before it wrote OCI layouts.
pub fn docker(parts: &Parts, name: &str) -> Vec<(String, Vec<u8>)> {
    let config = format!("{}.json", Digest::of(&parts.config).hex());
    let manifest = json!([{ "Config": config, "RepoTags": [name], "Layers": ["abc/layer.tar"] }]);
    vec![
        ("abc/layer.tar".into(), parts.layer.clone()),
        (config, parts.config.clone()),
        ("manifest.json".into(), manifest.to_string().into_bytes()),
    ]
}
