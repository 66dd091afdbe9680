//! Which pod has which address, kept over restarts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Subnet;

/// The addresses of a node's pods.
///
/// Addresses are given in turn, so that one just freed is not soon somebody else's: connections and caches that
/// still point to it fail instead of reaching a stranger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    subnet: Subnet,
    next: u32,
    used: BTreeMap<String, Ipv4Addr>,
    /// Pods whose link was made to its end.
    linked: BTreeSet<String>,
}

/// Every address of the subnet is in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {count} pod addresses of {subnet} are in use")]
pub struct PoolExhausted {
    subnet: Subnet,
    count: usize,
}

/// The base stands for the subnet and the next address is the bridge's.
const FIRST_POD: u32 = 2;

impl AddressPool {
    /// A pool in which nothing is used.
    pub fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            next: FIRST_POD,
            used: BTreeMap::new(),
            linked: BTreeSet::new(),
        }
    }

    /// The subnet that addresses come from.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// The address of a pod: the one it has, or a free one.
    pub fn allocate(&mut self, pod: &str) -> Result<Ipv4Addr, PoolExhausted> {
        if let Some(address) = self.used.get(pod) {
            return Ok(*address);
        }
        let taken: HashSet<Ipv4Addr> = self.used.values().copied().collect();
        // The last address of the subnet is the broadcast address.
        let end = self.subnet.size() - 1;
        let turn = (self.next..end).chain(FIRST_POD..self.next.min(end));
        for n in turn {
            let Some(address) = self.subnet.nth(n) else {
                continue;
            };
            if !taken.contains(&address) {
                self.next = n + 1;
                self.used.insert(pod.to_owned(), address);
                return Ok(address);
            }
        }
        Err(PoolExhausted {
            subnet: self.subnet,
            count: self.used.len(),
        })
    }

    /// Notes that a pod's link is whole.
    pub fn set_linked(&mut self, pod: &str) {
        self.linked.insert(pod.to_owned());
    }

    /// Whether a pod's link is whole.
    pub fn is_linked(&self, pod: &str) -> bool {
        self.linked.contains(pod)
    }

    /// Frees the address of a pod.
    pub fn free(&mut self, pod: &str) -> Option<Ipv4Addr> {
        self.linked.remove(pod);
        self.used.remove(pod)
    }

    /// The pods that have an address.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.used.keys().map(String::as_str)
    }

    /// The pods that have an address, with it.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.used.iter().map(|(pod, address)| (pod.as_str(), *address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_and_a_freed_one_comes_last() {
        let mut pool = AddressPool::new("10.0.0.0/29".parse().unwrap());
        let first = pool.allocate("a").unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(pool.allocate("a"), Ok(first));
        pool.free("a");
        let rest: Vec<_> = ["b", "c", "d", "e"]
            .iter()
            .map(|pod| pool.allocate(pod).unwrap().octets()[3])
            .collect();
        assert_eq!(rest, [3, 4, 5, 6]);
        assert_eq!(pool.allocate("f"), Ok(first));
        assert_eq!(
            pool.allocate("g").unwrap_err().to_string(),
            "all 5 pod addresses of 10.0.0.0/29 are in use"
        );
    }
}
