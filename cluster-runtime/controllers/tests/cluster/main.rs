//! The controllers and the scheduler together, on an API with a memory store.

mod deployments;
mod garbage;
mod harness;
mod namespaces;
mod services;
