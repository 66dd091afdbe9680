//! The environment of a container: from the pod, from config maps and secrets, and from services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_objects::Object;
use cluster_objects::quantity::Quantity;
use serde_json::Value;

use super::pod::{ContainerConfig, EnvSource, KeyRef, Pod, ResourceFieldRef};

/// What a container's environment and volumes refer to, by name; an object that is not there reads as `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetched {
    pub config_maps: BTreeMap<String, Option<Arc<Object>>>,
    pub secrets: BTreeMap<String, Option<Arc<Object>>>,
    /// Services of the namespace, and `kubernetes` of the namespace `default`.
    pub services: Vec<Arc<Object>>,
}

/// What of the machine a pod may ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub node_name: String,
    pub host_ip: String,
    pub pod_ips: Vec<IpAddr>,
    /// Thousandths of processors of the machine.
    pub cpu_millis: i64,
    /// Bytes of memory of the machine.
    pub memory_bytes: i64,
}

/// Names of config maps and secrets that the environment of a container needs.
pub(crate) fn references(container: &ContainerConfig) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in &container.env_from {
        config_maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().filter_map(|one| one.value_from.as_ref()) {
        config_maps.extend(
            source
                .config_map_key_ref
                .iter()
                .map(|reference| reference.name.clone()),
        );
        secrets.extend(
            source
                .secret_key_ref
                .iter()
                .map(|reference| reference.name.clone()),
        );
    }
    (config_maps, secrets)
}

/// Makes the environment; the error is the message of `CreateContainerConfigError`.
///
/// What comes later wins: services, then `envFrom` in order, then `env` in order.
pub(crate) fn environment(
    pod: &Pod,
    container: &ContainerConfig,
    fetched: &Fetched,
    surroundings: &Surroundings,
) -> Result<BTreeMap<String, String>, String> {
    let mut env = service_variables(pod, &fetched.services);
    for from in &container.env_from {
        if let Some(reference) = &from.config_map_ref {
            let found = fetched.config_maps.get(&reference.name).and_then(Option::as_ref);
            match found {
                Some(map) => extend(&mut env, &from.prefix, text_data(map)),
                None if reference.optional => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            let found = fetched.secrets.get(&reference.name).and_then(Option::as_ref);
            match found {
                Some(secret) => extend(&mut env, &from.prefix, secret_text(secret)),
                None if reference.optional => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
    }
    for one in &container.env {
        let value = match &one.value_from {
            None => Some(expand(&one.value, &env)),
            Some(source) => value_from(pod, container, source, fetched, surroundings)?,
        };
        if let Some(value) = value {
            env.insert(one.name.clone(), value);
        }
    }
    Ok(env)
}

fn value_from(
    pod: &Pod,
    container: &ContainerConfig,
    source: &EnvSource,
    fetched: &Fetched,
    surroundings: &Surroundings,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return field_value(pod, &field.field_path, surroundings).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(pod, Some(container), resource, surroundings).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let map = fetched.config_maps.get(&key.name).and_then(Option::as_ref);
        let found = map.map(|map| text_data(map).remove(&key.key));
        return keyed(pod, key, found, "configmap", "ConfigMap");
    }
    if let Some(key) = &source.secret_key_ref {
        let secret = fetched.secrets.get(&key.name).and_then(Option::as_ref);
        let found = secret.map(|secret| secret_text(secret).remove(&key.key));
        return keyed(pod, key, found, "secret", "Secret");
    }
    Ok(Some(String::new()))
}

fn keyed(
    pod: &Pod,
    key: &KeyRef,
    found: Option<Option<String>>,
    resource: &str,
    kind: &str,
) -> Result<Option<String>, String> {
    match found {
        Some(Some(value)) => Ok(Some(value)),
        _ if key.optional => Ok(None),
        None => Err(format!("{resource} {:?} not found", key.name)),
        Some(None) => Err(format!(
            "couldn't find key {} in {kind} {}/{}",
            key.key,
            pod.namespace(),
            key.name
        )),
    }
}

/// The value of a field that the downward API offers.
pub(crate) fn field_value(pod: &Pod, path: &str, surroundings: &Surroundings) -> Result<String, String> {
    let object = &pod.object;
    let ips = || {
        surroundings
            .pod_ips
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    if let Some((field, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let value = match field {
            "metadata.labels" => object.label(key),
            "metadata.annotations" => object.annotation(key),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(value.unwrap_or_default().to_owned());
    }
    let text = match path {
        "metadata.name" => object.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => object.uid().to_owned(),
        "metadata.labels" => listed(object, "labels"),
        "metadata.annotations" => listed(object, "annotations"),
        "spec.nodeName" => surroundings.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone(),
        "status.hostIP" | "status.hostIPs" => surroundings.host_ip.clone(),
        "status.podIP" => ips().into_iter().next().unwrap_or_default(),
        "status.podIPs" => ips().join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    };
    Ok(text)
}

/// All labels or annotations, as a file of the downward API has them: `key="value"` lines.
fn listed(object: &Object, which: &str) -> String {
    let map = object.at(&["metadata", which]).and_then(Value::as_object);
    let lines = map.into_iter().flatten().map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{key}={value:?}")
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines.join("\n")
}

/// A limit or request of a container, in units of the divisor, rounded up. A missing limit is what the machine has.
pub(crate) fn resource_value(
    pod: &Pod,
    own: Option<&ContainerConfig>,
    reference: &ResourceFieldRef,
    surroundings: &Surroundings,
) -> Result<String, String> {
    let named = pod.container(&reference.container_name);
    let container = if reference.container_name.is_empty() {
        own
    } else {
        named
    };
    let container = container.ok_or_else(|| format!("container {} not found", reference.container_name))?;
    let (kind, name) = reference
        .resource
        .split_once('.')
        .unwrap_or(("", &reference.resource));
    let resources = &container.resources;
    let amount = |value: Option<&Value>| value.and_then(|value| Quantity::from_value(value).ok());
    let limit = amount(resources.limits.get(name));
    let amount = match kind {
        "limits" => limit,
        "requests" => amount(resources.requests.get(name)).or(limit),
        _ => return Err(format!("unsupported container resource : {}", reference.resource)),
    };
    let is_cpu = name == "cpu";
    let whole = match (kind, name) {
        ("limits", "cpu") => Quantity::from_milli(surroundings.cpu_millis),
        ("limits", "memory") => Quantity::from_bytes(surroundings.memory_bytes),
        _ => Quantity::ZERO,
    };
    let amount = amount.unwrap_or(whole);
    let divisor = Quantity::from_value(&reference.divisor).unwrap_or_default();
    let divisor = if divisor.is_zero() {
        Quantity::from_units(1)
    } else {
        divisor
    };
    let (amount, divisor) = if is_cpu {
        (amount.milli(), divisor.milli())
    } else {
        (amount.units(), divisor.units())
    };
    let divisor = divisor.max(1);
    Ok(((amount + divisor - 1) / divisor).to_string())
}

/// `data` of a config map.
pub(crate) fn text_data(map: &Object) -> BTreeMap<String, String> {
    let data = map.at(&["data"]).and_then(Value::as_object);
    let entries = data
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    entries.collect()
}

/// `data` of a secret, or `binaryData` of a config map, decoded.
pub(crate) fn binary_data(object: &Object, field: &str) -> BTreeMap<String, Vec<u8>> {
    let data = object.at(&[field]).and_then(Value::as_object);
    let entries = data
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?)));
    entries.collect()
}

fn secret_text(secret: &Object) -> BTreeMap<String, String> {
    let data = binary_data(secret, "data").into_iter();
    data.map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned()))
        .collect()
}

