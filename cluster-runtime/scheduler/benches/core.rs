//! The decision alone, without API and store: `cargo bench -p cluster-scheduler`.
//!
//! Pods of 100 replicas each are placed one after another on clusters of growing size; each line tells what one placement
//! costs, deciding and keeping the state up to date. It should grow no faster than the nodes.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::sync::Arc;
use std::time::Instant;

use cluster_objects::Object;
use cluster_scheduler::{Chance, ClusterState, PodInfo, Profile, schedule};
use serde_json::{Value, json};

const PODS: usize = 20_000;
const REPLICAS: usize = 100;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: measures only under `cargo bench`");
        return;
    }
    println!(
        "{:<34} {:>6} {:>10} {:>14}",
        "pods ask for", "nodes", "us/pod", "placements/s"
    );
    let workloads = [
        ("nothing", json!({})),
        (
            "anti-affinity",
            affinity("podAntiAffinity", "kubernetes.io/hostname"),
        ),
        ("spread over zones", spread("topology.kubernetes.io/zone")),
        ("spread over nodes", spread("kubernetes.io/hostname")),
        (
            "affinity by zone",
            affinity("podAffinity", "topology.kubernetes.io/zone"),
        ),
    ];
    for (name, spec) in &workloads {
        for nodes in [500, 1_000, 5_000] {
            measure(name, spec, nodes, Profile::Spread);
        }
    }
    for (name, profile) in [
        ("nothing, packed", Profile::Binpack),
        ("nothing, at random", Profile::Random),
    ] {
        measure(name, &json!({}), 5_000, profile);
    }
}

fn measure(name: &str, spec: &Value, nodes: usize, profile: Profile) {
    let mut state = ClusterState::new();
    for number in 0..nodes {
        state.put_node(&Arc::new(node(number)));
    }
    let pods: Vec<PodInfo> = (0..PODS)
        .map(|number| PodInfo::new(&Arc::new(pod(number, spec))))
        .collect();
    let mut start = 0;
    let begin = Instant::now();
    for (number, pod) in pods.iter().enumerate() {
        state.remember_choices(pod);
        let tie = (number % 97) as f64 / 97.0;
        let placement = schedule(&state, pod, profile, Chance { start, tie }).unwrap();
        start += placement.examined;
        state.put_pod(pod, &placement.node);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let each = seconds / PODS as f64;
    println!("{name:<34} {nodes:>6} {:>10.1} {:>14.0}", each * 1e6, 1.0 / each);
}

fn node(number: usize) -> Object {
    let name = format!("node-{number:05}");
    let mut node = Object::new("v1", "Node", None, &name);
    let zone = format!("zone-{}", number % 3);
    node.set(
        &["metadata", "labels"],
        json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}),
    );
    node.set(
        &["status", "allocatable"],
        json!({"cpu": "32", "memory": "128Gi", "pods": "110"}),
    );
    node
}

fn pod(number: usize, extra: &Value) -> Object {
    let app = format!("app-{}", number / REPLICAS);
    let mut pod = Object::new("v1", "Pod", Some("bench"), &format!("{app}-{number}"));
    pod.set(&["metadata", "labels", "app"], app.as_str());
    pod.set(
        &["metadata", "ownerReferences"],
        json!([{"kind": "ReplicaSet", "name": app, "uid": app, "controller": true}]),
    );
    let text = extra.to_string().replace("APP", &app);
    pod.set(&["spec"], serde_json::from_str::<Value>(&text).unwrap());
    pod.set(
        &["spec", "containers"],
        json!([{"name": "main", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]),
    );
    pod
}

fn affinity(kind: &str, key: &str) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"app": "APP"}}, "topologyKey": key});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn spread(key: &str) -> Value {
    json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "APP"}},
    }]})
}
