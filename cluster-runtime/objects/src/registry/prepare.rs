//! What the server itself sets on an object before it is checked and stored.

use serde_json::{Map, Value, json};

use crate::Object;
use crate::defaults;

use super::quality;
use super::row::KindRow;

impl KindRow {
    /// Prepares a new object: the status is cleared where only its subresource may write it, the generation
    /// starts at 1.
    ///
    /// UID, creation time and name are the caller's to set before, since they are not functions of the object.
    pub fn prepare_for_create(&self, object: &mut Object) {
        self.drop_namespace(object);
        if self.has_status() {
            object.fields_mut().remove("status");
            if let Some(status) = initial_status(&self.table) {
                object.set(&["status"], status);
            }
        }
        if self.counts_generation {
            object.set(&["metadata", "generation"], 1);
        } else {
            object.remove(&["metadata", "generation"]);
        }
        (self.hooks.prepare_create)(self, object);
    }

    /// Prepares a changed object: what only the server or a subresource may write is taken from the old one,
    /// the generation grows when the wish changed.
    pub fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        self.drop_namespace(new);
        keep_server_metadata(new, old);
        if self.has_status() {
            restore(new, old, "status");
        }
        (self.hooks.prepare_update)(self, new, old);
        self.count_generation(new, old);
    }

    /// Prepares an object whose `status` is replaced: all but the status and the metadata is taken from the old one.
    pub fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        self.drop_namespace(new);
        keep_server_metadata(new, old);
        let status = new.fields_mut().remove("status");
        let metadata = new.fields_mut().remove("metadata");
        // What is replaced is not copied first.
        let copied = |key: &str| key != "status" && (key != "metadata" || metadata.is_none());
        let kept = old.fields().iter().filter(|(key, _)| copied(key));
        *new = Object::from(
            kept.map(|(key, value)| (key.clone(), value.clone()))
                .collect::<Map<_, _>>(),
        );
        if let Some(metadata) = metadata {
            new.fields_mut().insert("metadata".to_owned(), metadata);
        }
        match status {
            Some(status) => new.fields_mut().insert("status".to_owned(), status),
            None => new.fields_mut().remove("status"),
        };
        for key in ["generation", "ownerReferences", "finalizers"] {
            match old.at(&["metadata", key]) {
                Some(value) => new.set(&["metadata", key], value.clone()),
                None => drop(new.remove(&["metadata", key])),
            }
        }
        if self.group == "apps" {
            match old.at(&["metadata", "labels"]) {
                Some(labels) => new.set(&["metadata", "labels"], labels.clone()),
                None => drop(new.remove(&["metadata", "labels"])),
            }
        }
    }

    /// Charts put namespaces into cluster-wide objects; Kubernetes takes them out without a word.
    fn drop_namespace(&self, object: &mut Object) {
        if !self.namespaced {
            object.remove(&["metadata", "namespace"]);
        }
    }

    fn count_generation(&self, new: &mut Object, old: &Object) {
        if !self.counts_generation {
            return;
        }
        let mut generation = old.generation();
        if wish(new).ne(wish(old)) {
            generation += 1;
        }
        new.set(&["metadata", "generation"], generation);
    }
}

/// The status of a new object of a built-in kind. Kubernetes' own types print it also where nobody has written it yet,
/// and typed clients read it without looking whether it is there.
fn initial_status(table: &str) -> Option<Value> {
    Some(match table {
        "services" | "ingresses.networking.k8s.io" => json!({"loadBalancer": {}}),
        "replicationcontrollers" | "replicasets.apps" => json!({"replicas": 0}),
        "statefulsets.apps" => json!({"replicas": 0, "availableReplicas": 0}),
        "daemonsets.apps" => json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        }),
        "horizontalpodautoscalers.autoscaling" => json!({"currentReplicas": 0, "desiredReplicas": 0}),
        "poddisruptionbudgets.policy" => json!({
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        }),
        "customresourcedefinitions.apiextensions.k8s.io" => json!({
            "conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": [],
        }),
        "deployments.apps"
        | "jobs.batch"
        | "cronjobs.batch"
        | "resourcequotas"
        | "certificatesigningrequests.certificates.k8s.io" => json!({}),
        _ => return None,
    })
}

/// The fields that the user writes: all but type, metadata and status.
fn wish(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.fields().iter();
    fields.filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
}

/// Takes from the old object the metadata that no request may change.
fn keep_server_metadata(new: &mut Object, old: &Object) {
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        match old.at(&["metadata", key]) {
            Some(value) => new.set(&["metadata", key], value.clone()),
            None => drop(new.remove(&["metadata", key])),
        }
    }
    new.remove(&["metadata", "selfLink"]);
}

fn restore(new: &mut Object, old: &Object, key: &str) {
    match old.fields().get(key) {
        Some(value) => new.fields_mut().insert(key.to_owned(), value.clone()),
        None => new.fields_mut().remove(key),
    };
}

pub(super) fn namespace(_row: &KindRow, object: &mut Object) {
    if object.list(&["spec", "finalizers"]).is_empty() {
        object.set(&["spec", "finalizers"], json!(["kubernetes"]));
    }
    object.set(&["status"], json!({"phase": "Active"}));
}

