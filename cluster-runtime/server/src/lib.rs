//! A node of the bundled cluster: certificates, wiring, start and stop.
//!
//! Start with [`ensure_running`], which a client calls, and [`serve`], which is the server itself.

mod bootstrap;
mod control;
mod dir;
mod handshake;
mod host;
mod kubeconfig;
mod lock;
mod options;
mod parts;
mod pki;
mod pod_network;
mod serve;

pub use cluster_network::Subnet;
pub use cluster_node::runtime::RuntimeChoice;
pub use control::{ControlError, Running, SERVER_COMMAND, StopPods, delete, ensure_running, running, stop};
pub use dir::{ClusterDir, ClusterSettings, SettingsError};
pub use lock::ServerProcess;
pub use options::{ClusterOptions, OptionsError};
pub use parts::SHIM_COMMAND;
pub use pki::PkiError;
pub use serve::{ServeError, serve};
