//! Endpoint slices: pods behind a service, at most so many in one slice.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_client::{Collection, Target};
use cluster_objects::Object;
use serde_json::{Map, Value, json};

use super::{backends, endpoint_slices};
use crate::pod;
use crate::step::{self, Step};
use crate::template::generate_name;

/// The label with the name of the service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Most endpoints in one slice.
const ENDPOINTS_MAX: usize = 100;

/// `namespace/name` of the service that a slice of ours belongs to.
pub(crate) fn service_of(slice: &Object) -> Option<String> {
    if slice.label(MANAGED_BY) != Some(MANAGER) {
        return None;
    }
    Some(format!("{}/{}", slice.namespace()?, slice.label(SERVICE_NAME)?))
}

/// What all endpoints of a slice share: the kind of address and the ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    address_type: &'static str,
    /// The ports as text, to compare and order them.
    ports: String,
}

/// Steps that make the slices of a service show its pods.
pub(crate) fn plan(
    service: &Object,
    pods: &[Arc<Object>],
    slices: &[Arc<Object>],
    zone_of: &dyn Fn(&str) -> Option<String>,
) -> Vec<Step> {
    let mut wanted: BTreeMap<Group, (Vec<Value>, BTreeMap<String, Value>)> = BTreeMap::new();
    for pod in pods {
        for family in families(service) {
            let v6 = family == "IPv6";
            let address = backends::addresses(pod)
                .into_iter()
                .find(|address| backends::is_v6(address) == v6);
            let Some(address) = address else { continue };
            let ports = backends::ports(service, pod);
            let group = Group {
                address_type: family,
                ports: Value::from(ports.clone()).to_string(),
            };
            let endpoint = endpoint(service, pod, address, zone_of);
            let (_, endpoints) = wanted.entry(group).or_insert_with(|| (ports, BTreeMap::new()));
            endpoints.insert(identity(&endpoint), endpoint);
        }
    }
    let mut existing: BTreeMap<Group, Vec<&Arc<Object>>> = BTreeMap::new();
    let live = slices.iter().filter(|slice| slice.deletion_timestamp().is_none());
    for slice in live {
        existing.entry(group_of(slice)).or_default().push(slice);
    }
    if wanted.is_empty() {
        // One empty slice says that there is nothing, so that "none" and "not known yet" differ.
        let group = existing.keys().next().cloned();
        let group = group.unwrap_or_else(|| Group {
            address_type: families(service)[0],
            ports: "[]".into(),
        });
        let ports = existing
            .get(&group)
            .map_or(Vec::new(), |slices| slices[0].list(&["ports"]).to_vec());
        wanted.insert(group, (ports, BTreeMap::new()));
    }
    let mut steps = Vec::new();
    for (group, (ports, endpoints)) in wanted {
        let slices = existing.remove(&group).unwrap_or_default();
        plan_group(service, &group, &ports, endpoints, &slices, &mut steps);
    }
    let superfluous = existing.into_values().flatten();
    steps.extend(superfluous.map(|slice| step::delete(&endpoint_slices(), slice, None)));
    steps
}

