use serde_json::{Value, json};

use crate::registry::{KindRow, Registry};
use crate::{GroupVersionKind, Object, StatusCause};

fn prepared(value: &Value) -> (std::sync::Arc<KindRow>, Object) {
    let mut object = Object::from_value(value.clone()).unwrap();
    let registry = Registry::builtin();
    let row = registry
        .by_kind(&GroupVersionKind::new(object.api_version(), object.kind()))
        .unwrap();
    if object.name().is_empty() {
        object.set(&["metadata", "name"], "web");
    }
    if row.namespaced {
        object.set(&["metadata", "namespace"], "default");
    }
    row.apply_defaults(&mut object);
    (row.clone(), object)
}

fn readable(causes: &[StatusCause]) -> Vec<String> {
    causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

/// Checks that a new object has just these faults.
fn check(value: Value, wanted: &[&str]) {
    let (row, object) = prepared(&value);
    assert_eq!(readable(&row.validate_create(&object)), wanted, "{value}");
}

/// Checks that a change has just these faults.
fn check_update(old: Value, new: Value, wanted: &[&str]) {
    let (row, old) = prepared(&old);
    let (_, new) = prepared(&new);
    assert_eq!(
        readable(&row.validate_update(&new, &old)),
        wanted,
        "{}",
        Value::from(new)
    );
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "spec": spec})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}})
}

#[test]
fn good_objects_pass() {
    check(
        pod(
            json!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80, "name": "http"}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}], "livenessProbe": {"httpGet": {"port": "http"}},
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
        "volumes": [{"name": "v"}]}),
        ),
        &[],
    );
    check(
        deployment(json!({"selector": {"matchLabels": {"app": "web"}}, "template": template()})),
        &[],
    );
    check(
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}),
        &[],
    );
    check(
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}]}}}}}}),
        &[],
    );
    check(
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": [{"host": "*.a.b", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}),
        &[],
    );
}

#[test]
fn err_names_and_labels() {
    check(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Bad_Name", "labels": {"a b": "x", "ok": "-"}}}),
        &[
            "metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "metadata.labels: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    );
    check(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:x"}}),
        &[],
    );
}

#[test]
fn err_pods() {
    check(pod(json!({})), &["spec.containers: Required value"]);
    check(
        pod(json!({
            "restartPolicy": "Sometimes",
            "containers": [
                {"name": "a", "ports": [{"containerPort": 70000}, {"containerPort": 1, "protocol": "XXX"}]},
                {"name": "a", "image": "x", "volumeMounts": [{"name": "gone", "mountPath": "/a"}],
                 "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            ],
        })),
        &[
            "spec.containers[0].image: Required value",
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[1].protocol: Unsupported value: \"XXX\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.containers[1].name: Duplicate value: \"a\"",
            "spec.containers[1].volumeMounts[0].name: Not found: \"gone\"",
            "spec.containers[1].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ],
    );
    check(
        pod(
            json!({"containers": [{"name": "a", "image": "x", "livenessProbe": {"successThreshold": 2},
            "env": [{"name": "", "value": "x"}, {"name": "B", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}]}),
        ),
        &[
            "spec.containers[0].env[0].name: Required value",
            "spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ],
    );
}

#[test]
fn ephemeral_containers_join_a_pod_and_stay_as_they_are() {
    let with = |ephemeral: Value| {
        pod(json!({
            "containers": [{"name": "a", "image": "x"}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "ephemeralContainers": ephemeral,
        }))
    };
    let check = |old: Value, new: Value, wanted: &[&str]| {
        let (row, old) = prepared(&with(old));
        let (_, new) = prepared(&with(new));
        let causes = row.validate_part("ephemeralcontainers", &new, &old);
        assert_eq!(readable(&causes), wanted, "{}", Value::from(new));
    };
    let one = json!({"name": "d", "image": "y", "targetContainerName": "a", "stdin": true, "tty": true,
        "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    check(json!([]), json!([one]), &[]);
    check(json!([one]), json!([{"name": "e", "image": "y"}, one]), &[]);
    check(
        json!([one]),
        json!([]),
        &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"],
    );
    check(
        json!([one]),
        json!([{"name": "d", "image": "z"}]),
        &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed\n"],
    );
    check(
        json!([]),
        json!([
            {"name": "a", "image": "y"},
            {"name": "d", "targetContainerName": "nobody", "image": "y", "ports": [{"containerPort": 80}],
             "resources": {"limits": {"cpu": "1"}}, "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}]},
            {"image": "y", "livenessProbe": {"tcpSocket": {"port": 80}}},
        ]),
        &[
            "spec.ephemeralContainers[0].name: Duplicate value: \"a\"",
            "spec.ephemeralContainers[1].targetContainerName: Not found: \"nobody\"",
            "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[1].resources: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[1].volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[2].name: Required value",
            "spec.ephemeralContainers[2].livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
        ],
    );
    let created = with(json!([{"name": "d", "image": "y"}]));
    super::tests::check(
        created,
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    );
}

#[test]
fn err_changes_of_pods() {
    let spec = |image: &str, policy: &str| {
        pod(
            json!({"restartPolicy": policy, "containers": [{"name": "a", "image": image, "imagePullPolicy": "Always"}]}),
        )
    };
    check_update(spec("x", "Always"), spec("y", "Always"), &[]);
    let (row, old) = prepared(&spec("x", "Always"));
    let (_, new) = prepared(&spec("x", "Never"));
    let causes = row.validate_update(&new, &old);
    assert_eq!(causes.len(), 1);
    assert!(
        causes[0].message.starts_with(
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
        )
    );
}

#[test]
fn err_workloads() {
    check(
        deployment(json!({"replicas": -1})),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.selector: Required value",
            "spec.template: Required value",
        ],
    );
    check(
        deployment(
            json!({"selector": {"matchLabels": {"app": "other"}}, "template": template(),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
        ),
        &[
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ],
    );
    let with = |label: &str| {
        let labels = json!({"app": label});
        let mut template = template();
        template["metadata"]["labels"] = labels.clone();
        deployment(json!({"selector": {"matchLabels": labels}, "template": template}))
    };
    check_update(
        with("a"),
        with("b"),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"],
    );
    check(
        json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template()}}),
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\"",
        ],
    );
    check(
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "often", "timeZone": "Nowhere/Town",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}]}}}}}}),
        &[
            "spec.schedule: Invalid value: \"often\": expected exactly 5 fields, found 1: [often]",
            "spec.timeZone: Invalid value: \"Nowhere/Town\": unknown time zone Nowhere/Town",
        ],
    );
}

