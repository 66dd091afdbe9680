//! The simulated nodes: what they are and have.

use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::SimulationOptions;

/// Pods that a node takes where nothing asks for more.
const PODS_MIN: u32 = 110;

/// The name of a node by its number.
pub(crate) fn name(number: u32) -> String {
    format!("node-{number:05}")
}

/// A node as its kubelet registers it.
pub(crate) fn node(number: u32, options: &SimulationOptions, now: Timestamp) -> Object {
    let name = name(number);
    let mut node = Object::new("v1", "Node", None, &name);
    let zone = format!("zone-{}", number % options.zones.max(1));
    node.set(
        &["metadata", "labels"],
        json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "simulated",
        }),
    );
    node.set(&["spec", "providerID"], format!("simulated://{name}"));
    let mean = options.pods.div_ceil(options.nodes.max(1));
    let pods_max = PODS_MIN.max(mean.saturating_mul(2));
    let amounts = json!({
        "cpu": "32", "memory": "128Gi", "ephemeral-storage": "500Gi", "pods": pods_max.to_string(),
    });
    let since = time(now);
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "simulated",
            "lastHeartbeatTime": since, "lastTransitionTime": since,
        })
    };
    let conditions: Vec<Value> = vec![
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("Ready", "True", "KubeletReady"),
    ];
    node.set(
        &["status"],
        json!({
            "capacity": amounts, "allocatable": amounts, "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": address(number)}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "kubeletVersion": "v1.37.0+tug.0", "containerRuntimeVersion": "simulated://1", "operatingSystem": "linux",
                "architecture": "amd64", "osImage": "simulated", "kernelVersion": "simulated", "machineID": name,
                "systemUUID": name, "bootID": name, "kubeProxyVersion": "",
            },
        }),
    );
    node
}

/// Addresses of nodes are in 172.16.0.0/12.
fn address(number: u32) -> String {
    let [_, second, third, fourth] = number.to_be_bytes();
    format!("172.{}.{third}.{fourth}", 16 + second % 16)
}

/// A time as the API writes it.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
