//! The index and the folder it is made of, over starts and between the two ways that charts come.

use std::fs;

use crate::fixture::{Ask, Fixture, chart, chart_with};
use repo_serve::{Digest, ServeOptions};
use serde_json::json;

async fn again(server: Fixture) -> Fixture {
    let folder = server.stop().await;
    Fixture::over(folder, reqwest::Client::builder(), |_| {}).await
}

#[tokio::test]
async fn the_index_is_not_sent_twice_to_those_who_have_it() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    let first = server.get("/index.yaml").await;
    let etag = first.header("etag").to_owned();
    let ask = || {
        server
            .request("GET", "/index.yaml")
            .header("if-none-match", &etag)
    };
    let answer = ask().answer().await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    server.post("/api/charts", chart("web", "1.0.1")).await;
    let answer = ask().answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("web-1.0.1.tgz"));
}

#[tokio::test]
async fn the_index_is_compressed_for_those_who_take_it() {
    use std::io::Read;
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    let plain = server.get("/index.yaml").await;
    let answer = server
        .request("GET", "/index.yaml")
        .header("accept-encoding", "gzip")
        .answer()
        .await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_ne!(answer.header("etag"), plain.header("etag"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(answer.body.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.text());
}

#[tokio::test]
async fn an_archive_is_sent_in_parts_and_not_twice() {
    let server = Fixture::open().await;
    let archive = chart("web", "1.0.0");
    server.post("/api/charts", archive.clone()).await;
    let ask = || server.request("GET", "/charts/web-1.0.0.tgz");
    let part = ask().header("range", "bytes=10-19").answer().await;
    assert_eq!((part.status, part.body.as_slice()), (206, &archive[10..20]));
    assert_eq!(
        part.header("content-range"),
        format!("bytes 10-19/{}", archive.len())
    );
    let etag = part.header("etag").to_owned();
    assert_eq!(ask().header("if-none-match", etag).answer().await.status, 304);
}

#[tokio::test]
async fn archives_of_a_folder_are_listed_and_again_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put("web-1.0.0.tgz", &chart("web", "1.0.0"));
    put("any-name.tgz", &chart("db", "1.0.0"));
    put("team/x/web-2.0.0.tgz", &chart("web", "2.0.0"));
    put("broken-1.0.0.tgz", b"words");
    put("same.tgz", &chart("web", "1.0.0"));
    // The source of a chart is no repository.
    put("source/Chart.yaml", b"name: x");
    put("source/charts/sub-1.0.0.tgz", &chart("sub", "1.0.0"));
    let mut server = Fixture::over(folder, reqwest::Client::builder(), |_| {}).await;
    for _ in 0..2 {
        let index = server.get("/index.yaml").await.text();
        assert!(
            index.contains("charts/any-name.tgz") && index.contains("charts/same.tgz"),
            "{index}"
        );
        assert!(
            !index.contains("broken") && !index.contains("sub") && !index.contains("charts/web-1.0.0.tgz")
        );
        assert!(
            server
                .get("/team/x/index.yaml")
                .await
                .text()
                .contains("web-2.0.0.tgz")
        );
        assert_eq!(server.get("/charts/any-name.tgz").await.status, 200);
        server = again(server).await;
    }
}

#[tokio::test]
async fn changes_of_the_folder_between_starts_are_seen() {
    let server = Fixture::open().await;
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        server.post("/api/charts", chart("web", version)).await;
    }
    let folder = server.stop().await;
    fs::remove_file(folder.path().join("web-1.0.0.tgz")).unwrap();
    let changed = chart_with("web", "1.1.0", &[("README.md", "changed")]);
    fs::write(folder.path().join("web-1.1.0.tgz"), &changed).unwrap();
    let server = Fixture::over(folder, reqwest::Client::builder(), |_| {}).await;
    let index = server.get("/index.yaml").await.text();
    assert!(!index.contains("web-1.0.0.tgz") && index.contains(Digest::sha256(&changed).hex()));
}

#[tokio::test]
async fn err_a_folder_is_served_once() {
    let server = Fixture::open().await;
    let second = repo_serve::RepoServer::open(ServeOptions::new(server.path()));
    assert!(matches!(
        second.unwrap_err(),
        repo_serve::OpenError::Locked { .. }
    ));
}

/// Pushes a chart as Helm does.
async fn push_chart(server: &Fixture, name: &str, tag: &str, archive: &[u8]) -> u16 {
    let config = server.push_blob(name, b"{\"name\":\"web\"}").await;
    let layer = server.push_blob(name, archive).await;
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config.to_string(), "size": 14},
        "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": layer.to_string(), "size": archive.len()}],
    });
    server.put_manifest(name, tag, &manifest).await.status
}

