//! Topology spread: how unevenly the pods of a choice may lie over zones or nodes.

use std::collections::HashMap;

use crate::node::NodeInfo;
use crate::pod::{PodInfo, SpreadConstraint};
use crate::state::ClusterState;

/// One constraint with the pods counted in each domain that counts.
struct Counted<'a> {
    constraint: &'a SpreadConstraint,
    domains: HashMap<&'a str, i64>,
    fewest: i64,
}

/// The spread constraints of a pod, prepared once for all nodes.
pub(crate) struct Spread<'a> {
    required: Vec<Counted<'a>>,
    liked: Vec<Counted<'a>>,
}

impl<'a> Spread<'a> {
    pub(crate) fn prepare(state: &'a ClusterState, pod: &'a PodInfo) -> Self {
        let of = |required: bool| {
            let constraints: Vec<_> = pod.spread.iter().filter(|one| one.required == required).collect();
            let keys: Vec<&str> = constraints.iter().map(|one| one.topology_key.as_str()).collect();
            let counted = constraints.iter().map(|one| Counted::new(state, pod, one, &keys));
            counted.collect::<Vec<_>>()
        };
        Self {
            required: of(true),
            liked: of(false),
        }
    }

    /// Why a node cannot take the pod.
    pub(crate) fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        for counted in &self.required {
            let Some(value) = node.topology(&counted.constraint.topology_key) else {
                return Some("node(s) didn't match pod topology spread constraints (missing required label)");
            };
            let there = counted.domains.get(value).copied().unwrap_or_default();
            let itself = i64::from(counted.constraint.chooses_self);
            if there + itself - counted.fewest > counted.constraint.skew_max {
                return Some("node(s) didn't match pod topology spread constraints");
            }
        }
        None
    }

    pub(crate) fn is_indifferent(&self) -> bool {
        self.liked.is_empty()
    }

    /// How many pods are in the domains of a node, over the constraints that are only liked: fewer is better.
    pub(crate) fn crowd(&self, node: &NodeInfo) -> i64 {
        let there = |counted: &Counted<'_>| {
            let value = node.topology(&counted.constraint.topology_key);
            // A node outside the topology counts as the fullest.
            let fullest = || counted.domains.values().max().copied().unwrap_or_default();
            value.map_or_else(fullest, |value| {
                counted.domains.get(value).copied().unwrap_or_default()
            })
        };
        self.liked.iter().map(there).sum()
    }
}

impl<'a> Counted<'a> {
    fn new(state: &'a ClusterState, pod: &PodInfo, constraint: &'a SpreadConstraint, keys: &[&str]) -> Self {
        let counts = state.counts(&constraint.choice);
        let mut domains: HashMap<&str, i64> = HashMap::new();
        for node in state.nodes() {
            if keys.iter().any(|key| node.topology(key).is_none()) || !counts_for(pod, constraint, node) {
                continue;
            }
            let Some(value) = node.topology(&constraint.topology_key) else {
                continue;
            };
            *domains.entry(value).or_default() += i64::from(counts.on(&node.name));
        }
        let enough = i64::try_from(domains.len()).unwrap_or(i64::MAX) >= constraint.domains_min;
        let fewest = domains
            .values()
            .min()
            .copied()
            .filter(|_| enough)
            .unwrap_or_default();
        Self {
            constraint,
            domains,
            fewest,
        }
    }
}

fn counts_for(pod: &PodInfo, constraint: &SpreadConstraint, node: &NodeInfo) -> bool {
    let accepted = !constraint.honours_affinity || pod.demand.accepts(&node.name, node.labels());
    let tolerated = || {
        let refusing = node.taints.iter().filter(|taint| taint.refuses());
        refusing
            .into_iter()
            .all(|taint| taint.is_tolerated(&pod.tolerations))
    };
    accepted && (!constraint.honours_taints || tolerated())
}
