//! Pod networks, service balancing and cluster DNS of a node.
//!
//! Start with [`Network`]: it brings the node's bridge up, links pods to it, and keeps services and names in step
//! with the API. What is balanced is decided in [`table`], how in [`ruleset`] (kernel) and `proxy` (user space), and who
//! may speak with whom in [`policy`].

mod address;
pub mod affinity;
mod config;
mod conntrack;
#[cfg(test)]
mod data_plane_tests;
mod dns;
mod link;
mod namespace;
mod network;
mod overlay;
pub mod policy;
mod policy_plane;
mod proxy;
pub mod ruleset;
mod sync;
pub mod table;
mod tunnel;

pub use address::{AddressPool, PoolExhausted};
pub use config::{NetworkConfig, ParseSubnetError, Subnet};
pub use dns::{Names, Resolution};
pub use link::gateway;
pub use network::{Balancer, ForwardedPort, Network, NetworkError, PodAddress};
pub use overlay::{Overlay, internal_address};
pub use table::Protocol;
