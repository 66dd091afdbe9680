//! The decision for one pod.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::Helps;
use crate::affinity::UNMATCHED;
use crate::filter::{Filter, NODE_AFFINITY, Prepared, Reason, filters};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::score::{Profile, scores};
use crate::spread::UNLABELLED;
use crate::state::ClusterState;

/// The randomness of one decision, given by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chance {
    /// Where in the list of nodes to begin, so that in a large cluster each node has its turn.
    pub start: usize,
    /// Which of several best nodes is taken, from 0 to 1.
    pub tie: f64,
}

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// Name of the node.
    pub node: Arc<str>,
    /// How many nodes were looked at.
    pub examined: usize,
}

/// Why no node takes a pod; prints as kube-scheduler says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refusals {
    /// How many nodes there are.
    pub nodes: usize,
    /// Why none can take it, where that has nothing to do with any one node.
    pub every: Option<String>,
    /// How many nodes refuse, by reason.
    pub reasons: BTreeMap<String, usize>,
    /// Names of the filters that refused.
    pub filters: Vec<&'static str>,
}

impl Refusals {
    /// Whether such a change of the cluster may help.
    pub fn are_helped_by(&self, change: Helps) -> bool {
        if self.nodes == 0 {
            return change == Helps::Node;
        }
        self.refusing().any(|filter| filter.helped_by.contains(&change))
    }

    /// Whether such a change may help on other nodes than the one where it happens.
    pub(crate) fn are_helped_elsewhere_by(&self, change: Helps) -> bool {
        self.refusing()
            .any(|filter| !filter.local && filter.helped_by.contains(&change))
    }

    fn refusing(&self) -> impl Iterator<Item = &'static Filter> {
        filters()
            .iter()
            .filter(|filter| self.filters.contains(&filter.name))
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available", self.nodes)?;
        let mut texts: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        texts.sort();
        texts.splice(0..0, self.every.clone());
        if !texts.is_empty() {
            write!(f, ": {}", texts.join(", "))?;
        }
        f.write_str(".")
    }
}

/// How many nodes that can take a pod are enough to choose from.
fn enough(nodes: usize) -> usize {
    const ALWAYS: usize = 100;
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ALWAYS).min(nodes)
}

/// Decides where a pod goes.
///
/// Every filter is asked of every node, until enough nodes (all of a small cluster, a part of a large one) can take
/// the pod; the best of them by `profile` takes it. Does no IO and changes nothing; a state that does not remember the
/// choices of the pod ([`ClusterState::remember_choices`]) is copied and counted first, which takes its time.
pub fn schedule(
    state: &ClusterState,
    pod: &PodInfo,
    profile: Profile,
    chance: Chance,
) -> Result<Placement, Refusals> {
    let nodes = state.nodes();
    let mut refusals = Refusals {
        nodes: nodes.len(),
        ..Refusals::default()
    };
    if nodes.is_empty() {
        return Err(refusals);
    }
    if !state.remembers(pod) {
        let mut remembering = state.clone();
        remembering.remember_choices(pod);
        return schedule(&remembering, pod, profile, chance);
    }
    let prepared = match Prepared::new(state, pod) {
        Ok(prepared) => prepared,
        Err((filter, why)) => {
            refusals.every = Some(why);
            refusals.filters.push(filter);
            return Err(refusals);
        }
    };
    // Where room was made for it, it goes if it can.
    let nominated = state
        .nominated_node(&pod.key)
        .and_then(|name| state.position(name));
    if let Some(place) = nominated.filter(|place| look_at_one(state, pod, *place).is_ok()) {
        return Ok(Placement {
            node: nodes[place].name.clone(),
            examined: 1,
        });
    }
    let mut search = Search {
        prepared: &prepared,
        filters: filters()
            .iter()
            .filter(|filter| filter.applies(&prepared))
            .collect(),
        feasible: Vec::with_capacity(enough(nodes.len())),
        examined: 0,
        reasons: Vec::new(),
        counts: BTreeMap::new(),
        refused_by: HashSet::new(),
    };
    if let Some(names) = pod.demand.names() {
        let named: HashSet<usize> = names.iter().filter_map(|name| state.position(name)).collect();
        named.iter().for_each(|at| search.look_at(&nodes[*at]));
        let others = nodes.len() - named.len();
        if others > 0 {
            *search.counts.entry(NODE_AFFINITY.into()).or_default() += others;
            search.refused_by.insert("NodeAffinity");
        }
    } else {
        let enough = enough(nodes.len());
        let start = chance.start % nodes.len();
        for node in nodes[start..].iter().chain(&nodes[..start]) {
            search.look_at(node);
            if search.feasible.len() >= enough {
                break;
            }
        }
    }
    if search.feasible.is_empty() {
        refusals.reasons = search
            .counts
            .into_iter()
            .map(|(reason, count)| (reason.into_owned(), count))
            .collect();
        let asked = filters().iter().map(|filter| filter.name);
        refusals.filters = asked.filter(|name| search.refused_by.contains(name)).collect();
        return Err(refusals);
    }
    let scores = scores(state, &prepared, &search.feasible, profile);
    let best = scores.iter().max().copied().unwrap_or_default();
    let equals: Vec<&NodeInfo> = search
        .feasible
        .iter()
        .zip(&scores)
        .filter(|(_, score)| **score == best)
        .map(|(node, _)| *node)
        .collect();
    let pick = ((chance.tie * equals.len() as f64) as usize).min(equals.len() - 1);
    Ok(Placement {
        node: equals[pick].name.clone(),
        examined: search.examined,
    })
}

