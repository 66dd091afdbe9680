//! The node's own objects: what it is and has, and the lease that says that it lives.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Collection, Target, WriteOptions};
use cluster_objects::{Object, Status};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::lookup;
use super::pressure::{EvictionThresholds, Pressures, Threshold};
use super::status::time;

/// What the cluster takes the agent for.
const KUBELET_VERSION: &str = "v1.37.0+tug.0";
/// Says of a node's lease where the agent works that renews it.
const PLACE_ANNOTATION: &str = "tug.dev/held-by";
const LEASE_NAMESPACE: &str = "kube-node-lease";
const IMAGES_SHOWN_MAX: usize = 50;
const ATTEMPTS_MAX: u32 = 5;

/// What the machine is and has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub addresses: Vec<IpAddr>,
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    pub storage_bytes: i64,
    pub kernel: String,
    pub os_image: String,
    pub machine_id: String,
    pub boot_id: String,
    pub architecture: &'static str,
}

impl Machine {
    /// Looks at this machine; `storage` is a folder of the disk that pods use.
    pub(crate) fn look(addresses: Vec<IpAddr>, storage: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let memory = text("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kilobytes = memory.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let storage =
            rustix::fs::statvfs(storage).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        let release = text("/etc/os-release");
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            addresses,
            cpu_millis: i64::try_from(cpus).unwrap_or(1) * 1000,
            memory_bytes: kilobytes.unwrap_or(0) * 1024,
            storage_bytes: i64::try_from(storage).unwrap_or(i64::MAX),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
            machine_id: text("/etc/machine-id"),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
        }
    }

    pub(crate) fn host_ip(&self) -> String {
        self.addresses
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

/// What the node says of itself, beside the machine.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub pods_max: u32,
    pub pod_cidr: Option<String>,
    pub endpoint_port: Option<u16>,
    pub eviction: EvictionThresholds,
    pub runtime_version: String,
    /// Where the agent works, if it has to be the only one of its name.
    pub place: Option<String>,
}

/// Why a sign of life was not taken.
#[derive(Debug)]
pub(crate) enum RenewError {
    /// The agent of another place renews the lease.
    Held {
        by: String,
    },
    Status(Status),
}

impl From<Status> for RenewError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Registration {
    /// Creates the node object, or brings the one that is there up to date.
    pub(crate) async fn register(
        &self,
        api: &dyn Api,
        machine: &Machine,
        images: &[(Vec<String>, u64)],
        pressures: Pressures,
        now: Timestamp,
    ) -> Result<Arc<Object>, Status> {
        let target = Target::cluster_wide("v1", "nodes", &self.name);
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let written = self.write(api, &target, machine, images, pressures, now).await;
            match written {
                Err(status) if status.is_conflict() || status.is_already_exists() => last = Some(status),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Status::internal("the node object changes too fast")))
    }

    async fn write(
        &self,
        api: &dyn Api,
        target: &Target,
        machine: &Machine,
        images: &[(Vec<String>, u64)],
        pressures: Pressures,
        now: Timestamp,
    ) -> Result<Arc<Object>, Status> {
        let options = options();
        let found = lookup::get(api, target).await?;
        let mut wanted = found.as_ref().map_or_else(
            || Object::new("v1", "Node", None, &self.name),
            |found| Object::clone(found),
        );
        self.describe(&mut wanted, machine);
        let node = match found {
            None => api.create(&target.collection(), wanted, &options).await?,
            Some(found) if *found == wanted => found,
            Some(_) => api.update(target, wanted, &options).await?,
        };
        let status = self.status(&node, machine, images, pressures, now);
        if node.at(&["status"]) == Some(&status) {
            return Ok(node);
        }
        let mut wanted = Object::clone(&node);
        wanted.set(&["status"], status);
        api.update(&target.clone().subresource("status"), wanted, &options)
            .await
    }

    fn describe(&self, node: &mut Object, machine: &Machine) {
        let own = [
            ("kubernetes.io/hostname", self.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", machine.architecture),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", machine.architecture),
        ];
        for (key, value) in own.into_iter().chain(
            self.labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        ) {
            node.set(&["metadata", "labels", key], value);
        }
        if node.text(&["spec", "providerID"]).is_none() {
            node.set(&["spec", "providerID"], format!("tug://{}", self.name));
        }
        if let Some(cidr) = self
            .pod_cidr
            .as_ref()
            .filter(|_| node.text(&["spec", "podCIDR"]).is_none())
        {
            node.set(&["spec", "podCIDR"], cidr.as_str());
            node.set(&["spec", "podCIDRs"], json!([cidr]));
        }
    }

