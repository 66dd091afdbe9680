//! What objects cost of a namespace's quota.
//!
//! The rules are those of `k8s.io/kubernetes/pkg/quota/v1`. [`cost`] is what one object takes, [`Quota`] what a
//! `ResourceQuota` counts; admission and the controller that keeps the status ask the same functions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Object;
use crate::amounts::{self, Amounts, amounts};
use crate::quantity::Quantity;

/// Resources of which every container must say how much it needs once they are limited.
const EXPLICIT: [&str; 6] = [
    "cpu",
    "limits.cpu",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.memory",
];

/// Tables whose objects are counted by their plain name as well.
const COUNTED_BY_NAME: [&str; 4] = [
    "configmaps",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
];

/// A `ResourceQuota`, as far as it decides what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Quota<'a> {
    object: &'a Object,
}

impl<'a> Quota<'a> {
    /// The quota that an object describes.
    pub fn new(object: &'a Object) -> Self {
        Self { object }
    }

    /// How much of each resource there may be.
    pub fn hard(&self) -> Amounts {
        amounts(self.object.at(&["spec", "hard"]))
    }

    /// The tables of the store whose objects may cost something of it.
    pub fn tables(&self) -> BTreeSet<String> {
        self.hard()
            .keys()
            .map(|resource| table_of(resource).to_owned())
            .collect()
    }

    /// What an object of a table takes of this quota: only resources that it limits, nothing where its scopes pass
    /// the object over.
    pub fn cost(&self, table: &str, object: &Object) -> Amounts {
        if !self.covers(table, object) {
            return Amounts::new();
        }
        let hard = self.hard();
        let mut taken = cost(table, object);
        taken.retain(|resource, _| hard.contains_key(resource));
        taken
    }

    /// Whether the scopes of the quota select an object.
    fn covers(&self, table: &str, object: &Object) -> bool {
        let scopes = self
            .object
            .list(&["spec", "scopes"])
            .iter()
            .filter_map(Value::as_str);
        let plain = scopes.map(|scope| (scope, "Exists", &[][..]));
        let expressions = self.object.list(&["spec", "scopeSelector", "matchExpressions"]);
        let selected = expressions.iter().map(|expression| {
            let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array);
            (
                text("scopeName"),
                text("operator"),
                values.map_or(&[][..], Vec::as_slice),
            )
        });
        plain
            .chain(selected)
            .all(|(scope, operator, values)| match table {
                "pods" => pod_is_in(object, scope, operator, values),
                "persistentvolumeclaims" if scope == "VolumeAttributesClass" => {
                    let class = object
                        .text(&["spec", "volumeAttributesClassName"])
                        .unwrap_or_default();
                    matches(operator, class, values)
                }
                _ => false,
            })
    }

    /// What the containers of a pod must say and do not, in the words of Kubernetes; `None` when nothing is missing.
    pub fn unsaid(&self, pod: &Object) -> Option<String> {
        if !self.covers("pods", pod) {
            return None;
        }
        let hard = self.hard();
        let needed: Vec<&str> = EXPLICIT
            .into_iter()
            .filter(|resource| hard.contains_key(*resource))
            .collect();
        let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for list in ["containers", "initContainers"] {
            for container in pod.list(&["spec", list]) {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
                for resource in &needed {
                    let (kind, plain) = resource.split_once('.').unwrap_or(("requests", resource));
                    let said = |kind: &str| container.pointer(&format!("/resources/{kind}/{plain}"));
                    let of_pod = pod.at(&["spec", "resources", kind, plain]);
                    if said(kind).is_none() && of_pod.is_none() {
                        missing.entry(resource).or_default().push(name);
                    }
                }
            }
        }
        if missing.is_empty() {
            return None;
        }
        let parts: Vec<String> = missing
            .iter_mut()
            .map(|(resource, containers)| {
                containers.sort_unstable();
                format!("{resource} for: {}", containers.join(","))
            })
            .collect();
        Some(format!("must specify {}", parts.join("; ")))
    }
}

