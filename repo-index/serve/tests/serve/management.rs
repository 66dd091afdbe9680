//! Distribution specification 1.1, "Content Management", and what is removed in its wake.

use std::time::{Duration, SystemTime};

use crate::fixture::{Fixture, digest_of};
use repo_serve::{Collected, Digest, RepoServer, ServeOptions};

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
async fn collect(server: Fixture, grace: Duration) -> (Collected, tempfile::TempDir) {
    let folder = server.stop().await;
    let server = RepoServer::open(ServeOptions::new(folder.path())).unwrap();
    let collected = server.collect_garbage(SystemTime::now(), grace).unwrap();
    (collected, folder)
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
    let (collected, folder) = collect(server, Duration::from_secs(60)).await;
    assert_eq!(collected, Collected::default(), "what is young stays");
    let server = RepoServer::open(ServeOptions::new(folder.path())).unwrap();
    let collected = server.collect_garbage(SystemTime::now(), Duration::ZERO).unwrap();
    // The layer, the manifest, and the blob without one.
    assert_eq!(collected.blobs, 3);
    drop(server);
    let server = Fixture::over(folder, reqwest::Client::builder(), |_| {}).await;
    for name in ["a", "b"] {
        let layer = kept["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(
            server.get(&format!("/v2/{name}/blobs/{layer}")).await.text(),
            "shared"
        );
    }
    assert_eq!(server.get("/v2/a/manifests/v1").await.text(), kept.to_string());
}
