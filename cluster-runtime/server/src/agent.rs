//! The parts of an agent: a machine that runs pods, and knows of the cluster what servers tell it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_apiserver::{Protocol, User};
use cluster_client::http::{HttpApi, HttpConfig};
use cluster_client::{Api, Collection, Informer, InformerOptions, Jitter};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::ask::{AskError, ask};
use crate::bootstrap::API_SERVICE;
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings, write_private};
use crate::machine::{Machine, MachineConfig, start_network};
use crate::message::{Reply, Request};
use crate::node_link::NodeService;
use crate::options::ClusterOptions;
use crate::parts::seed;
use crate::pki::{Identity, read_node, request_certificate, write_node};
use crate::serve::ServeError;
use crate::server_list::{ServerList, ServerProxy};
use crate::task::Task;
use crate::{kubeconfig, message, node_link, tls};

/// Time for a server to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a server to give another certificate: a start must not wait for long where none answers.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The parts of a running agent.
pub(crate) struct AgentParts {
    proxy: ServerProxy,
    refreshing: Task,
    machine: Machine,
    node: Task,
    api: Arc<dyn Api>,
}

impl AgentParts {
    /// Starts every part; `listener` is where servers reach the node.
    pub(crate) async fn start(
        dir: &ClusterDir,
        settings: &ClusterSettings,
        options: &ClusterOptions,
        listener: TcpListener,
        program: PathBuf,
    ) -> Result<Self, ServeError> {
        let (authority, identity) = read_node(&dir.pki())?;
        let identity = renewed(dir, settings, &authority, identity).await?;
        let client = Arc::new(tls::client(&authority, &identity, message::PROTOCOL)?);
        let servers = Arc::new(ServerList::new(settings.servers.clone()));
        let proxy = ServerProxy::start(servers.clone(), client).await?;
        let url = format!("https://{}", proxy.address);
        let path = dir.own_kubeconfig();
        let text = kubeconfig::kubeconfig(&url, &authority, &identity, Some(tls::SERVER_NAME));
        write_private(&path, text.as_bytes()).map_err(|source| ServeError::File {
            path: path.clone(),
            source,
        })?;
        let config = HttpConfig {
            kubeconfigs: vec![path],
            ..HttpConfig::default()
        };
        let api: Arc<dyn Api> = Arc::new(HttpApi::connect(&config).await?);
        let refreshing = Task::spawn(refresh(dir.clone(), settings.clone(), servers, api.clone()));

        let network = start_network(dir, settings, options, api.clone()).await?;
        let port = listener.local_addr()?.port();
        let machine_config = MachineConfig {
            dir,
            settings,
            options,
            program,
            endpoint_port: Some(port),
            jitter: Jitter::from_seed(seed(OffsetDateTime::now_utc())),
        };
        let machine = Machine::start(machine_config, network, |_| api.clone()).await?;
        let service = Arc::new(NodeService::default());
        service.set(Arc::new(machine.node.clone()));
        let mut server_tls = tls::server(&authority, &identity)?;
        server_tls.alpn_protocols = vec![node_link::PROTOCOL.into()];
        let acceptor = TlsAcceptor::from(Arc::new(server_tls));
        let node = Task::spawn(serve_node(listener, acceptor, service));
        machine.node.ready().await;
        Ok(Self {
            proxy,
            refreshing,
            machine,
            node,
            api,
        })
    }

    /// The API, for one who looks on.
    pub(crate) fn api(&self) -> Arc<dyn Api> {
        self.api.clone()
    }

    /// Stops every part, the last started first.
    pub(crate) async fn stop(self, pods: StopPods) {
        self.node.stop().await;
        self.machine.stop(pods).await;
        self.refreshing.stop().await;
        self.proxy.stop().await;
    }
}

/// Another certificate for a year from now, as servers make theirs at each start; the one that is there does while no
/// server answers.
async fn renewed(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    authority: &str,
    identity: Identity,
) -> Result<Identity, ServeError> {
    let Some(address) = settings.advertise_address else {
        return Ok(identity);
    };
    let client = Arc::new(tls::client(authority, &identity, message::PROTOCOL)?);
    let (key, request) = request_certificate()?;
    let request = Request::Renew {
        request,
        address: address.into(),
    };
    let certificate = match timeout(RENEWAL_TIMEOUT, ask(&client, &settings.servers, &request)).await {
        Ok(Ok(Reply::Certificate { certificate })) => certificate,
        Ok(Err(AskError::Refused(refusal))) => {
            tracing::warn!(%refusal, "the certificate of the node is not renewed");
            return Ok(identity);
        }
        _ => return Ok(identity),
    };
    let identity = Identity { certificate, key };
    write_node(&dir.pki(), authority, &identity)?;
    Ok(identity)
}

/// Keeps the list of servers as the cluster has it, in memory and for the next start.
async fn refresh(
    dir: ClusterDir,
    mut settings: ClusterSettings,
    servers: Arc<ServerList>,
    api: Arc<dyn Api>,
) {
    let slices = Collection::namespaced("discovery.k8s.io/v1", "endpointslices", "default");
    let options = InformerOptions {
        field_selector: format!("metadata.name={API_SERVICE}"),
        ..InformerOptions::default()
    };
    let slices = Informer::start(api, slices, options);
    slices.synced().await;
    let mut changes = slices.changes();
    loop {
        changes.mark_unchanged();
        if let Some(slice) = slices.get("default", API_SERVICE) {
            let port = slice
                .list(&["ports"])
                .first()
                .and_then(|port| port["port"].as_u64());
            let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
            let addresses = slice.list(&["endpoints"]).iter().filter_map(|endpoint| {
                let address = endpoint["addresses"][0].as_str()?.parse().ok()?;
                Some(SocketAddr::new(address, port))
            });
            let addresses: Vec<SocketAddr> = addresses.collect();
            if servers.replace(&addresses) && !addresses.is_empty() {
                tracing::info!(?addresses, "the servers of the cluster");
                settings.servers = addresses;
                if let Err(error) = dir.save_settings(&settings) {
                    tracing::warn!(%error, "the list of servers cannot be kept");
                }
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Takes calls of servers to this node's containers.
async fn serve_node(listener: TcpListener, acceptor: TlsAcceptor, service: Arc<NodeService>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, service) = (acceptor.clone(), service.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else {
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let user = certificates.and_then(|shown| User::of_certificate(shown.first()?));
            service.serve(Box::new(stream), user.as_ref()).await;
        });
    }
}