fn extend(env: &mut BTreeMap<String, String>, prefix: &str, data: BTreeMap<String, String>) {
    for (key, value) in data {
        let name = format!("{prefix}{key}");
        if is_variable_name(&name) {
            env.insert(name, value);
        }
    }
}

/// What may be the name of a variable: anything printable but `=`.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_ascii_graphic() && letter != '=')
}

/// Replaces `$(NAME)` by the variable where there is one; `$$` is a dollar sign.
pub(crate) fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[at..at + name.len() + 3]),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The variables that describe services, as Docker links had them.
fn service_variables(pod: &Pod, services: &[Arc<Object>]) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let linked = pod.spec.enable_service_links.unwrap_or(true);
    for service in services {
        let is_master = service.name() == "kubernetes" && service.namespace() == Some("default");
        let ip = service
            .text(&["spec", "clusterIP"])
            .filter(|ip| !ip.is_empty() && *ip != "None");
        let (true, Some(ip)) = (
            is_master || (linked && service.namespace() == Some(pod.namespace())),
            ip,
        ) else {
            continue;
        };
        let name = service.name().to_ascii_uppercase().replace('-', "_");
        let ports = service.list(&["spec", "ports"]);
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        env.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        for (number, port) in ports.iter().enumerate() {
            let Some(port_number) = port["port"].as_i64() else {
                continue;
            };
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let url = format!("{}://{host}:{port_number}", protocol.to_ascii_lowercase());
            if number == 0 {
                env.insert(format!("{name}_SERVICE_PORT"), port_number.to_string());
                env.insert(format!("{name}_PORT"), url.clone());
            }
            if let Some(port_name) = port["name"].as_str().filter(|name| !name.is_empty()) {
                let port_name = port_name.to_ascii_uppercase().replace('-', "_");
                env.insert(
                    format!("{name}_SERVICE_PORT_{port_name}"),
                    port_number.to_string(),
                );
            }
            let prefix = format!("{name}_PORT_{port_number}_{}", protocol.to_ascii_uppercase());
            env.insert(prefix.clone(), url);
            env.insert(format!("{prefix}_PROTO"), protocol.to_ascii_lowercase());
            env.insert(format!("{prefix}_PORT"), port_number.to_string());
            env.insert(format!("{prefix}_ADDR"), ip.to_owned());
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &Value) -> Pod {
        let object = json!({
            "metadata": { "name": "web-1", "namespace": "shop", "uid": "u1", "labels": { "app": "web" } },
            "spec": spec,
        });
        Pod::read(Arc::new(Object::from_value(object).unwrap())).unwrap()
    }

    fn object(value: Value) -> Option<Arc<Object>> {
        Some(Arc::new(Object::from_value(value).unwrap()))
    }

    fn made(container: &Value) -> Result<BTreeMap<String, String>, String> {
        let pod = pod(&json!({ "containers": [container] }));
        let fetched = Fetched {
            config_maps: [(
                "conf".to_owned(),
                object(json!({ "data": { "COLOR": "red", "a.b": "c" } })),
            )]
            .into(),
            secrets: [("pass".to_owned(), object(json!({ "data": { "PW": "czNjcmV0" } })))].into(),
            services: Vec::new(),
        };
        let surroundings = Surroundings {
            node_name: "n1".into(),
            host_ip: "10.0.0.1".into(),
            pod_ips: vec!["10.1.0.5".parse().unwrap()],
            cpu_millis: 2000,
            memory_bytes: 1 << 30,
        };
        environment(&pod, &pod.spec.containers[0], &fetched, &surroundings)
    }

    fn check(container: &Value, name: &str, expected: &str) {
        let env = made(container).unwrap();
        assert_eq!(
            env.get(name).map(String::as_str),
            Some(expected),
            "{name} of {env:?}"
        );
    }

    #[test]
    fn values_come_from_everywhere() {
        let one = |source: Value| {
            json!({ "name": "c", "env": [{ "name": "X", "valueFrom": source }],
            "resources": { "limits": { "memory": "64Mi", "cpu": "1500m" } } })
        };
        check(
            &one(json!({ "fieldRef": { "fieldPath": "metadata.name" } })),
            "X",
            "web-1",
        );
        check(
            &one(json!({ "fieldRef": { "fieldPath": "metadata.labels['app']" } })),
            "X",
            "web",
        );
        check(
            &one(json!({ "fieldRef": { "fieldPath": "status.podIP" } })),
            "X",
            "10.1.0.5",
        );
        check(
            &one(json!({ "fieldRef": { "fieldPath": "spec.nodeName" } })),
            "X",
            "n1",
        );
        check(
            &one(json!({ "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } })),
            "X",
            "64",
        );
        check(
            &one(json!({ "resourceFieldRef": { "resource": "limits.cpu" } })),
            "X",
            "2",
        );
        check(
            &one(json!({ "resourceFieldRef": { "resource": "requests.cpu", "divisor": "1m" } })),
            "X",
            "1500",
        );
        check(
            &one(json!({ "configMapKeyRef": { "name": "conf", "key": "COLOR" } })),
            "X",
            "red",
        );
        check(
            &one(json!({ "secretKeyRef": { "name": "pass", "key": "PW" } })),
            "X",
            "s3cret",
        );
        check(
            &json!({ "name": "c", "envFrom": [{ "configMapRef": { "name": "conf" }, "prefix": "P_" }] }),
            "P_COLOR",
            "red",
        );
        check(
            &json!({ "name": "c", "envFrom": [{ "secretRef": { "name": "pass" } }] }),
            "PW",
            "s3cret",
        );
    }

    #[test]
    fn later_values_may_name_earlier_ones() {
        let container = json!({ "name": "c", "env": [
            { "name": "A", "value": "1" }, { "name": "B", "value": "$(A)$(C)$$(A) $x" }, { "name": "C", "value": "3" },
        ] });
        check(&container, "B", "1$(C)$(A) $x");
    }

    #[test]
    fn err_what_is_missing_is_named() {
        for (source, expected) in [
            (
                json!({ "configMapKeyRef": { "name": "no", "key": "k" } }),
                "configmap \"no\" not found",
            ),
            (
                json!({ "configMapKeyRef": { "name": "conf", "key": "k" } }),
                "couldn't find key k in ConfigMap shop/conf",
            ),
            (
                json!({ "secretKeyRef": { "name": "no", "key": "k" } }),
                "secret \"no\" not found",
            ),
            (
                json!({ "secretKeyRef": { "name": "pass", "key": "k" } }),
                "couldn't find key k in Secret shop/pass",
            ),
        ] {
            let container = json!({ "name": "c", "env": [{ "name": "X", "valueFrom": source }] });
            assert_eq!(made(&container).unwrap_err(), expected);
        }
        let optional = json!({ "configMapKeyRef": { "name": "no", "key": "k", "optional": true } });
        let env = made(&json!({ "name": "c", "env": [{ "name": "X", "valueFrom": optional }] })).unwrap();
        assert!(!env.contains_key("X"));
    }

    #[test]
    fn services_are_described_as_links() {
        let service = object(json!({
            "metadata": { "name": "my-db", "namespace": "shop" },
            "spec": { "clusterIP": "10.96.0.9", "ports": [{ "name": "sql", "port": 5432, "protocol": "TCP" }] },
        }));
        let env = service_variables(&pod(&json!({})), &[service.unwrap()]);
        assert_eq!(env["MY_DB_SERVICE_HOST"], "10.96.0.9");
        assert_eq!(env["MY_DB_SERVICE_PORT_SQL"], "5432");
        assert_eq!(env["MY_DB_PORT_5432_TCP"], "tcp://10.96.0.9:5432");
    }
}
