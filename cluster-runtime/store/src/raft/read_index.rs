//! Making certain that reads are not of the past: up to where a member has to be for that.

use std::sync::Arc;
use std::time::Duration;

use openraft::LogIdOptionExt;
use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::StoreError;
use crate::raft::leadership::Leadership;
use crate::raft::message::{Request, Response};
use crate::raft::network::Peers;
use crate::raft::types::Raft;

/// Questions that wait; more wait outside.
pub(crate) const WAITING_MAX: usize = 1024;

/// How long it is tried to find a leader and a quorum.
const CONFIRM_MAX: Duration = Duration::from_secs(3);

/// How long the leader may take to answer once.
const ASK_MAX: Duration = Duration::from_secs(1);

/// How soon it is tried again when whoever leads did not answer and nothing else changed.
const RETRY: Duration = Duration::from_millis(100);

/// How long this member may take to come to where the leader was.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// How many entries of the log have to be done here.
pub(crate) type ReadIndex = Result<u64, StoreError>;

/// Someone who wants to know.
pub(crate) struct Ask {
    pub(crate) reply: oneshot::Sender<ReadIndex>,
    /// Whether it is answered when this member is there itself.
    pub(crate) is_reader: bool,
}

/// Answers all who ask while one question is under way by the next one.
pub(crate) struct Confirmer {
    pub(crate) raft: Raft,
    pub(crate) member: u64,
    pub(crate) peers: Arc<Peers>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// How many entries of the log were done here.
    pub(crate) applied: watch::Receiver<u64>,
    /// How many entries the log had when this member was opened.
    ///
    /// A leader that is opened again before the others missed it leads on, and what it had acknowledged is in its log, but
    /// openraft then takes for committed only what it was told was so: such a leader has to have done all of these.
    pub(crate) at_start: u64,
}

impl Confirmer {
    pub(crate) async fn run(mut self) {
        let mut asks = Vec::new();
        while self.asks.recv_many(&mut asks, WAITING_MAX).await > 0 {
            let index = self.confirm().await;
            let (readers, others): (Vec<Ask>, Vec<Ask>) = asks.drain(..).partition(|ask| ask.is_reader);
            answer(others, &index);
            let mut applied = self.applied.clone();
            // Waited for aside: those who ask later need not wait for it.
            tokio::spawn(async move {
                let index = match index {
                    Ok(index) => catch_up(&mut applied, index).await,
                    Err(error) => Err(error),
                };
                answer(readers, &index);
            });
        }
    }

    /// Finds out once, and tries again for a while where that fails: an election takes its time.
    async fn confirm(&mut self) -> ReadIndex {
        let deadline = Instant::now() + CONFIRM_MAX;
        loop {
            self.leadership.mark_unchanged();
            let error = match timeout_at(deadline, self.try_confirm()).await {
                Ok(Ok(index)) => return Ok(index),
                Ok(Err(reason)) => unavailable(reason),
                Err(_) => unavailable("nobody who leads answered in time".to_owned()),
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() {
                    return Err(error);
                },
                () = sleep(RETRY) => {}
            }
        }
    }

    async fn try_confirm(&self) -> Result<u64, String> {
        let metrics = self.raft.server_metrics();
        let (leader, address) = {
            let metrics = metrics.borrow();
            let leader = metrics
                .current_leader
                .ok_or_else(|| "no member leads".to_owned())?;
            let node = metrics.membership_config.membership().get_node(&leader);
            (leader, node.map(|node| node.addr.clone()))
        };
        if leader == self.member {
            return match self.raft.get_read_log_id().await {
                Ok((id, _)) => {
                    let last = self.raft.data_metrics().borrow().last_log.next_index();
                    Ok(id.next_index().max(self.at_start.min(last)))
                }
                Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                    Err("too few members answer".to_owned())
                }
                Err(error) => Err(error.to_string()),
            };
        }
        let address = address.ok_or_else(|| format!("member {leader} leads, and is not known"))?;
        let peer = self.peers.peer(leader, address);
        let answer = timeout(ASK_MAX, peer.call(&Request::ReadIndex)).await;
        match answer {
            Ok(Ok(Response::ReadIndex(index))) => Ok(index),
            Ok(Ok(_)) => Err(format!(
                "member {leader} answered something else than it was asked"
            )),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("member {leader} leads and does not answer")),
        }
    }
}

async fn catch_up(applied: &mut watch::Receiver<u64>, index: u64) -> ReadIndex {
    let waiting = timeout(CATCH_UP_MAX, applied.wait_for(|applied| *applied >= index)).await;
    match waiting {
        Ok(Ok(_)) => Ok(index),
        Ok(Err(_)) => Err(unavailable("the store was stopped".to_owned())),
        Err(_) => Err(unavailable("this member is behind the others".to_owned())),
    }
}

fn answer(asks: Vec<Ask>, index: &ReadIndex) {
    for ask in asks {
        // Who no longer waits does not want to know.
        _ = ask.reply.send(index.clone());
    }
}

fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable { reason }
}
