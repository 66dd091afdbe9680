//! `LimitRange`: what containers get that say nothing, and how little and how much there may be.
//!
//! Rules and words are those of `k8s.io/kubernetes/plugin/pkg/admission/limitranger`.

use cluster_objects::amounts::{self, Amounts, amounts};
use cluster_objects::quantity::Quantity;
use cluster_objects::{Object, Status};
use serde_json::Value;

use super::super::admission::Admission;

/// Gives containers the requests and limits that the namespace has for those that name none.
pub(in super::super) fn apply_limits(admission: &mut Admission<'_>) -> Result<(), Status> {
    if !is_limited(admission) || &*admission.row.table != "pods" || admission.old.is_some() {
        return Ok(());
    }
    for range in admission.beside("limitranges")? {
        give_defaults(&mut admission.object, &range);
    }
    Ok(())
}

/// Refuses what is smaller or bigger than the namespace allows.
pub(in super::super) fn check_limits(admission: &mut Admission<'_>) -> Result<(), Status> {
    if !is_limited(admission) {
        return Ok(());
    }
    // The resources of a pod that runs change by `resize` alone.
    let is_pod = &*admission.row.table == "pods";
    if is_pod && admission.old.is_some() && admission.subresource != "resize" {
        return Ok(());
    }
    for range in admission.beside("limitranges")? {
        let faults = if is_pod {
            faults_of_pod(&admission.object, &range)
        } else {
            faults_of_claim(&admission.object, &range)
        };
        let why = match faults.as_slice() {
            [] => continue,
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        return Err(Status::forbidden(
            &admission.row.resource(),
            admission.object.name(),
            &why,
        ));
    }
    Ok(())
}

fn is_limited(admission: &Admission<'_>) -> bool {
    admission.namespace.is_some() && matches!(&*admission.row.table, "pods" | "persistentvolumeclaims")
}

/// The limits of a range for things of one type.
fn limits<'a>(range: &'a Object, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let items = range.list(&["spec", "limits"]).iter();
    items.filter(move |limit| limit.get("type").is_some_and(|own| own == kind))
}

fn give_defaults(pod: &mut Object, range: &Object) {
    let (mut limit, mut request) = (Amounts::new(), Amounts::new());
    for item in limits(range, "Container") {
        for (into, field) in [(&mut limit, "default"), (&mut request, "defaultRequest")] {
            for (name, amount) in amounts(item.get(field)) {
                into.entry(name).or_insert(amount);
            }
        }
    }
    if limit.is_empty() && request.is_empty() {
        return;
    }
    let mut told = Vec::new();
    for (list, what) in [("initContainers", "init container"), ("containers", "container")] {
        let Some(Value::Array(mut containers)) = pod.at(&["spec", list]).cloned() else {
            continue;
        };
        for container in &mut containers {
            let name = container
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            for (field, word, defaults) in [("requests", "request", &request), ("limits", "limit", &limit)] {
                let given = fill(container, field, defaults);
                if !given.is_empty() {
                    told.push(format!("{} {word} for {what} {name}", given.join(", ")));
                }
            }
        }
        pod.set(&["spec", list], containers);
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.set(&["metadata", "annotations", "kubernetes.io/limit-ranger"], text);
    }
}

/// Fills in what a container leaves open; gives the names of what it was given.
fn fill(container: &mut Value, field: &str, defaults: &Amounts) -> Vec<String> {
    let present = amounts(container.pointer(&format!("/resources/{field}")));
    let missing: Amounts = defaults
        .iter()
        .filter(|(name, _)| !present.contains_key(*name))
        .map(|(k, v)| (k.clone(), *v))
        .collect();
    let names: Vec<String> = missing.keys().cloned().collect();
    if let (false, Value::Object(added)) = (names.is_empty(), amounts::to_value(&missing)) {
        let Some(container) = container.as_object_mut() else {
            return Vec::new();
        };
        let resources = container
            .entry("resources")
            .or_insert_with(|| Value::Object(Default::default()));
        if !resources.is_object() {
            *resources = Value::Object(Default::default());
        }
        let amounts = &mut resources[field];
        if !amounts.is_object() {
            *amounts = Value::Object(Default::default());
        }
        if let Some(amounts) = amounts.as_object_mut() {
            amounts.extend(added);
        }
    }
    names
}

fn faults_of_pod(pod: &Object, range: &Object) -> Vec<String> {
    let mut faults = Vec::new();
    for limit in limits(range, "Container") {
        for list in ["containers", "initContainers"] {
            for container in pod.list(&["spec", list]) {
                let of = |kind: &str| amounts(container.pointer(&format!("/resources/{kind}")));
                compare(limit, "Container", &of("requests"), &of("limits"), &mut faults);
            }
        }
    }
    for limit in limits(range, "Pod") {
        let (requests, most) = (amounts::of_pod(pod, "requests"), amounts::of_pod(pod, "limits"));
        compare(limit, "Pod", &requests, &most, &mut faults);
    }
    faults
}