#[test]
fn err_services() {
    let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "spec": spec});
    check(service(json!({})), &["spec.ports: Required value"]);
    check(
        service(
            json!({"type": "Fancy", "ports": [{"port": 80}, {"port": 80, "name": "b", "nodePort": 30000}]}),
        ),
        &[
            "spec.type: Unsupported value: \"Fancy\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            "spec.ports[0].name: Required value",
            "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
        ],
    );
    check(
        service(json!({"ports": [{"port": 0, "nodePort": 30000}]})),
        &[
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ],
    );
    let at = |ip: &str| service(json!({"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}));
    check_update(
        at("10.0.0.1"),
        at("10.0.0.2"),
        &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"],
    );
}

#[test]
fn err_configuration() {
    check(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a b": "x"}}),
        &[
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ],
    );
    check(
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}),
        &["data[tls.crt]: Required value", "data[tls.key]: Required value"],
    );
    let secret = |kind: &str| json!({"apiVersion": "v1", "kind": "Secret", "type": kind});
    check_update(
        secret("a"),
        secret("b"),
        &["type: Invalid value: \"b\": field is immutable"],
    );
    check_update(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"a": "1"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"a": "2"}}),
        &["data: Forbidden: field is immutable when `immutable` is set"],
    );
}

#[test]
fn err_other_kinds() {
    check(
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {}}),
        &["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"],
    );
    check(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [{}]}),
        &[
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
        ],
    );
    check(
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {}}),
        &[
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    );
    check(
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {
            "minReplicas": 5, "maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}}),
        &["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"],
    );
    check(
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
            "spec": {"group": "example.com", "names": {"plural": "widgets", "kind": "Widget"}, "scope": "Namespaced", "versions": []}}),
        &[
            "metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group",
            "spec.versions: Invalid value: []: must have exactly one version marked as storage version",
        ],
    );
}

#[test]
fn odd_objects_do_no_harm() {
    for row in crate::registry::builtin_rows() {
        for odd in [
            json!({}),
            json!({"metadata": 1, "spec": [], "rules": {}, "webhooks": 5, "data": [1]}),
            json!({"metadata": {"labels": [], "ownerReferences": [1], "annotations": {"a": 1}}, "spec": {
                "containers": [1, {"ports": [1], "env": 5, "resources": {"limits": [1]}}], "template": {"spec": 1},
                "ports": [[]], "rules": [1], "selector": 7, "strategy": {"type": 1}, "versions": [1], "volumes": [1]}}),
        ] {
            let object = Object::from_value(odd).unwrap();
            row.validate_create(&object);
            row.validate_update(&object, &object);
        }
    }
}
