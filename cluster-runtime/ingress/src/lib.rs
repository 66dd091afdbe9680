//! Ingress: HTTP from outside to the services of the cluster.
//!
//! Start with [`Ingresses`], which listens as long as there is an Ingress. Where a request goes is decided in
//! [`routes`], a function of the objects; `proxy` takes it there.

mod certificates;
mod listener;
mod proxy;
pub mod routes;
mod serve;

pub use serve::{IngressConfig, Ingresses};
