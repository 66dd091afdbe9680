//! The parts of a server, wired to each other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster_apiserver::{
    ApiServer, Definitions, Engine, EngineOptions, LocalApi, NodeAuthorizer, NodeRegistry, Rbac,
    ServiceRanges, TokenIssuer,
};
use cluster_client::{Api, Clock, Jitter};
use cluster_ingress::{IngressConfig, Ingresses};
use cluster_node::take;
use cluster_store::{RaftStore, RaftStoreConfig, StorageKey, Store, StreamTransport};
use rustls::ServerConfig;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ask::ask;
use crate::bootstrap::api_service_address;
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings, write_private};
use crate::leader::LeaderLink;
use crate::leading::{Leading, LeadingConfig};
use crate::machine::{CLUSTER_DOMAIN, Machine, MachineConfig, start_network};
use crate::measurements::{LeaderWork, ServerMeasurements};
use crate::message::ClusterKeys;
use crate::node_link::NodeService;
use crate::node_links::follow_nodes;
use crate::only_one::{check_alone, keep_peers, listen_as_known};
use crate::options::ClusterOptions;
use crate::own_api::{OwnApi, RemoteApi};
use crate::peers::{PeerConnector, PeerServer};
use crate::pki::{
    Authority, Identity, PkiError, Validity, parse_storage_key, storage_key, token_key, token_key_der,
};
use crate::reception::Reception;
use crate::renewal::{Made, keep_renewed};
use crate::serve::{ServeError, listen};
use crate::task::Task;
use crate::timing::{Timing, TimingWatch};
use crate::tls::Credentials;
use crate::{host, kubeconfig, message, node_link, peers, tls};

/// Ports of this machine on which Ingresses are served.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// A start waits for those who first look at every object, but where there may be more than so many of them, only for
/// a moment: the API can be used meanwhile.
const FEW_OBJECTS: u64 = 10_000;
const MOMENT: Duration = Duration::from_millis(100);
/// Between two tries to be taken into the group.
const ENROLL_PAUSE: Duration = Duration::from_millis(500);
/// In whose name tokens of service accounts are signed.
const TOKEN_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The parts of a running server, in the order in which they were started.
pub(crate) struct ServerParts {
    store: Arc<RaftStore>,
    definitions: Definitions,
    leading: Leading,
    links: Task,
    machine: Machine,
    ingresses: Ingresses,
    api: ServedApi,
    look: Arc<dyn Api>,
    renewing: Task,
    times: TimingWatch,
    keeping: Task,
    dir: ClusterDir,
}

/// The API at its addresses.
struct ServedApi {
    shutdown: CancellationToken,
    servers: JoinSet<io::Result<()>>,
}

/// What is spoken on the port of the API besides HTTP, and the way of writes.
struct Protocols {
    forward: Arc<LeaderLink>,
    peers: Arc<PeerServer>,
    reception: Arc<Reception>,
    node: Arc<NodeService>,
    measurements: Arc<ServerMeasurements>,
}

