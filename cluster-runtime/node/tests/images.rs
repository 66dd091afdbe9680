//! The image store: archives good and hostile, names, removal, and two users at once.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use cluster_node::image::{BUILTIN_IMAGE, ImageError, ImageStore, UnpackLimits, unpack_layer};
use serde_json::json;
use support::archive::{Item, docker, file, folder, gzip, hard, layer, link, oci, parts, tar};
use tar::EntryType;

fn store() -> Option<(tempfile::TempDir, ImageStore)> {
    if !support::is_root() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    Some((dir, store))
}

#[test]
fn a_new_store_has_the_builtin_image_and_keeps_it_as_it_is() {
    let Some((dir, store)) = store() else { return };
    let image = store.resolve(BUILTIN_IMAGE).unwrap();
    assert_eq!(image.name, "docker.io/tug/hello:1.0");
    assert!(image.layers[0].join("bin/hello").exists());
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 1);
    let again = ImageStore::open(dir.path()).unwrap();
    assert_eq!(again.list().unwrap(), listed);
}

#[test]
fn archives_of_every_form_are_loaded() {
    let Some((_dir, store)) = store() else { return };
    let plain = layer(&[folder("etc"), file("etc/motd", "hello\n")]);
    let process = json!({ "Entrypoint": ["/bin/x"], "Env": null, "User": "app" });
    let image = parts(plain.clone(), &plain, &process);
    let zipped = parts(gzip(&plain), &plain, &process);
    for (archive, name) in [
        (tar(&oci(&image, "docker.io/library/one:latest")), "one"),
        (gzip(&tar(&oci(&zipped, "two:v2"))), "two:v2"),
        (tar(&docker(&image, "r.io:5000/three:x")), "r.io:5000/three:x"),
        (gzip(&tar(&docker(&zipped, "four"))), "four"),
    ] {
        let names = store.load(archive.as_slice()).unwrap();
        let found = store.resolve(name).unwrap();
        assert_eq!(names, std::slice::from_ref(&found.name));
        assert_eq!(found.config.config.entrypoint, ["/bin/x"]);
        assert_eq!(
            fs::read_to_string(found.layers[0].join("etc/motd")).unwrap(),
            "hello\n"
        );
        assert_eq!(store.resolve(&found.id.to_string()).unwrap().id, found.id);
    }
    assert_eq!(store.list().unwrap().len(), 5);
    // One layer in four images is on the disk once.
    assert_eq!(fs::read_dir(store.dir().join("layers")).unwrap().count(), 2);
}

#[test]
fn a_name_that_is_taken_away_takes_its_content_with_it_unless_it_is_used() {
    let Some((_dir, store)) = store() else { return };
    let plain = layer(&[file("a", "1")]);
    let load = || {
        store
            .load(tar(&oci(&parts(plain.clone(), &plain, &json!({})), "one")).as_slice())
            .unwrap()
    };
    let blobs = || fs::read_dir(store.dir().join("blobs/sha256")).unwrap().count();
    let before = blobs();
    load();
    assert!(blobs() > before);
    store.tag("one", "other").unwrap();
    assert_eq!(store.remove("one").unwrap(), "docker.io/library/one:latest");
    assert!(store.resolve("one").is_err());
    let image = store.resolve("other").unwrap();
    store.lease(&image, "container-1").unwrap();
    store.remove("other").unwrap();
    assert_eq!(blobs(), before);
    assert!(image.layers[0].exists(), "a container uses it");
    store.release("container-1");
    store.collect().unwrap();
    assert!(!image.layers[0].exists());
    assert!(matches!(store.remove("other"), Err(ImageError::NotFound { .. })));
    assert!(store.resolve(BUILTIN_IMAGE).is_ok());
}

