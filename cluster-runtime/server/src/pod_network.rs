//! The node's network as the node agent uses it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_network::{ForwardedPort, Network, NetworkError, Protocol};
use cluster_node::{HostPort, NetworkFailure, PodAddress, PodNetwork};
use cluster_objects::Object;

/// Links pods through the node's network.
pub(crate) struct NodeNetwork(pub(crate) Arc<Network>);

fn failure(error: &NetworkError) -> NetworkFailure {
    NetworkFailure(crate::serve::describe(error))
}

#[async_trait]
impl PodNetwork for NodeNetwork {
    async fn attach(
        &self,
        pod_uid: &str,
        netns: &Path,
        host_ports: &[HostPort],
    ) -> Result<PodAddress, NetworkFailure> {
        let ports: Vec<ForwardedPort> = host_ports
            .iter()
            .map(forwarded)
            .collect::<Result<_, NetworkFailure>>()?;
        let address = self
            .0
            .attach(pod_uid, netns)
            .await
            .map_err(|error| failure(&error))?;
        self.0
            .forward(pod_uid, address.ip, &ports)
            .await
            .map_err(|error| failure(&error))?;
        Ok(PodAddress {
            ips: vec![IpAddr::V4(address.ip)],
        })
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), NetworkFailure> {
        self.0.detach(pod_uid).await.map_err(|error| failure(&error))
    }

    async fn retain(&self, pod_uids: &[&str]) -> Result<(), NetworkFailure> {
        self.0.retain(pod_uids).await.map_err(|error| failure(&error))
    }

    fn resolv_conf(&self, pod: &Object) -> String {
        self.0.resolv_conf(pod)
    }
}

fn forwarded(port: &HostPort) -> Result<ForwardedPort, NetworkFailure> {
    let unsupported =
        |what: &str| NetworkFailure(format!("host port {}: {what} is not supported", port.host_port));
    let protocol = match port.protocol.as_str() {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => return Err(unsupported(other)),
    };
    let address = match port.host_ip {
        None => None,
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) => return Err(unsupported("IPv6")),
    };
    Ok(ForwardedPort {
        address,
        port: port.host_port,
        protocol,
        pod_port: port.container_port,
    })
}