impl ServerParts {
    /// Starts every part; the API is served, and the cluster has a leader, when this returns.
    pub(crate) async fn start(
        dir: &ClusterDir,
        settings: &ClusterSettings,
        options: &ClusterOptions,
        listener: TcpListener,
        program: PathBuf,
    ) -> Result<Self, ServeError> {
        let now = OffsetDateTime::now_utc();
        let place = dir.place()?;
        let authority = Arc::new(Authority::open(&dir.pki(), now)?);
        let keys = ClusterKeys {
            authority_key: authority.key().to_owned(),
            token_key: token_key(&dir.pki())?,
            storage_key: storage_key(&dir.pki())?,
        };
        let gateway = cluster_network::gateway(settings.pod_subnet);
        let names = server_names(settings);
        let addresses = server_addresses(settings, gateway);
        let identity = authority.server(&settings.node_name, &names, &addresses, now)?;
        let credentials = Credentials::new(authority.certificate(), &identity)?;
        let client = |protocol| tls::client(authority.certificate(), &credentials, protocol).map(Arc::new);
        write_kubeconfigs(dir, settings, &authority, &identity, now.into())?;

        // Before anything is opened: two servers of one folder must never speak for it.
        let asking = client(message::PROTOCOL)?;
        let mut listeners = vec![listener];
        let advertised = settings.advertised().filter(|address| {
            ![Ipv4Addr::UNSPECIFIED.into(), settings.api_address.into()].contains(&address.ip())
        });
        if let Some(address) = advertised.filter(|_| !settings.api_address.is_unspecified()) {
            listeners.push(listen_as_known(dir, settings, address).await?);
        }
        check_alone(dir, settings, &asking).await?;

        let connector = PeerConnector {
            tls: client(peers::PROTOCOL)?,
        };
        let mut store_config = store_config(dir, settings, parse_storage_key(&keys.storage_key)?);
        store_config.transport = Some(Arc::new(StreamTransport::new(Arc::new(connector))));
        let store = Arc::new(RaftStore::open(store_config).await?);
        let nodes = NodeRegistry::default();
        let issuer =
            TokenIssuer::new(&token_key_der(&keys.token_key)?, TOKEN_ISSUER).map_err(PkiError::TokenKey)?;
        let options_of_engine = EngineOptions {
            authorizer: Box::new(NodeAuthorizer::new(store.clone(), Rbac::new(store.clone()))),
            tokens: Some(issuer),
            ..engine_options(settings, &nodes)
        };
        let engine = Engine::new(store.clone(), options_of_engine);
        let jitter = Jitter::from_seed(seed(now));
        let remote = Arc::new(RemoteApi::new(dir.own_kubeconfig()));
        let api = |agent: &str| -> Arc<dyn Api> {
            let local = LocalApi::new(engine.clone(), agent);
            OwnApi::of_server(store.clone(), local, agent, remote.clone())
        };
        let times = TimingWatch::start(api("tug-server"));
        let reception = Reception {
            validity: times.validity.clone(),
            api: api("tug-server"),
            store: store.clone(),
            authority: authority.clone(),
            keys: keys.clone(),
            scratch: dir.path().to_owned(),
            settings: settings.clone(),
            gateway,
            deciding: Mutex::default(),
        };
        let work = LeaderWork::default();
        let measurements = ServerMeasurements {
            store: store.clone(),
            work: work.clone(),
            nodes: nodes.clone(),
            own: OnceLock::new(),
        };
        let protocols = Protocols {
            forward: Arc::new(LeaderLink::new(store.clone(), client("h2")?)),
            peers: Arc::new(PeerServer { store: store.clone() }),
            reception: Arc::new(reception),
            node: Arc::default(),
            measurements: Arc::new(measurements),
        };
        // Other members have to be heard before anybody can lead.
        let server_tls = tls::server(authority.certificate(), &credentials)?;
        let mut served = ServedApi::start(&engine, listeners, &server_tls, &protocols);
        enroll(settings, &store, &asking, false).await;
        let outward = settings
            .advertise_address
            .or_else(host::outward_address)
            .unwrap_or(gateway);
        let leading = Leading::start(LeadingConfig {
            engine: engine.clone(),
            store: store.clone(),
            settings: settings.clone(),
            gateway,
            authority: authority.certificate().to_owned(),
            outward: outward.into(),
            jitter: jitter.clone(),
            node_grace: times.node_grace.clone(),
            work,
        });
        leading.served().await;
        store.ensure_newest().await?;
        engine.set_ready();
        let definitions = Definitions::start(&engine, api("tug-definitions"), jitter.clone()).await?;

        let network = start_network(dir, settings, options, api("tug-network")).await?;
        // Pods call it at the node's end of their link.
        if ![Ipv4Addr::UNSPECIFIED, gateway].contains(&settings.api_address) {
            let address = SocketAddr::from((gateway, settings.api_port));
            served.add(&engine, listen(address).await?, &server_tls, &protocols);
        }
        let machine_config = MachineConfig {
            dir,
            settings,
            options,
            program,
            endpoint_port: Some(settings.api_port),
            jitter: jitter.clone(),
            heartbeat: times.heartbeat.clone(),
            place: place.clone(),
        };
        // No other server of this folder lives, as far as can be known.
        take(&*api("tug-node"), &settings.node_name, &place, &Clock::system()).await?;
        let machine = Machine::start(machine_config, network, &api).await?;
        nodes.register(&settings.node_name, Arc::new(machine.node.clone()));
        protocols.node.set(Arc::new(machine.node.clone()));
        // It is set once for each start.
        let _ = protocols.measurements.own.set(machine.node.clone());
        let links = follow_nodes(
            api("tug-nodes"),
            nodes,
            &settings.node_name,
            client(node_link::PROTOCOL)?,
        );
        let ingress_config = IngressConfig {
            http_port: HTTP_PORT,
            https_port: HTTPS_PORT,
            address: outward.into(),
            jitter,
        };
        let ingresses = Ingresses::start(api("tug-ingress"), ingress_config);
        let caught_up = async {
            machine.node.ready().await;
            leading.caught_up().await;
        };
        // Each object took a revision at least.
        if store.revision().0 <= FEW_OBJECTS {
            caught_up.await;
        } else if timeout(MOMENT, caught_up).await.is_err() {
            tracing::info!("the API is served, controllers still look at what is there");
        }
        // Only now: one that cannot start must not be missing where there is to be decided.
        enroll(settings, &store, &asking, true).await;
        let keeping = Task::spawn(keep_peers(dir.clone(), settings.advertised(), api("tug-server")));
        let look = api("tug-server");
        let validity = times.validity.clone();
        let renewing = Arc::new(Renewing {
            validity: validity.clone(),
            dir: dir.clone(),
            settings: settings.clone(),
            authority,
            credentials,
            names,
            addresses,
            remote,
        });
        let renew = move || {
            let renewing = renewing.clone();
            async move { renewing.renew().await }
        };
        // A year, as long as nobody could be asked.
        let made = Made {
            at: now,
            life: Timing::default().certificate_validity,
        };
        let renewing = keep_renewed(Some(made), validity, OffsetDateTime::now_utc, renew);
        let renewing = Task::spawn(renewing);
        Ok(Self {
            store,
            definitions,
            leading,
            links,
            machine,
            ingresses,
            api: served,
            look,
            renewing,
            times,
            keeping,
            dir: dir.clone(),
        })
    }

