//! Distribution specification 1.1, "Content Management", and what is removed in its wake.

use std::time::{Duration, SystemTime};

use crate::fixture::{Fixture, MANIFEST, digest_of};
use repo_serve::{Collected, Digest, Garbage, RepoServer, ServeOptions};
use serde_json::{Value, json};

#[tokio::test]
async fn a_tag_is_deleted_and_its_manifest_stays() {
    let server = Fixture::open().await;
    let manifest = server.push_image("a", "v1", b"layer").await;
    assert_eq!(server.delete("/v2/a/manifests/v1").await.status, 202);
    assert_eq!(server.get("/v2/a/manifests/v1").await.status, 404);
    assert_eq!(
        server
            .get(&format!("/v2/a/manifests/{}", digest_of(&manifest)))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_manifest_is_deleted_with_its_tags() {
    let server = Fixture::open().await;
    let manifest = server.push_image("a", "v1", b"layer").await;
    server.put_manifest("a", "v2", &manifest).await;
    server.push_image("a", "other", b"other").await;
    let path = format!("/v2/a/manifests/{}", digest_of(&manifest));
    assert_eq!(server.delete(&path).await.status, 202);
    assert_eq!(server.get(&path).await.status, 404);
    assert_eq!(server.get("/v2/a/manifests/v1").await.status, 404);
    assert_eq!(
        server.get("/v2/a/tags/list").await.json()["tags"],
        serde_json::json!(["other"])
    );
}

#[tokio::test]
async fn a_blob_is_deleted_from_its_repository_alone() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"content").await;
    server.push_blob("b", b"content").await;
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(server.delete(&path).await.status, 202);
    assert_eq!(server.get(&path).await.status, 404);
    assert_eq!(server.get(&format!("/v2/b/blobs/{digest}")).await.status, 200);
}

#[tokio::test]
async fn err_what_is_not_there_cannot_be_deleted() {
    let server = Fixture::open().await;
    server.push_image("a", "v1", b"layer").await;
    let unknown = Digest::sha256(b"nothing");
    for path in [
        "/v2/a/manifests/none".to_owned(),
        format!("/v2/a/manifests/{unknown}"),
        format!("/v2/a/blobs/{unknown}"),
        "/v2/b/manifests/v1".to_owned(),
    ] {
        assert_eq!(server.delete(&path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn err_other_methods_are_refused() {
    let server = Fixture::open().await;
    for (method, path) in [
        ("POST", "/v2/a/manifests/v1"),
        ("PUT", "/v2/a/tags/list"),
        ("GET", "/v2/a/blobs/uploads/"),
    ] {
        let answer = crate::fixture::Ask::answer(server.request(method, path)).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(!answer.header("allow").is_empty());
    }
}

/// Collects in the folder of a server that was stopped.
async fn collect(server: Fixture, grace: Duration, untagged: bool) -> (Collected, tempfile::TempDir) {
    let folder = server.stop().await;
    let server = RepoServer::open(ServeOptions::new(folder.path())).unwrap();
    let garbage = Garbage { grace, untagged };
    let collected = server.collect_garbage(SystemTime::now(), garbage).unwrap();
    (collected, folder)
}

async fn again(folder: tempfile::TempDir) -> Fixture {
    Fixture::over(folder, reqwest::Client::builder(), |_| {}).await
}

#[tokio::test]
async fn what_nothing_refers_to_is_removed_after_its_time_of_grace() {
    let server = Fixture::open().await;
    let kept = server.push_image("a", "v1", b"shared").await;
    let gone = server.push_image("b", "v1", b"only here").await;
    server.push_image("b", "v2", b"shared").await;
    server.push_blob("c", b"nobody wants it").await;
    server
        .delete(&format!("/v2/b/manifests/{}", digest_of(&gone)))
        .await;
    let (collected, folder) = collect(server, Duration::from_secs(60), true).await;
    assert_eq!(collected, Collected::default(), "what is young stays");
    let (collected, folder) = collect(again(folder).await, Duration::ZERO, false).await;
    // The layer, the manifest, and the blob without one.
    assert_eq!(collected.blobs, 3);
    let server = again(folder).await;
    for name in ["a", "b"] {
        let layer = kept["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(
            server.get(&format!("/v2/{name}/blobs/{layer}")).await.text(),
            "shared"
        );
    }
    assert_eq!(server.get("/v2/a/manifests/v1").await.text(), kept.to_string());
}

/// An index of images, by digest alone.
async fn push_index(server: &Fixture, name: &str, tag: &str, children: &[&Value]) -> Value {
    let describe = |manifest: &&Value| {
        let digest = digest_of(manifest).to_string();
        json!({"mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len()})
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": children.iter().map(describe).collect::<Vec<_>>(),
    });
    assert_eq!(server.put_manifest(name, tag, &index).await.status, 201);
    index
}

async fn push_untagged(server: &Fixture, name: &str, layer: &[u8], subject: Option<&Value>) -> Value {
    let mut manifest = server.image(name, layer).await;
    if let Some(subject) = subject {
        manifest["subject"] =
            json!({"mediaType": MANIFEST, "digest": digest_of(subject).to_string(), "size": 1});
    }
    let digest = digest_of(&manifest).to_string();
    assert_eq!(server.put_manifest(name, &digest, &manifest).await.status, 201);
    manifest
}

#[tokio::test]
async fn manifests_without_a_tag_go_only_when_that_is_asked_and_no_tag_leads_to_them() {
    let server = Fixture::open().await;
    let amd64 = push_untagged(&server, "a", b"amd64", None).await;
    let arm64 = push_untagged(&server, "a", b"arm64", None).await;
    let index = push_index(&server, "a", "v1", &[&amd64, &arm64]).await;
    let signature = push_untagged(&server, "a", b"signature", Some(&amd64)).await;
    let old_child = push_untagged(&server, "a", b"old", None).await;
    let old_index = push_index(&server, "a", "v0", &[&old_child]).await;
    let old_signature = push_untagged(&server, "a", b"old signature", Some(&old_child)).await;
    assert_eq!(server.delete("/v2/a/manifests/v0").await.status, 202);
    let path = |manifest: &Value| format!("/v2/a/manifests/{}", digest_of(manifest));
    let (wanted, unwanted) = (
        [&amd64, &arm64, &index, &signature],
        [&old_child, &old_index, &old_signature],
    );
    // Their digests may be in use.
    let (collected, folder) = collect(server, Duration::ZERO, false).await;
    assert_eq!(collected, Collected::default());
    // What is young may get its tag next.
    let (collected, folder) = collect(again(folder).await, Duration::from_secs(60), true).await;
    assert_eq!(collected, Collected::default());
    let (collected, folder) = collect(again(folder).await, Duration::ZERO, true).await;
    // Three manifests and two layers; the config is that of the others as well.
    assert_eq!(collected.blobs, 5);
    let server = again(folder).await;
    for manifest in wanted {
        assert_eq!(server.get(&path(manifest)).await.status, 200);
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let blob = format!("/v2/a/blobs/{}", layer["digest"].as_str().unwrap());
            assert_eq!(server.get(&blob).await.status, 200);
        }
    }
    for manifest in unwanted {
        assert_eq!(server.get(&path(manifest)).await.status, 404);
    }
    let referrers = server
        .get(&format!("/v2/a/referrers/{}", digest_of(&old_child)))
        .await;
    assert_eq!(referrers.json()["manifests"], json!([]));
}
