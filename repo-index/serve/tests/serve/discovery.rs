//! Distribution specification 1.1, "Content Discovery".

use crate::fixture::{CONFIG, Fixture, MANIFEST, digest_of};
use repo_serve::Digest;
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn tags(answer: &Value) -> Vec<&str> {
    let tags = answer["tags"].as_array().unwrap();
    tags.iter().map(|tag| tag.as_str().unwrap()).collect()
}

async fn five_tags() -> Fixture {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    for tag in ["v2", "V1", "a", "C", "b"] {
        server.put_manifest("a", tag, &manifest).await;
    }
    server
}

#[tokio::test]
async fn tags_are_listed_in_lexical_order() {
    let server = five_tags().await;
    let answer = server.get("/v2/a/tags/list").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["name"], "a");
    assert_eq!(tags(&answer.json()), ["a", "b", "C", "V1", "v2"]);
}

#[tokio::test]
async fn a_repository_without_tags_has_an_empty_list() {
    let server = Fixture::open().await;
    let manifest = server.image("a", b"layer").await;
    let digest = digest_of(&manifest).to_string();
    server.put_manifest("a", &digest, &manifest).await;
    let answer = server.get("/v2/a/tags/list").await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"name": "a", "tags": []}))
    );
}

#[tokio::test]
async fn a_page_has_as_many_tags_as_were_asked_for_if_there_are_as_many() {
    let server = five_tags().await;
    for (count, expected) in [(1, 1), (4, 4), (5, 5), (6, 5)] {
        let answer = server.get(&format!("/v2/a/tags/list?n={count}")).await;
        assert_eq!(tags(&answer.json()).len(), expected);
        assert_eq!(answer.headers.contains_key("link"), count < 5);
    }
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let server = five_tags().await;
    let answer = server.get("/v2/a/tags/list?n=2").await;
    assert_eq!(tags(&answer.json()), ["a", "b"]);
    assert_eq!(
        answer.header("link"),
        "</v2/a/tags/list?n=2&last=b>; rel=\"next\""
    );
    let answer = server.get("/v2/a/tags/list?n=2&last=b").await;
    assert_eq!(tags(&answer.json()), ["C", "V1"]);
    let answer = server.get("/v2/a/tags/list?n=2&last=V1").await;
    assert_eq!(tags(&answer.json()), ["v2"]);
    assert!(!answer.headers.contains_key("link"));
}

#[tokio::test]
async fn tags_are_listed_from_one_on_that_need_not_exist() {
    let server = five_tags().await;
    let answer = server.get("/v2/a/tags/list?last=bb").await;
    assert_eq!(tags(&answer.json()), ["C", "V1", "v2"]);
}

#[tokio::test]
async fn a_page_of_no_tags_is_empty() {
    let server = five_tags().await;
    let answer = server.get("/v2/a/tags/list?n=0").await;
    assert_eq!((answer.status, tags(&answer.json()).len()), (200, 0));
    assert!(!answer.headers.contains_key("link"));
}

#[tokio::test]
async fn err_tags_of_an_unknown_repository_are_not_found() {
    let server = five_tags().await;
    let answer = server.get("/v2/b/tags/list").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "NAME_UNKNOWN"));
    assert_eq!(server.get("/v2/a/tags/list?n=x").await.status, 400);
}

#[tokio::test]
async fn repositories_are_listed_in_pages() {
    let server = Fixture::open().await;
    for name in ["c", "a/b", "a"] {
        server.push_image(name, "v1", b"layer").await;
    }
    let answer = server.get("/v2/_catalog?n=2").await;
    assert_eq!(answer.json(), json!({"repositories": ["a", "a/b"]}));
    assert_eq!(
        answer.header("link"),
        "</v2/_catalog?n=2&last=a%2Fb>; rel=\"next\""
    );
}

#[tokio::test]
async fn nothing_refers_to_what_is_not_known() {
    let server = Fixture::open().await;
    let answer = server
        .get(&format!("/v2/a/referrers/{}", Digest::sha256(b"x")))
        .await;
    assert_eq!((answer.status, answer.header("content-type")), (200, INDEX));
    assert_eq!(answer.json()["manifests"], json!([]));
    assert_eq!(answer.json()["mediaType"], INDEX);
    assert_eq!(server.get("/v2/a/referrers/sha256:x").await.status, 400);
}

