//! Fields of a pod that this agent does not act on: nothing is dropped in silence.

use cluster_objects::Object;
use serde_json::Value;

const POD: &[&[&str]] = &[
    &["hostUsers"],
    &["overhead"],
    &["resourceClaims"],
    &["resources"],
    &["securityContext", "appArmorProfile"],
    &["securityContext", "seLinuxOptions"],
];

const CONTAINER: &[&[&str]] = &[
    &["resources", "claims"],
    &["securityContext", "appArmorProfile"],
    &["securityContext", "seLinuxOptions"],
    &["volumeDevices"],
];

/// Resources whose limits hold.
const LIMITED: &[&str] = &["cpu", "ephemeral-storage", "memory"];

/// Paths of the fields that are set and have no effect here.
pub(crate) fn unhonoured(pod: &Object) -> Vec<String> {
    let mut found = Vec::new();
    let Some(spec) = pod.at(&["spec"]) else {
        return found;
    };
    collect("spec", spec, POD, &mut found);
    for key in ["initContainers", "containers", "ephemeralContainers"] {
        for (number, container) in list(spec, key).iter().enumerate() {
            let path = format!("spec.{key}[{number}]");
            collect(&path, container, CONTAINER, &mut found);
            let limits = container["resources"]["limits"].as_object();
            let names = limits.into_iter().flatten().map(|(name, _)| name);
            let others = names.filter(|name| !LIMITED.contains(&name.as_str()));
            found.extend(others.map(|name| format!("{path}.resources.limits[{name}]")));
        }
    }
    found
}

fn collect(path: &str, value: &Value, fields: &[&[&str]], found: &mut Vec<String>) {
    for field in fields {
        let set = field
            .iter()
            .try_fold(value, |value, key| value.get(key))
            .filter(|set| !is_empty(set));
        if set.is_some() {
            found.push(format!("{path}.{}", field.join(".")));
        }
    }
}

/// Whether a field says nothing, or what holds anyway.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(true) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => {
            fields.is_empty() || fields.get("type").is_some_and(|kind| kind == "Unconfined")
        }
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn list<'a>(spec: &'a Value, key: &str) -> &'a [Value] {
    spec[key].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: Value, expected: &[&str]) {
        let mut pod = Object::default();
        pod.set(&["spec"], spec);
        assert_eq!(unhonoured(&pod), expected);
    }

    #[test]
    fn what_has_no_effect_is_named() {
        check(
            json!({ "containers": [{ "name": "a", "resources": { "limits": { "cpu": "1" } } }] }),
            &[],
        );
        check(
            json!({ "hostUsers": true, "securityContext": { "appArmorProfile": { "type": "Unconfined" } } }),
            &[],
        );
        check(
            json!({
                "hostUsers": false,
                "containers": [{
                    "securityContext": { "appArmorProfile": { "type": "RuntimeDefault" } },
                    "resources": { "limits": { "memory": "1Gi", "nvidia.com/gpu": 1 } },
                }],
            }),
            &[
                "spec.hostUsers",
                "spec.containers[0].securityContext.appArmorProfile",
                "spec.containers[0].resources.limits[nvidia.com/gpu]",
            ],
        );
    }
}
