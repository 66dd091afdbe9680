//! The parts of a server, wired to each other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_apiserver::{
    ApiServer, Definitions, Engine, EngineOptions, LocalApi, NodeRegistry, Rbac, ServiceRanges, TokenIssuer,
};
use cluster_client::Jitter;
use cluster_controllers::{Controllers, ControllersOptions};
use cluster_ingress::{IngressConfig, Ingresses};
use cluster_network::{Balancer, Network, NetworkConfig};
use cluster_node::runtime::ShimCommand;
use cluster_node::{LocalVolumes, LocalVolumesConfig, Node, NodeConfig, NodeHandle};
use cluster_scheduler::{Scheduler, SchedulerOptions};
use cluster_store::{RaftStore, RaftStoreConfig, Store};
use rustls::ServerConfig;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bootstrap::{api_service_address, dns_address, ensure_services, ensure_storage_class};
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings, write_private};
use crate::options::ClusterOptions;
use crate::pki::{Authority, PkiError, token_key};
use crate::pod_network::NodeNetwork;
use crate::serve::{ServeError, listen};
use crate::{host, kubeconfig};

/// The hidden command by which the program runs a container.
pub const SHIM_COMMAND: &str = "__shim";
/// Domain below which services have names.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Ports of this machine on which Ingresses are served.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// A start waits for those who first look at every object, but where there may be more than so many of them, only for
/// a moment: the API can be used meanwhile.
const FEW_OBJECTS: u64 = 10_000;
const MOMENT: Duration = Duration::from_millis(100);
/// In whose name tokens of service accounts are signed.
const TOKEN_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The parts of a running server, in the order in which they were started.
pub(crate) struct Parts {
    store: Arc<RaftStore>,
    definitions: Definitions,
    network: Arc<Network>,
    node: NodeHandle,
    volumes: LocalVolumes,
    ingresses: Ingresses,
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
        let now = OffsetDateTime::now_utc();
        let authority = Authority::open(&dir.pki(), now)?;
        let nodes = NodeRegistry::default();
        let store = Arc::new(RaftStore::open(RaftStoreConfig::new(dir.store())).await?);
        let issuer = TokenIssuer::new(&token_key(&dir.pki())?, TOKEN_ISSUER).map_err(PkiError::TokenKey)?;
        let options_of_engine = EngineOptions {
            authorizer: Box::new(Rbac::new(store.clone())),
            tokens: Some(issuer),
            ..engine_options(settings, &nodes)
        };
        let engine = Engine::new(store.clone(), options_of_engine);
        engine.bootstrap().await?;
        let jitter = Jitter::from_seed(seed(now));
        let definitions = Definitions::start(&engine, jitter.clone()).await?;
        let api = |agent: &str| Arc::new(LocalApi::new(engine.clone(), agent));

        let network_config = network_config(dir, settings, options);
        let network = Arc::new(Network::start(network_config, api("tug-network")).await?);
        if network.balancer() == Balancer::UserSpace {
            tracing::warn!("no `nft`: services are balanced by a proxy, and pods reach only this host");
        }
        let gateway = network.gateway();
        let services = settings.service_subnet;
        ensure_services(api("tug-server").as_ref(), services, gateway, settings.api_port).await?;
        ensure_storage_class(api("tug-server").as_ref()).await?;

        let mut node_config = node_config(dir, settings, program, gateway);
        node_config.engine.clone_from(&options.engine);
        let pod_network = Arc::new(NodeNetwork(network.clone()));
        let node = Node::start(node_config, api("tug-node"), pod_network).await?;
        nodes.register(&settings.node_name, Arc::new(node.clone()));

        let volumes_config = LocalVolumesConfig {
            node: settings.node_name.clone(),
            root: dir.volumes(),
            jitter: jitter.clone(),
        };
        let volumes = LocalVolumes::start(api("tug-volumes"), volumes_config);
        let outward = host::outward_address().unwrap_or(gateway);
        let ingress_config = IngressConfig {
            http_port: HTTP_PORT,
            https_port: HTTPS_PORT,
            address: outward.into(),
            jitter: jitter.clone(),
        };
        let ingresses = Ingresses::start(api("tug-ingress"), ingress_config);
        let controllers_options = ControllersOptions {
            root_certificate: Some(authority.certificate().to_owned()),
            load_balancer_address: Some(outward.into()),
            jitter: jitter.clone(),
            ..ControllersOptions::default()
        };
        let controllers = Controllers::start(api("tug-controllers"), controllers_options);
        let scheduler_options = SchedulerOptions {
            jitter,
            ..SchedulerOptions::default()
        };
        let scheduler = Scheduler::start(api("tug-scheduler"), scheduler_options);
        write_kubeconfig(dir, settings, &authority, now)?;
        let identity =
            authority.server(&server_names(settings), &server_addresses(settings, gateway), now)?;
        let mut listeners = vec![listener];
        // Pods call it at the node's end of their link.
        if ![Ipv4Addr::UNSPECIFIED, gateway].contains(&settings.api_address) {
            listeners.push(listen(SocketAddr::from((gateway, settings.api_port))).await?);
        }
        let api = ServedApi::start(&engine, listeners, &authority.tls(&identity)?);
        let caught_up = async {
            node.ready().await;
            controllers.ready().await;
            scheduler.ready().await;
        };
        // Each object took a revision at least.
        if store.revision().0 <= FEW_OBJECTS {
            caught_up.await;
        } else if timeout(MOMENT, caught_up).await.is_err() {
            tracing::info!("the API is served, controllers still look at what is there");
        }
        Ok(Self {
            store,
            definitions,
            network,
            node,
            volumes,
            ingresses,
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
        self.volumes.stop().await;
        self.ingresses.stop().await;
        match pods {
            StopPods::Keep => self.node.stop().await,
            StopPods::Stop => self.node.stop_pods().await,
        }
        self.network.stop().await;
        self.definitions.stop().await;
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
        node: settings.node_name.clone(),
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
        runtime: settings.runtime,
        pod_cidr: Some(settings.pod_subnet.to_string()),
        ..NodeConfig::new(&settings.node_name, dir.node())
    }
}

/// What the API is made of besides its store.
fn engine_options(settings: &ClusterSettings, nodes: &NodeRegistry) -> EngineOptions {
    EngineOptions {
        services: ServiceRanges {
            network: settings.service_subnet.base(),
            prefix: settings.service_subnet.prefix(),
            ..ServiceRanges::default()
        },
        nodes: nodes.clone(),
        ..EngineOptions::default()
    }
}

/// Writes the file by which the administrator finds the API.
fn write_kubeconfig(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    authority: &Authority,
    now: OffsetDateTime,
) -> Result<(), ServeError> {
    let address = SocketAddr::from((settings.api_address, settings.api_port));
    let url = format!("https://{address}");
    let text = kubeconfig::kubeconfig(&url, authority.certificate(), &authority.administrator(now)?);
    let path = dir.kubeconfig();
    write_private(&path, text.as_bytes()).map_err(|source| ServeError::File { path, source })
}

/// Another one at each start: the waits of several servers must not keep step.
fn seed(now: OffsetDateTime) -> u64 {
    u64::from(now.nanosecond()) ^ (u64::from(std::process::id()) << 32)
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
