//! What the API server fills in where the user left a field open.
//!
//! The functions follow Kubernetes' `defaults.go` of each group. A text that is empty and a plain number that is 0
//! count as left open, as they do in Go; a field that is a pointer there is left open only when absent.

mod cluster;
mod fill;
mod network;
mod pod;
mod volume;
mod workloads;

use crate::Object;
use crate::registry::KindRow;

pub(crate) use cluster::{
    api_service, csi_driver, custom_resource_definition, horizontal_pod_autoscaler, limit_range, namespace,
    priority_class, role_binding, secret, storage_class, webhook_configuration,
};
pub(crate) use network::{endpoint_slice, endpoints, ingress_class, network_policy, service};
pub(crate) use pod::{pod, pod_on_create};
pub(crate) use volume::{persistent_volume, persistent_volume_claim};
pub(crate) use workloads::{
    cron_job, daemon_set, deployment, job, pod_template, replica_set, replication_controller, stateful_set,
};

impl KindRow {
    /// Brings the object into the form in which it is kept ([`crate::schema::Schema::normalize`]) and fills in what
    /// the user left open.
    ///
    /// Done to every object that a client sends and to the outcome of every patch, before preparation and
    /// validation; doing it twice changes nothing.
    pub fn apply_defaults(&self, object: &mut Object) {
        self.schema.normalize(object);
        (self.hooks.default)(self, object);
    }
}

#[cfg(test)]
mod tests {
    use crate::{GroupVersionKind, Object};
    use serde_json::{Value, json};

    /// Defaults an object and compares the parts that are named by pointers.
    fn check(object: Value, wanted: &[(&str, Value)]) {
        let mut object = Object::from_value(object).unwrap();
        let registry = crate::registry::Registry::builtin();
        let kind = GroupVersionKind::new(object.api_version(), object.kind());
        let row = registry.by_kind(&kind).unwrap();
        row.apply_defaults(&mut object);
        let once = object.clone();
        row.apply_defaults(&mut object);
        assert_eq!(object, once, "{kind}: defaulting twice is defaulting once");
        let value = object.into_value();
        for (pointer, wanted) in wanted {
            assert_eq!(
                value.pointer(pointer).unwrap_or(&Value::Null),
                wanted,
                "{kind}: {pointer} of {value}"
            );
        }
    }

