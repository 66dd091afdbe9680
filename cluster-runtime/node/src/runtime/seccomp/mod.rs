//! Filters of system calls: profiles as Docker and containerd write them, and the kernel's programs made of them.

mod default;
mod filter;
mod install;
mod numbers;
mod profile;

pub(crate) use default::runtime_default;
pub(crate) use filter::{Filter, compile};
pub(crate) use install::install;
pub(crate) use profile::Profile;
