//! Who is where: pods counted by the choices that other pods make among them.
//!
//! Pods with the same namespace and labels are of one kind, and chosen or not together. A choice knows its kinds, so that
//! a pod that comes or goes changes only the tallies of the choices that choose its kind, whatever the size of the cluster.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::node::NodeInfo;
use crate::pod::Ask;
use crate::tally::Tally;
use crate::terms::{Choice, NamespaceLabels, Term};
use crate::topology::{BY_NODE, Topologies, TopologyId};

/// Number of a choice.
type ChoiceId = usize;

/// Choices that are kept in any case.
const CHOICES_MIN: usize = 1 << 14;
/// Kinds without pods that are kept in any case.
const EMPTY_KINDS_MIN: usize = 1024;

/// Pods of one namespace with the same labels.
#[derive(Clone, Debug)]
struct Kind {
    namespace: Arc<str>,
    labels: Map<String, Value>,
    /// Pods on each node, by its name.
    on_node: HashMap<Arc<str>, u32>,
    /// The choices that choose it.
    chosen_by: Vec<ChoiceId>,
}

/// A choice with the tallies that were asked for.
#[derive(Clone, Debug)]
struct Chosen {
    choice: Choice,
    kinds: Vec<Arc<str>>,
    tallies: Vec<(TopologyId, Tally)>,
    /// Where the pods are that refuse the company of those that are chosen.
    refusing: Vec<(TopologyId, Tally)>,
}

/// Who is where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Company {
    pub(crate) topologies: Topologies,
    kinds: HashMap<Arc<str>, Kind>,
    /// Kinds by each of their labels, `key=value`.
    kinds_with: HashMap<String, Vec<Arc<str>>>,
    choices: Vec<Chosen>,
    ids: HashMap<Arc<str>, ChoiceId>,
    /// Choices by a label that all they choose must have.
    choices_with: HashMap<String, Vec<ChoiceId>>,
    /// Choices that name no such label.
    choices_of_any: Vec<ChoiceId>,
    /// When there are more kinds than this, those without pods are forgotten.
    kinds_max: usize,
    /// When there are more choices than this, all but those of pods that refuse company are forgotten, and counted
    /// again when they are asked for.
    choices_max: usize,
}

impl Company {
    /// Takes the domains of a node that came, or whose labels changed after [`Company::forget_node`].
    pub(crate) fn place_node(&mut self, node: &mut NodeInfo) {
        let mut domains = Vec::new();
        for (id, topology) in self.topologies.iter_mut() {
            let value = value_of(node, id, topology.key()).map(str::to_owned);
            domains.push(topology.enter(value.as_deref()));
        }
        node.domains = domains;
        let pods: Vec<Arc<Ask>> = node.asks().cloned().collect();
        for ask in pods {
            self.come(&ask, node);
        }
    }

    /// Takes a node out of its domains, and its pods out of the tallies.
    pub(crate) fn forget_node(&mut self, node: &NodeInfo) {
        for ask in node.asks() {
            self.go(ask, node);
        }
        for (id, topology) in self.topologies.iter_mut() {
            let value = value_of(node, id, topology.key());
            topology.leave(node.domains[id], value);
        }
    }

    /// A pod came to a node. Its terms must have been remembered.
    pub(crate) fn come(&mut self, ask: &Ask, node: &NodeInfo) {
        let Some(kind) = self.kinds.get_mut(&ask.kind) else {
            return;
        };
        match kind.on_node.get_mut(&node.name) {
            Some(count) => *count += 1,
            None => _ = kind.on_node.insert(node.name.clone(), 1),
        }
        for id in &kind.chosen_by {
            for (topology, tally) in &mut self.choices[*id].tallies {
                tally.add(node.domains[*topology], 1);
            }
        }
        for term in &ask.anti_affinity {
            if let Some((topology, tally)) = self.refusing_of(term) {
                tally.add(node.domains[topology], 1);
            }
        }
    }

    /// A pod went from a node.
    pub(crate) fn go(&mut self, ask: &Ask, node: &NodeInfo) {
        let Some(kind) = self.kinds.get_mut(&ask.kind) else {
            return;
        };
        if let Some(count) = kind.on_node.get_mut(&node.name) {
            *count -= 1;
            if *count == 0 {
                kind.on_node.remove(&node.name);
            }
        }
        for id in &kind.chosen_by {
            for (topology, tally) in &mut self.choices[*id].tallies {
                tally.subtract(node.domains[*topology], 1);
            }
        }
        for term in &ask.anti_affinity {
            if let Some((topology, tally)) = self.refusing_of(term) {
                tally.subtract(node.domains[topology], 1);
            }
        }
    }

    fn refusing_of(&mut self, term: &Term) -> Option<(TopologyId, &mut Tally)> {
        let id = *self.ids.get(term.choice.text())?;
        let topology = self.topologies.id(&term.topology_key)?;
        let refusing = self.choices[id].refusing.iter_mut();
        let mut found = refusing.filter(|(other, _)| *other == topology);
        found.next().map(|(_, tally)| (topology, tally))
    }

