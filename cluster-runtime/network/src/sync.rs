//! Keeps rules, listeners and names in step with the services of the API.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use cluster_client::{Api, Collection, Informer, InformerOptions};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::conntrack::{self, Flows};
use crate::dns::{DnsServer, Names};
use crate::network::{ForwardedPort, NetworkError};
use crate::proxy::Proxy;
use crate::table::{Frontends, ServicePort, service_table};
use crate::{NetworkConfig, affinity, ruleset};

/// What makes services work on this node.
pub(crate) struct DataPlane {
    /// Taken when it is stopped.
    task: Mutex<Option<tokio::task::JoinHandle<DnsServer>>>,
    stop: CancellationToken,
    /// Ports of the host that lead to pods, by pod: each pod's own listeners.
    host_ports: Mutex<HashMap<String, Proxy>>,
}

struct Sync {
    config: NetworkConfig,
    services: Informer,
    slices: Informer,
    dns: DnsServer,
    proxy: Proxy,
    /// What the kernel was told last.
    told: Option<Vec<ServicePort>>,
    /// What of it was last told about services whose clients stay with a backend.
    told_affinity: Option<Vec<ServicePort>>,
}

impl DataPlane {
    /// Sets the present services up, and follows their changes until stopped.
    pub(crate) async fn start(
        config: NetworkConfig,
        api: Arc<dyn Api>,
        dns: DnsServer,
    ) -> Result<Self, NetworkError> {
        let options = InformerOptions::default();
        let services = Informer::start(api.clone(), Collection::all("v1", "services"), options.clone());
        let slices = Collection::all("discovery.k8s.io/v1", "endpointslices");
        let slices = Informer::start(api, slices, options);
        services.synced().await;
        slices.synced().await;
        let mut sync = Sync {
            config,
            services,
            slices,
            dns,
            proxy: Proxy::default(),
            told: None,
            told_affinity: None,
        };
        // The first rules are set before anybody is told that the network is up: a kernel that refuses them is a fault
        // to report, not one to retry.
        sync.apply().await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(sync.follow(stop.clone()));
        Ok(Self {
            task: Mutex::new(Some(task)),
            stop,
            host_ports: Mutex::default(),
        })
    }

    /// Listens on the ports of the host that lead to a pod, and on no others for it.
    pub(crate) async fn forward(
        &self,
        pod: &str,
        ip: Ipv4Addr,
        ports: &[ForwardedPort],
    ) -> Result<(), NetworkError> {
        let mut host_ports = self.host_ports.lock().await;
        if ports.is_empty() {
            host_ports.remove(pod);
            return Ok(());
        }
        let frontend = |port: &ForwardedPort| {
            let key = (
                port.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
                port.port,
                port.protocol,
            );
            (key, vec![SocketAddrV4::new(ip, port.pod_port)])
        };
        let proxy = host_ports.entry(pod.to_owned()).or_default();
        match proxy
            .apply(ports.iter().map(frontend).collect())
            .await
            .into_iter()
            .next()
        {
            None => Ok(()),
            Some(failure) => {
                host_ports.remove(pod);
                Err(NetworkError::HostPort {
                    port: failure.port,
                    source: failure.source,
                })
            }
        }
    }

    /// Ends following; what was set up stays.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take()
            && let Ok(dns) = task.await
        {
            dns.stop().await;
        }
    }
}

impl Sync {
    async fn follow(mut self, stop: CancellationToken) -> DnsServer {
        let mut services = self.services.changes();
        let mut slices = self.slices.changes();
        loop {
            let changed = tokio::select! {
                changed = services.changed() => changed,
                changed = slices.changed() => changed,
                () = stop.cancelled() => return self.dns,
            };
            if changed.is_err() {
                return self.dns;
            }
            // Changes that come while rules are being set are taken together the next time.
            services.mark_unchanged();
            slices.mark_unchanged();
            if let Err(error) = self.apply().await {
                tracing::error!(%error, "services are not up to date");
            }
        }
    }

    async fn apply(&mut self) -> Result<(), NetworkError> {
        let before = self.told.clone();
        self.tell().await?;
        let Some(flows) = self
            .told
            .as_deref()
            .and_then(|told| Flows::changed(before.as_deref(), told))
        else {
            return Ok(());
        };
        // After the rules: what is sent now is led by them.
        let forgetting = tokio::task::spawn_blocking(move || conntrack::forget(&flows)).await;
        match forgetting.map_err(io::Error::other).flatten() {
            Ok(forgotten) => tracing::debug!(forgotten, "UDP clients are led anew"),
            Err(error) => tracing::warn!(%error, "UDP clients may be led to backends that are gone"),
        }
        Ok(())
    }

    async fn tell(&mut self) -> Result<(), NetworkError> {
        let (services, slices) = (self.services.list(), self.slices.list());
        self.dns
            .publish(Names::new(&self.config.cluster_domain, &services, &slices));
        let mut table = service_table(&services, &slices, Some(&self.config.node));
        // The cluster's names are served at their address by the node itself.
        table.retain(|service| !service.cluster_ips.contains(&self.config.dns_address));
        for failure in self.proxy.apply(frontends(&self.config, &table)).await {
            tracing::warn!(error = %failure, "a service port is not served");
        }
        let Some(nft) = &self.config.nft else {
            return Ok(());
        };
        let staying: Vec<ServicePort> = table
            .iter()
            .filter(|service| affinity::stays(service))
            .cloned()
            .collect();
        if self.told_affinity.as_ref() != Some(&staying) {
            let script = affinity::script(&self.config, self.told_affinity.as_deref(), &staying);
            // Refused where somebody else has changed our table: then it is made anew, and clients are forgotten.
            if run_nft(nft, &script).await.is_err() {
                run_nft(nft, &affinity::script(&self.config, None, &staying)).await?;
            }
            self.told_affinity = Some(staying);
        }
        if let Some(told) = &self.told
            && let Some(update) = ruleset::update_script(&self.config, told, &table)
        {
            // It is refused where somebody else has taken our table away: then all is set anew.
            if update.is_empty() || run_nft(nft, &update).await.is_ok() {
                self.told = Some(table);
                return Ok(());
            }
        }
        run_nft(nft, &ruleset::script(&self.config, &table)).await?;
        self.told = Some(table);
        Ok(())
    }
}

/// What is listened on in user space: everything without the kernel's help, else only node ports on loopback.
pub(crate) fn frontends(config: &NetworkConfig, table: &[ServicePort]) -> Frontends {
    let node_address = if config.nft.is_some() {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    let mut frontends = Frontends::new();
    for service in table {
        let backends = || service.backends.clone();
        if let Some(port) = service.node_port {
            frontends.insert((node_address, port, service.protocol), backends());
        }
        if config.nft.is_some() {
            continue;
        }
        for address in &service.cluster_ips {
            frontends.insert((*address, service.port, service.protocol), backends());
        }
    }
    frontends
}

/// Gives a script to the `nft` program, which carries it out as one transaction.
pub(crate) async fn run_nft(nft: &Path, script: &str) -> Result<(), NetworkError> {
    let run = async {
        let mut child = Command::new(nft)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // It may have ended before reading everything; its own words say why.
            let _ = input.write_all(script.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = run.await.map_err(|error| NetworkError::Rules {
        message: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetworkError::Rules {
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
