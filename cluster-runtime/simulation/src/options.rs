//! What is simulated.

use std::path::PathBuf;
use std::time::Duration;

use cluster_scheduler::Profile;
use serde::Serialize;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct SimulationOptions {
    /// Simulated nodes.
    pub nodes: u32,
    /// Pods.
    pub pods: u32,
    /// Zones that the nodes are in, in turn.
    pub zones: u32,
    /// What the pods ask of each other.
    pub workload: Workload,
    /// Pods of one application; they share labels, and a deployment where there are any.
    pub replicas: u32,
    /// Who makes the pods.
    pub source: Source,
    /// When the pods come.
    pub arrival: Arrival,
    /// What makes a node a good one.
    pub profile: Profile,
    /// Where the store is.
    pub store: StorePlace,
    /// Number from which all randomness of the scheduler comes.
    pub seed: u64,
    /// After this time without a placement the simulation ends as it is.
    pub patience: Duration,
}

/// What the pods ask of each other, beside cores and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Nothing.
    #[default]
    Plain,
    /// No two pods of an application on one node.
    AntiAffinity,
    /// The pods of an application evenly over the zones, with a skew of 1 at most.
    TopologySpread,
    /// Both.
    AntiAffinityAndTopologySpread,
}

/// Who makes the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The controllers, from deployments.
    #[default]
    Deployments,
    /// Nobody: they are created one by one.
    Bare,
}

/// When the pods come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// While the scheduler runs: what is measured is all of creating, placing and running.
    #[default]
    Flowing,
    /// Before the scheduler starts: what is measured is placing, binding and running.
    Waiting,
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// On disk, as that of a real cluster, in this folder, which must be empty or absent.
    Folder(PathBuf),
    /// In memory, without a log.
    Memory,
}

impl Default for SimulationOptions {
    fn default() -> Self {
        Self {
            nodes: 100,
            pods: 1_000,
            zones: 3,
            workload: Workload::default(),
            replicas: 100,
            source: Source::default(),
            arrival: Arrival::default(),
            profile: Profile::default(),
            store: StorePlace::Memory,
            seed: 1,
            patience: Duration::from_secs(60),
        }
    }
}

impl Workload {
    /// Whether pods of an application refuse each other's nodes.
    pub fn has_anti_affinity(self) -> bool {
        matches!(self, Self::AntiAffinity | Self::AntiAffinityAndTopologySpread)
    }

    /// Whether pods of an application are spread over zones.
    pub fn has_topology_spread(self) -> bool {
        matches!(self, Self::TopologySpread | Self::AntiAffinityAndTopologySpread)
    }
}
