//! What the scheduler knows of a node: what it has and what is taken.

use std::collections::HashMap;
use std::sync::Arc;

use cluster_client::ObjectKey;
use cluster_objects::Object;
use serde_json::{Map, Value};

use crate::pod::{HostPort, PodInfo};
use crate::resources::Resources;
use crate::taint::Taint;

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
    pub(crate) pods: HashMap<ObjectKey, Arc<PodInfo>>,
    pub(crate) ports: Vec<HostPort>,
    /// How many pods of each controller are here.
    pub(crate) by_controller: HashMap<Arc<str>, u32>,
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
            by_controller: HashMap::new(),
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

    /// The value of a topology key; `None` where the node has no such label.
    pub(crate) fn topology(&self, key: &str) -> Option<&str> {
        self.object.label(key)
    }

    pub(crate) fn add(&mut self, pod: &Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scored.add(&pod.scored);
        self.ports.extend(pod.ports.iter().cloned());
        if let Some(controller) = &pod.controller {
            *self.by_controller.entry(controller.clone()).or_default() += 1;
        }
        self.pods.insert(pod.key.clone(), pod.clone());
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.requested.subtract(&pod.requests);
        self.scored.subtract(&pod.scored);
        for port in &pod.ports {
            if let Some(at) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(at);
            }
        }
        if let Some(controller) = &pod.controller
            && let Some(count) = self.by_controller.get_mut(controller)
        {
            *count -= 1;
            if *count == 0 {
                self.by_controller.remove(controller);
            }
        }
        Some(pod)
    }
}
