//! What can be chosen when a cluster is started, and what is chosen otherwise.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use cluster_network::Subnet;
use cluster_node::EvictionThresholds;
use cluster_node::runtime::RuntimeChoice;
use serde::{Deserialize, Serialize};

use crate::dir::{ClusterSettings, FORMAT, first_member};
use crate::host;
use crate::token::Role;

/// What can be chosen when a cluster is started.
///
/// What is decided with the first start of a folder (everything but `engine`, `nft` and `eviction`) is kept in it; another
/// wish later is refused, since certificates, addresses and pods already depend on the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterOptions {
    /// Name of the node; the host's name by default.
    pub node_name: Option<String>,
    /// Address that the API listens on, 127.0.0.1 by default.
    pub api_address: Option<Ipv4Addr>,
    /// Port that the API listens on, 6443 by default.
    pub api_port: Option<u16>,
    /// Name of the bridge that pods are linked to, `tug0` by default.
    pub bridge: Option<String>,
    /// Address by which other machines reach this one; that of the way out by default.
    pub advertise_address: Option<Ipv4Addr>,
    /// Addresses of pods, `10.42.0.0/16` by default: each node has 254 of them, or a node has all where there are fewer.
    pub pod_subnet: Option<Subnet>,
    /// Addresses of services, `10.43.0.0/16` by default.
    pub service_subnet: Option<Subnet>,
    /// What makes the containers of pods without a runtime class, tug itself by default.
    pub runtime: Option<RuntimeChoice>,
    /// The socket of the container engine; one is looked for where it is needed and not given.
    pub engine: Option<PathBuf>,
    /// The `nft` program; without it services are balanced in user space.
    pub nft: Option<PathBuf>,
    /// What the node keeps free, the kubelet's thresholds by default.
    pub eviction: Option<EvictionThresholds>,
}

/// Wishes that cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The cluster was made with something else.
    #[error("the cluster was made with {what} {made}, not {wished}")]
    Changed {
        /// What was wished differently.
        what: &'static str,
        /// What it was made with.
        made: String,
        /// What is wished now.
        wished: String,
    },
    /// Pods and services need addresses of their own.
    #[error("the pod subnet {pods} and the service subnet {services} overlap")]
    Overlap {
        /// Addresses of pods.
        pods: Subnet,
        /// Addresses of services.
        services: Subnet,
    },
    /// Too few addresses.
    #[error("the {what} {subnet} has too few addresses: at most /{prefix_max} will do")]
    Small {
        /// Which subnet.
        what: &'static str,
        /// The subnet.
        subnet: Subnet,
        /// The longest prefix that will do.
        prefix_max: u8,
    },
    /// A name that the kernel or the API does not take.
    #[error("`{name}` cannot be the name of the {what}: {why}")]
    Name {
        /// The node or the bridge.
        what: &'static str,
        /// The name.
        name: String,
        /// What a name must be.
        why: &'static str,
    },
}

/// The tenth service address, which all pods ask for names, must exist.
const SERVICE_PREFIX_MAX: u8 = 28;
const POD_PREFIX_MAX: u8 = 29;
/// Length of the prefix of one node's pods, as is the custom.
const NODE_PREFIX: u8 = 24;
/// The kernel's limit for names of links, less the end of the text.
const BRIDGE_BYTES_MAX: usize = 15;

impl ClusterOptions {
    /// The settings of a cluster that is made now, or the kept ones if the wishes agree with them.
    pub(crate) fn settle(&self, kept: Option<ClusterSettings>) -> Result<ClusterSettings, OptionsError> {
        if let Some(kept) = kept {
            return self.agree(&kept).map(|()| kept);
        }
        let cluster_pods = self.pod_subnet.unwrap_or_else(|| subnet(10, 42, 16));
        let settings = ClusterSettings {
            format: FORMAT,
            role: Role::Server,
            member: first_member(),
            advertise_address: self.advertise_address.or_else(host::outward_address),
            servers: Vec::new(),
            node_name: self.node_name.clone().unwrap_or_else(host::node_name),
            api_address: self.api_address.unwrap_or(Ipv4Addr::LOCALHOST),
            api_port: self.api_port.unwrap_or(6443),
            bridge: self.bridge.clone().unwrap_or_else(|| "tug0".into()),
            pod_subnet: node_subnets(cluster_pods).next().unwrap_or(cluster_pods),
            cluster_pods: Some(cluster_pods),
            service_subnet: self.service_subnet.unwrap_or_else(|| subnet(10, 43, 16)),
            runtime: self.runtime.unwrap_or_default(),
            served: false,
        };
        check(&settings)?;
        Ok(settings)
    }

