//! A Compose project as a release: order, names, volumes, an update that fails, the way back.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use test_support::{Engine, Lab, peer, repository, skip, until};

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

/// The image with a shell, and with files where a volume is mounted.
fn load_box(lab: &Lab) -> bool {
    if peer("busybox").is_none() || peer("python3").is_none() {
        skip("busybox-static or python3 is not installed, from which an image is made");
        return false;
    }
    lab.load_image(
        "test/box:1",
        ["--file", "/seeded/file=from the image", "--", "sh"],
    );
    true
}

/// A service that ticks until it is ended, and one that fails, for those who ask for it.
const TICKING: &str = "\
name: ticking
services:
  box:
    image: test/box:1
    command: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo tick $$i; sleep 0.2; done']
    volumes: [\"seeded:/seeded\", \"bare:/bare\"]
    stop_grace_period: 1s
  tests:
    image: test/box:1
    profiles: [tests]
    command: [sh, -c, 'echo they fail; exit 7']
    depends_on: [box]
volumes: {seeded: , bare: }
";

/// Starts `tug` in the lab, with what it says in a file.
fn start(lab: &Lab, name: &str, arguments: &[&str]) -> (std::process::Child, PathBuf) {
    let said = lab.folder().join(name);
    let file = std::fs::File::create(&said).unwrap();
    // Whoever runs the tests in the background ignores interrupts, and so would what they start.
    let mut command = lab.command("env");
    command
        .arg("--default-signal=INT")
        .arg(test_support::tug())
        .args(arguments)
        .stderr(file.try_clone().unwrap())
        .stdout(file);
    let child = lab.inside(move || command.spawn()).unwrap();
    (child, said)
}

fn says(said: &std::path::Path, text: &str) {
    until(&format!("`{text}` is said"), LIMIT, || {
        std::fs::read_to_string(said)
            .unwrap()
            .contains(text)
            .then_some(())
    });
}

fn signal(child: &std::process::Child, signal: &str) {
    // It may have ended by itself.
    let _ = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
}

fn interrupt(child: &mut std::process::Child) -> i32 {
    signal(child, "-INT");
    let status = child.wait().unwrap();
    // As shells have it.
    status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap()
}

#[test]
fn commands_run_in_containers_and_in_new_ones_and_volumes_begin_with_the_files_of_the_image() {
    let Some(lab) = Lab::open() else { return };
    if !load_box(&lab) {
        return;
    }
    let file = write(&lab, "compose.yaml", TICKING);
    let compose = |words: &[&str]| lab.tug(["compose", "-f", &file].iter().chain(words));
    compose(&["up", "-d"]).ok();

    assert_eq!(
        compose(&["exec", "-T", "box", "cat", "/seeded/file"]).ok(),
        "from the image"
    );
    let there = compose(&[
        "exec",
        "-T",
        "-e",
        "A=1",
        "-w",
        "/bare",
        "box",
        "sh",
        "-c",
        "echo $A; pwd; ls",
    ]);
    assert_eq!(there.ok(), "1\n/bare\n");
    let codes = |words: &[&str], expected: i32| {
        let output = compose(words);
        assert_eq!(
            output.code, expected,
            "{words:?} {}{}",
            output.stdout, output.stderr
        );
    };
    codes(&["exec", "-T", "box", "sh", "-c", "exit 5"], 5);
    codes(&["exec", "-T", "box", "absent"], 127);
    assert!(
        compose(&["exec", "-T", "tests", "true"])
            .err()
            .contains("is not running")
    );
    assert!(
        compose(&["exec", "-T", "-u", "1", "box", "true"])
            .err()
            .contains("--user")
    );
    let with_input = |input: &str, words: &[&str]| {
        let mut command = lab.command(test_support::tug());
        command
            .args(["compose", "-f", &file, "exec", "-T", "box"])
            .args(words);
        command.stdin(std::fs::File::open(input).unwrap());
        lab.run(command)
    };
    assert_eq!(with_input(&file, &["cat", "-"]).ok(), TICKING);
    // Input without end does not outlive the command.
    let ended = with_input("/dev/zero", &["sh", "-c", "echo said; exit 3"]);
    assert_eq!((ended.stdout.as_str(), ended.code), ("said\n", 3));

    // What is written into a volume that has something is kept, whatever the image has.
    compose(&["exec", "-T", "box", "sh", "-c", "echo mine > /seeded/file"]).ok();
    let run = compose(&["run", "--rm", "-T", "box", "cat", "/seeded/file"]);
    assert_eq!(run.ok(), "mine\n");
    codes(&["run", "--name", "left", "-T", "tests"], 7);
    codes(
        &[
            "run",
            "--rm",
            "-T",
            "-e",
            "CODE=4",
            "box",
            "sh",
            "-c",
            "exit $CODE",
        ],
        4,
    );
    // What `run` left is no service: it is neither stopped, nor waited for, nor asked to run commands.
    compose(&["stop"]).ok();
    compose(&["up", "-d"]).ok();
    let listed = compose(&["ps", "--format", "json"]).json();
    let states: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["running", "exited (7)"]);
    compose(&["down", "-v"]).ok();
    until("nothing is left", LIMIT, || {
        (compose(&["ps", "-q"]).ok() == "").then_some(())
    });
}

