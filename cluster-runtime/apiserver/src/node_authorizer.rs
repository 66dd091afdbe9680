//! What the agents of nodes may do, after Kubernetes' Node authorizer and NodeRestriction: a node reads what its pods need,
//! and writes what it says of itself and of them.

use std::sync::Arc;

use cluster_objects::{Object, Status};
use cluster_store::{Key, Selection, Store};
use serde_json::Value;

use crate::authorize::{Action, Authorizer};
use crate::user::User;

/// What the names of nodes' users begin with, and the group that all of them are in.
const USER_PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
/// Where the signs of life of nodes are.
const LEASES: &str = "kube-node-lease";

/// The times of the cluster, which every machine keeps; in `kube-system`.
const TIMES: &str = "tug-cluster";

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 2] = ["update", "patch"];

/// What every node may read: what pods are reached by, and where they and their volumes are. Groups and resources.
const READABLE: &[(&str, &str)] = &[
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "services"),
    ("discovery.k8s.io", "endpointslices"),
    ("networking.k8s.io", "networkpolicies"),
    ("node.k8s.io", "runtimeclasses"),
    ("storage.k8s.io", "storageclasses"),
];

/// Authorizes nodes, and leaves everybody else, and what nodes may not by themselves, to another authorizer.
pub struct NodeAuthorizer<A> {
    store: Arc<dyn Store>,
    others: A,
}

impl<A: Authorizer> NodeAuthorizer<A> {
    /// Reads from a store which pods a node has.
    pub fn new(store: Arc<dyn Store>, others: A) -> Self {
        Self { store, others }
    }

    fn may(&self, node: &str, action: &Action<'_>) -> bool {
        let &Action::Resource {
            verb,
            resource,
            subresource,
            namespace,
            name,
        } = action
        else {
            return false;
        };
        let is_own = name == Some(node);
        let (reads, writes) = (READ.contains(&verb), WRITE.contains(&verb));
        match (resource.group.as_str(), resource.resource.as_str(), subresource) {
            (group, resource, None) if reads && READABLE.contains(&(group, resource)) => true,
            ("", "nodes", None) => verb == "create" || (is_own && writes),
            ("", "nodes", Some("status")) => is_own && writes,
            ("coordination.k8s.io", "leases", None) => {
                namespace == Some(LEASES) && (verb == "create" || (is_own && (writes || verb == "get")))
            }
            ("" | "events.k8s.io", "events", None) => verb == "create" || writes,
            ("", "pods", Some("status")) => writes && self.has_pod(node, namespace, name),
            ("", "pods", None) => verb == "delete" && self.has_pod(node, namespace, name),
            // How often it has to say that it lives.
            ("", "configmaps", None) if namespace == Some("kube-system") && name == Some(TIMES) => reads,
            ("", "secrets" | "configmaps", None) => {
                reads && self.needs(node, &resource.resource, namespace, name)
            }
            ("", "serviceaccounts", Some("token")) => {
                verb == "create" && self.has(node, namespace, |pod| account(pod) == name)
            }
            // Whether who asks a node for its measurements may.
            ("authentication.k8s.io", "tokenreviews", None)
            | ("authorization.k8s.io", "subjectaccessreviews", None) => verb == "create",
            // A node makes volumes out of its own folders, and removes those.
            ("", "persistentvolumes", None) => {
                verb == "create" || (verb == "delete" && name.is_some_and(|name| self.has_volume(node, name)))
            }
            _ => false,
        }
    }

    fn has_pod(&self, node: &str, namespace: Option<&str>, name: Option<&str>) -> bool {
        let (Some(namespace), Some(name)) = (namespace, name) else {
            return false;
        };
        let pod = self.store.get(&Key::new("pods", namespace, name));
        pod.is_some_and(|pod| is_on(&pod, node))
    }

