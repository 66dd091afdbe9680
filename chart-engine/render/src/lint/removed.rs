//! API versions that Kubernetes serves no more.

use crate::capabilities::KubeVersion;

/// Group and version, kind, the minor version of Kubernetes 1 from which it is deprecated, the one from which it is gone,
/// and what to use instead.
type Removed = (&'static str, &'static str, u32, u32, &'static str);

const REMOVED: &[Removed] = &[
    ("extensions/v1beta1", "Deployment", 8, 16, "apps/v1 Deployment"),
    ("extensions/v1beta1", "DaemonSet", 8, 16, "apps/v1 DaemonSet"),
    ("extensions/v1beta1", "ReplicaSet", 8, 16, "apps/v1 ReplicaSet"),
    (
        "extensions/v1beta1",
        "NetworkPolicy",
        9,
        16,
        "networking.k8s.io/v1 NetworkPolicy",
    ),
    (
        "extensions/v1beta1",
        "Ingress",
        14,
        22,
        "networking.k8s.io/v1 Ingress",
    ),
    (
        "networking.k8s.io/v1beta1",
        "Ingress",
        19,
        22,
        "networking.k8s.io/v1 Ingress",
    ),
    (
        "networking.k8s.io/v1beta1",
        "IngressClass",
        19,
        22,
        "networking.k8s.io/v1 IngressClass",
    ),
    ("apps/v1beta1", "Deployment", 9, 16, "apps/v1 Deployment"),
    ("apps/v1beta1", "StatefulSet", 9, 16, "apps/v1 StatefulSet"),
    ("apps/v1beta2", "Deployment", 9, 16, "apps/v1 Deployment"),
    ("apps/v1beta2", "StatefulSet", 9, 16, "apps/v1 StatefulSet"),
    ("apps/v1beta2", "DaemonSet", 9, 16, "apps/v1 DaemonSet"),
    ("apps/v1beta2", "ReplicaSet", 9, 16, "apps/v1 ReplicaSet"),
    ("batch/v1beta1", "CronJob", 21, 25, "batch/v1 CronJob"),
    ("batch/v2alpha1", "CronJob", 8, 21, "batch/v1 CronJob"),
    (
        "policy/v1beta1",
        "PodDisruptionBudget",
        21,
        25,
        "policy/v1 PodDisruptionBudget",
    ),
    ("policy/v1beta1", "PodSecurityPolicy", 21, 25, ""),
    (
        "autoscaling/v2beta1",
        "HorizontalPodAutoscaler",
        22,
        25,
        "autoscaling/v2 HorizontalPodAutoscaler",
    ),
    (
        "autoscaling/v2beta2",
        "HorizontalPodAutoscaler",
        23,
        26,
        "autoscaling/v2 HorizontalPodAutoscaler",
    ),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "Role",
        17,
        22,
        "rbac.authorization.k8s.io/v1 Role",
    ),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "RoleBinding",
        17,
        22,
        "rbac.authorization.k8s.io/v1 RoleBinding",
    ),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "ClusterRole",
        17,
        22,
        "rbac.authorization.k8s.io/v1 ClusterRole",
    ),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "ClusterRoleBinding",
        17,
        22,
        "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
    ),
    (
        "apiextensions.k8s.io/v1beta1",
        "CustomResourceDefinition",
        16,
        22,
        "apiextensions.k8s.io/v1 CustomResourceDefinition",
    ),
    (
        "apiregistration.k8s.io/v1beta1",
        "APIService",
        19,
        22,
        "apiregistration.k8s.io/v1 APIService",
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        "MutatingWebhookConfiguration",
        16,
        22,
        "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        "ValidatingWebhookConfiguration",
        16,
        22,
        "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
    ),
    (
        "scheduling.k8s.io/v1beta1",
        "PriorityClass",
        14,
        22,
        "scheduling.k8s.io/v1 PriorityClass",
    ),
    (
        "storage.k8s.io/v1beta1",
        "StorageClass",
        19,
        22,
        "storage.k8s.io/v1 StorageClass",
    ),
    (
        "storage.k8s.io/v1beta1",
        "CSIDriver",
        19,
        22,
        "storage.k8s.io/v1 CSIDriver",
    ),
    (
        "storage.k8s.io/v1beta1",
        "CSINode",
        17,
        22,
        "storage.k8s.io/v1 CSINode",
    ),
    (
        "storage.k8s.io/v1beta1",
        "CSIStorageCapacity",
        24,
        27,
        "storage.k8s.io/v1 CSIStorageCapacity",
    ),
    (
        "discovery.k8s.io/v1beta1",
        "EndpointSlice",
        21,
        25,
        "discovery.k8s.io/v1 EndpointSlice",
    ),
    ("events.k8s.io/v1beta1", "Event", 22, 25, "events.k8s.io/v1 Event"),
    (
        "node.k8s.io/v1beta1",
        "RuntimeClass",
        22,
        25,
        "node.k8s.io/v1 RuntimeClass",
    ),
    (
        "coordination.k8s.io/v1beta1",
        "Lease",
        19,
        22,
        "coordination.k8s.io/v1 Lease",
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1beta2",
        "FlowSchema",
        26,
        29,
        "flowcontrol.apiserver.k8s.io/v1 FlowSchema",
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1beta3",
        "FlowSchema",
        29,
        32,
        "flowcontrol.apiserver.k8s.io/v1 FlowSchema",
    ),
];

/// What to say of an object of that version and kind on the given Kubernetes, if it is deprecated or gone there.
pub(super) fn removed(api_version: &str, kind: &str, kube_version: &KubeVersion) -> Option<String> {
    let (_, _, since, gone, instead) = REMOVED
        .iter()
        .find(|(version, known, ..)| *version == api_version && *known == kind)?;
    let minor: u32 = kube_version
        .minor
        .trim_end_matches('+')
        .parse()
        .unwrap_or(u32::MAX);
    if minor < *since {
        return None;
    }
    let advice = if instead.is_empty() {
        String::new()
    } else {
        format!("; use {instead}")
    };
    Some(format!(
        "{api_version} {kind} is deprecated in v1.{since}+, unavailable in v1.{gone}+{advice}"
    ))
}
