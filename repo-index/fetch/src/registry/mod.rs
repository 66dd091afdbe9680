//! Registries of the OCI distribution specification, as stores of charts.

mod chart;
mod client;
mod docker_config;
mod error;
mod token;

pub use chart::{Pulled, Pushed};
pub use client::{Registry, RegistryOptions};
pub use docker_config::{DockerConfig, DockerConfigError};
pub use error::RegistryError;
