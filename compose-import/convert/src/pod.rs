//! Pods: the containers of a service and of those that share its network.

use serde_json::{Map, Value, json};

use crate::convert::Context;
use crate::jobs;
use crate::kompose;
use crate::names::{is_label_value, is_qualified_name};
use crate::network::{self, container_ports};
use crate::object::literal;
use crate::options::Controller;
use crate::placement;
use crate::policy;
use crate::probes::{self, scalar};
use crate::quantity;
use crate::resources;
use crate::security;
use crate::service::{Service, says_something};
use crate::storage::{PodVolumes, Storage};

/// docker compose's default of `stop_grace_period`.
const STOP_GRACE_SECONDS: i64 = 10;

/// A pod template, and what its Job is told.
pub(crate) struct Pod {
    pub(crate) template: Value,
    pub(crate) backoff_limit: Option<i64>,
}

/// The pod of a service and of `guests`, the services that share its network.
pub(crate) fn pod(
    cx: &Context<'_>,
    service: &Service<'_>,
    guests: &[&Service<'_>],
    controller: Controller,
    storage: &mut Storage,
) -> Pod {
    let mut spec = json!({});
    let mut labels = Map::new();
    let mut annotations = Map::new();
    let mut volumes = PodVolumes::default();
    let (restart, backoff_limit) = jobs::restart_policy(service, controller);
    if let Some(restart) = restart {
        spec["restartPolicy"] = json!(restart);
    }
    let mut containers = Vec::new();
    let mut init = Vec::new();
    let mut contexts = Map::new();
    let mut grace = STOP_GRACE_SECONDS;
    for member in std::iter::once(&service).chain(guests) {
        let is_guest = member.name != service.name;
        let security = security::security(member);
        contexts.extend(security.pod);
        let container = container(
            cx,
            member,
            Value::Object(security.container),
            storage,
            &mut volumes,
        );
        pre_start(cx, member, &container, &mut init);
        init.extend(kompose::init_container(member));
        containers.push(container);
        if is_guest {
            jobs::restart_policy(member, controller);
            // It is why the member is here.
            member.get("network_mode");
        }
        grace = grace.max(stop_grace(member).unwrap_or(0)).max(0);
        if !is_guest && let Some(seconds) = stop_grace(member) {
            grace = seconds;
        }
        network::pod_names(member, &mut spec);
        let host = if is_guest {
            Some(service.name)
        } else {
            guests.first().map(|guest| guest.name)
        };
        security::linux_namespaces(member, host, &mut spec);
        placement::placement(cx, member, &mut spec);
        marks(member, &mut labels, &mut annotations);
        policy::tell_places(member);
        if let Some(runtime) = member.text("runtime") {
            spec["runtimeClassName"] = json!(crate::names::dns_label(runtime));
        }
    }
    spec["terminationGracePeriodSeconds"] = json!(grace);
    network_mode(cx, service, &mut spec, &mut labels);
    if !contexts.is_empty() {
        spec["securityContext"] = Value::Object(contexts);
    }
    if containers
        .iter()
        .any(|container| container["lifecycle"]["stopSignal"].is_string())
    {
        // Signals are a matter of the system, which has to be named with them.
        spec["os"] = json!({"name": "linux"});
    }
    spec["containers"] = Value::Array(containers);
    if !init.is_empty() {
        spec["initContainers"] = Value::Array(init);
    }
    if let Some((key, names)) = volumes.seeded() {
        annotations.insert(key.to_owned(), json!(names));
    }
    let volumes = volumes.into_list();
    if !volumes.is_empty() {
        spec["volumes"] = Value::Array(volumes);
    }
    kompose::pod_fields(service, &mut spec);
    // What is in no registry is given no token for an API that compose services know nothing of.
    if spec.get("serviceAccountName").is_none() {
        spec["automountServiceAccountToken"] = json!(false);
    }
    // Names of services as variables are Docker's links of old; compose sets none.
    spec["enableServiceLinks"] = json!(false);
    labels.extend(cx.pod_labels(service));
    let mut metadata = json!({"labels": labels});
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    Pod {
        template: json!({"metadata": metadata, "spec": spec}),
        backoff_limit,
    }
}

fn stop_grace(service: &Service<'_>) -> Option<i64> {
    service.get("stop_grace_period").and_then(quantity::whole_seconds)
}

fn network_mode(cx: &Context<'_>, service: &Service<'_>, spec: &mut Value, labels: &mut Map<String, Value>) {
    match service.text("network_mode") {
        None | Some("bridge" | "default") => {}
        Some("host") => {
            spec["hostNetwork"] = json!(true);
            spec["dnsPolicy"] = json!("ClusterFirstWithHostNet");
        }
        Some("none") => {
            labels.insert(policy::NO_NETWORK.to_owned(), json!("true"));
        }
        Some(other) => match other.strip_prefix("service:") {
            Some(owner) if cx.services.contains_key(owner) => {}
            _ => service.tell("network_mode", format!("`{other}` is not in this project")),
        },
    }
    if cx.policies {
        for network in policy::networks_of(service) {
            labels.insert(policy::network_label(network), json!("true"));
        }
    }
}

/// The container of a service.
fn container(
    cx: &Context<'_>,
    service: &Service<'_>,
    security: Value,
    storage: &mut Storage,
    volumes: &mut PodVolumes,
) -> Value {
    let mut container = json!({"name": service.label, "image": image(cx, service)});
    if let Some(policy) = pull_policy(cx, service) {
        container["imagePullPolicy"] = json!(policy);
    }
    for (attribute, field) in [("entrypoint", "command"), ("command", "args")] {
        if let Some(command) = service.get(attribute) {
            let words = probes::words(command);
            container[field] = words.iter().map(|word| literal(word)).collect();
        }
    }
    if let Some(folder) = service.text("working_dir") {
        container["workingDir"] = json!(folder);
    }
    for (attribute, field) in [("stdin_open", "stdin"), ("tty", "tty")] {
        if service.flag(attribute) {
            container[field] = json!(true);
        }
    }
    let environment = environment(service);
    if !environment.is_empty() {
        container["env"] = Value::Array(environment);
    }
    let ports = container_ports(service);
    if !ports.is_empty() {
        container["ports"] = ports
            .iter()
            .map(|port| {
                let mut entry =
                    json!({"name": port.label(), "containerPort": port.number, "protocol": port.protocol});
                if let Some(host_port) = port.host_port {
                    entry["hostPort"] = json!(host_port);
                }
                entry
            })
            .collect();
        if network::is_on_host(service) {
            // The port of the node is the container's.
            for entry in container["ports"].as_array_mut().into_iter().flatten() {
                entry["hostPort"] = entry["containerPort"].clone();
            }
        }
    }
    probes::probes(service, cx.options.swarm, &mut container);
    probes::lifecycle(service, &mut container);
    let resources = resources::resources(service);
    if !resources.is_null() {
        container["resources"] = resources;
    }
    if security.as_object().is_some_and(|fields| !fields.is_empty()) {
        container["securityContext"] = security;
    }
    let mounts = storage.mounts(cx, service, volumes);
    if !mounts.is_empty() {
        container["volumeMounts"] = Value::Array(mounts);
    }
    container
}

/// The image of a service, or the one that compose builds under that name.
fn image(cx: &Context<'_>, service: &Service<'_>) -> String {
    let named = service.text("image").map(str::to_owned);
    let image = named.unwrap_or_else(|| format!("{}-{}", cx.project.name, service.name).to_ascii_lowercase());
    if service.get("build").is_some() && !cx.options.local_images {
        service.tell(
            "build",
            format!("`{image}` is not built here: a registry or the cluster must have it"),
        );
    }
    image
}

fn pull_policy(cx: &Context<'_>, service: &Service<'_>) -> Option<&'static str> {
    if let Some(given) = service.steering().get("image-pull-policy") {
        return match given.to_ascii_lowercase().as_str() {
            "always" => Some("Always"),
            "never" => Some("Never"),
            "ifnotpresent" => Some("IfNotPresent"),
            _ => {
                service.tell(
                    "labels",
                    format!("`kompose.image-pull-policy: {given}` is no policy"),
                );
                None
            }
        };
    }
    let missing = cx.options.local_images.then_some("missing");
    let policy = service.text("pull_policy").or(missing)?;
    match policy {
        "always" => Some("Always"),
        "never" => Some("Never"),
        "missing" | "if_not_present" | "build" => Some("IfNotPresent"),
        _ => {
            service.tell(
                "pull_policy",
                format!("`{policy}` becomes `Always`: Kubernetes looks whenever a pod starts"),
            );
            Some("Always")
        }
    }
}

