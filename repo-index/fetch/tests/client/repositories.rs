//! Repositories with an index.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use repo_fetch::{
    Access, Credentials, Freshness, Repositories, RepositoriesError, RepositoryConfig, Secret, Wish,
};
use repo_index::Digest;

use crate::server::{Asked, Said, Server, say};
use crate::stage::{Stage, access, archive, http, index};

fn add(stage: &Stage, config: RepositoryConfig) {
    Repositories::change(&stage.locations().repositories, |repositories| {
        repositories.put(config);
        Ok::<_, RepositoriesError>(())
    })
    .unwrap();
}

fn named(name: &str, url: &str) -> RepositoryConfig {
    RepositoryConfig {
        name: name.into(),
        url: url.into(),
        ..RepositoryConfig::default()
    }
}

fn ann() -> RepositoryConfig {
    RepositoryConfig {
        username: "ann".into(),
        password: Secret::new("pw"),
        ..RepositoryConfig::default()
    }
}

#[tokio::test]
async fn an_index_is_asked_for_by_its_tag_and_a_chart_is_fetched_once() {
    let web = archive("web", "1.0.0", "");
    let text = index(&[("web", "1.0.0", &web)]);
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/charts/index.yaml" if asked.header("if-none-match") == Some("\"e1\"") => say(304, ""),
        "/charts/index.yaml" => say(200, text.clone()).header("etag", "\"e1\""),
        "/charts/web-1.0.0.tgz" => say(200, web.clone()),
        _ => say(404, ""),
    })
    .await;
    let stage = Stage::new();
    add(&stage, named("t", &format!("{}/charts/", server.url())));
    let fetcher = stage.fetcher(access());
    let reference = "t/web".parse().unwrap();
    for _ in 0..2 {
        let fetched = fetcher.fetch(&reference, &Wish::default()).await.unwrap();
        assert_eq!(fetched.file_name, "web-1.0.0.tgz");
    }
    assert_eq!(server.paths(), ["/charts/index.yaml", "/charts/web-1.0.0.tgz"]);
    let client = fetcher
        .repository(fetcher.repositories().unwrap().list[0].clone())
        .unwrap();
    let fresh = client.index(Freshness::Asked, &stage.told).await.unwrap();
    assert_eq!(fresh.charts().count(), 1);
    assert_eq!(
        server.asked().last().unwrap().header("if-none-match"),
        Some("\"e1\"")
    );
    // Helm reads both.
    let cache = stage.locations().repository_cache;
    assert_eq!(
        std::fs::read_to_string(cache.join("t-charts.txt")).unwrap(),
        "web\n"
    );
    assert!(cache.join("t-index.yaml").exists());
}

