//! Whether the placements are right: no node has more than it can take, and no two pods are where they must not be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cluster_objects::Object;
use cluster_objects::quantity::Quantity;
use serde_json::Value;

use crate::Workload;
use crate::workload::{APPLICATION, SKEW_MAX};

/// Faults that are told one by one; the rest are counted.
const TOLD_MAX: usize = 10;

/// What is on a node.
#[derive(Default)]
struct Load {
    pods: i64,
    cpu_milli: i64,
    memory: i64,
}

/// What is wrong with where the pods are, in words.
pub(crate) fn faults(nodes: &[Arc<Object>], pods: &[Arc<Object>], workload: Workload) -> Vec<String> {
    let mut faults = Vec::new();
    let known: HashMap<&str, &Object> = nodes.iter().map(|node| (node.name(), &**node)).collect();
    let mut loads: HashMap<&str, Load> = HashMap::new();
    // Pods of each application on each node and in each zone.
    let mut on_node: HashMap<(&str, &str), u64> = HashMap::new();
    let mut in_zone: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for pod in pods {
        let place = pod.text(&["spec", "nodeName"]).unwrap_or_default();
        if place.is_empty() {
            faults.push(format!("{} has no node", pod.key()));
            continue;
        }
        let Some(node) = known.get(place) else {
            faults.push(format!("{} is on {place}, which does not exist", pod.key()));
            continue;
        };
        let load = loads.entry(place).or_default();
        load.pods += 1;
        for container in pod.list(&["spec", "containers"]) {
            let requests = &container["resources"]["requests"];
            load.cpu_milli += amount(&requests["cpu"]).milli();
            load.memory += amount(&requests["memory"]).units();
        }
        let application = pod.label(APPLICATION).unwrap_or_default();
        *on_node.entry((application, place)).or_default() += 1;
        let zone = node.label("topology.kubernetes.io/zone").unwrap_or_default();
        *in_zone.entry(application).or_default().entry(zone).or_default() += 1;
    }
    for (name, load) in &loads {
        let has = |what: &str| {
            amount(
                known[name]
                    .at(&["status", "allocatable", what])
                    .unwrap_or(&Value::Null),
            )
        };
        let (pods, cpu, memory) = (has("pods").units(), has("cpu").milli(), has("memory").units());
        if load.pods > pods || load.cpu_milli > cpu || load.memory > memory {
            faults.push(format!(
                "{name} has {} pods that ask for {}m of cpu and {} bytes, and can take {pods}, {cpu}m and {memory}",
                load.pods, load.cpu_milli, load.memory
            ));
        }
    }
    if workload.has_anti_affinity() {
        for ((application, node), count) in on_node.iter().filter(|(_, count)| **count > 1) {
            faults.push(format!(
                "{count} pods of {application} are on {node} against their anti-affinity"
            ));
        }
    }
    if workload.has_topology_spread() {
        let zones: Vec<&str> = zones(nodes);
        for (application, counts) in &in_zone {
            let count = |zone: &&str| counts.get(zone).copied().unwrap_or_default();
            let most = zones.iter().map(count).max().unwrap_or_default();
            let fewest = zones.iter().map(count).min().unwrap_or_default();
            if most - fewest > SKEW_MAX {
                faults.push(format!(
                    "{application} has {most} pods in one zone and {fewest} in another"
                ));
            }
        }
    }
    faults.sort();
    if faults.len() > TOLD_MAX {
        let more = faults.len() - TOLD_MAX;
        faults.truncate(TOLD_MAX);
        faults.push(format!("and {more} more"));
    }
    faults
}

fn zones(nodes: &[Arc<Object>]) -> Vec<&str> {
    let mut zones: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node.label("topology.kubernetes.io/zone"))
        .collect();
    zones.sort_unstable();
    zones.dedup();
    zones
}

fn amount(value: &Value) -> Quantity {
    Quantity::from_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, zone: &str) -> Arc<Object> {
        let mut node = Object::new("v1", "Node", None, name);
        node.set(&["metadata", "labels", "topology.kubernetes.io/zone"], zone);
        node.set(
            &["status", "allocatable"],
            json!({"cpu": "1", "memory": "1Gi", "pods": "3"}),
        );
        Arc::new(node)
    }

    fn pod(name: &str, application: &str, node: &str, cpu: &str) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some("s"), name);
        pod.set(&["metadata", "labels", APPLICATION], application);
        pod.set(&["spec", "nodeName"], node);
        let requests = json!({"cpu": cpu, "memory": "1Mi"});
        pod.set(
            &["spec", "containers"],
            json!([{"resources": {"requests": requests}}]),
        );
        Arc::new(pod)
    }

    fn check(pods: &[Arc<Object>], workload: Workload, expected: &[&str]) {
        let nodes = [node("n1", "a"), node("n2", "b")];
        assert_eq!(faults(&nodes, pods, workload), expected);
    }

    #[test]
    fn right_placements_have_no_faults() {
        let pods = [
            pod("one", "web", "n1", "500m"),
            pod("two", "web", "n2", "500m"),
            pod("three", "db", "n1", "500m"),
        ];
        check(&pods, Workload::AntiAffinityAndTopologySpread, &[]);
    }

    #[test]
    fn err_every_wrong_placement_is_told() {
        check(
            &[pod("one", "web", "", "1m"), pod("two", "web", "n9", "1m")],
            Workload::Plain,
            &["s/one has no node", "s/two is on n9, which does not exist"],
        );
        check(
            &[pod("one", "web", "n1", "600m"), pod("two", "db", "n1", "600m")],
            Workload::Plain,
            &[
                "n1 has 2 pods that ask for 1200m of cpu and 2097152 bytes, and can take 3, 1000m and 1073741824",
            ],
        );
        let together = [pod("one", "web", "n1", "1m"), pod("two", "web", "n1", "1m")];
        check(&together, Workload::Plain, &[]);
        check(
            &together,
            Workload::AntiAffinity,
            &["2 pods of web are on n1 against their anti-affinity"],
        );
        check(
            &together,
            Workload::TopologySpread,
            &["web has 2 pods in one zone and 0 in another"],
        );
    }
}
