//! Preemption: which pods of lower priority must go so that a pod finds room, after kube-scheduler's `DefaultPreemption`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_client::ObjectKey;

use crate::budget::Budget;
use crate::node::PlacedPod;
use crate::pod::PodInfo;
use crate::schedule::{Refusal, look_at_one};
use crate::state::ClusterState;

/// Of the nodes that could be freed a part is enough to choose from, and so many always.
const CANDIDATES_PERCENT: usize = 10;
const CANDIDATES_MIN: usize = 100;

/// Pods that must go, and the node on which a pod then finds room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Name of the node.
    pub node: Arc<str>,
    /// The pods that go, the most important first.
    pub victims: Vec<Victim>,
}

/// A pod that must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Which pod of that name.
    pub uid: Arc<str>,
    /// Whether it is on its way out already.
    pub leaving: bool,
}

/// A node with those who would have to go, in the order in which candidates are compared: the least is the best.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    budgets_violated: usize,
    priority_highest: i64,
    priorities_sum: i128,
    victims: usize,
    /// Of two alike, the one whose most important victim is younger.
    since: Reverse<i64>,
}

/// Finds the node that costs least to free for a pod that was refused everywhere; the error is why there is none, as
/// kube-scheduler says it after its refusal.
///
/// `start` is where in the list of nodes to begin. The state is the same afterwards.
pub fn preempt(state: &mut ClusterState, pod: &PodInfo, start: usize) -> Result<Preemption, String> {
    if !pod.preempts {
        return Err("not eligible due to preemptionPolicy=Never.".into());
    }
    if waits_for_victims(state, pod) {
        return Err("not eligible due to a terminating pod on the nominated node.".into());
    }
    let count = state.nodes().len();
    let enough = (count * CANDIDATES_PERCENT / 100).max(CANDIDATES_MIN);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(Cost, Preemption)> = None;
    let mut candidates = 0;
    state.remember_choices(pod);
    let any_lower = state.has_pods_below(pod.priority);
    for place in (0..count).map(|place| (start + place) % count) {
        let mut refuse = |why: &str| *reasons.entry(why.to_owned()).or_default() += 1;
        match look_at_one(state, pod, place) {
            Ok(()) => continue,
            Err(Refusal { is_final: true, .. }) => {
                refuse("Preemption is not helpful for scheduling");
                continue;
            }
            Err(_) if !any_lower => {
                refuse("No preemption victims found for incoming pod");
                continue;
            }
            Err(_) => {}
        }
        match free(state, pod, place) {
            Err(reasons) => reasons.iter().for_each(|why| refuse(why)),
            Ok((cost, preemption)) => {
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, preemption));
                }
                candidates += 1;
                if candidates >= enough {
                    break;
                }
            }
        }
    }
    best.map(|(_, preemption)| preemption).ok_or_else(|| {
        let texts = reasons.iter().map(|(why, count)| format!("{count} {why}"));
        let mut texts: Vec<String> = texts.collect();
        texts.sort();
        format!("0/{count} nodes are available: {}.", texts.join(", "))
    })
}

/// Whether room is being made for a pod already.
fn waits_for_victims(state: &ClusterState, pod: &PodInfo) -> bool {
    let node = state.nominated_node(&pod.key).and_then(|name| state.node(name));
    node.is_some_and(|node| {
        let mut pods = node.pods.values();
        pods.any(|placed| placed.leaving && placed.ask.priority < pod.priority)
    })
}

/// Tries a node without the pods of lower priority, and takes back as many of them as there is room for.
fn free(state: &mut ClusterState, pod: &PodInfo, place: usize) -> Result<(Cost, Preemption), Vec<String>> {
    let node = &state.nodes()[place];
    let name = node.name.clone();
    let lower = node
        .pods
        .iter()
        .filter(|(_, placed)| placed.ask.priority < pod.priority);
    let mut lower: Vec<(ObjectKey, PlacedPod)> =
        lower.map(|(key, placed)| (key.clone(), placed.clone())).collect();
    if lower.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".into()]);
    }
    // The most important first; names decide between twins, so that the same state gives the same victims.
    lower.sort_by(|(one_key, one), (two_key, two)| {
        let rank = |pod: &PlacedPod| (Reverse(pod.ask.priority), pod.since);
        rank(one).cmp(&rank(two)).then_with(|| one_key.cmp(two_key))
    });
    for (key, _) in &lower {
        state.remove_pod(key);
    }
    let outcome = match look_at_one(state, pod, place) {
        Err(refusal) => Err(refusal.reasons),
        Ok(()) => Ok(take_back(state, pod, place, &lower)),
    };
    let (cost, victims) = match outcome {
        Ok((cost, victims)) => (Ok(cost), victims),
        Err(reasons) => (Err(reasons), (0..lower.len()).collect()),
    };
    for victim in &victims {
        let (key, placed) = &lower[*victim];
        state.put_back(key, placed.clone(), &name);
    }
    let cost = cost?;
    let victims = victims.into_iter().map(|victim| {
        let (key, placed) = &lower[victim];
        Victim {
            key: key.clone(),
            uid: placed.uid.clone(),
            leaving: placed.leaving,
        }
    });
    let victims = victims.collect();
    Ok((cost, Preemption { node: name, victims }))
}

/// Puts pods back as long as the new one fits beside them, those first whose budgets do not let them go. Gives the
/// places of those that cannot stay.
fn take_back(
    state: &mut ClusterState,
    pod: &PodInfo,
    place: usize,
    lower: &[(ObjectKey, PlacedPod)],
) -> (Cost, Vec<usize>) {
    let name = state.nodes()[place].name.clone();
    let violates = violations(&state.budgets, lower);
    let (protected, free): (Vec<usize>, Vec<usize>) = (0..lower.len()).partition(|at| violates[*at]);
    let mut victims = Vec::new();
    for at in protected.into_iter().chain(free) {
        let (key, placed) = &lower[at];
        state.put_back(key, placed.clone(), &name);
        if look_at_one(state, pod, place).is_err() {
            state.remove_pod(key);
            victims.push(at);
        }
    }
    victims.sort_unstable();
    let pods = || victims.iter().map(|at| &lower[*at].1);
    let highest = pods().map(|placed| placed.ask.priority).max().unwrap_or(i64::MIN);
    let since = pods()
        .filter(|placed| placed.ask.priority == highest)
        .map(|placed| placed.since);
    let cost = Cost {
        budgets_violated: victims.iter().filter(|at| violates[**at]).count(),
        priority_highest: highest,
        // Priorities may be negative; one more victim must never make a sum smaller.
        priorities_sum: pods()
            .map(|placed| i128::from(placed.ask.priority) + (1 << 31))
            .sum(),
        victims: victims.len(),
        since: Reverse(since.min().unwrap_or_default()),
    };
    (cost, victims)
}

/// Which of the pods would go against their budgets, if all went in this order.
fn violations(
    budgets: &std::collections::HashMap<ObjectKey, Budget>,
    pods: &[(ObjectKey, PlacedPod)],
) -> Vec<bool> {
    let mut left: Vec<(&Budget, i64)> = budgets.values().map(|budget| (budget, budget.allowed)).collect();
    let violates = |(key, placed): &(ObjectKey, PlacedPod)| {
        let mut violates = false;
        for (budget, left) in &mut left {
            if budget.covers(key, &placed.ask) {
                *left -= 1;
                violates |= *left < 0;
            }
        }
        violates
    };
    pods.iter().map(violates).collect()
}