    fn status(
        &self,
        node: &Object,
        machine: &Machine,
        images: &[(Vec<String>, u64)],
        pressures: Pressures,
        now: Timestamp,
    ) -> Value {
        let before = node
            .at(&["status"])
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let mut status = before.clone();
        let resources = |memory_bytes: i64, storage_bytes: i64| {
            json!({
                "cpu": (machine.cpu_millis / 1000).to_string(),
                "memory": format!("{}Ki", memory_bytes / 1024),
                "ephemeral-storage": format!("{}Ki", storage_bytes / 1024),
                "pods": self.pods_max.to_string(),
            })
        };
        // What the node keeps free is nobody's to ask for.
        let left = |bytes: i64, threshold: Threshold| {
            let kept = threshold.of(u64::try_from(bytes).unwrap_or(0));
            bytes.saturating_sub_unsigned(kept).max(0)
        };
        let (memory, storage) = (machine.memory_bytes, machine.storage_bytes);
        status.insert("capacity".into(), resources(memory, storage));
        let memory = left(memory, self.eviction.memory_available);
        let storage = left(storage, self.eviction.nodefs_available);
        status.insert("allocatable".into(), resources(memory, storage));
        let mut addresses: Vec<Value> = machine
            .addresses
            .iter()
            .map(|address| json!({ "type": "InternalIP", "address": address.to_string() }))
            .collect();
        addresses.push(json!({ "type": "Hostname", "address": self.name }));
        status.insert("addresses".into(), addresses.into());
        if let Some(port) = self.endpoint_port {
            status.insert(
                "daemonEndpoints".into(),
                json!({"kubeletEndpoint": {"Port": port}}),
            );
        }
        status.insert(
            "nodeInfo".into(),
            json!({
                "architecture": machine.architecture,
                "bootID": machine.boot_id,
                "containerRuntimeVersion": self.runtime_version,
                "kernelVersion": machine.kernel,
                "kubeProxyVersion": KUBELET_VERSION,
                "kubeletVersion": KUBELET_VERSION,
                "machineID": machine.machine_id,
                "operatingSystem": "linux",
                "osImage": machine.os_image,
                "systemUUID": machine.machine_id,
            }),
        );
        let shown = images.iter().take(IMAGES_SHOWN_MAX);
        let images: Vec<Value> = shown
            .map(|(names, size)| json!({ "names": names, "sizeBytes": size }))
            .collect();
        status.insert("images".into(), images.into());
        let old: Vec<Value> = before
            .get("conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let facts = [
            if pressures.memory {
                (
                    "MemoryPressure",
                    "True",
                    "KubeletHasInsufficientMemory",
                    "kubelet has insufficient memory available",
                )
            } else {
                (
                    "MemoryPressure",
                    "False",
                    "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available",
                )
            },
            if pressures.disk {
                (
                    "DiskPressure",
                    "True",
                    "KubeletHasDiskPressure",
                    "kubelet has disk pressure",
                )
            } else {
                (
                    "DiskPressure",
                    "False",
                    "KubeletHasNoDiskPressure",
                    "kubelet has no disk pressure",
                )
            },
            (
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ];
        let is_own = |condition: &Value| facts.iter().any(|(kind, ..)| condition["type"] == *kind);
        let mut conditions: Vec<Value> = old
            .iter()
            .filter(|condition| !is_own(condition))
            .cloned()
            .collect();
        for (kind, value, reason, message) in facts {
            let same = old
                .iter()
                .find(|condition| condition["type"] == kind && condition["status"] == value);
            let since = same.and_then(|condition| condition["lastTransitionTime"].as_str());
            conditions.push(json!({
                "type": kind, "status": value, "reason": reason, "message": message,
                "lastHeartbeatTime": time(now),
                "lastTransitionTime": since.map_or_else(|| time(now), str::to_owned),
            }));
        }
        status.insert("conditions".into(), conditions.into());
        Value::Object(status)
    }

    /// Whether the node object says that the node is not ready; `false` where it cannot be read.
    pub(crate) async fn is_taken_for_lost(&self, api: &dyn Api) -> bool {
        let target = Target::cluster_wide("v1", "nodes", &self.name);
        let Ok(node) = api.get(&target).await else {
            return false;
        };
        let mut conditions = node.list(&["status", "conditions"]).iter();
        !conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// The lease of a node, if it has one.
    pub(crate) async fn lease(api: &dyn Api, node: &str) -> Result<Option<Arc<Object>>, Status> {
        lookup::get(api, &leases().target(node)).await
    }

    /// Where the agent works that holds a lease.
    pub(crate) fn held_by(lease: &Object) -> Option<&str> {
        lease.text(&["metadata", "annotations", PLACE_ANNOTATION])
    }

    /// Takes a lease from another agent, unless it was changed since it was read.
    pub(crate) async fn take_over(
        api: &dyn Api,
        lease: &Object,
        place: &str,
        now: Timestamp,
    ) -> Result<(), Status> {
        let mut lease = lease.clone();
        lease.set(&["metadata", "annotations", PLACE_ANNOTATION], place);
        lease.set(&["spec", "renewTime"], micro_time(now));
        let target = leases().target(lease.name());
        api.update(&target, lease, &options()).await.map(drop)
    }

    /// Says that the agent of this place needs the name no more, so that another one need not wait.
    pub(crate) async fn give_up(&self, api: &dyn Api) -> Result<(), Status> {
        let Some(lease) = Self::lease(api, &self.name).await? else {
            return Ok(());
        };
        if self.place.is_none() || Self::held_by(&lease) != self.place.as_deref() {
            return Ok(());
        }
        let mut lease = Object::clone(&lease);
        lease.remove(&["metadata", "annotations", PLACE_ANNOTATION]);
        api.update(&leases().target(&self.name), lease, &options())
            .await
            .map(drop)
    }

    /// Renews the lease of the node, unless the agent of another place does.
    pub(crate) async fn renew(
        &self,
        api: &dyn Api,
        node_uid: &str,
        lost_after: Duration,
        now: Timestamp,
    ) -> Result<(), RenewError> {
        let collection = leases();
        let target = collection.target(&self.name);
        let found = lookup::get(api, &target).await?;
        let holder = found.as_deref().and_then(Self::held_by);
        if let (Some(place), Some(by)) = (&self.place, holder)
            && by != place
        {
            return Err(RenewError::Held { by: by.to_owned() });
        }
        let mut lease = found.as_ref().map_or_else(
            || {
                Object::new(
                    "coordination.k8s.io/v1",
                    "Lease",
                    Some(LEASE_NAMESPACE),
                    &self.name,
                )
            },
            |found| Object::clone(found),
        );
        lease.set(
            &["metadata", "ownerReferences"],
            json!([{ "apiVersion": "v1", "kind": "Node", "name": self.name, "uid": node_uid }]),
        );
        if let Some(place) = &self.place {
            lease.set(&["metadata", "annotations", PLACE_ANNOTATION], place.as_str());
        }
        lease.set(&["spec", "holderIdentity"], self.name.as_str());
        // Whole seconds, one at least.
        let seconds = lost_after.as_millis().div_ceil(1000).max(1);
        lease.set(
            &["spec", "leaseDurationSeconds"],
            u64::try_from(seconds).unwrap_or(u64::MAX),
        );
        lease.set(&["spec", "renewTime"], micro_time(now));
        let written = match found {
            None => api.create(&collection, lease, &options()).await,
            Some(_) => api.update(&target, lease, &options()).await,
        };
        match written {
            // Nobody else writes it; the next beat writes again, or sees who does.
            Err(status) if !status.is_conflict() && !status.is_already_exists() => Err(status.into()),
            _ => Ok(()),
        }
    }
}

fn leases() -> Collection {
    Collection::namespaced("coordination.k8s.io/v1", "leases", LEASE_NAMESPACE)
}

fn options() -> WriteOptions {
    WriteOptions {
        field_manager: "kubelet".to_owned(),
        ..WriteOptions::default()
    }
}

/// A time as leases have it.
fn micro_time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Between two reports of a status that did not change.
pub(crate) const REPORT: Duration = Duration::from_secs(300);
