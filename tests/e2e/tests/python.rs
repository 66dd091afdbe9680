//! The official Python client against the bundled cluster.

use test_support::{Lab, peer, repository, skip};

/// The parts of `python/clients.py`, each of which says its name when it went through.
const PARTS: [&str; 10] = [
    "typed_objects",
    "every_api_is_understood",
    "watches_report_what_happens",
    "patches_of_every_kind",
    "may_i",
    "kinds_are_found_at_run_time",
    "kinds_are_defined",
    "commands_run_in_containers",
    "ports_are_forwarded",
    "workloads_come_up",
];

#[test]
fn the_python_client_finds_all_that_it_asks_for() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(python) = peer("python-kubernetes") else {
        return skip("`python-kubernetes` is not installed: `scripts/install-peers.sh`");
    };
    let Some(lab) = Lab::open() else { return };
    let chart = repository().join("charts/hello");
    lab.tug(["install", "hello", chart.to_str().expect("a path of text")])
        .ok();
    let pods = "get pods -l app.kubernetes.io/instance=hello -o jsonpath={.items[0].metadata.name}";
    let pod = lab.client(&kubectl, pods.split(' ')).ok().to_owned();
    let script = repository().join("tests/e2e/python/clients.py");
    let done = lab.client(
        &python,
        [script.to_str().expect("a path of text"), "default", &pod],
    );
    assert_eq!(done.ok().lines().collect::<Vec<_>>(), PARTS, "{}", done.stderr);
}
