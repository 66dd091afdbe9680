//! The replicated store.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cluster_objects::Object;
use tokio::sync::{oneshot, watch};

use crate::parts;
use crate::proposal::check_transaction;
use crate::raft::leadership::Leadership;
use crate::raft::network::Receiver;
use crate::raft::read_index::Ask;
use crate::raft::start::{Running, StoreThread, start, stopped};
use crate::raft::stream::{Stream, serve_peer};
use crate::raft::sweep::Proposer;
use crate::raft::transport::Transport;
use crate::seal::Sealer;
use crate::{
    Committed, EventStream, Key, Limits, ListAnswer, OpenError, Revision, Selection, StorageKey, Store,
    StoreError, StoreStatus, Transaction,
};

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
    /// The key that what is on disk is encrypted with; a directory that has one is not opened without it.
    pub encryption: Option<StorageKey>,
    /// Called before each write to the log, to let it fail in tests.
    pub(crate) before_write: Option<Arc<dyn Fn() -> io::Result<()> + Send + Sync>>,
}

/// A store on disk, replicated by raft; a group of one until members are added.
///
/// Reads are answered from this member's memory, which may be behind the others; after [`Store::ensure_newest`] they
/// see every commit that returned before it. Only the leader takes writes; the others say who it is.
pub struct RaftStore {
    pub(crate) running: Running,
    proposer: Proposer,
    receiver: Receiver,
    limits: Limits,
    pub(crate) member: u64,
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
            encryption: None,
            before_write: None,
        }
    }

    /// What seals, where there is a key.
    pub(crate) fn sealer(&self) -> io::Result<Option<Arc<Sealer>>> {
        let sealer = self.encryption.clone().map(Sealer::new);
        Ok(sealer.transpose()?.map(Arc::new))
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
            peers: running.peers.clone(),
            snapshots: running.snapshots.clone(),
            incoming: Mutex::new(None),
            leadership: running.leadership.clone(),
            asks: running.asks.clone(),
            growth: running.growth.clone(),
            room: running.room.clone(),
            health: running.health.clone(),
        };
        let proposer = Proposer::new(
            running.queue.clone(),
            running.health.clone(),
            running.tables.clone(),
        );
        let store = Self {
            running,
            proposer,
            receiver,
            limits,
            member,
            thread: Mutex::new(Some(thread)),
        };
        // A store that cannot write now is swept when it can.
        if store.leadership().borrow().is_self
            && let Err(error) = store.proposer.sweep().await
        {
            tracing::debug!(%error, "parts of transactions are left");
        }
        let (leadership, raft) = (store.leadership(), store.running.raft.clone());
        tokio::spawn(store.proposer.clone().sweep_when_leading(leadership, raft));
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

    /// Answers another member until its stream ends; fails where what comes is not of a member of this version.
    ///
    /// Who is on the other side, and that it may be trusted, is made certain before.
    pub async fn serve_peer(&self, stream: impl Stream) -> io::Result<()> {
        serve_peer(&self.receiver, stream).await
    }

    /// Waits until the disk has failed, so that nothing is written any more until the store is opened anew; gives the reason.
    ///
    /// A full disk is no failure.
    pub async fn failed(&self) -> String {
        self.running.health.failed().await
    }

    /// Tells who leads, and whenever that changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.running.leadership.clone()
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

    /// Stages a transaction in parts, and commits them by a marker.
    async fn propose_in_parts(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        let not_begun = |error| match error {
            // Nothing of it is done before the marker.
            StoreError::OutcomeUnknown { reason } => StoreError::Unavailable { reason },
            error => error,
        };
        self.proposer.sweep().await.map_err(not_begun)?;
        let staging = self.proposer.stage(self.member);
        let count = transaction.writes.len();
        let keys = self.stage(transaction, &staging.name).await.map_err(not_begun)?;
        match self.proposer.propose(parts::marker(&keys)).await {
            Ok(mut committed) => {
                // The last ones are the parts that went.
                committed.objects.truncate(count);
                Ok(committed)
            }
            Err(StoreError::PreconditionFailed { key, .. }) if parts::is_part(&key) => {
                let reason = "another member led meanwhile and took the transaction for given up".to_owned();
                Err(StoreError::Unavailable { reason })
            }
            Err(error) => {
                // Where it fails, whoever leads sweeps.
                if let Err(error) = self.proposer.propose(parts::removal(&keys)).await {
                    tracing::debug!(%error, "parts of a transaction are left");
                }
                Err(error)
            }
        }
    }

    /// Writes the parts of a transaction, of which nobody sees anything before the marker.
    pub(crate) async fn stage(&self, transaction: Transaction, name: &str) -> Result<Vec<Key>, StoreError> {
        let staged = parts::split(&transaction, name, self.limits.entry_bytes_max);
        drop(transaction);
        let mut keys = Vec::with_capacity(staged.len());
        for part in staged {
            keys.push(part.key.clone());
            self.proposer.propose(Transaction { writes: vec![part] }).await?;
        }
        Ok(keys)
    }

    /// Whether nobody else votes, so that nobody else can have committed anything, and all that this member may have
    /// acknowledged before it was opened is done.
    fn is_alone(&self) -> bool {
        if *self.running.applied.borrow() < self.running.at_start {
            return false;
        }
        let metrics = self.running.raft.server_metrics();
        let metrics = metrics.borrow();
        let configs = metrics.membership_config.membership().get_joint_config();
        metrics.current_leader == Some(self.member)
            && configs
                .iter()
                .all(|voters| voters.len() == 1 && voters.contains(&self.member))
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
        match &*self.running.leadership.borrow() {
            Leadership { is_self: true, .. } => StoreStatus::Ready,
            Leadership { leader: Some(_), .. } => StoreStatus::Following,
            Leadership { leader: None, .. } => StoreStatus::NoLeader,
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
        let leadership = self.running.leadership.borrow().clone();
        if let Some((leader, address)) = leadership.leader.filter(|_| !leadership.is_self) {
            return Err(StoreError::NotLeader {
                leader: Some(leader),
                address: Some(address),
            });
        }
        if let Some(error) = self.running.health.refusal() {
            return Err(error);
        }
        let bytes = check_transaction(&transaction, &self.limits, &self.running.tables)?;
        if bytes > self.limits.entry_bytes_max {
            self.propose_in_parts(transaction).await
        } else {
            self.proposer.propose(transaction).await
        }
    }

    async fn ensure_newest(&self) -> Result<(), StoreError> {
        if self.is_alone() {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let is_reader = true;
        let asked = self.running.asks.send(Ask { reply, is_reader }).await;
        asked.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped())).map(drop)
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
