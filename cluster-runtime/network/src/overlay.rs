//! The way to the pods of other nodes: one VXLAN link (RFC 7348), and routes that follow the nodes of the API.
//!
//! Each node's end of the link has the first address of the node's pods, and a hardware address that its own address
//! tells; so whoever knows a node's address and subnet knows how to reach its pods, and nothing is learned or flooded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cluster_client::{Api, Collection, Informer, InformerOptions};
use cluster_objects::Object;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::link::{LinkError, Links, gateway};
use crate::{NetworkConfig, Subnet};

/// UDP port of the tunnel: that of Linux, which other VXLAN networks of Kubernetes use as well.
pub(crate) const VXLAN_PORT: u16 = 8472;

/// How a node is part of a network of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Address at which other nodes reach this one.
    pub address: Ipv4Addr,
    /// Addresses of all pods of the cluster.
    pub cluster_pods: Subnet,
    /// Number of the network (24 bits): the same on all nodes of a cluster, and another for another cluster.
    pub network: u32,
}

/// Another node, and where its pods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) address: Ipv4Addr,
    pub(crate) pods: Subnet,
}

impl Remote {
    /// The node's end of the tunnel, as an address.
    pub(crate) fn tunnel_address(self) -> Ipv4Addr {
        self.pods.base()
    }

    /// The same, in hardware.
    pub(crate) fn hardware_address(self) -> [u8; 6] {
        hardware_address(self.address)
    }
}

/// The hardware address of a node's end: locally administered, with the node's own address in it.
pub(crate) fn hardware_address(node: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = node.octets();
    [0x0a, 0x74, a, b, c, d]
}

/// Name of the link: the bridge's letters, so that it is known as ours.
pub(crate) fn link_name(bridge: &str) -> String {
    let letters: String = bridge.chars().take(11).collect();
    format!("{letters}.vx")
}

/// The nodes to which there has to be a way.
pub(crate) fn remotes(own: &str, overlay: &Overlay, nodes: &[Arc<Object>]) -> BTreeMap<String, Remote> {
    let remote = |node: &Arc<Object>| {
        let pods: Subnet = node.text(&["spec", "podCIDR"])?.parse().ok()?;
        let address = internal_address(node)?;
        let is_other = node.name() != own && address != overlay.address;
        is_other.then(|| (node.name().to_owned(), Remote { address, pods }))
    };
    nodes.iter().filter_map(remote).collect()
}

/// The address at which other machines reach a node, as its object says.
pub fn internal_address(node: &Object) -> Option<Ipv4Addr> {
    let addresses = node.list(&["status", "addresses"]).iter();
    let mut internal = addresses.filter(|address| address["type"] == "InternalIP");
    internal.find_map(|address| address["address"].as_str()?.parse().ok())
}

/// Keeps the ways to other nodes in step with the API.
pub(crate) struct OverlayRoutes {
    task: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
}

impl OverlayRoutes {
    pub(crate) fn start(
        overlay: Overlay,
        config: NetworkConfig,
        api: Arc<dyn Api>,
    ) -> Result<Self, LinkError> {
        let links = Links::connect(&config.bridge)?;
        let nodes = Informer::start(api, Collection::all("v1", "nodes"), InformerOptions::default());
        let stop = CancellationToken::new();
        let following = follow(overlay, config, links, nodes);
        let task = tokio::spawn(stop.clone().run_until_cancelled_owned(following));
        Ok(Self {
            task: Mutex::new(Some(tokio::spawn(async move { _ = task.await }))),
            stop,
        })
    }

    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            // A task that panicked has nothing left to wait for.
            let _ = task.await;
        }
    }
}

async fn follow(overlay: Overlay, config: NetworkConfig, links: Links, nodes: Informer) {
    nodes.synced().await;
    let mut changes = nodes.changes();
    let mut known = BTreeMap::new();
    // What an earlier process has set is set again: what is there already stays.
    loop {
        changes.mark_unchanged();
        let wanted = remotes(&config.node, &overlay, &nodes.list());
        if wanted != known {
            match apply(&overlay, &config, &links, &known, &wanted).await {
                Ok(()) => known = wanted,
                Err(error) => tracing::error!(%error, "pods of other nodes cannot be reached"),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn apply(
    overlay: &Overlay,
    config: &NetworkConfig,
    links: &Links,
    known: &BTreeMap<String, Remote>,
    wanted: &BTreeMap<String, Remote>,
) -> Result<(), LinkError> {
    if wanted.is_empty() && known.is_empty() {
        return Ok(());
    }
    let name = link_name(&config.bridge);
    let link = links.ensure_tunnel(&name, overlay, config.pod_subnet).await?;
    for remote in known
        .iter()
        .filter(|(node, remote)| wanted.get(*node) != Some(remote))
    {
        links.remove_remote(link, *remote.1).await?;
    }
    for (node, remote) in wanted {
        if known.get(node) != Some(remote) {
            tracing::info!(node, address = %remote.address, pods = %remote.pods, "a way to the pods of another node");
            links
                .add_remote(link, *remote, gateway(config.pod_subnet))
                .await?;
        }
    }
    Ok(())
}

/// An address as the kernel's messages have it.
pub(crate) fn ip(address: Ipv4Addr) -> IpAddr {
    IpAddr::V4(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, address: &str, pods: &str) -> Arc<Object> {
        let value = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": pods},
            "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]},
        });
        Arc::new(Object::from_value(value).unwrap())
    }

    #[test]
    fn ways_lead_to_every_other_node_that_says_where_it_is() {
        let overlay = Overlay {
            address: "192.0.2.1".parse().unwrap(),
            cluster_pods: "10.42.0.0/16".parse().unwrap(),
            network: 7,
        };
        let mut silent = Object::clone(&node("d", "192.0.2.4", "10.42.3.0/24"));
        silent.set(&["status"], json!({}));
        let nodes = [
            node("a", "192.0.2.1", "10.42.0.0/24"),
            node("b", "192.0.2.2", "10.42.1.0/24"),
            node("c", "192.0.2.3", ""),
            Arc::new(silent),
        ];
        let found = remotes("a", &overlay, &nodes);
        let remote = found["b"];
        assert_eq!(found.len(), 1);
        assert_eq!(remote.tunnel_address().to_string(), "10.42.1.0");
        assert_eq!(remote.hardware_address(), [0x0a, 0x74, 192, 0, 2, 2]);
        assert_eq!(link_name("tug0"), "tug0.vx");
        assert!(link_name("a-very-long-name").len() <= 15);
    }
}