fn environment(service: &Service<'_>) -> Vec<Value> {
    let mut list = Vec::new();
    for (name, value) in service.map("environment") {
        let Some(value) = scalar(value) else { continue };
        if name.is_empty() || name.contains('=') || !name.chars().all(|char| (' '..='~').contains(&char)) {
            service.tell(
                "environment",
                format!("`{name}` cannot be the name of a variable"),
            );
            continue;
        }
        list.push(json!({"name": name, "value": literal(&value)}));
    }
    list
}

/// Labels and annotations of a service, as those of its pod.
fn marks(service: &Service<'_>, labels: &mut Map<String, Value>, annotations: &mut Map<String, Value>) {
    for (key, value) in service.map("labels") {
        let value = scalar(value).unwrap_or_default();
        if key.starts_with("kompose.") {
            continue;
        }
        if !is_qualified_name(key) {
            service.tell("labels", format!("`{key}` cannot be the key of a label"));
        } else if is_label_value(&value) && !key.starts_with("app.kubernetes.io/") {
            labels.insert(key.to_owned(), json!(value));
        } else {
            annotations.insert(key.to_owned(), json!(value));
        }
    }
    if let Some(init) = service.peek_any("init") {
        annotations.insert("compose.tug.dev/init".to_owned(), json!(init.to_string()));
    }
    for (key, value) in service.map("annotations") {
        if is_qualified_name(key) {
            annotations.insert(key.to_owned(), json!(scalar(value).unwrap_or_default()));
        } else {
            service.tell(
                "annotations",
                format!("`{key}` cannot be the key of an annotation"),
            );
        }
    }
}

