//! Distribution specification 1.1, "Push".

use std::io::Write;

use crate::fixture::{Answer, Ask, Fixture, MANIFEST, digest_of};
use repo_serve::Digest;
use serde_json::json;

impl Fixture {
    async fn patch(&self, location: &str, range: Option<&str>, bytes: &'static str) -> Answer {
        let request = self.request("PATCH", location).body(bytes);
        match range {
            Some(range) => request.header("content-range", range).answer().await,
            None => request.answer().await,
        }
    }

    async fn put(&self, location: &str, digest: &Digest, bytes: &'static str) -> Answer {
        let request = self.request("PUT", &format!("{location}?digest={digest}"));
        request.body(bytes).answer().await
    }

    async fn blob(&self, name: &str, digest: &Digest) -> String {
        let answer = self.get(&format!("/v2/{name}/blobs/{digest}")).await;
        assert_eq!(answer.status, 200);
        answer.text()
    }
}

#[tokio::test]
async fn an_upload_begins_with_an_address_of_its_own() {
    let server = Fixture::open().await;
    let request = server.request("POST", "/v2/a/blobs/uploads/");
    let answer = request.header("content-length", "0").answer().await;
    assert_eq!(answer.status, 202);
    let location = answer.header("location").to_owned();
    let id = location.strip_prefix("/v2/a/blobs/uploads/").unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{location}");
    assert_ne!(server.begin_upload("a").await, location);
}

#[tokio::test]
async fn a_blob_is_pushed_by_post_and_put() {
    let server = Fixture::open().await;
    let digest = Digest::sha256(b"content");
    let location = server.begin_upload("a").await;
    let answer = server.put(&location, &digest, "content").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(server.blob("a", &digest).await, "content");
}

#[tokio::test]
async fn a_blob_is_pushed_by_a_single_post() {
    let server = Fixture::open().await;
    let digest = Digest::sha256(b"content");
    // Again is no mistake.
    for _ in 0..2 {
        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
        let answer = server.post(&path, "content").await;
        assert_eq!(answer.status, 201);
        assert_eq!(server.get(answer.header("location")).await.text(), "content");
    }
}

#[tokio::test]
async fn an_empty_blob_can_be_pushed() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"").await;
    assert_eq!(server.blob("a", &digest).await, "");
}

#[tokio::test]
async fn a_blob_is_pushed_with_a_digest_of_sha512() {
    let server = Fixture::open().await;
    let digest = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    let location = server.begin_upload("a").await;
    let answer = server.put(&location, &digest.parse().unwrap(), "abc").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(server.get(&format!("/v2/a/blobs/{digest}")).await.text(), "abc");
}

#[tokio::test]
async fn a_blob_is_pushed_in_pieces() {
    let server = Fixture::open().await;
    let digest = Digest::sha256(b"0123456789");
    let location = server.begin_upload("a").await;
    let answer = server.patch(&location, Some("0-3"), "0123").await;
    assert_eq!((answer.status, answer.header("range")), (202, "0-3"));
    let location = answer.header("location").to_owned();
    let answer = server.patch(&location, Some("4-6"), "456").await;
    assert_eq!((answer.status, answer.header("range")), (202, "0-6"));
    let answer = server.put(&location, &digest, "789").await;
    assert_eq!(answer.status, 201);
    assert_eq!(server.get(answer.header("location")).await.text(), "0123456789");
}

#[tokio::test]
async fn the_last_piece_comes_by_patch_or_with_the_closing_put() {
    let server = Fixture::open().await;
    let digest = Digest::sha256(b"0123456789");
    for (patched, put, range) in [("0123456789", "", None), ("01234", "56789", Some("5-9"))] {
        let location = server.begin_upload("a").await;
        assert_eq!(server.patch(&location, None, patched).await.status, 202);
        let mut request = server.request("PUT", &format!("{location}?digest={digest}"));
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        let answer = request.body(put).answer().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.header("location"), format!("/v2/a/blobs/{digest}"));
    }
    assert_eq!(server.blob("a", &digest).await, "0123456789");
}

#[tokio::test]
async fn err_the_first_piece_begins_at_0() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    assert_eq!(server.patch(&location, Some("1-4"), "1234").await.status, 416);
    assert_eq!(server.patch(&location, Some("0-4"), "01234").await.status, 202);
}

#[tokio::test]
async fn err_a_closing_put_without_the_digest_is_refused() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    let answer = server.request("PUT", &location).body("content").answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    // It can still be closed.
    let digest = Digest::sha256(b"content");
    assert_eq!(server.put(&location, &digest, "content").await.status, 201);
}

#[tokio::test]
async fn pieces_may_come_without_saying_where_they_belong() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    server.patch(&location, None, "ab").await;
    server.patch(&location, None, "c").await;
    let digest = Digest::sha256(b"abc");
    assert_eq!(server.put(&location, &digest, "").await.status, 201);
}

