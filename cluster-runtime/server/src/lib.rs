//! A node of the bundled cluster: certificates, wiring, start and stop.
//!
//! Start with [`ensure_running`], which a client calls, and [`serve`], which is the server itself.

mod admin;
mod agent;
mod ask;
mod bootstrap;
mod control;
mod dir;
mod handshake;
mod host;
mod invitation;
mod join;
mod kubeconfig;
mod leader;
mod leading;
mod lock;
mod machine;
mod measurements;
mod message;
mod node_link;
mod node_links;
mod node_metrics;
mod only_one;
mod options;
mod own_api;
mod parts;
mod peers;
mod pki;
mod pod_network;
mod quorum;
mod reception;
mod renewal;
mod rescue;
mod role;
mod running;
mod serve;
mod server_list;
mod stop_signals;
mod task;
mod timing;
mod tls;
mod token;

pub use admin::{
    AdminError, add_token, backup, demote, list_tokens, members, promote, remove_token, set_timing,
};
pub use ask::AskError;
pub use cluster_network::Subnet;
pub use cluster_node::EvictionThresholds;
pub use cluster_node::runtime::RuntimeChoice;
pub use control::{ControlError, Running, SERVER_COMMAND, StopPods, delete, ensure_running, running, stop};
pub use dir::{ClusterDir, ClusterSettings, SettingsError};
pub use invitation::{KnownToken, TOKEN_LIFE, TokenWish};
pub use join::{JoinError, join};
pub use lock::ServerProcess;
pub use machine::SHIM_COMMAND;
pub use message::{MemberStatus, Refusal};
pub use options::{ClusterOptions, OptionsError};
pub use pki::PkiError;
pub use rescue::{RescueError, recover_cluster, restore_cluster};
pub use serve::{ServeError, serve};
pub use timing::{Timing, TimingError, TimingWish};
pub use token::{JoinToken, ParseTokenError, Role};