    /// The API, for one who looks on.
    pub(crate) fn api(&self) -> Arc<dyn Api> {
        self.look.clone()
    }

    /// Waits until this server cannot go on: its disk has failed, or another one goes by its name.
    pub(crate) async fn failed(&self) -> ServeError {
        tokio::select! {
            reason = self.store.failed() => ServeError::Disk {
                folder: self.dir.store(),
                reason,
            },
            by = self.machine.node.superseded() => ServeError::Superseded {
                folder: self.dir.path().to_owned(),
                by,
            },
        }
    }

    /// Stops every part, the last started first.
    pub(crate) async fn stop(self, pods: StopPods) {
        self.renewing.stop().await;
        self.keeping.stop().await;
        self.times.stop().await;
        self.ingresses.stop().await;
        self.links.stop().await;
        self.machine.stop(pods).await;
        self.definitions.stop().await;
        self.leading.stop().await;
        self.api.stop().await;
        self.store.shutdown().await;
    }
}

/// What a server needs to make its certificates anew.
struct Renewing {
    /// For how long they are to be good.
    validity: watch::Receiver<Duration>,
    dir: ClusterDir,
    settings: ClusterSettings,
    authority: Arc<Authority>,
    credentials: Arc<Credentials>,
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    remote: Arc<RemoteApi>,
}

impl Renewing {
    /// For how long certificates are good that were made anew, and are used.
    async fn renew(&self) -> Option<Duration> {
        let life = *self.validity.borrow();
        match self.try_renew(Validity::new(OffsetDateTime::now_utc(), life)) {
            Ok(()) => {
                self.remote.reconnect().await;
                tracing::info!("the certificates of the server were made anew");
                Some(life)
            }
            Err(error) => {
                let error = crate::serve::describe(&error);
                tracing::warn!(error, "the certificates of the server cannot be made anew");
                None
            }
        }
    }

    fn try_renew(&self, validity: Validity) -> Result<(), ServeError> {
        let authority = &self.authority;
        let identity = authority.server(&self.settings.node_name, &self.names, &self.addresses, validity)?;
        write_kubeconfigs(&self.dir, &self.settings, authority, &identity, validity)?;
        Ok(self.credentials.replace(authority.certificate(), &identity)?)
    }
}

