//! Company that pods want or refuse: pod affinity and anti-affinity, both ways.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::state::ClusterState;
use crate::terms::{Counts, Term};

/// The topology in which every node is alone.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The topology domains in which chosen pods are.
enum Domains<'a> {
    /// One domain a node: the counts answer for themselves.
    Nodes(Cow<'a, Counts>),
    /// The values of the topology key that have such pods.
    Values(HashSet<&'a str>),
}

struct Company<'a> {
    topology_key: &'a str,
    domains: Domains<'a>,
}

impl<'a> Company<'a> {
    fn new(state: &'a ClusterState, topology_key: &'a str, counts: Cow<'a, Counts>) -> Self {
        let domains = if topology_key == HOSTNAME {
            Domains::Nodes(counts)
        } else {
            let nodes = counts.iter().filter_map(|(node, _)| state.node(node));
            Domains::Values(nodes.filter_map(|node| node.topology(topology_key)).collect())
        };
        Self {
            topology_key,
            domains,
        }
    }

    fn of_term(state: &'a ClusterState, term: &'a Term) -> Self {
        Self::new(state, &term.topology_key, state.counts(&term.choice))
    }

    /// Whether chosen pods are in the domain of a node.
    fn is_at(&self, node: &NodeInfo) -> bool {
        let Some(value) = node.topology(self.topology_key) else {
            return false;
        };
        match &self.domains {
            Domains::Nodes(counts) => counts.on(&node.name) > 0,
            Domains::Values(values) => values.contains(value),
        }
    }

    fn is_nowhere(&self) -> bool {
        match &self.domains {
            Domains::Nodes(counts) => counts.is_empty(),
            Domains::Values(values) => values.is_empty(),
        }
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
    pub(crate) fn prepare(state: &'a ClusterState, pod: &'a PodInfo) -> Self {
        let wanted: Vec<_> = pod
            .affinity
            .iter()
            .map(|term| Company::of_term(state, term))
            .collect();
        let chooses = |term: &Term| {
            term.choice
                .chooses(pod.namespace(), pod.labels(), &state.namespaces)
        };
        let first_of_its_kind = wanted.iter().all(Company::is_nowhere) && pod.affinity.iter().all(chooses);
        let refusing = state.refusing().filter(|(term, _)| chooses(term));
        let unwelcome =
            refusing.map(|(term, counts)| Company::new(state, &term.topology_key, Cow::Borrowed(counts)));
        Self {
            wanted,
            first_of_its_kind,
            unwanted: pod
                .anti_affinity
                .iter()
                .map(|term| Company::of_term(state, term))
                .collect(),
            unwelcome: unwelcome.collect(),
        }
    }

    /// Why a node cannot take the pod.
    pub(crate) fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        let missing = |company: &Company<'_>| {
            let alone = self.first_of_its_kind && node.topology(company.topology_key).is_some();
            !alone && !company.is_at(node)
        };
        if self.wanted.iter().any(missing) {
            return Some("node(s) didn't match pod affinity rules");
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
    terms: Vec<(i64, &'a str, HashMap<&'a str, i64>)>,
}

impl<'a> Liking<'a> {
    pub(crate) fn prepare(state: &'a ClusterState, pod: &'a PodInfo) -> Self {
        let terms = pod.preferred.iter().map(|(weight, term)| {
            let mut domains: HashMap<&str, i64> = HashMap::new();
            for (node, count) in state.counts(&term.choice).iter() {
                let value = state
                    .node(node)
                    .and_then(|node| node.topology(&term.topology_key));
                if let Some(value) = value {
                    *domains.entry(value).or_default() += i64::from(count);
                }
            }
            (*weight, term.topology_key.as_str(), domains)
        });
        Self {
            terms: terms.collect(),
        }
    }

    pub(crate) fn is_indifferent(&self) -> bool {
        self.terms.is_empty()
    }

    pub(crate) fn of(&self, node: &NodeInfo) -> i64 {
        let liking = |(weight, key, domains): &(i64, &str, HashMap<&str, i64>)| {
            let value = node.topology(key)?;
            Some(weight * domains.get(value)?)
        };
        self.terms.iter().filter_map(liking).sum()
    }
}
