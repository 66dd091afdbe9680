//! The pods and deployments that are placed.

use cluster_objects::Object;
use serde_json::{Value, json};

use crate::SimulationOptions;

/// The namespace that everything is in.
pub(crate) const NAMESPACE: &str = "simulation";
/// The label by which pods of one application know each other.
pub(crate) const APPLICATION: &str = "app";
/// What the pods of an application may differ over the zones.
pub(crate) const SKEW_MAX: u64 = 1;

/// One application: so many pods with the same labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) replicas: u32,
}

/// The applications that have all the pods together. With anti-affinity none has more pods than there are nodes.
pub(crate) fn applications(options: &SimulationOptions) -> Vec<Application> {
    let mut replicas = options.replicas.max(1);
    if options.workload.has_anti_affinity() {
        replicas = replicas.min(options.nodes.max(1));
    }
    let count = options.pods.div_ceil(replicas);
    let rest = |number: u32| options.pods - number * replicas;
    let application = |number: u32| Application {
        name: format!("app-{number:05}"),
        replicas: replicas.min(rest(number)),
    };
    (0..count).map(application).collect()
}

/// A deployment of an application.
pub(crate) fn deployment(application: &Application, options: &SimulationOptions) -> Object {
    let mut deployment = Object::new("apps/v1", "Deployment", Some(NAMESPACE), &application.name);
    let labels = json!({APPLICATION: application.name});
    deployment.set(
        &["spec"],
        json!({
            "replicas": application.replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec(application, options)},
        }),
    );
    deployment
}

/// One pod of an application, made by nobody.
pub(crate) fn pod(application: &Application, number: u32, options: &SimulationOptions) -> Object {
    let name = format!("{}-{number:05}", application.name);
    let mut pod = Object::new("v1", "Pod", Some(NAMESPACE), &name);
    pod.set(&["metadata", "labels", APPLICATION], application.name.as_str());
    pod.set(&["spec"], spec(application, options));
    pod
}

fn spec(application: &Application, options: &SimulationOptions) -> Value {
    let mut spec = json!({
        "containers": [{
            "name": "main", "image": "registry.example/simulated:1",
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        }],
    });
    let selector = json!({"matchLabels": {APPLICATION: application.name}});
    if options.workload.has_anti_affinity() {
        spec["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"},
        ]}});
    }
    if options.workload.has_topology_spread() {
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": SKEW_MAX, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector,
        }]);
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Workload;

    #[test]
    fn applications_have_all_the_pods_together() {
        for (pods, replicas, nodes, workload, expected) in [
            (1_000, 100, 10, Workload::Plain, 10),
            (1_050, 100, 10, Workload::Plain, 11),
            (1_000, 100, 10, Workload::AntiAffinity, 100),
            (1, 100, 10, Workload::Plain, 1),
            (0, 100, 10, Workload::Plain, 0),
        ] {
            let options = SimulationOptions {
                pods,
                replicas,
                nodes,
                workload,
                ..SimulationOptions::default()
            };
            let applications = applications(&options);
            assert_eq!(applications.len(), expected, "{options:?}");
            let sum: u32 = applications.iter().map(|application| application.replicas).sum();
            assert_eq!(sum, pods, "{options:?}");
        }
    }
}
