//! Amounts of resources: what pods ask for and what nodes have.

use std::collections::BTreeMap;

use cluster_objects::Object;
use cluster_objects::quantity::Quantity;
use serde_json::{Map, Value};

/// Amounts of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of local disk.
    pub ephemeral_storage_bytes: i64,
    /// Number of pods.
    pub pods: i64,
    /// Everything else by name, as `nvidia.com/gpu`.
    pub extended: BTreeMap<String, i64>,
}

/// What a pod without a request is counted as when nodes are compared, so that such pods spread too.
const SCORED_CPU_MILLI: i64 = 100;
const SCORED_MEMORY_BYTES: i64 = 200 << 20;

impl Resources {
    /// Reads a map of quantities; what cannot be read counts as 0.
    pub(crate) fn from_quantities(quantities: Option<&Map<String, Value>>) -> Self {
        let mut resources = Self::default();
        for (name, value) in quantities.into_iter().flatten() {
            let amount = Quantity::from_value(value).unwrap_or_default();
            match name.as_str() {
                "cpu" => resources.cpu_milli = amount.milli(),
                "memory" => resources.memory_bytes = amount.units(),
                "ephemeral-storage" => resources.ephemeral_storage_bytes = amount.units(),
                "pods" => resources.pods = amount.units(),
                _ => {
                    resources.extended.insert(name.clone(), amount.units());
                }
            }
        }
        resources
    }

    /// What a pod asks for: the larger of its containers together and its init containers one after another, with
    /// sidecars beside both, and its overhead.
    pub(crate) fn requested_by(pod: &Object) -> Self {
        Self::sum_of(pod, Self::of_container)
    }

    /// What a pod counts as when nodes are compared.
    pub(crate) fn scored_for(pod: &Object) -> Self {
        Self::sum_of(pod, |container| {
            let mut request = Self::of_container(container);
            let asks = |name| {
                container
                    .pointer(&format!("/resources/requests/{name}"))
                    .is_some()
            };
            if !asks("cpu") {
                request.cpu_milli = SCORED_CPU_MILLI;
            }
            if !asks("memory") {
                request.memory_bytes = SCORED_MEMORY_BYTES;
            }
            request
        })
    }

    fn of_container(container: &Value) -> Self {
        Self::from_quantities(
            container
                .pointer("/resources/requests")
                .and_then(Value::as_object),
        )
    }

    fn sum_of(pod: &Object, request_of: impl Fn(&Value) -> Self) -> Self {
        let mut running = Self::default();
        for container in pod.list(&["spec", "containers"]) {
            running.add(&request_of(container));
        }
        // Sidecars started so far run beside every later init container and beside the containers.
        let mut sidecars = Self::default();
        let mut starting = Self::default();
        for container in pod.list(&["spec", "initContainers"]) {
            let mut request = request_of(container);
            if container["restartPolicy"] == "Always" {
                sidecars.add(&request);
                request = Self::default();
            }
            request.add(&sidecars);
            starting.max(&request);
        }
        running.add(&sidecars);
        running.max(&starting);
        let overhead = pod.at(&["spec", "overhead"]).and_then(Value::as_object);
        running.add(&Self::from_quantities(overhead));
        running.pods = 1;
        running
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.merge(other, i64::saturating_add);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.merge(other, i64::saturating_sub);
    }

    fn max(&mut self, other: &Self) {
        self.merge(other, i64::max);
    }

    fn merge(&mut self, other: &Self, combine: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = combine(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = combine(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes = combine(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        self.pods = combine(self.pods, other.pods);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = combine(*own, *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_asks_for_what_it_needs_at_its_hungriest() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let cases = [
            (vec![container("100m"), container("200m")], vec![], 300),
            (
                vec![container("100m")],
                vec![container("500m"), container("300m")],
                500,
            ),
            (
                vec![container("100m")],
                vec![sidecar("50m"), container("70m")],
                150,
            ),
            (
                vec![container("100m")],
                vec![sidecar("50m"), container("400m")],
                450,
            ),
            (
                vec![container("100m")],
                vec![container("400m"), sidecar("50m")],
                400,
            ),
        ];
        for (containers, init, expected) in cases {
            let mut pod = Object::new("v1", "Pod", Some("default"), "web");
            pod.set(&["spec", "containers"], containers);
            pod.set(&["spec", "initContainers"], init);
            assert_eq!(Resources::requested_by(&pod).cpu_milli, expected);
            assert_eq!(Resources::requested_by(&pod).pods, 1);
        }
    }
}
