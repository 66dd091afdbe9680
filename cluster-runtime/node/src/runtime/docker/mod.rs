//! The docker runtime: an engine makes the containers, Docker's or Podman's, through the API that both have.
//!
//! A sandbox is a container that waits and holds what the others join: network, host name, queues. What tug knows of
//! a container is kept in its labels, so the engine's list is the whole state. Images come from tug's own store, and
//! logs are written where tug's other containers have theirs.

mod describe;
mod engine;
mod follow;
mod images;
mod runtime;
mod streams;

pub use engine::ENGINE_SOCKETS;
pub use runtime::{DockerConfig, DockerRuntime};
