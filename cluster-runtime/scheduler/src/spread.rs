//! Topology spread: how unevenly the pods of a choice may lie over zones or nodes.

use std::borrow::Cow;

use crate::node::NodeInfo;
use crate::pod::{PodInfo, SpreadConstraint};
use crate::state::ClusterState;
use crate::tally::Tally;
use crate::topology::{NO_DOMAIN, TopologyId};

/// A node outside the topology, which no pod that goes brings into it.
pub(crate) const UNLABELLED: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// One constraint with the pods counted in each domain that counts.
struct Counted<'a> {
    constraint: &'a SpreadConstraint,
    topology: TopologyId,
    pods: Cow<'a, Tally>,
    fewest: i64,
}

/// The spread constraints of a pod, prepared once for all nodes.
pub(crate) struct Spread<'a> {
    required: Vec<Counted<'a>>,
    liked: Vec<Counted<'a>>,
}

impl<'a> Spread<'a> {
    /// Prepares a pod whose choices the state remembers.
    pub(crate) fn prepare(state: &'a ClusterState, pod: &'a PodInfo) -> Self {
        let of = |required: bool| -> Vec<Counted<'a>> {
            let constraints: Vec<_> = pod
                .ask
                .spread
                .iter()
                .filter(|one| one.required == required)
                .collect();
            let id = |one: &&SpreadConstraint| state.company.topologies.id(&one.topology_key);
            let topologies: Vec<TopologyId> = constraints.iter().filter_map(id).collect();
            let counted = constraints.iter();
            counted
                .filter_map(|one| Counted::new(state, pod, one, &topologies))
                .collect()
        };
        Self {
            required: of(true),
            liked: of(false),
        }
    }

    /// Whether no node is refused.
    pub(crate) fn refuses_nothing(&self) -> bool {
        self.required.is_empty()
    }

    /// Why a node cannot take the pod.
    pub(crate) fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        for counted in &self.required {
            let domain = node.domains[counted.topology];
            if domain == NO_DOMAIN {
                return Some(UNLABELLED);
            }
            let there = i64::from(counted.pods.on(domain));
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
            let domain = node.domains[counted.topology];
            // A node outside the topology counts as the fullest.
            i64::from(if domain == NO_DOMAIN {
                counted.pods.most()
            } else {
                counted.pods.on(domain)
            })
        };
        self.liked.iter().map(there).sum()
    }
}

impl<'a> Counted<'a> {
    fn new(
        state: &'a ClusterState,
        pod: &PodInfo,
        constraint: &'a SpreadConstraint,
        topologies: &[TopologyId],
    ) -> Option<Self> {
        let (topology, pods) = state
            .company
            .chosen(&constraint.choice, &constraint.topology_key)?;
        let all = &state.company.topologies;
        let everywhere = |id: &TopologyId| all.get(*id).labelled() == state.nodes().len();
        let any_node = !constraint.honours_affinity || pod.demand.is_none();
        // Where every node counts, what is kept change by change needs no counting.
        let all_count = any_node
            && !constraint.honours_taints
            && (topologies.len() == 1 || topologies.iter().all(everywhere));
        let (pods, domains) = if all_count {
            (Cow::Borrowed(pods), all.get(topology).present())
        } else {
            let (pods, domains) = counting(state, pod, constraint, topology, topologies)?;
            (Cow::Owned(pods), domains)
        };
        let enough = i64::try_from(domains).unwrap_or(i64::MAX) >= constraint.domains_min;
        let fewest = if enough {
            i64::from(pods.fewest(domains))
        } else {
            0
        };
        Some(Self {
            constraint,
            topology,
            pods,
            fewest,
        })
    }
}

/// The chosen pods on the nodes that count for a pod, and how many domains these nodes are in.
fn counting(
    state: &ClusterState,
    pod: &PodInfo,
    constraint: &SpreadConstraint,
    topology: TopologyId,
    topologies: &[TopologyId],
) -> Option<(Tally, usize)> {
    let by_node = state.company.chosen_by_node(&constraint.choice)?;
    let mut pods = Tally::default();
    let mut seen = vec![false; state.company.topologies.get(topology).bound()];
    for node in state.nodes() {
        let outside = topologies.iter().any(|id| node.domains[*id] == NO_DOMAIN);
        if outside || !counts_for(pod, constraint, node) {
            continue;
        }
        let domain = node.domains[topology];
        seen[domain as usize] = true;
        pods.add(domain, by_node.on(node.domains[crate::topology::BY_NODE]));
    }
    Some((pods, seen.into_iter().filter(|seen| *seen).count()))
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