#[tokio::test]
async fn what_was_kept_serves_with_a_warning_when_the_repository_is_down() {
    let web = archive("web", "1.0.0", "");
    let text = index(&[("web", "1.0.0", &web)]);
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/index.yaml" => say(200, text.clone()),
        _ => say(200, web.clone()),
    })
    .await;
    let stage = Stage::new();
    let fetcher = stage.fetcher(access());
    let wish = Wish {
        repository: server.url(),
        ..Wish::default()
    };
    let reference = "web".parse().unwrap();
    let first = fetcher.fetch(&reference, &wish).await.unwrap();
    drop(server);
    let second = fetcher.fetch(&reference, &wish).await.unwrap();
    assert_eq!(first.digest, second.digest);
    let warnings = stage.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("its index is the one that was kept"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn err_a_repository_that_is_down_and_was_never_seen() {
    let gone = Server::start(|_: &Asked| say(200, "")).await;
    let url = gone.url();
    drop(gone);
    let stage = Stage::new();
    let wish = Wish {
        repository: url.clone(),
        ..Wish::default()
    };
    let error = stage
        .fetcher(access())
        .fetch(&"web".parse().unwrap(), &wish)
        .await
        .unwrap_err();
    let words = format!(
        "looks like \"{url}\" is not a valid chart repository or cannot be reached: cannot reach {url}/index.yaml: "
    );
    assert!(error.to_string().starts_with(&words), "{error}");
    assert!(
        !stage.path().join("cache/repository").exists(),
        "nothing is half-written"
    );
}

/// How often `/index.yaml` is asked for when it answers so.
async fn times_asked(answers: &[u16]) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let answers = answers.to_vec();
    let counter = count.clone();
    let server = Server::start(move |_: &Asked| {
        let place = counter.fetch_add(1, Ordering::Relaxed);
        let status = answers.get(place).copied().unwrap_or(200);
        say(status, "apiVersion: v1\nentries: {}\n").header("retry-after", "3600")
    })
    .await;
    let stage = Stage::new();
    let client = stage
        .fetcher(access())
        .repository(named("t", &server.url()))
        .unwrap();
    // What comes of it is not the question.
    let _ = client.update(&stage.told).await;
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn requests_are_sent_again_where_that_may_help() {
    for (answers, times) in [
        (&[200][..], 1),
        (&[503, 429, 200], 3),
        (&[500, 502, 504, 503, 503], 3),
        (&[404], 1),
        (&[401], 1),
    ] {
        assert_eq!(times_asked(answers).await, times, "{answers:?}");
    }
}

/// A server whose `/here/a.tgz` leads to `/there/a.tgz` under another name of the same server.
async fn leading_elsewhere(archive: Vec<u8>) -> Arc<Server> {
    let elsewhere: Arc<std::sync::OnceLock<String>> = Arc::default();
    let known = elsewhere.clone();
    let server = Server::start(move |asked: &Asked| -> Said {
        match asked.path.as_str() {
            "/here/a.tgz" => {
                say(302, "").header("location", &format!("{}/there/a.tgz", known.get().unwrap()))
            }
            "/near/a.tgz" => say(302, "").header("location", "/there/a.tgz"),
            _ => say(200, archive.clone()),
        }
    })
    .await;
    elsewhere.set(server.other_name()).unwrap();
    Arc::new(server)
}

#[tokio::test]
async fn err_credentials_are_not_told_to_other_hosts() {
    for (path, pass, told) in [
        ("here", false, false),
        ("here", true, true),
        ("near", false, true),
    ] {
        let server = leading_elsewhere(archive("a", "1.0.0", "")).await;
        let stage = Stage::new();
        add(
            &stage,
            RepositoryConfig {
                name: "t".into(),
                url: server.url(),
                pass_credentials_all: pass,
                ..ann()
            },
        );
        let reference = format!("{}/{path}/a.tgz", server.url()).parse().unwrap();
        stage
            .fetcher(access())
            .fetch(&reference, &Wish::default())
            .await
            .unwrap();
        let asked = server.asked();
        let told_to: Vec<bool> = asked
            .iter()
            .map(|asked| asked.header("authorization").is_some())
            .collect();
        assert_eq!(told_to, [true, told], "{path} {pass}");
    }
}

#[tokio::test]
async fn err_credentials_are_not_told_to_hosts_that_an_index_names() {
    let web = archive("web", "1.0.0", "");
    let elsewhere: Arc<std::sync::OnceLock<String>> = Arc::default();
    let known = elsewhere.clone();
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/index.yaml" => say(
            200,
            format!(
                "apiVersion: v1\nentries: {{web: [{{name: web, version: 1.0.0, urls: ['{}/web.tgz']}}]}}\n",
                known.get().unwrap()
            ),
        ),
        _ => say(200, web.clone()),
    })
    .await;
    elsewhere.set(server.other_name()).unwrap();
    let stage = Stage::new();
    let access = Access {
        credentials: Some(Credentials::Basic {
            username: "ann".into(),
            password: Secret::new("pw"),
        }),
        ..access()
    };
    let wish = Wish {
        repository: server.url(),
        ..Wish::default()
    };
    stage
        .fetcher(access)
        .fetch(&"web".parse().unwrap(), &wish)
        .await
        .unwrap();
    let told: Vec<Option<String>> = server
        .asked()
        .iter()
        .map(|asked| asked.header("authorization").map(Into::into))
        .collect();
    assert_eq!(told, [Some("Basic YW5uOnB3".to_owned()), None]);
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let web = archive(
        "web",
        "1.0.0",
        &format!("description: {}\n", "long ".repeat(2000)),
    );
    let whole = web.clone();
    let server = Server::start(move |asked: &Asked| {
        let said = match (asked.header("range"), asked.header("if-range")) {
            (Some(range), Some("\"v\"")) => {
                let start: usize = range
                    .trim_start_matches("bytes=")
                    .trim_end_matches('-')
                    .parse()
                    .unwrap();
                let said = say(206, &whole[start..]);
                said.header(
                    "content-range",
                    &format!("bytes {start}-{}/{}", whole.len() - 1, whole.len()),
                )
            }
            _ => say(200, whole.clone()).cut(50),
        };
        said.header("etag", "\"v\"")
    })
    .await;
    let stage = Stage::new();
    let reference = format!("{}/web.tgz", server.url()).parse().unwrap();
    let fetched = stage
        .fetcher(access())
        .fetch(&reference, &Wish::default())
        .await
        .unwrap();
    assert_eq!(fetched.digest, Digest::of(&web));
    assert_eq!(server.asked()[1].header("range"), Some("bytes=50-"));
}

