//! A pod as the agent reads it: the fields that it acts on, typed.
//!
//! Names and meanings are those of the [Pod API](https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/).

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_objects::Object;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A pod, with its object for what is only passed on.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub object: Arc<Object>,
    pub spec: PodSpec,
    /// When it must be gone, and the seconds that it has; set once deletion was asked for.
    pub deletion: Option<Deletion>,
}

/// That a pod is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub grace_seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub containers: Vec<ContainerConfig>,
    pub init_containers: Vec<ContainerConfig>,
    /// Those that were added to look into the pod; they run once.
    pub ephemeral_containers: Vec<ContainerConfig>,
    pub restart_policy: RestartPolicy,
    pub volumes: Vec<Volume>,
    pub node_name: String,
    pub service_account_name: String,
    pub host_network: bool,
    #[serde(rename = "hostPID")]
    pub host_pid: bool,
    #[serde(rename = "hostIPC")]
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    pub hostname: String,
    pub subdomain: String,
    #[serde(rename = "setHostnameAsFQDN")]
    pub set_hostname_as_fqdn: bool,
    pub host_aliases: Vec<HostAlias>,
    pub dns_policy: String,
    pub dns_config: DnsConfig,
    pub security_context: PodSecurityContext,
    pub image_pull_secrets: Vec<LocalReference>,
    pub termination_grace_period_seconds: Option<u64>,
    pub active_deadline_seconds: Option<u64>,
    pub enable_service_links: Option<bool>,
    pub readiness_gates: Vec<ReadinessGate>,
    pub runtime_class_name: String,
    pub priority: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerConfig {
    pub name: String,
    pub image: String,
    pub image_pull_policy: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: String,
    pub ports: Vec<ContainerPort>,
    pub env: Vec<EnvVar>,
    pub env_from: Vec<EnvFrom>,
    pub resources: ResourceRequirements,
    pub volume_mounts: Vec<VolumeMount>,
    pub liveness_probe: Option<Probe>,
    pub readiness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
    pub lifecycle: Lifecycle,
    pub security_context: ContainerSecurityContext,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    pub termination_message_path: Option<String>,
    pub termination_message_policy: String,
    /// `Always` makes an init container a sidecar.
    pub restart_policy: Option<String>,
    /// The container whose processes an ephemeral one sees.
    pub target_container_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerPort {
    pub name: String,
    pub container_port: u16,
    pub host_port: u16,
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    pub protocol: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvVar {
    pub name: String,
    pub value: String,
    pub value_from: Option<EnvSource>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvSource {
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
    pub config_map_key_ref: Option<KeyRef>,
    pub secret_key_ref: Option<KeyRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FieldRef {
    pub field_path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ResourceFieldRef {
    pub container_name: String,
    pub resource: String,
    pub divisor: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KeyRef {
    pub name: String,
    pub key: String,
    pub optional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvFrom {
    pub prefix: String,
    pub config_map_ref: Option<OptionalReference>,
    pub secret_ref: Option<OptionalReference>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OptionalReference {
    pub name: String,
    pub optional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct LocalReference {
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ResourceRequirements {
    pub limits: BTreeMap<String, Value>,
    pub requests: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VolumeMount {
    pub name: String,
    pub mount_path: String,
    pub read_only: bool,
    pub sub_path: String,
    pub sub_path_expr: String,
    pub mount_propagation: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Probe {
    pub http_get: Option<HttpGet>,
    pub tcp_socket: Option<TcpSocket>,
    pub exec: Option<ExecAction>,
    pub grpc: Option<Grpc>,
    pub initial_delay_seconds: u64,
    pub timeout_seconds: Option<u64>,
    pub period_seconds: Option<u64>,
    pub success_threshold: Option<u32>,
    pub failure_threshold: Option<u32>,
    pub termination_grace_period_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpGet {
    pub path: String,
    pub port: Value,
    pub host: String,
    pub scheme: String,
    pub http_headers: Vec<HttpHeader>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HttpHeader {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TcpSocket {
    pub port: Value,
    pub host: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ExecAction {
    pub command: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Grpc {
    pub port: u16,
    pub service: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Lifecycle {
    pub post_start: Option<Handler>,
    pub pre_stop: Option<Handler>,
    pub stop_signal: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Handler {
    pub exec: Option<ExecAction>,
    pub http_get: Option<HttpGet>,
    pub tcp_socket: Option<TcpSocket>,
    pub sleep: Option<SleepAction>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct SleepAction {
    pub seconds: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerSecurityContext {
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub run_as_non_root: Option<bool>,
    pub privileged: bool,
    pub read_only_root_filesystem: bool,
    pub allow_privilege_escalation: Option<bool>,
    pub capabilities: Capabilities,
    pub proc_mount: String,
    pub seccomp_profile: Option<SeccompField>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SeccompField {
    #[serde(rename = "type")]
    pub kind: String,
    pub localhost_profile: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Capabilities {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSecurityContext {
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub run_as_non_root: Option<bool>,
    pub fs_group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    /// `Strict` leaves out what the image says about groups.
    pub supplemental_groups_policy: String,
    pub sysctls: Vec<HttpHeader>,
    pub seccomp_profile: Option<SeccompField>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HostAlias {
    pub ip: String,
    pub hostnames: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct DnsConfig {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<DnsOption>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct DnsOption {
    pub name: String,
    pub value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReadinessGate {
    pub condition_type: String,
}

/// A volume; at most one of its sources is set. `others` holds what this agent does not know.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Volume {
    pub name: String,
    pub empty_dir: Option<EmptyDir>,
    pub host_path: Option<HostPath>,
    pub config_map: Option<ConfigMapVolume>,
    pub secret: Option<SecretVolume>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<DownwardVolume>,
    pub projected: Option<ProjectedVolume>,
    pub persistent_volume_claim: Option<ClaimVolume>,
    pub nfs: Option<NfsVolume>,
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EmptyDir {
    pub medium: String,
    pub size_limit: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HostPath {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NfsVolume {
    pub server: String,
    pub path: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConfigMapVolume {
    pub name: String,
    pub items: Vec<KeyToPath>,
    pub default_mode: Option<u32>,
    pub optional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SecretVolume {
    pub secret_name: String,
    /// In projected volumes the secret is named like other things.
    pub name: String,
    pub items: Vec<KeyToPath>,
    pub default_mode: Option<u32>,
    pub optional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct KeyToPath {
    pub key: String,
    pub path: String,
    pub mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DownwardVolume {
    pub items: Vec<DownwardItem>,
    pub default_mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DownwardItem {
    pub path: String,
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
    pub mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProjectedVolume {
    pub sources: Vec<Projection>,
    pub default_mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Projection {
    pub config_map: Option<ConfigMapVolume>,
    pub secret: Option<SecretVolume>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<DownwardVolume>,
    pub service_account_token: Option<TokenProjection>,
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TokenProjection {
    pub audience: String,
    pub expiration_seconds: Option<i64>,
    pub path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClaimVolume {
    pub claim_name: String,
    pub read_only: bool,
}

const GRACE_SECONDS: u64 = 30;
const CLUSTER_DOMAIN: &str = "cluster.local";

impl Pod {
    /// Reads a pod. A spec that cannot be read is an error: it was stored by something that does not validate.
    pub(crate) fn read(object: Arc<Object>) -> Result<Self, serde_json::Error> {
        let spec = object.at(&["spec"]).map_or_else(
            || Ok(PodSpec::default()),
            |spec| PodSpec::deserialize(without_nulls(spec)),
        )?;
        let grace = object.integer(&["metadata", "deletionGracePeriodSeconds"]);
        let deletion = object.deletion_timestamp().map(|_| Deletion {
            grace_seconds: grace
                .and_then(|seconds| u64::try_from(seconds).ok())
                .unwrap_or(GRACE_SECONDS),
        });
        Ok(Self {
            object,
            spec,
            deletion,
        })
    }

    pub(crate) fn uid(&self) -> &str {
        self.object.uid()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.object.namespace().unwrap_or("default")
    }

    pub(crate) fn name(&self) -> &str {
        self.object.name()
    }

    /// `name_namespace(uid)`, as messages name a pod.
    pub(crate) fn long_name(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }

    /// The host name that containers see: at most 63 characters of the pod's name, unless it says otherwise.
    pub(crate) fn hostname(&self) -> &str {
        if !self.spec.hostname.is_empty() {
            return &self.spec.hostname;
        }
        let name = self.name();
        let end = name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .take_while(|at| *at <= 63)
            .last();
        name[..end.unwrap_or(0)].trim_end_matches(['-', '.'])
    }

    /// The host name that the kernel has for the pod: the full one where the pod asks for that, which may be too long.
    pub(crate) fn kernel_hostname(&self) -> Result<String, String> {
        const BYTES_MAX: usize = 64;
        let name = self.hostname();
        if !self.spec.set_hostname_as_fqdn || self.spec.subdomain.is_empty() {
            return Ok(name.to_owned());
        }
        let full = self.full_hostname();
        if full.len() <= BYTES_MAX {
            return Ok(full);
        }
        Err(format!(
            "Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long ({BYTES_MAX} \
             characters is the max, {} characters requested)",
            full.len()
        ))
    }

    /// The name of a pod with a subdomain, below the cluster's domain.
    pub(crate) fn full_hostname(&self) -> String {
        let (subdomain, namespace) = (&self.spec.subdomain, self.namespace());
        format!("{}.{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}", self.hostname())
    }

    /// Seconds between the wish to stop and the kill.
    pub(crate) fn grace_seconds(&self) -> u64 {
        let own = self
            .spec
            .termination_grace_period_seconds
            .unwrap_or(GRACE_SECONDS);
        self.deletion.map_or(own, |deletion| deletion.grace_seconds)
    }

    /// All containers, init containers first.
    pub(crate) fn all_containers(&self) -> impl DoubleEndedIterator<Item = &ContainerConfig> {
        self.lasting_containers().chain(&self.spec.ephemeral_containers)
    }

    /// Those that the pod was made with.
    pub(crate) fn lasting_containers(&self) -> impl DoubleEndedIterator<Item = &ContainerConfig> {
        self.spec.init_containers.iter().chain(&self.spec.containers)
    }

    pub(crate) fn container(&self, name: &str) -> Option<&ContainerConfig> {
        self.all_containers().find(|container| container.name == name)
    }

    pub(crate) fn is_init(&self, name: &str) -> bool {
        self.spec
            .init_containers
            .iter()
            .any(|container| container.name == name)
    }

    pub(crate) fn is_ephemeral(&self, name: &str) -> bool {
        self.spec
            .ephemeral_containers
            .iter()
            .any(|container| container.name == name)
    }

    /// When the pod may run no longer.
    pub(crate) fn deadline(&self, started: Option<Timestamp>) -> Option<Timestamp> {
        let seconds = i64::try_from(self.spec.active_deadline_seconds?).ok()?;
        started?
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .ok()
    }
}

impl ContainerConfig {
    /// Whether it is an init container that goes on running beside the others.
    pub(crate) fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// Whether the image is fetched before the container starts, as the policy says; a missing policy depends on the
    /// tag.
    pub(crate) fn pull_policy(&self) -> PullPolicy {
        match self.image_pull_policy.as_str() {
            "Always" => PullPolicy::Always,
            "Never" => PullPolicy::Never,
            "IfNotPresent" => PullPolicy::IfNotPresent,
            _ => {
                let last = self.image.rsplit('/').next().unwrap_or_default();
                if last.contains('@') || (last.contains(':') && !last.ends_with(":latest")) {
                    PullPolicy::IfNotPresent
                } else {
                    PullPolicy::Always
                }
            }
        }
    }
}

/// A copy in which absent and null are the same, as they are in the API.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl Probe {
    pub(crate) fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.timeout_seconds.unwrap_or(1).max(1))
    }

    pub(crate) fn period(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.period_seconds.unwrap_or(10).max(1))
    }

    pub(crate) fn success_threshold(&self) -> u32 {
        self.success_threshold.unwrap_or(1).max(1)
    }

    pub(crate) fn failure_threshold(&self) -> u32 {
        self.failure_threshold.unwrap_or(3).max(1)
    }
}
