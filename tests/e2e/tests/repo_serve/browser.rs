//! The pages in a real browser: read, searched and clicked through, with scripts and without.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::host::{Host, client};

/// A browser without a window that does what it is told over two pipes, by the protocol of its developer tools.
struct Browser {
    _folder: tempfile::TempDir,
    child: Child,
    orders: File,
    told: BufReader<File>,
    session: Option<String>,
    last: u64,
    /// What the browser complained about: files that are not there, what the policy of a page forbids.
    complaints: Vec<Value>,
}

impl Browser {
    fn open(program: &Path, with_scripts: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("tug-browser-").tempdir().unwrap();
        let (orders, told) = (folder.path().join("orders"), folder.path().join("told"));
        assert!(
            Command::new("mkfifo")
                .args([&orders, &told])
                .status()
                .unwrap()
                .success()
        );
        // The third and the fourth file of the process are its pipes.
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 3<orders 4>told")
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--remote-debugging-pipe", "--window-size=1200,900"])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .arg("about:blank")
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self {
            child,
            orders: File::options().write(true).open(orders).unwrap(),
            told: BufReader::new(File::open(told).unwrap()),
            _folder: folder,
            session: None,
            last: 0,
            complaints: Vec::new(),
        };
        let target = browser.order("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.order("Target.attachToTarget", &target);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Log", "DOM", "Runtime"] {
            browser.order(&format!("{domain}.enable"), &json!({}));
        }
        let no_scripts = json!({"value": !with_scripts});
        browser.order("Emulation.setScriptExecutionDisabled", &no_scripts);
        browser
    }

    fn hear(&mut self) -> Value {
        let mut message = Vec::new();
        self.told.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser ended");
        let message: Value = serde_json::from_slice(&message).unwrap();
        let method = message["method"].as_str().unwrap_or_default();
        if [
            "Log.entryAdded",
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
        ]
        .contains(&method)
        {
            self.complaints.push(message["params"].clone());
        }
        message
    }

    /// Gives an order and waits until it is done.
    fn order(&mut self, method: &str, parameters: &Value) -> Value {
        self.send(method, parameters);
        loop {
            let message = self.hear();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Does something that leads to another page, and waits for it.
    fn and_load(&mut self, work: impl FnOnce(&mut Self)) {
        // What was told of the page before is heard with the answer to an order.
        work(self);
        while self.hear()["method"] != "Page.loadEventFired" {}
    }

    fn visit(&mut self, url: &str) {
        self.and_load(|browser| {
            browser.send("Page.navigate", &json!({"url": url}));
        });
    }

    /// Gives an order without waiting: the answer may come after what it leads to.
    fn send(&mut self, method: &str, parameters: &Value) {
        self.last += 1;
        let mut order = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).unwrap();
    }

    fn find(&mut self, selector: &str) -> Value {
        let document = self.order("DOM.getDocument", &json!({}));
        let root = &document["root"]["nodeId"];
        let found = self.order(
            "DOM.querySelector",
            &json!({"nodeId": root, "selector": selector}),
        );
        assert_ne!(found["nodeId"], 0, "nothing is `{selector}`");
        found["nodeId"].clone()
    }

    /// What is at some place of the page, as the browser has it.
    fn html(&mut self, selector: &str) -> String {
        let node = self.find(selector);
        let html = self.order("DOM.getOuterHTML", &json!({"nodeId": node}));
        html["outerHTML"].as_str().unwrap().to_owned()
    }

    /// The middle of something, where it is seen.
    fn middle(&mut self, selector: &str) -> (f64, f64) {
        let node = self.find(selector);
        self.order("DOM.scrollIntoViewIfNeeded", &json!({"nodeId": node}));
        let quads = self.order("DOM.getContentQuads", &json!({"nodeId": node}));
        let quad: Vec<f64> = serde_json::from_value(quads["quads"][0].clone()).unwrap();
        ((quad[0] + quad[4]) / 2.0, (quad[1] + quad[5]) / 2.0)
    }

    /// Clicks as a hand does.
    fn click(&mut self, selector: &str) {
        let (x, y) = self.middle(selector);
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.send("Input.dispatchMouseEvent", &click);
        }
    }

    fn type_into(&mut self, selector: &str, text: &str) {
        let node = self.find(selector);
        self.order("DOM.focus", &json!({"nodeId": node}));
        self.order("Input.insertText", &json!({"text": text}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const README: &str = "# Hello\n\n**read** me\n\n<script>document.title = 'taken'</script>\n\n<img src=x onerror=\"document.title = 'taken'\">\n";

fn a_person_looks_around(with_scripts: bool) {
    let Some(program) = client("chromium") else { return };
    let host = Host::start(&[]);
    for version in ["1.0.0", "1.1.0"] {
        let archive = fs::read(host.pack("web", version, &[("README.md", README)])).unwrap();
        host.ask("POST", "/api/charts", &archive).unwrap();
    }
    let archive = fs::read(host.pack("db", "2.0.0", &[])).unwrap();
    host.ask("POST", "/api/charts", &archive).unwrap();
    let mut browser = Browser::open(&program, with_scripts);
    browser.visit(&format!("{}/", host.url()));
    let home = browser.html("main");
    assert!(
        home.contains("a chart of tests") && home.contains("/-/db"),
        "{home}"
    );
    // The style is there: cards stand beside each other.
    let (web, db) = (
        browser.middle("a[href='/-/web']"),
        browser.middle("a[href='/-/db']"),
    );
    assert!(
        (web.1 - db.1).abs() < 1.0 && (web.0 - db.0).abs() > 100.0,
        "{web:?} {db:?}"
    );
    // Searched by typing and a click, then the chart, then a version of it.
    browser.type_into("input[name=q]", "WEB");
    browser.and_load(|browser| browser.click("form.search button"));
    let found = browser.html("main");
    assert!(found.contains("/-/web") && !found.contains("/-/db"), "{found}");
    browser.and_load(|browser| browser.click("a[href='/-/web']"));
    let chart = browser.html("main");
    for part in [
        "<strong>read</strong> me",
        "1.1.0",
        "tug install my-web",
        "greeting: hello",
        "href=\"/charts/web-1.1.0.tgz\"",
    ] {
        assert!(chart.contains(part), "{part}: {chart}");
    }
    browser.and_load(|browser| browser.click("a[href='/-/web/1.0.0']"));
    assert!(browser.html("h1").contains("1.0.0"));
    // What strangers wrote did not run.
    assert!(browser.html("title").contains("web 1.0.0"));
    browser.and_load(|browser| browser.click("a[href='/_/images']"));
    assert!(browser.html("main").contains("Registry"));
    assert_eq!(
        browser.complaints,
        Vec::<Value>::new(),
        "the browser has nothing to complain about"
    );
}

#[test]
fn a_browser_without_scripts_shows_the_pages() {
    a_person_looks_around(false);
}

#[test]
fn a_browser_with_scripts_shows_the_pages_and_runs_nothing_of_strangers() {
    a_person_looks_around(true);
}
