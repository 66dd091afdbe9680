//! Who leads, as far as this member knows, and whether ticks are needed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::raft::types::Raft;

/// A leader that no majority answered for so long does not count as one.
///
/// The others may have another by then; what this one is asked to write is refused instead of waiting.
const QUORUM_SILENT_MAX: Duration = Duration::from_millis(1500);

/// How often a leader of others looks whether they answer; nothing tells it that nothing happens.
const QUORUM_LOOK: Duration = Duration::from_millis(500);

/// Whom a member takes for the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Number and address of the leader; none during an election, and when this member leads but hears no majority.
    pub leader: Option<(u64, String)>,
    /// Whether this member is it.
    pub is_self: bool,
}

/// Follows raft and tells what changes.
pub(crate) struct LeadershipWatch {
    pub(crate) raft: Raft,
    pub(crate) member: u64,
    pub(crate) leadership: watch::Sender<Leadership>,
    /// Whether there are others to send heartbeats to or to hear them from.
    pub(crate) ticking: watch::Sender<bool>,
}

impl LeadershipWatch {
    pub(crate) async fn run(self) {
        let mut metrics = self.raft.server_metrics();
        let mut leads_since = None;
        loop {
            let leads_others = {
                let metrics = metrics.borrow_and_update();
                let membership = metrics.membership_config.membership();
                let is_alone = membership.nodes().count() <= 1;
                self.ticking
                    .send_if_modified(|ticking| std::mem::replace(ticking, !is_alone) == is_alone);
                let leads = metrics.current_leader == Some(self.member);
                let has_others = membership.voter_ids().any(|voter| voter != self.member);
                let leads_others = leads && has_others;
                let since = leads_others.then(|| *leads_since.get_or_insert_with(Instant::now));
                leads_since = since;
                let leader = metrics
                    .current_leader
                    .filter(|_| since.is_none_or(|since| self.is_heard(since)));
                let leader = leader.map(|leader| {
                    let node = membership.get_node(&leader);
                    (leader, node.map(|node| node.addr.clone()).unwrap_or_default())
                });
                self.tell(&Leadership {
                    is_self: leads && leader.is_some(),
                    leader,
                });
                leads_others
            };
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() {
                    break;
                },
                () = sleep(QUORUM_LOOK), if leads_others => {}
            }
        }
        self.tell(&Leadership::default());
    }

    /// Whether a majority answered lately, or could not have yet.
    fn is_heard(&self, leads_since: Instant) -> bool {
        let metrics = self.raft.data_metrics();
        let heard = metrics.borrow().millis_since_quorum_ack;
        let silent = heard.map_or(leads_since.elapsed(), Duration::from_millis);
        silent < QUORUM_SILENT_MAX || leads_since.elapsed() < QUORUM_SILENT_MAX
    }

    fn tell(&self, leadership: &Leadership) {
        let changed = self.leadership.send_if_modified(|before| {
            let is_new = before != leadership;
            if is_new {
                before.clone_from(leadership);
            }
            is_new
        });
        if changed {
            tracing::debug!(member = self.member, leader = ?leadership.leader, "leadership");
        }
    }
}