/// The table whose objects cost a resource.
fn table_of(resource: &str) -> &str {
    if let Some(table) = resource.strip_prefix("count/") {
        return table;
    }
    if resource.contains(".storageclass.storage.k8s.io/") || resource == "requests.storage" {
        return "persistentvolumeclaims";
    }
    match resource {
        "services" | "services.nodeports" | "services.loadbalancers" => "services",
        "persistentvolumeclaims" => "persistentvolumeclaims",
        name if COUNTED_BY_NAME.contains(&name) => name,
        _ => "pods",
    }
}

/// What an object of a table takes, of any resource that can be limited.
pub fn cost(table: &str, object: &Object) -> Amounts {
    let one = Quantity::from_units(1);
    let mut taken = Amounts::from([(format!("count/{table}"), one)]);
    match table {
        "pods" => pod(object, &mut taken),
        "services" => service(object, &mut taken),
        "persistentvolumeclaims" => claim(object, &mut taken),
        name if COUNTED_BY_NAME.contains(&name) => drop(taken.insert(name.to_owned(), one)),
        _ => {}
    }
    taken
}

/// A pod that has ended takes up nothing but its object.
fn pod(pod: &Object, taken: &mut Amounts) {
    if matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed")) {
        return;
    }
    taken.insert("pods".to_owned(), Quantity::from_units(1));
    for (resource, amount) in amounts::of_pod(pod, "requests") {
        if matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || resource.starts_with("hugepages-")
        {
            taken.insert(resource.clone(), amount);
        }
        taken.insert(format!("requests.{resource}"), amount);
    }
    for (resource, amount) in amounts::of_pod(pod, "limits") {
        taken.insert(format!("limits.{resource}"), amount);
    }
}

fn service(service: &Object, taken: &mut Amounts) {
    let one = Quantity::from_units(1);
    taken.insert("services".to_owned(), one);
    let ports = service.list(&["spec", "ports"]);
    let count = |ports: usize| Quantity::from_units(i64::try_from(ports).unwrap_or(i64::MAX));
    match service.text(&["spec", "type"]) {
        Some("NodePort") => drop(taken.insert("services.nodeports".to_owned(), count(ports.len()))),
        Some("LoadBalancer") => {
            let allocates =
                service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
            let given = ports
                .iter()
                .filter(|port| allocates || port.get("nodePort").is_some_and(|port| port != 0));
            taken.insert("services.nodeports".to_owned(), count(given.count()));
            taken.insert("services.loadbalancers".to_owned(), one);
        }
        _ => {}
    }
}

fn claim(claim: &Object, taken: &mut Amounts) {
    let one = Quantity::from_units(1);
    let class = claim
        .text(&["spec", "storageClassName"])
        .or_else(|| claim.annotation("volume.beta.kubernetes.io/storage-class"))
        .filter(|class| !class.is_empty());
    let of_class =
        |resource: &str| class.map(|class| format!("{class}.storageclass.storage.k8s.io/{resource}"));
    taken.insert("persistentvolumeclaims".to_owned(), one);
    taken.extend(of_class("persistentvolumeclaims").map(|name| (name, one)));
    let storage = claim.at(&["spec", "resources", "requests", "storage"]);
    if let Some(storage) = storage.and_then(|storage| Quantity::from_value(storage).ok()) {
        taken.insert("requests.storage".to_owned(), storage);
        taken.extend(of_class("requests.storage").map(|name| (name, storage)));
    }
}

