//! The types that openraft is told to work with.

use std::path::PathBuf;

use openraft::{BasicNode, CommittedLeaderId, Entry, LogId};

use crate::raft::batch::Batch;
use crate::raft::runtime::StoreRuntime;
use crate::wal::Position;

openraft::declare_raft_types!(
    /// Openraft's types in this store.
    pub(crate) TypeConfig:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        Entry = Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = StoreRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, BasicNode>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type Membership = openraft::StoredMembership<u64, BasicNode>;

/// A snapshot on disk.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
}

pub(crate) fn position(id: &LogId<u64>) -> Position {
    Position {
        term: id.leader_id.term,
        member: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id(position: Position) -> LogId<u64> {
    LogId::new(
        CommittedLeaderId::new(position.term, position.member),
        position.index,
    )
}