fn faults_of_claim(claim: &Object, range: &Object) -> Vec<String> {
    let mut faults = Vec::new();
    let requests = amounts(claim.at(&["spec", "resources", "requests"]));
    for limit in limits(range, "PersistentVolumeClaim") {
        let kind = "PersistentVolumeClaim";
        for (resource, least) in amounts(limit.get("min")) {
            let asked = requests.get(&resource).copied().unwrap_or_default();
            if asked < least {
                faults.push(format!(
                    "minimum {resource} usage per {kind} is {least}, but request is {asked}"
                ));
            }
        }
        for (resource, most) in amounts(limit.get("max")) {
            let asked = requests.get(&resource).copied().unwrap_or_default();
            if asked > most {
                faults.push(format!(
                    "maximum {resource} usage per {kind} is {most}, but request is {asked}"
                ));
            }
        }
    }
    faults
}

/// Compares requests and limits with the least, the most and the ratio that are allowed.
fn compare(item: &Value, kind: &str, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
    for (resource, least) in amounts(item.get("min")) {
        let rule = format!("minimum {resource} usage per {kind} is {least}");
        match (requests.get(&resource), limits.get(&resource)) {
            (None, _) => faults.push(format!("{rule}.  No request is specified")),
            (Some(request), _) if *request < least => {
                faults.push(format!("{rule}, but request is {request}"));
            }
            (_, Some(limit)) if *limit < least => faults.push(format!("{rule}, but limit is {limit}")),
            _ => {}
        }
    }
    for (resource, most) in amounts(item.get("max")) {
        let rule = format!("maximum {resource} usage per {kind} is {most}");
        match (requests.get(&resource), limits.get(&resource)) {
            (_, None) => faults.push(format!("{rule}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => faults.push(format!("{rule}, but limit is {limit}")),
            (Some(request), _) if *request > most => faults.push(format!("{rule}, but request is {request}")),
            _ => {}
        }
    }
    for (resource, ratio) in amounts(item.get("maxLimitRequestRatio")) {
        let rule = format!("{resource} max limit to request ratio per {kind} is {ratio}");
        let of = |amounts: &Amounts| amounts.get(&resource).copied().filter(|amount| !amount.is_zero());
        match (of(requests), of(limits)) {
            (None, _) => faults.push(format!("{rule}, but no request is specified or request is 0")),
            (_, None) => faults.push(format!("{rule}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let real = share(limit, request);
                if real > share(ratio, Quantity::from_units(1)) {
                    faults.push(format!("{rule}, but provided ratio is {real:.6}"));
                }
            }
        }
    }
}

/// How often one amount goes into another.
fn share(amount: Quantity, of: Quantity) -> f64 {
    amount.milli() as f64 / of.milli() as f64
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    fn range(item: Value) -> Object {
        object(json!({"spec": {"limits": [item]}}))
    }

    fn check(item: Value, resources: Value, wanted: &[&str]) {
        let pod = object(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}}));
        assert_eq!(faults_of_pod(&pod, &range(item.clone())), wanted, "{item}");
    }

    #[test]
    fn containers_that_say_nothing_get_the_defaults() {
        let range = range(json!({
            "type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"},
        }));
        let mut pod = object(json!({"spec": {"containers": [
            {"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}},
        ]}}));
        give_defaults(&mut pod, &range);
        let containers = pod.list(&["spec", "containers"]);
        let given = json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}});
        assert_eq!(containers[0]["resources"], given);
        let kept = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}});
        assert_eq!(containers[1]["resources"], kept);
        let told = "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; memory \
                    limit for container b";
        assert_eq!(pod.annotation("kubernetes.io/limit-ranger"), Some(told));
    }

    #[test]
    fn too_little_and_too_much_is_refused() {
        let container = |field: &str| json!({"type": "Container", field: {"cpu": "500m"}});
        let asks =
            |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        check(
            container("min"),
            json!({}),
            &["minimum cpu usage per Container is 500m.  No request is specified"],
        );
        check(
            container("min"),
            asks("100m", "1"),
            &["minimum cpu usage per Container is 500m, but request is 100m"],
        );
        check(container("min"), asks("500m", "1"), &[]);
        check(
            container("max"),
            json!({}),
            &["maximum cpu usage per Container is 500m.  No limit is specified"],
        );
        check(
            container("max"),
            asks("100m", "1"),
            &["maximum cpu usage per Container is 500m, but limit is 1"],
        );
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
        check(ratio.clone(), asks("500m", "1"), &[]);
        let wanted = "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000";
        check(ratio, asks("250m", "1"), &[wanted]);
        let pod = json!({"type": "Pod", "max": {"cpu": "1"}});
        check(
            pod,
            asks("1", "2"),
            &["maximum cpu usage per Pod is 1, but limit is 2"],
        );
        let claim = object(json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}));
        let least = range(json!({"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}}));
        let wanted = "minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi";
        assert_eq!(faults_of_claim(&claim, &least), [wanted]);
    }
}
