//! The replicated store: what openraft is given, and what stands before it.
//!
//! Start with [`RaftStore`]. Transactions are gathered into [batches](batch) by the [batcher], a batch is one entry
//! of the replicated log, [log storage](log_storage) writes it, the [state machine](state_machine) does it.
//! [`Transport`] is the seam to the other members, [streams](stream) are one behind it. [Leadership](leadership) tells
//! who leads, the [read index](read_index) makes reads certain on any member, [membership] changes the group.

mod batch;
mod batcher;
mod founding;
mod health;
mod leadership;
mod log_storage;
mod membership;
mod message;
mod network;
mod read_index;
mod runtime;
mod start;
mod state_machine;
mod store;
mod stream;
mod sweep;
mod transport;
mod types;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

pub use founding::{BackupError, RecoveryReport, RestoreError, recover, restore};
pub use leadership::Leadership;
pub use membership::{GroupStatus, Member, MemberStatus, MembershipError};
pub use store::{RaftStore, RaftStoreConfig};
pub use stream::{Connect, Stream, StreamTransport};
pub use transport::{Transport, TransportError};
