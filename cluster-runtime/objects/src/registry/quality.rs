//! The quality-of-service class of a pod: what happens to it when its node runs short.

use serde_json::Value;

use crate::Object;
use crate::quantity::Quantity;

/// `Guaranteed` when every container limits processor and memory and requests just that, `BestEffort` when none asks
/// for any of them, else `Burstable`.
pub(super) fn class_of(pod: &Object) -> &'static str {
    let containers = || {
        ["containers", "initContainers"]
            .iter()
            .flat_map(|list| pod.list(&["spec", list]))
    };
    let amount = |container: &Value, kind: &str, resource: &str| {
        let value = container.get("resources")?.get(kind)?.get(resource)?;
        Quantity::from_value(value)
            .ok()
            .filter(|quantity| !quantity.is_zero())
    };
    let mut any = false;
    let mut guaranteed = true;
    for container in containers() {
        for resource in ["cpu", "memory"] {
            let request = amount(container, "requests", resource);
            let limit = amount(container, "limits", resource);
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_follow_requests_and_limits() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!([{}]), "BestEffort"),
            (json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"resources": {"limits": full}}]), "Guaranteed"),
            (
                json!([{"resources": {"limits": full, "requests": {"cpu": "1000m", "memory": "1024Mi"}}}]),
                "Guaranteed",
            ),
            (json!([{"resources": {"limits": full}}, {}]), "Burstable"),
        ];
        for (containers, wanted) in cases {
            let pod = Object::from_value(json!({"spec": {"containers": containers}})).unwrap();
            assert_eq!(class_of(&pod), wanted, "{containers}");
        }
    }
}
