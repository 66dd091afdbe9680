//! A Compose project as a release: order, names, volumes, an update that fails, the way back.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use test_support::{Lab, peer, repository, skip, until};

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

/// The address where the shop of six services answers.
const SHOP_PORT: u16 = 30091;

/// Builds the shop's images and loads them; `false`, with a word, where their packages are not installed.
fn load_shop(lab: &Lab) -> bool {
    for (program, package) in [
        ("busybox", "busybox-static"),
        ("nginx", "nginx-light"),
        ("redis-server", "redis-server"),
        ("python3", "python3"),
    ] {
        if peer(program).is_none() {
            skip(&format!(
                "{package} is not installed, from which an image is made"
            ));
            return false;
        }
    }
    if !std::path::Path::new("/usr/lib/postgresql/15/bin/postgres").exists() {
        skip("postgresql-15 is not installed, from which an image is made");
        return false;
    }
    let images = lab.folder().join("images");
    std::fs::create_dir(&images).unwrap();
    let mut build = lab.command("bash");
    build.arg(shop().join("images.sh")).arg(&images);
    lab.run(build).ok();
    for archive in std::fs::read_dir(&images).unwrap() {
        let archive = archive.unwrap().path();
        lab.tug(["image".as_ref(), "load".as_ref(), archive.as_os_str()])
            .ok();
    }
    true
}

fn shop() -> PathBuf {
    repository().join("tests/e2e/projects/shop")
}

/// `tug compose` on the shop, with variables of the environment.
fn compose<const N: usize>(
    lab: &Lab,
    variables: &[(&str, &str)],
    arguments: [&str; N],
) -> test_support::Output {
    let mut command: Command = lab.command(test_support::tug());
    command
        .args(["compose", "--project-directory"])
        .arg(shop())
        .arg("-f")
        .arg(shop().join("compose.yaml"))
        .args(arguments)
        .envs(variables.iter().copied());
    lab.run(command)
}

/// A visit of the shop: its greeting, and how many visits, orders and ticks there were.
fn visit(lab: &Lab) -> Option<(String, [u64; 3])> {
    let (200, body) = lab.get(SHOP_PORT, "/")? else {
        return None;
    };
    let (greeting, counts) = body.trim().split_once(": ")?;
    let mut numbers = counts.split(' ').map(|pair| pair.split_once('=')?.1.parse().ok());
    let mut next = || numbers.next().flatten();
    Some((greeting.to_owned(), [next()?, next()?, next()?]))
}

#[test]
fn six_services_come_up_in_order_keep_their_data_and_go_back() {
    let Some(lab) = Lab::open() else { return };
    if !load_shop(&lab) {
        return;
    }
    compose(&lab, &[], ["up", "-d"]).ok();

    // A service that came up before what it depends on would have failed, and been started again.
    let containers = compose(&lab, &[], ["ps", "--format", "json"]).json();
    let containers = containers.as_array().unwrap();
    let services = ["api", "cron", "redis", "store", "web", "worker"];
    let seen: Vec<&str> = containers
        .iter()
        .map(|container| container["service"].as_str().unwrap())
        .collect();
    assert_eq!(seen, services);
    for container in containers {
        assert_eq!(container["ready"], true, "{container}");
        assert_eq!(container["restarts"], 0, "{container}");
    }

    // Names resolve, from web to api to redis and store, and from worker and cron; configs are mounted.
    let (greeting, [first, ..]) = until("the shop answers", LIMIT, || visit(&lab));
    assert_eq!(greeting, "hello");
    until("an order for a visit, and a tick of the clock", LIMIT, || {
        visit(&lab).filter(|(_, [visits, orders, ticks])| *visits > first && *orders > 0 && *ticks > 0)
    });

    // A bad image goes back by itself, and nobody notices.
    let bad = compose(
        &lab,
        &[("API_IMAGE", "shop/redis:1"), ("GREETING", "broken")],
        ["up", "-d", "--timeout", "10"],
    );
    assert!(bad.err().contains("rolled back"), "{}", bad.stderr);
    assert_eq!(until("the shop answers again", LIMIT, || visit(&lab)).0, "hello");
    assert_eq!(states(&lab), ["superseded", "failed", "deployed"]);

    // A good update comes, and goes back where it is told to.
    compose(&lab, &[("GREETING", "good evening")], ["up", "-d"]).ok();
    until("the new greeting", LIMIT, || {
        visit(&lab).filter(|(greeting, _)| greeting == "good evening")
    });
    lab.tug(["rollback", "shop", "-n", "shop"]).ok();
    until("the old greeting", LIMIT, || {
        visit(&lab).filter(|(greeting, _)| greeting == "hello")
    });

    // Orders outlive `down`, visits do not: redis has no volume.
    let (_, [_, orders, _]) = until("the shop answers", LIMIT, || visit(&lab));
    compose(&lab, &[], ["down"]).ok();
    assert_eq!(visit(&lab), None);
    compose(&lab, &[], ["up", "-d"]).ok();
    let (_, [visits, kept, _]) = until("the shop answers", LIMIT, || visit(&lab));
    assert!(kept >= orders, "{kept} of {orders} orders");
    assert_eq!(visits, 1);
}
