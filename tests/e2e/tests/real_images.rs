//! Real programs from a real registry, in pods: nginx behind an Ingress, redis with claims, PostgreSQL that keeps its data.

use std::process::{Child, Stdio};
use std::time::Duration;

use test_support::{Engine, Kubectl, Lab, Registry, peer, repository, skip, tug, until};

const LIMIT: Duration = Duration::from_secs(120);

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What makes the containers of a test's cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Embedded,
    Docker,
}

/// A laboratory with a cluster. It must end before the engine does, which is why [`Shop::close`] is to be called.
struct Shop {
    _engine: Option<Engine>,
    kubectl: Kubectl,
    _registry: Registry,
}

impl Shop {
    /// Opens the shop; `None`, with a word, where something is not installed.
    fn open(runtime: Runtime) -> Option<Self> {
        let kubectl = Kubectl::open()?;
        let engine = match runtime {
            Runtime::Embedded => None,
            Runtime::Docker => Some(Engine::docker_in(&kubectl.lab, Engine::NO_NETWORKS)?),
        };
        let lab = &kubectl.lab;
        // The cluster brings the loopback of the laboratory up.
        let mut start = lab.command(tug());
        start.args(["cluster", "start"]);
        if let Some(engine) = &engine {
            start
                .args(["--runtime", "docker"])
                .env("DOCKER_HOST", engine.host());
        }
        lab.run(start).ok();
        let registry = registry(&kubectl.lab)?;
        Some(Self {
            _engine: engine,
            kubectl,
            _registry: registry,
        })
    }

    fn close(self) {
        self.kubectl.lab.tug(["cluster", "delete"]).ok();
    }
}

/// A registry that holds the images; `None`, with a word, where something is not installed.
fn registry(lab: &Lab) -> Option<Registry> {
    let images = lab.shop_images()?;
    let archive = |image: &str| images.join(format!("{image}.tar"));
    let (web, redis, store) = (archive("web"), archive("redis"), archive("store"));
    let images = [
        ("shop/web:1", &*web),
        ("shop/redis:1", &*redis),
        ("shop/store:1", &*store),
    ];
    Registry::start(lab, &images)
}

fn release(kubectl: &Kubectl, verb: &str, greeting: &str) {
    let chart = repository().join("tests/e2e/projects/real");
    let greeting = format!("greeting={greeting}");
    kubectl
        .lab
        .tug([verb, "real", chart.to_str().unwrap(), "--set", &greeting])
        .ok();
}

/// Deletes a pod, and waits until another that is ready stands in its place.
fn replace(kubectl: &Kubectl, selector: &str) {
    let ready = || {
        let pods = kubectl.run(&format!(
            "get pods -l {selector} -o jsonpath={{range.items[*]}}{{.metadata.uid}}:{{.status.conditions[?(@.type=='Ready')].status}}{{end}}"
        ));
        pods.ok().to_owned()
    };
    let before = ready();
    kubectl.run(&format!("delete pod -l {selector}")).ok();
    let old = before.split(':').next().unwrap().to_owned();
    until("another pod is ready", LIMIT, || {
        let now = ready();
        (now.ends_with(":True") && !now.contains(&old)).then_some(())
    });
}

fn databases_keep_their_data(runtime: Runtime) {
    let Some(shop) = Shop::open(runtime) else { return };
    let kubectl = &shop.kubectl;
    release(kubectl, "install", "first");
    let version = kubectl.run("get nodes -o jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}");
    let begin = if runtime == Runtime::Docker {
        "docker://"
    } else {
        "tug://"
    };
    assert!(version.ok().starts_with(begin), "{}", version.stdout);

    let cache = |words: &str| {
        kubectl
            .run(&format!("exec cache-0 -- redis-cli {words}"))
            .ok()
            .to_owned()
    };
    assert_eq!(cache("set colour green"), "OK\n");
    let query = |text: &str| {
        let arguments = [
            "exec",
            "deploy/database",
            "--",
            "psql",
            "-h",
            "127.0.0.1",
            "-U",
            "shop",
        ];
        let rest = ["-d", "postgres", "-At", "-c", text];
        let words: Vec<&str> = arguments.into_iter().chain(rest).collect();
        kubectl.args(&words).ok().to_owned()
    };
    query("create table colours (name text)");
    query("insert into colours values ('green'), ('blue')");

    replace(kubectl, "statefulset.kubernetes.io/pod-name=cache-0");
    assert_eq!(cache("get colour"), "green\n");
    // Every member has a name and a volume of its own.
    let other = kubectl.run("exec cache-0 -- redis-cli -h cache-1.cache get colour");
    assert_eq!(other.ok(), "\n");
    replace(kubectl, "app=database");
    assert_eq!(query("select count(*) from colours"), "2\n");
    shop.close();
}

#[test]
fn databases_keep_their_data_when_their_pods_are_deleted() {
    databases_keep_their_data(Runtime::Embedded);
}

#[test]
fn databases_keep_their_data_when_their_pods_are_deleted_on_docker() {
    databases_keep_their_data(Runtime::Docker);
}

#[test]
fn a_rolling_update_under_load_fails_no_request() {
    rolling_update_under_load(Runtime::Embedded);
}

#[test]
fn a_rolling_update_under_load_fails_no_request_on_docker() {
    rolling_update_under_load(Runtime::Docker);
}

fn rolling_update_under_load(runtime: Runtime) {
    let Some(wrk) = peer("wrk") else {
        return skip("wrk is not installed");
    };
    let Some(shop) = Shop::open(runtime) else { return };
    let kubectl = &shop.kubectl;
    release(kubectl, "install", "first");
    let lab = &kubectl.lab;
    let greeting = || {
        let mut ask = lab.command("curl");
        ask.args(["--silent", "--header", "Host: shop.example", "http://127.0.0.1/"]);
        lab.run(ask).stdout
    };
    until("the ingress answers", LIMIT, || {
        (greeting() == "first\n").then_some(())
    });

    let mut load = lab.command(&wrk);
    load.args(["--threads", "1", "--connections", "8", "--duration", "10m"])
        .args(["--header", "Host: shop.example", "http://127.0.0.1/"])
        .stdout(Stdio::piped());
    let mut load = Running(lab.inside(move || load.spawn()).unwrap());
    // Two updates: the second finds pods that are as old as the load.
    for next in ["second", "third"] {
        release(kubectl, "upgrade", next);
        let expected = format!("{next}\n");
        until("the new greeting", LIMIT, || {
            (greeting() == expected).then_some(())
        });
        let ended = "get pods -l app=web -o jsonpath={.items[*].metadata.name}";
        until("the old pods are gone", LIMIT, || {
            (kubectl.run(ended).ok().split(' ').count() == 3).then_some(())
        });
    }
    // An interrupt makes it say what it saw.
    let mut interrupt = lab.command("kill");
    interrupt.args(["-INT", &load.0.id().to_string()]);
    lab.run(interrupt).ok();
    let mut report = String::new();
    std::io::Read::read_to_string(load.0.stdout.as_mut().unwrap(), &mut report).unwrap();
    let requests = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
    assert!(requests.is_some_and(|count| count > 100), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    assert!(!report.contains("Socket errors"), "{report}");
    drop(load);
    shop.close();
}
