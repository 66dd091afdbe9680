//! The agent: it runs the pods that the cluster places on this node, and says how they are.
//!
//! Start with [`Node::start`]. What to do for a pod is decided in `plan`, a function without effects; a worker for
//! each pod carries it out.

mod container;
mod environment;
mod eviction;
mod files;
mod grpc;
mod health;
mod heartbeat;
mod images;
mod logs;
mod lookup;
mod measured;
mod mounts;
mod netns;
mod network;
mod nfs;
mod node;
mod observed;
mod patient;
mod plan;
#[cfg(test)]
mod plan_tests;
mod pod;
mod pressure;
mod probes;
mod registration;
mod seeding;
mod status;
mod storage;
mod streams;
mod tasks;
mod tls;
mod unhonoured;
mod usage;
mod volumes;
mod worker;

pub use heartbeat::{Heartbeat, claim, take};
pub use measured::BeatCounts;
pub use network::{HostPort, LoopbackNetwork, NetworkFailure, PodAddress, PodNetwork};
pub use node::{Node, NodeConfig, NodeError, NodeHandle};
pub use pressure::{EvictionThresholds, Threshold};
