//! The ways to the containers of other nodes, in step with the nodes of the API.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cluster_apiserver::NodeRegistry;
use cluster_client::{Api, Collection, Informer, InformerOptions};
use cluster_objects::Object;
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::node_link::RemoteNode;

/// Keeps a registry of nodes up to date.
pub(crate) struct NodeLinks {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl NodeLinks {
    /// Follows nodes; `own` is this machine's, which is reached in the process.
    pub(crate) fn start(api: Arc<dyn Api>, nodes: NodeRegistry, own: &str, tls: Arc<ClientConfig>) -> Self {
        let informer = Informer::start(api, Collection::all("v1", "nodes"), InformerOptions::default());
        let stop = CancellationToken::new();
        let following = follow(informer, nodes, own.to_owned(), tls);
        let following = stop.clone().run_until_cancelled_owned(following);
        let task = tokio::spawn(async move { _ = following.await });
        Self { task, stop }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A task that panicked has nothing left to wait for.
        let _ = self.task.await;
    }
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
    let addresses = node.list(&["status", "addresses"]).iter();
    let mut internal = addresses.filter(|address| address["type"] == "InternalIP");
    let ip = internal.find_map(|address| address["address"].as_str()?.parse().ok())?;
    let port = node
        .at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"])?
        .as_u64()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}