/// The finalizers of a namespace change only through `finalize`.
pub(super) fn namespace_update(_row: &KindRow, new: &mut Object, old: &Object) {
    restore(new, old, "spec");
}

pub(super) fn pod(_row: &KindRow, object: &mut Object) {
    defaults::pod_on_create(object);
    let class = quality::class_of(object);
    object.set(&["status"], json!({"phase": "Pending", "qosClass": class}));
}

pub(super) fn volume(_row: &KindRow, object: &mut Object) {
    object.set(&["status"], json!({"phase": "Pending"}));
}

/// One address family; addresses and ports of nodes are given by whoever knows which are free.
pub(super) fn service(_row: &KindRow, object: &mut Object) {
    object.set(&["status"], json!({"loadBalancer": {}}));
    if object.text(&["spec", "type"]) == Some("ExternalName") || object.at(&["spec"]).is_none() {
        return;
    }
    if object.list(&["spec", "ipFamilies"]).is_empty() {
        object.set(&["spec", "ipFamilies"], json!(["IPv4"]));
    }
    if object.text(&["spec", "ipFamilyPolicy"]).is_none() {
        object.set(&["spec", "ipFamilyPolicy"], "SingleStack");
    }
    mirror_cluster_ip(object);
}

/// What was given to a service stays with it where the update leaves it open, unless the type says otherwise.
pub(super) fn service_update(_row: &KindRow, new: &mut Object, old: &Object) {
    let kind = |object: &Object| object.text(&["spec", "type"]).unwrap_or("ClusterIP").to_owned();
    let (new_kind, old_kind) = (kind(new), kind(old));
    if new_kind == "ExternalName" || old_kind == "ExternalName" {
        return;
    }
    if new.text(&["spec", "clusterIP"]).is_none_or(str::is_empty) {
        new.remove(&["spec", "clusterIPs"]);
        for key in ["clusterIP", "clusterIPs"] {
            keep_where_open(new, old, key);
        }
    }
    for key in ["ipFamilies", "ipFamilyPolicy"] {
        keep_where_open(new, old, key);
    }
    mirror_cluster_ip(new);
    let on_nodes = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if on_nodes(&new_kind) && on_nodes(&old_kind) {
        keep_node_ports(new, old);
        keep_where_open(new, old, "healthCheckNodePort");
    }
}

fn keep_where_open(new: &mut Object, old: &Object, key: &str) {
    if new.at(&["spec", key]).is_none()
        && let Some(value) = old.at(&["spec", key])
    {
        new.set(&["spec", key], value.clone());
    }
}

/// The first of `clusterIPs` is `clusterIP`; whichever is given gives the other.
fn mirror_cluster_ip(object: &mut Object) {
    let address = object.text(&["spec", "clusterIP"]).unwrap_or_default().to_owned();
    let first = object
        .list(&["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .map(str::to_owned);
    match (address.as_str(), first) {
        ("", Some(first)) => object.set(&["spec", "clusterIP"], first),
        ("", None) => {}
        (_, None) => object.set(&["spec", "clusterIPs"], json!([address])),
        _ => {}
    }
}

/// Ports keep their node port, told apart by port and protocol.
fn keep_node_ports(new: &mut Object, old: &Object) {
    let number = |port: &Value, key: &str| port.get(key).and_then(Value::as_i64).unwrap_or_default();
    let same = |a: &Value, b: &Value| {
        number(a, "port") == number(b, "port") && a.get("protocol") == b.get("protocol")
    };
    let taken: Vec<i64> = new
        .list(&["spec", "ports"])
        .iter()
        .map(|port| number(port, "nodePort"))
        .filter(|port| *port != 0)
        .collect();
    let spec = new.at_mut(&["spec"]);
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if !port.is_object() || number(port, "nodePort") != 0 {
            continue;
        }
        let before = old
            .list(&["spec", "ports"])
            .iter()
            .find(|before| same(before, port));
        let given = before
            .map(|before| number(before, "nodePort"))
            .unwrap_or_default();
        if given != 0 && !taken.contains(&given) {
            port["nodePort"] = given.into();
        }
    }
}

/// Unless the user brings a selector, a job selects its pods by its own UID.
pub(super) fn job(_row: &KindRow, object: &mut Object) {
    let manual = object
        .at(&["spec", "manualSelector"])
        .and_then(Value::as_bool)
        .unwrap_or_default();
    let uid = object.uid().to_owned();
    if manual || uid.is_empty() || object.at(&["spec", "template"]).is_none() {
        return;
    }
    let name = object.name().to_owned();
    let labels = object.at_mut(&["spec", "template", "metadata", "labels"]);
    for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
        labels.entry(key).or_insert_with(|| uid.as_str().into());
    }
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        labels.entry(key).or_insert_with(|| name.as_str().into());
    }
    if object
        .at(&["spec", "selector"])
        .is_none_or(|selector| selector.as_object().is_none_or(Map::is_empty))
    {
        let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        object.set(&["spec", "selector"], selector);
    }
}
