//! Which container of a pod a request means.

use cluster_objects::{Object, Status};

/// The container that a request names, or the only one there is; 400 in the words of
/// `k8s.io/kubernetes/pkg/registry/core/pod`.
pub(super) fn choose(pod: &Object, asked: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<&str> {
        let containers = pod.list(&["spec", list]).iter();
        containers
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let [containers, init, ephemeral] = ["containers", "initContainers", "ephemeralContainers"].map(names);
    if !asked.is_empty() {
        let known = [&containers, &init, &ephemeral]
            .iter()
            .any(|names| names.contains(&asked));
        return if known {
            Ok(asked.to_owned())
        } else {
            Err(Status::bad_request(format!(
                "container {asked} is not valid for pod {}",
                pod.name()
            )))
        };
    }
    match containers.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Status::bad_request(format!(
            "a container name must be specified for pod {}",
            pod.name()
        ))),
        several => {
            let mut message = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                pod.name(),
                several.join(" ")
            );
            for (names, what) in [(init, "init"), (ephemeral, "ephemeral")] {
                if !names.is_empty() {
                    message.push_str(&format!(
                        " or one of the {what} containers: [{}]",
                        names.join(" ")
                    ));
                }
            }
            Err(Status::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_only_container_needs_no_name() {
        let pod = |spec| Object::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap();
        let one = pod(json!({"containers": [{"name": "main"}], "initContainers": [{"name": "setup"}]}));
        assert_eq!(choose(&one, "").as_deref(), Ok("main"));
        assert_eq!(choose(&one, "setup").as_deref(), Ok("setup"));
        let refused = choose(&one, "other").unwrap_err();
        assert_eq!(refused.message, "container other is not valid for pod web");
        let two = pod(json!({
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "setup"}],
        }));
        assert_eq!(
            choose(&two, "").unwrap_err().message,
            "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [setup]"
        );
    }
}
