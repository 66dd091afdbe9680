//! The replicated store.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cluster_objects::Object;
use openraft::{BasicNode, ChangeMembers};
use tokio::sync::Semaphore;

use crate::parts;
use crate::proposal::check_transaction;
use crate::raft::batch::{Proposal, encode_transaction};
use crate::raft::network::Receiver;
use crate::raft::start::{Running, StoreThread, start, stopped};
use crate::raft::transport::Transport;
use crate::{
    Committed, EventStream, Key, Limits, ListAnswer, OpenError, Revision, Selection, Store, StoreError,
    StoreStatus, Transaction,
};

/// Bytes of transactions that may wait for the log at once; more wait outside.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// How a replicated store is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct RaftStoreConfig {
    /// The data directory; made where it is absent.
    pub dir: PathBuf,
    /// This member's number in its group.
    pub member: u64,
    /// Where other members reach this one, in whatever form the transport understands.
    pub address: String,
    /// Whether a member with an empty directory forms a group of its own, or waits to be taken into one.
    pub bootstrap: bool,
    /// How much is kept.
    pub limits: Limits,
    /// The way to other members; without it the group stays one.
    pub transport: Option<Arc<dyn Transport>>,
    /// A snapshot is made when the log grew by so many bytes, or by half of the snapshot before where that is more.
    pub snapshot_log_bytes: u64,
    /// Size of the files of the log.
    pub segment_bytes: u64,
    /// Called before each write to the log, to let it fail in tests.
    pub(crate) before_write: Option<Arc<dyn Fn() -> io::Result<()> + Send + Sync>>,
}

/// A store on disk, replicated by raft; a group of one until members are added.
///
/// Reads are answered from this member's memory. On the leader they see every commit that returned before them; on
/// other members they may be behind.
pub struct RaftStore {
    running: Running,
    receiver: Receiver,
    limits: Limits,
    member: u64,
    waiting: Arc<Semaphore>,
    /// Transactions that are being staged in parts; parts of others belong to nobody.
    staging: Mutex<HashSet<String>>,
    /// How many were.
    staged: AtomicU64,
    thread: Mutex<Option<StoreThread>>,
}

impl RaftStoreConfig {
    /// A group of one in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            member: 1,
            address: String::new(),
            bootstrap: true,
            limits: Limits::default(),
            transport: None,
            snapshot_log_bytes: 32 << 20,
            segment_bytes: 16 << 20,
            before_write: None,
        }
    }
}

impl RaftStore {
    /// Opens a data directory and brings the store to where it was.
    ///
    /// A group of one serves reads and writes when this returns. A directory that is damaged, in use, or written by
    /// a newer version is refused and left as it is.
    pub async fn open(config: RaftStoreConfig) -> Result<Self, OpenError> {
        let (limits, member) = (config.limits.clone(), config.member);
        let (running, thread) = start(config).await?;
        let receiver = Receiver {
            raft: running.raft.clone(),
            snapshots: running.snapshots.clone(),
            incoming: Mutex::new(None),
        };
        let store = Self {
            running,
            receiver,
            limits,
            member,
            waiting: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            staging: Mutex::default(),
            staged: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        };
        // A store that cannot write now is swept when it can.
        if let Err(error) = store.sweep().await {
            tracing::debug!(%error, "parts of transactions are left");
        }
        Ok(store)
    }

    /// Stops: commits that are under way may still be done, watches end, and the directory is free when this returns.
    pub async fn shutdown(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(StoreThread { stop, thread }) = thread {
            _ = stop.send(());
            if let Err(error) = tokio::task::spawn_blocking(move || thread.join()).await {
                tracing::warn!(%error, "waiting for the thread of the store");
            }
        }
    }

    /// Answers a message that a [`Transport`] brought from another member.
    pub async fn receive(&self, message: &[u8]) -> Vec<u8> {
        self.receiver.answer(message).await
    }

    /// The member that leads, as far as this one knows.
    pub fn leader(&self) -> Option<u64> {
        self.running.raft.server_metrics().borrow().current_leader
    }

    /// Takes a member into the group, first without a vote; returns when it has what the others have.
    ///
    /// Only the leader can do this.
    pub async fn add_member(&self, member: u64, address: &str) -> Result<(), StoreError> {
        let added = self
            .running
            .raft
            .add_learner(member, BasicNode::new(address), true)
            .await;
        added.map_err(|error| unavailable(&error))?;
        self.running.raft.runtime_config().tick(true);
        Ok(())
    }

