//! The state of the cluster as the scheduler sees it, kept up to date change by change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cluster_client::ObjectKey;
use cluster_objects::Object;

use crate::budget::Budget;
use crate::company::Company;
use crate::node::{NodeInfo, PlacedPod};
use crate::pod::PodInfo;
use crate::terms::NamespaceLabels;

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
    homeless: HashMap<ObjectKey, PlacedPod>,
    pub(crate) namespaces: NamespaceLabels,
    pub(crate) company: Company,
    /// How many placed pods have each priority.
    priorities: BTreeMap<i64, usize>,
    /// Nodes on which room is being made for pods, by pod.
    nominated: HashMap<ObjectKey, Arc<str>>,
    pub(crate) budgets: HashMap<ObjectKey, Budget>,
    /// Claims and volumes, as far as placement depends on them.
    pub(crate) volumes: HashMap<ObjectKey, Arc<Object>>,
    pub(crate) claims: HashMap<ObjectKey, Arc<Object>>,
    pub(crate) storage_classes: HashMap<String, Arc<Object>>,
}

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
    pub(crate) fn pod(&self, key: &ObjectKey) -> Option<&PlacedPod> {
        let node = self.placed.get(key)?;
        match self.node(node) {
            Some(node) => node.pods.get(key),
            None => self.homeless.get(key),
        }
    }

    /// Notes that a pod is on its way out of its node.
    pub(crate) fn leaving(&mut self, key: &ObjectKey) {
        let node = self.placed.get(key).and_then(|name| self.index.get(name));
        let pods = match node {
            Some(at) => &mut self.nodes[*at].pods,
            None => &mut self.homeless,
        };
        if let Some(pod) = pods.get_mut(key) {
            pod.leaving = true;
        }
    }

    /// Adds a `PodDisruptionBudget` or takes its new state.
    pub fn put_budget(&mut self, object: &Object) {
        self.budgets.insert(ObjectKey::of(object), Budget::of(object));
    }

    /// Adds a node or takes its new state.
    pub fn put_node(&mut self, object: &Arc<Object>) {
        if let Some(at) = self.index.get(object.name()) {
            let node = &mut self.nodes[*at];
            if node.object.labels() == object.labels() {
                node.update(object);
                return;
            }
            self.company.forget_node(node);
            node.update(object);
            self.company.place_node(node);
            return;
        }
        let mut node = NodeInfo::new(object);
        let (placed, name) = (&self.placed, node.name.clone());
        let is_here = |key: &ObjectKey| placed.get(key).is_some_and(|place| *place == name);
        let here: Vec<_> = self.homeless.extract_if(|key, _| is_here(key)).collect();
        for (key, pod) in here {
            self.company.remember(&pod.ask, &mut self.nodes, &self.namespaces);
            node.add(&key, pod);
        }
        self.company.place_node(&mut node);
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
        self.company.forget_node(&node);
        for (key, _) in &node.nominees {
            self.nominated.remove(key);
        }
        self.homeless.extend(node.pods);
    }

    /// Adds a pod to a node, or takes its new state there.
    pub fn put_pod(&mut self, pod: &PodInfo, node: &Arc<str>) {
        self.remove_pod(&pod.key);
        self.remember_choices(pod);
        self.forget_nomination(&pod.key);
        self.put_back(&pod.key, PlacedPod::new(pod), node);
    }

    /// Puts a pod on a node, whose choices are remembered.
    pub(crate) fn put_back(&mut self, key: &ObjectKey, pod: PlacedPod, node: &Arc<str>) {
        *self.priorities.entry(pod.ask.priority).or_default() += 1;
        let node = match self.index.get(node) {
            Some(at) => {
                let node = &mut self.nodes[*at];
                self.company.come(&pod.ask, node);
                node.add(key, pod);
                node.name.clone()
            }
            None => {
                self.homeless.insert(key.clone(), pod);
                node.clone()
            }
        };
        self.placed.insert(key.clone(), node);
    }

    /// Removes a pod from its node, and gives the name of the node.
    pub fn remove_pod(&mut self, key: &ObjectKey) -> Option<Arc<str>> {
        let name = self.placed.remove(key)?;
        let pod = match self.index.get(&name) {
            Some(at) => {
                let node = &mut self.nodes[*at];
                let pod = node.remove(key);
                if let Some(pod) = &pod {
                    self.company.go(&pod.ask, node);
                }
                pod
            }
            None => self.homeless.remove(key),
        };
        if let Some(pod) = pod
            && let Some(count) = self.priorities.get_mut(&pod.ask.priority)
        {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&pod.ask.priority);
            }
        }
        Some(name)
    }

    /// Whether any pod on a node has a lower priority.
    pub(crate) fn has_pods_below(&self, priority: i64) -> bool {
        self.priorities
            .first_key_value()
            .is_some_and(|(lowest, _)| *lowest < priority)
    }

    /// Keeps the room of a pod on a node from pods of lower priority.
    pub fn nominate(&mut self, pod: &PodInfo, node: &str) {
        self.forget_nomination(&pod.key);
        if let Some(at) = self.index.get(node) {
            let node = &mut self.nodes[*at];
            node.nominees.push((pod.key.clone(), pod.ask.clone()));
            self.nominated.insert(pod.key.clone(), node.name.clone());
        }
    }

    /// The node on which room is being made for a pod.
    pub fn nominated_node(&self, pod: &ObjectKey) -> Option<&Arc<str>> {
        self.nominated.get(pod)
    }

    /// Takes back a nomination.
    pub fn forget_nomination(&mut self, pod: &ObjectKey) -> Option<Arc<str>> {
        let name = self.nominated.remove(pod)?;
        if let Some(at) = self.index.get(&name) {
            self.nodes[*at].nominees.retain(|(key, _)| key != pod);
        }
        Some(name)
    }

    /// The pods of lower priority for which room was made on a node: it is no longer theirs.
    pub(crate) fn nominees_below(&self, node: &str, priority: i64) -> Vec<ObjectKey> {
        let nominees = self.node(node).into_iter().flat_map(|node| &node.nominees);
        let lower = nominees.filter(|(_, ask)| ask.priority < priority);
        lower.map(|(key, _)| key.clone()).collect()
    }

    /// Takes the labels of a namespace, or `None` when it is gone.
    pub fn put_namespace(&mut self, name: &str, object: Option<&Object>) {
        let labels = object.map(|object| object.labels().cloned().unwrap_or_default());
        let same = self.namespaces.get(name) == labels.as_ref();
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        if !same && self.company.goes_by_namespaces() {
            self.company.recount(&mut self.nodes, &self.namespaces);
        }
    }

    /// Keeps the counts that placing this pod asks for, so that it and the next pod like it are placed without counting.
    pub fn remember_choices(&mut self, pod: &PodInfo) {
        self.company.remember(&pod.ask, &mut self.nodes, &self.namespaces);
    }

    /// Whether [`ClusterState::remember_choices`] has nothing to do for such a pod.
    pub(crate) fn remembers(&self, pod: &PodInfo) -> bool {
        self.company.remembers(&pod.ask)
    }
}
