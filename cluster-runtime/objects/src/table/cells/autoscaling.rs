//! Autoscalers and disruption budgets.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, UNKNOWN, UNSET, age, count, name, plain, text};
use crate::Object;

pub(in crate::table) fn pod_disruption_budget(object: &Object, now: Timestamp) -> Vec<Value> {
    let or_none = |key: &str| {
        let value = object.at(&["spec", key]).filter(|value| !value.is_null());
        Value::from(value.map_or_else(|| "N/A".to_owned(), plain))
    };
    vec![
        name(object),
        or_none("minAvailable"),
        or_none("maxUnavailable"),
        count(object, &["status", "disruptionsAllowed"]),
        age(object, now),
    ]
}

pub(in crate::table) fn horizontal_pod_autoscaler(object: &Object, now: Timestamp) -> Vec<Value> {
    let target = object.at(&["spec", "scaleTargetRef"]).unwrap_or(&Value::Null);
    let least = object.integer(&["spec", "minReplicas"]);
    vec![
        name(object),
        format!("{}/{}", text(target, "kind"), text(target, "name")).into(),
        metrics(object).into(),
        least
            .map_or_else(|| UNSET.to_owned(), |least| least.to_string())
            .into(),
        count(object, &["spec", "maxReplicas"]),
        count(object, &["status", "currentReplicas"]),
        age(object, now),
    ]
}

/// Each metric as `now/wanted`; version 1 knows only the processor.
fn metrics(object: &Object) -> String {
    if let Some(wanted) = object.integer(&["spec", "targetCPUUtilizationPercentage"]) {
        let current = object.integer(&["status", "currentCPUUtilizationPercentage"]);
        return format!("cpu: {}/{wanted}%", percent_or(current, UNKNOWN));
    }
    const SHOWN: usize = 2;
    let current = object.list(&["status", "currentMetrics"]);
    let specs = object.list(&["spec", "metrics"]);
    if specs.is_empty() {
        return NONE.to_owned();
    }
    let shown = specs
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(index, spec)| metric(spec, current.get(index)));
    let list = shown.collect::<Vec<_>>().join(", ");
    match specs.len().saturating_sub(SHOWN) {
        0 => list,
        more => format!("{list} + {more} more..."),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let kind = text(spec, "type");
    let source = match kind {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = |key: &str| {
        spec.get(source)?
            .get("target")?
            .get(key)
            .filter(|value| !value.is_null())
    };
    let current = |key: &str| {
        let value = status?
            .get(source)?
            .get("current")?
            .get(key)
            .filter(|value| !value.is_null());
        value.map(plain)
    };
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.to_owned());
    if matches!(kind, "Resource" | "ContainerResource") {
        let resource = spec
            .get(source)
            .map(|source| text(source, "name"))
            .unwrap_or_default();
        if let Some(wanted) = wanted("averageValue") {
            return format!(
                "{resource}: {}/{}",
                or_unknown(current("averageValue")),
                plain(wanted)
            );
        }
        let utilization = status.and_then(|status| {
            status
                .get(source)?
                .get("current")?
                .get("averageUtilization")?
                .as_i64()
        });
        let wanted = wanted("averageUtilization").and_then(Value::as_i64);
        return format!(
            "{resource}: {}/{}",
            percent_or(utilization, UNKNOWN),
            percent_or(wanted, "<auto>")
        );
    }
    match (wanted("averageValue"), wanted("value")) {
        (Some(wanted), _) => {
            let average = if kind == "Pods" { "" } else { " (avg)" };
            format!(
                "{}/{}{average}",
                or_unknown(current("averageValue")),
                plain(wanted)
            )
        }
        (None, wanted) => {
            format!(
                "{}/{}",
                or_unknown(current("value")),
                wanted.map(plain).unwrap_or_default()
            )
        }
    }
}

fn percent_or(value: Option<i64>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), |value| format!("{value}%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metrics_show_what_is_and_what_is_wanted() {
        let resource = |percent: i64| json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}});
        let external = json!({"type": "External", "external": {"target": {"averageValue": "30"}}});
        let cases = [
            (json!({}), json!({}), "<none>"),
            (
                json!({"metrics": [resource(80)]}),
                json!({}),
                "cpu: <unknown>/80%",
            ),
            (
                json!({"metrics": [resource(80), external]}),
                json!({"currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 30}}}]}),
                "cpu: 30%/80%, <unknown>/30 (avg)",
            ),
            (
                json!({"targetCPUUtilizationPercentage": 50}),
                json!({}),
                "cpu: <unknown>/50%",
            ),
            (
                json!({"metrics": [resource(1), resource(2), resource(3)]}),
                json!({}),
                "cpu: <unknown>/1%, cpu: <unknown>/2% + 1 more...",
            ),
        ];
        for (spec, status, wanted) in cases {
            let object = Object::from_value(json!({"spec": spec, "status": status})).unwrap();
            assert_eq!(metrics(&object), wanted);
        }
    }
}
