//! What a simulation found out.

use std::io;

use cluster_objects::Status;
use cluster_store::OpenError;
use serde::Serialize;

use crate::{Arrival, Latencies, Source, Workload};

/// What a simulation found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Simulated nodes.
    pub nodes: u32,
    /// Pods that were asked for.
    pub pods: u32,
    /// What the pods asked of each other.
    pub workload: Workload,
    /// Who made them.
    pub source: Source,
    /// When they came.
    pub arrival: Arrival,
    /// What made a node a good one: `spread`, `binpack` or `random`.
    pub profile: &'static str,
    /// Where the store was: `disk` or `memory`.
    pub store: &'static str,
    /// Pods with a node.
    pub placed: u32,
    /// Pods that their kubelets said to be running.
    pub running: u32,
    /// What is wrong with the placements; nothing, if all is well.
    pub faults: Vec<String>,
    /// Seconds that it took to register the nodes and, where they waited, to create the pods.
    pub setup_seconds: f64,
    /// Seconds from the first pod (the start of the scheduler, where pods waited) to the last placement.
    pub placement_seconds: f64,
    /// Pods placed in a second, over that time.
    pub placements_per_second: f64,
    /// The most in one second.
    pub placements_best_second: u32,
    /// Seconds from the first pod to the last one running.
    pub running_seconds: f64,
    /// From the watch showing a pod to the watch showing its node.
    pub placement_latency: Latencies,
    /// Single `GET`s of pods, over HTTPS, meanwhile.
    pub requests: Requests,
    /// Revisions that the store went through.
    pub revisions: u64,
    /// Mebibytes of memory at the end.
    pub memory_mib: u64,
    /// Mebibytes of memory at most.
    pub memory_peak_mib: u64,
    /// Processor time.
    pub processor: Processor,
}

/// Single reads while the cluster was busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Single `GET`s.
    pub get: Latencies,
}

/// Processor time of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Processor {
    /// Seconds while pods were placed, over all cores.
    pub seconds: f64,
    /// Microseconds for each pod that was placed.
    pub micros_per_pod: f64,
}

/// Why a simulation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The store of the cluster.
    #[error("the store of the simulation cannot be opened")]
    Store(#[from] OpenError),
    /// A request that the simulation itself made.
    #[error("the simulated cluster refused a request")]
    Refused(#[from] Status),
    /// Sockets.
    #[error("the simulated cluster cannot be served")]
    Io(#[from] io::Error),
    /// Nothing happened for too long before the simulation began.
    #[error("the simulated cluster made only {made} of {pods} pods within {seconds} s")]
    NotMade {
        /// Pods that there are.
        made: u32,
        /// Pods that were asked for.
        pods: u32,
        /// How long nothing happened.
        seconds: u64,
    },
}
