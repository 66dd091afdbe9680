//! The local copy of a collection, with indexes; it decides what changed and does no IO.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cluster_objects::Object;

/// Namespace and name of an object of a known resource.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace, empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Makes a key; the namespace is empty for cluster-wide objects.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of(object: &Object) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One change of a collection, as handlers see it.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is new to the cache.
    Added(Arc<Object>),
    /// The object changed.
    Updated {
        /// What was cached before.
        old: Arc<Object>,
        /// What is cached now.
        new: Arc<Object>,
    },
    /// The object is gone, in its last known state.
    Deleted(Arc<Object>),
}

impl Change {
    /// The object in its newest known state.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Added(object) | Self::Updated { new: object, .. } | Self::Deleted(object) => object,
        }
    }

    /// The object before the change.
    pub fn old(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Updated { old, .. } => Some(old),
            Self::Added(_) | Self::Deleted(_) => None,
        }
    }
}

type KeysOf = Box<dyn Fn(&Object) -> Vec<String> + Send + Sync>;
type Objects = BTreeMap<ObjectKey, Arc<Object>>;

struct Index {
    keys_of: KeysOf,
    entries: HashMap<String, Objects>,
}

/// Objects by namespace and name, by the UID of their controller, and by indexes of the caller.
#[derive(Default)]
pub(crate) struct Cache {
    objects: Objects,
    by_controller: HashMap<String, Objects>,
    indexes: HashMap<&'static str, Index>,
}

impl Cache {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&ObjectKey::new(namespace, name))
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.objects
            .range(ObjectKey::new(namespace, "")..)
            .take_while(move |(key, _)| &*key.namespace == namespace)
            .map(|(_, object)| object)
    }

    pub(crate) fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.by_controller.get(uid).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn indexed(&self, index: &str, key: &str) -> impl Iterator<Item = &Arc<Object>> {
        let entries = self.indexes.get(index).and_then(|index| index.entries.get(key));
        entries.into_iter().flat_map(BTreeMap::values)
    }

    /// Adds an index and fills it; an index of that name that is there already stays as it is.
    pub(crate) fn add_index(&mut self, name: &'static str, keys_of: KeysOf) {
        if self.indexes.contains_key(name) {
            return;
        }
        let mut index = Index {
            keys_of,
            entries: HashMap::new(),
        };
        for (key, object) in &self.objects {
            for value in (index.keys_of)(object) {
                put_entry(&mut index.entries, &value, key, object);
            }
        }
        self.indexes.insert(name, index);
    }

    /// Stores an object and tells what changed: nothing where the cache shows this revision already.
    pub(crate) fn put(&mut self, object: Arc<Object>) -> Vec<Change> {
        let key = ObjectKey::of(&object);
        let old = match self.objects.entry(key.clone()) {
            Entry::Occupied(known) if same_revision(known.get(), &object) => return Vec::new(),
            Entry::Occupied(mut known) => Some(known.insert(object.clone())),
            Entry::Vacant(place) => {
                place.insert(object.clone());
                None
            }
        };
        self.reindex(&key, old.as_deref(), &object);
        match old {
            Some(old) if old.uid() == object.uid() => vec![Change::Updated { old, new: object }],
            Some(old) => vec![Change::Deleted(old), Change::Added(object)],
            None => vec![Change::Added(object)],
        }
    }

    /// Removes an object; `last` is the state in which it was deleted.
    pub(crate) fn remove(&mut self, last: Arc<Object>) -> Vec<Change> {
        let key = ObjectKey::of(&last);
        let Some(old) = self.objects.remove(&key) else {
            return Vec::new();
        };
        self.unindex(&key, &old);
        vec![Change::Deleted(last)]
    }

    /// Takes the whole collection as it is now and tells what changed.
    pub(crate) fn replace(&mut self, objects: Vec<Arc<Object>>) -> Vec<Change> {
        let present: std::collections::HashSet<ObjectKey> =
            objects.iter().map(|object| ObjectKey::of(object)).collect();
        let gone: Vec<Arc<Object>> = self
            .objects
            .iter()
            .filter(|(key, _)| !present.contains(key))
            .map(|(_, object)| object.clone())
            .collect();
        let mut changes: Vec<Change> = gone.into_iter().flat_map(|object| self.remove(object)).collect();
        for object in objects {
            changes.extend(self.put(object));
        }
        changes
    }

    /// Puts an object into the indexes, and takes the one that it was out where it is no more. Hardly ever is that.
    fn reindex(&mut self, key: &ObjectKey, old: Option<&Object>, object: &Arc<Object>) {
        let uid = controller_uid(object);
        if let Some(before) = old.and_then(controller_uid)
            && uid != Some(before)
        {
            remove_entry(&mut self.by_controller, before, key);
        }
        if let Some(uid) = uid {
            put_entry(&mut self.by_controller, uid, key, object);
        }
        for index in self.indexes.values_mut() {
            let values = (index.keys_of)(object);
            for before in old.map(&index.keys_of).unwrap_or_default() {
                if !values.contains(&before) {
                    remove_entry(&mut index.entries, &before, key);
                }
            }
            for value in values {
                put_entry(&mut index.entries, &value, key, object);
            }
        }
    }

    fn unindex(&mut self, key: &ObjectKey, old: &Object) {
        if let Some(uid) = controller_uid(old) {
            remove_entry(&mut self.by_controller, uid, key);
        }
        for index in self.indexes.values_mut() {
            for value in (index.keys_of)(old) {
                remove_entry(&mut index.entries, &value, key);
            }
        }
    }
}

