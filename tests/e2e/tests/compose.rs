//! A Compose project as a release: order, names, volumes, an update that fails, the way back.

use std::path::PathBuf;
use std::time::Duration;

use test_support::{Lab, peer, until};

const PORT: u16 = 30090;
const LIMIT: Duration = Duration::from_secs(60);

/// Three services of the image that is always there: one waits for a healthy one, and for one that ends.
const PROJECT: &str = "\
name: shop
services:
  web:
    image: tug/hello:1.0
    environment:
      GREETING: Hello from the shop
    ports: [\"30090:80\"]
    depends_on:
      store: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  store:
    image: tug/hello:1.0
    expose: [\"80\"]
    volumes: [\"data:/data\"]
    healthcheck:
      test: [CMD, get, \"http://127.0.0.1/\"]
      interval: 1s
  migrate:
    image: tug/hello:1.0
    command: [get, \"http://store/\"]
    depends_on:
      store: {condition: service_healthy}
volumes:
  data:
";

fn write(lab: &Lab, name: &str, text: &str) -> String {
    let path: PathBuf = lab.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn greets(lab: &Lab, greeting: &str) {
    until(&format!("an answer with `{greeting}`"), LIMIT, || {
        lab.get(PORT, "/")
            .filter(|(code, body)| *code == 200 && body.contains(greeting))
    });
}

/// The states of the revisions, the oldest first.
fn states(lab: &Lab) -> Vec<String> {
    let history = lab.tug(["history", "shop", "-n", "shop", "-o", "json"]).json();
    let entries = history.as_array().unwrap().iter();
    entries
        .map(|entry| entry["status"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_project_comes_up_in_order_goes_back_by_itself_and_keeps_its_volumes() {
    let Some(lab) = Lab::open() else { return };
    let file = write(&lab, "compose.yaml", PROJECT);

    // Nothing runs: `up` starts the cluster, and everything is ready when it returns.
    let up = lab.tug(["compose", "-f", &file, "up", "-d"]);
    assert!(up.ok().contains(":30090 -> 80"), "{}", up.stdout);
    greets(&lab, "Hello from the shop");
    let containers = lab.tug(["compose", "-f", &file, "ps", "--format", "json"]).json();
    let container = |service: &str| {
        let list = containers.as_array().unwrap();
        list.iter()
            .find(|container| container["service"] == service)
            .unwrap_or_else(|| panic!("no {service}"))
            .clone()
    };
    assert_eq!(container("store")["ready"], true);
    // It asked `store` by its name before `web` was there; had it come too early, it would have failed.
    assert_eq!(container("migrate")["state"], "exited (0)");
    assert!(
        lab.tug(["compose", "-p", "shop", "logs", "store"])
            .ok()
            .contains("GET / 200")
    );

    let better = write(
        &lab,
        "better.yaml",
        &PROJECT.replace("Hello from", "Good evening from"),
    );
    lab.tug(["compose", "-f", &better, "up", "-d"]).ok();
    greets(&lab, "Good evening from the shop");

    let broken = write(
        &lab,
        "broken.yaml",
        &PROJECT.replace("hello:1.0\n    environment", "absent:1.0\n    environment"),
    );
    let failed = lab.tug(["compose", "-f", &broken, "up", "-d"]);
    assert!(failed.err().contains("rolled back"), "{}", failed.stderr);
    greets(&lab, "Good evening from the shop");
    assert_eq!(states(&lab), ["superseded", "superseded", "failed", "deployed"]);

    lab.tug(["rollback", "shop", "1", "-n", "shop"]).ok();
    greets(&lab, "Hello from the shop");

    let volume = |lab: &Lab| {
        let arguments = [
            "get",
            "pvc",
            "data",
            "-n",
            "shop",
            "-o",
            "jsonpath={.spec.volumeName}",
        ];
        peer("kubectl").map(|kubectl| lab.client(&kubectl, arguments).stdout)
    };
    let before = volume(&lab);
    lab.tug(["compose", "-f", &file, "down"]).ok();
    assert_eq!(volume(&lab), before, "volumes outlive `down`");
    lab.tug(["compose", "-f", &file, "up", "-d"]).ok();
    assert_eq!(volume(&lab), before, "and are mounted again");
    greets(&lab, "Hello from the shop");
    assert_eq!(lab.tug(["compose", "ls", "-q"]).ok(), "shop\n");
    lab.tug(["compose", "-f", &file, "down", "-v"]).ok();
    assert_eq!(lab.tug(["compose", "ls", "-q"]).ok(), "");
}

#[test]
fn err_what_is_not_honoured_is_told_with_its_line_and_strictly_refused() {
    let Some(lab) = Lab::open() else { return };
    let file = write(
        &lab,
        "compose.yaml",
        "services:\n  web:\n    image: tug/hello:1.0\n    cpuset: \"0\"\n",
    );
    let told = lab.tug(["compose", "-f", &file, "convert"]);
    assert!(told.ok().contains("kind: Deployment"));
    assert!(
        told.stderr.contains("compose.yaml:4: service `web`: cpuset"),
        "{}",
        told.stderr
    );
    let refused = lab.tug(["compose", "-f", &file, "convert", "--strict"]);
    assert!(refused.err().contains("cpuset"), "{}", refused.stderr);
}