    #[test]
    fn pods_are_filled_in() {
        check(
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {
                "serviceAccountName": "robot",
                "containers": [
                    {"name": "a", "image": "web:1.0", "ports": [{"containerPort": 80}],
                     "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
                     "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0}},
                    {"name": "b", "image": "web", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
                    {"name": "c", "image": "registry:5000/web@sha256:00"},
                ],
                "volumes": [{"name": "x"}, {"name": "y", "configMap": {"name": "z"}},
                    {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            }}),
            &[
                ("/spec/restartPolicy", json!("Always")),
                ("/spec/dnsPolicy", json!("ClusterFirst")),
                ("/spec/schedulerName", json!("default-scheduler")),
                ("/spec/terminationGracePeriodSeconds", json!(30)),
                ("/spec/securityContext", json!({})),
                ("/spec/enableServiceLinks", json!(true)),
                ("/spec/serviceAccount", json!("robot")),
                ("/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
                ("/spec/containers/1/imagePullPolicy", json!("Always")),
                ("/spec/containers/2/imagePullPolicy", json!("IfNotPresent")),
                ("/spec/containers/0/ports/0/protocol", json!("TCP")),
                (
                    "/spec/containers/0/resources/requests",
                    json!({"cpu": "100m", "memory": "1Gi"}),
                ),
                ("/spec/containers/1/resources", json!({})),
                (
                    "/spec/containers/0/terminationMessagePath",
                    json!("/dev/termination-log"),
                ),
                (
                    "/spec/containers/0/livenessProbe",
                    json!({
                        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                        "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
                    }),
                ),
                (
                    "/spec/containers/1/env/0/valueFrom/fieldRef/apiVersion",
                    json!("v1"),
                ),
                ("/spec/volumes/0/emptyDir", json!({})),
                ("/spec/volumes/1/configMap/defaultMode", json!(420)),
                (
                    "/spec/volumes/2/projected/sources/0/serviceAccountToken/expirationSeconds",
                    json!(3600),
                ),
            ],
        );
    }

    #[test]
    fn workloads_are_filled_in() {
        let template = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}});
        check(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}}),
            &[
                ("/spec/replicas", json!(1)),
                (
                    "/spec/strategy",
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
                ),
                ("/spec/revisionHistoryLimit", json!(10)),
                ("/spec/progressDeadlineSeconds", json!(600)),
                ("/spec/template/spec/restartPolicy", json!("Always")),
                ("/spec/template/spec/enableServiceLinks", Value::Null),
            ],
        );
        check(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}),
            &[
                ("/spec/replicas", json!(0)),
                ("/spec/strategy", json!({"type": "Recreate"})),
            ],
        );
        check(
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"template": template,
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}}),
            &[
                ("/spec/podManagementPolicy", json!("OrderedReady")),
                (
                    "/spec/updateStrategy",
                    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
                ),
                (
                    "/spec/volumeClaimTemplates/0/spec/volumeMode",
                    json!("Filesystem"),
                ),
                (
                    "/spec/volumeClaimTemplates/0/kind",
                    json!("PersistentVolumeClaim"),
                ),
            ],
        );
        check(
            json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template}}),
            &[
                ("/spec/completions", json!(1)),
                ("/spec/backoffLimit", json!(6)),
                ("/spec/suspend", json!(false)),
            ],
        );
        check(
            json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"parallelism": 3}}),
            &[("/spec/completions", Value::Null)],
        );
        check(
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {}}),
            &[
                ("/spec/concurrencyPolicy", json!("Allow")),
                ("/spec/successfulJobsHistoryLimit", json!(3)),
            ],
        );
    }

    #[test]
    fn services_are_filled_in() {
        check(
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}, {"port": 90, "targetPort": "http"}]}}),
            &[
                ("/spec/type", json!("ClusterIP")),
                ("/spec/sessionAffinity", json!("None")),
                (
                    "/spec/ports/0",
                    json!({"port": 80, "protocol": "TCP", "targetPort": 80}),
                ),
                ("/spec/ports/1/targetPort", json!("http")),
                ("/spec/internalTrafficPolicy", json!("Cluster")),
            ],
        );
        check(
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}),
            &[
                ("/spec/externalTrafficPolicy", json!("Cluster")),
                ("/spec/allocateLoadBalancerNodePorts", json!(true)),
                (
                    "/spec/sessionAffinityConfig/clientIP/timeoutSeconds",
                    json!(10800),
                ),
            ],
        );
    }

    #[test]
    fn the_text_of_secrets_becomes_data() {
        check(
            json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}, "data": {"a": "eA==", "c": "eQ=="}}),
            &[
                ("/type", json!("Opaque")),
                ("/data", json!({"a": "Yg==", "c": "eQ=="})),
                ("/stringData", Value::Null),
            ],
        );
    }

    #[test]
    fn odd_objects_are_left_alone() {
        for row in crate::registry::builtin_rows() {
            for odd in [
                json!({}),
                json!({"spec": [], "webhooks": {}, "roleRef": 1, "subjects": {}, "data": 1, "stringData": {"a": 1}}),
                json!({"spec": {"template": 1, "ports": [1], "containers": 3, "volumes": {}, "strategy": "x",
                    "updateStrategy": [], "limits": [1], "behavior": [], "names": 1, "ingress": [1]},
                    "metadata": [], "webhooks": [1, {"rules": [1]}], "ports": [1]}),
            ] {
                let mut object = Object::from_value(odd).unwrap();
                row.apply_defaults(&mut object);
                row.prepare_for_create(&mut object);
                let old = object.clone();
                row.prepare_for_update(&mut object, &old);
            }
        }
    }
}
