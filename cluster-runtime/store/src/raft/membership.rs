//! Who is in the group: members taken in and let go, and how far each of them is.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers, Membership};
use tokio::time::{Instant, timeout};

use crate::raft::store::RaftStore;
use crate::raft::types::Raft;

/// A member that was not heard from for so long counts as unreachable.
const HEARD_MAX: Duration = Duration::from_secs(2);

/// Entries that a member may be behind to be taken for caught up.
const BEHIND_MAX: u64 = 256;

/// How long a change of the group may take to be agreed on.
const CHANGE_MAX: Duration = Duration::from_secs(20);

/// How long a member that is taken in may show no progress.
const PROGRESS_MAX: Duration = Duration::from_secs(30);

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub number: u64,
    /// Where the others reach it.
    pub address: String,
    /// Whether it votes; who does not only follows.
    pub is_voter: bool,
}

/// A group as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The term; each election begins a new one.
    pub term: u64,
    /// Entries in this member's log, counted from the beginning of the group.
    pub last_index: u64,
    /// Entries that are done here, so that reads show them.
    pub applied_index: u64,
    /// Entries that are in this member's newest snapshot.
    pub snapshot_index: u64,
    /// The members.
    pub members: Vec<MemberStatus>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member.
    pub member: Member,
    /// Entries that are certain to be in its log; only the leader knows.
    pub matched_index: Option<u64>,
    /// How long ago it answered last; only the leader knows, of others, once they did.
    pub silent: Option<Duration>,
}

/// Why a group was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader changes the group; nothing was changed.
    #[error("only the leader changes the group: {}", .leader.map_or("no member leads".to_owned(), |leader| format!("member {leader} leads")))]
    NotLeader {
        /// Who leads.
        leader: Option<u64>,
        /// Where that member is reached.
        address: Option<String>,
    },
    /// There is no such member; nothing was changed.
    #[error("there is no member {number}")]
    UnknownMember {
        /// The number.
        number: u64,
    },
    /// Nobody would vote; nothing was changed.
    #[error("a group needs at least one voter")]
    NoVoters,
    /// Too few of those who would vote can be counted on, so that the group might stop; nothing was changed.
    #[error(
        "of the {voters} members that would vote, {needed} must be at hand: unreachable {unreachable:?}, behind {behind:?}"
    )]
    Unsafe {
        /// How many would vote.
        voters: usize,
        /// How many of them are needed for a majority.
        needed: usize,
        /// Those that do not answer.
        unreachable: Vec<u64>,
        /// Those that lack much of the log.
        behind: Vec<u64>,
    },
    /// Another change is under way; nothing was changed.
    #[error("another change of the group is under way")]
    InProgress,
    /// The member was taken in, without a vote, and does not catch up.
    #[error("member {number} does not catch up; it stays in the group without a vote")]
    NotCaughtUp {
        /// The member.
        number: u64,
    },
    /// The change was begun, and it is not known whether it is agreed on.
    #[error("it is not known whether the group was changed: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: String,
    },
}

impl RaftStore {
    /// The members of the group, as far as this one knows.
    pub fn members(&self) -> Vec<Member> {
        members(&self.running.raft)
    }

    /// How far this member is, and where it leads, how far the others are.
    pub fn group_status(&self) -> GroupStatus {
        let raft = &self.running.raft;
        let metrics = raft.metrics().borrow().clone();
        let count = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let status = |member: Member| {
            let matched = metrics.replication.as_ref();
            let matched = matched.and_then(|matched| *matched.get(&member.number)?);
            MemberStatus {
                matched_index: metrics
                    .replication
                    .as_ref()
                    .map(|_| count(matched.map(|id| id.index))),
                silent: metrics
                    .replication
                    .as_ref()
                    .and_then(|_| self.running.peers.silent(member.number)),
                member,
            }
        };
        GroupStatus {
            term: metrics.current_term,
            last_index: count(metrics.last_log_index),
            applied_index: count(metrics.last_applied.map(|id| id.index)),
            snapshot_index: count(metrics.snapshot.map(|id| id.index)),
            members: members(raft).into_iter().map(status).collect(),
        }
    }

    /// How long ago this member heard of another one, by an answer or a question of it, if it ever did since it was opened.
    ///
    /// Who leads hears of all others several times in a second, and all others of who leads.
    pub fn unheard(&self, number: u64) -> Option<Duration> {
        self.running.peers.unheard(number)
    }

    /// Takes a member into the group, first without a vote; returns when it has what the others have.
    ///
    /// A member that is in the group already gets the address, where that is another one. Only the leader can do this.
    pub async fn add_member(&self, number: u64, address: &str) -> Result<(), MembershipError> {
        let node = BasicNode::new(address);
        let known = self.members().into_iter().find(|member| member.number == number);
        if known.is_none_or(|known| known.address != address) {
            self.change(ChangeMembers::SetNodes([(number, node)].into()), true)
                .await?;
        }
        self.caught_up(number).await
    }

