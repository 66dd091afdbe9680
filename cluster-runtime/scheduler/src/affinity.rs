//! Company that pods want or refuse: pod affinity and anti-affinity, both ways.

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::state::ClusterState;
use crate::tally::Tally;
use crate::terms::Term;
use crate::topology::{NO_DOMAIN, TopologyId};

/// Company that is missing, which no pod that goes brings.
pub(crate) const UNMATCHED: &str = "node(s) didn't match pod affinity rules";

/// Pods of some sort by the domains of a topology.
struct Company<'a> {
    topology: TopologyId,
    pods: &'a Tally,
}

impl<'a> Company<'a> {
    fn of_term(state: &'a ClusterState, term: &Term) -> Option<Self> {
        let (topology, pods) = state.company.chosen(&term.choice, &term.topology_key)?;
        Some(Self { topology, pods })
    }

    /// Whether such pods are in the domain of a node.
    fn is_at(&self, node: &NodeInfo) -> bool {
        self.count_at(node) > 0
    }

    fn count_at(&self, node: &NodeInfo) -> u32 {
        self.pods.on(node.domains[self.topology])
    }
}

/// What the company of a pod must and must not be, prepared once for all nodes.
pub(crate) struct Affinity<'a> {
    wanted: Vec<Company<'a>>,
    /// Nobody is there to be with, and the pod would be company to itself: the first of its kind may go anywhere.
    first_of_its_kind: bool,
    unwanted: Vec<Company<'a>>,
    unwelcome: Vec<Company<'a>>,
}

impl<'a> Affinity<'a> {
    /// Prepares a pod whose choices the state remembers.
    pub(crate) fn prepare(state: &'a ClusterState, pod: &PodInfo) -> Self {
        let companies = |terms: &[Term]| -> Vec<Company<'a>> {
            let found = terms.iter().filter_map(|term| Company::of_term(state, term));
            found.collect()
        };
        let wanted = companies(&pod.affinity);
        let chooses = |term: &Term| {
            term.choice
                .chooses(pod.namespace(), Some(&pod.labels), &state.namespaces)
        };
        let first_of_its_kind =
            wanted.iter().all(|company| company.pods.is_empty()) && pod.affinity.iter().all(chooses);
        let refusing = state.company.refusing(&pod.ask);
        Self {
            wanted,
            first_of_its_kind,
            unwanted: companies(&pod.anti_affinity),
            unwelcome: refusing
                .map(|(topology, pods)| Company { topology, pods })
                .filter(|company| !company.pods.is_empty())
                .collect(),
        }
    }

    /// Whether no node is refused.
    pub(crate) fn is_indifferent(&self) -> bool {
        self.wanted.is_empty() && self.unwelcome.is_empty() && self.unwanted.is_empty()
    }

    /// Why a node cannot take the pod.
    pub(crate) fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        let missing = |company: &Company<'_>| {
            let alone = self.first_of_its_kind && node.domains[company.topology] != NO_DOMAIN;
            !alone && !company.is_at(node)
        };
        if self.wanted.iter().any(missing) {
            return Some(UNMATCHED);
        }
        if self.unwanted.iter().any(|company| company.is_at(node)) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
        if self.unwelcome.iter().any(|company| company.is_at(node)) {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        None
    }
}

/// How much a pod likes the company at a node, prepared once for all nodes.
pub(crate) struct Liking<'a> {
    terms: Vec<(i64, Company<'a>)>,
}

impl<'a> Liking<'a> {
    /// Prepares a pod whose choices the state remembers.
    pub(crate) fn prepare(state: &'a ClusterState, pod: &PodInfo) -> Self {
        let terms = pod.preferred.iter();
        let terms = terms.filter_map(|(weight, term)| Some((*weight, Company::of_term(state, term)?)));
        Self {
            terms: terms.collect(),
        }
    }

    pub(crate) fn is_indifferent(&self) -> bool {
        self.terms.is_empty()
    }

    pub(crate) fn of(&self, node: &NodeInfo) -> i64 {
        let liking = |(weight, company): &(i64, Company<'_>)| weight * i64::from(company.count_at(node));
        self.terms.iter().map(liking).sum()
    }
}
