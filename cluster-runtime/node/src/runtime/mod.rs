//! Runtimes: what makes sandboxes and containers.
//!
//! Start with [`Runtime`], the seam. [`EmbeddedRuntime`] makes real containers with nothing but a Linux kernel;
//! [`SimulatedRuntime`] only remembers what it was asked.

mod api;
mod embedded;
mod simulated;

pub use api::{
    Container, ContainerExit, ContainerId, ContainerSpec, ContainerState, LogLimits, MountSpec,
    NamespaceMode, ProcessSpec, Resources, Runtime, RuntimeError, Sandbox, SandboxSpec, Usage, UserSpec,
};
pub(crate) use embedded::log::rotated;
pub use embedded::{EmbeddedConfig, EmbeddedRuntime, ShimCommand, shim_main};
pub use simulated::SimulatedRuntime;
