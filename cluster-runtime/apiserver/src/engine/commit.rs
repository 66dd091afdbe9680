//! Transactions of one object and what they depend on.

use std::sync::Arc;

use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Committed, Key, Precondition, StoreError, Transaction, Write};

use super::addresses::Reservation;
use super::{Engine, in_version, store_failure};

/// Why a commit did not happen.
pub(super) enum CommitFailure {
    /// The object at its own key is not what was assumed.
    Stale,
    /// Something that the object depends on changed: decide again.
    DependencyChanged,
    /// The store refused.
    Refused(Status),
}

/// What a commit settles besides the store.
#[derive(Default)]
pub(super) enum Settle {
    /// Nothing.
    #[default]
    Nothing,
    /// Service addresses are in use from now on.
    Keep(Reservation),
    /// Addresses of a service are free from now on.
    Free(Arc<Object>),
}

impl Settle {
    fn settle(self, engine: &Engine) {
        match self {
            Self::Nothing => {}
            Self::Keep(reservation) => reservation.keep(),
            Self::Free(service) => engine.inner.addresses.release(&service),
        }
    }
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
        settle: Settle,
    ) -> Result<Arc<Object>, CommitFailure> {
        let mut writes = Vec::with_capacity(1 + dependencies.len());
        writes.push(Write {
            key: key.clone(),
            precondition,
            change,
        });
        writes.extend(dependencies);
        match self.commit_and_settle(Transaction { writes }, settle).await {
            Ok(committed) => match committed.objects.into_iter().next().flatten() {
                Some(object) => Ok(in_version(row, object)),
                None => Err(CommitFailure::Refused(Status::internal(
                    "the store gave no object for a write",
                ))),
            },
            Err(StoreError::PreconditionFailed { key: failed, .. }) if failed == key => {
                Err(CommitFailure::Stale)
            }
            Err(StoreError::PreconditionFailed { .. }) => Err(CommitFailure::DependencyChanged),
            Err(other) => Err(CommitFailure::Refused(store_failure(other))),
        }
    }

    /// The store carries a transaction through also when its client goes away, so what depends on the outcome must
    /// hear of it in any case.
    async fn commit_and_settle(
        &self,
        transaction: Transaction,
        settle: Settle,
    ) -> Result<Committed, StoreError> {
        if matches!(settle, Settle::Nothing) {
            return self.store().commit(transaction).await;
        }
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let committed = engine.store().commit(transaction).await?;
            settle.settle(&engine);
            Ok(committed)
        });
        task.await.unwrap_or_else(|error| {
            let reason = format!("the commit was given up: {error}");
            Err(StoreError::Unavailable { reason })
        })
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