    /// Whether all that placing such a pod asks for is counted already.
    pub(crate) fn remembers(&self, ask: &Ask) -> bool {
        let tallied = |choice: &Choice, topology: Option<TopologyId>| {
            let tallies = self.ids.get(choice.text()).map(|id| &self.choices[*id].tallies);
            let has = |(other, _): &(TopologyId, Tally)| Some(*other) == topology;
            topology.is_some() && tallies.is_some_and(|tallies| tallies.iter().any(has))
        };
        self.kinds.contains_key(&ask.kind)
            && wanted(ask).all(|(choice, key)| tallied(choice, self.topologies.id(key)))
            && by_node(ask).all(|choice| tallied(choice, Some(BY_NODE)))
    }

    /// Counts all that placing such a pod asks for, and knows it from now on.
    pub(crate) fn remember(&mut self, ask: &Ask, nodes: &mut [NodeInfo], namespaces: &NamespaceLabels) {
        if self.remembers(ask) {
            return;
        }
        if self.choices.len() >= self.choices_max.max(CHOICES_MIN) {
            self.recount(nodes, namespaces);
            self.choices_max = self.choices.len() * 2;
        }
        self.forget_empty_kinds();
        self.learn(ask, nodes, namespaces);
    }

    fn learn(&mut self, ask: &Ask, nodes: &mut [NodeInfo], namespaces: &NamespaceLabels) {
        self.know_kind(ask, namespaces);
        for (choice, key) in wanted(ask) {
            let topology = self.know_topology(key, nodes);
            let id = self.know_choice(choice, namespaces);
            self.tally(id, topology, nodes);
        }
        for choice in by_node(ask) {
            let id = self.know_choice(choice, namespaces);
            self.tally(id, BY_NODE, nodes);
        }
        for term in &ask.anti_affinity {
            let topology = self.know_topology(&term.topology_key, nodes);
            let id = self.know_choice(&term.choice, namespaces);
            let refusing = &mut self.choices[id].refusing;
            if !refusing.iter().any(|(other, _)| *other == topology) {
                refusing.push((topology, Tally::default()));
            }
        }
    }

    /// Counts everything anew: namespaces that choices go by have changed, or there are too many choices.
    pub(crate) fn recount(&mut self, nodes: &mut [NodeInfo], namespaces: &NamespaceLabels) {
        *self = Self {
            topologies: std::mem::take(&mut self.topologies),
            ..Self::default()
        };
        // First all that refuse, so that a pod that comes finds its terms.
        let asks: Vec<Arc<Ask>> = nodes.iter().flat_map(NodeInfo::asks).cloned().collect();
        for ask in &asks {
            self.know_kind(ask, namespaces);
            if !ask.anti_affinity.is_empty() {
                self.learn(ask, nodes, namespaces);
            }
        }
        for node in nodes.iter() {
            for ask in node.asks() {
                self.come(ask, node);
            }
        }
    }

    /// Whether any choice goes by the labels of namespaces.
    pub(crate) fn goes_by_namespaces(&self) -> bool {
        self.choices
            .iter()
            .any(|chosen| chosen.choice.goes_by_namespaces())
    }

    /// The pods that a choice chooses, by domain.
    pub(crate) fn chosen(&self, choice: &Choice, key: &str) -> Option<(TopologyId, &Tally)> {
        let topology = self.topologies.id(key)?;
        Some((topology, self.tally_of(choice, topology)?))
    }

    /// The pods that a choice chooses, by node.
    pub(crate) fn chosen_by_node(&self, choice: &Choice) -> Option<&Tally> {
        self.tally_of(choice, BY_NODE)
    }

    fn tally_of(&self, choice: &Choice, topology: TopologyId) -> Option<&Tally> {
        let id = *self.ids.get(choice.text())?;
        let mut tallies = self.choices[id].tallies.iter();
        tallies
            .find(|(other, _)| *other == topology)
            .map(|(_, tally)| tally)
    }

    /// Where the pods are that refuse the company of such a pod.
    pub(crate) fn refusing(&self, ask: &Ask) -> impl Iterator<Item = (TopologyId, &Tally)> {
        let kind = self.kinds.get(&ask.kind);
        let chosen_by = kind.into_iter().flat_map(|kind| &kind.chosen_by);
        chosen_by
            .flat_map(|id| &self.choices[*id].refusing)
            .filter(|(_, tally)| !tally.is_empty())
            .map(|(topology, tally)| (*topology, tally))
    }

