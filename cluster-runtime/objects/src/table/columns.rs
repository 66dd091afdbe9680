//! Which columns the table of each kind has.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;

use super::cells;
use super::custom::CustomColumn;

/// The table of a kind.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named as the kinds are")]
pub enum Columns {
    /// Name and age, for kinds with nothing else to tell.
    #[default]
    NameAndAge,
    /// Name and time of creation.
    CreatedAt,
    /// The columns of a custom resource definition.
    Custom(Arc<[CustomColumn]>),
    ApiService,
    CertificateSigningRequest,
    ConfigMap,
    ControllerRevision,
    CronJob,
    CsiDriver,
    CsiNode,
    CsiStorageCapacity,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Endpoints,
    Event,
    FlowSchema,
    HorizontalPodAutoscaler,
    Ingress,
    IngressClass,
    IpAddress,
    Job,
    Lease,
    Namespace,
    NetworkPolicy,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PodTemplate,
    PriorityClass,
    PriorityLevelConfiguration,
    ReplicaSet,
    ReplicationController,
    ResourceQuota,
    RoleBinding,
    RuntimeClass,
    Secret,
    Service,
    ServiceAccount,
    ServiceCidr,
    StatefulSet,
    StorageClass,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    VolumeAttachment,
    VolumeAttributesClass,
    WebhookConfiguration,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `date` and so on.
    pub kind: Cow<'static, str>,
    /// `name` for the column that names the object.
    pub format: Cow<'static, str>,
    /// What it shows.
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i64,
}

impl Column {
    const fn of(name: &'static str, kind: &'static str, priority: i64) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed(kind),
            format: Cow::Borrowed(""),
            description: Cow::Borrowed(""),
            priority,
        }
    }

    /// The column definition of the wire.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

const NAME: Column = Column {
    name: Cow::Borrowed("Name"),
    kind: Cow::Borrowed("string"),
    format: Cow::Borrowed("name"),
    description: Cow::Borrowed("The object's name, unique among its kind in its namespace."),
    priority: 0,
};
const AGE: Column = Column {
    name: Cow::Borrowed("Age"),
    kind: Cow::Borrowed("string"),
    format: Cow::Borrowed(""),
    description: Cow::Borrowed("How long ago the object was created."),
    priority: 0,
};

const fn text(name: &'static str) -> Column {
    Column::of(name, "string", 0)
}

const fn wide(name: &'static str) -> Column {
    Column::of(name, "string", 1)
}

const fn integer(name: &'static str) -> Column {
    Column::of(name, "integer", 0)
}

const fn boolean(name: &'static str) -> Column {
    Column::of(name, "boolean", 0)
}

const CONTAINERS: Column = wide("Containers");
const IMAGES: Column = wide("Images");
const SELECTOR: Column = wide("Selector");

impl Columns {
    /// The columns.
    pub fn definitions(&self) -> Vec<Column> {
        match self {
            Columns::Custom(columns) => {
                let mut definitions = vec![NAME];
                definitions.extend(columns.iter().map(CustomColumn::definition));
                definitions
            }
            _ => self.fixed().to_vec(),
        }
    }

