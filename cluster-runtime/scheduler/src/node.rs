//! What the scheduler knows of a node: what it has and what is taken.

use std::collections::HashMap;
use std::sync::Arc;

use cluster_client::ObjectKey;
use cluster_objects::Object;
use serde_json::{Map, Value};

use crate::number::NumberMap;
use crate::pod::{Ask, HostPort, PodInfo};
use crate::resources::Resources;
use crate::taint::Taint;
use crate::topology::DomainId;

/// What the scheduler knows of a node.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its name.
    pub name: Arc<str>,
    /// The node itself.
    pub object: Arc<Object>,
    pub(crate) unschedulable: bool,
    pub(crate) taints: Vec<Taint>,
    pub(crate) allocatable: Resources,
    pub(crate) requested: Resources,
    pub(crate) scored: Resources,
    pub(crate) pods: HashMap<ObjectKey, PlacedPod>,
    pub(crate) ports: Vec<HostPort>,
    /// How many pods of each controller are here.
    pub(crate) by_controller: NumberMap<u64, u32>,
    /// The domain that it is in, for each topology that is known.
    pub(crate) domains: Vec<DomainId>,
    /// Pods for which room is being made here.
    pub(crate) nominees: Vec<(ObjectKey, Arc<Ask>)>,
}

/// A pod that is on a node: no more of it is kept than is looked at again.
#[derive(Clone, Debug)]
pub(crate) struct PlacedPod {
    pub(crate) uid: Arc<str>,
    pub(crate) ask: Arc<Ask>,
    /// Second since which it is there, as far as is known: of two alike the younger is driven away.
    pub(crate) since: i64,
    /// Whether it is on its way out.
    pub(crate) leaving: bool,
}

impl NodeInfo {
    pub(crate) fn new(object: &Arc<Object>) -> Self {
        let mut node = Self {
            name: object.name().into(),
            object: object.clone(),
            unschedulable: false,
            taints: Vec::new(),
            allocatable: Resources::default(),
            requested: Resources::default(),
            scored: Resources::default(),
            pods: HashMap::new(),
            ports: Vec::new(),
            by_controller: NumberMap::default(),
            domains: Vec::new(),
            nominees: Vec::new(),
        };
        node.update(object);
        node
    }

    /// Takes a new state of the node; what is taken on it stays.
    pub(crate) fn update(&mut self, object: &Arc<Object>) {
        self.unschedulable = object.at(&["spec", "unschedulable"]) == Some(&Value::Bool(true));
        let taints = object.list(&["spec", "taints"]).iter();
        self.taints = taints.filter_map(Taint::parse).collect();
        let allocatable = object.at(&["status", "allocatable"]).and_then(Value::as_object);
        self.allocatable = Resources::from_quantities(allocatable);
        self.object = object.clone();
    }

    /// Whether two states of a node are the same to the scheduler: heartbeats change neither.
    pub(crate) fn same(one: &Object, two: &Object) -> bool {
        let paths: [&[&str]; 4] = [
            &["metadata", "labels"],
            &["spec", "taints"],
            &["spec", "unschedulable"],
            &["status", "allocatable"],
        ];
        paths.iter().all(|path| one.at(path) == two.at(path))
    }

    pub(crate) fn labels(&self) -> Option<&Map<String, Value>> {
        self.object.labels()
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.object.label(key)
    }

    /// What each of its pods asks for.
    pub(crate) fn asks(&self) -> impl Iterator<Item = &Arc<Ask>> {
        self.pods.values().map(|pod| &pod.ask)
    }

    pub(crate) fn add(&mut self, key: &ObjectKey, pod: PlacedPod) {
        let ask = &pod.ask;
        self.requested.add(&ask.requests);
        self.scored.add(&ask.scored);
        self.ports.extend(ask.ports.iter().cloned());
        if let Some(controller) = ask.controller {
            *self.by_controller.entry(controller).or_default() += 1;
        }
        self.pods.insert(key.clone(), pod);
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<PlacedPod> {
        let pod = self.pods.remove(key)?;
        let ask = &pod.ask;
        self.requested.subtract(&ask.requests);
        self.scored.subtract(&ask.scored);
        for port in &ask.ports {
            if let Some(at) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(at);
            }
        }
        if let Some(controller) = ask.controller
            && let Some(count) = self.by_controller.get_mut(&controller)
        {
            *count -= 1;
            if *count == 0 {
                self.by_controller.remove(&controller);
            }
        }
        Some(pod)
    }
}

impl PlacedPod {
    pub(crate) fn new(pod: &PodInfo) -> Self {
        let time = |path: &[&str]| pod.object.text(path)?.parse::<jiff::Timestamp>().ok();
        let since = time(&["status", "startTime"]).or_else(|| time(&["metadata", "creationTimestamp"]));
        Self {
            uid: pod.object.uid().into(),
            ask: pod.ask.clone(),
            since: since.map_or(i64::MAX, jiff::Timestamp::as_second),
            leaving: pod.object.deletion_timestamp().is_some(),
        }
    }
}
