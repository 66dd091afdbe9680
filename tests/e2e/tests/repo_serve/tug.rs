//! `tug` on both ends: accounts, tokens, and what becomes of a chart on its way.

use std::fs;

use test_support::tug;

use crate::host::Host;

fn tug_says_who_it_is(how: &str) {
    let host = Host::start_guarded(Some(how), true);
    let run = |arguments: &[&str]| host.run(&tug(), [arguments, &["--ca-file", "tls.crt"]].concat());
    let archive = host.pack("web", "1.0.0", &[]);
    let archive = archive.to_str().unwrap();
    let registry = host.host();
    let oci = format!("oci://{registry}/team");
    let web = format!("{oci}/web");
    let login =
        |user: &str, password: &str| run(&["registry", "login", &registry, "-u", user, "-p", password]);
    assert!(run(&["push", archive, &oci]).err().contains("refuses access"));
    login("alice", "wrong").err();
    login("bob", "b-secret").ok();
    run(&["push", archive, &oci]).err();
    login("alice", "a-secret").ok();
    run(&["push", archive, &oci]).ok();
    run(&["push", archive, &format!("oci://{registry}/other")]).err();
    login("bob", "b-secret").ok();
    run(&["pull", &web, "-d", "pulled"]).ok();
    assert!(fs::read(host.folder().join("pulled/web-1.0.0.tgz")).unwrap() == fs::read(archive).unwrap());
    host.run(&tug(), ["registry", "logout", &registry]).ok();
    run(&["pull", &web, "-d", "again"]).err();
    assert!(!host.folder().join("again/web-1.0.0.tgz").exists());
    // The same chart from the same server's index.
    let url = format!("{}/team", host.url());
    run(&["repo", "add", "team", &url]).err();
    let known = ["repo", "add", "team", &url, "--username", "bob", "--password"];
    run(&[&known[..], &["wrong"]].concat()).err();
    run(&[&known[..], &["b-secret"]].concat()).ok();
    let rendered = host.run(&tug(), ["template", "team/web", "--set", "greeting=hi"]);
    assert!(rendered.ok().contains("greeting: hi"));
}

#[test]
fn tug_logs_in_with_passwords() {
    tug_says_who_it_is("basic");
}

#[test]
fn tug_logs_in_with_tokens() {
    tug_says_who_it_is("token");
}
