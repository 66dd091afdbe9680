//! Transactions of one object and what they depend on.

use std::sync::Arc;

use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Committed, Key, Precondition, StoreError, Transaction, Write};

use super::addresses::Reservation;
use super::stage::{Decision, Stage};
use super::{Engine, Written, in_version, store_failure};

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
    /// All of these.
    All(Vec<Settle>),
}

impl Settle {
    fn settle(self, engine: &Engine) {
        match self {
            Self::Nothing => {}
            Self::Keep(reservation) => reservation.keep(),
            Self::Free(service) => engine.inner.addresses.release(&service),
            Self::All(settles) => settles.into_iter().for_each(|one| one.settle(engine)),
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

    /// Commits one decision that writes.
    pub(super) async fn carry_out(
        &self,
        row: &KindRow,
        decision: Decision,
    ) -> Result<Written, CommitFailure> {
        let Decision {
            key,
            write,
            dependencies,
            settle,
            warnings,
            created,
            object,
        } = decision;
        let object = match write {
            Some((precondition, change)) => {
                // The store stamps what it alone holds without copying it.
                drop(object);
                self.commit(row, key, precondition, change, dependencies, settle)
                    .await?
            }
            None => object,
        };
        Ok(Written {
            object,
            created,
            warnings,
        })
    }

    /// Commits all decisions of a stage, or none. Gives the objects in the order of the writes.
    pub(super) async fn commit_stage(&self, stage: Stage) -> Result<Committed, StoreError> {
        let (transaction, settles) = stage.into_parts();
        self.commit_and_settle(transaction, Settle::All(settles)).await
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
            Err(StoreError::OutcomeUnknown { reason })
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