/// The UID of the managing owner, without reading the references as a whole: this is done for every change.
fn controller_uid(object: &Object) -> Option<&str> {
    let owners = object.list(&["metadata", "ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

fn put_entry(entries: &mut HashMap<String, Objects>, value: &str, key: &ObjectKey, object: &Arc<Object>) {
    match entries.get_mut(value) {
        Some(objects) => drop(objects.insert(key.clone(), object.clone())),
        None => drop(entries.insert(value.to_owned(), Objects::from([(key.clone(), object.clone())]))),
    }
}

fn remove_entry(entries: &mut HashMap<String, Objects>, value: &str, key: &ObjectKey) {
    if let Some(objects) = entries.get_mut(value) {
        objects.remove(key);
        if objects.is_empty() {
            entries.remove(value);
        }
    }
}

fn same_revision(old: &Object, new: &Object) -> bool {
    !new.resource_version().is_empty()
        && old.resource_version() == new.resource_version()
        && old.uid() == new.uid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(namespace: &str, name: &str, revision: &str, owner: &str) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some(namespace), name);
        pod.set(&["metadata", "uid"], format!("{namespace}-{name}"));
        pod.set(&["metadata", "resourceVersion"], revision);
        if !owner.is_empty() {
            pod.set(
                &["metadata", "ownerReferences"],
                json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}]),
            );
        }
        Arc::new(pod)
    }

    fn names<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> Vec<&'a str> {
        objects.map(|object| object.name()).collect()
    }

    fn kinds(changes: &[Change]) -> Vec<(&'static str, String)> {
        let word = |change: &Change| match change {
            Change::Added(_) => "added",
            Change::Updated { .. } => "updated",
            Change::Deleted(_) => "deleted",
        };
        changes
            .iter()
            .map(|change| (word(change), change.object().key().into_owned()))
            .collect()
    }

    #[test]
    fn objects_are_found_by_namespace_controller_and_index() {
        let mut cache = Cache::default();
        cache.put(pod("a", "one", "1", "rs"));
        cache.add_index(
            "revision",
            Box::new(|object| vec![object.resource_version().to_owned()]),
        );
        cache.put(pod("a", "two", "2", "rs"));
        cache.put(pod("ab", "three", "2", ""));
        assert_eq!(names(cache.in_namespace("a")), ["one", "two"]);
        assert_eq!(names(cache.in_namespace("")), Vec::<&str>::new());
        assert_eq!(names(cache.owned_by("rs")), ["one", "two"]);
        assert_eq!(names(cache.indexed("revision", "1")), ["one"]);
        assert_eq!(names(cache.indexed("revision", "2")), ["two", "three"]);

        cache.put(pod("a", "two", "3", ""));
        assert_eq!(names(cache.owned_by("rs")), ["one"]);
        assert_eq!(names(cache.indexed("revision", "2")), ["three"]);
        assert_eq!(names(cache.indexed("revision", "3")), ["two"]);
    }

    #[test]
    fn replacing_reports_the_difference_only() {
        let mut cache = Cache::default();
        cache.put(pod("a", "gone", "1", ""));
        cache.put(pod("a", "same", "1", ""));
        cache.put(pod("a", "changed", "1", ""));
        let mut again = (*pod("a", "again", "1", "")).clone();
        cache.put(Arc::new(again.clone()));
        again.set(&["metadata", "uid"], "another");
        let changes = cache.replace(vec![
            pod("a", "same", "1", ""),
            pod("a", "changed", "5", ""),
            pod("a", "new", "4", ""),
            Arc::new(again),
        ]);
        let expected = [
            ("deleted", "a/gone"),
            ("updated", "a/changed"),
            ("added", "a/new"),
            ("deleted", "a/again"),
            ("added", "a/again"),
        ];
        let expected: Vec<(&str, String)> = expected.iter().map(|(k, n)| (*k, (*n).to_owned())).collect();
        assert_eq!(kinds(&changes), expected);
    }
}
