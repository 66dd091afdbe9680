//! The API over HTTPS, to any cluster that a kubeconfig names.
//!
//! Start with [`HttpApi::connect`]. TLS and authentication (client certificates, tokens, exec plugins, proxies) are
//! the `kube` crate's; requests go to the generic paths, so that objects keep fields nobody here knows. The binary
//! must have installed rustls's provider before.

mod answer;
mod client;
mod config;
mod discovery;
mod request;
mod streams;
mod watch;

pub use client::HttpApi;
pub use config::{ConnectError, HttpConfig, current_context};
