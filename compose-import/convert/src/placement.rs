//! Where pods may run, and how they spread.

use serde_json::{Map, Value, json};

use crate::convert::Context;
use crate::service::Service;

/// Sets what a pod's spec says of nodes.
pub(crate) fn placement(cx: &Context<'_>, service: &Service<'_>, spec: &mut Value) {
    if let Some(platform) = service.text("platform") {
        let mut parts = platform.split('/');
        let (system, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let Some(variant) = parts.next().filter(|variant| !variant.is_empty()) {
            service.tell(
                "platform",
                format!("the variant `{variant}` is not known of nodes"),
            );
        }
        if system == "wasi" {
            service.tell(
                "platform",
                format!("`{platform}` takes a runtime class and nodes that have it"),
            );
        } else {
            let mut selector = Map::new();
            if !system.is_empty() {
                selector.insert("kubernetes.io/os".to_owned(), json!(system));
            }
            if !architecture.is_empty() {
                selector.insert(
                    "kubernetes.io/arch".to_owned(),
                    json!(go_architecture(architecture)),
                );
            }
            spec["nodeSelector"] = Value::Object(selector);
        }
    }
    constraints(service, spec);
    let selector = json!({"matchLabels": cx.selector(service)});
    let mut spread = Vec::new();
    for preference in service.list("deploy.placement.preferences") {
        match preference.get("spread").and_then(Value::as_str).map(|key| (key, node_label(key))) {
            Some((_, Some(key))) => spread.push(json!({
                "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector,
            })),
            Some((key, None)) => service.tell("deploy.placement.preferences", format!("`{key}` is no label of nodes")),
            None => service.tell("deploy.placement.preferences", "nothing is spread over"),
        }
    }
    match service.integer("deploy.placement.max_replicas_per_node") {
        None | Some(..=0) => {}
        Some(1) => {
            spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}]);
        }
        Some(count) => {
            spread.push(json!({
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector,
            }));
            let message =
                format!("pods are spread evenly over nodes; that a node runs {count} at most cannot be said");
            service.tell("deploy.placement.max_replicas_per_node", message);
        }
    }
    if !spread.is_empty() {
        spec["topologySpreadConstraints"] = Value::Array(spread);
    }
}

/// Docker's names of architectures are Go's, and those of `uname` are understood as well.
fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        "armhf" | "armel" => "arm",
        other => other,
    }
}

/// The label of nodes that a key of Swarm stands for.
fn node_label(key: &str) -> Option<String> {
    let key = key.trim();
    match key {
        "node.hostname" => Some("kubernetes.io/hostname".to_owned()),
        "node.platform.os" => Some("kubernetes.io/os".to_owned()),
        "node.platform.arch" => Some("kubernetes.io/arch".to_owned()),
        _ => {
            let engine = key.strip_prefix("engine.labels.");
            if engine == Some("operatingsystem") {
                return Some("kubernetes.io/os".to_owned());
            }
            key.strip_prefix("node.labels.").or(engine).map(str::to_owned)
        }
    }
}

fn constraints(service: &Service<'_>, spec: &mut Value) {
    let attribute = "deploy.placement.constraints";
    let mut labels = Vec::new();
    let mut fields = Vec::new();
    for text in service.texts(attribute) {
        let (split, operator) = match (text.split_once("=="), text.split_once("!=")) {
            (Some(split), _) => (split, "In"),
            (None, Some(split)) => (split, "NotIn"),
            (None, None) => {
                service.tell(attribute, format!("`{text}` has neither `==` nor `!=`"));
                continue;
            }
        };
        let (key, value) = (split.0.trim(), split.1.trim());
        match key {
            "node.role" => {
                let is_manager = (value == "manager") == (operator == "In");
                let operator = if is_manager { "Exists" } else { "DoesNotExist" };
                labels.push(json!({"key": "node-role.kubernetes.io/control-plane", "operator": operator}));
            }
            "node.id" => {
                fields.push(json!({"key": "metadata.name", "operator": operator, "values": [value]}));
            }
            _ => match node_label(key) {
                Some(label) => {
                    let value = if label == "kubernetes.io/arch" {
                        go_architecture(value)
                    } else {
                        value
                    };
                    labels.push(json!({"key": label, "operator": operator, "values": [value]}));
                }
                None => service.tell(attribute, format!("`{key}` is not known of nodes")),
            },
        }
    }
    let mut term = Map::new();
    if !labels.is_empty() {
        term.insert("matchExpressions".to_owned(), Value::Array(labels));
    }
    if !fields.is_empty() {
        term.insert("matchFields".to_owned(), Value::Array(fields));
    }
    if !term.is_empty() {
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
            json!([term]);
    }
}
