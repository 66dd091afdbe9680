//! The real helm, version 4 and 3.

use std::fs;
use std::path::Path;

use crate::host::{Host, client};

fn a_chart_goes_up_and_down(name: &str) {
    let Some(helm) = client(name) else { return };
    let host = Host::start(&[]);
    let run = |arguments: &[&str]| host.run(&helm, arguments);
    let (first, second) = (
        host.pack("web", "1.0.0", &[]),
        host.pack("web", "1.1.0+build.5", &[]),
    );
    let oci = format!("oci://{}/team", host.host());
    for archive in [&first, &second] {
        run(&["push", &archive.display().to_string(), &oci, "--plain-http"]).ok();
    }
    // What was pushed to the registry is found in the classic repository.
    run(&["repo", "add", "mine", &format!("{}/team", host.url())]).ok();
    let found = run(&["search", "repo", "mine/web", "--versions", "-o", "json"]);
    assert!(
        found.ok().contains("1.1.0+build.5") && found.ok().contains("\"1.0.0\""),
        "{}",
        found.stdout
    );
    run(&[
        "pull",
        "mine/web",
        "-d",
        ".",
        "--version",
        "1.1.0+build.5",
        "--untar",
        "--untardir",
        "out",
    ])
    .ok();
    assert!(host.folder().join("out/web/values.yaml").exists());
    // And what came by ChartMuseum's way, or into the folder, is pulled from the registry.
    let archive = fs::read(host.pack("db", "2.0.0", &[])).unwrap();
    assert_eq!(host.ask("POST", "/api/team/charts", &archive).unwrap().0, 201);
    fs::create_dir(host.folder().join("pulled")).unwrap();
    run(&[
        "pull",
        &format!("{oci}/db"),
        "--version",
        "2.x",
        "--plain-http",
        "-d",
        "pulled",
    ])
    .ok();
    assert!(fs::read(host.folder().join("pulled/db-2.0.0.tgz")).unwrap() == archive);
    let shown = run(&[
        "show",
        "chart",
        &format!("{oci}/web"),
        "--version",
        "^1",
        "--plain-http",
    ]);
    assert!(shown.ok().contains("version: 1.1.0+build.5"));
    for reference in ["mine/web", &format!("{oci}/web")] {
        // Version 3 asks a cluster even when nothing is installed.
        let mut arguments = match name {
            "helm3" => vec!["template", "hello", reference],
            _ => vec!["install", "hello", reference, "--dry-run=client"],
        };
        arguments.extend(["--set", "greeting=hi"]);
        if reference.starts_with("oci") {
            arguments.push("--plain-http");
        }
        assert!(run(&arguments).ok().contains("greeting: hi"), "{reference}");
    }
}

#[test]
fn helm_pushes_searches_pulls_and_installs() {
    a_chart_goes_up_and_down("helm");
}

#[test]
fn helm_3_pushes_searches_pulls_and_installs() {
    a_chart_goes_up_and_down("helm3");
}

fn write_parent(folder: &Path, repositories: [&str; 2]) {
    let [classic, oci] = repositories;
    fs::create_dir_all(folder.join("parent")).unwrap();
    let metadata = format!(
        "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n- name: web\n  version: ~1.0\n  repository: {classic}\n- name: db\n  version: ^2\n  repository: {oci}\n"
    );
    fs::write(folder.join("parent/Chart.yaml"), metadata).unwrap();
}

#[test]
fn helm_updates_dependencies_from_both_sides_behind_tls_and_accounts() {
    let Some(helm) = client("helm") else { return };
    let host = Host::start_guarded(None, true);
    let run = |arguments: &[&str]| host.run(&helm, arguments);
    let (web, db) = (host.pack("web", "1.0.3", &[]), host.pack("db", "2.5.0", &[]));
    let (web, db) = (web.display().to_string(), db.display().to_string());
    let registry = host.host();
    let oci = format!("oci://{registry}/team");
    let trusted = ["--ca-file", "tls.crt"];
    let with = |arguments: &[&str]| run(&[arguments, &trusted].concat());
    with(&["push", &web, &oci]).err();
    with(&["registry", "login", &registry, "-u", "alice", "-p", "wrong"]).err();
    with(&["registry", "login", &registry, "-u", "bob", "-p", "b-secret"]).ok();
    with(&["push", &web, &oci]).err();
    with(&["registry", "logout", &registry]);
    with(&["registry", "login", &registry, "-u", "alice", "-p", "a-secret"]).ok();
    with(&["push", &web, &oci]).ok();
    with(&["push", &db, &oci]).ok();
    let url = format!("{}/team", host.url());
    with(&["repo", "add", "team", &url]).err();
    with(&[
        "repo",
        "add",
        "team",
        &url,
        "--username",
        "bob",
        "--password",
        "b-secret",
    ])
    .ok();
    write_parent(host.folder(), [&url, &oci]);
    with(&["dependency", "update", "parent"]).ok();
    for file in ["web-1.0.3.tgz", "db-2.5.0.tgz"] {
        assert!(host.folder().join("parent/charts").join(file).exists(), "{file}");
    }
}

#[test]
fn helm_uses_tokens() {
    let Some(helm) = client("helm") else { return };
    let host = Host::start_guarded(Some("token"), false);
    let run = |arguments: &[&str]| host.run(&helm, arguments);
    let archive = host.pack("web", "1.0.0", &[]).display().to_string();
    let oci = format!("oci://{}/team", host.host());
    run(&[
        "registry",
        "login",
        &host.host(),
        "-u",
        "alice",
        "-p",
        "a-secret",
        "--plain-http",
    ])
    .ok();
    run(&["push", &archive, &oci, "--plain-http"]).ok();
    run(&[
        "push",
        &archive,
        &format!("oci://{}/other", host.host()),
        "--plain-http",
    ])
    .err();
    run(&["pull", &format!("{oci}/web"), "--plain-http", "--untar"]).ok();
    assert!(host.folder().join("web/values.yaml").exists());
}