#[tokio::test]
async fn a_chart_that_was_pushed_is_in_the_index() {
    let server = Fixture::open().await;
    let archive = chart("web", "1.0.0+b.1");
    assert_eq!(push_chart(&server, "team/web", "1.0.0_b.1", &archive).await, 201);
    let index = server.get("/team/index.yaml").await.text();
    assert!(index.contains("charts/web-1.0.0%2Bb.1.tgz"), "{index}");
    assert!(server.get("/team/charts/web-1.0.0+b.1.tgz").await.body == archive);
    // The bytes are there once, with two names.
    use std::os::unix::fs::MetadataExt;
    let path = server.path().join("team/web-1.0.0+b.1.tgz");
    assert_eq!(fs::metadata(path).unwrap().nlink(), 2);
    let server = again(server).await;
    assert!(
        server
            .get("/team/index.yaml")
            .await
            .text()
            .contains("web-1.0.0%2Bb.1.tgz")
    );
    assert_eq!(
        server.delete("/v2/team/web/manifests/1.0.0_b.1").await.status,
        202
    );
    assert!(
        server
            .get("/team/index.yaml")
            .await
            .text()
            .contains("entries: {}")
    );
}

#[tokio::test]
async fn a_chart_that_was_pushed_again_replaces_the_first() {
    let server = Fixture::open().await;
    let (first, second) = (
        chart("web", "1.0.0"),
        chart_with("web", "1.0.0", &[("README.md", "x")]),
    );
    push_chart(&server, "web", "1.0.0", &first).await;
    push_chart(&server, "web", "1.0.0", &second).await;
    assert!(server.get("/charts/web-1.0.0.tgz").await.body == second);
    assert!(
        server
            .get("/index.yaml")
            .await
            .text()
            .contains(Digest::sha256(&second).hex())
    );
}

#[tokio::test]
async fn what_is_no_chart_of_its_repository_is_not_listed() {
    let server = Fixture::open().await;
    assert_eq!(
        push_chart(&server, "other", "1.0.0", &chart("web", "1.0.0")).await,
        201
    );
    assert_eq!(
        push_chart(&server, "web", "latest", &chart("web", "1.0.0")).await,
        201
    );
    assert_eq!(push_chart(&server, "bad", "1.0.0", b"words").await, 201);
    server.push_image("image", "1.0.0", b"layer").await;
    assert!(server.get("/index.yaml").await.text().contains("entries: {}"));
}

#[tokio::test]
async fn a_chart_that_was_uploaded_is_pulled_from_the_registry() {
    let server = Fixture::open().await;
    let archive = chart("web", "1.0.0+b");
    server.post("/api/team/charts", archive.clone()).await;
    assert_eq!(
        server.get("/v2/team/web/tags/list").await.json()["tags"],
        json!(["1.0.0_b"])
    );
    assert_eq!(
        server.get("/v2/_catalog").await.json()["repositories"],
        json!(["team/web"])
    );
    let manifest = server.get("/v2/team/web/manifests/1.0.0_b").await;
    assert_eq!(manifest.status, 200);
    let digest = manifest.header("docker-content-digest").to_owned();
    let layer = manifest.json()["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(server.get(&format!("/v2/team/web/blobs/{layer}")).await.body == archive);
    assert_eq!(
        server
            .get(&format!("/v2/team/web/manifests/{digest}"))
            .await
            .status,
        200
    );
    // Deleting it in the index deletes it in the registry.
    server.delete("/api/team/charts/web/1.0.0+b").await;
    assert_eq!(server.get("/v2/team/web/manifests/1.0.0_b").await.status, 404);
    assert_eq!(
        server
            .get(&format!("/v2/team/web/manifests/{digest}"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn deleting_an_uploaded_chart_from_the_registry_takes_it_out_of_the_index() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    let manifest = server.get("/v2/web/manifests/1.0.0").await;
    let digest = manifest.header("docker-content-digest").to_owned();
    assert_eq!(
        server.delete(&format!("/v2/web/manifests/{digest}")).await.status,
        202
    );
    assert!(server.get("/index.yaml").await.text().contains("entries: {}"));
    assert_eq!(server.get("/charts/web-1.0.0.tgz").await.status, 404);
}

#[tokio::test]
async fn a_chart_that_was_replaced_is_another_in_the_registry() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    assert_eq!(server.get("/v2/web/manifests/1.0.0").await.status, 200);
    let second = chart_with("web", "1.0.0", &[("README.md", "x")]);
    server.post("/api/charts?force", second.clone()).await;
    let manifest = server.get("/v2/web/manifests/1.0.0").await.json();
    assert_eq!(
        manifest["layers"][0]["digest"],
        Digest::sha256(&second).to_string()
    );
}