/// Containers that run before the service's own.
fn pre_start(cx: &Context<'_>, service: &Service<'_>, container: &Value, init: &mut Vec<Value>) {
    for (number, hook) in service.list("pre_start").iter().enumerate() {
        let text = |key: &str| {
            hook.get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let image = text("image").or(container["image"].as_str()).unwrap_or_default();
        let name = crate::names::with_suffix(&service.label, &format!("-pre-start-{}", number + 1));
        let mut made = json!({"name": name, "image": image});
        let words = hook.get("command").map(probes::words).unwrap_or_default();
        made["command"] = words.iter().map(|word| literal(word)).collect();
        if let Some(folder) = text("working_dir").or(container["workingDir"].as_str()) {
            made["workingDir"] = json!(folder);
        }
        let mut environment = container["env"].as_array().cloned().unwrap_or_default();
        if let Some(Value::Object(entries)) = hook.get("environment") {
            for (name, value) in entries {
                let Some(value) = scalar(value) else { continue };
                environment.retain(|entry| entry["name"] != json!(name));
                environment.push(json!({"name": name, "value": literal(&value)}));
            }
        }
        if !environment.is_empty() {
            made["env"] = Value::Array(environment);
        }
        let mounts = &container["volumeMounts"];
        if mounts.is_array() {
            made["volumeMounts"] = mounts.clone();
        }
        let mut context = Map::new();
        if hook.get("privileged").is_some_and(|flag| flag == true) {
            context.insert("privileged".to_owned(), json!(true));
        }
        if let Some(user) = text("user") {
            match user.split(':').next().and_then(|id| {
                if id == "root" {
                    Some(0)
                } else {
                    id.parse::<u32>().ok()
                }
            }) {
                Some(id) => {
                    context.insert("runAsUser".to_owned(), json!(id));
                }
                None => service.tell(
                    "pre_start",
                    format!("the user `{user}` has its number in the image only"),
                ),
            }
        }
        if !context.is_empty() {
            made["securityContext"] = Value::Object(context);
        }
        if !hook.get("per_replica").is_some_and(says_something) && cx.replicas(service) > 1 {
            service.tell("pre_start", "it runs once for each replica");
        }
        init.push(made);
    }
}
