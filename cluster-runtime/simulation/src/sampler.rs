//! How long single reads take while the cluster is busy, asked as a stranger asks: over HTTPS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster_apiserver::{ApiServer, Engine, MASTERS, TokenTable, User};
use cluster_client::http::{HttpApi, HttpConfig};
use cluster_client::{Api, Target};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::timeline::Timeline;

/// Between two reads.
const PAUSE: Duration = Duration::from_millis(5);
/// The token of the reader; the server listens on loopback, for as long as the simulation runs.
const TOKEN_BYTES: usize = 16;

/// The API of an engine over HTTPS, on a free port of loopback.
pub(crate) struct Served {
    address: SocketAddr,
    token: String,
    stop: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(engine: &Engine) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let token: String = key.serialize_der()[..]
            .iter()
            .rev()
            .take(TOKEN_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tokens = TokenTable::default();
        tokens.insert(
            token.clone(),
            User::authenticated("simulation", [MASTERS.to_owned()]),
        );
        let stop = CancellationToken::new();
        let server = ApiServer::new(engine.clone()).tokens(tokens);
        let server = tokio::spawn(server.serve(listener, tls, stop.clone()));
        Ok(Self {
            address,
            token,
            stop,
            server,
        })
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A server that panicked has stopped as well.
        let _ = self.server.await;
    }
}

/// Reads single pods, in a thread and runtime of its own, as a client in another process does.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Duration>>,
}

impl Sampler {
    pub(crate) fn start(served: &Served, timeline: &Arc<Timeline>) -> Self {
        let config = HttpConfig {
            api_server: Some(format!("https://{}", served.address)),
            token: Some(served.token.clone()),
            insecure: true,
            ..HttpConfig::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, timeline) = (stop.clone(), timeline.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_or_else(
                |_| Vec::new(),
                |runtime| runtime.block_on(sample(&config, &timeline, &stopped)),
            )
        });
        Self { stop, thread }
    }

    /// How long each read took.
    pub(crate) fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

async fn sample(config: &HttpConfig, timeline: &Timeline, stopped: &AtomicBool) -> Vec<Duration> {
    let Ok(api) = HttpApi::connect(config).await else {
        return Vec::new();
    };
    let mut times = Vec::new();
    let mut number = 0_usize;
    while !stopped.load(Ordering::Acquire) {
        tokio::time::sleep(PAUSE).await;
        number = number.wrapping_mul(31).wrapping_add(17);
        let Some(key) = timeline.some_pod(number) else {
            continue;
        };
        let target = Target::namespaced("v1", "pods", &key.namespace, &key.name);
        let begin = Instant::now();
        if api.get(&target).await.is_ok() {
            times.push(begin.elapsed());
        }
    }
    times
}