    fn know_kind(&mut self, ask: &Ask, namespaces: &NamespaceLabels) {
        if self.kinds.contains_key(&ask.kind) {
            return;
        }
        let labels: Vec<String> = ask
            .labels
            .iter()
            .map(|(key, value)| anchor(key, value.as_str()))
            .collect();
        let with = labels
            .iter()
            .filter_map(|label| self.choices_with.get(label))
            .flatten();
        let mut chosen_by = Vec::new();
        for id in with.chain(&self.choices_of_any) {
            let chosen = &mut self.choices[*id];
            if chosen
                .choice
                .chooses(&ask.namespace, Some(&ask.labels), namespaces)
            {
                chosen_by.push(*id);
                chosen.kinds.push(ask.kind.clone());
            }
        }
        for label in labels {
            self.kinds_with.entry(label).or_default().push(ask.kind.clone());
        }
        let kind = Kind {
            namespace: ask.namespace.clone(),
            labels: ask.labels.clone(),
            on_node: HashMap::new(),
            chosen_by,
        };
        self.kinds.insert(ask.kind.clone(), kind);
    }

    fn know_topology(&mut self, key: &str, nodes: &mut [NodeInfo]) -> TopologyId {
        if let Some(id) = self.topologies.id(key) {
            return id;
        }
        let id = self.topologies.add(key);
        let topology = self.topologies.get_mut(id);
        for node in nodes {
            let domain = topology.enter(node.label(key));
            node.domains.push(domain);
        }
        id
    }

    fn know_choice(&mut self, choice: &Choice, namespaces: &NamespaceLabels) -> ChoiceId {
        if let Some(id) = self.ids.get(choice.text()) {
            return *id;
        }
        let id = self.choices.len();
        let label = choice.label().map(|(key, value)| anchor(key, Some(value)));
        let mut kinds = Vec::new();
        let mut ask = |name: &Arc<str>, kind: &mut Kind| {
            if choice.chooses(&kind.namespace, Some(&kind.labels), namespaces) {
                kind.chosen_by.push(id);
                kinds.push(name.clone());
            }
        };
        match &label {
            Some(label) => {
                for name in self.kinds_with.get(label).into_iter().flatten() {
                    if let Some(kind) = self.kinds.get_mut(name) {
                        ask(name, kind);
                    }
                }
            }
            None => self.kinds.iter_mut().for_each(|(name, kind)| ask(name, kind)),
        }
        match label {
            Some(label) => self.choices_with.entry(label).or_default().push(id),
            None => self.choices_of_any.push(id),
        }
        self.ids.insert(choice.text().clone(), id);
        self.choices.push(Chosen {
            choice: choice.clone(),
            kinds,
            tallies: Vec::new(),
            refusing: Vec::new(),
        });
        id
    }

    /// Makes sure that the chosen pods are counted in the domains of a topology.
    fn tally(&mut self, id: ChoiceId, topology: TopologyId, nodes: &[NodeInfo]) {
        let chosen = &mut self.choices[id];
        if chosen.tallies.iter().any(|(other, _)| *other == topology) {
            return;
        }
        let mut tally = Tally::default();
        let kinds = chosen.kinds.iter().filter_map(|name| self.kinds.get(name));
        let kinds: Vec<&Kind> = kinds.filter(|kind| !kind.on_node.is_empty()).collect();
        if !kinds.is_empty() {
            for node in nodes {
                let on_node = kinds.iter().filter_map(|kind| kind.on_node.get(&node.name));
                tally.add(node.domains[topology], on_node.sum());
            }
        }
        chosen.tallies.push((topology, tally));
    }

    fn forget_empty_kinds(&mut self) {
        if self.kinds.len() < self.kinds_max.max(EMPTY_KINDS_MIN) {
            return;
        }
        self.kinds.retain(|_, kind| !kind.on_node.is_empty());
        self.kinds_max = self.kinds.len() * 2;
        let kinds = &self.kinds;
        let keep = |names: &mut Vec<Arc<str>>| names.retain(|name| kinds.contains_key(name));
        self.choices.iter_mut().for_each(|chosen| keep(&mut chosen.kinds));
        self.kinds_with.retain(|_, names| {
            keep(names);
            !names.is_empty()
        });
    }
}

/// A label in one text.
fn anchor(key: &str, value: Option<&str>) -> String {
    format!("{key}={}", value.unwrap_or_default())
}

fn value_of<'a>(node: &'a NodeInfo, id: TopologyId, key: &str) -> Option<&'a str> {
    if id == BY_NODE {
        Some(&node.name)
    } else {
        node.label(key)
    }
}

/// The choices that placing such a pod asks for, each with its topology key.
fn wanted(ask: &Ask) -> impl Iterator<Item = (&Choice, &str)> {
    let terms = ask.affinity.iter().chain(&ask.anti_affinity);
    let preferred = ask.preferred.iter().map(|(_, term)| term);
    let terms = terms
        .chain(preferred)
        .map(|term| (&term.choice, &*term.topology_key));
    let spread = ask.spread.iter();
    terms.chain(spread.map(|constraint| (&constraint.choice, &*constraint.topology_key)))
}

/// The choices that must be known by node, since not all nodes count for such a pod.
fn by_node(ask: &Ask) -> impl Iterator<Item = &Choice> {
    ask.spread.iter().map(|constraint| &constraint.choice)
}
