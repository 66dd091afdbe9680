//! ChartMuseum's API.

use crate::fixture::{Ask, Fixture, chart, chart_with};
use base64::Engine as _;

fn form(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, data) in parts {
        body.extend(
            format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n")
                .bytes(),
        );
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    ("multipart/form-data; boundary=xyz".to_owned(), body)
}

fn provenance(file: &str) -> String {
    format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nname: web\n\n...\nfiles:\n  {file}: sha256:{}\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n",
        "0".repeat(64)
    )
}

#[tokio::test]
async fn a_chart_is_uploaded_and_downloaded() {
    let server = Fixture::open().await;
    let archive = chart("web", "1.0.0");
    let answer = server.post("/api/charts", archive.clone()).await;
    assert_eq!((answer.status, answer.text().as_str()), (201, "{\"saved\":true}"));
    let answer = server.get("/charts/web-1.0.0.tgz").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/gzip")
    );
    assert!(answer.body == archive);
    let index = server.get("/index.yaml").await.text();
    assert!(index.contains("    - charts/web-1.0.0.tgz\n"), "{index}");
}

#[tokio::test]
async fn a_form_brings_a_chart_and_its_provenance() {
    let server = Fixture::open().await;
    let (archive, signature) = (chart("web", "1.0.0"), provenance("web-1.0.0.tgz"));
    let (kind, body) = form(&[("chart", &archive), ("prov", signature.as_bytes())]);
    let answer = server
        .request("POST", "/api/charts")
        .header("content-type", kind)
        .body(body);
    assert_eq!(answer.answer().await.status, 201);
    assert_eq!(server.get("/charts/web-1.0.0.tgz.prov").await.text(), signature);
}

#[tokio::test]
async fn provenance_can_come_after_its_chart() {
    let server = Fixture::open().await;
    let signature = provenance("web-1.0.0.tgz");
    assert_eq!(server.post("/api/prov", signature.clone()).await.status, 404);
    server.post("/api/charts", chart("web", "1.0.0")).await;
    assert_eq!(server.post("/api/prov", signature.clone()).await.status, 201);
    assert_eq!(server.post("/api/prov", signature.clone()).await.status, 409);
    assert_eq!(
        server.post("/api/prov?force", signature.clone()).await.status,
        201
    );
    assert_eq!(server.post("/api/prov", "words").await.status, 400);
    assert_eq!(server.get("/charts/web-1.0.0.tgz.prov").await.text(), signature);
}

#[tokio::test]
async fn a_version_is_there_once_unless_forced() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    let other = chart_with("web", "1.0.0", &[("README.md", "other")]);
    let answer = server.post("/api/charts", other.clone()).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (409, "{\"error\":\"web-1.0.0.tgz already exists\"}")
    );
    assert_eq!(
        server.post("/api/charts?force=false", other.clone()).await.status,
        409
    );
    assert_eq!(
        server.post("/api/charts?force=true", other.clone()).await.status,
        201
    );
    assert!(server.get("/charts/web-1.0.0.tgz").await.body == other);
    let digest = repo_serve::Digest::sha256(&other);
    assert!(server.get("/index.yaml").await.text().contains(digest.hex()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uploads_of_one_version_exactly_one_wins() {
    let server = Fixture::open().await;
    let uploads = (0..24).map(|number| {
        let text = number.to_string();
        server.post("/api/charts", chart_with("web", "1.0.0", &[("README.md", &text)]))
    });
    let answers = futures::future::join_all(uploads).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (1, 23));
    // The index names the archive that is there.
    let archive = server.get("/charts/web-1.0.0.tgz").await.body;
    let index = server.get("/index.yaml").await.text();
    assert!(index.contains(repo_serve::Digest::sha256(&archive).hex()));
}

#[tokio::test]
async fn charts_and_versions_are_listed() {
    let server = Fixture::open().await;
    for (name, version) in [
        ("web", "1.9.0"),
        ("web", "1.10.0"),
        ("web", "2.0.0-rc.1"),
        ("db", "0.1.0+b.1"),
    ] {
        assert_eq!(server.post("/api/charts", chart(name, version)).await.status, 201);
    }
    let all = server.get("/api/charts").await.json();
    assert_eq!(all.as_object().unwrap().len(), 2);
    assert_eq!(all["db"][0]["urls"][0], "charts/db-0.1.0%2Bb.1.tgz");
    assert_eq!(server.get("/charts/db-0.1.0%2Bb.1.tgz").await.status, 200);
    let versions = server.get("/api/charts/web").await.json();
    let versions: Vec<&str> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["2.0.0-rc.1", "1.10.0", "1.9.0"]);
    assert_eq!(
        server.get("/api/charts/web/1.9.0").await.json()["version"],
        "1.9.0"
    );
    assert_eq!(
        server.get("/api/charts/web/latest").await.json()["version"],
        "2.0.0-rc.1"
    );
    assert_eq!(server.head("/api/charts/web/1.9.0").await.status, 200);
    assert_eq!(server.head("/api/charts/web/3.0.0").await.status, 404);
    assert_eq!(
        server.get("/api/charts/none").await.json()["error"],
        "chart not found"
    );
    let page = server.get("/api/charts?offset=1&limit=1").await.json();
    assert_eq!(page.as_object().unwrap().keys().collect::<Vec<_>>(), ["web"]);
}

#[tokio::test]
async fn templates_and_values_of_a_chart_are_shown() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    assert_eq!(
        server.get("/api/charts/web/1.0.0/values").await.text(),
        "replicas: 1\n"
    );
    let templates = server.get("/api/charts/web/1.0.0/templates").await.json();
    assert_eq!(templates["templates"][0]["name"], "templates/a.yaml");
    let data = templates["templates"][0]["data"].as_str().unwrap();
    let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    assert_eq!(data, b"a: {{ .Values.replicas }}\n");
}