#[test]
fn what_is_saved_is_loaded_elsewhere_and_what_is_unused_is_pruned() {
    let (Some((_one, from)), Some((_two, to))) = (store(), store()) else {
        return;
    };
    let archive = layer(&[file("etc/name", "one")]);
    let image = parts(gzip(&archive), &archive, &json!({ "Cmd": ["sh"] }));
    from.load(tar(&oci(&image, "box:1")).as_slice()).unwrap();
    from.tag("box:1", "other:2").unwrap();
    let mut saved = Vec::new();
    from.save(&["box:1".into(), "other:2".into()], &mut saved)
        .unwrap();
    let mut loaded = to.load(saved.as_slice()).unwrap();
    loaded.sort();
    assert_eq!(loaded, ["docker.io/library/box:1", "docker.io/library/other:2"]);
    assert_eq!(to.resolve("box:1").unwrap().id, from.resolve("box:1").unwrap().id);

    let held = to.resolve("box:1").unwrap();
    to.lease(&held, "container").unwrap();
    assert_eq!(
        to.prune().unwrap(),
        Vec::<String>::new(),
        "a container has its layers"
    );
    to.release("container");
    assert_eq!(to.prune().unwrap().len(), 2);
    assert_eq!(to.list().unwrap().len(), 1, "the built-in image stays");
}

