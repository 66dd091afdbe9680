//! Dependencies of a chart on disk.

use std::fs;
use std::path::{Path, PathBuf};

use chart_model::Chart;
use repo_fetch::{DependencyManager, Updated};
use repo_index::{ChartLock, Digest};

use crate::server::{Asked, Server, say};
use crate::stage::{Stage, access, archive, index};

const NOW: &str = "2026-01-02T03:04:05Z";

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn chart(folder: &Path, name: &str, dependencies: &str) {
    let text = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\ndependencies: {dependencies}\n");
    write(folder.join("Chart.yaml"), &text);
}

async fn server(charts: Vec<(&'static str, &'static str, Vec<u8>)>) -> Server {
    let list: Vec<(&str, &str, &[u8])> = charts.iter().map(|(n, v, a)| (*n, *v, a.as_slice())).collect();
    let text = index(&list);
    Server::start(move |asked: &Asked| {
        if asked.path == "/index.yaml" {
            return say(200, text.clone());
        }
        let found = charts
            .iter()
            .find(|(n, v, _)| asked.path == format!("/{n}-{v}.tgz"));
        found.map_or_else(|| say(404, ""), |(_, _, bytes)| say(200, bytes.clone()))
    })
    .await
}

async fn update(stage: &Stage, folder: &Path) -> Result<Updated, String> {
    let fetcher = stage.fetcher(access());
    let manager = DependencyManager::new(&fetcher, folder).map_err(|error| error.to_string())?;
    manager.update(NOW).await.map_err(|error| error.to_string())
}

