//! The nodes whose containers this server can reach.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use cluster_client::NodeStreams;
use cluster_objects::Status;

/// Node names and the way to each node's containers.
#[derive(Clone, Default)]
pub struct NodeRegistry {
    nodes: Arc<RwLock<HashMap<String, Arc<dyn NodeStreams>>>>,
}

impl NodeRegistry {
    /// Makes a node's containers reachable; a node of that name before it is replaced.
    pub fn register(&self, node: &str, streams: Arc<dyn NodeStreams>) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(node.to_owned(), streams);
    }

    /// Forgets a node.
    pub fn remove(&self, node: &str) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.remove(node);
    }

    /// All nodes that are connected.
    pub fn all(&self) -> Vec<(String, Arc<dyn NodeStreams>)> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes
            .iter()
            .map(|(name, node)| (name.clone(), Arc::clone(node)))
            .collect()
    }

    /// The way to a node's containers; 503 when the node is not connected.
    pub fn get(&self, node: &str) -> Result<Arc<dyn NodeStreams>, Status> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let found = nodes.get(node).map(Arc::clone);
        found.ok_or_else(|| Status::unavailable(format!("the node {node:?} is not connected to this server")))
    }
}
