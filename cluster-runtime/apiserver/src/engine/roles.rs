//! The roles and bindings that every cluster has, after `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy`.
//!
//! Only those for people and their programs: the parts of this cluster are no users of it.

use serde_json::{Value, json};

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// Roles, then bindings.
pub(super) fn bootstrap_roles() -> Vec<Value> {
    let mut objects = vec![
        role(
            "cluster-admin",
            &[],
            &[
                json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
                json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
            ],
        ),
        role(
            "system:discovery",
            &[],
            &[paths(&[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ])],
        ),
        role(
            "system:public-info-viewer",
            &[],
            &[paths(&[
                "/healthz",
                "/livez",
                "/livez/*",
                "/readyz",
                "/readyz/*",
                "/version",
                "/version/",
            ])],
        ),
        role(
            "system:basic-user",
            &[],
            &[
                rule(
                    &["create"],
                    "authorization.k8s.io",
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                rule(&["create"], "authentication.k8s.io", &["selfsubjectreviews"]),
            ],
        ),
        role(
            "system:auth-delegator",
            &[],
            &[
                rule(&["create"], "authentication.k8s.io", &["tokenreviews"]),
                rule(&["create"], "authorization.k8s.io", &["subjectaccessreviews"]),
            ],
        ),
        role(
            "system:monitoring",
            &[],
            &[paths(&[
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*",
            ])],
        ),
    ];
    for (name, parts) in [
        ("admin", &["admin"][..]),
        ("edit", &["edit"]),
        ("view", &["view"]),
    ] {
        let selectors: Vec<Value> = parts
            .iter()
            .map(|part| json!({"matchLabels": {format!("rbac.authorization.k8s.io/aggregate-to-{part}"): "true"}}))
            .collect();
        // What may be edited may be administered, and what may be seen, edited.
        let wider: &[&str] = match name {
            "edit" => &["admin"],
            "view" => &["edit"],
            _ => &[],
        };
        let mut aggregated = role(name, wider, &[]);
        aggregated["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
        objects.push(aggregated);
    }
    objects.push(role(
        "system:aggregated-metrics-reader",
        &["view", "edit", "admin"],
        &[rule(&["get", "list"], "metrics.k8s.io", &["nodes", "pods"])],
    ));
    objects.push(role("system:aggregate-to-admin", &["admin"], &administered()));
    objects.push(role("system:aggregate-to-edit", &["edit", "admin"], &edited()));
    objects.push(role(
        "system:aggregate-to-view",
        &["view", "edit", "admin"],
        &viewed(),
    ));
    objects.extend([
        binding("cluster-admin", "cluster-admin", &["system:masters"]),
        binding("system:discovery", "system:discovery", &["system:authenticated"]),
        binding(
            "system:basic-user",
            "system:basic-user",
            &["system:authenticated"],
        ),
        binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &["system:authenticated", "system:unauthenticated"],
        ),
        binding("system:monitoring", "system:monitoring", &["system:monitoring"]),
    ]);
    objects
}

fn viewed() -> Vec<Value> {
    let of = |group, resources: &[&str]| rule(&READ, group, resources);
    vec![
        of(
            "",
            &[
                "bindings",
                "configmaps",
                "endpoints",
                "events",
                "limitranges",
                "namespaces",
                "namespaces/status",
                "persistentvolumeclaims",
                "persistentvolumeclaims/status",
                "pods",
                "pods/log",
                "pods/status",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "replicationcontrollers/status",
                "resourcequotas",
                "resourcequotas/status",
                "serviceaccounts",
                "services",
                "services/status",
            ],
        ),
        of("discovery.k8s.io", &["endpointslices"]),
        of(
            "apps",
            &[
                "controllerrevisions",
                "daemonsets",
                "daemonsets/status",
                "deployments",
                "deployments/scale",
                "deployments/status",
                "replicasets",
                "replicasets/scale",
                "replicasets/status",
                "statefulsets",
                "statefulsets/scale",
                "statefulsets/status",
            ],
        ),
        of(
            "autoscaling",
            &["horizontalpodautoscalers", "horizontalpodautoscalers/status"],
        ),
        of("batch", &["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
        of("policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
        of(
            "networking.k8s.io",
            &["ingresses", "ingresses/status", "networkpolicies"],
        ),
    ]
}

fn edited() -> Vec<Value> {
    let of = |group, resources: &[&str]| rule(&WRITE, group, resources);
    vec![
        rule(
            &READ,
            "",
            &[
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "secrets",
                "services/proxy",
            ],
        ),
        rule(&["impersonate"], "", &["serviceaccounts"]),
        of(
            "",
            &[
                "configmaps",
                "events",
                "persistentvolumeclaims",
                "pods",
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "secrets",
                "serviceaccounts",
                "services",
                "services/proxy",
            ],
        ),
        rule(&["create"], "", &["pods/eviction", "serviceaccounts/token"]),
        of(
            "apps",
            &[
                "daemonsets",
                "deployments",
                "deployments/rollback",
                "deployments/scale",
                "replicasets",
                "replicasets/scale",
                "statefulsets",
                "statefulsets/scale",
            ],
        ),
        of("autoscaling", &["horizontalpodautoscalers"]),
        of("batch", &["cronjobs", "jobs"]),
        of("policy", &["poddisruptionbudgets"]),
        of("networking.k8s.io", &["ingresses", "networkpolicies"]),
        rule(
            &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            "coordination.k8s.io",
            &["leases"],
        ),
    ]
}

fn administered() -> Vec<Value> {
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    vec![
        rule(&all, "rbac.authorization.k8s.io", &["rolebindings", "roles"]),
        rule(
            &["create"],
            "authorization.k8s.io",
            &["localsubjectaccessreviews"],
        ),
    ]
}

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

fn paths(paths: &[&str]) -> Value {
    json!({"verbs": ["get"], "nonResourceURLs": paths})
}

/// A cluster role that is a part of others.
fn role(name: &str, part_of: &[&str], rules: &[Value]) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    for whole in part_of {
        labels[format!("rbac.authorization.k8s.io/aggregate-to-{whole}")] = "true".into();
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels}, "rules": rules,
    })
}

fn binding(name: &str, role: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups
        .iter()
        .map(|group| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}
