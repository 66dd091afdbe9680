//! The embedded runtime: containers made by libcontainer, each in the care of a small process that outlives the
//! agent.
//!
//! ```text
//! ROOT/sandboxes/UID/sandbox.json        what it is
//! ROOT/sandboxes/UID/ns/{net,ipc,uts}    bind mounts that keep its namespaces
//! ROOT/containers/ID/spec.json           what was asked, written by the agent
//! ROOT/containers/ID/shim.lock           held by the shim while it lives
//! ROOT/containers/ID/shim.sock           where it is spoken to
//! ROOT/containers/ID/started.json        pid and times, written by the shim
//! ROOT/containers/ID/exit.json           how it ended, written by the shim last of all
//! ROOT/containers/ID/{upper,work,rootfs} the writable layer
//! ```

mod cgroup;
mod exec;
mod executor;
mod family;
mod found;
mod namespaces;
mod paths;
mod processes;
mod protocol;
mod runtime;
mod sandboxes;
mod shim;
mod shims;
mod spec;
mod start;
mod streams;
mod terminal;
mod user;

pub use runtime::{EmbeddedConfig, EmbeddedRuntime, ShimCommand};
pub use shim::shim_main;
