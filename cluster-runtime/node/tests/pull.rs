//! Pulling from registries, good ones and ones that lie.

mod support;

use std::sync::Mutex;

use cluster_node::image::{Credentials, Digest, ImageStore, PullProgress};
use serde_json::json;
use support::archive::{Parts, file, gzip, layer, parts};
use support::registry::{INDEX, MANIFEST, Registry};

fn image() -> Parts {
    let plain = layer(&[file("motd", "pulled\n")]);
    parts(gzip(&plain), &plain, &json!({ "Cmd": ["x"] }))
}

fn store() -> Option<(tempfile::TempDir, ImageStore)> {
    if !support::is_root() {
        return None;
    }
    // Also without TLS the client asks for a provider when it is made.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    Some((dir, store))
}

#[tokio::test]
async fn an_image_is_pulled_once_and_found_by_tag_and_digest() {
    let Some((_dir, store)) = store() else { return };
    let image = image();
    let (name, registry) = Registry::of(&image).serve().await;
    let steps = Mutex::new(Vec::new());
    let told = |step| steps.lock().unwrap().push(step);
    let pulled = store
        .pull_with(&format!("{name}/app"), &Credentials::Anonymous, &told)
        .await
        .unwrap();
    assert_eq!(pulled.name, format!("{name}/app:latest"));
    assert_eq!(
        std::fs::read_to_string(pulled.layers[0].join("motd")).unwrap(),
        "pulled\n"
    );
    let digest = Digest::of(&image.manifest);
    let by_digest = store.resolve(&format!("{name}/app@{digest}")).unwrap();
    assert_eq!(by_digest.id, pulled.id);
    assert!(matches!(
        steps.lock().unwrap()[0],
        PullProgress::Resolved {
            layers: 1,
            present: 0,
            ..
        }
    ));
    registry.asked.lock().unwrap().clear();
    store
        .pull(&format!("{name}/app"), &Credentials::Anonymous)
        .await
        .unwrap();
    let asked = registry.asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|path| path.contains("/blobs/")), "{asked:?}");
}

#[tokio::test]
async fn the_manifest_for_this_machine_is_taken_from_an_index() {
    let Some((_dir, store)) = store() else { return };
    let image = image();
    let mut registry = Registry::of(&image);
    let own = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let entry = |digest: Digest, architecture: &str| {
        json!({ "mediaType": MANIFEST, "digest": digest, "size": 1,
            "platform": { "os": "linux", "architecture": architecture } })
    };
    let index = json!({ "schemaVersion": 2, "manifests": [
        entry(Digest::of(b"other"), "s390x"), entry(Digest::of(&image.manifest), own),
    ] });
    let index = index.to_string().into_bytes();
    registry.manifest("multi", INDEX, &index);
    let foreign = json!({ "schemaVersion": 2, "manifests": [entry(Digest::of(b"other"), "s390x")] });
    registry.manifest("foreign", INDEX, foreign.to_string().as_bytes());
    let (name, _) = registry.serve().await;
    let pulled = store
        .pull(&format!("{name}/app:multi"), &Credentials::Anonymous)
        .await
        .unwrap();
    assert_eq!(
        pulled.digest,
        Digest::of(&index),
        "a registry names the image by its index"
    );
    let refused = store
        .pull(&format!("{name}/app:foreign"), &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("the image has nothing for linux/{own}, only for linux/s390x")
    );
}

#[tokio::test]
async fn credentials_are_given_to_a_registry_that_asks() {
    let Some((_dir, store)) = store() else { return };
    let mut registry = Registry::of(&image());
    registry.wants = Some("bWU6c2VjcmV0");
    let (name, _) = registry.serve().await;
    let me = |password: &str| Credentials::Basic {
        user: "me".into(),
        password: password.into(),
    };
    assert!(store.pull(&format!("{name}/app"), &me("wrong")).await.is_err());
    assert!(
        store
            .pull(&format!("{name}/app"), &Credentials::Anonymous)
            .await
            .is_err()
    );
    store.pull(&format!("{name}/app"), &me("secret")).await.unwrap();
    assert!(!format!("{:?}", me("secret")).contains("secret"));
}

#[tokio::test]
async fn err_registries_that_lie_or_have_nothing() {
    let Some((_dir, store)) = store() else { return };
    let image = image();
    let mut other_layer = Registry::of(&image);
    let mut changed = image.layer.clone();
    *changed.last_mut().unwrap() ^= 1;
    other_layer.blob(&image.layer, &changed);
    let mut long_layer = Registry::of(&image);
    long_layer.blob(&image.layer, &[image.layer.as_slice(), b"more"].concat());
    let mut short_layer = Registry::of(&image);
    short_layer.blob(&image.layer, &image.layer[..image.layer.len() - 1]);
    let mut no_layer = Registry::of(&image);
    no_layer.answers.retain(|path, _| !path.contains("/blobs/"));
    let mut other_manifest = Registry::of(&image);
    let by_digest = format!("/v2/app/manifests/{}", Digest::of(&image.manifest));
    other_manifest
        .answers
        .insert(by_digest.clone(), (MANIFEST, image.manifest[..10].to_vec()));
    let asked = format!("app@{}", Digest::of(&image.manifest));
    for (registry, what, expected) in [
        (Registry::default(), "app", "manifest unknown"),
        (other_layer, "app", "igest"),
        (long_layer, "app", "is longer than"),
        (short_layer, "app", "igest"),
        (no_layer, "app", "cannot pull"),
        (other_manifest, asked.as_str(), "igest"),
    ] {
        let (name, _) = registry.serve().await;
        let refused = store
            .pull(&format!("{name}/{what}"), &Credentials::Anonymous)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains(expected),
            "{refused}, expected {expected}"
        );
        assert_eq!(store.list().unwrap().len(), 1);
    }
    let nobody = store
        .pull("127.0.0.1:1/app", &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert!(nobody.to_string().contains("127.0.0.1:1/app"), "{nobody}");
    store.collect().unwrap();
    assert_eq!(
        std::fs::read_dir(store.dir().join("incoming")).unwrap().count(),
        0
    );
}
