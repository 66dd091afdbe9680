//! Which changes of the group of servers leave it able to decide.

use crate::message::{MemberStatus, Refusal};

/// Entries of the log that a member may lack and still count as one that follows.
const LAG_MAX: u64 = 10_000;

/// Refuses to let a member go where the rest could not decide anything.
pub(crate) fn may_leave(members: &[MemberStatus], leaving: u64) -> Result<(), Refusal> {
    let rest: Vec<&MemberStatus> = members
        .iter()
        .filter(|member| member.voter && member.number != leaving)
        .collect();
    if rest.is_empty() {
        return Err(Refusal::new(
            "it is the last server: the cluster would be without one",
            "make another node a server first: `tug cluster promote NODE`",
        ));
    }
    let follows = |member: &&&MemberStatus| member.leader || member.lag.is_some_and(|lag| lag <= LAG_MAX);
    let alive = rest.iter().filter(follows).count();
    let needed = rest.len() / 2 + 1;
    if alive < needed {
        return Err(Refusal::new(
            format!(
                "of the {} servers that would remain, {alive} follow and {needed} are needed",
                rest.len()
            ),
            "bring the other servers back first, or demote those that are gone; `tug cluster status` shows them",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u64, voter: bool, leader: bool, lag: Option<u64>) -> MemberStatus {
        MemberStatus {
            number,
            address: format!("192.0.2.{number}:6443"),
            voter,
            leader,
            lag,
        }
    }

    #[test]
    fn a_member_goes_when_the_rest_can_decide() {
        let three = [
            member(1, true, true, None),
            member(2, true, false, Some(0)),
            member(3, true, false, Some(3)),
        ];
        for leaving in 1..=3 {
            assert!(may_leave(&three, leaving).is_ok(), "{leaving}");
        }
    }

    #[test]
    fn err_a_rest_that_could_not_decide() {
        let alone = [member(1, true, true, None), member(2, false, false, Some(0))];
        assert!(may_leave(&alone, 1).unwrap_err().reason.contains("last server"));
        let one_is_gone = [
            member(1, true, true, None),
            member(2, true, false, Some(0)),
            member(3, true, false, None),
        ];
        assert!(
            may_leave(&one_is_gone, 2)
                .unwrap_err()
                .reason
                .contains("2 are needed")
        );
        assert!(may_leave(&one_is_gone, 3).is_ok());
    }
}
