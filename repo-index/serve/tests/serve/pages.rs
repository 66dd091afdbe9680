//! Pages for people.

use crate::fixture::{Ask, Fixture, chart, chart_with};

#[tokio::test]
async fn a_person_finds_a_chart_and_how_to_install_it() {
    let server = Fixture::open().await;
    let more = [(
        "README.md",
        "# Hello\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) **bold**\n",
    )];
    server
        .post("/api/charts", chart_with("web", "1.0.0", &more))
        .await;
    server
        .post("/api/charts", chart_with("web", "1.1.0", &more))
        .await;
    server.post("/api/charts", chart("web", "2.0.0-rc.1")).await;
    server.post("/api/team/charts", chart("db", "1.0.0")).await;
    let home = server.get("/").await;
    assert_eq!(
        (home.status, home.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let text = home.text();
    for part in [
        "href=\"/-/web\"",
        "a chart of tests",
        "1.1.0",
        "3 versions",
        "href=\"/team/\"",
        "repo add",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = server.get("/-/web").await.text();
    for part in [
        "<h1>web <small>1.1.0</small></h1>",
        "<strong>bold</strong>",
        "replicas: 1",
        "href=\"/charts/web-1.1.0.tgz\"",
        "href=\"/-/web/2.0.0-rc.1\"",
        "tug install my-web",
        "oci://localhost:",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(
        server
            .get("/-/web/2.0.0-rc.1")
            .await
            .text()
            .contains("<small>2.0.0-rc.1</small>")
    );
    assert!(
        server
            .get("/team/-/db")
            .await
            .text()
            .contains("href=\"/team/charts/db-1.0.0.tgz\"")
    );
    assert!(server.get("/_/images").await.text().contains("/_/images/team/db"));
    assert!(server.get("/_/images/team/db").await.text().contains("1.0.0"));
    assert_eq!(
        server.get("/_/style.css").await.header("content-type"),
        "text/css; charset=utf-8"
    );
}

#[tokio::test]
async fn nothing_that_strangers_wrote_runs() {
    let server = Fixture::open().await;
    let more = [
        (
            "README.md",
            "<script>alert(1)</script>\n\n[x](javascript:alert(1))\n",
        ),
        ("crds/a.yaml", "a"),
    ];
    let mut archive = chart_with("web", "1.0.0", &more);
    server.post("/api/charts", archive.clone()).await;
    archive = chart_with("'<b>'", "1.0.0", &more);
    assert_eq!(server.post("/api/charts", archive).await.status, 400);
    for path in ["/", "/-/web", "/?q=%3Cscript%3E%22", "/_/images", "/none"] {
        let answer = server
            .request("GET", path)
            .header("accept", "text/html")
            .answer()
            .await;
        let text = answer.text().to_lowercase();
        assert!(
            !text.contains("<script") && !text.contains("href=\"javascript"),
            "{path}: {text}"
        );
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn charts_are_searched() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    server.post("/api/charts", chart("db", "1.0.0")).await;
    let found = server.get("/?q=WEB").await.text();
    assert!(found.contains("/-/web") && !found.contains("/-/db"));
    assert!(
        server
            .get("/?q=nothing")
            .await
            .text()
            .contains("No chart has these words")
    );
}

#[tokio::test]
async fn err_what_is_not_there_is_said_in_the_form_that_was_asked_for() {
    let server = Fixture::open().await;
    let page = server
        .request("GET", "/none")
        .header("accept", "text/html")
        .answer()
        .await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (404, "text/html; charset=utf-8")
    );
    assert!(page.text().contains("<h1>404</h1>"));
    let text = server.get("/none/charts/x-1.tgz").await;
    assert_eq!(
        (text.status, text.header("content-type")),
        (404, "text/plain; charset=utf-8")
    );
}

#[tokio::test]
async fn a_server_tells_how_it_is() {
    let server = Fixture::open().await;
    server.post("/api/charts", chart("web", "1.0.0")).await;
    assert_eq!(server.get("/healthz").await.json()["healthy"], true);
    assert_eq!(server.get("/health").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    assert!(server.get("/info").await.json()["version"].is_string());
    let metrics = server.get("/metrics").await.text();
    for line in [
        "tug_repo_requests_total{method=\"POST\",route=\"api\",code=\"201\"} 1",
        "tug_repo_chart_versions 1",
        "tug_repo_request_seconds_count{route=\"api\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}
