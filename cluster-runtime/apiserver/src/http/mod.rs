//! The API over HTTP: reading requests, writing answers.
//!
//! Start with `serve` for connections, then `handle` for what becomes of a request.

mod answer;
mod authenticate;
mod body;
mod compress;
mod decode;
mod document;
mod encoded;
mod forward;
mod handle;
mod metrics;
mod negotiate;
mod path;
mod protobuf;
mod protocol;
mod query;
mod serve;
mod stream;
mod view;

pub use authenticate::{TokenTable, Tokens};
pub(crate) use document::{Document, document};
pub use forward::Forward;
pub use metrics::{Measured, Measurement, measurements_text};
pub use protocol::Protocol;
pub use serve::ApiServer;

/// Eight bytes that change with the content: for ETags.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
