//! How a node's network is laid out.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::overlay::Overlay;

/// How a node's network is laid out.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Name of this node, by which endpoints are known to be on it.
    pub node: String,
    /// Name of the bridge that pods are linked to, at most 15 bytes. Links of ours begin with the same letters.
    pub bridge: String,
    /// Addresses of this node's pods; the first is the bridge's own.
    pub pod_subnet: Subnet,
    /// Addresses of services.
    pub service_subnet: Subnet,
    /// Address of the cluster's DNS server, inside the service subnet.
    pub dns_address: Ipv4Addr,
    /// Domain below which services have names, as `cluster.local`.
    pub cluster_domain: String,
    /// Servers that answer for names outside the cluster.
    pub upstream_dns: Vec<SocketAddr>,
    /// Folder for the addresses that are in use.
    pub state_dir: PathBuf,
    /// The `nft` program; `None` balances services in user space.
    pub nft: Option<PathBuf>,
    /// How other nodes are reached; `None` where there are none.
    pub overlay: Option<Overlay>,
}

impl NetworkConfig {
    /// Addresses of all pods, those of other nodes included.
    pub(crate) fn all_pods(&self) -> Subnet {
        self.overlay
            .as_ref()
            .map_or(self.pod_subnet, |overlay| overlay.cluster_pods)
    }
}

/// A range of IPv4 addresses, as `10.42.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IPv4 subnet such as `10.42.0.0/24`")]
pub struct ParseSubnetError(String);

impl Subnet {
    /// Makes the subnet of that prefix length (0 to 30) around an address.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        (prefix <= 30).then(|| Self {
            base: Ipv4Addr::from(u32::from(address) & mask),
            prefix,
        })
    }

    /// The lowest address, which stands for the subnet itself.
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// Bits that all addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// How many addresses there are.
    pub fn size(&self) -> u32 {
        // A prefix of 0 would overflow by one; nobody counts that far.
        u32::MAX
            .checked_shr(u32::from(self.prefix))
            .unwrap_or(0)
            .saturating_add(1)
    }

    /// The address that many steps after the base.
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        (n < self.size()).then(|| Ipv4Addr::from(u32::from(self.base) + n))
    }

    /// Whether the address is inside.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        Self::new(address, self.prefix).is_some_and(|other| other.base == self.base)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| ParseSubnetError(text.to_owned()))
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = ParseSubnetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The network of a node in tests, which the kernel does not have.
    pub(crate) fn config() -> NetworkConfig {
        NetworkConfig {
            node: "n1".into(),
            bridge: "tug0".into(),
            pod_subnet: "10.42.0.0/24".parse().unwrap(),
            service_subnet: "10.43.0.0/16".parse().unwrap(),
            dns_address: "10.43.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".into(),
            upstream_dns: Vec::new(),
            state_dir: "/nowhere".into(),
            nft: None,
            overlay: None,
        }
    }

    #[test]
    fn a_subnet_counts_its_addresses() {
        let subnet: Subnet = "10.42.3.7/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.42.3.0/24");
        assert_eq!(subnet.size(), 256);
        assert_eq!(subnet.nth(1), Some(Ipv4Addr::new(10, 42, 3, 1)));
        assert_eq!(subnet.nth(256), None);
        assert!(subnet.contains(Ipv4Addr::new(10, 42, 3, 255)));
        assert!(!subnet.contains(Ipv4Addr::new(10, 42, 4, 0)));
        assert!(subnet.overlaps(&"10.42.0.0/16".parse().unwrap()));
        assert!(!subnet.overlaps(&"10.43.0.0/16".parse().unwrap()));
    }

    #[test]
    fn err_not_a_subnet() {
        for text in ["", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/x", "a/8"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
