//! The controllers and the scheduler together, on an API with a memory store.

mod deployments;
mod harness;
