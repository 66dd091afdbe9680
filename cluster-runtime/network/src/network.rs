//! The network of a node: brought up, pods linked, services and names kept in step, and taken down again.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_client::Api;
use cluster_objects::Object;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::dns::DnsServer;
use crate::link::{LinkError, Links, gateway};
use crate::overlay::OverlayRoutes;
use crate::policy::policy_removal_script;
use crate::policy_plane::PolicyPlane;
use crate::sync::{DataPlane, run_nft};
use crate::table::Protocol;
use crate::{AddressPool, NetworkConfig, PoolExhausted, affinity, ruleset};

/// Port on which the cluster's names are served.
const DNS_PORT: u16 = 53;
/// Search paths stop being tried for names with so many dots, as Kubernetes sets it in pods.
const NDOTS: u32 = 5;

/// The network of a node.
pub struct Network {
    config: NetworkConfig,
    links: Links,
    pool: Mutex<AddressPool>,
    data_plane: DataPlane,
    overlay: Option<OverlayRoutes>,
    policies: PolicyPlane,
}

/// Where a pod can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// The pod's own address.
    pub ip: Ipv4Addr,
    /// The node's end of the pod's link.
    pub gateway: Ipv4Addr,
}

/// A port of the host that leads to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedPort {
    /// Address of the host; all of them where absent.
    pub address: Option<Ipv4Addr>,
    /// Port of the host.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of the pod.
    pub pod_port: u16,
}

/// What balances services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    /// The kernel, by rules that the `nft` program sets.
    Kernel,
    /// Listeners in this process.
    UserSpace,
}

