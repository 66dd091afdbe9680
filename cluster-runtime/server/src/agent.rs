//! The parts of an agent: a machine that runs pods, and knows of the cluster what servers tell it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_apiserver::{Protocol, User};
use cluster_client::{Api, Clock, Jitter};
use cluster_node::{NodeError, claim};
use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::ask::{AskError, ask};
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings, write_private};
use crate::machine::{Machine, MachineConfig, start_network};
use crate::message::{Reply, Request};
use crate::node_link::NodeService;
use crate::node_metrics::NodeMetrics;
use crate::options::ClusterOptions;
use crate::own_api::{OwnApi, RemoteApi};
use crate::parts::seed;
use crate::pki::{Identity, read_node, request_certificate, write_node};
use crate::renewal::{Made, keep_renewed};
use crate::serve::ServeError;
use crate::server_list::{ServerList, ServerProxy, follow_servers};
use crate::task::Task;
use crate::timing::{Timing, TimingWatch};
use crate::tls::Credentials;
use crate::{kubeconfig, message, node_link, node_metrics, tls};

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
    renewing: Task,
    times: TimingWatch,
    dir: ClusterDir,
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
        // A server would refuse it as well, but its word may be lost with the connection.
        if !tls::is_signed_by(&authority, &identity)? {
            return Err(ServeError::MixedFolder {
                folder: dir.path().to_owned(),
            });
        }
        let servers = Arc::new(ServerList::new(settings.servers.clone()));
        let credentials = Credentials::new(&authority, &identity)?;
        let client = Arc::new(tls::client(&authority, &credentials, message::PROTOCOL)?);
        let proxy = ServerProxy::start(servers.clone(), client.clone()).await?;
        let remote = Arc::new(RemoteApi::new(dir.own_kubeconfig()));
        let renewing = Arc::new(Renewing {
            dir: dir.clone(),
            settings: settings.clone(),
            authority: authority.clone(),
            credentials: credentials.clone(),
            servers: servers.clone(),
            client,
            entrance: format!("https://{}", proxy.address),
            remote: remote.clone(),
        });
        renewing.enter(&identity)?;
        // As servers make theirs at each start; the one that is there does while no server answers.
        let made = renewing.renew().await?.map(|life| Made {
            at: OffsetDateTime::now_utc(),
            life,
        });
        remote.connect().await?;
        let api = OwnApi::of_agent(remote);
        let times = TimingWatch::start(api.clone());
        times.known().await;
        let place = dir.place()?;
        let heartbeat = *times.heartbeat.borrow();
        let claimed = claim(&*api, &settings.node_name, &place, heartbeat, &Clock::system()).await;
        claimed.map_err(|error| match error {
            NodeError::Superseded { by, .. } => ServeError::Superseded {
                folder: dir.path().to_owned(),
                by,
            },
            error => error.into(),
        })?;
        let renew = move || {
            let renewing = renewing.clone();
            async move {
                renewing.renew().await.unwrap_or_else(|error| {
                    let error = crate::serve::describe(&error);
                    tracing::warn!(error, "the certificate of the node cannot be made anew");
                    None
                })
            }
        };
        let validity = times.validity.clone();
        let renewing = Task::spawn(keep_renewed(made, validity, OffsetDateTime::now_utc, renew));
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
            heartbeat: times.heartbeat.clone(),
            place,
        };
        let machine = Machine::start(machine_config, network, |_| api.clone()).await?;
        let service = Arc::new(NodeService::default());
        service.set(Arc::new(machine.node.clone()));
        let metrics = NodeMetrics::new(&settings.node_name, machine.node.clone(), api.clone());
        let mut server_tls = tls::server(&authority, &credentials)?;
        server_tls.alpn_protocols = vec![node_link::PROTOCOL.into(), node_metrics::PROTOCOL.into()];
        let acceptor = TlsAcceptor::from(Arc::new(server_tls));
        let node = Task::spawn(serve_node(listener, acceptor, service, Arc::new(metrics)));
        machine.node.ready().await;
        Ok(Self {
            proxy,
            refreshing,
            machine,
            node,
            renewing,
            times,
            dir: dir.clone(),
            api,
        })
    }

    /// Waits until this agent cannot go on: another one goes by its name.
    pub(crate) async fn failed(&self) -> ServeError {
        ServeError::Superseded {
            by: self.machine.node.superseded().await,
            folder: self.dir.path().to_owned(),
        }
    }

    /// The API, for one who looks on.
    pub(crate) fn api(&self) -> Arc<dyn Api> {
        self.api.clone()
    }

    /// Stops every part, the last started first.
    pub(crate) async fn stop(self, pods: StopPods) {
        self.renewing.stop().await;
        self.times.stop().await;
        self.node.stop().await;
        self.machine.stop(pods).await;
        self.refreshing.stop().await;
        self.proxy.stop().await;
    }
}

