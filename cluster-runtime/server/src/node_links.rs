//! The ways to the containers of other nodes, in step with the nodes of the API.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cluster_apiserver::NodeRegistry;
use cluster_client::{Api, Collection, Informer, InformerOptions};
use cluster_network::internal_address;
use cluster_objects::Object;
use rustls::ClientConfig;

use crate::node_link::RemoteNode;
use crate::task::Task;

/// Follows nodes and keeps a registry of them up to date; `own` is this machine's, which is reached in the process.
pub(crate) fn follow_nodes(
    api: Arc<dyn Api>,
    nodes: NodeRegistry,
    own: &str,
    tls: Arc<ClientConfig>,
) -> Task {
    let informer = Informer::start(api, Collection::all("v1", "nodes"), InformerOptions::default());
    Task::spawn(follow(informer, nodes, own.to_owned(), tls))
}

async fn follow(informer: Informer, registry: NodeRegistry, own: String, tls: Arc<ClientConfig>) {
    let mut changes = informer.changes();
    let mut known: HashMap<String, SocketAddr> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let nodes = informer.list();
        let others = nodes.iter().filter(|node| node.name() != own);
        let wanted: HashMap<String, SocketAddr> = others
            .filter_map(|node| Some((node.name().to_owned(), endpoint(node)?)))
            .collect();
        for name in known.keys().filter(|name| !wanted.contains_key(*name)) {
            registry.remove(name);
        }
        for (name, address) in &wanted {
            if known.get(name) != Some(address) {
                registry.register(name, Arc::new(RemoteNode::new(name, *address, tls.clone())));
            }
        }
        known = wanted;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Where a node says that its containers are reached.
fn endpoint(node: &Object) -> Option<SocketAddr> {
    let ip = internal_address(node)?;
    let port = node
        .at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"])?
        .as_u64()?;
    Some(SocketAddr::from((ip, u16::try_from(port).ok()?)))
}
