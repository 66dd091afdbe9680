//! Users, capabilities, namespaces of the kernel.

use serde_json::{Map, Value, json};

use crate::service::Service;

/// The security contexts of a service's container and of its pod.
#[derive(Debug, Default)]
pub(crate) struct Security {
    pub(crate) container: Map<String, Value>,
    pub(crate) pod: Map<String, Value>,
}

pub(crate) fn security(service: &Service<'_>) -> Security {
    let mut security = Security::default();
    user(service, &mut security.container);
    let mut groups = Vec::new();
    for group in service.list("group_add") {
        match crate::quantity::integer(group) {
            Some(id) => groups.push(id),
            None if group == "root" => groups.push(0),
            None => service.tell(
                "group_add",
                format!("the number of the group {group} is in the image only"),
            ),
        }
    }
    if !groups.is_empty() {
        security
            .pod
            .insert("supplementalGroups".to_owned(), json!(groups));
    }
    if service.flag("read_only") {
        security
            .container
            .insert("readOnlyRootFilesystem".to_owned(), json!(true));
    }
    if service.flag("privileged") {
        security.container.insert("privileged".to_owned(), json!(true));
    }
    let mut capabilities = Map::new();
    for (attribute, field) in [("cap_add", "add"), ("cap_drop", "drop")] {
        let mut names: Vec<String> = service.texts(attribute).map(capability).collect();
        names.dedup();
        if !names.is_empty() {
            capabilities.insert(field.to_owned(), json!(names));
        }
    }
    if !capabilities.is_empty() {
        security
            .container
            .insert("capabilities".to_owned(), Value::Object(capabilities));
    }
    for option in service.texts("security_opt") {
        security_option(service, option, &mut security.container);
    }
    let is_mighty = security.container.contains_key("privileged")
        || service
            .texts("cap_add")
            .any(|name| matches!(capability(name).as_str(), "SYS_ADMIN" | "ALL"));
    if is_mighty
        && security
            .container
            .get("allowPrivilegeEscalation")
            .is_some_and(|flag| flag == false)
    {
        security.container.remove("allowPrivilegeEscalation");
        service.tell(
            "security_opt",
            "`no-new-privileges` cannot hold for a container with all rights",
        );
    }
    let mut sysctls = Vec::new();
    for (name, value) in service.map("sysctls") {
        if name.starts_with("net.") && crate::network::is_on_host(service) {
            service.tell(
                "sysctls",
                format!("`{name}` is the node's own with `network_mode: host`"),
            );
        } else if let Some(value) = crate::probes::scalar(value) {
            sysctls.push(json!({"name": name, "value": value}));
        }
    }
    if !sysctls.is_empty() {
        security.pod.insert("sysctls".to_owned(), Value::Array(sysctls));
    }
    if let Some(group) = service
        .steering()
        .get("security-context.fsgroup")
        .and_then(|text| text.parse::<i64>().ok())
    {
        security.pod.insert("fsGroup".to_owned(), json!(group));
    }
    security
}

/// `CAP_NET_ADMIN` as Kubernetes writes it.
fn capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

/// The largest number of a user or a group.
const ID_MAX: u32 = i32::MAX as u32;

fn user(service: &Service<'_>, context: &mut Map<String, Value>) {
    let Some(value) = service.get("user") else { return };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (user, group) = text.split_once(':').unwrap_or((&text, ""));
    for (name, field, noun) in [(user, "runAsUser", "user"), (group, "runAsGroup", "group")] {
        if name.is_empty() {
            continue;
        }
        let id = if name == "root" {
            Some(0)
        } else {
            name.parse().ok().filter(|id| *id <= ID_MAX)
        };
        if id.is_none_or(|_| name == "root") {
            let kept = if name == "root" {
                "is number 0"
            } else {
                "has its number in the image only"
            };
            service.tell("user", format!("the {noun} `{name}` {kept}"));
        }
        if let Some(id) = id {
            context.insert(field.to_owned(), json!(id));
        }
    }
}

fn security_option(service: &Service<'_>, option: &str, context: &mut Map<String, Value>) {
    let (key, value) = option.split_once([':', '=']).unwrap_or((option, ""));
    match (key, value) {
        ("no-new-privileges", "" | "true") => {
            context.insert("allowPrivilegeEscalation".to_owned(), json!(false));
        }
        ("no-new-privileges", "false") => {
            context.insert("allowPrivilegeEscalation".to_owned(), json!(true));
        }
        ("seccomp", "unconfined") => {
            context.insert("seccompProfile".to_owned(), json!({"type": "Unconfined"}));
        }
        ("seccomp", profile) if !profile.is_empty() => {
            service.tell(
                "security_opt",
                format!("the seccomp profile `{profile}` must be in the kubelet's folder on every node"),
            );
            let name = profile.trim_start_matches(['.', '/']).replace("../", "");
            context.insert(
                "seccompProfile".to_owned(),
                json!({"type": "Localhost", "localhostProfile": name}),
            );
        }
        ("apparmor", "unconfined") => {
            context.insert("appArmorProfile".to_owned(), json!({"type": "Unconfined"}));
        }
        ("apparmor", profile) if !profile.is_empty() => {
            context.insert(
                "appArmorProfile".to_owned(),
                json!({"type": "Localhost", "localhostProfile": profile}),
            );
        }
        ("label", rule) => match rule.split_once([':', '=']) {
            Some((field @ ("user" | "role" | "type" | "level"), value)) => {
                let options = context.entry("seLinuxOptions").or_insert_with(|| json!({}));
                options[field] = json!(value);
            }
            _ if rule == "disable" => {
                context.insert("seLinuxOptions".to_owned(), json!({"type": "spc_t"}));
            }
            _ => service.tell("security_opt", format!("`{option}` cannot be said in Kubernetes")),
        },
        _ => service.tell("security_opt", format!("`{option}` cannot be said in Kubernetes")),
    }
}

/// The namespaces of the kernel that a service shares with its node or with others.
pub(crate) fn linux_namespaces(service: &Service<'_>, in_pod_of: Option<&str>, spec: &mut Value) {
    let on_host = service.peek("network_mode").is_some_and(|mode| mode == "host");
    match service.text("pid") {
        None => {}
        Some("host") => spec["hostPID"] = json!(true),
        Some(other)
            if other
                .strip_prefix("service:")
                .is_some_and(|name| in_pod_of == Some(name)) =>
        {
            spec["shareProcessNamespace"] = json!(true);
        }
        Some(other) => service.tell(
            "pid",
            format!("`{other}` takes one pod for both: `network_mode: {other}` makes it"),
        ),
    }
    match service.text("ipc") {
        None => {}
        Some("host") => spec["hostIPC"] = json!(true),
        Some(other)
            if other
                .strip_prefix("service:")
                .is_some_and(|name| in_pod_of == Some(name)) => {}
        Some("shareable" | "private") => {
            service.tell("ipc", "containers of one pod share it, those of others do not");
        }
        Some(other) => service.tell(
            "ipc",
            format!("`{other}` takes one pod for both: `network_mode: {other}` makes it"),
        ),
    }
    if let Some(uts) = service.text("uts")
        && !on_host
    {
        service.tell("uts", format!("`{uts}` comes with `network_mode: host` only"));
    }
    match service.text("userns_mode") {
        None => {}
        Some("host") => spec["hostUsers"] = json!(true),
        Some(_) => spec["hostUsers"] = json!(false),
    }
}