/// What an agent needs to get another certificate.
struct Renewing {
    dir: ClusterDir,
    settings: ClusterSettings,
    authority: String,
    credentials: Arc<Credentials>,
    servers: Arc<ServerList>,
    client: Arc<ClientConfig>,
    /// Where this machine's parts enter the API.
    entrance: String,
    remote: Arc<RemoteApi>,
}

impl Renewing {
    /// Asks for another certificate and uses it; gives for how long it is good, or nothing where none is to be had at this
    /// time.
    ///
    /// # Errors
    /// A server that answers is none of the cluster that this machine belongs to, or takes it for none of its own.
    async fn renew(&self) -> Result<Option<Duration>, ServeError> {
        let Some(address) = self.settings.advertise_address else {
            return Ok(None);
        };
        let (key, request) = request_certificate()?;
        let request = Request::Renew {
            request,
            address: address.into(),
        };
        let servers = self.servers.all();
        let (certificate, seconds) =
            match timeout(RENEWAL_TIMEOUT, ask(&self.client, &servers, &request)).await {
                Ok(Ok(Reply::Certificate { certificate, seconds })) => (certificate, seconds),
                Ok(Err(AskError::Refused(refusal))) => {
                    tracing::warn!(%refusal, "the certificate of the node is not renewed");
                    return Ok(None);
                }
                Ok(Err(AskError::Unreachable { address, source })) if is_of_another_cluster(&source) => {
                    return Err(ServeError::OtherCluster {
                        server: address,
                        folder: self.dir.path().to_owned(),
                    });
                }
                _ => return Ok(None),
            };
        let identity = Identity { certificate, key };
        write_node(&self.dir.pki(), &self.authority, &identity)?;
        self.credentials.replace(&self.authority, &identity)?;
        self.enter(&identity)?;
        self.remote.reconnect().await;
        tracing::info!("the certificate of the node was made anew");
        let usual = Timing::default().certificate_validity;
        Ok(Some(seconds.map_or(usual, Duration::from_secs)))
    }

    /// Writes the file by which this machine's parts enter the API.
    fn enter(&self, identity: &Identity) -> Result<(), ServeError> {
        let path = self.dir.own_kubeconfig();
        let name = Some(tls::SERVER_NAME);
        let text = kubeconfig::kubeconfig(&self.entrance, &self.authority, identity, name);
        write_private(&path, text.as_bytes()).map_err(|source| ServeError::File { path, source })
    }
}

/// Whether a connection failed because the two sides are not of one authority.
fn is_of_another_cluster(error: &std::io::Error) -> bool {
    use rustls::{AlertDescription as Alert, CertificateError as Fault, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(
        inner,
        Some(
            Error::InvalidCertificate(Fault::UnknownIssuer | Fault::BadSignature)
                | Error::AlertReceived(Alert::UnknownCA | Alert::BadCertificate | Alert::DecryptError)
        )
    )
}

/// Keeps the list of servers as the cluster has it, in memory and for the next start.
async fn refresh(
    dir: ClusterDir,
    mut settings: ClusterSettings,
    servers: Arc<ServerList>,
    api: Arc<dyn Api>,
) {
    let keep = |addresses: Vec<SocketAddr>| {
        if servers.replace(&addresses) && !addresses.is_empty() {
            tracing::info!(?addresses, "the servers of the cluster");
            settings.servers = addresses;
            if let Err(error) = dir.save_settings(&settings) {
                tracing::warn!(%error, "the list of servers cannot be kept");
            }
        }
    };
    follow_servers(api, keep).await;
}

/// Takes calls of servers to this node's containers, and of whoever reads its measurements.
async fn serve_node(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: Arc<NodeService>,
    metrics: Arc<NodeMetrics>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, service, metrics) = (acceptor.clone(), service.clone(), metrics.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else {
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let user = certificates.and_then(|shown| User::of_certificate(shown.first()?));
            if stream.get_ref().1.alpn_protocol() == Some(node_link::PROTOCOL.as_bytes()) {
                service.serve(Box::new(stream), user.as_ref()).await;
            } else {
                metrics.serve(Box::new(stream), user).await;
            }
        });
    }
}
