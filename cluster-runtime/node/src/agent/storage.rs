//! What pods hold on the disk of the node, and whether that is more than they may.
//!
//! What counts, in which order limits are looked at, and the words are the kubelet's, of its
//! [local ephemeral storage](https://kubernetes.io/docs/concepts/storage/ephemeral-storage/).

use std::collections::{BTreeMap, BTreeSet};

use cluster_objects::quantity::Quantity;
use serde_json::Value;

use super::container::PodFolder;
use super::node::Shared;
use super::pod::{ContainerConfig, Pod, Volume};
use super::pressure::CRITICAL_PRIORITY;
use crate::disk_usage::disk_usage;
use crate::runtime::{ContainerId, DiskUsage};

const RESOURCE: &str = "ephemeral-storage";

/// What a pod holds on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodStorage {
    /// Writable layers and logs, by container.
    pub containers: BTreeMap<String, DiskUsage>,
    /// Volumes that are nowhere else.
    pub volumes: BTreeMap<String, DiskUsage>,
}

impl PodStorage {
    pub(crate) fn total(&self) -> DiskUsage {
        let mut total = DiskUsage::default();
        for usage in self.containers.values().chain(self.volumes.values()) {
            total += *usage;
        }
        total
    }
}

/// What a pod may hold on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StorageLimits {
    volumes: Vec<Limit>,
    pod: Option<Quantity>,
    containers: Vec<Limit>,
}

#[derive(Clone, Debug, PartialEq)]
struct Limit {
    of: String,
    amount: Quantity,
}

impl StorageLimits {
    /// The limits of a pod. A pod of the system's own has none, since it is never let go.
    pub(crate) fn of(pod: &Pod) -> Self {
        if pod.spec.priority >= CRITICAL_PRIORITY {
            return Self::default();
        }
        let of_volume = |volume: &Volume| {
            let empty = volume.empty_dir.as_ref()?;
            let limit = amount(Some(&empty.size_limit)).filter(|_| empty.medium != "Memory")?;
            Some(Limit {
                of: volume.name.clone(),
                amount: limit,
            })
        };
        let of_container = |container: &ContainerConfig| {
            Some(Limit {
                of: container.name.clone(),
                amount: limit(container, RESOURCE)?,
            })
        };
        Self {
            volumes: pod.spec.volumes.iter().filter_map(of_volume).collect(),
            pod: pod_total(pod, |container| limit(container, RESOURCE)),
            containers: pod.spec.containers.iter().filter_map(of_container).collect(),
        }
    }

    /// Whether there are none, so that nothing need be measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.pod.is_none()
    }

    /// Whether only volumes have a limit.
    pub(crate) fn is_of_volumes(&self) -> bool {
        self.pod.is_none()
    }

    /// What to say of a pod that holds more than it may.
    pub(crate) fn exceeded(&self, held: &PodStorage) -> Option<String> {
        let above = |limit: &&Limit, held: &BTreeMap<String, DiskUsage>| {
            let usage = held.get(&limit.of).copied().unwrap_or_default();
            is_above(usage, limit.amount)
        };
        if let Some(limit) = self.volumes.iter().find(|limit| above(limit, &held.volumes)) {
            return Some(format!(
                "Usage of EmptyDir volume {:?} exceeds the limit \"{}\". ",
                limit.of, limit.amount
            ));
        }
        if let Some(limit) = self.pod.filter(|limit| is_above(held.total(), *limit)) {
            return Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
            ));
        }
        let limit = self
            .containers
            .iter()
            .find(|limit| above(limit, &held.containers))?;
        Some(format!(
            "Container {} exceeded its local ephemeral storage limit \"{}\". ",
            limit.of, limit.amount
        ))
    }
}

fn is_above(usage: DiskUsage, limit: Quantity) -> bool {
    i128::from(usage.bytes) > i128::from(limit.units())
}

/// An amount that says something.
fn amount(value: Option<&Value>) -> Option<Quantity> {
    let amount = Quantity::from_value(value?).ok()?;
    (!amount.is_zero() && !amount.is_negative()).then_some(amount)
}

fn limit(container: &ContainerConfig, resource: &str) -> Option<Quantity> {
    amount(container.resources.limits.get(resource))
}

/// What a container asks for; its limit where it says nothing else.
pub(crate) fn request(container: &ContainerConfig, resource: &str) -> Option<Quantity> {
    match container.resources.requests.get(resource) {
        Some(value) => amount(Some(value)),
        None => limit(container, resource),
    }
}

/// What a whole pod has of a resource: all containers that run together, or an init container that has more.
pub(crate) fn pod_total(pod: &Pod, of: impl Fn(&ContainerConfig) -> Option<Quantity>) -> Option<Quantity> {
    let mut together: Option<Quantity> = None;
    let mut add = |amount: Option<Quantity>| {
        if let Some(amount) = amount {
            together = Some(together.map_or(amount, |sum| sum + amount));
        }
    };
    let (sidecars, inits): (Vec<_>, Vec<_>) = pod
        .spec
        .init_containers
        .iter()
        .partition(|container| container.is_sidecar());
    sidecars
        .into_iter()
        .chain(&pod.spec.containers)
        .for_each(|container| add(of(container)));
    let alone = inits.into_iter().filter_map(of);
    alone
        .chain(together)
        .reduce(|most, next| if next > most { next } else { most })
}

