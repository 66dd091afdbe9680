//! Writes that are decided and not yet done.

use std::collections::HashMap;
use std::sync::Arc;

use cluster_objects::Object;
use cluster_objects::registry::KindRow;
use cluster_store::{Change, Key, Precondition, Store, Transaction, Write};

use super::Written;
use super::commit::Settle;

/// What a request makes of one object.
pub(super) struct Decision {
    /// Where the object is stored.
    pub(super) key: Key,
    /// The object as it will be, or as it is where nothing changes, in the version of the request.
    pub(super) object: Arc<Object>,
    /// What is written; `None` where nothing changes.
    pub(super) write: Option<(Precondition, Change)>,
    /// What else must hold.
    pub(super) dependencies: Vec<Write>,
    /// What is settled besides.
    pub(super) settle: Settle,
    /// What the client should hear besides.
    pub(super) warnings: Vec<String>,
    /// Whether the object is new.
    pub(super) created: bool,
}

impl Decision {
    /// The outcome where nothing is written.
    pub(super) fn into_written(self) -> Written {
        Written {
            object: self.object,
            created: self.created,
            warnings: self.warnings,
        }
    }
}

/// An object as its row stores it, shared where that is the version of the request.
pub(super) fn stored_form(row: &KindRow, object: &Arc<Object>) -> Arc<Object> {
    if row.is_storage_version() && object.api_version() == row.storage_version {
        return Arc::clone(object);
    }
    let mut stored = Object::clone(object);
    row.to_stored(&mut stored);
    Arc::new(stored)
}

/// The decisions of one transaction: each sees what those before it will have done.
#[derive(Default)]
pub(super) struct Stage {
    writes: Vec<Write>,
    /// Where in `writes` a key is.
    places: HashMap<Key, usize>,
    settles: Vec<Settle>,
}

impl Stage {
    /// The object at a key once the stage is committed.
    pub(super) fn get(&self, store: &dyn Store, key: &Key) -> Option<Arc<Object>> {
        match self.places.get(key).map(|place| &self.writes[*place].change) {
            Some(Change::Put(object)) => Some(Arc::clone(object)),
            Some(Change::Delete) => None,
            Some(Change::Check) | None => store.get(key),
        }
    }

    /// Whether the stage changes what is at a key.
    pub(super) fn writes(&self, key: &Key) -> bool {
        let write = self.places.get(key).map(|place| &self.writes[*place]);
        write.is_some_and(|write| write.change != Change::Check)
    }

    /// The objects of a table in a namespace once the stage is committed, given those that are stored now.
    pub(super) fn overlay(
        &self,
        table: &str,
        namespace: &str,
        mut stored: Vec<Arc<Object>>,
    ) -> Vec<Arc<Object>> {
        let here = |write: &&Write| *write.key.table == *table && *write.key.namespace == *namespace;
        for write in self.writes.iter().filter(here) {
            if write.change == Change::Check {
                continue;
            }
            stored.retain(|object| object.name() != &*write.key.name);
            if let Change::Put(object) = &write.change {
                stored.push(Arc::clone(object));
            }
        }
        stored
    }

    /// Adds a decision. Of several about one object the first says what must hold, the last what is written.
    pub(super) fn add(&mut self, decision: Decision) {
        if let Some((precondition, change)) = decision.write {
            self.put(Write {
                key: decision.key,
                precondition,
                change,
            });
            self.settles.push(decision.settle);
        }
        for dependency in decision.dependencies {
            self.put(dependency);
        }
    }

    fn put(&mut self, write: Write) {
        let Some(place) = self.places.get(&write.key) else {
            self.places.insert(write.key.clone(), self.writes.len());
            self.writes.push(write);
            return;
        };
        let known = &mut self.writes[*place];
        if write.change == Change::Check {
            return;
        }
        known.change = match (&known.precondition, write.change) {
            // What was made and taken away again was never there.
            (Precondition::Absent, Change::Delete) => Change::Check,
            (_, change) => change,
        };
    }

    /// The place of a key in the transaction.
    pub(super) fn place_of(&self, key: &Key) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.iter().all(|write| write.change == Change::Check)
    }

    /// The transaction, and what is settled once it went through.
    pub(super) fn into_parts(self) -> (Transaction, Vec<Settle>) {
        (Transaction { writes: self.writes }, self.settles)
    }
}