    fn agree(&self, kept: &ClusterSettings) -> Result<(), OptionsError> {
        fn same<T: PartialEq + ToString>(
            what: &'static str,
            wish: Option<&T>,
            made: &T,
        ) -> Result<(), OptionsError> {
            match wish.filter(|wish| *wish != made) {
                None => Ok(()),
                Some(wish) => Err(OptionsError::Changed {
                    what,
                    made: made.to_string(),
                    wished: wish.to_string(),
                }),
            }
        }
        same("the node name", self.node_name.as_ref(), &kept.node_name)?;
        same("the API address", self.api_address.as_ref(), &kept.api_address)?;
        same("the API port", self.api_port.as_ref(), &kept.api_port)?;
        same("the bridge", self.bridge.as_ref(), &kept.bridge)?;
        same("the runtime", self.runtime.as_ref(), &kept.runtime)?;
        let pods = kept.cluster_pods();
        same("the pod subnet", self.pod_subnet.as_ref(), &pods)?;
        if let Some(kept) = &kept.advertise_address {
            same("the advertised address", self.advertise_address.as_ref(), kept)?;
        }
        same(
            "the service subnet",
            self.service_subnet.as_ref(),
            &kept.service_subnet,
        )
    }
}

/// The parts of a cluster's addresses of pods that nodes have, in their order.
pub(crate) fn node_subnets(cluster: Subnet) -> impl Iterator<Item = Subnet> {
    let prefix = cluster.prefix().max(NODE_PREFIX);
    let step = 1_u32 << (32 - u32::from(prefix));
    let count = 1_u32 << (prefix - cluster.prefix()).min(31);
    let base = u32::from(cluster.base());
    (0..count).filter_map(move |number| Subnet::new(Ipv4Addr::from(base + number * step), prefix))
}

fn subnet(a: u8, b: u8, prefix: u8) -> Subnet {
    Subnet::new(Ipv4Addr::new(a, b, 0, 0), prefix).expect("a short prefix")
}

fn check(settings: &ClusterSettings) -> Result<(), OptionsError> {
    let (pods, services) = (settings.cluster_pods(), settings.service_subnet);
    if pods.overlaps(&services) {
        return Err(OptionsError::Overlap { pods, services });
    }
    for (what, subnet, prefix_max) in [
        ("pod subnet", pods, POD_PREFIX_MAX),
        ("service subnet", services, SERVICE_PREFIX_MAX),
    ] {
        if subnet.prefix() > prefix_max {
            return Err(OptionsError::Small {
                what,
                subnet,
                prefix_max,
            });
        }
    }
    let bridge = &settings.bridge;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if bridge.is_empty() || bridge.len() > BRIDGE_BYTES_MAX || !bridge.chars().all(plain) {
        let why = "1 to 15 letters, digits and `-`";
        return Err(OptionsError::Name {
            what: "bridge",
            name: bridge.clone(),
            why,
        });
    }
    let node = &settings.node_name;
    if !host::is_node_name(node) {
        let why = "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit";
        return Err(OptionsError::Name {
            what: "node",
            name: node.clone(),
            why,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(change: impl FnOnce(&mut ClusterOptions)) -> ClusterOptions {
        let mut options = ClusterOptions {
            node_name: Some("one".into()),
            ..ClusterOptions::default()
        };
        change(&mut options);
        options
    }

    #[test]
    fn what_is_not_wished_has_a_default_and_is_kept() {
        let first = wish(|options| options.api_port = Some(7000))
            .settle(None)
            .unwrap();
        assert_eq!(
            (first.api_port, first.pod_subnet.to_string()),
            (7000, "10.42.0.0/24".into())
        );
        assert_eq!(
            ClusterOptions::default().settle(Some(first.clone())).unwrap(),
            first
        );
    }

    #[test]
    fn every_node_gets_a_part_of_the_addresses() {
        let parts = |text: &str| {
            let parts = node_subnets(text.parse().unwrap());
            parts.map(|part| part.to_string()).collect::<Vec<_>>()
        };
        let many = parts("10.42.0.0/16");
        assert_eq!(
            (many.len(), many[1].as_str(), many[255].as_str()),
            (256, "10.42.1.0/24", "10.42.255.0/24")
        );
        assert_eq!(parts("10.42.7.0/24"), ["10.42.7.0/24"]);
        assert_eq!(parts("10.42.7.0/26"), ["10.42.7.0/26"]);
    }

    #[test]
    fn err_wishes_that_cannot_be_had() {
        let kept = wish(|_| {}).settle(None).unwrap();
        let other = wish(|options| options.api_port = Some(1))
            .settle(Some(kept))
            .unwrap_err();
        assert_eq!(
            other.to_string(),
            "the cluster was made with the API port 6443, not 1"
        );
        for (options, part) in [
            (
                wish(|options| options.pod_subnet = "10.0.0.0/8".parse().ok()),
                "overlap",
            ),
            (
                wish(|options| options.pod_subnet = "10.1.0.0/30".parse().ok()),
                "too few addresses",
            ),
            (
                wish(|options| options.bridge = Some("a bridge".into())),
                "the bridge",
            ),
            (wish(|options| options.node_name = Some("One".into())), "the node"),
        ] {
            let error = options.settle(None).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
