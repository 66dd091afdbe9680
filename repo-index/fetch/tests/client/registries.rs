//! Registries: tokens, pages of tags, digests.

use repo_fetch::{Access, Credentials, Secret, Wish};
use repo_index::Digest;

use crate::server::{Asked, Said, Server, say};
use crate::stage::{Stage, access, archive};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry of one chart, `charts/web` 1.0.0, which wants a token.
fn registry(archive: Vec<u8>) -> impl Fn(&Asked) -> Said + Send + Sync {
    let config = b"{\"name\":\"web\",\"version\":\"1.0.0\",\"apiVersion\":\"v2\"}".to_vec();
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\"application/vnd.cncf.helm.chart.content.v1.tar+gzip\",\"digest\":\"{}\",\"size\":{}}}]}}",
        Digest::of(&config),
        config.len(),
        Digest::of(&archive),
        archive.len()
    );
    let blobs = [archive, config];
    move |asked: &Asked| {
        let host = asked.header("host").unwrap_or_default().to_owned();
        let path = asked.path.as_str();
        if path.starts_with("/token") {
            let login = asked.header("authorization") == Some("Basic YW5uOnB3");
            let wanted =
                path.contains("scope=repository%3Acharts%2Fweb%3Apull") && path.contains("service=reg");
            return if login && wanted {
                say(200, "{\"token\":\"t1\"}")
            } else {
                say(401, "")
            };
        }
        if asked.header("authorization") != Some("Bearer t1") {
            let demand = format!(
                "Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:charts/web:pull\""
            );
            return say(401, "").header("www-authenticate", &demand);
        }
        if path == "/v2/charts/web/tags/list" {
            return say(200, "{\"tags\":[\"1.0.0\",\"latest\"]}")
                .header("link", "</v2/charts/web/tags/list?last=x>; rel=\"next\"");
        }
        if path == "/v2/charts/web/tags/list?last=x" {
            return say(200, "{\"tags\":[\"0.9.0_b\"]}");
        }
        if path == "/v2/charts/web/manifests/1.0.0" {
            return say(200, manifest.clone()).header("content-type", MANIFEST);
        }
        let blob = blobs
            .iter()
            .find(|blob| path == format!("/v2/charts/web/blobs/{}", Digest::of(blob)));
        match blob {
            Some(blob) => say(200, blob.clone()),
            None => say(
                404,
                "{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"none\"}]}",
            )
            .header("content-type", "application/json"),
        }
    }
}

fn ann() -> Access {
    Access {
        credentials: Some(Credentials::Basic {
            username: "ann".into(),
            password: Secret::new("pw"),
        }),
        ..access()
    }
}

#[tokio::test]
async fn a_token_is_got_once_and_the_highest_version_is_pulled() {
    let web = archive("web", "1.0.0", "");
    let server = Server::start(registry(web.clone())).await;
    let stage = Stage::new();
    let reference = format!("oci://{}/charts/web", server.address).parse().unwrap();
    let fetched = stage
        .fetcher(ann())
        .fetch(&reference, &Wish::default())
        .await
        .unwrap();
    assert_eq!(fetched.archive, web);
    assert!(
        fetched.source.ends_with("/charts/web:1.0.0"),
        "{}",
        fetched.source
    );
    let tokens = server
        .paths()
        .iter()
        .filter(|path| path.starts_with("/token"))
        .count();
    assert_eq!(tokens, 1);
    let wish = Wish {
        version: "<1".into(),
        ..Wish::default()
    };
    // The tag is found on the second page, and has no manifest.
    let error = stage.fetcher(ann()).fetch(&reference, &wish).await.unwrap_err();
    assert!(
        error.to_string().ends_with("/charts/web:0.9.0_b: not found"),
        "{error}"
    );
}

#[tokio::test]
async fn err_what_registries_refuse() {
    let server = Server::start(registry(archive("web", "1.0.0", ""))).await;
    let stage = Stage::new();
    let place = format!("oci://{}/charts/web", server.address);
    for (access, reference, version, words) in [
        (access(), place.clone(), "", "refuses access to"),
        (
            ann(),
            format!("{place}:1.0.0"),
            "2.0.0",
            "chart reference and version mismatch: 2.0.0 is not 1.0.0",
        ),
        (
            ann(),
            place.clone(),
            ">9",
            "could not locate a version matching provided version string >9",
        ),
        (ann(), place.clone(), "9.0.0", "/charts/web:9.0.0: not found"),
    ] {
        let wish = Wish {
            version: version.into(),
            ..Wish::default()
        };
        let error = stage
            .fetcher(access)
            .fetch(&reference.parse().unwrap(), &wish)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn err_a_blob_or_manifest_with_another_digest() {
    let web = archive("web", "1.0.0", "");
    let inner = registry(web.clone());
    let wrong = Digest::of(&web);
    let server = Server::start(move |asked: &Asked| {
        if asked.path.ends_with(&wrong.to_string()) && asked.header("authorization") == Some("Bearer t1") {
            return say(200, "something else");
        }
        inner(asked)
    })
    .await;
    let stage = Stage::new();
    let reference = format!("oci://{}/charts/web:1.0.0", server.address)
        .parse()
        .unwrap();
    let error = stage
        .fetcher(ann())
        .fetch(&reference, &Wish::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("has the digest"), "{error}");
}
