//! The controllers and the scheduler together, on an API with a memory store.

mod daemon_sets;
mod deployments;
mod garbage;
mod harness;
mod idle;
mod jobs;
mod kubectl;
mod namespaces;
mod restart;
mod services;
mod stateful_sets;
mod volumes;
