//! Proposing transactions, and removing the parts of those who died before their marker.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc, watch};

use crate::raft::batch::{Proposal, encode_transaction};
use crate::raft::health::Health;
use crate::raft::leadership::Leadership;
use crate::raft::start::stopped;
use crate::raft::types::Raft;
use crate::shared_tables::SharedTables;
use crate::{Committed, Key, StoreError, Transaction, parts};

/// Bytes of transactions that may wait for the log at once; more wait outside.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Puts transactions into the log.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Proposal>,
    health: Health,
    tables: Arc<SharedTables>,
    waiting: Arc<Semaphore>,
    staging: Arc<StagingSet>,
}

/// Transactions that this member is staging in parts; parts of others belong to nobody.
#[derive(Debug, Default)]
struct StagingSet {
    names: Mutex<HashSet<String>>,
    /// How many there were.
    count: AtomicU64,
}

/// A transaction that is being staged; its parts are swept once this is gone.
pub(crate) struct Staging {
    set: Arc<StagingSet>,
    pub(crate) name: String,
}

impl Proposer {
    pub(crate) fn new(queue: mpsc::Sender<Proposal>, health: Health, tables: Arc<SharedTables>) -> Self {
        Self {
            queue,
            health,
            tables,
            waiting: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            staging: Arc::default(),
        }
    }

    /// Puts a transaction into the log as one entry.
    pub(crate) async fn propose(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        let encoded = encode_transaction(&transaction);
        let share = encoded.len().min(WAITING_BYTES_MAX) as u32;
        let budget = self.waiting.clone().acquire_many_owned(share).await;
        let budget = budget.map_err(|_| self.refusal())?;
        let (proposal, answer) = Proposal::new(transaction, encoded, budget);
        self.queue.send(proposal).await.map_err(|_| self.refusal())?;
        answer.await.unwrap_or_else(|_| {
            let reason = "the store was stopped meanwhile".to_owned();
            Err(StoreError::OutcomeUnknown { reason })
        })
    }

    /// Begins to stage a transaction.
    pub(crate) fn stage(&self, member: u64) -> Staging {
        // A name that none had before: each part that is written makes a new revision.
        let number = self.staging.count.fetch_add(1, Ordering::SeqCst);
        let name = format!("{member}-{}-{number}", self.tables.revision().0);
        self.staging.names().insert(name.clone());
        Staging {
            set: self.staging.clone(),
            name,
        }
    }

    /// Removes the parts of those who died or gave up before their marker.
    ///
    /// Only a leader stages, so that a leader takes every part for dead that it does not stage itself: whoever led
    /// before can put no marker into the log any more, or put it there before this.
    pub(crate) async fn sweep(&self) -> Result<(), StoreError> {
        let list = self.tables.list(&parts::all(), None, None, 0, &|part| {
            !self.staging.names().contains(parts::transaction_of(part))
        })?;
        let left: Vec<Key> = list.objects.iter().map(|part| parts::key(part)).collect();
        if left.is_empty() {
            return Ok(());
        }
        self.propose(parts::removal(&left)).await.map(drop)
    }

    /// Sweeps whenever this member begins to lead, until the store stops.
    pub(crate) async fn sweep_when_leading(self, mut leadership: watch::Receiver<Leadership>, raft: Raft) {
        while leadership.wait_for(|leadership| leadership.is_self).await.is_ok() {
            // What the one before left in the log is not all done yet.
            let swept = match raft.get_read_log_id().await {
                Ok((id, _)) => {
                    let wait = raft.wait(None);
                    let done = wait.applied_index_at_least(id.map(|id| id.index), "to sweep");
                    tokio::select! {
                        _ = done => {}
                        _ = leadership.wait_for(|leadership| !leadership.is_self) => {}
                    }
                    self.sweep().await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = swept {
                tracing::debug!(error, "parts of transactions are left");
            }
            if leadership
                .wait_for(|leadership| !leadership.is_self)
                .await
                .is_err()
            {
                return;
            }
        }
    }

    pub(crate) fn refusal(&self) -> StoreError {
        self.health.refusal().unwrap_or_else(stopped)
    }
}

impl StagingSet {
    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.set.names().remove(&self.name);
    }
}
