//! Members over byte streams: [`StreamTransport`] asks, [`serve_peer`] answers.
//!
//! Who may connect to whom, and how that is made certain, is the matter of whoever hands the streams in.

pub(crate) mod frame;
mod serve;
mod transport;

#[cfg(test)]
mod tests;

pub(crate) use serve::serve_peer;
pub use transport::{Connect, Stream, StreamTransport};
