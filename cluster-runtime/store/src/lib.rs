//! The replicated multi-version object store.
//!
//! Start with [`Store`], the seam: a memory store for tests and a raft store for clusters stand behind it.

mod api;
mod codec;
mod directory;
mod limits;
mod memory;
mod open_error;
mod parts;
mod proposal;
mod raft;
mod seal;
mod shared_tables;
mod snapshot;
mod stored;
mod table;
mod tables;
mod wal;
mod watch;
mod weight;

pub use api::{
    Change, Committed, Event, EventStream, Key, ListAnswer, Precondition, Revision, Selection, Store,
    StoreError, StoreStatus, Transaction, Write,
};
pub use limits::Limits;
pub use memory::MemoryStore;
pub use open_error::OpenError;
pub use raft::{
    BackupError, Connect, GroupStatus, Leadership, Member, MemberStatus, MembershipError, RaftStore,
    RaftStoreConfig, RecoveryReport, RestoreError, Stream, StreamTransport, Transport, TransportError,
    recover, restore,
};
pub use seal::StorageKey;