#[tokio::test]
async fn err_a_piece_out_of_order_is_refused_with_where_to_go_on() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    server.patch(&location, Some("0-3"), "0123").await;
    for range in ["0-3", "5-8", "4-3", "4-9", "x-y", "4"] {
        let answer = server.patch(&location, Some(range), "4567").await;
        assert_eq!((answer.status, answer.header("range")), (416, "0-3"), "{range}");
    }
    assert_eq!(server.patch(&location, Some("4-7"), "4567").await.status, 202);
}

#[tokio::test]
async fn the_state_of_an_upload_can_be_asked_for() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    server.patch(&location, None, "0123").await;
    let answer = server.get(&location).await;
    assert_eq!((answer.status, answer.header("range")), (204, "0-3"));
    assert_eq!(answer.header("location"), location);
}

#[tokio::test]
async fn an_upload_whose_client_went_away_is_gone_on_with() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(
        stream,
        "PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234"
    )
    .unwrap();
    drop(stream);
    let mut range = String::new();
    for _ in 0..500 {
        range = server.get(&location).await.header("range").to_owned();
        if range == "0-4" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(range, "0-4");
    assert_eq!(server.patch(&location, Some("5-9"), "56789").await.status, 202);
    let digest = Digest::sha256(b"0123456789");
    assert_eq!(server.put(&location, &digest, "").await.status, 201);
}

#[tokio::test]
async fn an_upload_outlives_the_server() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    server.patch(&location, None, "01234").await;
    let folder = server.stop().await;
    let server = Fixture::over(folder, reqwest::Client::builder(), |_| {}).await;
    assert_eq!(server.get(&location).await.header("range"), "0-4");
    let digest = Digest::sha256(b"0123456789");
    assert_eq!(server.put(&location, &digest, "56789").await.status, 201);
    assert_eq!(server.blob("a", &digest).await, "0123456789");
}

#[tokio::test]
async fn an_upload_can_be_given_up() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    assert_eq!(server.delete(&location).await.status, 204);
    let answer = server.get(&location).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "BLOB_UPLOAD_UNKNOWN")
    );
}

#[tokio::test]
async fn err_an_upload_belongs_to_its_repository() {
    let server = Fixture::open().await;
    let location = server.begin_upload("a").await;
    let other = location.replace("/v2/a/", "/v2/b/");
    assert_eq!(server.get(&other).await.status, 404);
}

#[tokio::test]
async fn err_content_with_another_digest_is_refused_and_not_kept() {
    let server = Fixture::open().await;
    let wrong = Digest::sha256(b"other");
    let location = server.begin_upload("a").await;
    let answer = server.put(&location, &wrong, "content").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(server.get(&location).await.status, 404);
    assert_eq!(server.get(&format!("/v2/a/blobs/{wrong}")).await.status, 404);
    let answer = server
        .post(&format!("/v2/a/blobs/uploads/?digest={wrong}"), "content")
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn err_a_body_shorter_than_its_length_is_not_kept() {
    let server = Fixture::open().await;
    let digest = Digest::sha256(b"01234");
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(
        stream,
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234"
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    // The server closes the connection, with or without a word.
    let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(server.get(&format!("/v2/a/blobs/{digest}")).await.status, 404);
}

#[tokio::test]
async fn err_a_blob_larger_than_allowed_is_refused() {
    let server = Fixture::with(|options| options.limits.blob_bytes_max = 10).await;
    let digest = Digest::sha256(b"01234567890");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(server.post(&path, "01234567890").await.status, 413);
    // Also where the length is not said beforehand, and over several pieces.
    let location = server.begin_upload("a").await;
    assert_eq!(server.patch(&location, None, "012345").await.status, 202);
    assert_eq!(server.patch(&location, None, "67890").await.status, 413);
    assert_eq!(server.get(&location).await.status, 404);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"content").await;
    let answer = server
        .post(&format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), "")
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(server.blob("b", &digest).await, "content");
}

#[tokio::test]
async fn what_cannot_be_mounted_is_uploaded() {
    let server = Fixture::open().await;
    let digest = server.push_blob("a", b"content").await;
    let unknown = Digest::sha256(b"other");
    for query in [
        format!("mount={unknown}&from=a"),
        format!("mount={digest}"),
        format!("mount={digest}&from=c"),
    ] {
        let answer = server.post(&format!("/v2/b/blobs/uploads/?{query}"), "").await;
        assert_eq!(answer.status, 202, "{query}");
        assert!(answer.header("location").starts_with("/v2/b/blobs/uploads/"));
    }
}

#[tokio::test]
async fn a_manifest_is_pushed_by_tag_and_by_digest() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    let digest = digest_of(&manifest);
    for reference in ["v1", &digest.to_string()] {
        let answer = server.put_manifest("a", reference, &manifest).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.header("location"), format!("/v2/a/manifests/{digest}"));
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    }
}

