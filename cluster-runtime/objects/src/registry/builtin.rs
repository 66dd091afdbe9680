//! The rows of the built-in kinds.

use crate::table::Columns;

use super::convert;
use super::row::{Hooks, KindRow, READ_ONLY_VERBS};
use super::subresource::Subresource;

/// Verbs of a resource that is only ever posted to.
const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const CONNECT: &[&str] = &["create", "get"];
const CONNECT_ALL: &[&str] = &["create", "delete", "get", "patch", "update"];
const UPDATE: &[&str] = &["update"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
const NO_COLLECTION_DELETE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

const CORE_V1: (&str, &str) = ("", "v1");

/// All built-in kinds, as new rows.
pub fn builtin_rows() -> Vec<KindRow> {
    let groups: [fn() -> Vec<KindRow>; 8] = [
        core,
        workloads,
        autoscaling,
        network,
        storage,
        access,
        admission,
        platform,
    ];
    groups.iter().flat_map(|rows| rows()).collect()
}

fn core() -> Vec<KindRow> {
    let row = |kind, plural| KindRow::new("", "v1", kind, plural);
    vec![
        row("Namespace", "namespaces")
            .cluster_wide()
            .verbs(NO_COLLECTION_DELETE)
            .short(&["ns"])
            .status()
            .subresource(Subresource::fixed("finalize", CORE_V1, "Namespace", UPDATE))
            .fields(&["status.phase", "name"])
            .columns(Columns::Namespace)
            .hooks(Hooks::namespace()),
        row("Pod", "pods")
            .short(&["po"])
            .category("all")
            .status()
            .generation()
            .subresource(Subresource::fixed("attach", CORE_V1, "PodAttachOptions", CONNECT))
            .subresource(Subresource::fixed("binding", CORE_V1, "Binding", CREATE))
            .subresource(Subresource::fixed(
                "ephemeralcontainers",
                CORE_V1,
                "Pod",
                GET_PATCH_UPDATE,
            ))
            .subresource(Subresource::fixed(
                "eviction",
                ("policy", "v1"),
                "Eviction",
                CREATE,
            ))
            .subresource(Subresource::fixed("exec", CORE_V1, "PodExecOptions", CONNECT))
            .subresource(Subresource::fixed("log", CORE_V1, "Pod", GET))
            .subresource(Subresource::fixed(
                "portforward",
                CORE_V1,
                "PodPortForwardOptions",
                CONNECT,
            ))
            .subresource(Subresource::fixed(
                "proxy",
                CORE_V1,
                "PodProxyOptions",
                CONNECT_ALL,
            ))
            .subresource(Subresource::fixed("resize", CORE_V1, "Pod", GET_PATCH_UPDATE))
            .fields(&[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ])
            .columns(Columns::Pod)
            .hooks(Hooks::pod()),
        row("PodTemplate", "podtemplates")
            .generation()
            .columns(Columns::PodTemplate)
            .hooks(Hooks::pod_template()),
        row("ReplicationController", "replicationcontrollers")
            .short(&["rc"])
            .category("all")
            .status()
            .scale()
            .generation()
            .fields(&["status.replicas"])
            .columns(Columns::ReplicationController)
            .hooks(Hooks::replication_controller()),
        row("Service", "services")
            .short(&["svc"])
            .category("all")
            .status()
            .subresource(Subresource::fixed(
                "proxy",
                CORE_V1,
                "ServiceProxyOptions",
                CONNECT_ALL,
            ))
            .fields(&["spec.clusterIP", "spec.type"])
            .columns(Columns::Service)
            .hooks(Hooks::service()),
        row("Endpoints", "endpoints")
            .short(&["ep"])
            .columns(Columns::Endpoints)
            .hooks(Hooks::endpoints()),
        row("ConfigMap", "configmaps")
            .short(&["cm"])
            .columns(Columns::ConfigMap)
            .hooks(Hooks::config_map()),
        row("Secret", "secrets")
            .fields(&["type"])
            .columns(Columns::Secret)
            .hooks(Hooks::secret()),
        row("ServiceAccount", "serviceaccounts")
            .short(&["sa"])
            .subresource(Subresource::fixed(
                "token",
                ("authentication.k8s.io", "v1"),
                "TokenRequest",
                CREATE,
            ))
            .columns(Columns::ServiceAccount)
            .hooks(Hooks::service_account()),
        row("Node", "nodes")
            .cluster_wide()
            .short(&["no"])
            .status()
            .subresource(Subresource::fixed(
                "proxy",
                CORE_V1,
                "NodeProxyOptions",
                CONNECT_ALL,
            ))
            .fields(&["spec.unschedulable"])
            .columns(Columns::Node)
            .hooks(Hooks::node()),
        row("Event", "events")
            .short(&["ev"])
            .fields(EVENT_FIELDS)
            .columns(Columns::Event)
            .hooks(Hooks::event()),
        KindRow::new("events.k8s.io", "v1", "Event", "events")
            .short(&["ev"])
            .fields(&[
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
                "reason",
                "reportingController",
                "type",
            ])
            .stored_as("events", "v1", convert::event_from_core, convert::event_to_core)
            .columns(Columns::Event)
            .hooks(Hooks::event()),
        row("PersistentVolume", "persistentvolumes")
            .cluster_wide()
            .short(&["pv"])
            .status()
            .fields(&["name"])
            .columns(Columns::PersistentVolume)
            .hooks(Hooks::persistent_volume()),
        row("PersistentVolumeClaim", "persistentvolumeclaims")
            .short(&["pvc"])
            .status()
            .fields(&["name"])
            .columns(Columns::PersistentVolumeClaim)
            .hooks(Hooks::persistent_volume_claim()),
        row("LimitRange", "limitranges")
            .short(&["limits"])
            .columns(Columns::CreatedAt)
            .hooks(Hooks::limit_range()),
        row("ResourceQuota", "resourcequotas")
            .short(&["quota"])
            .status()
            .columns(Columns::ResourceQuota)
            .hooks(Hooks::resource_quota()),
        row("Binding", "bindings").not_stored(CREATE),
    ]
}

/// What field selectors may ask of core events.
const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

fn workloads() -> Vec<KindRow> {
    let apps = |kind, plural| KindRow::new("apps", "v1", kind, plural);
    let batch = |kind, plural| KindRow::new("batch", "v1", kind, plural);
    vec![
        apps("Deployment", "deployments")
            .short(&["deploy"])
            .category("all")
            .status()
            .scale()
            .generation()
            .columns(Columns::Deployment)
            .hooks(Hooks::deployment()),
        apps("ReplicaSet", "replicasets")
            .short(&["rs"])
            .category("all")
            .status()
            .scale()
            .generation()
            .fields(&["status.replicas"])
            .columns(Columns::ReplicaSet)
            .hooks(Hooks::replica_set()),
        apps("StatefulSet", "statefulsets")
            .short(&["sts"])
            .category("all")
            .status()
            .scale()
            .generation()
            .columns(Columns::StatefulSet)
            .hooks(Hooks::stateful_set()),
        apps("DaemonSet", "daemonsets")
            .short(&["ds"])
            .category("all")
            .status()
            .generation()
            .columns(Columns::DaemonSet)
            .hooks(Hooks::daemon_set()),
        apps("ControllerRevision", "controllerrevisions")
            .columns(Columns::ControllerRevision)
            .hooks(Hooks::controller_revision()),
        batch("Job", "jobs")
            .category("all")
            .status()
            .generation()
            .fields(&["status.successful"])
            .columns(Columns::Job)
            .hooks(Hooks::job()),
        batch("CronJob", "cronjobs")
            .short(&["cj"])
            .category("all")
            .status()
            .generation()
            .columns(Columns::CronJob)
            .hooks(Hooks::cron_job()),
    ]
}

fn autoscaling() -> Vec<KindRow> {
    let scaler = |version| {
        KindRow::new(
            "autoscaling",
            version,
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
        )
        .short(&["hpa"])
        .category("all")
        .status()
        .columns(Columns::HorizontalPodAutoscaler)
    };
    vec![
        scaler("v2").hooks(Hooks::horizontal_pod_autoscaler()),
        scaler("v1")
            .stored_as(
                "horizontalpodautoscalers.autoscaling",
                "autoscaling/v2",
                convert::autoscaler_from_v2,
                convert::autoscaler_to_v2,
            )
            .hooks(Hooks::horizontal_pod_autoscaler()),
        KindRow::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
            .short(&["pdb"])
            .status()
            .generation()
            .columns(Columns::PodDisruptionBudget)
            .hooks(Hooks::pod_disruption_budget()),
    ]
}

fn network() -> Vec<KindRow> {
    let networking = |kind, plural| KindRow::new("networking.k8s.io", "v1", kind, plural);
    vec![
        networking("Ingress", "ingresses")
            .short(&["ing"])
            .status()
            .generation()
            .columns(Columns::Ingress)
            .hooks(Hooks::ingress()),
        networking("IngressClass", "ingressclasses")
            .cluster_wide()
            .generation()
            .columns(Columns::IngressClass)
            .hooks(Hooks::ingress_class()),
        networking("NetworkPolicy", "networkpolicies")
            .short(&["netpol"])
            .generation()
            .columns(Columns::NetworkPolicy)
            .hooks(Hooks::network_policy()),
        networking("IPAddress", "ipaddresses")
            .cluster_wide()
            .short(&["ip"])
            .fields(&[
                "spec.parentRef.group",
                "spec.parentRef.resource",
                "spec.parentRef.namespace",
            ])
            .columns(Columns::IpAddress),
        networking("ServiceCIDR", "servicecidrs")
            .cluster_wide()
            .status()
            .columns(Columns::ServiceCidr),
        KindRow::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
            .generation()
            .columns(Columns::EndpointSlice)
            .hooks(Hooks::endpoint_slice()),
    ]
}

fn storage() -> Vec<KindRow> {
    let storage = |kind, plural| KindRow::new("storage.k8s.io", "v1", kind, plural);
    vec![
        storage("StorageClass", "storageclasses")
            .cluster_wide()
            .short(&["sc"])
            .columns(Columns::StorageClass)
            .hooks(Hooks::storage_class()),
        storage("CSIDriver", "csidrivers")
            .cluster_wide()
            .columns(Columns::CsiDriver)
            .hooks(Hooks::csi_driver()),
        storage("CSINode", "csinodes")
            .cluster_wide()
            .columns(Columns::CsiNode),
        storage("CSIStorageCapacity", "csistoragecapacities").columns(Columns::CsiStorageCapacity),
        storage("VolumeAttachment", "volumeattachments")
            .cluster_wide()
            .status()
            .columns(Columns::VolumeAttachment),
        storage("VolumeAttributesClass", "volumeattributesclasses")
            .cluster_wide()
            .short(&["vac"])
            .columns(Columns::VolumeAttributesClass),
    ]
}

fn access() -> Vec<KindRow> {
    let rbac = |kind, plural| KindRow::new("rbac.authorization.k8s.io", "v1", kind, plural);
    let authentication = |kind, plural| KindRow::new("authentication.k8s.io", "v1", kind, plural);
    let authorization = |kind, plural| KindRow::new("authorization.k8s.io", "v1", kind, plural);
    vec![
        rbac("Role", "roles")
            .columns(Columns::CreatedAt)
            .hooks(Hooks::role()),
        rbac("RoleBinding", "rolebindings")
            .columns(Columns::RoleBinding)
            .hooks(Hooks::role_binding()),
        rbac("ClusterRole", "clusterroles")
            .cluster_wide()
            .columns(Columns::CreatedAt)
            .hooks(Hooks::role()),
        rbac("ClusterRoleBinding", "clusterrolebindings")
            .cluster_wide()
            .columns(Columns::RoleBinding)
            .hooks(Hooks::role_binding()),
        authentication("TokenReview", "tokenreviews")
            .cluster_wide()
            .not_stored(CREATE),
        authentication("SelfSubjectReview", "selfsubjectreviews")
            .cluster_wide()
            .not_stored(CREATE),
        authorization("SubjectAccessReview", "subjectaccessreviews")
            .cluster_wide()
            .not_stored(CREATE),
        authorization("SelfSubjectAccessReview", "selfsubjectaccessreviews")
            .cluster_wide()
            .not_stored(CREATE),
        authorization("SelfSubjectRulesReview", "selfsubjectrulesreviews")
            .cluster_wide()
            .not_stored(CREATE),
        authorization("LocalSubjectAccessReview", "localsubjectaccessreviews").not_stored(CREATE),
        // Our own: many changes as one. Cluster-wide, since the objects of one may live anywhere; what its creator may
        // do is asked for each of them.
        KindRow::new("tug.dev", "v1", "Transaction", "transactions")
            .cluster_wide()
            .not_stored(CREATE),
        KindRow::new(
            "certificates.k8s.io",
            "v1",
            "CertificateSigningRequest",
            "certificatesigningrequests",
        )
        .cluster_wide()
        .short(&["csr"])
        .status()
        .subresource(Subresource::fixed(
            "approval",
            ("certificates.k8s.io", "v1"),
            "CertificateSigningRequest",
            GET_PATCH_UPDATE,
        ))
        .fields(&["spec.signerName"])
        .columns(Columns::CertificateSigningRequest),
    ]
}

fn admission() -> Vec<KindRow> {
    let row = |kind, plural| {
        KindRow::new("admissionregistration.k8s.io", "v1", kind, plural)
            .cluster_wide()
            .generation()
    };
    vec![
        row("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
            .category("api-extensions")
            .columns(Columns::WebhookConfiguration)
            .hooks(Hooks::webhook_configuration()),
        row(
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
        )
        .category("api-extensions")
        .columns(Columns::WebhookConfiguration)
        .hooks(Hooks::webhook_configuration()),
        row("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
            .category("api-extensions")
            .status()
            .columns(Columns::ValidatingAdmissionPolicy),
        row(
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
        )
        .category("api-extensions")
        .columns(Columns::ValidatingAdmissionPolicyBinding),
    ]
}

fn platform() -> Vec<KindRow> {
    let flow = |kind, plural| {
        KindRow::new("flowcontrol.apiserver.k8s.io", "v1", kind, plural)
            .cluster_wide()
            .status()
            .generation()
    };
    vec![
        KindRow::new("coordination.k8s.io", "v1", "Lease", "leases")
            .columns(Columns::Lease)
            .hooks(Hooks::lease()),
        KindRow::new("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
            .cluster_wide()
            .short(&["pc"])
            .generation()
            .columns(Columns::PriorityClass)
            .hooks(Hooks::priority_class()),
        KindRow::new("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses")
            .cluster_wide()
            .columns(Columns::RuntimeClass)
            .hooks(Hooks::runtime_class()),
        KindRow::new(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        )
        .cluster_wide()
        .short(&["crd", "crds"])
        .category("api-extensions")
        .status()
        .generation()
        .columns(Columns::CreatedAt)
        .hooks(Hooks::custom_resource_definition()),
        KindRow::new("apiregistration.k8s.io", "v1", "APIService", "apiservices")
            .cluster_wide()
            .category("api-extensions")
            .status()
            .columns(Columns::ApiService)
            .hooks(Hooks::api_service()),
        // Measured when they are asked for.
        KindRow::new("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes")
            .cluster_wide()
            .not_stored(READ_ONLY_VERBS),
        KindRow::new("metrics.k8s.io", "v1beta1", "PodMetrics", "pods").not_stored(READ_ONLY_VERBS),
        flow("FlowSchema", "flowschemas").columns(Columns::FlowSchema),
        flow("PriorityLevelConfiguration", "prioritylevelconfigurations")
            .columns(Columns::PriorityLevelConfiguration),
    ]
}