/// Distributes the endpoints of a group: those that have a slice stay in it, the others fill slices up.
fn plan_group(
    service: &Object,
    group: &Group,
    ports: &[Value],
    mut endpoints: BTreeMap<String, Value>,
    slices: &[&Arc<Object>],
    steps: &mut Vec<Step>,
) {
    let mut contents: Vec<(Option<&Arc<Object>>, Vec<Value>)> = Vec::new();
    for slice in slices {
        let present = slice.list(&["endpoints"]).iter();
        let kept: Vec<Value> = present
            .filter_map(|endpoint| endpoints.remove(&identity(endpoint)))
            .collect();
        contents.push((Some(slice), kept));
    }
    let mut rest = endpoints.into_values();
    for (_, kept) in &mut contents {
        let room = ENDPOINTS_MAX.saturating_sub(kept.len());
        kept.extend(rest.by_ref().take(room));
    }
    loop {
        let fresh: Vec<Value> = rest.by_ref().take(ENDPOINTS_MAX).collect();
        if fresh.is_empty() {
            break;
        }
        contents.push((None, fresh));
    }
    if contents.is_empty() {
        contents.push((None, Vec::new()));
    }
    let any = contents.iter().any(|(_, endpoints)| !endpoints.is_empty());
    for (position, (slice, endpoints)) in contents.into_iter().enumerate() {
        let keep = !endpoints.is_empty() || (!any && position == 0);
        match slice {
            Some(slice) if !keep => steps.push(step::delete(&endpoint_slices(), slice, None)),
            Some(slice) => steps.extend(update(service, slice, ports, endpoints)),
            None => steps.push(create(service, group, ports, endpoints)),
        }
    }
}

fn create(service: &Object, group: &Group, ports: &[Value], endpoints: Vec<Value>) -> Step {
    let mut slice = Object::new("discovery.k8s.io/v1", "EndpointSlice", service.namespace(), "");
    slice.remove(&["metadata", "name"]);
    slice.set(&["metadata", "generateName"], generate_name(service.name()));
    slice.set(&["metadata", "labels"], labels(service));
    slice.set(
        &["metadata", "ownerReferences"],
        json!([service.controller_reference()]),
    );
    slice.set(&["addressType"], group.address_type);
    slice.set(&["ports"], ports.to_vec());
    slice.set(&["endpoints"], endpoints);
    Step::Create {
        collection: Collection {
            resource: endpoint_slices(),
            namespace: service.namespace().map(str::to_owned),
        },
        object: slice,
        said: None,
    }
}

fn update(service: &Object, slice: &Arc<Object>, ports: &[Value], endpoints: Vec<Value>) -> Option<Step> {
    let labels = labels(service);
    let same = slice.list(&["endpoints"]) == endpoints
        && slice.list(&["ports"]) == ports
        && slice.labels() == Some(&labels);
    if same {
        return None;
    }
    let mut object = (**slice).clone();
    object.set(&["metadata", "labels"], labels);
    object.set(&["ports"], ports.to_vec());
    object.set(&["endpoints"], endpoints);
    Some(Step::Update {
        target: Target::of(&endpoint_slices(), slice),
        object,
    })
}

fn labels(service: &Object) -> Map<String, Value> {
    let mut labels = service.labels().cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), service.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if backends::is_headless(service) {
        labels.insert(HEADLESS.into(), "".into());
    }
    labels
}

/// The kinds of address of a service.
fn families(service: &Object) -> Vec<&'static str> {
    let known = |family: &Value| match family.as_str() {
        Some("IPv4") => Some("IPv4"),
        Some("IPv6") => Some("IPv6"),
        _ => None,
    };
    let families: Vec<_> = service
        .list(&["spec", "ipFamilies"])
        .iter()
        .filter_map(known)
        .collect();
    if families.is_empty() {
        vec!["IPv4"]
    } else {
        families
    }
}

fn group_of(slice: &Object) -> Group {
    Group {
        address_type: if slice.text(&["addressType"]) == Some("IPv6") {
            "IPv6"
        } else {
            "IPv4"
        },
        ports: Value::from(slice.list(&["ports"]).to_vec()).to_string(),
    }
}

