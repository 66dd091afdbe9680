//! Nodes that fall silent: they are marked, and their pods are moved away.

mod eviction;
mod health;

pub(crate) use eviction::Evictions;
pub(crate) use health::NodeHealth;