#[test]
fn logs_are_followed_and_what_is_attached_is_stopped_by_an_interrupt() {
    let Some(lab) = Lab::open() else { return };
    if !load_box(&lab) {
        return;
    }
    let file = write(&lab, "compose.yaml", TICKING);
    lab.tug(["cluster", "start"]).ok();

    let (mut up, said) = start(&lab, "said", &["compose", "-f", &file, "up"]);
    says(&said, " | tick 2\n");
    says(&said, "`ticking` is up");
    let following = ["compose", "-p", "ticking", "logs", "-f", "--tail", "1"];
    let (mut logs, followed) = start(&lab, "followed", &following);
    until("lines come as they are written", LIMIT, || {
        let text = std::fs::read_to_string(&followed).unwrap();
        (text.lines().filter(|line| line.contains(" | tick ")).count() > 3).then_some(())
    });
    assert_eq!(interrupt(&mut logs), 130);
    assert_eq!(interrupt(&mut up), 130);
    assert_eq!(lab.tug(["compose", "-p", "ticking", "ps", "-q"]).ok(), "");

    // It comes up again, and goes down with the one that is asked for, and with its code.
    let tests = lab.tug(["compose", "-f", &file, "up", "--exit-code-from", "tests", "tests"]);
    assert_eq!(tests.code, 7, "{}{}", tests.stdout, tests.stderr);
    assert!(tests.stdout.contains(" | they fail\n"), "{}", tests.stdout);
    assert_eq!(lab.tug(["compose", "-p", "ticking", "ps", "-q"]).ok(), "");

    // `up SERVICE` brings up that one, and `start` what was stopped.
    lab.tug(["compose", "-f", &file, "down"]).ok();
    lab.tug(["compose", "-f", &file, "up", "-d", "box"]).ok();
    lab.tug(["compose", "-f", &file, "stop", "box"]).ok();
    assert_eq!(lab.tug(["compose", "-f", &file, "ps", "-q"]).ok(), "");
    lab.tug(["compose", "-f", &file, "start", "box"]).ok();
    until("it runs again", LIMIT, || {
        (lab.tug(["compose", "-f", &file, "exec", "-T", "box", "true"])
            .code
            == 0)
            .then_some(())
    });
}

#[test]
fn what_changes_is_copied_into_the_container_as_it_is_written() {
    let Some(lab) = Lab::open() else { return };
    if !load_box(&lab) {
        return;
    }
    std::fs::create_dir(lab.folder().join("source")).unwrap();
    let file = write(
        &lab,
        "compose.yaml",
        "name: watched\nservices:\n  box:\n    image: test/box:1\n    command: [sleep, '1000']\n    \
         stop_grace_period: 1s\n    develop:\n      watch: [{action: sync, path: ./source, target: /copied}]\n",
    );
    let (mut watch, said) = start(&lab, "said", &["compose", "-f", &file, "watch"]);
    says(&said, "watching 1 folder");
    write(&lab, "source/file", "new");
    let arguments = ["compose", "-f", &file, "exec", "-T", "box", "cat", "/copied/file"];
    until("the file is in the container", LIMIT, || {
        (lab.tug(arguments).stdout == "new").then_some(())
    });
    interrupt(&mut watch);
}

const BUILT: &str = "\
name: built
services:
  box:
    build: {context: ./source, dockerfile_inline: \"FROM test/box:1\\nCOPY note /note\\n\"}
    command: [sleep, '1000']
    stop_grace_period: 1s
";

#[test]
fn err_to_build_takes_an_engine() {
    let Some(lab) = Lab::open() else { return };
    let file = write(&lab, "compose.yaml", BUILT);
    for words in [&["build"][..], &["up", "-d"]] {
        let mut command = lab.command(test_support::tug());
        command
            .args(["compose", "-f", &file])
            .args(words)
            .env("DOCKER_HOST", "unix:///absent/docker.sock")
            .env("CONTAINER_HOST", "unix:///absent/podman.sock")
            .env("PATH", lab.folder());
        let refused = lab.run(command);
        assert!(
            refused.err().contains("there is no Docker engine"),
            "{}",
            refused.stderr
        );
        assert!(refused.err().contains("tug image load"), "{}", refused.stderr);
    }
}

#[test]
fn images_are_built_by_an_engine_and_pods_follow_them() {
    let Some(lab) = Lab::open() else { return };
    let Some(docker) = peer("docker") else {
        return skip("there is no docker");
    };
    if !load_box(&lab) {
        return;
    }
    // It makes the lab's loopback, which the engine leaves alone.
    lab.tug(["cluster", "start"]).ok();
    let Some(engine) = Engine::docker_in(&lab, &[]) else {
        return;
    };
    let with_engine = |program: PathBuf, arguments: &[&str]| {
        let mut command = lab.command(program);
        command.args(arguments).env("DOCKER_HOST", engine.host());
        lab.run(command)
    };
    let image = lab.folder().join("image.tar").display().to_string();
    with_engine(docker.clone(), &["load", "-i", &image]).ok();
    let file = write(&lab, "compose.yaml", BUILT);
    std::fs::create_dir(lab.folder().join("source")).unwrap();
    for note in ["one", "two"] {
        write(&lab, "source/note", note);
        with_engine(
            test_support::tug(),
            &["compose", "-f", &file, "up", "-d", "--build"],
        )
        .ok();
        let read = lab.tug(["compose", "-f", &file, "exec", "-T", "box", "cat", "/note"]);
        assert_eq!(read.ok(), note);
    }
    drop(engine);
}

/// The address where the shop of six services answers.
const SHOP_PORT: u16 = 30091;

/// Builds the shop's images and loads them; `false`, with a word, where their packages are not installed.
fn load_shop(lab: &Lab) -> bool {
    let Some(images) = lab.shop_images() else {
        return false;
    };
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
