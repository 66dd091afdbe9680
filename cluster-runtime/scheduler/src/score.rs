//! The scores: which of the nodes that can take a pod takes it best.

use crate::affinity::Liking;
use crate::filter::Prepared;
use crate::node::NodeInfo;
use crate::state::ClusterState;
use crate::taint::Effect;

/// What makes a node a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Free nodes, and nodes without pods of the same controller.
    #[default]
    Spread,
    /// Full nodes, so that others stay empty.
    Binpack,
    /// Any node.
    Random,
}

/// The highest score of one kind.
const BEST: i64 = 100;

/// The score of each node, in their order.
pub(crate) fn scores(
    state: &ClusterState,
    prepared: &Prepared<'_>,
    nodes: &[&NodeInfo],
    profile: Profile,
) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    if profile == Profile::Random || nodes.len() < 2 {
        return totals;
    }
    let pod = prepared.pod;
    let mut add = |weight: i64, scores: Vec<i64>| {
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += weight * score;
        }
    };
    let each = |score: &dyn Fn(&NodeInfo) -> i64| nodes.iter().map(|node| score(node)).collect::<Vec<i64>>();

    add(1, each(&|node| used(prepared, node, profile)));
    add(1, each(&|node| balance(prepared, node)));
    if profile == Profile::Spread
        && let Some(controller) = pod.controller
    {
        let siblings =
            |node: &NodeInfo| i64::from(node.by_controller.get(&controller).copied().unwrap_or_default());
        add(2, fewest_best(each(&siblings)));
    }
    if !prepared.spread.is_indifferent() {
        add(2, fewest_best(each(&|node| prepared.spread.crowd(node))));
    }
    if nodes.iter().any(|node| {
        node.taints
            .iter()
            .any(|taint| taint.effect == Effect::PreferNoSchedule)
    }) {
        add(3, fewest_best(each(&|node| disliked_taints(prepared, node))));
    }
    if !pod.demand.preferred.is_empty() {
        add(2, most_best(each(&|node| preference(prepared, node))));
    }
    let liking = Liking::prepare(state, pod);
    if !liking.is_indifferent() {
        add(2, most_best(each(&|node| liking.of(node))));
    }
    totals
}

/// How much of a node is free with the pod on it (or taken, when packing), over cores and memory.
fn used(prepared: &Prepared<'_>, node: &NodeInfo, profile: Profile) -> i64 {
    let [cpu, memory] = fractions(prepared, node);
    let taken = |fraction: f64| {
        if profile == Profile::Binpack {
            fraction
        } else {
            1.0 - fraction
        }
    };
    ((taken(cpu) + taken(memory)) / 2.0 * BEST as f64) as i64
}

/// How alike the taken parts of cores and memory are with the pod on the node.
fn balance(prepared: &Prepared<'_>, node: &NodeInfo) -> i64 {
    let [cpu, memory] = fractions(prepared, node);
    ((1.0 - (cpu - memory).abs() / 2.0) * BEST as f64) as i64
}

fn fractions(prepared: &Prepared<'_>, node: &NodeInfo) -> [f64; 2] {
    let fraction = |wants: i64, taken: i64, has: i64| {
        if has <= 0 {
            return 1.0;
        }
        ((wants + taken) as f64 / has as f64).min(1.0)
    };
    let (wants, taken, has) = (&prepared.pod.scored, &node.scored, &node.allocatable);
    [
        fraction(wants.cpu_milli, taken.cpu_milli, has.cpu_milli),
        fraction(wants.memory_bytes, taken.memory_bytes, has.memory_bytes),
    ]
}

fn disliked_taints(prepared: &Prepared<'_>, node: &NodeInfo) -> i64 {
    let disliked = node
        .taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule);
    let disliked = disliked.filter(|taint| !taint.is_tolerated(&prepared.pod.tolerations));
    i64::try_from(disliked.count()).unwrap_or(i64::MAX)
}

fn preference(prepared: &Prepared<'_>, node: &NodeInfo) -> i64 {
    let preferred = prepared.pod.demand.preferred.iter();
    let held = preferred.filter(|(_, term)| term.matches(&node.name, node.labels()));
    held.map(|(weight, _)| weight).sum()
}

/// Brings numbers to 0..=100, the highest becoming 100.
fn most_best(numbers: Vec<i64>) -> Vec<i64> {
    let (Some(low), Some(high)) = (numbers.iter().min().copied(), numbers.iter().max().copied()) else {
        return numbers;
    };
    let range = high - low;
    let scale = |number: i64| {
        if range == 0 {
            0
        } else {
            (number - low) * BEST / range
        }
    };
    numbers.into_iter().map(scale).collect()
}

/// Brings numbers to 0..=100, the lowest becoming 100.
fn fewest_best(numbers: Vec<i64>) -> Vec<i64> {
    most_best(numbers.into_iter().map(|number| -number).collect())
}