    /// Says which members of the group vote; who voted before stays without a vote. Only the leader can do this.
    ///
    /// Refused unless a majority of those who would vote answers and has nearly all of the log.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), MembershipError> {
        self.check_voters(&voters)?;
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// Lets a member go, with its vote if it has one. Only the leader can do this, also to itself: it leads until the
    /// others agreed.
    pub async fn remove_member(&self, number: u64) -> Result<(), MembershipError> {
        let members = self.members();
        let Some(member) = members.iter().find(|member| member.number == number) else {
            return Err(MembershipError::UnknownMember { number });
        };
        if !member.is_voter {
            return self
                .change(ChangeMembers::RemoveNodes([number].into()), false)
                .await;
        }
        let voters = members
            .iter()
            .filter(|member| member.is_voter && member.number != number);
        let voters: BTreeSet<u64> = voters.map(|member| member.number).collect();
        self.check_voters(&voters)?;
        self.change(ChangeMembers::ReplaceAllVoters(voters), false).await
    }

    /// Refuses voters with whom the group might stop.
    fn check_voters(&self, voters: &BTreeSet<u64>) -> Result<(), MembershipError> {
        if voters.is_empty() {
            return Err(MembershipError::NoVoters);
        }
        let status = self.group_status();
        let of = |number: u64| {
            status
                .members
                .iter()
                .find(|status| status.member.number == number)
        };
        if let Some(number) = voters.iter().copied().find(|number| of(*number).is_none()) {
            return Err(MembershipError::UnknownMember { number });
        }
        if !self.running.leadership.borrow().is_self {
            return Err(self.not_leader());
        }
        let others = voters
            .iter()
            .filter_map(|number| of(*number))
            .filter(|status| status.member.number != self.member);
        let (reachable, unreachable): (Vec<&MemberStatus>, Vec<_>) =
            others.partition(|status| status.silent.is_some_and(|silent| silent < HEARD_MAX));
        let behind =
            |member: &&&MemberStatus| member.matched_index.unwrap_or(0) + BEHIND_MAX < status.last_index;
        let behind: Vec<&&MemberStatus> = reachable.iter().filter(behind).collect();
        let needed = voters.len() / 2 + 1;
        let at_hand = voters.len() - unreachable.len() - behind.len();
        if at_hand < needed {
            return Err(MembershipError::Unsafe {
                voters: voters.len(),
                needed,
                unreachable: unreachable.iter().map(|status| status.member.number).collect(),
                behind: behind.iter().map(|status| status.member.number).collect(),
            });
        }
        Ok(())
    }

    async fn change(
        &self,
        change: ChangeMembers<u64, BasicNode>,
        retain: bool,
    ) -> Result<(), MembershipError> {
        if !self.running.leadership.borrow().is_self {
            return Err(self.not_leader());
        }
        let raft = self.running.raft.clone();
        // Carried through, also when the caller stops waiting: it may take two steps.
        let change = tokio::spawn(async move { raft.change_membership(change, retain).await });
        let outcome_unknown = |reason: String| Err(MembershipError::OutcomeUnknown { reason });
        match timeout(CHANGE_MAX, change).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))))) => Err(self.not_leader()),
            Ok(Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))))) => {
                Err(match error {
                    ChangeMembershipError::InProgress(_) => MembershipError::InProgress,
                    ChangeMembershipError::EmptyMembership(_) => MembershipError::NoVoters,
                    ChangeMembershipError::LearnerNotFound(error) => MembershipError::UnknownMember {
                        number: error.node_id,
                    },
                })
            }
            Ok(Ok(Err(error))) => outcome_unknown(error.to_string()),
            Ok(Err(error)) => outcome_unknown(error.to_string()),
            Err(_) => outcome_unknown("too few members answer".to_owned()),
        }
    }

    /// Waits until a member has nearly all of the log, as long as it gets on.
    async fn caught_up(&self, number: u64) -> Result<(), MembershipError> {
        if number == self.member {
            return Ok(());
        }
        let mut metrics = self.running.raft.metrics();
        let mut best = None;
        let mut deadline = Instant::now() + PROGRESS_MAX;
        loop {
            {
                let metrics = metrics.borrow_and_update();
                let Some(replication) = &metrics.replication else {
                    return Err(self.not_leader());
                };
                let matched = replication.get(&number).copied().flatten().map(|id| id.index);
                let last = metrics.last_log_index.unwrap_or_default();
                if matched.is_some_and(|matched| matched + BEHIND_MAX >= last) {
                    return Ok(());
                }
                // A snapshot is seen to get on by the answers to its parts.
                let is_heard = self
                    .running
                    .peers
                    .silent(number)
                    .is_some_and(|silent| silent < HEARD_MAX);
                if matched > best || is_heard {
                    best = matched;
                    deadline = Instant::now() + PROGRESS_MAX;
                }
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.not_leader()),
                Err(_) => return Err(MembershipError::NotCaughtUp { number }),
            }
            // The metrics change with every heartbeat, also when nobody gets on.
            if Instant::now() >= deadline {
                return Err(MembershipError::NotCaughtUp { number });
            }
        }
    }

    fn not_leader(&self) -> MembershipError {
        let leader = self.running.leadership.borrow().leader.clone();
        MembershipError::NotLeader {
            leader: leader.as_ref().map(|(leader, _)| *leader),
            address: leader.map(|(_, address)| address),
        }
    }
}

fn members(raft: &Raft) -> Vec<Member> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow();
    members_of(metrics.membership_config.membership())
}

/// The members that openraft knows of.
pub(crate) fn members_of(membership: &Membership<u64, BasicNode>) -> Vec<Member> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let member = |(number, node): (&u64, &BasicNode)| Member {
        number: *number,
        address: node.addr.clone(),
        is_voter: voters.contains(number),
    };
    membership.nodes().map(member).collect()
}
