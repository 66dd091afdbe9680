//! Gathers transactions that wait into entries of the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::BasicNode;
use openraft::error::{ClientWriteError, ForwardToLeader};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::StoreError;
use crate::raft::batch::{Batch, Proposal};
use crate::raft::health::Health;
use crate::raft::leadership::Leadership;
use crate::raft::start::stopped;
use crate::raft::state_machine::Snapshots;
use crate::raft::types::Raft;
use crate::wal::Wal;

/// Transactions in one entry.
const BATCH_MAX: usize = 1024;

/// An entry is full when it grew beyond this.
const BATCH_BYTES: usize = 1 << 20;

/// Entries under way: one is written while the one before it is done and the next gathers.
const IN_FLIGHT_MAX: usize = 2;

/// Room in the log that transactions leave at most.
const ROOM_LEFT_BYTES_MAX: u64 = 64 << 10;

/// While there is no room for transactions of this size, none are taken.
const SMALL_BYTES: u64 = 64 << 10;

/// How often a disk without room is looked at again; it does not tell by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long after it led a member waits for the answers to what it began: the next leader voids it or goes through with
/// it, unless this member cannot hear of that.
const ANSWER_AFTER: Duration = Duration::from_secs(2);

/// Takes transactions from the queue until it is closed.
///
/// A transaction is only begun when the log has room for it: a full disk refuses transactions, and harms nothing.
pub(crate) struct Batcher {
    pub(crate) queue: mpsc::Receiver<Proposal>,
    /// Taken from the queue, and not begun.
    pub(crate) waiting: Vec<Proposal>,
    pub(crate) raft: Raft,
    pub(crate) member: u64,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) health: Health,
    pub(crate) log: Arc<LogGrowth>,
    pub(crate) room: Room,
}

/// Decides when the log has grown enough for a snapshot.
pub(crate) struct LogGrowth {
    wal: Wal,
    snapshots: Arc<Snapshots>,
    /// Bytes of log after which a snapshot is made, if the last one was not larger than that.
    bytes_min: u64,
    /// What was written when the last snapshot was asked for.
    written_then: AtomicU64,
}

/// Room in the log.
#[derive(Clone)]
pub(crate) struct Room {
    wal: Wal,
    /// What transactions leave: for what raft writes by itself, as when a snapshot took the place of a part of the log
    /// and room is made by that.
    left: u64,
}

impl Room {
    /// The room in a log of such segments.
    pub(crate) fn new(wal: Wal, segment_bytes: u64) -> Self {
        Self {
            wal,
            left: (segment_bytes / 16).min(ROOM_LEFT_BYTES_MAX),
        }
    }

    /// Makes sure that the log has room for so many bytes and a little more.
    pub(crate) async fn reserve(&self, bytes: u64) -> io::Result<()> {
        let bytes = bytes + self.left;
        if self.wal.has_room(bytes) {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.wal
            .reserve(bytes, Box::new(move |outcome| _ = sender.send(outcome)));
        receiver
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the log was closed")))
    }
}

impl Batcher {
    pub(crate) async fn run(&mut self) {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let unwritten = Arc::new(AtomicU64::new(0));
        loop {
            // The place first: whatever comes in while there is none goes into one entry.
            let Ok(place) = in_flight.clone().acquire_owned().await else {
                return;
            };
            if self.waiting.is_empty() {
                tokio::select! {
                    count = self.queue.recv_many(&mut self.waiting, BATCH_MAX) => if count == 0 {
                        return;
                    },
                    () = tokio::time::sleep(LOOK_AGAIN), if self.health.waits_for_room() => {
                        self.look_for_room(SMALL_BYTES).await;
                        continue;
                    }
                }
            }
            let batch = Batch::from(next_batch(&mut self.waiting));
            let bytes = log_bytes(&batch);
            let before = unwritten.fetch_add(bytes, Ordering::SeqCst);
            if let Err(error) = self.room.reserve(before + bytes).await {
                unwritten.fetch_sub(bytes, Ordering::SeqCst);
                // There may be room for less.
                self.look_for_room(before + bytes.min(SMALL_BYTES)).await;
                batch.refuse(&self.health.no_room(error.to_string()));
                continue;
            }
            let (raft, health) = (self.raft.clone(), self.health.clone());
            // Sent from here, so that entries keep the order of the queue.
            let answer = if self.is_unheard() {
                Err(unavailable(&"too few members answer"))
            } else {
                let asked = raft.client_write_ff(batch.clone()).await;
                asked.map_err(|error| stopped_with(&error, &health, &raft))
            };
            let (unwritten, leadership) = (unwritten.clone(), self.leadership.clone());
            tokio::spawn(async move {
                let error = match answer {
                    Ok(answer) => tokio::select! {
                        answer = answer => match answer {
                            Ok(Ok(_)) => unknown("it went through, what it did was not kept"),
                            Ok(Err(ClientWriteError::ForwardToLeader(leader))) => not_leader(leader),
                            Ok(Err(error)) => unavailable(&error),
                            Err(_) => match stopped_with(&"stopped", &health, &raft) {
                                error @ StoreError::Storage { .. } => error,
                                _ => unknown("the store was stopped meanwhile"),
                            },
                        },
                        () = is_lost(leadership) => unknown("this member no longer leads, or hears too few others"),
                    },
                    Err(error) => error,
                };
                // Those that were done have their answer.
                batch.refuse(&error);
                unwritten.fetch_sub(bytes, Ordering::SeqCst);
                drop(place);
            });
            if self.log.is_enough() {
                // It fails only where the log failed too, and that is told to those who write.
                _ = self.raft.trigger().snapshot().await;
            }
        }
    }