#[tokio::test]
async fn a_download_goes_on_in_the_next_process_unless_the_thing_changed() {
    for (tag_now, starts_over) in [("\"v\"", false), ("\"w\"", true)] {
        let web = archive("web", "1.0.0", "");
        let whole = web.clone();
        let count = AtomicUsize::new(0);
        let server = Server::start(move |asked: &Asked| {
            let tag = if count.fetch_add(1, Ordering::Relaxed) == 0 {
                "\"v\""
            } else {
                tag_now
            };
            let said = match asked
                .header("range")
                .filter(|_| asked.header("if-range") == Some(tag))
            {
                Some(_) => {
                    let last = whole.len() - 1;
                    say(206, &whole[50..])
                        .header("content-range", &format!("bytes 50-{last}/{}", whole.len()))
                }
                None if tag == "\"v\"" => say(200, whole.clone()).cut(50),
                None => say(200, whole.clone()),
            };
            said.header("etag", tag)
        })
        .await;
        let stage = Stage::new();
        let reference = format!("{}/web.tgz", server.url()).parse().unwrap();
        let mut once = access();
        once.http.retry.attempts_max = 1;
        assert!(
            stage
                .fetcher(once.clone())
                .fetch(&reference, &Wish::default())
                .await
                .is_err()
        );
        let fetched = stage
            .fetcher(once)
            .fetch(&reference, &Wish::default())
            .await
            .unwrap();
        assert_eq!(fetched.digest, Digest::of(&web), "{starts_over}");
        assert_eq!(server.asked()[1].header("range"), Some("bytes=50-"));
    }
}

/// Fetches `web` from an index and an archive, and gives the words of the refusal.
async fn refused(index: String, archive: Vec<u8>, more: impl FnOnce(&mut Access, &mut String)) -> String {
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/index.yaml" => say(200, index.clone()),
        _ => say(200, archive.clone()),
    })
    .await;
    let stage = Stage::new();
    let mut access = access();
    let mut reference = "web".to_owned();
    more(&mut access, &mut reference);
    let wish = Wish {
        repository: server.url(),
        ..Wish::default()
    };
    let error = stage
        .fetcher(access)
        .fetch(&reference.parse().unwrap(), &wish)
        .await
        .unwrap_err();
    for folder in std::fs::read_dir(stage.path().join("cache/content"))
        .into_iter()
        .flatten()
        .flatten()
    {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            let name = file
                .path()
                .with_extension("")
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let bytes = std::fs::read(file.path()).unwrap();
            let partial = folder.file_name() == "partial";
            assert!(
                partial || name == Digest::of(&bytes).hex(),
                "what is kept is what its name says"
            );
        }
    }
    error.to_string().replace(&server.url(), "URL")
}

