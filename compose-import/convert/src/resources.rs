//! Limits and requests.

use serde_json::{Map, Value, json};

use crate::names::dns_label;
use crate::quantity;
use crate::service::Service;

/// The period of the kernel's CPU quota where none is given.
const CPU_PERIOD_MICROSECONDS: f64 = 100_000.0;

/// The `resources` of a container; null if it has none.
pub(crate) fn resources(service: &Service<'_>) -> Value {
    let mut limits = Map::new();
    let mut requests = Map::new();
    let quota = service.number("cpu_quota").filter(|quota| *quota > 0.0);
    let period = service.number("cpu_period").unwrap_or(CPU_PERIOD_MICROSECONDS);
    if service.peek("cpu_period").is_some() && quota.is_none() {
        service.tell("cpu_period", "it says nothing without cpu_quota");
    }
    let cpus = [
        service.number("deploy.resources.limits.cpus"),
        service.number("cpus"),
        quota.map(|quota| quota / period),
    ];
    let cpu_limit = cpus.into_iter().flatten().find(|cpus| *cpus > 0.0);
    if let Some(cpus) = cpu_limit {
        limits.insert("cpu".to_owned(), json!(quantity::cpus(cpus)));
    }
    let memory = [
        service.size("deploy.resources.limits.memory"),
        service.size("mem_limit"),
    ];
    let memory_limit = memory.into_iter().flatten().find(|bytes| *bytes > 0);
    if let Some(bytes) = memory_limit {
        limits.insert("memory".to_owned(), json!(quantity::bytes(bytes)));
    }
    let shares = service.number("cpu_shares").map(|shares| shares / 1024.0);
    let cpu_request = service.number("deploy.resources.reservations.cpus").or(shares);
    if let Some(cpus) = cpu_request.filter(|cpus| *cpus > 0.0) {
        let cpus = cpu_limit.map_or(cpus, |limit| cpus.min(limit));
        requests.insert("cpu".to_owned(), json!(quantity::cpus(cpus)));
    }
    let memory = [
        service.size("deploy.resources.reservations.memory"),
        service.size("mem_reservation"),
    ];
    if let Some(bytes) = memory.into_iter().flatten().find(|bytes| *bytes > 0) {
        let bytes = memory_limit.map_or(bytes, |limit| bytes.min(limit));
        requests.insert("memory".to_owned(), json!(quantity::bytes(bytes)));
    }
    // A limit alone reserves nothing in compose; Kubernetes would reserve as much as it allows.
    for key in ["cpu", "memory"] {
        if limits.contains_key(key) && !requests.contains_key(key) {
            requests.insert(key.to_owned(), json!("0"));
        }
    }
    devices(service, "gpus", &mut limits);
    devices(service, "deploy.resources.reservations.devices", &mut limits);
    generic(service, &mut limits);
    for (option, value) in service.map("storage_opt") {
        match (option, quantity::size(value)) {
            ("size", Some(bytes)) => {
                limits.insert("ephemeral-storage".to_owned(), json!(quantity::bytes(bytes)));
            }
            _ => service.tell(
                "storage_opt",
                format!("`{option}` is an option of the engine's storage"),
            ),
        }
    }
    let steering = service.steering();
    for (label, map) in [
        ("ephemeral-storage.limit", &mut limits),
        ("ephemeral-storage.request", &mut requests),
    ] {
        if let Some(size) = steering.get(label) {
            map.insert("ephemeral-storage".to_owned(), json!(size));
        }
    }
    let mut resources = Value::Null;
    if !limits.is_empty() {
        resources["limits"] = Value::Object(limits);
    }
    if !requests.is_empty() {
        resources["requests"] = Value::Object(requests);
    }
    resources
}

/// Accelerators, which Kubernetes counts as resources of device plugins.
fn devices(service: &Service<'_>, path: &str, limits: &mut Map<String, Value>) {
    let attribute = if path == "gpus" {
        "gpus"
    } else {
        "deploy.resources.reservations.devices"
    };
    for device in service.list(path) {
        let text = |key: &str| device.get(key).and_then(Value::as_str).unwrap_or_default();
        let capabilities: Vec<&str> = device
            .get("capabilities")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let resource = match text("driver") {
            "amd" => "amd.com/gpu".to_owned(),
            "intel" => "gpu.intel.com/i915".to_owned(),
            "" | "nvidia" => "nvidia.com/gpu".to_owned(),
            other => format!(
                "{}/{}",
                dns_label(other),
                dns_label(capabilities.first().copied().unwrap_or("gpu"))
            ),
        };
        let ids = device
            .get("device_ids")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let count = device.get("count").and_then(quantity::integer);
        let count = match (count, ids) {
            (Some(count), _) if count > 0 => count,
            (_, ids) if ids > 0 => {
                service.tell(
                    attribute,
                    "which devices they are is the device plugin's choice: only their number is kept",
                );
                i64::try_from(ids).unwrap_or(1)
            }
            _ => {
                service.tell(
                    attribute,
                    "`all` is not known before a node is chosen: one is asked for",
                );
                1
            }
        };
        if !device
            .get("options")
            .is_none_or(|options| options.as_object().is_none_or(Map::is_empty))
        {
            service.tell(attribute, "options are not given to device plugins");
        }
        limits.insert(resource, json!(count.to_string()));
    }
}

/// Swarm's generic resources as extended resources.
fn generic(service: &Service<'_>, limits: &mut Map<String, Value>) {
    let attribute = "deploy.resources.reservations.generic_resources";
    for resource in service.list(attribute) {
        let Some(spec) = resource.get("discrete_resource_spec") else {
            continue;
        };
        let kind = spec.get("kind").and_then(Value::as_str).unwrap_or_default();
        let count = spec.get("value").and_then(quantity::integer).unwrap_or(1);
        let name = match kind.to_ascii_lowercase().as_str() {
            "gpu" | "nvidia-gpu" => "nvidia.com/gpu".to_owned(),
            _ if kind.contains('/') => kind.to_owned(),
            _ => format!("generic.compose.tug.dev/{}", dns_label(kind)),
        };
        service.tell(attribute, format!("nodes must offer the resource `{name}`"));
        limits.insert(name, json!(count.to_string()));
    }
}
