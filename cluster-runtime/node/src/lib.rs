//! The node agent: it runs the pods of one machine in containers of its own making.
//!
//! Start with [`Node::start`] for the agent, [`image::ImageStore`] for images and [`runtime::Runtime`] for containers.
//! A program that uses them calls [`shim_main`] first thing when it is started as `__shim`.

mod agent;
mod async_file;
mod beneath;
mod causes;
mod disk_usage;
pub mod image;
mod local_volumes;
pub mod runtime;

pub use agent::{
    BeatCounts, EvictionThresholds, Heartbeat, HostPort, LoopbackNetwork, NetworkFailure, Node, NodeConfig,
    NodeError, NodeHandle, PodAddress, PodNetwork, Threshold, claim, take,
};
pub use local_volumes::{LOCAL_PROVISIONER, LocalVolumes, LocalVolumesConfig, local_storage_class};
pub use runtime::shim_main;
