//! Who owns whom, as far as watches have told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use cluster_client::{Change, ObjectKey};
use cluster_objects::{GroupVersionResource, Object, OwnerReference};

/// The finalizer of an object whose dependants go first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependants stay.
pub(crate) const ORPHAN: &str = "orphan";

/// One object of any resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) resource: GroupVersionResource,
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.group_resource(), self.key)
    }
}

/// What the graph knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) item: Item,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) deleting: bool,
    /// Being deleted, after its dependants.
    pub(crate) foreground: bool,
    /// Being deleted, with its dependants set free.
    pub(crate) orphaning: bool,
}

impl Node {
    fn new(resource: &GroupVersionResource, object: &Object) -> Self {
        let deleting = object.deletion_timestamp().is_some();
        let finalizers = object.list(&["metadata", "finalizers"]);
        let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
        Self {
            item: Item {
                resource: resource.clone(),
                key: ObjectKey::of(object),
                uid: object.uid().to_owned(),
            },
            owners: object.owner_references(),
            deleting,
            foreground: deleting && has(FOREGROUND),
            orphaning: deleting && has(ORPHAN),
        }
    }

    /// Whether this object keeps an owner of this UID that is deleted in the foreground.
    pub(crate) fn blocks(&self, owner: &str) -> bool {
        let mut owners = self.owners.iter();
        owners.any(|reference| reference.uid == owner && reference.block_owner_deletion == Some(true))
    }
}

/// The objects by UID, and the dependants of each.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: HashMap<String, Node>,
    /// By the UID of the owner, whether or not it is known.
    dependants: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(crate) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The known objects that name the object of this UID as an owner.
    pub(crate) fn dependants(&self, uid: &str) -> Vec<Node> {
        let dependants = self.dependants.get(uid).into_iter().flatten();
        dependants
            .filter_map(|dependant| self.nodes.get(dependant))
            .cloned()
            .collect()
    }

    /// All objects with owners.
    pub(crate) fn owned(&self) -> Vec<Item> {
        let owned = self.nodes.values().filter(|node| !node.owners.is_empty());
        owned.map(|node| node.item.clone()).collect()
    }

    /// Takes a change and gives the objects to look at because of it.
    pub(crate) fn apply(&mut self, resource: &GroupVersionResource, change: &Change) -> Vec<Item> {
        let node = Node::new(resource, change.object());
        match change {
            Change::Deleted(_) => self.remove(&node.item.uid),
            Change::Added(_) | Change::Updated { .. } => self.put(node),
        }
    }

    fn put(&mut self, node: Node) -> Vec<Item> {
        let uid = node.item.uid.clone();
        let before = self.nodes.insert(uid.clone(), node.clone());
        if before.as_ref() == Some(&node) {
            return Vec::new();
        }
        let mut concerned = BTreeSet::new();
        for owner in before.iter().flat_map(|before| &before.owners) {
            if !node.owners.iter().any(|now| now.uid == owner.uid) {
                self.unlink(&owner.uid, &uid);
                // An owner that waited for this object need wait no longer.
                concerned.extend(self.waiting(&owner.uid));
            }
        }
        for owner in &node.owners {
            self.dependants
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
            match self.nodes.get(&owner.uid) {
                Some(present) if !present.foreground => {}
                // The owner is gone, was never there, or waits for its dependants.
                _ => {
                    concerned.insert(node.item.clone());
                }
            }
            if before
                .as_ref()
                .is_some_and(|before| before.blocks(&owner.uid) != node.blocks(&owner.uid))
            {
                concerned.extend(self.waiting(&owner.uid));
            }
        }
        if node.foreground || node.orphaning {
            concerned.insert(node.item);
        }
        concerned.into_iter().collect()
    }

    fn remove(&mut self, uid: &str) -> Vec<Item> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut concerned = BTreeSet::new();
        for owner in &node.owners {
            self.unlink(&owner.uid, uid);
            concerned.extend(self.waiting(&owner.uid));
        }
        concerned.extend(self.dependants(uid).into_iter().map(|dependant| dependant.item));
        concerned.into_iter().collect()
    }

    fn unlink(&mut self, owner: &str, dependant: &str) {
        if let Some(dependants) = self.dependants.get_mut(owner) {
            dependants.remove(dependant);
            if dependants.is_empty() {
                self.dependants.remove(owner);
            }
        }
    }

    fn waiting(&self, uid: &str) -> Option<Item> {
        let node = self.nodes.get(uid)?;
        node.foreground.then(|| node.item.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    /// An object written as its UID, with the UIDs of its owners (`!` where it blocks them) and its finalizer.
    fn object(uid: &str, owners: &[&str], finalizer: &str) -> Arc<Object> {
        let mut object = Object::new("v1", "ConfigMap", Some("default"), uid);
        object.set(&["metadata", "uid"], uid);
        let owners: Vec<_> = owners
            .iter()
            .map(|owner| {
                let uid = owner.trim_start_matches('!');
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": owner.starts_with('!')})
            })
            .collect();
        object.set(&["metadata", "ownerReferences"], owners);
        if !finalizer.is_empty() {
            object.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
            object.set(&["metadata", "finalizers"], json!([finalizer]));
        }
        Arc::new(object)
    }

    fn put(graph: &mut Graph, object: &Arc<Object>) -> Vec<String> {
        apply(graph, &Change::Added(object.clone()))
    }

    fn apply(graph: &mut Graph, change: &Change) -> Vec<String> {
        let resource = GroupVersionResource::new("v1", "configmaps");
        graph
            .apply(&resource, change)
            .into_iter()
            .map(|item| item.uid)
            .collect()
    }

    #[test]
    fn what_is_owned_is_looked_at_when_its_owner_is_missing_or_goes() {
        let mut graph = Graph::default();
        assert!(put(&mut graph, &object("owner", &[], "")).is_empty());
        assert!(put(&mut graph, &object("child", &["owner"], "")).is_empty());
        assert_eq!(put(&mut graph, &object("stray", &["nobody"], "")), ["stray"]);
        assert_eq!(
            apply(&mut graph, &Change::Deleted(object("owner", &[], ""))),
            ["child"]
        );
        assert!(put(&mut graph, &object("child", &[], "")).is_empty());
        assert!(graph.dependants("owner").is_empty());
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_what_it_waits_for_goes() {
        let mut graph = Graph::default();
        put(&mut graph, &object("owner", &[], ""));
        put(&mut graph, &object("blocking", &["!owner"], ""));
        put(&mut graph, &object("free", &["owner"], ""));
        assert_eq!(put(&mut graph, &object("owner", &[], FOREGROUND)), ["owner"]);
        assert_eq!(
            graph
                .dependants("owner")
                .iter()
                .filter(|node| node.blocks("owner"))
                .count(),
            1
        );
        assert_eq!(put(&mut graph, &object("late", &["!owner"], "")), ["late"]);
        assert_eq!(
            apply(&mut graph, &Change::Deleted(object("blocking", &["!owner"], ""))),
            ["owner"]
        );
        // Losing the owner's reference sets the owner free as well.
        assert_eq!(put(&mut graph, &object("late", &[], "")), ["owner"]);
        assert_eq!(put(&mut graph, &object("owner", &[], ORPHAN)), ["owner"]);
    }
}
