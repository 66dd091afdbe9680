//! The seam to a network: what gives a sandbox its addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use async_trait::async_trait;
use cluster_objects::Object;

/// Links sandboxes to a network.
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Links a pod's network namespace and gives its addresses. A pod that is linked keeps them, whoever linked it:
    /// an agent that comes back asks again for every pod that it finds.
    async fn attach(
        &self,
        pod_uid: &str,
        netns: &Path,
        host_ports: &[HostPort],
    ) -> Result<PodAddress, NetworkFailure>;

    /// Takes a pod off the network and gives its addresses free. A pod that is not linked is no error.
    async fn detach(&self, pod_uid: &str) -> Result<(), NetworkFailure>;

    /// Takes every other pod off the network: what was left by an agent that ended.
    async fn retain(&self, pod_uids: &[&str]) -> Result<(), NetworkFailure>;

    /// The `/etc/resolv.conf` of a pod with the DNS policy `ClusterFirst`.
    fn resolv_conf(&self, pod: &Object) -> String;
}

/// The addresses of a pod, the main one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// At least one address.
    pub ips: Vec<IpAddr>,
}

/// A port of the machine that leads to a port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Address of the machine; absent for all.
    pub host_ip: Option<IpAddr>,
    /// Port of the machine.
    pub host_port: u16,
    /// Port of the pod.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// Why a pod could not be linked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NetworkFailure(pub String);

/// No network but each pod's own loopback device, which the runtime has raised: for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopbackNetwork;

#[async_trait]
impl PodNetwork for LoopbackNetwork {
    async fn attach(
        &self,
        _pod_uid: &str,
        _netns: &Path,
        host_ports: &[HostPort],
    ) -> Result<PodAddress, NetworkFailure> {
        match host_ports {
            [] => Ok(PodAddress {
                ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            }),
            [port, ..] => Err(NetworkFailure(format!(
                "no port {} of the machine here",
                port.host_port
            ))),
        }
    }

    async fn detach(&self, _pod_uid: &str) -> Result<(), NetworkFailure> {
        Ok(())
    }

    async fn retain(&self, _pod_uids: &[&str]) -> Result<(), NetworkFailure> {
        Ok(())
    }

    fn resolv_conf(&self, _pod: &Object) -> String {
        "nameserver 127.0.0.1\n".to_owned()
    }
}
