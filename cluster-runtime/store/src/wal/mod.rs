//! The write-ahead log: segments of checksummed frames, one sync for whatever waits.
//!
//! Start with [`Wal`], the handle; the [writer] does all writing, [recovery] reads at start-up.

pub(crate) mod frame;
mod index;
mod log;
mod record;
mod recovery;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use log::{Wal, WalOptions};
pub(crate) use record::{Entry, Position};
pub(crate) use recovery::RecoveryError;
