//! What runs on every machine of a cluster, server or agent: the network, the node, and its volumes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use cluster_client::{Api, Jitter};
use cluster_network::{Balancer, Network, NetworkConfig, Overlay};
use cluster_node::runtime::ShimCommand;
use cluster_node::{Heartbeat, LocalVolumes, LocalVolumesConfig, Node, NodeConfig, NodeHandle};
use tokio::sync::watch;

use crate::bootstrap::dns_address;
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings};
use crate::host;
use crate::options::ClusterOptions;
use crate::pki::authority_digest;
use crate::pod_network::NodeNetwork;
use crate::serve::ServeError;

/// The hidden command by which the program runs a container.
pub const SHIM_COMMAND: &str = "__shim";
/// Domain below which services have names.
pub(crate) const CLUSTER_DOMAIN: &str = "cluster.local";

/// The parts of a machine, in the order in which they were started.
pub(crate) struct Machine {
    pub(crate) network: Arc<Network>,
    pub(crate) node: NodeHandle,
    volumes: LocalVolumes,
}

/// How a machine works.
pub(crate) struct MachineConfig<'a> {
    pub(crate) dir: &'a ClusterDir,
    pub(crate) settings: &'a ClusterSettings,
    pub(crate) options: &'a ClusterOptions,
    pub(crate) program: PathBuf,
    /// Port at which servers reach the node's containers.
    pub(crate) endpoint_port: Option<u16>,
    pub(crate) jitter: Jitter,
    /// How often the node says that it lives.
    pub(crate) heartbeat: watch::Receiver<Heartbeat>,
    /// Where the node's agent works.
    pub(crate) place: String,
}

impl Machine {
    /// Starts the node on a network that is up.
    pub(crate) async fn start(
        config: MachineConfig<'_>,
        network: Arc<Network>,
        api: impl Fn(&str) -> Arc<dyn Api>,
    ) -> Result<Self, ServeError> {
        let node_config = node_config(&config, network.gateway());
        let pod_network = Arc::new(NodeNetwork(network.clone()));
        let node = Node::start(node_config, api("tug-node"), pod_network).await?;
        let volumes_config = LocalVolumesConfig {
            node: config.settings.node_name.clone(),
            root: config.dir.volumes(),
            jitter: config.jitter,
        };
        let volumes = LocalVolumes::start(api("tug-volumes"), volumes_config);
        Ok(Self {
            network,
            node,
            volumes,
        })
    }

    pub(crate) async fn stop(self, pods: StopPods) {
        self.volumes.stop().await;
        match pods {
            StopPods::Keep => self.node.stop().await,
            StopPods::Stop => self.node.stop_pods().await,
        }
        self.network.stop().await;
    }
}

/// Brings the network of a machine up.
pub(crate) async fn start_network(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    options: &ClusterOptions,
    api: Arc<dyn Api>,
) -> Result<Arc<Network>, ServeError> {
    let network = Arc::new(Network::start(network_config(dir, settings, options), api).await?);
    if network.balancer() == Balancer::UserSpace {
        tracing::warn!("no `nft`: services are balanced by a proxy, and pods reach only this host");
    }
    Ok(network)
}

/// How the network of a cluster is laid out.
pub(crate) fn network_config(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    options: &ClusterOptions,
) -> NetworkConfig {
    NetworkConfig {
        node: settings.node_name.clone(),
        bridge: settings.bridge.clone(),
        pod_subnet: settings.pod_subnet,
        service_subnet: settings.service_subnet,
        dns_address: dns_address(settings.service_subnet),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        upstream_dns: host::resolvers(),
        state_dir: dir.network(),
        nft: options.nft.clone(),
        overlay: settings.advertise_address.map(|address| Overlay {
            address,
            cluster_pods: settings.cluster_pods(),
            network: overlay_network(dir),
        }),
    }
}

/// The number of a cluster's network between nodes: its authority tells it, which no other cluster has.
fn overlay_network(dir: &ClusterDir) -> u32 {
    let authority = std::fs::read_to_string(dir.pki().join("ca.crt")).unwrap_or_default();
    let [a, b, c, ..] = authority_digest(&authority).unwrap_or([1; 32]);
    u32::from_be_bytes([0, a, b, c])
}

/// How the node of a machine works.
fn node_config(config: &MachineConfig<'_>, gateway: Ipv4Addr) -> NodeConfig {
    let MachineConfig { dir, settings, .. } = config;
    let address = settings.advertise_address.unwrap_or(gateway);
    NodeConfig {
        images: dir.images(),
        shim: ShimCommand {
            program: config.program.clone(),
            args: vec![SHIM_COMMAND.into()],
        },
        cgroup: cgroup(dir),
        addresses: vec![IpAddr::V4(address)],
        runtime: settings.runtime,
        engine: config.options.engine.clone(),
        eviction: config.options.eviction.clone().unwrap_or_default(),
        pod_cidr: Some(settings.pod_subnet.to_string()),
        endpoint_port: config.endpoint_port,
        heartbeat: config.heartbeat.clone(),
        jitter: config.jitter.clone(),
        place: Some(config.place.clone()),
        ..NodeConfig::new(&settings.node_name, dir.node())
    }
}

/// A control group for each data folder, so that two clusters on one host keep apart.
pub(crate) fn cgroup(dir: &ClusterDir) -> String {
    let path = dir.path().as_os_str().as_encoded_bytes();
    // FNV-1a: short, stable over versions, and not meant to withstand anybody.
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("/tug-{hash:016x}")
}