impl ServedApi {
    fn start(
        engine: &Engine,
        listeners: Vec<TcpListener>,
        tls: &ServerConfig,
        protocols: &Protocols,
    ) -> Self {
        let mut served = Self {
            shutdown: CancellationToken::new(),
            servers: JoinSet::new(),
        };
        for listener in listeners {
            served.add(engine, listener, tls, protocols);
        }
        served
    }

    fn add(&mut self, engine: &Engine, listener: TcpListener, tls: &ServerConfig, protocols: &Protocols) {
        let server = ApiServer::new(engine.clone())
            .forward(protocols.forward.clone())
            .measured(protocols.measurements.clone())
            .protocol(peers::PROTOCOL, protocols.peers.clone())
            .protocol(message::PROTOCOL, protocols.reception.clone())
            .protocol(node_link::PROTOCOL, protocols.node.clone());
        self.servers
            .spawn(server.serve(listener, tls.clone(), self.shutdown.clone()));
    }

    async fn stop(self) {
        self.shutdown.cancel();
        for error in self.servers.join_all().await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "the API had failed");
        }
    }
}

/// Where the store is, and who it is in the group.
pub(crate) fn store_config(dir: &ClusterDir, settings: &ClusterSettings, key: StorageKey) -> RaftStoreConfig {
    let mut config = RaftStoreConfig::new(dir.store());
    config.member = settings.member;
    config.address = settings
        .advertised()
        .map(|address| address.to_string())
        .unwrap_or_default();
    config.bootstrap = settings.servers.is_empty();
    config.encryption = Some(key);
    config
}

/// Has this server's member taken into the group that others have made, unless it is in it; tries until that is done.
async fn enroll(settings: &ClusterSettings, store: &RaftStore, tls: &Arc<rustls::ClientConfig>, vote: bool) {
    let Some(address) = settings.advertised().filter(|_| !settings.servers.is_empty()) else {
        return;
    };
    let request = message::Request::Enroll {
        member: settings.member,
        address,
        vote,
    };
    let is_in = || {
        let members = store.members();
        let own = members.iter().find(|member| member.number == settings.member);
        own.is_some_and(|own| own.is_voter || !vote)
    };
    while !is_in() {
        match ask(tls, &settings.servers, &request).await {
            Ok(_) => return,
            Err(error) => {
                let error = crate::serve::describe(&error);
                tracing::warn!(error, "this server is not in the group yet");
                tokio::time::sleep(ENROLL_PAUSE).await;
            }
        }
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

/// Writes the files by which the administrator, and the server's own parts, find the API.
fn write_kubeconfigs(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    authority: &Authority,
    server: &Identity,
    validity: Validity,
) -> Result<(), ServeError> {
    let address = SocketAddr::from((settings.api_address, settings.api_port));
    let url = format!("https://{address}");
    let administrator = authority.administrator(validity)?;
    for (path, user) in [(dir.kubeconfig(), &administrator), (dir.own_kubeconfig(), server)] {
        let text = kubeconfig::kubeconfig(&url, authority.certificate(), user, None);
        write_private(&path, text.as_bytes()).map_err(|source| ServeError::File { path, source })?;
    }
    Ok(())
}

/// Another one at each start: the waits of several servers must not keep step.
pub(crate) fn seed(now: OffsetDateTime) -> u64 {
    u64::from(now.nanosecond()) ^ (u64::from(std::process::id()) << 32)
}

/// The names by which the API is called, from outside and from pods.
fn server_names(settings: &ClusterSettings) -> Vec<String> {
    let service = [tls::SERVER_NAME, "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let full = format!("kubernetes.default.svc.{CLUSTER_DOMAIN}");
    service
        .into_iter()
        .chain([full, "localhost".to_owned(), settings.node_name.clone()])
        .collect()
}

/// The addresses by which the API is called.
fn server_addresses(settings: &ClusterSettings, gateway: Ipv4Addr) -> Vec<IpAddr> {
    let service = api_service_address(settings.service_subnet);
    let own = [Ipv4Addr::LOCALHOST, settings.api_address, service, gateway].into_iter();
    own.chain(settings.advertise_address).map(IpAddr::V4).collect()
}