/// Measures what a pod holds, one pod at a time. Volumes that are elsewhere, in memory or of the whole machine are left
/// out; what cannot be measured counts as nothing.
pub(crate) async fn measure(
    shared: &Shared,
    pod: &Pod,
    folder: &PodFolder,
    containers: &[(String, ContainerId)],
) -> PodStorage {
    let Ok(_turn) = shared.walking.acquire().await else {
        return PodStorage::default();
    };
    let mut held: BTreeMap<String, DiskUsage> = BTreeMap::new();
    for (name, id) in containers {
        if let Ok(layer) = shared.runtime.disk_usage(id).await {
            *held.entry(name.clone()).or_default() += layer;
        }
    }
    let on_disk = pod.spec.volumes.iter().filter(|volume| is_on_disk(volume));
    let volumes: Vec<String> = on_disk.map(|volume| volume.name.clone()).collect();
    // A container and those before it have one folder of logs.
    let names: BTreeSet<String> = containers.iter().map(|(name, _)| name.clone()).collect();
    let folder = folder.clone();
    let walked = tokio::task::spawn_blocking(move || {
        for name in names {
            let logs = disk_usage(&folder.logs.join(&name));
            *held.entry(name).or_default() += logs;
        }
        let volume = |name: String| {
            let usage = disk_usage(&folder.volumes().join(&name));
            (name, usage)
        };
        PodStorage {
            containers: held,
            volumes: volumes.into_iter().map(volume).collect(),
        }
    });
    walked.await.unwrap_or_default()
}

fn is_on_disk(volume: &Volume) -> bool {
    volume
        .empty_dir
        .as_ref()
        .is_some_and(|empty| empty.medium != "Memory")
        || volume.config_map.is_some()
        || volume.downward_api.is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster_objects::Object;
    use serde_json::json;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn pod(spec: &Value) -> Pod {
        Pod::read(Arc::new(Object::from_value(json!({ "spec": spec })).unwrap())).unwrap()
    }

    fn container(name: &str, limit: &str) -> Value {
        let limits = match limit {
            "" => json!({}),
            limit => json!({ "ephemeral-storage": limit }),
        };
        json!({ "name": name, "image": "img:1", "resources": { "limits": limits } })
    }

    fn held(list: &[(&str, u64)]) -> BTreeMap<String, DiskUsage> {
        let usage = |mib: u64| DiskUsage {
            bytes: mib * MIB,
            inodes: 1,
        };
        list.iter()
            .map(|(name, mib)| ((*name).to_owned(), usage(*mib)))
            .collect()
    }

    #[test]
    fn a_pod_that_holds_more_than_it_may_is_told_so() {
        let check =
            |spec: Value, containers: &[(&str, u64)], volumes: &[(&str, u64)], expected: Option<&str>| {
                let storage = PodStorage {
                    containers: held(containers),
                    volumes: held(volumes),
                };
                let said = StorageLimits::of(&pod(&spec)).exceeded(&storage);
                assert_eq!(said.as_deref(), expected, "{storage:?}");
            };
        let one = |limit| json!({ "containers": [container("web", limit)] });
        check(one(""), &[("web", 900)], &[], None);
        check(one("10Mi"), &[("web", 10)], &[], None);
        let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ";
        check(one("10Mi"), &[("web", 11)], &[], Some(whole));
        check(one("10Mi"), &[("web", 6)], &[("cache", 5)], Some(whole));

        // A container with room in its pod may still be above its own limit.
        let two = json!({ "containers": [container("web", "10Mi"), container("log", "20Mi")] });
        let own = "Container web exceeded its local ephemeral storage limit \"10Mi\". ";
        check(two.clone(), &[("web", 15), ("log", 1)], &[], Some(own));
        check(two.clone(), &[("web", 9), ("log", 19)], &[], None);
        let both = "Pod ephemeral local storage usage exceeds the total limit of containers 30Mi. ";
        check(two, &[("web", 15), ("log", 16)], &[], Some(both));

        let volume = |empty: Value| {
            json!({
                "containers": [container("web", "")],
                "volumes": [{ "name": "cache", "emptyDir": empty }],
            })
        };
        let cache = "Usage of EmptyDir volume \"cache\" exceeds the limit \"10Mi\". ";
        check(
            volume(json!({ "sizeLimit": "10Mi" })),
            &[],
            &[("cache", 11)],
            Some(cache),
        );
        check(
            volume(json!({ "sizeLimit": "10Mi" })),
            &[("web", 99)],
            &[("cache", 9)],
            None,
        );
        check(volume(json!({})), &[], &[("cache", 99)], None);
        let memory = json!({ "sizeLimit": "10Mi", "medium": "Memory" });
        check(volume(memory), &[], &[("cache", 99)], None);

        // The system's own are never let go.
        let mut critical = one("10Mi");
        critical["priority"] = 2_000_001_000.into();
        check(critical, &[("web", 11)], &[], None);
    }

    #[test]
    fn a_pod_has_what_its_containers_have_together() {
        let check = |init: Value, main: Value, expected: Option<&str>| {
            let pod = pod(&json!({ "initContainers": init, "containers": main }));
            let total = pod_total(&pod, |container| limit(container, RESOURCE));
            assert_eq!(total, expected.map(|text| text.parse().unwrap()));
        };
        let sidecar = |limit| {
            let mut sidecar = container("side", limit);
            sidecar["restartPolicy"] = "Always".into();
            sidecar
        };
        check(json!([]), json!([container("a", "")]), None);
        check(
            json!([]),
            json!([container("a", "1Gi"), container("b", "")]),
            Some("1Gi"),
        );
        check(
            json!([]),
            json!([container("a", "1Gi"), container("b", "1Gi")]),
            Some("2Gi"),
        );
        check(
            json!([container("i", "3Gi")]),
            json!([container("a", "1Gi")]),
            Some("3Gi"),
        );
        check(
            json!([container("i", "1Gi"), sidecar("2Gi")]),
            json!([container("a", "1Gi")]),
            Some("3Gi"),
        );
    }
}