async fn with_referrers() -> (Fixture, String, [Value; 3]) {
    let server = Fixture::open().await;
    let subject = digest_of(&server.push_image("a", "v1", b"layer").await).to_string();
    let descriptor = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    let mut signature = server.image("a", b"signature").await;
    signature["subject"] = descriptor.clone();
    signature["artifactType"] = "application/x-signature".into();
    signature["annotations"] = json!({"by": "alice"});
    let mut plain = server.image("a", b"plain").await;
    plain["subject"] = descriptor.clone();
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "subject": descriptor, "artifactType": "application/x-list",
    });
    for manifest in [&signature, &plain, &index] {
        let digest = digest_of(manifest).to_string();
        assert_eq!(server.put_manifest("a", &digest, manifest).await.status, 201);
    }
    (server, subject, [signature, plain, index])
}

#[tokio::test]
async fn what_refers_to_a_subject_is_listed_with_type_and_annotations() {
    let (server, subject, [signature, plain, index]) = with_referrers().await;
    let answer = server.get(&format!("/v2/a/referrers/{subject}")).await.json();
    let list = answer["manifests"].as_array().unwrap();
    assert_eq!(list.len(), 3);
    let of = |manifest: &Value| {
        let digest = digest_of(manifest).to_string();
        list.iter()
            .find(|descriptor| descriptor["digest"] == digest)
            .unwrap()
    };
    assert_eq!(of(&signature)["artifactType"], "application/x-signature");
    assert_eq!(of(&signature)["annotations"]["by"], "alice");
    assert_eq!(of(&signature)["size"], signature.to_string().len());
    // Without a type of its own, an image has that of its config.
    assert_eq!(of(&plain)["artifactType"], CONFIG);
    assert_eq!(of(&index)["mediaType"], INDEX);
}

#[tokio::test]
async fn what_refers_to_a_subject_is_listed_by_type() {
    let (server, subject, [signature, ..]) = with_referrers().await;
    let path = format!("/v2/a/referrers/{subject}?artifactType=application/x-signature");
    let answer = server.get(&path).await;
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    let list = answer.json()["manifests"].as_array().unwrap().clone();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["digest"], digest_of(&signature).to_string());
}

#[tokio::test]
async fn what_was_deleted_refers_to_nothing() {
    let (server, subject, [signature, ..]) = with_referrers().await;
    let path = format!("/v2/a/manifests/{}", digest_of(&signature));
    assert_eq!(server.delete(&path).await.status, 202);
    let answer = server.get(&format!("/v2/a/referrers/{subject}")).await.json();
    assert_eq!(answer["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_index_without_a_type_has_none_in_the_list() {
    let (server, subject, _) = with_referrers().await;
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": "",
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1},
    });
    let digest = digest_of(&index).to_string();
    assert_eq!(server.put_manifest("a", &digest, &index).await.status, 201);
    let answer = server.get(&format!("/v2/a/referrers/{subject}")).await.json();
    let list = answer["manifests"].as_array().unwrap();
    let found = list.iter().find(|it| it["digest"] == digest).unwrap();
    assert!(found.get("artifactType").is_none(), "{found}");
}

#[tokio::test]
async fn what_refers_to_a_subject_is_of_one_repository() {
    let (server, subject, _) = with_referrers().await;
    let answer = server.get(&format!("/v2/b/referrers/{subject}")).await;
    assert_eq!((answer.status, &answer.json()["manifests"]), (200, &json!([])));
}

#[tokio::test]
async fn a_long_list_of_what_refers_to_a_subject_comes_in_pages() {
    let server = Fixture::with(|options| options.limits.referrers_page_max = 2).await;
    let subject = Digest::sha256(b"subject").to_string();
    let mut sent = std::collections::BTreeSet::new();
    for number in 0..5 {
        let mut manifest = server.image("a", format!("{number}").as_bytes()).await;
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
        manifest["artifactType"] = ["x/odd", "x/even"][usize::from(number % 2 == 0)].into();
        let digest = digest_of(&manifest).to_string();
        server.put_manifest("a", &digest, &manifest).await;
        sent.insert(digest);
    }
    let mut path = format!("/v2/a/referrers/{subject}");
    let (mut found, mut pages) = (std::collections::BTreeSet::new(), 0);
    loop {
        let answer = server.get(&path).await;
        assert_eq!(answer.header("content-type"), INDEX);
        for descriptor in answer.json()["manifests"].as_array().unwrap() {
            found.insert(descriptor["digest"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(link) = answer.headers.get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        path = link
            .strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap()
            .to_owned();
    }
    assert_eq!((found, pages), (sent, 3));
    // The next page is of the same type.
    let answer = server
        .get(&format!("/v2/a/referrers/{subject}?artifactType=x/even"))
        .await;
    assert_eq!(answer.json()["manifests"].as_array().unwrap().len(), 2);
    assert!(
        answer
            .header("link")
            .contains("artifactType=x%2Feven&last=sha256%3A")
    );
}