    /// Whether a pod of the node is as asked.
    fn has(&self, node: &str, namespace: Option<&str>, is_it: impl Fn(&Object) -> bool + Sync) -> bool {
        let selection = Selection {
            table: "pods".into(),
            namespace: namespace.map(Into::into),
        };
        let keep = |pod: &Object| is_on(pod, node) && is_it(pod);
        let found = self.store.list(&selection, None, None, 1, &keep);
        namespace.is_some() && found.is_ok_and(|found| !found.objects.is_empty())
    }

    fn needs(&self, node: &str, resource: &str, namespace: Option<&str>, name: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let fields: &[&str] = match resource {
            "secrets" => &["secret", "secretRef", "secretKeyRef", "imagePullSecrets"],
            _ => &["configMap", "configMapRef", "configMapKeyRef"],
        };
        self.has(node, namespace, |pod| {
            pod.at(&["spec"]).is_some_and(|spec| refers(spec, fields, name))
        })
    }

    fn has_volume(&self, node: &str, name: &str) -> bool {
        let volume = self.store.get(&Key::new("persistentvolumes", "", name));
        volume.is_some_and(|volume| {
            let terms = volume.list(&["spec", "nodeAffinity", "required", "nodeSelectorTerms"]);
            let values = terms
                .iter()
                .flat_map(|term| term["matchExpressions"].as_array().into_iter().flatten());
            let mut values = values.filter_map(|expression| expression["values"].as_array());
            values.any(|values| values.iter().any(|value| value == node))
        })
    }
}

fn is_on(pod: &Object, node: &str) -> bool {
    pod.text(&["spec", "nodeName"]) == Some(node)
}

fn account(pod: &Object) -> Option<&str> {
    Some(pod.text(&["spec", "serviceAccountName"]).unwrap_or("default"))
}

/// Whether one of the fields, anywhere below, names an object.
fn refers(value: &Value, fields: &[&str], name: &str) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            (fields.contains(&key.as_str()) && names(value, name)) || refers(value, fields, name)
        }),
        Value::Array(items) => items.iter().any(|item| refers(item, fields, name)),
        _ => false,
    }
}

fn names(reference: &Value, name: &str) -> bool {
    match reference {
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        reference => reference["name"] == name || reference["secretName"] == name,
    }
}

impl<A: Authorizer> Authorizer for NodeAuthorizer<A> {
    fn authorize(&self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        if let Some(node) = user.name.strip_prefix(USER_PREFIX)
            && user.is_in(GROUP)
            && self.may(node, action)
        {
            return Ok(());
        }
        self.others.authorize(user, action)
    }

    fn rules(&self, user: &User, namespace: Option<&str>) -> Vec<Value> {
        self.others.rules(user, namespace)
    }

    fn may_give(&self, user: &User, given: &Object) -> Result<(), Status> {
        self.others.may_give(user, given)
    }
}

#[cfg(test)]
mod tests {
    use cluster_objects::GroupVersionResource;
    use cluster_store::{Change, MemoryStore, Precondition, Transaction, Write};
    use serde_json::json;

    use super::*;
    use crate::authorize::MastersOnly;

