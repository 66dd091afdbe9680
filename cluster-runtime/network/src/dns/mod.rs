//! Cluster DNS: what names there are ([`Names`]), and the server that answers with them.

mod names;
mod server;

pub use names::{Names, Resolution};
pub(crate) use server::DnsServer;
