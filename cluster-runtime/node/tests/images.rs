//! The image store: archives good and hostile, names, removal, and two users at once.

use cluster_node::image::{BUILTIN_IMAGE, ImageStore};

mod support;

#[test]
fn a_new_store_has_the_builtin_image() {
    if !support::is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    let image = store.resolve(BUILTIN_IMAGE).unwrap();
    assert_eq!(image.name, "docker.io/tug/hello:1.0");
    assert!(image.layers[0].join("bin/hello").exists());
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 1);
    let again = ImageStore::open(dir.path()).unwrap();
    assert_eq!(again.list().unwrap(), listed);
}
