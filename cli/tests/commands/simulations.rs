//! `tug cluster simulate`: small clusters, whole.

use serde_json::Value;

use crate::sandbox::Sandbox;

#[test]
fn a_simulation_places_every_pod_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("store");
    std::fs::create_dir(&folder).unwrap();
    let output = sandbox.run(&[
        "cluster",
        "simulate",
        "--nodes",
        "30",
        "--pods",
        "300",
        "--replicas",
        "20",
        "--anti-affinity",
        "--topology-spread",
        "--dir",
        "store",
        "-o",
        "json",
    ]);
    let report: Value = serde_json::from_str(output.ok()).unwrap();
    let told = ["placed", "running", "workload", "store", "profile"].map(|key| report[key].clone());
    let expected = serde_json::json!([300, 300, "anti-affinity-and-topology-spread", "disk", "spread"]);
    assert_eq!(Value::from(told.to_vec()), expected, "{report}");
    assert_eq!(report["faults"], Value::Array(Vec::new()));
    for measured in ["placementsPerSecond", "memoryPeakMib"] {
        assert!(report[measured].as_f64().unwrap() > 0.0, "{measured} in {report}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn err_pods_without_room_are_told() {
    let sandbox = Sandbox::new();
    // A node of 32 cores takes 320 pods of a tenth each.
    let output = sandbox.run(&[
        "cluster",
        "simulate",
        "--nodes",
        "1",
        "--pods",
        "400",
        "--bare",
        "--memory",
        "--patience",
        "2s",
        "-o",
        "name",
    ]);
    assert_eq!(output.code, Some(3), "{output:?}");
    assert!(output.stderr.contains("has no node"), "{output:?}");
    assert!(output.stderr.contains("more"), "{output:?}");
}

#[test]
fn err_a_cluster_without_nodes_is_refused() {
    let output = Sandbox::new().run(&["cluster", "simulate", "--nodes", "0"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("0 is not in 1..=100000"), "{output:?}");
}