#[test]
fn many_users_of_one_store_lose_nothing() {
    let Some((dir, store)) = store() else { return };
    std::thread::scope(|scope| {
        for number in 0..6 {
            let dir = dir.path();
            scope.spawn(move || {
                let store = ImageStore::open(dir).unwrap();
                let plain = layer(&[
                    file("shared", "the same"),
                    file("own", if number % 2 == 0 { "a" } else { "b" }),
                ]);
                let name = format!("image-{number}");
                for _ in 0..3 {
                    let image = parts(plain.clone(), &plain, &json!({}));
                    store.load(tar(&oci(&image, &name)).as_slice()).unwrap();
                    assert!(store.resolve(&name).unwrap().layers[0].join("shared").exists());
                    store.remove(&name).unwrap();
                }
                let image = parts(plain.clone(), &plain, &json!({}));
                store.load(tar(&oci(&image, &name)).as_slice()).unwrap();
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), 7);
    for number in 0..6 {
        assert!(
            store.resolve(&format!("image-{number}")).unwrap().layers[0]
                .join("own")
                .exists()
        );
    }
}

fn loaded(files: &[(String, Vec<u8>)]) -> Option<String> {
    let (_dir, store) = store()?;
    let before = fs::read_dir(store.dir().join("blobs/sha256")).unwrap().count();
    let refused = store.load(tar(files).as_slice()).unwrap_err();
    assert_eq!(store.list().unwrap().len(), 1, "nothing is named");
    assert_eq!(
        fs::read_dir(store.dir().join("blobs/sha256")).unwrap().count(),
        before,
        "nothing is left"
    );
    let mut text = refused.to_string();
    let mut source = std::error::Error::source(&refused);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Some(text)
}

#[test]
fn err_archives_that_are_no_images() {
    let plain = layer(&[file("a", "1")]);
    let good = parts(plain.clone(), &plain, &json!({}));
    let mut wrong_blob = oci(&good, "x");
    wrong_blob.last_mut().unwrap().1.push(0);
    let mut missing = oci(&good, "x");
    missing.pop();
    let other = layer(&[file("a", "2")]);
    let wrong_diff = parts(plain, &other, &json!({}));
    let mut wrong_config = docker(&good, "x");
    wrong_config[1].1.push(b' ');
    let mut bad_index = oci(&good, "x");
    bad_index[1].1 = b"{".to_vec();
    for (files, expected) in [
        (
            vec![("readme".to_owned(), b"hi".to_vec())],
            "this is no image archive",
        ),
        (wrong_blob, "has the digest"),
        (missing, "is missing"),
        (oci(&wrong_diff, "x"), "has the digest"),
        (wrong_config, "has the digest"),
        (bad_index, "cannot read the index.json"),
        (docker(&good, "Not A Name"), "is no image name"),
    ] {
        let Some(error) = loaded(&files) else { return };
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
}

#[test]
fn err_a_broken_archive_is_an_error_and_no_panic() {
    let Some((_dir, store)) = store() else { return };
    let plain = layer(&[file("a", "1")]);
    let whole = tar(&oci(&parts(gzip(&plain), &plain, &json!({})), "x"));
    for cut in [0, 1, 511, 513, whole.len() / 3, whole.len() / 2] {
        assert!(store.load(&whole[..cut]).is_err(), "{cut}");
    }
    assert!(store.load(&b"\x1f\x8b garbage"[..]).is_err());
    assert!(store.load(&[0xff; 2048][..]).is_err());
}

// ---- layers ----

/// A folder for a layer, with something beside it that must stay as it is.
struct Target {
    dir: tempfile::TempDir,
}

impl Target {
    fn new() -> Option<Self> {
        if !support::is_root() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layer")).unwrap();
        fs::write(dir.path().join("outside"), "untouched").unwrap();
        Some(Self { dir })
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("layer")
    }

    fn unpack(&self, items: &[Item]) -> Result<cluster_node::image::Unpacked, String> {
        let archive = layer(items);
        let unpacked = unpack_layer(archive.as_slice(), &self.path(), &UnpackLimits::default());
        assert_eq!(
            fs::read_to_string(self.dir.path().join("outside")).unwrap(),
            "untouched"
        );
        assert_eq!(
            fs::read_dir(self.dir.path()).unwrap().count(),
            2,
            "something was made beside the layer"
        );
        unpacked.map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            format!("{error}{cause}")
        })
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

#[test]
fn files_folders_and_links_are_made_with_their_attributes() {
    let Some(target) = Target::new() else { return };
    let setuid = Item {
        mode: 0o4755,
        ..file("bin/su", "x")
    };
    let fifo = Item {
        kind: EntryType::Fifo,
        mode: 0o600,
        ..file("pipe", "")
    };
    let tagged = Item {
        attributes: vec![
            ("SCHILY.xattr.user.color", b"red"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ],
        ..file("tagged", "t")
    };
    let unpacked = target
        .unpack(&[
            folder("./"),
            folder("bin/"),
            setuid,
            link("sbin", "bin"),
            hard("bin/sudo", "bin/su"),
            fifo,
            tagged,
            file("sbin/through", "1"),
            link("usr/local/dangling", "/nowhere"),
            file("/absolute", "2"),
        ])
        .unwrap();
    assert_eq!(unpacked.entries, 10);
    let seen = |path: &str| fs::symlink_metadata(target.path().join(path)).unwrap();
    assert_eq!(seen("bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(seen("bin/su").mtime(), 1_000_000);
    assert_eq!(seen("bin").mtime(), 1_000_000);
    assert_eq!(seen("bin/su").ino(), seen("bin/sudo").ino());
    assert!(seen("pipe").file_type().is_fifo());
    assert_eq!(target.read("bin/through"), "1");
    assert_eq!(target.read("absolute"), "2");
    assert_eq!(
        fs::read_link(target.path().join("usr/local/dangling")).unwrap(),
        Path::new("/nowhere")
    );
    let tagged = fs::File::open(target.path().join("tagged")).unwrap();
    let mut value = [0; 16];
    let length = rustix::fs::fgetxattr(&tagged, "user.color", &mut value[..]);
    assert_eq!(length.map(|length| value[..length].to_vec()), Ok(b"red".to_vec()));
    assert!(rustix::fs::fgetxattr(&tagged, "trusted.overlay.redirect", &mut value[..]).is_err());
}

#[test]
fn links_lead_nowhere_but_into_the_layer() {
    let Some(target) = Target::new() else { return };
    // The real folder of that name is beside the layer, and another one at the root of the machine.
    target
        .unpack(&[
            link("up", "../../.."),
            file("up/climbed", "1"),
            link("abs", "/"),
            file("abs/etc/made", "2"),
            link("proc", "/proc/self/root"),
            link("self", "."),
            file("self/self/self/deep", "3"),
        ])
        .unwrap();
    assert_eq!(target.read("climbed"), "1");
    assert_eq!(target.read("etc/made"), "2");
    assert_eq!(target.read("deep"), "3");
    assert!(!Path::new("/etc/made").exists());
}

#[test]
fn a_later_entry_replaces_an_earlier_one_without_following_it() {
    let Some(target) = Target::new() else { return };
    target
        .unpack(&[
            link("victim", "/outside"),
            file("victim", "own"),
            folder("d"),
            file("d/inner", "x"),
            file("d", "now a file"),
            file("f", "x"),
            folder("f"),
            file("f/inner", "y"),
            link("l", "f"),
            folder("l"),
            file("l/own", "z"),
        ])
        .unwrap();
    assert_eq!(target.read("victim"), "own");
    assert_eq!(target.read("d"), "now a file");
    assert_eq!(target.read("f/inner"), "y");
    assert_eq!(target.read("l/own"), "z");
    assert!(!target.path().join("f/own").exists());
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    let Some(target) = Target::new() else { return };
    target
        .unpack(&[
            folder("d"),
            file("d/.wh..wh..opq", ""),
            file("d/kept", "1"),
            file(".wh.gone", ""),
            file("back", "x"),
            file(".wh.back", ""),
            file(".wh..wh.plnk", ""),
        ])
        .unwrap();
    let gone = fs::symlink_metadata(target.path().join("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(
        fs::symlink_metadata(target.path().join("back"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    let opened = fs::File::open(target.path().join("d")).unwrap();
    let mut value = [0; 4];
    assert_eq!(
        rustix::fs::fgetxattr(&opened, "trusted.overlay.opaque", &mut value[..]),
        Ok(1)
    );
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 3);
}

#[test]
fn device_nodes_are_left_out() {
    let Some(target) = Target::new() else { return };
    let device = |path, kind| Item {
        kind,
        ..file(path, "")
    };
    let unpacked = target
        .unpack(&[
            device("disk", EntryType::Block),
            device("null", EntryType::Char),
            file("a", "1"),
        ])
        .unwrap();
    assert_eq!(unpacked.devices_left_out, 2);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
}

#[test]
fn err_hostile_layers() {
    for (items, expected) in [
        (vec![file("../outside", "x")], "leads out of the layer"),
        (vec![file("a/../../outside", "x")], "leads out of the layer"),
        (vec![folder("..")], "leads out of the layer"),
        (vec![hard("copy", "../outside")], "leads out of the layer"),
        (vec![hard("copy", "/../outside")], "leads out of the layer"),
        (vec![hard("copy", "nothing")], "cannot make the hard link"),
        (
            vec![link("up", ".."), hard("copy", "up/outside")],
            "cannot make the hard link",
        ),
        (
            vec![link("d", "/nowhere"), file("d/x", "1")],
            "cannot open the folder of",
        ),
        (
            vec![file("f", "1"), file("f/x", "1")],
            "cannot open the folder of",
        ),
        (
            vec![link("a", "b"), link("b", "a"), file("a/x", "1")],
            "cannot open the folder of",
        ),
        (vec![file(".wh...", "")], "a whiteout of no name"),
        (vec![file(".wh.", "")], "a whiteout of no name"),
        (vec![file(".wh..", "")], "a whiteout of no name"),
        (vec![file("", "x")], "only a folder can be the root"),
        (
            vec![Item {
                kind: EntryType::GNUSparse,
                ..file("s", "x")
            }],
            "which layers do not have",
        ),
    ] {
        let Some(target) = Target::new() else { return };
        let shown: Vec<&str> = items.iter().map(|item| item.path).collect();
        match target.unpack(&items) {
            Ok(_) => panic!("{shown:?} was taken"),
            Err(error) => assert!(
                error.contains(expected),
                "{shown:?}: {error}, expected {expected}"
            ),
        }
    }
}

#[test]
fn err_bombs() {
    let Some(target) = Target::new() else { return };
    let limits = UnpackLimits {
        bytes_max: 1 << 20,
        entries_max: 10,
    };
    let big = gzip(&layer(&[Item {
        content: vec![0; 2 << 20],
        ..file("zeros", "")
    }]));
    assert!(big.len() < 100_000);
    let error = unpack_layer(big.as_slice(), &target.path(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "the layer has more than 1048576 bytes");
    let many = layer(&vec![file("same", "x"); 11]);
    let error = unpack_layer(many.as_slice(), &target.path(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "the layer has more than 10 entries");
    let long = Item {
        kind: EntryType::GNULongName,
        content: vec![b'a'; 2 << 20],
        ..file("././@LongLink", "")
    };
    let limits = UnpackLimits::default();
    let archive = layer(&[long, file("x", "y")]);
    let error = unpack_layer(archive.as_slice(), &target.path(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "the archive is broken");
    let error = unpack_layer(&b"\x28\xb5\x2f\xfd...."[..], &target.path(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "layers compressed with zstd cannot be read");
}
