//! Laboratories for tests: a network namespace, a data folder and the real binary.
//!
//! Start with [`Lab::open`]; everything that it starts ends with it.

mod client;
mod engine;
mod http;
mod kubectl;
mod lab;
mod machines;
mod peers;
mod program;
mod registry;
mod shop;
mod wait;

pub use engine::Engine;
pub use http::get;
pub use kubectl::Kubectl;
pub use lab::Lab;
pub use machines::{Machines, token};
pub use peers::{peer, repository, required, skip, tug};
pub use program::Output;
pub use registry::Registry;
pub use wait::until;