    async fn authorizer() -> NodeAuthorizer<MastersOnly> {
        let store = MemoryStore::default();
        let pod = |name: &str, node: &str, secret: &str| {
            let value = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
                "spec": {
                    "nodeName": node, "serviceAccountName": format!("{name}-account"),
                    "imagePullSecrets": [{"name": format!("{secret}-pull")}],
                    "volumes": [{"secret": {"secretName": secret}}, {"projected": {"sources": [{"configMap": {"name": "conf"}}]}}],
                    "containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": format!("{secret}-env"), "key": "a"}}}]}],
                },
            });
            Write {
                key: Key::new("pods", "shop", name),
                precondition: Precondition::Absent,
                change: Change::Put(Arc::new(Object::from_value(value).unwrap())),
            }
        };
        let writes = vec![pod("web", "a", "web"), pod("db", "b", "db")];
        store.commit(Transaction { writes }).await.unwrap();
        NodeAuthorizer::new(Arc::new(store), MastersOnly)
    }

    #[tokio::test]
    async fn a_node_may_what_its_pods_need_and_nothing_of_others() {
        let authorizer = authorizer().await;
        let user = User::authenticated("system:node:a", [GROUP.to_owned()]);
        let check =
            |verb: &str, resource: &str, subresource: Option<&'static str>, namespace: &str, name: &str| {
                let (version, resource) = resource.rsplit_once('/').unwrap_or(("v1", resource));
                let resource = GroupVersionResource::new(version, resource);
                let action = Action::Resource {
                    verb,
                    resource: &resource,
                    subresource,
                    namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
                    name: Some(name).filter(|name| !name.is_empty()),
                };
                authorizer.authorize(&user, &action).is_ok()
            };
        for (expected, verb, resource, subresource, namespace, name) in [
            (true, "get", "secrets", None, "shop", "web"),
            (true, "watch", "secrets", None, "shop", "web-env"),
            (true, "get", "secrets", None, "shop", "web-pull"),
            (true, "get", "configmaps", None, "shop", "conf"),
            (false, "get", "secrets", None, "shop", "db"),
            (false, "get", "secrets", None, "other", "web"),
            (false, "list", "secrets", None, "shop", ""),
            (false, "list", "secrets", None, "", ""),
            (false, "update", "secrets", None, "shop", "web"),
            (false, "get", "configmaps", None, "shop", "web"),
            (true, "watch", "configmaps", None, "kube-system", TIMES),
            (false, "update", "configmaps", None, "kube-system", TIMES),
            (false, "get", "configmaps", None, "shop", TIMES),
            (false, "get", "configmaps", None, "kube-system", "other"),
            (true, "list", "pods", None, "", ""),
            (true, "update", "pods", Some("status"), "shop", "web"),
            (false, "update", "pods", Some("status"), "shop", "db"),
            (true, "delete", "pods", None, "shop", "web"),
            (false, "delete", "pods", None, "shop", "db"),
            (false, "create", "pods", None, "shop", ""),
            (false, "create", "pods", Some("exec"), "shop", "web"),
            (
                true,
                "create",
                "serviceaccounts",
                Some("token"),
                "shop",
                "web-account",
            ),
            (
                false,
                "create",
                "serviceaccounts",
                Some("token"),
                "shop",
                "db-account",
            ),
            (true, "update", "nodes", Some("status"), "", "a"),
            (false, "update", "nodes", Some("status"), "", "b"),
            (false, "delete", "nodes", None, "", "a"),
            (true, "update", "coordination.k8s.io/v1/leases", None, LEASES, "a"),
            (
                false,
                "update",
                "coordination.k8s.io/v1/leases",
                None,
                LEASES,
                "b",
            ),
            (
                false,
                "update",
                "coordination.k8s.io/v1/leases",
                None,
                "kube-system",
                "a",
            ),
            (
                true,
                "create",
                "authentication.k8s.io/v1/tokenreviews",
                None,
                "",
                "",
            ),
            (true, "watch", "discovery.k8s.io/v1/endpointslices", None, "", ""),
            (false, "create", "services", None, "shop", ""),
            (
                false,
                "list",
                "rbac.authorization.k8s.io/v1/clusterroles",
                None,
                "",
                "",
            ),
        ] {
            let may = check(verb, resource, subresource, namespace, name);
            assert_eq!(
                may, expected,
                "{verb} {resource} {subresource:?} {namespace}/{name}"
            );
        }
    }

    #[tokio::test]
    async fn err_the_name_of_a_node_without_its_group() {
        let authorizer = authorizer().await;
        let user = User::authenticated("system:node:a", []);
        let resource = GroupVersionResource::new("v1", "pods");
        let action = Action::Resource {
            verb: "list",
            resource: &resource,
            subresource: None,
            namespace: None,
            name: None,
        };
        assert!(authorizer.authorize(&user, &action).is_err());
    }
}
