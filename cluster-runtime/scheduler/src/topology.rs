//! Topologies: the label keys by which nodes fall into domains, with keys and values as small numbers.

use std::collections::HashMap;
use std::sync::Arc;

/// Number of a topology key; the keys that pods name are few.
pub(crate) type TopologyId = usize;
/// Number of a domain, one value of a topology key.
pub(crate) type DomainId = u32;

/// The domain of a node that has no such label.
pub(crate) const NO_DOMAIN: DomainId = DomainId::MAX;
/// The topology in which every node is alone, by its name, whatever its labels.
pub(crate) const BY_NODE: TopologyId = 0;

/// One topology key and its domains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    key: Arc<str>,
    domains: HashMap<Arc<str>, DomainId>,
    /// Nodes in each domain.
    nodes: Vec<u32>,
    /// Numbers of domains without nodes, to be given again.
    free: Vec<DomainId>,
    /// Nodes in any domain.
    labelled: usize,
}

/// All topology keys that pods have named.
#[derive(Clone, Debug)]
pub(crate) struct Topologies {
    all: Vec<Topology>,
    ids: HashMap<Arc<str>, TopologyId>,
}

impl Topology {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// How many domains have nodes.
    pub(crate) fn present(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Numbers of domains are below this.
    pub(crate) fn bound(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes in any domain.
    pub(crate) fn labelled(&self) -> usize {
        self.labelled
    }

    /// Takes a node into the domain of its value.
    pub(crate) fn enter(&mut self, value: Option<&str>) -> DomainId {
        let Some(value) = value else { return NO_DOMAIN };
        self.labelled += 1;
        if let Some(id) = self.domains.get(value) {
            self.nodes[*id as usize] += 1;
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(0);
            DomainId::try_from(self.nodes.len() - 1).unwrap_or(NO_DOMAIN)
        });
        self.nodes[id as usize] = 1;
        self.domains.insert(value.into(), id);
        id
    }

    /// Takes a node out of its domain.
    pub(crate) fn leave(&mut self, id: DomainId, value: Option<&str>) {
        if id == NO_DOMAIN {
            return;
        }
        self.labelled -= 1;
        let nodes = &mut self.nodes[id as usize];
        *nodes -= 1;
        if *nodes == 0 {
            if let Some(value) = value {
                self.domains.remove(value);
            }
            self.free.push(id);
        }
    }
}

impl Default for Topologies {
    fn default() -> Self {
        Self {
            all: vec![Topology::default()],
            ids: HashMap::new(),
        }
    }
}

impl Topologies {
    pub(crate) fn id(&self, key: &str) -> Option<TopologyId> {
        self.ids.get(key).copied()
    }

    pub(crate) fn get(&self, id: TopologyId) -> &Topology {
        &self.all[id]
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TopologyId, &mut Topology)> {
        self.all.iter_mut().enumerate()
    }

    /// Adds a key that is not there; nodes must enter it.
    pub(crate) fn add(&mut self, key: &str) -> TopologyId {
        let id = self.all.len();
        let key: Arc<str> = key.into();
        self.ids.insert(key.clone(), id);
        self.all.push(Topology {
            key,
            ..Topology::default()
        });
        id
    }

    pub(crate) fn get_mut(&mut self, id: TopologyId) -> &mut Topology {
        &mut self.all[id]
    }
}