/// Why the network could not be brought up or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Links, addresses or routes.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No address is left for another pod.
    #[error(transparent)]
    Address(#[from] PoolExhausted),
    /// The record of used addresses.
    #[error("cannot keep the pod addresses in `{}`", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The cluster's DNS server.
    #[error("cannot serve names on {address}:{DNS_PORT}")]
    Dns {
        /// The address.
        address: Ipv4Addr,
        /// What failed.
        source: io::Error,
    },
    /// The `nft` program refused our rules.
    #[error("`nft` failed: {message}")]
    Rules {
        /// What it printed.
        message: String,
    },
    /// A port of the host that is taken.
    #[error("cannot listen on port {port} of the host")]
    HostPort {
        /// The port.
        port: u16,
        /// What failed.
        source: io::Error,
    },
    /// A kernel interface that is not there.
    #[error("cannot connect to the kernel's network configuration")]
    Kernel(#[source] io::Error),
}

impl Network {
    /// Brings the bridge up, serves names, and keeps services in step with the API until [`Network::stop`].
    ///
    /// What an earlier process left is taken over: pods keep their links and addresses. Needs a tokio runtime and the
    /// capability to administer the network of the namespace that it runs in.
    pub async fn start(config: NetworkConfig, api: Arc<dyn Api>) -> Result<Self, NetworkError> {
        let links = Links::connect(&config.bridge).map_err(NetworkError::Kernel)?;
        links.ensure_bridge(&config).await?;
        let pool = load_pool(&config)?;
        let address = config.dns_address;
        let dns = DnsServer::start(address, DNS_PORT, &config.upstream_dns)
            .await
            .map_err(|source| NetworkError::Dns { address, source })?;
        let data_plane = DataPlane::start(config.clone(), api.clone(), dns).await?;
        let attached = pool.addresses().map(|(pod, ip)| (pod.to_owned(), ip)).collect();
        let policies = PolicyPlane::start(config.clone(), api.clone(), attached).await;
        let overlay = config.overlay.clone();
        let overlay = overlay
            .map(|overlay| OverlayRoutes::start(overlay, config.clone(), api))
            .transpose()?;
        Ok(Self {
            config,
            links,
            pool: Mutex::new(pool),
            data_plane,
            overlay,
            policies,
        })
    }

    /// What balances services here.
    pub fn balancer(&self) -> Balancer {
        if self.config.nft.is_some() {
            Balancer::Kernel
        } else {
            Balancer::UserSpace
        }
    }

    /// The node's own address on the bridge, at which pods reach what listens on the host.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway(self.config.pod_subnet)
    }

    /// Links a pod's network namespace, given by the path of its file, and says its address.
    ///
    /// A pod that is linked keeps its link and address, whichever process linked it.
    pub async fn attach(&self, pod: &str, namespace: &Path) -> Result<PodAddress, NetworkError> {
        let (ip, linked) = self
            .change_pool(|pool| pool.allocate(pod).map(|ip| (ip, pool.is_linked(pod))))
            .await??;
        let gateway = self.gateway();
        let link = self.link_name(pod);
        // Rules come before the link, which is the way to speak.
        self.policies.attached(pod, ip).await;
        if linked && self.links.exists(&link).await? {
            return Ok(PodAddress { ip, gateway });
        }
        match self.links.attach(&link, namespace, ip, gateway).await {
            Ok(()) => {
                self.change_pool(|pool| pool.set_linked(pod)).await?;
                Ok(PodAddress { ip, gateway })
            }
            Err(error) => {
                self.detach(pod).await?;
                Err(error.into())
            }
        }
    }

    /// Leads ports of the host to a pod, instead of those that led to it before.
    pub async fn forward(
        &self,
        pod: &str,
        ip: Ipv4Addr,
        ports: &[ForwardedPort],
    ) -> Result<(), NetworkError> {
        self.data_plane.forward(pod, ip, ports).await
    }

    /// Removes a pod's link and frees its address; a pod that has none is fine.
    pub async fn detach(&self, pod: &str) -> Result<(), NetworkError> {
        self.links.remove(&self.link_name(pod)).await?;
        self.policies.detached(pod).await;
        self.change_pool(|pool| pool.free(pod)).await?;
        self.data_plane.forward(pod, Ipv4Addr::UNSPECIFIED, &[]).await
    }

    /// Detaches every pod that is not among these: what an earlier process could not clean up.
    pub async fn retain(&self, pods: &[&str]) -> Result<(), NetworkError> {
        let leftover: Vec<String> = {
            let pool = self.pool.lock().await;
            pool.pods()
                .filter(|pod| !pods.contains(pod))
                .map(str::to_owned)
                .collect()
        };
        for pod in leftover {
            self.detach(&pod).await?;
        }
        Ok(())
    }

    /// The resolver configuration of a pod, from its `dnsPolicy` and `dnsConfig`.
    pub fn resolv_conf(&self, pod: &Object) -> String {
        resolv_conf(&self.config, pod)
    }

    /// Stops serving; links, addresses and rules stay, so that running pods are not disturbed.
    pub async fn stop(&self) {
        if let Some(overlay) = &self.overlay {
            overlay.stop().await;
        }
        self.policies.stop().await;
        self.data_plane.stop().await;
    }

    /// Removes every trace of a cluster's network from the host. Pods must be gone.
    pub async fn remove(config: &NetworkConfig) -> Result<(), NetworkError> {
        let links = Links::connect(&config.bridge).map_err(NetworkError::Kernel)?;
        links.remove_bridge().await?;
        links.remove_service_route(config).await?;
        if let Some(nft) = &config.nft {
            run_nft(nft, &ruleset::removal_script(config)).await?;
            run_nft(nft, &policy_removal_script(config)).await?;
            run_nft(nft, &affinity::removal_script(config)).await?;
        }
        Ok(())
    }

    async fn change_pool<T>(&self, change: impl FnOnce(&mut AddressPool) -> T) -> Result<T, NetworkError> {
        let mut pool = self.pool.lock().await;
        let before = pool.clone();
        let outcome = change(&mut pool);
        if *pool != before {
            save_pool(&self.config, &pool)?;
        }
        Ok(outcome)
    }

    /// Link names hold at most 15 bytes: the bridge's letters and a digest of the pod.
    fn link_name(&self, pod: &str) -> String {
        let digest = Sha256::digest(pod.as_bytes());
        let letters: String = self.config.bridge.chars().take(5).collect();
        let suffix: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        format!("{letters}{suffix}")
    }
}