/// What makes two endpoints the same one: the pod, or the address of what is no pod.
fn identity(endpoint: &Value) -> String {
    let target = endpoint["targetRef"]["uid"].as_str();
    target
        .or(endpoint["addresses"][0].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn endpoint(
    service: &Object,
    pod: &Object,
    address: &str,
    zone_of: &dyn Fn(&str) -> Option<String>,
) -> Value {
    let state = backends::readiness(service, pod);
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": state.ready, "serving": state.serving, "terminating": state.terminating},
        "targetRef": backends::target_reference(pod),
    });
    let node = pod::node_name(pod);
    if !node.is_empty() {
        endpoint["nodeName"] = node.into();
        if let Some(zone) = zone_of(node) {
            endpoint["zone"] = zone.into();
        }
    }
    if let Some(host) = backends::host_name(service, pod) {
        endpoint["hostname"] = host.into();
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Object {
        let mut service = Object::new("v1", "Service", Some("default"), "web");
        service.set(&["metadata", "uid"], "web");
        service.set(&["spec"], json!({"ports": [{"port": 80, "targetPort": "http"}]}));
        service
    }

    fn pod(number: usize, port: i64) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some("default"), &format!("web-{number}"));
        pod.set(&["metadata", "uid"], format!("{number:04}"));
        pod.set(
            &["spec", "containers"],
            json!([{"ports": [{"name": "http", "containerPort": port}]}]),
        );
        let address = format!("10.0.{}.{}", number / 250, number % 250);
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        pod.set(
            &["status"],
            json!({"podIPs": [{"ip": address}], "conditions": conditions}),
        );
        Arc::new(pod)
    }

    /// The slices after a plan: a creation makes one, an update replaces one, a deletion removes one. Besides, the
    /// plan in words.
    fn apply(slices: &mut Vec<Arc<Object>>, pods: &[Arc<Object>]) -> Vec<String> {
        let mut words = Vec::new();
        for step in plan(&service(), pods, slices, &|_| None) {
            let count = |object: &Object| object.list(&["endpoints"]).len();
            match step {
                Step::Create { mut object, .. } => {
                    words.push(format!("+{}", count(&object)));
                    let taken = slices
                        .iter()
                        .filter_map(|slice| slice.name()[1..].parse::<usize>().ok());
                    let name = format!("s{}", taken.max().map_or(0, |number| number + 1));
                    object.set(&["metadata", "name"], name.as_str());
                    object.set(&["metadata", "uid"], name);
                    slices.push(Arc::new(object));
                }
                Step::Update { target, object } => {
                    words.push(format!("{}={}", target.name, count(&object)));
                    slices.retain(|slice| slice.name() != target.name);
                    slices.push(Arc::new(object));
                }
                Step::Delete { target, .. } => {
                    words.push(format!("-{}", target.name));
                    slices.retain(|slice| slice.name() != target.name);
                }
                other => words.push(format!("{other:?}")),
            }
            slices.sort_by_key(|slice| slice.name().to_owned());
        }
        words
    }

    #[test]
    fn pods_stay_in_their_slice_and_new_ones_fill_slices_up() {
        let mut slices = Vec::new();
        let pods: Vec<Arc<Object>> = (0..250).map(|number| pod(number, 8080)).collect();
        assert_eq!(apply(&mut slices, &[]), ["+0"]);
        assert_eq!(apply(&mut slices, &[]), Vec::<String>::new());
        assert_eq!(apply(&mut slices, &pods[..150]), ["+100", "+50", "-s0"]);
        assert_eq!(apply(&mut slices, &pods[..150]), Vec::<String>::new());
        assert_eq!(apply(&mut slices, &pods), ["s2=100", "+50"]);
        // One pod leaves a full slice: only that slice changes.
        let fewer: Vec<Arc<Object>> = pods[1..].to_vec();
        assert_eq!(apply(&mut slices, &fewer), ["s1=99"]);
        assert_eq!(apply(&mut slices, &fewer[..99]), ["-s2", "-s3"]);
    }

    #[test]
    fn pods_with_other_ports_have_slices_of_their_own() {
        let mut slices = Vec::new();
        assert_eq!(apply(&mut slices, &[pod(1, 8080), pod(2, 9090)]), ["+1", "+1"]);
        assert_eq!(apply(&mut slices, &[pod(1, 8080)]), ["-s1"]);
        assert_eq!(apply(&mut slices, &[]), ["s0=0"]);
    }
}
