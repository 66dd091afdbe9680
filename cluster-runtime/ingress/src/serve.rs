//! The shell: follows Ingresses and what they lead to, listens while there are any, and writes their status.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{
    Api, Clock, Collection, EventType, Informer, InformerOptions, Jitter, Patch, Recorder, RecorderOptions,
    Target, WriteOptions,
};
use cluster_objects::{GroupVersionResource, Object};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::certificates::Certificates;
use crate::listener::Listener;
use crate::proxy::Proxy;
use crate::routes::{is_served, routes};

/// Until a port that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Where Ingresses are served.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// Port of plain HTTP, on every address.
    pub http_port: u16,
    /// Port of HTTPS, on every address.
    pub https_port: u16,
    /// The address that is written into the status of Ingresses.
    pub address: IpAddr,
    /// Spreads the waits between tries.
    pub jitter: Jitter,
}

/// Serves the Ingresses of a cluster on this machine: plain HTTP, and HTTPS with the certificates that they name.
///
/// The ports are taken while there is an Ingress, and free otherwise.
#[derive(Debug)]
pub struct Ingresses {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Worker {
    api: Arc<dyn Api>,
    config: IngressConfig,
    ingresses: Informer,
    classes: Informer,
    services: Informer,
    slices: Informer,
    secrets: Informer,
    recorder: Recorder,
    changed: Arc<Notify>,
    certificates: Certificates,
    proxy: Arc<Proxy>,
    listeners: Vec<(u16, Listener)>,
}

impl Ingresses {
    /// Starts following in a task of the current tokio runtime.
    pub fn start(api: Arc<dyn Api>, config: IngressConfig) -> Self {
        let changed = Arc::new(Notify::new());
        let follow = |api_version: &str, resource: &str, field_selector: &str| {
            let options = InformerOptions {
                field_selector: field_selector.to_owned(),
                jitter: config.jitter.clone(),
                ..InformerOptions::default()
            };
            let informer = Informer::start(api.clone(), Collection::all(api_version, resource), options);
            let changed = changed.clone();
            informer.add_handler(move |_| changed.notify_one());
            informer
        };
        let recorder_options = RecorderOptions {
            component: "tug-ingress".to_owned(),
            ..RecorderOptions::default()
        };
        let worker = Worker {
            ingresses: follow("networking.k8s.io/v1", "ingresses", ""),
            classes: follow("networking.k8s.io/v1", "ingressclasses", ""),
            services: follow("v1", "services", ""),
            slices: follow("discovery.k8s.io/v1", "endpointslices", ""),
            secrets: follow("v1", "secrets", "type=kubernetes.io/tls"),
            recorder: Recorder::start(api.clone(), Clock::system(), recorder_options),
            changed: changed.clone(),
            certificates: Certificates::new(),
            proxy: Arc::new(Proxy::new()),
            listeners: Vec::new(),
            api,
            config,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Self { stop, task }
    }

    /// Stops listening; requests under way are cut off.
    pub async fn stop(self) {
        self.stop.cancel();
        // A task that panicked has nothing left to wait for.
        let _ = self.task.await;
    }
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        let all = [
            &self.ingresses,
            &self.classes,
            &self.services,
            &self.slices,
            &self.secrets,
        ];
        let synced = futures::future::join_all(all.map(Informer::synced));
        if stop.run_until_cancelled(synced).await.is_none() {
            return;
        }
        loop {
            let is_settled = self.apply().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(RETRY), if !is_settled => {}
            }
        }
    }

    /// Serves what is there now; `false` when something must be tried again.
    async fn apply(&mut self) -> bool {
        let (ingresses, classes) = (self.ingresses.list(), self.classes.list());
        let routes = Arc::new(routes(
            &ingresses,
            &classes,
            &self.services.list(),
            &self.slices.list(),
        ));
        let served: Vec<&Arc<Object>> = ingresses.iter().filter(|one| is_served(one, &classes)).collect();
        for (secret, why) in self.certificates.set(&routes, &self.secrets.list()) {
            tracing::warn!(secret, why, "no certificate for an Ingress");
        }
        self.proxy.set(routes.clone());
        if !routes.is_used {
            self.listeners.clear();
            return true;
        }
        let mut is_settled = true;
        for port in [self.config.http_port, self.config.https_port] {
            if self.listeners.iter().any(|(open, _)| *open == port) {
                continue;
            }
            match self.listen(port).await {
                Ok(listener) => self.listeners.push((port, listener)),
                Err(error) => {
                    is_settled = false;
                    let message = format!("port {port} of this machine cannot be had: {error}");
                    for ingress in &served {
                        self.recorder
                            .record(ingress, EventType::Warning, "PortTaken", message.as_str());
                    }
                }
            }
        }
        if is_settled {
            let shown = served.into_iter().map(|ingress| self.show_address(ingress));
            is_settled = futures::future::join_all(shown)
                .await
                .into_iter()
                .all(|done| done);
        }
        is_settled
    }

    async fn listen(&self, port: u16) -> std::io::Result<Listener> {
        let tls = if port == self.config.https_port {
            Some(Arc::new(self.certificates.tls().map_err(std::io::Error::other)?))
        } else {
            None
        };
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Listener::open(address, tls, self.proxy.clone()).await
    }

    async fn show_address(&self, ingress: &Object) -> bool {
        let wanted = json!([{"ip": self.config.address.to_string()}]);
        if ingress.at(&["status", "loadBalancer", "ingress"]) == Some(&wanted) {
            return true;
        }
        let resource = GroupVersionResource::new("networking.k8s.io/v1", "ingresses");
        let target = Target::of(&resource, ingress).subresource("status");
        let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": wanted}}}));
        match self.api.patch(&target, patch, &WriteOptions::default()).await {
            Err(status) if !status.is_not_found() => {
                tracing::debug!(ingress = %ingress.key(), "cannot write the status: {status}");
                false
            }
            _ => true,
        }
    }
}
