//! Which columns the table of each kind has.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;

/// The table of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the kinds are")]
pub enum Columns {
    #[default]
    NameAndAge,
    CreatedAt,
    Namespace,
    Pod,
    PodTemplate,
    ReplicationController,
    Service,
    Endpoints,
    ConfigMap,
    Secret,
    ServiceAccount,
    Node,
    Event,
    PersistentVolume,
    PersistentVolumeClaim,
    ResourceQuota,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    ControllerRevision,
    Job,
    CronJob,
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
    Ingress,
    IngressClass,
    NetworkPolicy,
    EndpointSlice,
    StorageClass,
    CsiDriver,
    CsiNode,
    CsiStorageCapacity,
    VolumeAttachment,
    VolumeAttributesClass,
    RoleBinding,
    CertificateSigningRequest,
    WebhookConfiguration,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    Lease,
    PriorityClass,
    RuntimeClass,
    ApiService,
    FlowSchema,
    PriorityLevelConfiguration,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer`, `date` and so on.
    pub kind: &'static str,
    /// `name` for the column that names the object.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The column definition of the wire.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

impl Columns {
    /// The columns.
    pub fn definitions(self) -> Vec<Column> {
        vec![
            Column {
                name: "Name",
                kind: "string",
                format: "name",
                description: "",
                priority: 0,
            },
            Column {
                name: "Age",
                kind: "string",
                format: "",
                description: "",
                priority: 0,
            },
        ]
    }

    /// The cells of an object, as it is at `now`.
    pub fn cells(self, object: &Object, _now: Timestamp) -> Vec<Value> {
        vec![object.name().into(), "<unknown>".into()]
    }
}
