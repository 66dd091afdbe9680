//! Runtimes: what makes sandboxes and containers.
//!
//! Start with [`Runtime`], the seam. [`EmbeddedRuntime`] makes real containers with nothing but a Linux kernel,
//! [`DockerRuntime`] lets an engine make them, [`SimulatedRuntime`] only remembers what it was asked. [`RuntimeByClass`]
//! chooses between the first two for each pod.

mod api;
mod by_class;
mod docker;
mod embedded;
mod entry;
mod log;
mod seccomp;
mod simulated;
mod sub_path;

pub use api::{
    Container, ContainerExit, ContainerId, ContainerSpec, ContainerState, DiskUsage, LogLimits, MountSpec,
    NamespaceMode, ProcessSpec, Resources, Runtime, RuntimeError, Sandbox, SandboxSpec, SeccompProfile,
    Usage, UserSpec,
};
pub use by_class::{RuntimeByClass, RuntimeChoice};
pub use docker::{DockerConfig, DockerRuntime, ENGINE_SOCKETS};
pub use embedded::{EmbeddedConfig, EmbeddedRuntime, ShimCommand, shim_main};
pub(crate) use log::rotated;
pub use simulated::SimulatedRuntime;
