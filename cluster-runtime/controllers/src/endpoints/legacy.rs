//! The `Endpoints` object that came before slices: one for each service, for those who still read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_client::{Collection, Target};
use cluster_objects::Object;
use serde_json::{Map, Value, json};

use super::{backends, legacy_endpoints};
use crate::pod;
use crate::step::{self, Step};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Most addresses in the object; slices show them all.
const ADDRESSES_MAX: usize = 1000;

#[derive(Default)]
struct Subset {
    ports: Vec<Value>,
    ready: Vec<Value>,
    not_ready: Vec<Value>,
}

/// Steps that make the object show the pods of its service.
pub(crate) fn plan(service: &Object, pods: &[Arc<Object>], present: Option<&Object>) -> Vec<Step> {
    let mut subsets: BTreeMap<String, Subset> = BTreeMap::new();
    let shown =
        |pod: &&Arc<Object>| pod.deletion_timestamp().is_none() || backends::publishes_not_ready(service);
    let v6 = service.text(&["spec", "clusterIP"]).is_some_and(backends::is_v6);
    for pod in pods.iter().filter(shown).take(ADDRESSES_MAX) {
        let addresses = backends::addresses(pod);
        let Some(address) = addresses
            .into_iter()
            .find(|address| backends::is_v6(address) == v6)
        else {
            continue;
        };
        let ports: Vec<Value> = backends::ports(service, pod)
            .into_iter()
            .map(without_empty_name)
            .collect();
        let subset = subsets.entry(Value::from(ports.clone()).to_string()).or_default();
        subset.ports = ports;
        let shown = address_of(service, pod, address);
        if backends::readiness(service, pod).ready {
            subset.ready.push(shown);
        } else {
            subset.not_ready.push(shown);
        }
    }
    let subsets: Vec<Value> = subsets.into_values().map(value_of).collect();
    let labels = labels(service);
    let truncated = pods.len() > ADDRESSES_MAX;
    let Some(present) = present else {
        let mut object = Object::new("v1", "Endpoints", service.namespace(), service.name());
        object.set(&["metadata", "labels"], labels);
        if truncated {
            object.set(&["metadata", "annotations", OVER_CAPACITY], "truncated");
        }
        if !subsets.is_empty() {
            object.set(&["subsets"], subsets);
        }
        return vec![Step::Create {
            collection: Collection {
                resource: legacy_endpoints(),
                namespace: service.namespace().map(str::to_owned),
            },
            object,
            said: None,
        }];
    };
    let marked = present.annotation(OVER_CAPACITY).is_some();
    if present.list(&["subsets"]) == subsets && present.labels() == Some(&labels) && marked == truncated {
        return Vec::new();
    }
    let mut object = present.clone();
    object.set(&["metadata", "labels"], labels);
    object.set(&["subsets"], subsets);
    if truncated {
        object.set(&["metadata", "annotations", OVER_CAPACITY], "truncated");
    } else {
        object.remove(&["metadata", "annotations", OVER_CAPACITY]);
    }
    vec![Step::Update {
        target: Target::of(&legacy_endpoints(), present),
        object,
    }]
}

/// Steps for an object whose service is gone: it goes too, where it was ours.
pub(crate) fn plan_without_service(present: &Object) -> Vec<Step> {
    if present.label(MANAGED_BY) != Some(MANAGER) || present.deletion_timestamp().is_some() {
        return Vec::new();
    }
    vec![step::delete(&legacy_endpoints(), present, None)]
}

fn without_empty_name(mut port: Value) -> Value {
    if port["name"] == ""
        && let Value::Object(fields) = &mut port
    {
        fields.remove("name");
    }
    port
}

fn address_of(service: &Object, pod: &Object, address: &str) -> Value {
    let mut shown = json!({"ip": address, "targetRef": backends::target_reference(pod)});
    let node = pod::node_name(pod);
    if !node.is_empty() {
        shown["nodeName"] = node.into();
    }
    if let Some(host) = backends::host_name(service, pod) {
        shown["hostname"] = host.into();
    }
    shown
}

fn value_of(subset: Subset) -> Value {
    let mut value = Map::new();
    for (name, list) in [
        ("addresses", subset.ready),
        ("notReadyAddresses", subset.not_ready),
        ("ports", subset.ports),
    ] {
        if !list.is_empty() {
            value.insert(name.into(), list.into());
        }
    }
    Value::Object(value)
}

fn labels(service: &Object) -> Map<String, Value> {
    let mut labels = service.labels().cloned().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if backends::is_headless(service) {
        labels.insert(HEADLESS.into(), "".into());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}