#[tokio::test]
async fn err_archives_that_are_not_what_was_promised() {
    let web = archive("web", "1.0.0", "");
    let other = archive("web", "1.0.0", "description: other\n");
    let good = index(&[("web", "1.0.0", &web)]);
    let (wanted, found) = (Digest::of(&web), Digest::of(&other));
    assert_eq!(
        refused(good.clone(), other.clone(), |_, _| {}).await,
        format!("URL/web-1.0.0.tgz has the digest {found}, and {wanted} was expected")
    );
    let pinned = refused(good.replace(&wanted.hex(), ""), other, |_, reference| {
        *reference = format!("web@{wanted}");
    });
    assert!(
        pinned
            .await
            .ends_with(&format!("has the digest {found}, and {wanted} was pinned"))
    );
    let large = refused(good.clone(), vec![0; 5000], |access, _| {
        access.http.answer_bytes_max = 4000;
    });
    assert_eq!(large.await, "URL/web-1.0.0.tgz gives more than 4000 bytes");
    let bad = |urls: &str| {
        format!("apiVersion: v1\nentries: {{web: [{{name: web, version: 1.0.0, urls: {urls}}}]}}\n")
    };
    assert_eq!(
        refused(bad("[]"), web.clone(), |_, _| {}).await,
        "chart \"web\" has no downloadable URLs"
    );
    assert_eq!(
        refused(bad("['file:///etc/passwd']"), web.clone(), |_, _| {}).await,
        "the index of URL has `file:///etc/passwd` where an address of an archive should be"
    );
    assert_eq!(
        refused("apiVersion: v1\nentries: {}\n".into(), web.clone(), |_, _| {}).await,
        "chart \"web\" matching  not found in URL index. (try 'tug repo update'): no chart name found"
    );
    assert_eq!(
        refused("<html>".into(), web, |_, _| {}).await,
        "looks like \"URL\" is not a valid chart repository or cannot be reached: the index is damaged: `` must be a table, found string"
    );
}

#[tokio::test]
async fn err_bad_entries_and_doubles_of_an_index_are_skipped_and_told() {
    let text = "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.0.0, urls: [a.tgz]}\n  - {name: ../../web, version: 2.0.0, urls: [b.tgz]}\n  - {name: web, version: none}\n  - {name: web, version: 1.0.0, urls: [c.tgz]}\n";
    let web = archive("web", "1.0.0", "");
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/index.yaml" => say(200, text),
        _ => say(200, web.clone()),
    })
    .await;
    let stage = Stage::new();
    let wish = Wish {
        repository: server.url(),
        ..Wish::default()
    };
    stage
        .fetcher(access())
        .fetch(&"web".parse().unwrap(), &wish)
        .await
        .unwrap();
    assert_eq!(server.paths()[1], "/a.tgz", "of doubles the first is taken");
    assert_eq!(stage.warnings().len(), 2, "{:?}", stage.warnings());
}

#[tokio::test]
async fn proxies_are_asked_unless_a_host_is_left_out() {
    let proxy = Server::start(|_: &Asked| say(200, "apiVersion: v1\nentries: {}\n")).await;
    for (none, asked) in [("", 1), ("example.invalid", 0)] {
        let mut options = http();
        options.retry.attempts_max = 1;
        options.proxies.http = Some(proxy.url());
        options.proxies.none = Some(none.to_owned());
        let stage = Stage::new();
        let access = Access {
            http: options,
            ..Access::default()
        };
        let client = stage
            .fetcher(access)
            .repository(named("t", "http://example.invalid/charts"))
            .unwrap();
        assert_eq!(client.update(&stage.told).await.is_ok(), asked == 1, "{none}");
    }
    assert_eq!(proxy.paths(), ["http://example.invalid/charts/index.yaml"]);
}