async fn build(stage: &Stage, folder: &Path) -> Result<Updated, String> {
    let fetcher = stage.fetcher(access());
    let manager = DependencyManager::new(&fetcher, folder).map_err(|error| error.to_string())?;
    manager.build(NOW).await.map_err(|error| error.to_string())
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("charts"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_whole_tree_is_got_without_repo_add_and_locked_by_digest() {
    let db = archive("db", "2.0.0", "");
    let server = server(vec![
        ("db", "1.5.0", archive("db", "1.5.0", "")),
        ("db", "2.0.0", db.clone()),
        ("mq", "1.0.0", archive("mq", "1.0.0", "")),
    ])
    .await;
    let stage = Stage::new();
    let (app, api) = (stage.path().join("app"), stage.path().join("api"));
    let url = server.url();
    chart(
        &app,
        "app",
        &format!(
            "[{{name: db, version: '*', repository: '{url}', alias: store}}, {{name: api, version: 1.x, repository: 'file://../api'}}]"
        ),
    );
    chart(
        &api,
        "api",
        &format!(
            "[{{name: db, version: ^1, repository: '{url}'}}, {{name: mq, version: 1.0.0, repository: '{url}'}}]"
        ),
    );
    let updated = update(&stage, &app).await.unwrap();
    assert!(updated.lock_changed);
    assert_eq!(files(&app), ["api-1.0.0.tgz", "db-2.0.0.tgz"]);
    assert_eq!(
        fs::read(app.join("charts/db-2.0.0.tgz")).unwrap(),
        db,
        "as it came"
    );
    let packed = Chart::load(&app.join("charts/api-1.0.0.tgz")).unwrap();
    let inside: Vec<String> = packed
        .dependencies
        .iter()
        .map(|chart| format!("{} {}", chart.name(), chart.metadata.version))
        .collect();
    assert_eq!(inside, ["db 1.5.0", "mq 1.0.0"]);
    let text = fs::read_to_string(app.join("Chart.lock")).unwrap();
    let lock = ChartLock::read(&text).unwrap();
    let paths: Vec<&str> = lock
        .artifacts
        .iter()
        .map(|artifact| artifact.path.as_str())
        .collect();
    assert_eq!(paths, ["api", "api/db", "api/mq", "db"]);
    assert_eq!(lock.artifact("db").unwrap().digest, Some(Digest::of(&db)));
    let asked = server
        .paths()
        .iter()
        .filter(|path| *path == "/index.yaml")
        .count();
    assert_eq!(asked, 1, "an index is asked for once");
    // The same again changes nothing, a build gets the same, and what is not wanted any more goes.
    fs::write(app.join("charts/db-1.0.0.tgz"), "old").unwrap();
    assert!(!update(&stage, &app).await.unwrap().lock_changed);
    assert_eq!(files(&app), ["api-1.0.0.tgz", "db-2.0.0.tgz"]);
    fs::remove_dir_all(app.join("charts")).unwrap();
    build(&stage, &app).await.unwrap();
    assert_eq!(files(&app), ["api-1.0.0.tgz", "db-2.0.0.tgz"]);
    assert_eq!(fs::read_to_string(app.join("Chart.lock")).unwrap(), text);
}

#[tokio::test]
async fn a_lock_is_kept_to_although_newer_versions_exist() {
    let stage = Stage::new();
    let app = stage.path().join("app");
    let old = archive("db", "1.0.0", "");
    let first = server(vec![("db", "1.0.0", old.clone())]).await;
    let wish = |url: &str| format!("[{{name: db, version: ^1, repository: '{url}'}}]");
    chart(&app, "app", &wish(&first.url()));
    update(&stage, &app).await.unwrap();
    let lock = fs::read_to_string(app.join("Chart.lock")).unwrap();
    let newer = vec![("db", "1.0.0", old), ("db", "1.1.0", archive("db", "1.1.0", ""))];
    let second = server(newer).await;
    // The same repository at another address, as far as the lock can tell.
    let moved = |text: &str| text.replace(&first.url(), &second.url());
    chart(&app, "app", &wish(&second.url()));
    let wanted = Chart::from_files(vec![chart_model::File {
        name: "Chart.yaml".into(),
        data: fs::read(app.join("Chart.yaml")).unwrap().into(),
    }])
    .unwrap();
    let mut lock = ChartLock::read(&moved(&lock)).unwrap();
    lock.digest = repo_index::lock_digest(&wanted.metadata.dependencies, &lock.dependencies);
    fs::write(app.join("Chart.lock"), lock.write().unwrap()).unwrap();
    build(&stage, &app).await.unwrap();
    assert_eq!(files(&app), ["db-1.0.0.tgz"]);
    update(&stage, &app).await.unwrap();
    assert_eq!(files(&app), ["db-1.1.0.tgz"]);
}

#[tokio::test]
async fn charts_that_are_there_already_are_locked_as_they_are() {
    let stage = Stage::new();
    let app = stage.path().join("app");
    chart(&app, "app", "[{name: own, version: 1.x}]");
    chart(&app.join("charts/own"), "own", "[]");
    update(&stage, &app).await.unwrap();
    let lock = ChartLock::read(&fs::read_to_string(app.join("Chart.lock")).unwrap()).unwrap();
    assert_eq!(lock.dependencies[0].version, "1.0.0");
    assert!(app.join("charts/own/Chart.yaml").exists());
}

#[tokio::test]
async fn err_dependencies_that_cannot_be_had_leave_everything_as_it_was() {
    let server = server(vec![
        ("db", "1.0.0", archive("db", "1.0.0", "")),
        ("liar", "1.0.0", archive("liar", "1.0.0", "")),
    ])
    .await;
    let url = server.url();
    for (dependencies, words) in [
        (format!("[{{name: db, version: ^2, repository: '{url}'}}]"), format!("can't get a valid version for the dependencies: the chart wants db ^2 from {url}: there is only 1.0.0")),
        (format!("[{{name: none, version: '*', repository: '{url}'}}]"), format!("can't get a valid version for the dependencies: the chart wants none * from {url}: there is no such chart")),
        (format!("[{{name: db, version: one, repository: '{url}'}}]"), "can't get a valid version for the dependencies: the chart wants `db` in version `one`: improper constraint: \"one\"".into()),
        ("[{name: db, version: 1.x, repository: '@gone'}]".into(), "no repository definition for @gone. Please add them via 'tug repo add'".into()),
        ("[{name: db, version: 1.x, repository: 'ftp://h'}]".into(), "the repository `ftp://h` of `db` is no address".into()),
        ("[{name: db, version: 1.x, repository: 'file://../gone'}]".into(), "directory DIR/gone not found".into()),
    ] {
        let stage = Stage::new();
        let app = stage.path().join("app");
        chart(&app, "app", &dependencies);
        let error = update(&stage, &app).await.unwrap_err();
        let here = fs::canonicalize(stage.path()).unwrap();
        assert_eq!(error.replace(&here.display().to_string(), "DIR"), words);
        assert!(!app.join("charts").exists() && !app.join("Chart.lock").exists(), "{dependencies}");
    }
}

#[tokio::test]
async fn err_a_conflict_down_the_tree_is_told_as_a_chain() {
    let server = server(vec![("db", "1.0.0", archive("db", "1.0.0", ""))]).await;
    let stage = Stage::new();
    let (app, api) = (stage.path().join("app"), stage.path().join("api"));
    chart(
        &app,
        "app",
        "[{name: api, version: 1.x, repository: 'file://../api'}]",
    );
    chart(
        &api,
        "api",
        &format!("[{{name: db, version: ^3, repository: '{}'}}]", server.url()),
    );
    let error = update(&stage, &app).await.unwrap_err();
    assert!(
        error.contains(&format!(
            "api 1.0.0 wants db ^3 from {}: there is only 1.0.0",
            server.url()
        )),
        "{error}"
    );
}

#[tokio::test]
async fn err_a_lock_of_other_wishes_or_other_archives() {
    let server = server(vec![("db", "1.0.0", archive("db", "1.0.0", ""))]).await;
    let stage = Stage::new();
    let app = stage.path().join("app");
    let wish = |version: &str| {
        format!(
            "[{{name: db, version: '{version}', repository: '{}'}}]",
            server.url()
        )
    };
    chart(&app, "app", &wish("^1"));
    update(&stage, &app).await.unwrap();
    chart(&app, "app", &wish("1.x"));
    let error = build(&stage, &app).await.unwrap_err();
    assert!(
        error.starts_with(
            "the lock file (Chart.lock) is out of sync with the dependencies file (Chart.yaml)."
        ),
        "{error}"
    );
    chart(&app, "app", &wish("^1"));
    let mut lock = ChartLock::read(&fs::read_to_string(app.join("Chart.lock")).unwrap()).unwrap();
    lock.artifacts[0].digest = Some(Digest::of(b"other"));
    fs::write(app.join("Chart.lock"), lock.write().unwrap()).unwrap();
    let error = build(&stage, &app).await.unwrap_err();
    assert!(error.contains("is locked"), "{error}");
}
