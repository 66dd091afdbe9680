//! Transactions of one object and what they depend on.

use std::sync::Arc;

use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Key, Precondition, StoreError, Transaction, Write};

use super::{Engine, in_version, store_failure};

/// Why a commit did not happen.
pub(super) enum CommitFailure {
    /// The object at its own key is not what was assumed; the one that is there.
    Stale,
    /// Something that the object depends on changed: decide again.
    DependencyChanged,
    /// The store refused.
    Refused(Status),
}

impl Engine {
    /// Commits one change with the preconditions that it depends on, and gives the object in the row's version.
    pub(super) async fn commit(
        &self,
        row: &KindRow,
        key: Key,
        precondition: Precondition,
        change: Change,
        dependencies: Vec<Write>,
    ) -> Result<Arc<Object>, CommitFailure> {
        let mut writes = Vec::with_capacity(1 + dependencies.len());
        writes.push(Write {
            key: key.clone(),
            precondition,
            change,
        });
        writes.extend(dependencies);
        match self.store().commit(Transaction { writes }).await {
            Ok(committed) => match committed.objects.into_iter().next().flatten() {
                Some(object) => Ok(in_version(row, object)),
                None => Err(CommitFailure::Refused(Status::internal(
                    "the store gave no object for a write",
                ))),
            },
            Err(StoreError::PreconditionFailed { key: failed, .. }) if failed == key => Err(CommitFailure::Stale),
            Err(StoreError::PreconditionFailed { .. }) => Err(CommitFailure::DependencyChanged),
            Err(other) => Err(CommitFailure::Refused(store_failure(other))),
        }
    }
}

/// A precondition and nothing else.
pub(super) fn check(key: Key, precondition: Precondition) -> Write {
    Write {
        key,
        precondition,
        change: Change::Check,
    }
}
