//! The replicated store: what openraft is given, and what stands before it.
//!
//! Start with [`RaftStore`]. Transactions are gathered into [batches](batch) by the [batcher], a batch is one entry
//! of the replicated log, [log storage](log_storage) writes it, the [state machine](state_machine) does it.
//! [`Transport`] is the seam to the other members.

mod batch;
mod batcher;
mod health;
mod log_storage;
mod message;
mod network;
mod start;
mod state_machine;
mod store;
mod transport;
mod types;

#[cfg(test)]
mod tests;

pub use store::{RaftStore, RaftStoreConfig};
pub use transport::{Transport, TransportError};
