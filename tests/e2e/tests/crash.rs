//! The cluster's process is killed at any moment: what was acknowledged is there, and containers run on.

use std::time::Duration;

use test_support::{Lab, Output, peer, repository, skip, until};

const LIMIT: Duration = Duration::from_secs(60);

fn server_pid(lab: &Lab) -> String {
    lab.tug(["cluster", "status", "-o", "json"]).json()["pid"].to_string()
}

fn kill(lab: &Lab) {
    let mut kill = lab.command("kill");
    kill.args(["-9", &server_pid(lab)]);
    lab.run(kill).ok();
}

#[test]
fn running_containers_are_adopted_not_restarted() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug([
        "install",
        "hello",
        repository().join("charts/hello").to_str().unwrap(),
    ])
    .ok();
    let container = || -> Output {
        let fields = "{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} \
                      {.status.containerStatuses[0].restartCount} {.status.podIP}{end}";
        lab.client(&kubectl, ["get", "pods", "-o", &format!("jsonpath={fields}")])
    };
    let before = container();
    for _ in 0..3 {
        kill(&lab);
        // The data plane goes on without the server, but for node ports on loopback, which it forwards itself.
        lab.tug(["cluster", "start"]).ok();
        until("the service answers", LIMIT, || {
            lab.get(30080, "/").filter(|(code, _)| *code == 200)
        });
        assert_eq!(container().ok(), before.ok());
    }
    assert_eq!(lab.tug(["list", "-q"]).ok(), "hello\n");
}

#[test]
fn everything_acknowledged_survives_kill_9() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        // A writer that prints what was acknowledged, killed together with the server in the middle of it.
        let mut writer = lab.command("sh");
        writer.env("KUBECONFIG", lab.kubeconfig()).args(["-c", &format!(
            "n=0; while {} create cm round-{round}-$n >/dev/null 2>&1; do echo round-{round}-$n; n=$((n+1)); done",
            kubectl.display()
        )]);
        writer.stdout(std::process::Stdio::piped());
        let writing = lab.inside(move || writer.spawn()).unwrap();
        until("some writes", LIMIT, || {
            let listed = lab.client(&kubectl, ["get", "cm", "-o", "name"]);
            listed
                .stdout
                .contains(&format!("round-{round}-{}", 2 + round))
                .then_some(())
        });
        kill(&lab);
        let printed = writing.wait_with_output().unwrap().stdout;
        acknowledged.extend(String::from_utf8_lossy(&printed).lines().map(str::to_owned));
        lab.tug(["cluster", "start"]).ok();
        let listed = lab.client(&kubectl, ["get", "cm", "-o", "name"]);
        let present: Vec<_> = listed
            .ok()
            .lines()
            .filter_map(|line| line.strip_prefix("configmap/"))
            .collect();
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|name| !present.contains(&name.as_str()))
            .collect();
        assert!(lost.is_empty(), "lost after round {round}: {lost:?}");
    }
    assert!(acknowledged.len() >= 12, "{acknowledged:?}");
}
