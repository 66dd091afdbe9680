//! Distribution specification 1.1, "Pull".

use crate::fixture::{Ask, Fixture, MANIFEST, digest_of};
use repo_serve::Digest;

#[tokio::test]
async fn the_base_address_says_that_this_is_a_registry() {
    let server = Fixture::open().await;
    assert_eq!(server.get("/v2/").await.status, 200);
    assert_eq!(server.get("/v2").await.status, 200);
}

#[tokio::test]
async fn a_manifest_is_pulled_by_tag_and_by_digest() {
    let server = Fixture::open().await;
    let manifest = server.push_image("a/b", "v1", b"layer").await;
    let digest = digest_of(&manifest).to_string();
    for reference in ["v1", &digest] {
        let answer = server.get(&format!("/v2/a/b/manifests/{reference}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), manifest.to_string());
        assert_eq!(answer.header("content-type"), MANIFEST);
        assert_eq!(answer.header("docker-content-digest"), digest);
    }
}

#[tokio::test]
async fn the_content_type_of_a_manifest_is_the_one_it_was_pushed_with() {
    let server = Fixture::open().await;
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let mut manifest = server.image("a", b"layer").await;
    manifest["mediaType"] = kind.into();
    server.put_manifest("a", "v1", &manifest).await;
    assert_eq!(
        server.get("/v2/a/manifests/v1").await.header("content-type"),
        kind
    );
    // One that does not say its type itself keeps the one of the request.
    manifest.as_object_mut().unwrap().remove("mediaType");
    server.put_manifest("a", "v2", &manifest).await;
    assert_eq!(
        server.get("/v2/a/manifests/v2").await.header("content-type"),
        MANIFEST
    );
}

#[tokio::test]
async fn the_content_type_of_a_manifest_has_no_parameters() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    let request = server
        .request("PUT", "/v2/a/manifests/v1")
        .header("content-type", format!("{MANIFEST}; charset=utf-8"));
    assert_eq!(request.body(manifest.to_string()).answer().await.status, 201);
    let answer = server.get("/v2/a/manifests/v1").await;
    assert_eq!(answer.header("content-type"), MANIFEST);
}

#[tokio::test]
async fn err_an_unknown_manifest_is_not_found() {
    let server = Fixture::open().await;
    server.push_image("a", "v1", b"layer").await;
    let unknown = Digest::sha256(b"nothing");
    for (path, code) in [
        ("/v2/a/manifests/v2".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/a/manifests/{unknown}"), "MANIFEST_UNKNOWN"),
        ("/v2/b/manifests/v1".to_owned(), "NAME_UNKNOWN"),
    ] {
        let answer = server.get(&path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, code), "{path}");
    }
}

#[tokio::test]
async fn head_tells_of_a_manifest_what_get_would_without_the_body() {
    let server = Fixture::open().await;
    let manifest = server.push_image("a", "v1", b"layer").await;
    let answer = server.head("/v2/a/manifests/v1").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(
        answer.header("content-length"),
        manifest.to_string().len().to_string()
    );
    assert_eq!(
        answer.header("docker-content-digest"),
        digest_of(&manifest).to_string()
    );
    assert_eq!(server.head("/v2/a/manifests/none").await.status, 404);
}

#[tokio::test]
async fn a_blob_is_pulled_by_digest() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"content").await;
    let answer = server.get(&format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
}

#[tokio::test]
async fn head_tells_of_a_blob_what_get_would_without_the_body() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"content").await;
    let answer = server.head(&format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), "7");
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    let unknown = Digest::sha256(b"nothing");
    assert_eq!(server.head(&format!("/v2/a/blobs/{unknown}")).await.status, 404);
}

#[tokio::test]
async fn a_part_of_a_blob_is_pulled() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"0123456789").await;
    let path = format!("/v2/a/blobs/{digest}");
    for (range, status, body) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=-2", 206, "89"),
        ("bytes=8-", 206, "89"),
        ("bytes=10-", 416, ""),
    ] {
        let answer = server.request("GET", &path).header("range", range).answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{range}");
    }
}

#[tokio::test]
async fn err_an_unknown_blob_is_not_found() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"content").await;
    let unknown = Digest::sha256(b"nothing");
    assert_eq!(server.head(&format!("/v2/a/blobs/{unknown}")).await.status, 404);
    let answer = server.get(&format!("/v2/a/blobs/{unknown}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "BLOB_UNKNOWN"));
    // What one repository has, others have not.
    assert_eq!(server.get(&format!("/v2/b/blobs/{digest}")).await.status, 404);
}

#[tokio::test]
async fn names_are_as_the_specification_has_them() {
    let server = Fixture::open().await;
    for name in ["a", "a/b/c", "a.b", "a_b", "a__b", "a-b", "a---b", "0/1"] {
        server.push_image(name, "v1", b"layer").await;
        let path = format!("/v2/{name}/manifests/v1");
        assert_eq!(server.get(&path).await.status, 200, "{name}");
    }
    for name in ["A", "a..b", "a___b", ".a", "a-", "a._b", "a//b", "-a"] {
        let path = format!("/v2/{name}/blobs/uploads/");
        assert_eq!(server.post(&path, "").await.status, 400, "{name}");
    }
}

#[tokio::test]
async fn tags_are_as_the_specification_has_them() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    let (longest, longer) = ("x".repeat(128), "x".repeat(129));
    for (tag, status) in [
        ("v1.0_a-B", 201),
        ("_", 201),
        (&longest, 201),
        (&longer, 400),
        (".a", 400),
        ("-a", 400),
        ("a+b", 400),
        ("a@b", 400),
    ] {
        let answer = server.put_manifest("a", tag, &manifest).await;
        assert_eq!(answer.status, status, "{tag}: {}", answer.text());
    }
}

#[tokio::test]
async fn errors_are_a_list_of_codes_and_messages() {
    let server = Fixture::open().await;
    let answer = server.get("/v2/a/manifests/v1").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let error = &answer.json()["errors"][0];
    assert!(
        error["message"].is_string() && error.get("detail").is_some(),
        "{error}"
    );
    let code = error["code"].as_str().unwrap();
    assert!(
        code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
        "{code}"
    );
}

#[tokio::test]
async fn err_names_and_digests_that_are_none_are_refused() {
    let server = Fixture::open().await;
    for (path, status, code) in [
        ("/v2/A/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a/..%2f..%2fmanifests/v1", 400, "NAME_INVALID"),
        ("/v2/a/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/.x", 400, "MANIFEST_INVALID"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
}
