//! The pages in a real browser, where there is one.

use std::fs;

use test_support::{peer, skip};

use crate::host::Host;

#[test]
fn a_browser_without_scripts_shows_the_pages() {
    // Too large to be asked for wherever tests run.
    let Some(browser) = peer("chromium") else {
        test_skip();
        return;
    };
    let host = Host::start(&[]);
    let archive = fs::read(host.pack("web", "1.0.0", &[("README.md", "# Hello\n\n**read** me\n")])).unwrap();
    host.ask("POST", "/api/charts", &archive).unwrap();
    for (path, wanted) in [("/", "a chart of tests"), ("/-/web", "<strong>read</strong> me")] {
        let done = host.run(
            &browser,
            [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--blink-settings=scriptEnabled=false",
                "--dump-dom",
                &format!("{}{path}", host.url()),
            ],
        );
        assert!(done.ok().contains(wanted), "{path}: {}", done.stdout);
    }
}

fn test_skip() {
    if !test_support::required() {
        skip("`chromium` is not installed");
    }
}
