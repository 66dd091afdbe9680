//! The client against servers that behave well and badly.

mod dependencies;
mod registries;
mod repositories;
mod server;
mod stage;
mod trust;
