//! Turning objects between the versions of their kind.

use serde_json::{Value, json};

use crate::Object;

/// Core events to `events.k8s.io/v1`.
pub(super) fn event_from_core(object: &mut Object) {
    rename(object, EVENT_NAMES.iter().map(|(core, new)| (*core, *new)));
    // The new version requires it, and typed clients insist; old reporters know first and last times only.
    if object.text(&["eventTime"]).is_none() {
        let times = ["deprecatedLastTimestamp", "deprecatedFirstTimestamp"].map(|key| object.text(&[key]));
        let made = object.text(&["metadata", "creationTimestamp"]);
        let time = times.into_iter().flatten().chain(made).next().map(str::to_owned);
        if let Some(time) = time {
            let time = time.replacen('Z', ".000000Z", usize::from(!time.contains('.')));
            object.set(&["eventTime"], time);
        }
    }
}

/// `events.k8s.io/v1` to core events.
pub(super) fn event_to_core(object: &mut Object) {
    rename(object, EVENT_NAMES.iter().map(|(core, new)| (*new, *core)));
}

/// Fields of events by their name in the core group and in `events.k8s.io/v1`.
const EVENT_NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename<'a>(object: &mut Object, names: impl Iterator<Item = (&'a str, &'a str)>) {
    for (from, to) in names {
        if let Some(value) = object.fields_mut().remove(from) {
            object.fields_mut().insert(to.to_owned(), value);
        }
    }
}

/// What version 1 of autoscalers has no field for, by annotation and path in version 2. The annotations are Kubernetes',
/// their text is the JSON of version 2.
const AUTOSCALER_ANNOTATIONS: &[(&str, [&str; 2])] = &[
    ("autoscaling.alpha.kubernetes.io/metrics", ["spec", "metrics"]),
    ("autoscaling.alpha.kubernetes.io/behavior", ["spec", "behavior"]),
    (
        "autoscaling.alpha.kubernetes.io/conditions",
        ["status", "conditions"],
    ),
    (
        "autoscaling.alpha.kubernetes.io/current-metrics",
        ["status", "currentMetrics"],
    ),
];

/// Autoscalers of version 2 to version 1: the use of the processor becomes a field, the rest annotations.
pub(super) fn autoscaler_from_v2(object: &mut Object) {
    for (list, field, part) in [
        (
            ["spec", "metrics"],
            ["spec", "targetCPUUtilizationPercentage"],
            "target",
        ),
        (
            ["status", "currentMetrics"],
            ["status", "currentCPUUtilizationPercentage"],
            "current",
        ),
    ] {
        let Some(Value::Array(metrics)) = object.at(&list).cloned() else {
            continue;
        };
        let utilization = |metric: &Value| {
            let of_processor = metric.pointer("/resource/name").is_some_and(|name| name == "cpu");
            let value = metric
                .pointer(&format!("/resource/{part}/averageUtilization"))?
                .as_i64();
            value.filter(|_| of_processor)
        };
        let (processor, others): (Vec<_>, Vec<_>) = metrics
            .into_iter()
            .partition(|metric| utilization(metric).is_some());
        if let Some(value) = processor.first().and_then(utilization) {
            object.set(&field, value);
        }
        if others.is_empty() {
            object.remove(&list);
        } else {
            object.set(&list, others);
        }
    }
    for (annotation, path) in AUTOSCALER_ANNOTATIONS {
        if let Some(value) = object.remove(path) {
            object.set(&["metadata", "annotations", annotation], value.to_string());
        }
    }
}

/// Autoscalers of version 1 to version 2. An annotation that cannot be read stays one.
pub(super) fn autoscaler_to_v2(object: &mut Object) {
    for (annotation, path) in AUTOSCALER_ANNOTATIONS {
        let value = object
            .annotation(annotation)
            .and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(value) = value {
            object.set(path, value);
            object.remove(&["metadata", "annotations", annotation]);
        }
    }
    for (list, field, part) in [
        (
            ["spec", "metrics"],
            ["spec", "targetCPUUtilizationPercentage"],
            "target",
        ),
        (
            ["status", "currentMetrics"],
            ["status", "currentCPUUtilizationPercentage"],
            "current",
        ),
    ] {
        let Some(utilization) = object.remove(&field).filter(Value::is_number) else {
            continue;
        };
        let mut amount = json!({"averageUtilization": utilization});
        if part == "target" {
            amount["type"] = "Utilization".into();
        }
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", part: amount}});
        let others = object.list(&list).iter().cloned();
        let metrics: Vec<Value> = std::iter::once(metric).chain(others).collect();
        object.set(&list, metrics);
    }
    if object.at(&["metadata", "annotations"]) == Some(&json!({})) {
        object.remove(&["metadata", "annotations"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autoscalers_survive_the_older_version() {
        let scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"selectPolicy": "Max"}}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                {"type": "Pods", "pods": {"metric": {"name": "x"}}},
            ]},
        });
        let registry = crate::registry::Registry::builtin();
        let kind = crate::GroupVersionKind::new("autoscaling/v1", "HorizontalPodAutoscaler");
        let row = registry.by_kind(&kind).unwrap();
        let mut object = Object::from_value(scaler.clone()).unwrap();
        row.from_stored(&mut object);
        assert_eq!(object.api_version(), "autoscaling/v1");
        assert_eq!(
            object.integer(&["spec", "targetCPUUtilizationPercentage"]),
            Some(80)
        );
        assert_eq!(object.at(&["spec", "metrics"]), None);
        row.to_stored(&mut object);
        assert_eq!(object.into_value(), scaler);
    }

    #[test]
    fn events_change_the_names_of_their_fields() {
        let registry = crate::registry::Registry::builtin();
        let row = registry
            .by_kind(&crate::GroupVersionKind::new("events.k8s.io/v1", "Event"))
            .unwrap();
        let event = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "x"}, "message": "hello", "count": 2});
        let mut object = Object::from_value(event.clone()).unwrap();
        row.from_stored(&mut object);
        assert_eq!(object.at(&["note"]), Some(&json!("hello")));
        assert_eq!(object.at(&["regarding", "name"]), Some(&json!("x")));
        row.to_stored(&mut object);
        assert_eq!(object.into_value(), event);
    }
}