    /// The columns of a kind that has the same in every cluster.
    fn fixed(&self) -> &'static [Column] {
        match self {
            Columns::NameAndAge | Columns::Custom(_) => const { &[NAME, AGE] },
            Columns::CreatedAt => const { &[NAME, Column::of("Created At", "date", 0)] },
            Columns::ApiService => const { &[NAME, text("Service"), text("Available"), AGE] },
            Columns::CertificateSigningRequest => {
                const {
                    &[
                        NAME,
                        AGE,
                        text("SignerName"),
                        text("Requestor"),
                        text("RequestedDuration"),
                        text("Condition"),
                    ]
                }
            }
            Columns::ConfigMap => const { &[NAME, integer("Data"), AGE] },
            Columns::ControllerRevision => const { &[NAME, text("Controller"), integer("Revision"), AGE] },
            Columns::CronJob => {
                const {
                    &[
                        NAME,
                        text("Schedule"),
                        text("Timezone"),
                        boolean("Suspend"),
                        integer("Active"),
                        text("Last Schedule"),
                        AGE,
                        CONTAINERS,
                        IMAGES,
                        SELECTOR,
                    ]
                }
            }
            Columns::CsiDriver => {
                const {
                    &[
                        NAME,
                        boolean("AttachRequired"),
                        boolean("PodInfoOnMount"),
                        boolean("StorageCapacity"),
                        text("TokenRequests"),
                        boolean("RequiresRepublish"),
                        text("Modes"),
                        AGE,
                    ]
                }
            }
            Columns::CsiNode => const { &[NAME, integer("Drivers"), AGE] },
            Columns::CsiStorageCapacity => const { &[NAME, text("StorageClassName"), text("Capacity"), AGE] },
            Columns::DaemonSet => {
                const {
                    &[
                        NAME,
                        integer("Desired"),
                        integer("Current"),
                        integer("Ready"),
                        integer("Up-to-date"),
                        integer("Available"),
                        text("Node Selector"),
                        AGE,
                        CONTAINERS,
                        IMAGES,
                        SELECTOR,
                    ]
                }
            }
            Columns::Deployment => {
                const {
                    &[
                        NAME,
                        text("Ready"),
                        integer("Up-to-date"),
                        integer("Available"),
                        AGE,
                        CONTAINERS,
                        IMAGES,
                        SELECTOR,
                    ]
                }
            }
            Columns::EndpointSlice => {
                const { &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE] }
            }
            Columns::Endpoints => const { &[NAME, text("Endpoints"), AGE] },
            Columns::Event => {
                const {
                    &[
                        text("Last Seen"),
                        text("Type"),
                        text("Reason"),
                        text("Object"),
                        wide("Subobject"),
                        wide("Source"),
                        text("Message"),
                        wide("First Seen"),
                        Column::of("Count", "integer", 1),
                        Column {
                            name: Cow::Borrowed("Name"),
                            kind: Cow::Borrowed("string"),
                            format: Cow::Borrowed("name"),
                            description: Cow::Borrowed(""),
                            priority: 1,
                        },
                    ]
                }
            }
            Columns::FlowSchema => {
                const {
                    &[
                        NAME,
                        text("PriorityLevel"),
                        integer("MatchingPrecedence"),
                        text("DistinguisherMethod"),
                        AGE,
                        text("MissingPL"),
                    ]
                }
            }
            Columns::HorizontalPodAutoscaler => {
                const {
                    &[
                        NAME,
                        text("Reference"),
                        text("Targets"),
                        text("MinPods"),
                        integer("MaxPods"),
                        integer("Replicas"),
                        AGE,
                    ]
                }
            }
            Columns::Ingress => {
                const {
                    &[
                        NAME,
                        text("Class"),
                        text("Hosts"),
                        text("Address"),
                        text("Ports"),
                        AGE,
                    ]
                }
            }
            Columns::IngressClass => const { &[NAME, text("Controller"), text("Parameters"), AGE] },
            Columns::Job => {
                const {
                    &[
                        NAME,
                        text("Status"),
                        text("Completions"),
                        text("Duration"),
                        AGE,
                        CONTAINERS,
                        IMAGES,
                        SELECTOR,
                    ]
                }
            }
            Columns::IpAddress => const { &[NAME, text("ParentRef")] },
            Columns::ServiceCidr => const { &[NAME, text("CIDRs"), AGE] },
            Columns::Lease => const { &[NAME, text("Holder"), AGE] },
            Columns::Namespace => const { &[NAME, text("Status"), AGE] },
            Columns::NetworkPolicy => const { &[NAME, text("Pod-Selector"), AGE] },
            Columns::Node => {
                const {
                    &[
                        NAME,
                        text("Status"),
                        text("Roles"),
                        AGE,
                        text("Version"),
                        wide("Internal-IP"),
                        wide("External-IP"),
                        wide("OS-Image"),
                        wide("Kernel-Version"),
                        wide("Container-Runtime"),
                    ]
                }
            }
            Columns::PersistentVolume => {
                const {
                    &[
                        NAME,
                        text("Capacity"),
                        text("Access Modes"),
                        text("Reclaim Policy"),
                        text("Status"),
                        text("Claim"),
                        text("StorageClass"),
                        text("VolumeAttributesClass"),
                        text("Reason"),
                        AGE,
                        wide("VolumeMode"),
                    ]
                }
            }
            Columns::PersistentVolumeClaim => {
                const {
                    &[
                        NAME,
                        text("Status"),
                        text("Volume"),
                        text("Capacity"),
                        text("Access Modes"),
                        text("StorageClass"),
                        text("VolumeAttributesClass"),
                        AGE,
                        wide("VolumeMode"),
                    ]
                }
            }
            Columns::Pod => {
                const {
                    &[
                        NAME,
                        text("Ready"),
                        text("Status"),
                        text("Restarts"),
                        AGE,
                        wide("IP"),
                        wide("Node"),
                        wide("Nominated Node"),
                        wide("Readiness Gates"),
                    ]
                }
            }
            Columns::PodDisruptionBudget => {
                const {
                    &[
                        NAME,
                        text("Min Available"),
                        text("Max Unavailable"),
                        integer("Allowed Disruptions"),
                        AGE,
                    ]
                }
            }
            Columns::PodTemplate => const { &[NAME, text("Containers"), text("Images"), text("Pod Labels")] },
            Columns::PriorityClass => {
                const {
                    &[
                        NAME,
                        integer("Value"),
                        boolean("Global-Default"),
                        AGE,
                        text("PreemptionPolicy"),
                    ]
                }
            }
            Columns::PriorityLevelConfiguration => {
                const {
                    &[
                        NAME,
                        text("Type"),
                        text("NominalConcurrencyShares"),
                        text("Queues"),
                        text("HandSize"),
                        text("QueueLengthLimit"),
                        AGE,
                    ]
                }
            }
            Columns::ReplicaSet | Columns::ReplicationController => {
                const {
                    &[
                        NAME,
                        integer("Desired"),
                        integer("Current"),
                        integer("Ready"),
                        AGE,
                        CONTAINERS,
                        IMAGES,
                        SELECTOR,
                    ]
                }
            }
            Columns::ResourceQuota => const { &[NAME, text("Request"), text("Limit"), AGE] },
            Columns::RoleBinding => {
                const {
                    &[
                        NAME,
                        text("Role"),
                        AGE,
                        wide("Users"),
                        wide("Groups"),
                        wide("ServiceAccounts"),
                    ]
                }
            }
            Columns::RuntimeClass => const { &[NAME, text("Handler"), AGE] },
            Columns::Secret => const { &[NAME, text("Type"), integer("Data"), AGE] },
            Columns::Service => {
                const {
                    &[
                        NAME,
                        text("Type"),
                        text("Cluster-IP"),
                        text("External-IP"),
                        text("Port(s)"),
                        AGE,
                        SELECTOR,
                    ]
                }
            }
            Columns::ServiceAccount => const { &[NAME, integer("Secrets"), AGE] },
            Columns::StatefulSet => const { &[NAME, text("Ready"), AGE, CONTAINERS, IMAGES] },
            Columns::StorageClass => {
                const {
                    &[
                        NAME,
                        text("Provisioner"),
                        text("ReclaimPolicy"),
                        text("VolumeBindingMode"),
                        boolean("AllowVolumeExpansion"),
                        AGE,
                    ]
                }
            }
            Columns::ValidatingAdmissionPolicy => {
                const { &[NAME, integer("Validations"), text("ParamKind"), AGE] }
            }
            Columns::ValidatingAdmissionPolicyBinding => {
                const { &[NAME, text("PolicyName"), text("ParamRef"), AGE] }
            }
            Columns::VolumeAttachment => {
                const {
                    &[
                        NAME,
                        text("Attacher"),
                        text("PV"),
                        text("Node"),
                        boolean("Attached"),
                        AGE,
                    ]
                }
            }
            Columns::VolumeAttributesClass => const { &[NAME, text("DriverName"), AGE] },
            Columns::WebhookConfiguration => const { &[NAME, integer("Webhooks"), AGE] },
        }
    }

    /// The cells of an object, as it is at `now`.
    pub fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        match self {
            Columns::NameAndAge => cells::name_and_age(object, now),
            Columns::CreatedAt => cells::created_at(object),
            Columns::Custom(columns) => {
                let mut cells = vec![object.name().into()];
                cells.extend(columns.iter().map(|column| column.cell(object, now)));
                cells
            }
            Columns::ApiService => cells::platform::api_service(object, now),
            Columns::CertificateSigningRequest => cells::platform::certificate_signing_request(object, now),
            Columns::ConfigMap => cells::config::config_map(object, now),
            Columns::ControllerRevision => cells::workloads::controller_revision(object, now),
            Columns::CronJob => cells::batch::cron_job(object, now),
            Columns::CsiDriver => cells::storage::csi_driver(object, now),
            Columns::CsiNode => cells::storage::csi_node(object, now),
            Columns::CsiStorageCapacity => cells::storage::csi_storage_capacity(object, now),
            Columns::DaemonSet => cells::workloads::daemon_set(object, now),
            Columns::Deployment => cells::workloads::deployment(object, now),
            Columns::EndpointSlice => cells::network::endpoint_slice(object, now),
            Columns::Endpoints => cells::network::endpoints(object, now),
            Columns::Event => cells::event::event(object, now),
            Columns::FlowSchema => cells::platform::flow_schema(object, now),
            Columns::HorizontalPodAutoscaler => cells::autoscaling::horizontal_pod_autoscaler(object, now),
            Columns::Ingress => cells::network::ingress(object, now),
            Columns::IngressClass => cells::network::ingress_class(object, now),
            Columns::Job => cells::batch::job(object, now),
            Columns::IpAddress => cells::network::ip_address(object),
            Columns::ServiceCidr => cells::network::service_cidr(object, now),
            Columns::Lease => cells::platform::lease(object, now),
            Columns::Namespace => cells::config::namespace(object, now),
            Columns::NetworkPolicy => cells::network::network_policy(object, now),
            Columns::Node => cells::node::node(object, now),
            Columns::PersistentVolume => cells::storage::persistent_volume(object, now),
            Columns::PersistentVolumeClaim => cells::storage::persistent_volume_claim(object, now),
            Columns::Pod => cells::pod::pod(object, now),
            Columns::PodDisruptionBudget => cells::autoscaling::pod_disruption_budget(object, now),
            Columns::PodTemplate => cells::workloads::pod_template(object),
            Columns::PriorityClass => cells::platform::priority_class(object, now),
            Columns::PriorityLevelConfiguration => cells::platform::priority_level(object, now),
            Columns::ReplicaSet | Columns::ReplicationController => {
                cells::workloads::replica_set(object, now)
            }
            Columns::ResourceQuota => cells::config::resource_quota(object, now),
            Columns::RoleBinding => cells::platform::role_binding(object, now),
            Columns::RuntimeClass => cells::platform::runtime_class(object, now),
            Columns::Secret => cells::config::secret(object, now),
            Columns::Service => cells::network::service(object, now),
            Columns::ServiceAccount => cells::config::service_account(object, now),
            Columns::StatefulSet => cells::workloads::stateful_set(object, now),
            Columns::StorageClass => cells::storage::storage_class(object, now),
            Columns::ValidatingAdmissionPolicy => cells::platform::admission_policy(object, now),
            Columns::ValidatingAdmissionPolicyBinding => {
                cells::platform::admission_policy_binding(object, now)
            }
            Columns::VolumeAttachment => cells::storage::volume_attachment(object, now),
            Columns::VolumeAttributesClass => cells::storage::volume_attributes_class(object, now),
            Columns::WebhookConfiguration => cells::platform::webhook_configuration(object, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Object;
    use crate::registry::builtin_rows;
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn every_kind_fills_its_columns_even_for_odd_objects() {
        let odd = [
            json!({}),
            json!({"metadata": 1, "spec": [], "status": "x", "data": 3, "subsets": {}, "endpoints": 1}),
            json!({"metadata": {"labels": [], "creationTimestamp": 5}, "spec": {
                "containers": 1, "template": {"spec": {"containers": [1, {"name": 2}]}}, "selector": 7,
                "ports": [1, {"port": "x"}], "rules": [1], "metrics": [1, {"type": "Resource"}], "replicas": "x",
            }, "status": {"conditions": [1], "containerStatuses": [1, {"state": 2}], "addresses": [1], "hard": [1]},
               "involvedObject": 1, "webhooks": 1, "subjects": [1]}),
        ];
        for row in builtin_rows() {
            for value in &odd {
                let object = Object::from_value(value.clone()).unwrap();
                let cells = row.columns.cells(&object, Timestamp::UNIX_EPOCH);
                assert_eq!(cells.len(), row.columns.definitions().len(), "{}", row.gvk());
            }
        }
    }
}
