//! The controllers and the scheduler together, on an API with a memory store.

mod daemon_sets;
mod deployments;
mod garbage;
mod harness;
mod jobs;
mod namespaces;
mod services;
mod stateful_sets;
mod volumes;
