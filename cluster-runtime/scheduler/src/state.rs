//! The state of the cluster as the scheduler sees it, kept up to date change by change.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use cluster_client::ObjectKey;
use cluster_objects::Object;

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::terms::{Choice, Counts, NamespaceLabels, Term};

/// Nodes, the pods on them, and what is taken.
///
/// Every change costs in proportion to what it changes, whatever the size of the cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    nodes: Vec<NodeInfo>,
    index: HashMap<Arc<str>, usize>,
    /// Pods that are on a node, by the node's name.
    placed: HashMap<ObjectKey, Arc<str>>,
    /// Pods on nodes that are not known (yet).
    homeless: HashMap<ObjectKey, Arc<PodInfo>>,
    pub(crate) namespaces: NamespaceLabels,
    /// Where the pods are that refuse company, by the term with which they do.
    refusing: HashMap<String, (Term, Counts)>,
    /// Where the pods are that a choice chooses, for the choices that were asked for.
    chosen: HashMap<Arc<str>, (Choice, Counts)>,
    /// Claims and volumes, as far as placement depends on them.
    pub(crate) volumes: HashMap<ObjectKey, Arc<Object>>,
    pub(crate) claims: HashMap<ObjectKey, Arc<Object>>,
    pub(crate) storage_classes: HashMap<String, Arc<Object>>,
}

/// Most choices whose counts are kept.
const CHOICES_MAX: usize = 1024;

impl ClusterState {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// The nodes, in no order.
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|at| &self.nodes[*at])
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The name of the node that a pod is on.
    pub fn node_of(&self, pod: &ObjectKey) -> Option<&Arc<str>> {
        self.placed.get(pod)
    }

    /// A pod that is on a node.
    pub fn pod(&self, key: &ObjectKey) -> Option<&Arc<PodInfo>> {
        let node = self.placed.get(key)?;
        match self.node(node) {
            Some(node) => node.pods.get(key),
            None => self.homeless.get(key),
        }
    }

    /// Adds a node or takes its new state.
    pub fn put_node(&mut self, object: &Arc<Object>) {
        if let Some(at) = self.index.get(object.name()) {
            self.nodes[*at].update(object);
            return;
        }
        let mut node = NodeInfo::new(object);
        let placed = &self.placed;
        let is_here = |key: &ObjectKey| placed.get(key).is_some_and(|place| *place == node.name);
        let (here, elsewhere): (Vec<_>, Vec<_>) = self.homeless.drain().partition(|(key, _)| is_here(key));
        self.homeless.extend(elsewhere);
        for (_, pod) in here {
            node.add(&pod);
        }
        self.index.insert(node.name.clone(), self.nodes.len());
        self.nodes.push(node);
    }

    /// Removes a node. Its pods stay known until they are removed themselves.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.index.remove(name) else { return };
        let node = self.nodes.swap_remove(at);
        if let Some(moved) = self.nodes.get(at) {
            self.index.insert(moved.name.clone(), at);
        }
        self.homeless.extend(node.pods);
    }

    /// Adds a pod to a node, or takes its new state there.
    pub fn put_pod(&mut self, pod: &Arc<PodInfo>, node: &Arc<str>) {
        self.remove_pod(&pod.key);
        self.placed.insert(pod.key.clone(), node.clone());
        for term in &pod.anti_affinity {
            let entry = self.refusing.entry(text_of(term));
            let (_, counts) = entry.or_insert_with(|| (term.clone(), Counts::default()));
            counts.add(node);
        }
        for (choice, counts) in self.chosen.values_mut() {
            if choice.chooses(pod.namespace(), pod.labels(), &self.namespaces) {
                counts.add(node);
            }
        }
        match self.index.get(node) {
            Some(at) => self.nodes[*at].add(pod),
            None => {
                self.homeless.insert(pod.key.clone(), pod.clone());
            }
        }
    }

    /// Removes a pod from its node, and gives the name of the node.
    pub fn remove_pod(&mut self, key: &ObjectKey) -> Option<Arc<str>> {
        let node = self.placed.remove(key)?;
        let pod = match self.index.get(&node) {
            Some(at) => self.nodes[*at].remove(key),
            None => self.homeless.remove(key),
        }?;
        for term in &pod.anti_affinity {
            let text = text_of(term);
            if let Some((_, counts)) = self.refusing.get_mut(&text) {
                counts.subtract(&node);
                if counts.is_empty() {
                    self.refusing.remove(&text);
                }
            }
        }
        for (choice, counts) in self.chosen.values_mut() {
            if choice.chooses(pod.namespace(), pod.labels(), &self.namespaces) {
                counts.subtract(&node);
            }
        }
        Some(node)
    }

    /// Takes the labels of a namespace, or `None` when it is gone.
    pub fn put_namespace(&mut self, name: &str, object: Option<&Object>) {
        let labels = object.map(|object| object.labels().cloned().unwrap_or_default());
        let same = self.namespaces.get(name) == labels.as_ref();
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        if !same {
            // Choices may depend on the labels of namespaces; they are counted anew when next asked for.
            self.chosen.clear();
        }
    }

    /// The pods that refuse company, by their term.
    pub(crate) fn refusing(&self) -> impl Iterator<Item = &(Term, Counts)> {
        self.refusing.values()
    }

    /// Keeps the counts that placing this pod asks for, so that the next pod like it is placed without counting.
    pub fn remember_choices(&mut self, pod: &PodInfo) {
        let terms = pod.affinity.iter().chain(&pod.anti_affinity);
        let preferred = pod.preferred.iter().map(|(_, term)| term);
        let choices = terms.chain(preferred).map(|term| &term.choice);
        for choice in choices.chain(pod.spread.iter().map(|constraint| &constraint.choice)) {
            if self.chosen.contains_key(choice.text()) {
                continue;
            }
            if self.chosen.len() >= CHOICES_MAX {
                self.chosen.clear();
            }
            let counts = self.count(choice);
            self.chosen
                .insert(choice.text().clone(), (choice.clone(), counts));
        }
    }

    /// How many pods a choice chooses on each node.
    pub(crate) fn counts(&self, choice: &Choice) -> Cow<'_, Counts> {
        match self.chosen.get(choice.text()) {
            Some((_, counts)) => Cow::Borrowed(counts),
            None => Cow::Owned(self.count(choice)),
        }
    }

    fn count(&self, choice: &Choice) -> Counts {
        let mut counts = Counts::default();
        for node in &self.nodes {
            for pod in node.pods.values() {
                if choice.chooses(pod.namespace(), pod.labels(), &self.namespaces) {
                    counts.add(&node.name);
                }
            }
        }
        for (key, pod) in &self.homeless {
            let chosen = choice.chooses(pod.namespace(), pod.labels(), &self.namespaces);
            if let Some(node) = self.placed.get(key).filter(|_| chosen) {
                counts.add(node);
            }
        }
        counts
    }
}

fn text_of(term: &Term) -> String {
    format!("{} {}", term.topology_key, term.choice.text())
}