fn pool_path(config: &NetworkConfig) -> PathBuf {
    config.state_dir.join("addresses.json")
}

fn load_pool(config: &NetworkConfig) -> Result<AddressPool, NetworkError> {
    let path = pool_path(config);
    let state = |source| NetworkError::State {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(&config.state_dir).map_err(state)?;
    let pool: AddressPool = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| state(error.into()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => AddressPool::new(config.pod_subnet),
        Err(error) => return Err(state(error)),
    };
    // Another subnet than before: the old addresses lead nowhere.
    Ok(if pool.subnet() == config.pod_subnet {
        pool
    } else {
        AddressPool::new(config.pod_subnet)
    })
}

/// Replaces the file as a whole, so that a crash leaves the old or the new one.
fn save_pool(config: &NetworkConfig, pool: &AddressPool) -> Result<(), NetworkError> {
    let path = pool_path(config);
    let part = path.with_extension("part");
    let bytes = serde_json::to_vec(pool).map_err(io::Error::from);
    bytes
        .and_then(|bytes| fs::write(&part, bytes))
        .and_then(|()| fs::rename(&part, &path))
        .map_err(|source| NetworkError::State { path, source })
}

/// Writes a pod's `resolv.conf`
/// (<https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>).
fn resolv_conf(config: &NetworkConfig, pod: &Object) -> String {
    let policy = pod.text(&["spec", "dnsPolicy"]).unwrap_or("ClusterFirst");
    let on_host = pod
        .at(&["spec", "hostNetwork"])
        .and_then(serde_json::Value::as_bool)
        .unwrap_or_default();
    let cluster = match policy {
        "ClusterFirst" => !on_host,
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut servers: Vec<String> = Vec::new();
    let mut searches: Vec<String> = Vec::new();
    let mut options: Vec<String> = Vec::new();
    if cluster {
        let domain = &config.cluster_domain;
        let namespace = pod.namespace().unwrap_or("default");
        servers.push(config.dns_address.to_string());
        searches.extend([
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.clone(),
        ]);
        options.push(format!("ndots:{NDOTS}"));
    } else if policy != "None" {
        servers.extend(config.upstream_dns.iter().map(|server| server.ip().to_string()));
    }
    let texts = |path: &[&str]| -> Vec<String> {
        pod.list(path)
            .iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    servers.extend(texts(&["spec", "dnsConfig", "nameservers"]));
    searches.extend(texts(&["spec", "dnsConfig", "searches"]));
    for option in pod.list(&["spec", "dnsConfig", "options"]) {
        let Some(name) = option["name"].as_str() else {
            continue;
        };
        // A pod's own option replaces the default of the same name.
        options.retain(|known| known.split(':').next() != Some(name));
        options.push(
            option["value"]
                .as_str()
                .map_or(name.to_owned(), |value| format!("{name}:{value}")),
        );
    }
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    for (keyword, list) in [("search", searches), ("options", options)] {
        if !list.is_empty() {
            text += &format!("{keyword} {}\n", list.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::object;
    use serde_json::json;

    #[test]
    fn resolv_conf_follows_the_policy() {
        let config = NetworkConfig {
            upstream_dns: vec!["192.0.2.1:53".parse().unwrap()],
            ..crate::config::tests::config()
        };
        let cluster =
            "nameserver 10.43.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\n";
        for (spec, expected) in [
            (json!({}), format!("{cluster}options ndots:5\n")),
            (
                json!({"dnsPolicy": "Default"}),
                "nameserver 192.0.2.1\n".to_owned(),
            ),
            (json!({"hostNetwork": true}), "nameserver 192.0.2.1\n".to_owned()),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"], "searches": ["a.b"]}}),
                "nameserver 192.0.2.9\nsearch a.b\n".to_owned(),
            ),
            (
                json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
                format!("{cluster}options ndots:2 edns0\n"),
            ),
        ] {
            let pod = object(json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec}));
            assert_eq!(resolv_conf(&config, &pod), expected, "{spec}");
        }
    }
}