    /// Refuses what was not begun when the store stops.
    pub(crate) fn refuse_waiting(&mut self) {
        self.queue.close();
        while let Ok(proposal) = self.queue.try_recv() {
            self.waiting.push(proposal);
        }
        Batch::from(std::mem::take(&mut self.waiting)).refuse(&stopped());
    }

    /// Whether this member leads and hears too few others: what is begun now would wait for them.
    fn is_unheard(&self) -> bool {
        let leads = self.raft.server_metrics().borrow().current_leader == Some(self.member);
        leads && self.leadership.borrow().leader.is_none()
    }

    /// Finds out whether so many bytes can be written; where they cannot, the log may make room itself.
    async fn look_for_room(&self, bytes: u64) {
        let missing = self.room.reserve(bytes).await.err();
        let is_new = missing.is_some() && !self.health.waits_for_room();
        self.health.set_room(missing.map(|error| error.to_string()));
        if is_new {
            // A snapshot takes the place of the log before it, and may be much smaller.
            _ = self.raft.trigger().snapshot().await;
        }
    }
}

/// Bytes that a batch takes in the log at most.
fn log_bytes(batch: &Batch) -> u64 {
    const OF_PROPOSAL: usize = 10;
    const OF_ENTRY: usize = 512;
    let proposals = batch.proposals().iter();
    let bytes: usize = proposals.map(|proposal| proposal.bytes() + OF_PROPOSAL).sum();
    (bytes + OF_ENTRY) as u64
}

/// Takes as many from the front as one entry holds.
fn next_batch(waiting: &mut Vec<Proposal>) -> Vec<Proposal> {
    let mut bytes = 0;
    let fits = waiting.iter().take_while(|proposal| {
        let is_room = bytes < BATCH_BYTES;
        bytes += proposal.bytes();
        is_room
    });
    let count = fits.count();
    let rest = waiting.split_off(count);
    std::mem::replace(waiting, rest)
}

/// Comes when this member no longer leads and the answers that this brings had time to come.
async fn is_lost(mut leadership: watch::Receiver<Leadership>) {
    // A store that stops tells by itself.
    _ = leadership.wait_for(|leadership| !leadership.is_self).await;
    tokio::time::sleep(ANSWER_AFTER).await;
}

fn not_leader(leader: ForwardToLeader<u64, BasicNode>) -> StoreError {
    StoreError::NotLeader {
        leader: leader.leader_id,
        address: leader.leader_node.map(|node| node.addr),
    }
}

/// Why nothing can be given to raft any more.
fn stopped_with(error: &impl std::fmt::Display, health: &Health, raft: &Raft) -> StoreError {
    health.look_at(raft);
    health.refusal().unwrap_or_else(|| unavailable(error))
}

fn unknown(reason: &str) -> StoreError {
    StoreError::OutcomeUnknown {
        reason: reason.to_owned(),
    }
}

fn unavailable(error: &impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable {
        reason: error.to_string(),
    }
}

impl LogGrowth {
    pub(crate) fn new(wal: Wal, snapshots: Arc<Snapshots>, bytes_min: u64) -> Self {
        Self {
            wal,
            snapshots,
            bytes_min,
            written_then: AtomicU64::new(0),
        }
    }

    /// Whether a snapshot is due; says so once.
    ///
    /// The log may grow to half of the snapshot before it, so that what is written for snapshots stays in proportion
    /// to what is written at all, and what a start has to do of the log to what it has to read.
    pub(crate) fn is_enough(&self) -> bool {
        let written = self.wal.written();
        let due = self
            .bytes_min
            .max(self.snapshots.bytes.load(Ordering::SeqCst) / 2);
        let then = self.written_then.load(Ordering::SeqCst);
        let is_due = written - then > due && !self.snapshots.is_building.load(Ordering::SeqCst);
        if is_due {
            self.written_then.store(written, Ordering::SeqCst);
        }
        is_due
    }
}