#[tokio::test]
async fn a_manifest_is_kept_byte_by_byte() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    let text = format!("\n{}\n \t", serde_json::to_string_pretty(&manifest).unwrap());
    let request = server
        .request("PUT", "/v2/a/manifests/v1")
        .header("content-type", MANIFEST);
    let answer = request.body(text.clone()).answer().await;
    assert_eq!(answer.status, 201);
    let location = answer.header("location").to_owned();
    assert_eq!(server.get(&location).await.text(), text);
    assert_eq!(
        answer.header("docker-content-digest"),
        Digest::sha256(text.as_bytes()).to_string()
    );
}

#[tokio::test]
async fn a_manifest_is_pushed_by_a_digest_of_sha512() {
    let server = Fixture::open().await;
    let text = "{\"schemaVersion\":2,\"layers\":[]}";
    let digest = "sha512:5cd0fcce05d0e621cb45f2d1550d733d28876970866fa9633ffd3103d0818c056b011a0cda1e921f11a331cc5ec52be4e4821d6599d4d8127cca7062a9799b64";
    let path = format!("/v2/a/manifests/{digest}");
    let request = server.request("PUT", &path).header("content-type", MANIFEST);
    let answer = request.body(text).answer().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(server.get(&path).await.text(), text);
}

#[tokio::test]
async fn a_manifest_need_not_have_blobs() {
    let server = Fixture::open().await;
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []});
    assert_eq!(server.put_manifest("a", "v1", &manifest).await.status, 201);
}

#[tokio::test]
async fn a_tag_is_moved_to_another_manifest() {
    let server = Fixture::open().await;
    let first = server.push_image("a", "v1", b"one").await;
    let second = server.push_image("a", "v1", b"two").await;
    assert_eq!(server.get("/v2/a/manifests/v1").await.text(), second.to_string());
    // The first is still there by its digest.
    assert_eq!(
        server
            .get(&format!("/v2/a/manifests/{}", digest_of(&first)))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn err_a_tag_that_must_stay_is_not_moved() {
    let server = Fixture::with(|options| options.immutable_tags = true).await;
    let first = server.push_image("a", "v1", b"one").await;
    let second = server.image("a", b"two").await;
    assert_eq!(server.put_manifest("a", "v1", &second).await.status, 409);
    assert_eq!(server.put_manifest("a", "v1", &first).await.status, 201);
    assert_eq!(server.get("/v2/a/manifests/v1").await.text(), first.to_string());
}

#[tokio::test]
async fn err_a_manifest_of_blobs_that_are_not_there_is_refused() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    let answer = server.put_manifest("b", "v1", &manifest).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "MANIFEST_BLOB_UNKNOWN")
    );
    assert_eq!(server.get("/v2/b/tags/list").await.status, 404);
}

#[tokio::test]
async fn err_what_is_no_manifest_is_refused() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    for body in [
        "{",
        "[]",
        "",
        "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}",
    ] {
        let request = server
            .request("PUT", "/v2/a/manifests/v1")
            .header("content-type", MANIFEST);
        let answer = request.body(body).answer().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "MANIFEST_INVALID"),
            "{body}"
        );
    }
    let answer = server
        .put_manifest("a", &Digest::sha256(b"other").to_string(), &manifest)
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn err_a_manifest_larger_than_4_mib_is_refused() {
    let server = Fixture::open().await;
    let mut manifest = server.image("a", b"layer").await;
    // Megabytes are the smaller ones.
    manifest["annotations"] = json!({"k": "x".repeat(4_000_000)});
    assert_eq!(server.put_manifest("a", "v1", &manifest).await.status, 201);
    manifest["annotations"] = json!({"k": "x".repeat(4 << 20)});
    assert_eq!(server.put_manifest("a", "v1", &manifest).await.status, 413);
}

#[tokio::test]
async fn a_manifest_with_a_subject_is_told_that_it_was_understood() {
    let server = Fixture::open().await;
    // The subject may come later.
    let subject = Digest::sha256(b"later").to_string();
    let mut manifest = server.image("a", b"layer").await;
    manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    let answer = server.put_manifest("a", "v1", &manifest).await;
    assert_eq!(
        (answer.status, answer.header("oci-subject")),
        (201, subject.as_str())
    );
    let plain = server.image("a", b"layer").await;
    let answer = server.put_manifest("a", "v2", &plain).await;
    assert!(!answer.headers.contains_key("oci-subject"));
}

#[tokio::test]
async fn an_index_of_manifests_is_pushed() {
    let server = Fixture::open().await;
    let image = server.push_image("a", "v1", b"layer").await;
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "manifests": [{"mediaType": MANIFEST, "digest": digest_of(&image).to_string(), "size": 1}],
    });
    assert_eq!(server.put_manifest("a", "all", &index).await.status, 201);
    assert_eq!(
        server.get("/v2/a/manifests/all").await.header("content-type"),
        kind
    );
}