fn pod_is_in(pod: &Object, scope: &str, operator: &str, values: &[Value]) -> bool {
    let has_deadline = pod
        .integer(&["spec", "activeDeadlineSeconds"])
        .is_some_and(|seconds| seconds >= 0);
    let best_effort = || {
        ["requests", "limits"].iter().all(|kind| {
            let whole = amounts::of_pod(pod, kind);
            ["cpu", "memory"]
                .iter()
                .all(|name| whole.get(*name).is_none_or(|amount| amount.is_zero()))
        })
    };
    match scope {
        "Terminating" => has_deadline,
        "NotTerminating" => !has_deadline,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = pod.text(&["spec", "priorityClassName"]).unwrap_or_default();
            matches(operator, class, values)
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn matches(operator: &str, value: &str, values: &[Value]) -> bool {
    match operator {
        "In" => values.iter().any(|one| one == value),
        "NotIn" => values.iter().all(|one| one != value),
        "DoesNotExist" => value.is_empty(),
        _ => !value.is_empty(),
    }
}

/// Whether an affinity of a pod speaks of pods in other namespaces.
fn crosses_namespaces(pod: &Object) -> bool {
    let crosses = |term: &Value| {
        let named = term
            .get("namespaces")
            .and_then(Value::as_array)
            .is_some_and(|names| !names.is_empty());
        named
            || term
                .get("namespaceSelector")
                .is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let list = |when: &str| pod.list(&["spec", "affinity", kind, when]);
        list("requiredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .any(crosses)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| weighted.get("podAffinityTerm").is_some_and(crosses))
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    fn check(quota: Value, table: &str, thing: Value, wanted: &str) {
        let quota = object(json!({"spec": quota}));
        let taken = Quota::new(&quota).cost(table, &object(thing.clone()));
        let taken: Vec<String> = taken
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect();
        assert_eq!(taken.join(","), wanted, "{thing}");
    }

    #[test]
    fn objects_cost_what_they_ask_for() {
        let pods = json!({"hard": {"pods": "5", "cpu": "1", "limits.memory": "1Gi", "count/pods": "9"}});
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"memory": "1Mi"}}});
        let pod =
            json!({"spec": {"containers": [asks("100m"), asks("200m")], "initContainers": [asks("250m")]}});
        check(
            pods.clone(),
            "pods",
            pod,
            "count/pods=1,cpu=300m,limits.memory=2Mi,pods=1",
        );
        let first = json!({"spec": {"containers": [asks("100m")], "initContainers": [asks("250m")]}});
        check(
            pods.clone(),
            "pods",
            first,
            "count/pods=1,cpu=250m,limits.memory=1Mi,pods=1",
        );
        let ended = json!({"spec": {"containers": [asks("1")]}, "status": {"phase": "Failed"}});
        check(pods.clone(), "pods", ended, "count/pods=1");
        check(pods, "services", json!({}), "");
        let service = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}});
        let services = json!({"hard": {"services": 1, "services.nodeports": 1, "services.loadbalancers": 1}});
        check(
            services,
            "services",
            service,
            "services=1,services.loadbalancers=1,services.nodeports=2",
        );
        let claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}});
        let claims = json!({"hard": {"requests.storage": "1", "fast.storageclass.storage.k8s.io/requests.storage": 1}});
        let wanted = "fast.storageclass.storage.k8s.io/requests.storage=5Gi,requests.storage=5Gi";
        check(claims, "persistentvolumeclaims", claim, wanted);
        check(
            json!({"hard": {"count/jobs.batch": 1}}),
            "jobs.batch",
            json!({}),
            "count/jobs.batch=1",
        );
    }

    #[test]
    fn scopes_choose_pods() {
        let best = json!({"spec": {"containers": [{}]}});
        let asks = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": 1}}}], "priorityClassName": "high"}});
        let scoped = |scope: &str| json!({"hard": {"pods": 1}, "scopes": [scope]});
        check(scoped("BestEffort"), "pods", best.clone(), "pods=1");
        check(scoped("BestEffort"), "pods", asks.clone(), "");
        check(scoped("NotTerminating"), "pods", asks.clone(), "pods=1");
        check(scoped("Terminating"), "pods", asks.clone(), "");
        let selected = |operator: &str| {
            let expression = json!({"scopeName": "PriorityClass", "operator": operator, "values": ["high"]});
            json!({"hard": {"pods": 1}, "scopeSelector": {"matchExpressions": [expression]}})
        };
        check(selected("In"), "pods", asks.clone(), "pods=1");
        check(selected("NotIn"), "pods", asks, "");
        check(selected("In"), "pods", best, "");
    }

    #[test]
    fn what_is_limited_must_be_said() {
        let quota = object(json!({"spec": {"hard": {"limits.cpu": 1, "memory": "1Gi", "pods": 1}}}));
        let pod = |containers: Value| object(json!({"spec": {"containers": containers}}));
        let none = pod(json!([{"name": "b"}, {"name": "a"}]));
        let wanted = "must specify limits.cpu for: a,b; memory for: a,b";
        assert_eq!(Quota::new(&quota).unsaid(&none).as_deref(), Some(wanted));
        let all = pod(json!([{"name": "a", "resources": {"limits": {"cpu": 1}, "requests": {"memory": 1}}}]));
        assert_eq!(Quota::new(&quota).unsaid(&all), None);
    }
}
