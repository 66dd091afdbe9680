//! The parts of a server, wired to each other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use cluster_apiserver::{ApiServer, Engine, EngineOptions, LocalApi, NodeRegistry, ServiceRanges};
use cluster_controllers::{Controllers, ControllersOptions};
use cluster_network::{Balancer, Network, NetworkConfig};
use cluster_node::runtime::ShimCommand;
use cluster_node::{Node, NodeConfig, NodeHandle};
use cluster_scheduler::{Scheduler, SchedulerOptions};
use cluster_store::{RaftStore, RaftStoreConfig};
use rustls::ServerConfig;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bootstrap::{api_service_address, dns_address, ensure_services};
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings, write_private};
use crate::options::ClusterOptions;
use crate::pki::Authority;
use crate::pod_network::NodeNetwork;
use crate::serve::{ServeError, listen};
use crate::{host, kubeconfig};

/// The hidden command by which the program runs a container.
pub const SHIM_COMMAND: &str = "__shim";
/// Domain below which services have names.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// The parts of a running server, in the order in which they were started.
pub(crate) struct Parts {
    store: Arc<RaftStore>,
    network: Arc<Network>,
    node: NodeHandle,
    controllers: Controllers,
    scheduler: Scheduler,
    api: ServedApi,
}

/// The API at its addresses.
struct ServedApi {
    shutdown: CancellationToken,
    servers: JoinSet<io::Result<()>>,
}

impl Parts {
    /// Starts every part; the API is served when this returns.
    pub(crate) async fn start(
        dir: &ClusterDir,
        settings: &ClusterSettings,
        options: &ClusterOptions,
        listener: TcpListener,
        program: PathBuf,
    ) -> Result<Self, ServeError> {
        let nodes = NodeRegistry::default();
        let engine_options = EngineOptions {
            services: ServiceRanges {
                network: settings.service_subnet.base(),
                prefix: settings.service_subnet.prefix(),
                ..ServiceRanges::default()
            },
            nodes: nodes.clone(),
            ..EngineOptions::default()
        };
        let store = Arc::new(RaftStore::open(RaftStoreConfig::new(dir.store())).await?);
        let engine = Engine::new(store.clone(), engine_options);
        engine.bootstrap().await?;
        let api = |agent: &str| Arc::new(LocalApi::new(engine.clone(), agent));

        let network_config = network_config(dir, settings, options);
        let network = Arc::new(Network::start(network_config, api("tug-network")).await?);
        if network.balancer() == Balancer::UserSpace {
            tracing::warn!(
                "`nft` is not installed: services are balanced by a proxy, and pods reach only this host"
            );
        }
        let gateway = network.gateway();
        let server_api = api("tug-server");
        ensure_services(
            server_api.as_ref(),
            settings.service_subnet,
            gateway,
            settings.api_port,
        )
        .await?;
        let node_config = node_config(dir, settings, program, gateway);
        let pod_network = Arc::new(NodeNetwork(network.clone()));
        let node = Node::start(node_config, api("tug-node"), pod_network).await?;
        nodes.register(&settings.node_name, Arc::new(node.clone()));
        let controllers = Controllers::start(api("tug-controllers"), ControllersOptions::default());
        let scheduler = Scheduler::start(api("tug-scheduler"), SchedulerOptions::default());
        node.ready().await;
        controllers.ready().await;
        scheduler.ready().await;

        let now = OffsetDateTime::now_utc();
        let authority = Authority::open(&dir.pki(), now)?;
        let identity =
            authority.server(&server_names(settings), &server_addresses(settings, gateway), now)?;
        let tls = authority.tls(&identity)?;
        let address = SocketAddr::from((settings.api_address, settings.api_port));
        let text = kubeconfig::kubeconfig(
            &format!("https://{address}"),
            authority.certificate(),
            &authority.administrator(now)?,
        );
        let path = dir.kubeconfig();
        write_private(&path, text.as_bytes()).map_err(|source| ServeError::File { path, source })?;
        let mut listeners = vec![listener];
        // Pods call it at the node's end of their link.
        let addressed = [Ipv4Addr::UNSPECIFIED, gateway].contains(&settings.api_address);
        if !addressed {
            listeners.push(listen(SocketAddr::from((gateway, settings.api_port))).await?);
        }
        let api = ServedApi::start(&engine, listeners, &tls);
        Ok(Self {
            store,
            network,
            node,
            controllers,
            scheduler,
            api,
        })
    }

    /// Stops every part, the last started first.
    pub(crate) async fn stop(self, pods: StopPods) {
        self.api.stop().await;
        self.scheduler.stop().await;
        self.controllers.stop().await;
        match pods {
            StopPods::Keep => self.node.stop().await,
            StopPods::Stop => self.node.stop_pods().await,
        }
        self.network.stop().await;
        self.store.shutdown().await;
    }
}

impl ServedApi {
    fn start(engine: &Engine, listeners: Vec<TcpListener>, tls: &ServerConfig) -> Self {
        let shutdown = CancellationToken::new();
        let mut servers = JoinSet::new();
        for listener in listeners {
            servers.spawn(ApiServer::new(engine.clone()).serve(listener, tls.clone(), shutdown.clone()));
        }
        Self { shutdown, servers }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        for error in self.servers.join_all().await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "the API had failed");
        }
    }
}

/// How the network of a cluster is laid out.
pub(crate) fn network_config(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    options: &ClusterOptions,
) -> NetworkConfig {
    NetworkConfig {
        bridge: settings.bridge.clone(),
        pod_subnet: settings.pod_subnet,
        service_subnet: settings.service_subnet,
        dns_address: dns_address(settings.service_subnet),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        upstream_dns: host::resolvers(),
        state_dir: dir.network(),
        nft: options.nft.clone(),
    }
}

/// How the node of a cluster works.
fn node_config(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    program: PathBuf,
    gateway: Ipv4Addr,
) -> NodeConfig {
    NodeConfig {
        images: dir.images(),
        shim: ShimCommand {
            program,
            args: vec![SHIM_COMMAND.into()],
        },
        cgroup: cgroup(dir),
        addresses: vec![IpAddr::V4(gateway)],
        pod_cidr: Some(settings.pod_subnet.to_string()),
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

/// The names by which the API is called, from outside and from pods.
fn server_names(settings: &ClusterSettings) -> Vec<String> {
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let full = format!("kubernetes.default.svc.{CLUSTER_DOMAIN}");
    service
        .into_iter()
        .chain([full, "localhost".to_owned(), settings.node_name.clone()])
        .collect()
}

/// The addresses by which the API is called.
fn server_addresses(settings: &ClusterSettings, gateway: Ipv4Addr) -> Vec<IpAddr> {
    let service = api_service_address(settings.service_subnet);
    [Ipv4Addr::LOCALHOST, settings.api_address, service, gateway]
        .map(IpAddr::V4)
        .to_vec()
}