#[tokio::test]
async fn a_version_is_deleted() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    server.post("/api/prov", provenance("web-1.0.0.tgz")).await;
    let answer = server.delete("/api/charts/web/1.0.0").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"deleted\":true}")
    );
    for path in [
        "/charts/web-1.0.0.tgz",
        "/charts/web-1.0.0.tgz.prov",
        "/api/charts/web",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert!(server.get("/index.yaml").await.text().contains("entries: {}"));
    assert_eq!(server.delete("/api/charts/web/1.0.0").await.status, 404);
    assert_eq!(
        server.post("/api/charts", chart("web", "1.0.0")).await.status,
        201
    );
}

#[tokio::test]
async fn tenants_are_apart() {
    let server = Fixture::open().await;
    server.post("/api/team/one/charts", chart("web", "1.0.0")).await;
    server.post("/api/team/charts", chart("web", "2.0.0")).await;
    assert!(
        server
            .get("/team/one/index.yaml")
            .await
            .text()
            .contains("web-1.0.0.tgz")
    );
    assert!(
        !server
            .get("/team/index.yaml")
            .await
            .text()
            .contains("web-1.0.0.tgz")
    );
    assert!(server.get("/index.yaml").await.text().contains("entries: {}"));
    assert_eq!(server.get("/team/one/charts/web-1.0.0.tgz").await.status, 200);
    assert_eq!(server.get("/team/charts/web-1.0.0.tgz").await.status, 404);
    assert_eq!(server.delete("/api/team/one/charts/web/1.0.0").await.status, 200);
    assert_eq!(server.get("/api/team/charts/web/2.0.0").await.status, 200);
}

#[tokio::test]
async fn tenants_can_be_of_one_depth() {
    let server = Fixture::with(|options| options.depth = repo_serve::Depth::Fixed(1)).await;
    assert_eq!(
        server
            .post("/api/team/charts", chart("web", "1.0.0"))
            .await
            .status,
        201
    );
    for path in ["/api/charts", "/api/a/b/charts"] {
        assert_eq!(
            server.post(path, chart("web", "1.0.0")).await.status,
            404,
            "{path}"
        );
    }
    assert_eq!(server.get("/index.yaml").await.status, 404);
    assert_eq!(server.get("/team/index.yaml").await.status, 200);
}

#[tokio::test]
async fn err_what_is_no_chart_is_refused_and_leaves_nothing() {
    let server = Fixture::open().await;
    let whole = chart("web", "1.0.0");
    let cut = whole[..whole.len() - 20].to_vec();
    let (kind, empty_form) = form(&[("other", b"x")]);
    for (body, kind) in [
        (b"words".to_vec(), "application/gzip"),
        (Vec::new(), "application/gzip"),
        (cut, "application/gzip"),
        (empty_form, kind.as_str()),
        (b"--x".to_vec(), "multipart/form-data; boundary=xyz"),
    ] {
        let request = server
            .request("POST", "/api/charts")
            .header("content-type", kind)
            .body(body);
        let answer = request.answer().await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(
        std::fs::read_dir(server.path().join(".tug/drafts"))
            .unwrap()
            .count(),
        0
    );
    assert!(server.get("/index.yaml").await.text().contains("entries: {}"));
}

#[tokio::test]
async fn err_names_that_lead_elsewhere_are_refused() {
    let server = Fixture::open().await;
    for name in ["'..hidden'", "'.hidden'", "'a b'", "'a\\b'", "'ä'"] {
        assert_eq!(
            server.post("/api/charts", chart(name, "1.0.0")).await.status,
            400,
            "{name}"
        );
    }
    for path in [
        "/api/..%2f..%2fx/charts",
        "/api/.tug/charts",
        "/api/api/charts",
        "/api/v2/charts",
    ] {
        assert_eq!(
            server.post(path, chart("web", "1.0.0")).await.status,
            400,
            "{path}"
        );
    }
    assert_eq!(
        server
            .post("/api/prov", provenance("../web-1.0.0.tgz"))
            .await
            .status,
        400
    );
    for path in [
        "/charts/..%2f.tug%2fx.tgz",
        "/charts/%2e%2e%2fx.tgz",
        "/.tug/charts/x.tgz",
    ] {
        assert!([400, 404].contains(&server.get(path).await.status), "{path}");
    }
    assert_eq!(server.delete("/api/charts/..%2fweb/1.0.0").await.status, 404);
}

#[tokio::test]
async fn err_a_chart_larger_than_allowed_is_refused() {
    let server = Fixture::with(|options| options.limits.chart_bytes_max = 300).await;
    let large = chart_with(
        "web",
        "1.0.0",
        &[("a", &uuid::Uuid::new_v4().to_string().repeat(40))],
    );
    let large = [large, vec![0; 400]].concat();
    let answer = server.post("/api/charts", large).await;
    assert_eq!(answer.status, 413);
    // A body whose length is not said.
    let pieces = futures::stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 100])));
    assert_eq!(
        server
            .post("/api/charts", reqwest::Body::wrap_stream(pieces))
            .await
            .status,
        413
    );
}

#[tokio::test]
async fn err_two_charts_cannot_have_one_file() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0-2.0.0")).await;
    // `web-1.0.0` in version `2.0.0` has the same file name.
    let other = chart("web-1.0.0", "2.0.0");
    assert_eq!(server.post("/api/charts?force", other).await.status, 409);
    assert_eq!(server.get("/api/charts/web/1.0.0-2.0.0").await.status, 200);
}