    /// Says which members of the group vote; only the leader can do this.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), StoreError> {
        let change = ChangeMembers::ReplaceAllVoters(voters);
        let changed = self.running.raft.change_membership(change, true).await;
        changed.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Waits until it is certain that reads show every commit that was done before; only the leader can do this.
    pub async fn ensure_newest(&self) -> Result<(), StoreError> {
        let ensured = self.running.raft.ensure_linearizable().await;
        ensured.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Writes a snapshot of what is there now, so that the log before it can go; returns when it is durable.
    ///
    /// It happens by itself when the log has grown enough.
    pub async fn snapshot(&self) -> Result<(), StoreError> {
        let raft = &self.running.raft;
        let applied = raft.metrics().borrow().last_applied;
        let mut outcome = self.running.snapshots.outcome.subscribe();
        let asked = raft.trigger().snapshot().await;
        asked.map_err(|error| unavailable(&error))?;
        let failed = async {
            // The sender is kept by the store.
            while outcome.changed().await.is_ok() {
                if let Err(reason) = &*outcome.borrow_and_update() {
                    return reason.clone();
                }
            }
            String::new()
        };
        let wait = raft.wait(None);
        tokio::select! {
            made = wait.metrics(|metrics| metrics.snapshot >= applied, "a snapshot") => match made {
                Ok(_) => Ok(()),
                Err(error) => Err(self.running.health.refusal().unwrap_or(unavailable(&error))),
            },
            reason = failed => Err(self.running.health.no_room(reason)),
        }
    }

    /// Puts a transaction into the log as one entry.
    async fn propose(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        let encoded = encode_transaction(&transaction);
        let share = encoded.len().min(WAITING_BYTES_MAX) as u32;
        let budget = self.waiting.clone().acquire_many_owned(share).await;
        let budget = budget.map_err(|_| self.refusal())?;
        let (proposal, answer) = Proposal::new(transaction, encoded, budget);
        self.running
            .queue
            .send(proposal)
            .await
            .map_err(|_| self.refusal())?;
        answer.await.unwrap_or_else(|_| Err(self.refusal()))
    }

    /// Stages a transaction in parts, and commits them by a marker.
    async fn propose_in_parts(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        self.sweep().await?;
        let staging = Staging::begin(self);
        let count = transaction.writes.len();
        let keys = self.stage(transaction, &staging.name).await?;
        let mut outcome = self.propose(parts::marker(&keys)).await;
        match &mut outcome {
            // The last ones are the parts that went.
            Ok(committed) => committed.objects.truncate(count),
            Err(_) => self.propose(parts::removal(&keys)).await.map(drop)?,
        }
        outcome
    }

    /// Writes the parts of a transaction, of which nobody sees anything before the marker.
    pub(crate) async fn stage(&self, transaction: Transaction, name: &str) -> Result<Vec<Key>, StoreError> {
        let staged = parts::split(&transaction, name, self.limits.entry_bytes_max);
        drop(transaction);
        let mut keys = Vec::with_capacity(staged.len());
        for part in staged {
            keys.push(part.key.clone());
            self.propose(Transaction { writes: vec![part] }).await?;
        }
        Ok(keys)
    }

    /// Removes the parts of those who died or gave up before their marker.
    pub(crate) async fn sweep(&self) -> Result<(), StoreError> {
        let list = self.list(&parts::all(), None, None, 0, &|part| {
            let staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
            !staging.contains(parts::transaction_of(part))
        })?;
        let left: Vec<Key> = list.objects.iter().map(|part| parts::key(part)).collect();
        if left.is_empty() {
            return Ok(());
        }
        self.propose(parts::removal(&left)).await.map(drop)
    }

    fn refusal(&self) -> StoreError {
        self.running.health.refusal().unwrap_or_else(stopped)
    }
}

/// A transaction that is being staged; its parts are swept once this is gone.
struct Staging<'a> {
    store: &'a RaftStore,
    name: String,
}

impl<'a> Staging<'a> {
    fn begin(store: &'a RaftStore) -> Self {
        // A name that none had before: each part that is written makes a new revision.
        let number = store.staged.fetch_add(1, Ordering::SeqCst);
        let name = format!("{}-{}-{number}", store.member, store.revision().0);
        let mut staging = store.staging.lock().unwrap_or_else(PoisonError::into_inner);
        staging.insert(name.clone());
        Self { store, name }
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let mut staging = self.store.staging.lock().unwrap_or_else(PoisonError::into_inner);
        staging.remove(&self.name);
    }
}

fn unavailable(error: &impl fmt::Display) -> StoreError {
    StoreError::Unavailable {
        reason: error.to_string(),
    }
}

#[async_trait]
impl Store for RaftStore {
    fn revision(&self) -> Revision {
        self.running.tables.revision()
    }

    fn status(&self) -> StoreStatus {
        if let Some(reason) = self.running.health.failure() {
            return StoreStatus::ReadOnly { reason };
        }
        if self.running.tables.read().is_closed() {
            return StoreStatus::Stopped;
        }
        if self.leader() == Some(self.member) {
            StoreStatus::Ready
        } else {
            StoreStatus::NoLeader
        }
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.running.tables.get(key)
    }

    fn list(
        &self,
        selection: &Selection,
        at: Option<Revision>,
        after: Option<(&str, &str)>,
        limit: usize,
        keep: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<ListAnswer, StoreError> {
        self.running.tables.list(selection, at, after, limit, keep)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        if let Some(error) = self.running.health.refusal() {
            return Err(error);
        }
        let bytes = check_transaction(&transaction, &self.limits, &self.running.tables)?;
        if bytes > self.limits.entry_bytes_max {
            self.propose_in_parts(transaction).await
        } else {
            self.propose(transaction).await
        }
    }

    fn watch(&self, selection: &Selection, after: Revision) -> Result<EventStream, StoreError> {
        self.running.tables.watch(selection, after)
    }
}

impl fmt::Debug for RaftStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftStore")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
