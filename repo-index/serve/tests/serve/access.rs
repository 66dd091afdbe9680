//! Who may do what, and TLS.

use std::fs;

use crate::fixture::{Answer, Ask, Fixture, chart};
use repo_serve::{Challenge, TlsFiles};

const RIGHTS: &str = "\
alice      team/**    read write delete
bob        team/**    read
bob        team/app   write
anonymous  public/**  read
";

async fn guarded(challenge: Challenge) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let hash = |password: &str| bcrypt::hash_with_salt(password, 4, [3; 16]).unwrap().to_string();
    let accounts = format!("alice:{}\nbob:{}\n", hash("a-secret"), hash("b-secret"));
    let (htpasswd, rights) = (folder.path().join("htpasswd"), folder.path().join("rights"));
    fs::write(&htpasswd, accounts).unwrap();
    fs::write(&rights, RIGHTS).unwrap();
    Fixture::over(folder, reqwest::Client::builder(), |options| {
        options.htpasswd = Some(htpasswd);
        options.rights = Some(rights);
        options.challenge = challenge;
    })
    .await
}

impl Fixture {
    async fn by(&self, user: &str, method: &str, path: &str, body: Vec<u8>) -> Answer {
        let request = self.request(method, path).body(body);
        let request = match user {
            "" => request,
            "alice" => request.basic_auth("alice", Some("a-secret")),
            "bob" => request.basic_auth("bob", Some("b-secret")),
            other => request.basic_auth(other, Some("wrong")),
        };
        request.answer().await
    }
}

#[tokio::test]
async fn rights_are_per_repository() {
    let server = guarded(Challenge::Basic).await;
    let upload = |user: &'static str, path: &'static str, name: &'static str| {
        let server = &server;
        async move { server.by(user, "POST", path, chart(name, "1.0.0")).await.status }
    };
    assert_eq!(upload("alice", "/api/team/charts", "web").await, 201);
    assert_eq!(upload("bob", "/api/team/charts", "db").await, 403);
    assert_eq!(upload("bob", "/api/team/charts", "app").await, 201);
    assert_eq!(upload("", "/api/team/charts", "db").await, 401);
    assert_eq!(upload("alice", "/api/other/charts", "web").await, 403);
    for (user, method, path, expected) in [
        ("alice", "GET", "/team/index.yaml", 200),
        ("bob", "GET", "/team/index.yaml", 200),
        ("", "GET", "/team/index.yaml", 401),
        ("", "GET", "/public/index.yaml", 200),
        ("mallory", "GET", "/public/index.yaml", 401),
        ("alice", "GET", "/index.yaml", 403),
        ("bob", "GET", "/team/charts/web-1.0.0.tgz", 200),
        ("", "GET", "/team/charts/web-1.0.0.tgz", 401),
        ("", "GET", "/team/charts/none-1.0.0.tgz", 401),
        ("bob", "GET", "/v2/team/web/tags/list", 200),
        ("bob", "POST", "/v2/team/web/blobs/uploads/", 403),
        ("bob", "POST", "/v2/team/app/blobs/uploads/", 202),
        ("", "POST", "/v2/public/x/blobs/uploads/", 401),
        ("", "GET", "/v2/public/x/tags/list", 404),
        ("bob", "DELETE", "/api/team/charts/web/1.0.0", 403),
        ("bob", "GET", "/team/-/web", 200),
        ("", "GET", "/team/-/web", 401),
        ("", "GET", "/metrics", 200),
        ("", "GET", "/healthz", 200),
        ("alice", "DELETE", "/api/team/charts/web/1.0.0", 200),
    ] {
        let answer = server.by(user, method, path, Vec::new()).await;
        assert_eq!(
            answer.status,
            expected,
            "{user} {method} {path}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn replacing_takes_the_right_to_delete() {
    let server = guarded(Challenge::Basic).await;
    assert_eq!(
        server
            .by("bob", "POST", "/api/team/charts", chart("app", "1.0.0"))
            .await
            .status,
        201
    );
    assert_eq!(
        server
            .by("bob", "POST", "/api/team/charts?force", chart("app", "1.0.0"))
            .await
            .status,
        403
    );
    assert_eq!(
        server
            .by("alice", "POST", "/api/team/charts?force", chart("app", "1.0.0"))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn those_who_do_not_say_who_they_are_are_asked() {
    let server = guarded(Challenge::Basic).await;
    let answer = server.by("", "GET", "/v2/", Vec::new()).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"));
    assert!(answer.header("www-authenticate").starts_with("Basic "));
    assert_eq!(server.by("alice", "GET", "/v2/", Vec::new()).await.status, 200);
    assert_eq!(server.by("mallory", "GET", "/v2/", Vec::new()).await.status, 401);
    let broken = server.request("GET", "/v2/").header("authorization", "Basic ???");
    assert_eq!(broken.answer().await.status, 401);
}

#[tokio::test]
async fn a_token_is_good_for_what_it_was_asked_for() {
    let server = guarded(Challenge::Token).await;
    let answer = server.by("", "GET", "/v2/team/web/tags/list", Vec::new()).await;
    let expected = format!(
        "Bearer realm=\"{}\",service=\"tug\",scope=\"repository:team/web:pull\"",
        server.url("/token")
    );
    assert_eq!(answer.header("www-authenticate"), expected);
    let token = |user: &'static str, scope: &'static str| {
        let server = &server;
        async move {
            let path = format!("/token?service=tug&scope={scope}");
            let answer = server.by(user, "GET", &path, Vec::new()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()["token"].as_str().unwrap().to_owned()
        }
    };
    for (user, scope, method, path, expected) in [
        (
            "bob",
            "repository:team/app:pull,push",
            "POST",
            "/v2/team/app/blobs/uploads/",
            202,
        ),
        (
            "bob",
            "repository:team/app:pull",
            "POST",
            "/v2/team/app/blobs/uploads/",
            401,
        ),
        (
            "bob",
            "repository:team/web:pull,push",
            "POST",
            "/v2/team/web/blobs/uploads/",
            401,
        ),
        (
            "bob",
            "repository:team/web:pull,push",
            "GET",
            "/v2/team/web/tags/list",
            404,
        ),
        (
            "",
            "repository:team/web:pull",
            "GET",
            "/v2/team/web/tags/list",
            401,
        ),
        (
            "",
            "repository:public/web:pull",
            "GET",
            "/v2/public/web/tags/list",
            404,
        ),
        ("alice", "repository:team/web:*", "GET", "/v2/", 200),
    ] {
        let token = token(user, scope).await;
        let answer = server.request(method, path).bearer_auth(token).answer().await;
        assert_eq!(answer.status, expected, "{user} {scope} {method} {path}");
    }
    assert_eq!(
        server.by("mallory", "GET", "/token", Vec::new()).await.status,
        401
    );
    let forged = server.request("GET", "/v2/").bearer_auth("x.y").answer().await;
    assert_eq!(forged.status, 401);
}

#[tokio::test]
async fn a_blob_is_not_mounted_from_where_one_may_not_read() {
    let server = guarded(Challenge::Basic).await;
    let digest = repo_serve::Digest::sha256(b"secret");
    let path = format!("/v2/team/web/blobs/uploads/?digest={digest}");
    assert_eq!(
        server.by("alice", "POST", &path, b"secret".to_vec()).await.status,
        201
    );
    let mount = format!("/v2/team/app/blobs/uploads/?mount={digest}&from=team/web");
    assert_eq!(server.by("bob", "POST", &mount, Vec::new()).await.status, 201);
    let hidden = format!("/v2/team/app/blobs/uploads/?mount={digest}&from=private/web");
    assert_eq!(server.by("bob", "POST", &hidden, Vec::new()).await.status, 202);
}

#[tokio::test]
async fn lists_hold_what_one_may_read() {
    let server = guarded(Challenge::Basic).await;
    server
        .by("alice", "POST", "/api/team/charts", chart("web", "1.0.0"))
        .await;
    let repositories = |answer: &Answer| answer.json()["repositories"].as_array().unwrap().len();
    assert_eq!(
        repositories(&server.by("bob", "GET", "/v2/_catalog", Vec::new()).await),
        1
    );
    assert_eq!(
        repositories(&server.by("", "GET", "/v2/_catalog", Vec::new()).await),
        0
    );
    assert!(
        server
            .by("bob", "GET", "/", Vec::new())
            .await
            .text()
            .contains("/team/")
    );
    assert!(
        !server
            .by("", "GET", "/", Vec::new())
            .await
            .text()
            .contains("/team/")
    );
}

#[tokio::test]
async fn changed_accounts_and_rights_count_from_the_next_request_on() {
    let server = guarded(Challenge::Basic).await;
    let status = |user: &'static str| {
        let server = &server;
        async move {
            server
                .by(user, "GET", "/team/index.yaml", Vec::new())
                .await
                .status
        }
    };
    assert_eq!((status("alice").await, status("bob").await), (200, 200));
    let (htpasswd, rights) = (server.path().join("htpasswd"), server.path().join("rights"));
    let accounts = fs::read_to_string(&htpasswd).unwrap();
    // Bob is gone, also from the passwords that were found right.
    let alice = accounts.lines().next().unwrap();
    fs::write(&htpasswd, format!("{alice}\n")).unwrap();
    assert_eq!((status("alice").await, status("bob").await), (200, 401));
    // What cannot be read changes nothing.
    for broken in ["words", ""] {
        if broken.is_empty() {
            fs::remove_file(&htpasswd).unwrap();
        } else {
            fs::write(&htpasswd, broken).unwrap();
        }
        assert_eq!((status("alice").await, status("bob").await), (200, 401));
    }
    fs::write(&htpasswd, &accounts).unwrap();
    fs::write(&rights, "bob team/** read\n").unwrap();
    assert_eq!((status("alice").await, status("bob").await), (403, 200));
}

#[tokio::test]
async fn connections_can_be_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let files = TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
    };
    fs::write(&files.certificate, &certificate).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]);
    let server = Fixture::over(folder, client, |options| options.tls = Some(files)).await;
    let answer = server.get("/index.yaml").await;
    assert_eq!(answer.status, 200);
    let page = server.get("/").await.text();
    assert!(
        page.contains(&server.url("")),
        "addresses on pages are encrypted ones: {page}"
    );
}

#[test]
fn err_files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "words").unwrap();
    let check = |change: &dyn Fn(&mut repo_serve::ServeOptions), message: &str| {
        let mut options = repo_serve::ServeOptions::new(folder.path());
        change(&mut options);
        let error = repo_serve::RepoServer::open(options).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    check(
        &|options| options.htpasswd = Some(file.clone()),
        "file`: line 1: `NAME:HASH` is wanted",
    );
    check(
        &|options| options.rights = Some(file.clone()),
        "file`: line 1: `USER REPOSITORIES RIGHT...` is wanted",
    );
    let tls = TlsFiles {
        certificate: file.clone(),
        key: file.clone(),
    };
    check(
        &|options| options.tls = Some(tls.clone()),
        "file` holds no certificate in PEM",
    );
}