/// Why one node cannot take a pod.
pub(crate) struct Refusal {
    pub(crate) reasons: Vec<String>,
    /// Whether it stands whatever pods are driven away from the node.
    pub(crate) is_final: bool,
}

/// Whether one node can take a pod whose choices the state remembers.
pub(crate) fn look_at_one(state: &ClusterState, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    let prepared = Prepared::new(state, pod).map_err(|(_, why)| Refusal {
        reasons: vec![why],
        is_final: true,
    })?;
    let mut reasons = Vec::new();
    for filter in filters().iter().filter(|filter| filter.applies(&prepared)) {
        filter.check(&prepared, &state.nodes()[place], &mut reasons);
        if !reasons.is_empty() {
            let stands = |reason: &Reason| [UNMATCHED, UNLABELLED].contains(&&**reason);
            return Err(Refusal {
                is_final: filter.is_final || reasons.iter().any(stands),
                reasons: reasons.into_iter().map(Reason::into_owned).collect(),
            });
        }
    }
    Ok(())
}

/// Whether the filters that look at a node alone let the pod on it: a cheap sign that trying again is worth it.
pub(crate) fn may_fit(state: &ClusterState, pod: &PodInfo, node: &str) -> bool {
    let (Some(node), Ok(prepared)) = (state.node(node), Prepared::new(state, pod)) else {
        return false;
    };
    let mut reasons = Vec::new();
    let mut local = filters().iter().filter(|filter| filter.local);
    local.all(|filter| {
        filter.check(&prepared, node, &mut reasons);
        reasons.is_empty()
    })
}

struct Search<'a> {
    prepared: &'a Prepared<'a>,
    /// Those that can refuse any node for this pod.
    filters: Vec<&'static Filter>,
    feasible: Vec<&'a NodeInfo>,
    examined: usize,
    /// Reasons of the filter that is being asked.
    reasons: Vec<Reason>,
    counts: BTreeMap<Reason, usize>,
    refused_by: HashSet<&'static str>,
}

impl<'a> Search<'a> {
    fn look_at(&mut self, node: &'a NodeInfo) {
        self.examined += 1;
        for filter in &self.filters {
            filter.check(self.prepared, node, &mut self.reasons);
            if !self.reasons.is_empty() {
                self.refused_by.insert(filter.name);
                for reason in self.reasons.drain(..) {
                    *self.counts.entry(reason).or_default() += 1;
                }
                return;
            }
        }
        self.feasible.push(node);
    }
}
