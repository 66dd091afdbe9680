//! A pod fills the disk that the whole cluster is on: it goes, the cluster says why, and others wait until there is room.

use std::path::PathBuf;
use std::time::Duration;

use test_support::{Lab, peer, skip, until};

const LIMIT: Duration = Duration::from_secs(60);

fn pod(name: &str, script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: main\n    \
         image: tug/hello:1.0\n    command: [sh, -c, '{script}']\n"
    )
}

#[test]
fn a_pod_that_fills_the_disk_is_evicted_and_the_node_is_tainted() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.small_disk(128);
    lab.tug(["cluster", "start", "--eviction-hard", "nodefs.available<20%"])
        .ok();
    let apply = |name: &str, script: &str| {
        let file: PathBuf = lab.folder().join(format!("{name}.yaml"));
        std::fs::write(&file, pod(name, script)).unwrap();
        lab.client(&kubectl, ["apply", "-f", file.to_str().unwrap()]).ok();
    };
    let shown = |what: &[&str], path: &str| {
        let output = format!("jsonpath={path}");
        lab.client(&kubectl, [&["get"], what, &["-o", &output]].concat())
            .stdout
    };
    apply("greedy", "cat /dev/zero > /big; sleep 600");
    until("the pod is evicted", LIMIT, || {
        (shown(&["pod", "greedy"], "{.status.phase} {.status.reason}") == "Failed Evicted").then_some(())
    });
    let message = shown(&["pod", "greedy"], "{.status.message}");
    assert!(
        message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: "),
        "{message}"
    );
    let taints = "{.items[0].spec.taints[*].key}";
    until("the node is tainted", LIMIT, || {
        shown(&["nodes"], taints)
            .contains("node.kubernetes.io/disk-pressure")
            .then_some(())
    });
    let pressure = "{.items[0].status.conditions[?(@.type==\"DiskPressure\")].reason}";
    assert_eq!(shown(&["nodes"], pressure), "KubeletHasDiskPressure");

    // There is room again, and who comes meanwhile waits: the node is under pressure for some minutes.
    apply("later", "sleep 600");
    until("the scheduler says why it waits", LIMIT, || {
        shown(&["pod", "later"], "{.status.conditions[*].message}")
            .contains("untolerated taint")
            .then_some(())
    });
    lab.tug(["cluster", "stop"]).ok();
    lab.tug(["cluster", "start"]).ok();
    lab.client(
        &kubectl,
        ["wait", "pod/later", "--for=condition=Ready", "--timeout=60s"],
    )
    .ok();
    assert_eq!(shown(&["nodes"], pressure), "KubeletHasNoDiskPressure");
    assert_eq!(shown(&["nodes"], taints), "");
    assert_eq!(
        shown(&["pod", "greedy"], "{.status.phase} {.status.reason}"),
        "Failed Evicted"
    );
}
