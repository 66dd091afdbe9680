//! What pods ask for, read once for all pods of a controller that ask for the same.

use std::sync::Arc;

use cluster_objects::Object;
use serde_json::{Map, Value};

use crate::number::{NumberMap, number_of};
use crate::pod::{Ask, PodInfo, controller_of};

/// Controllers whose template is kept in mind; beyond, all are read anew.
const TEMPLATES_MAX: usize = 1 << 16;

/// The last pod of each controller, with what it asks for.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    by_controller: NumberMap<u64, (Arc<Object>, Arc<Ask>)>,
}

impl Templates {
    /// Reads a pod, or finds that it asks for what the last pod of its controller asked for.
    pub(crate) fn read(&mut self, object: &Arc<Object>) -> PodInfo {
        let Some(controller) = controller_of(object).map(number_of) else {
            return PodInfo::new(object);
        };
        if let Some((known, ask)) = self.by_controller.get(&controller)
            && asks_the_same(known, object)
        {
            return PodInfo::asking(object, ask.clone());
        }
        let pod = PodInfo::new(object);
        // The names of volumes made for a pod hold its own.
        let volumes = object.list(&["spec", "volumes"]);
        if !volumes.iter().any(|volume| volume["ephemeral"].is_object()) {
            if self.by_controller.len() >= TEMPLATES_MAX {
                self.by_controller.clear();
            }
            self.by_controller
                .insert(controller, (object.clone(), pod.ask.clone()));
        }
        pod
    }
}

/// Whether two pods differ in nothing that is read of them but their names and nodes.
fn asks_the_same(one: &Object, two: &Object) -> bool {
    let same = |key: &str| one.at(&["metadata", key]) == two.at(&["metadata", key]);
    let specs = (one.at(&["spec"]), two.at(&["spec"]));
    let (Some(Value::Object(one)), Some(Value::Object(two))) = specs else {
        return false;
    };
    same("namespace") && same("labels") && same("ownerReferences") && same_but_node(one, two)
}

fn same_but_node(one: &Map<String, Value>, two: &Map<String, Value>) -> bool {
    let fields = |spec: &'_ Map<String, Value>| spec.len() - usize::from(spec.contains_key("nodeName"));
    fields(one) == fields(two)
        && one
            .iter()
            .all(|(key, value)| key == "nodeName" || two.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, cpu: &str, node: Option<&str>, volume: Option<&str>) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some("default"), name);
        let owner = json!([{"kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true}]);
        pod.set(&["metadata", "ownerReferences"], owner);
        let requests = json!({"cpu": cpu});
        pod.set(
            &["spec", "containers"],
            json!([{"resources": {"requests": requests}}]),
        );
        if let Some(node) = node {
            pod.set(&["spec", "nodeName"], node);
        }
        if let Some(volume) = volume {
            pod.set(&["spec", "volumes"], json!([{"name": volume, "ephemeral": {}}]));
        }
        Arc::new(pod)
    }

    #[test]
    fn what_pods_of_a_controller_share_is_read_once() {
        let mut templates = Templates::default();
        let first = templates.read(&pod("web-1", "1", None, None));
        let second = templates.read(&pod("web-2", "1", Some("n1"), None));
        assert!(Arc::ptr_eq(&first.ask, &second.ask));
        assert_eq!((&*second.key.name, &*second.node_name), ("web-2", "n1"));
        let changed = templates.read(&pod("web-3", "2", None, None));
        assert_eq!(changed.requests.cpu_milli, 2000);
        let own = [
            templates.read(&pod("web-4", "2", None, Some("data"))),
            templates.read(&pod("web-5", "2", None, Some("data"))),
        ];
        assert_eq!(own[0].claims, ["web-4-data"]);
        assert_eq!(own[1].claims, ["web-5-data"]);
    }
}
