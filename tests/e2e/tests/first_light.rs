//! The main job: a chart installed on the embedded default, answering, upgraded, rolled back and gone again.

use std::time::Duration;

use test_support::{Lab, repository, until};

const PORT: u16 = 30080;
const LIMIT: Duration = Duration::from_secs(60);

fn chart() -> String {
    repository().join("charts/hello").display().to_string()
}

fn greets(lab: &Lab, greeting: &str) -> String {
    until(&format!("an answer with `{greeting}`"), LIMIT, || {
        lab.get(PORT, "/")
            .filter(|(code, body)| *code == 200 && body.contains(greeting))
            .map(|(_, body)| body)
    })
}

#[test]
fn a_chart_is_installed_upgraded_rolled_back_and_removed() {
    let Some(lab) = Lab::open() else { return };
    let chart = chart();

    // Nothing is configured and nothing runs: the install starts the cluster, and the service answers when it returns.
    let installed = lab.tug(["install", "hello", &chart]);
    assert!(
        installed.ok().contains("http://127.0.0.1:30080"),
        "{}",
        installed.stdout
    );
    let (code, body) = lab.get(PORT, "/").expect("an installed release answers");
    assert_eq!(code, 200);
    assert!(body.contains("Hello from tug"), "{body}");

    lab.tug([
        "upgrade",
        "hello",
        &chart,
        "--set",
        "greeting=Good evening",
        "--set",
        "replicas=2",
    ])
    .ok();
    greets(&lab, "Good evening");
    assert_eq!(
        lab.tug(["get", "values", "hello", "-o", "json"]).json()["greeting"],
        "Good evening"
    );

    lab.tug(["rollback", "hello"]).ok();
    greets(&lab, "Hello from tug");
    let history = lab.tug(["history", "hello", "-o", "json"]).json();
    let states: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["status"].clone())
        .collect();
    assert_eq!(states, ["superseded", "superseded", "deployed"]);

    let list = lab.tug(["list", "-o", "json"]).json();
    assert_eq!(
        (&list[0]["name"], &list[0]["revision"]),
        (&"hello".into(), &"3".into())
    );
    assert!(lab.tug(["status", "hello"]).ok().contains("STATUS: deployed"));
    assert!(
        lab.tug(["get", "manifest", "hello"])
            .ok()
            .contains("kind: Deployment")
    );
    lab.tug(["test", "hello"]).ok();

    lab.tug(["uninstall", "hello"]).ok();
    assert_eq!(lab.tug(["list", "-q"]).ok(), "");
    until("nothing answers", LIMIT, || {
        lab.get(PORT, "/").is_none().then_some(())
    });
}

#[test]
fn a_chart_is_installed_from_an_archive() {
    let Some(lab) = Lab::open() else { return };
    let archive = lab.folder().join("hello-0.1.0.tgz");
    let mut tar = lab.command("tar");
    tar.arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(repository().join("charts"))
        .arg("hello");
    lab.run(tar).ok();
    lab.tug([
        "install",
        "hello",
        archive.to_str().unwrap(),
        "--set",
        "greeting=From an archive",
    ])
    .ok();
    greets(&lab, "From an archive");
}

#[test]
fn services_answer_without_the_nft_program() {
    let Some(lab) = Lab::open() else { return };
    let mut install = lab.command(test_support::tug());
    install.env("TUG_NFT", "").args(["install", "hello", &chart()]);
    let installed = lab.run(install);
    installed.ok();
    assert!(
        installed.stderr.contains("nft"),
        "a line says that a proxy balances:\n{}",
        installed.stderr
    );
    greets(&lab, "Hello from tug");
}

#[test]
fn the_cluster_stops_and_starts_with_everything() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["install", "hello", &chart()]).ok();
    lab.tug(["cluster", "stop"]).ok();
    assert!(lab.get(PORT, "/").is_none(), "a stopped cluster runs no pods");
    lab.tug(["cluster", "start"]).ok();
    greets(&lab, "Hello from tug");
    assert_eq!(lab.tug(["list", "-q"]).ok(), "hello\n");
}

#[test]
fn a_load_balancer_has_the_address_of_the_machine() {
    let Some(kubectl) = test_support::peer("kubectl") else {
        return test_support::skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    let chart = repository().join("charts/hello");
    let options = ["--set", "service.type=LoadBalancer", "--set", "service.port=8088"];
    lab.tug(
        ["install", "hello", chart.to_str().unwrap()]
            .into_iter()
            .chain(options),
    )
    .ok();
    let field = "jsonpath={.items[?(@.spec.type==\"LoadBalancer\")].status.loadBalancer.ingress[0].ip}";
    let address = lab
        .client(&kubectl, ["get", "services", "-o", field])
        .ok()
        .to_owned();
    let address = std::net::SocketAddr::new(address.parse().unwrap(), 8088);
    let answer = lab.inside(move || test_support::get(address, "/")).unwrap();
    assert_eq!(answer.0, 200);
}
