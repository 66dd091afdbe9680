//! The state of a store: its tables, and the one function that changes them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use cluster_objects::Object;
use tokio::sync::watch;

use crate::parts;
use crate::stored::Stored;
use crate::table::{Place, Table, TableView};
use crate::weight::ENTRY_BYTES;
use crate::{Change, Committed, Event, Key, Limits, Precondition, Revision, StoreError, Transaction, Write};

/// All tables at the newest revision, with as much of their past as the limits allow.
///
/// What a transaction does depends on nothing but the tables and the transaction, so that every member of a group
/// comes to the same state. Only how much of the past is kept is a local matter.
#[derive(Debug)]
pub(crate) struct Tables {
    limits: Limits,
    revision: Revision,
    tables: HashMap<Arc<str>, Table>,
    /// For each retained event, oldest first, its table and the bytes that it holds.
    retained: VecDeque<(Arc<str>, usize)>,
    history_bytes: usize,
    live_bytes: usize,
    /// The namespaces and tables in use, so that each is allocated once.
    names: HashSet<Arc<str>>,
    names_swept: usize,
    /// Set when the store stops: watchers end.
    closed: bool,
    /// Who is to be told of what changed, when the lock is released.
    wakes: Vec<Arc<watch::Sender<()>>>,
}

/// All tables at one moment, to be read without holding a lock.
#[derive(Debug)]
pub(crate) struct TablesView {
    pub(crate) revision: Revision,
    /// Name, the revision that nothing before is known of, and the table; by name.
    pub(crate) tables: Vec<(Arc<str>, Revision, TableView)>,
}

impl TablesView {
    /// The same at a later revision, before which nothing is known of any table.
    pub(crate) fn raised(mut self, revision: Revision) -> Self {
        self.revision = revision;
        for (_, compacted, _) in &mut self.tables {
            *compacted = revision;
        }
        self
    }
}

impl Tables {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            revision: Revision(0),
            tables: HashMap::new(),
            retained: VecDeque::new(),
            history_bytes: 0,
            live_bytes: 0,
            names: HashSet::new(),
            names_swept: 64,
            closed: false,
            wakes: Vec::new(),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends all watchers, once they have seen what is there.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.wakes = self.tables.values().map(|table| table.wake().clone()).collect();
    }

    pub(crate) fn table(&self, table: &str) -> Option<&Table> {
        self.tables.get(table)
    }

    pub(crate) fn table_mut(&mut self, table: &Arc<str>) -> &mut Table {
        let name = self.name(table);
        self.tables.entry(name).or_insert_with(|| Table::new(Revision(0)))
    }

    /// Takes the senders that have to be told of the changes since the last call.
    pub(crate) fn take_wakes(&mut self) -> Vec<Arc<watch::Sender<()>>> {
        std::mem::take(&mut self.wakes)
    }

    /// Does all of a transaction or nothing.
    pub(crate) fn apply(&mut self, transaction: Transaction) -> Result<Committed, StoreError> {
        let transaction = parts::gather(self, transaction)?;
        self.check(&transaction)?;
        let writes = transaction.writes.into_iter();
        let objects = writes.map(|write| self.write(write)).collect();
        self.evict();
        Ok(Committed {
            revision: self.revision,
            objects,
        })
    }

    /// Shares all tables as they are now, without copying.
    pub(crate) fn view(&self) -> TablesView {
        let table = |(name, table): (&Arc<str>, &Table)| (name.clone(), table.compacted(), table.view());
        let mut tables: Vec<_> = self.tables.iter().map(table).collect();
        tables.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        TablesView {
            revision: self.revision,
            tables,
        }
    }

    /// Makes a table of which nothing before a revision is known.
    pub(crate) fn load_table(&mut self, name: &Arc<str>, compacted: Revision) {
        let name = self.name(name);
        self.tables.insert(name, Table::new(compacted));
    }

    /// Stores an object that was there at the revision that a table begins with.
    pub(crate) fn load_object(&mut self, table: &Arc<str>, mut place: Place, stored: Stored) {
        place.namespace = self.name(&place.namespace);
        self.live_bytes += stored.bytes();
        self.table_mut(table).replace(place, Some(stored));
    }

    /// Repeats a change; the object of a deletion is the one that is there.
    pub(crate) fn load_event(&mut self, key: &Key, revision: Revision, object: Option<Arc<Object>>) {
        let deleted = object.is_none();
        if let Some(object) = object.or_else(|| self.stored(key).map(|stored| stored.object().clone())) {
            self.change(key, object, deleted, revision);
        }
    }

    /// Ends loading.
    pub(crate) fn loaded(&mut self, revision: Revision) {
        self.revision = revision;
        self.evict();
        self.wakes.clear();
    }

    /// Becomes what another member sent; watchers cannot go on from one to the other.
    pub(crate) fn replace(&mut self, mut other: Self) {
        for (name, before) in self.tables.drain() {
            let table = other.tables.entry(name);
            let table = table.or_insert_with(|| Table::new(other.revision));
            table.succeed(before);
            other.wakes.push(table.wake().clone());
        }
        other.closed = self.closed;
        *self = other;
    }

    fn check(&self, transaction: &Transaction) -> Result<(), StoreError> {
        for Write {
            key, precondition, ..
        } in &transaction.writes
        {
            let current = self.stored(key);
            let holds = match precondition {
                Precondition::None => true,
                Precondition::Absent => current.is_none(),
                Precondition::Present => current.is_some(),
                Precondition::At(revision) => current.is_some_and(|stored| stored.revision() == *revision),
            };
            if !holds {
                return Err(StoreError::PreconditionFailed {
                    key: key.clone(),
                    current: current.map(|stored| stored.object().clone()),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn stored(&self, key: &Key) -> Option<&Stored> {
        self.tables.get(&key.table)?.get(&Place::of(key))
    }

    fn write(&mut self, write: Write) -> Option<Arc<Object>> {
        let (object, deleted) = match write.change {
            Change::Check => return None,
            Change::Put(object) => (object, false),
            Change::Delete => (self.stored(&write.key)?.object().clone(), true),
        };
        let revision = Revision(self.revision.0 + 1);
        Some(self.change(&write.key, object, deleted, revision))
    }

    /// Stores or removes an object at the next revision, and keeps the event.
    fn change(&mut self, key: &Key, object: Arc<Object>, deleted: bool, revision: Revision) -> Arc<Object> {
        let object = stamp(object, revision);
        let stored = (!deleted).then(|| Stored::new(object.clone(), revision));
        let key = Key {
            table: self.name(&key.table),
            namespace: self.name(&key.namespace),
            name: key.name.clone(),
        };
        self.revision = revision;
        self.live_bytes += stored.as_ref().map_or(0, Stored::bytes);
        let table = self.tables.entry(key.table.clone());
        let table = table.or_insert_with(|| Table::new(Revision(0)));
        let previous = table.replace(Place::of(&key), stored);
        let previous_bytes = previous.as_ref().map_or(0, Stored::bytes);
        self.live_bytes -= previous_bytes;
        // A deletion keeps two versions: the last state and the same with the revision of the deletion.
        let held_bytes = ENTRY_BYTES + previous_bytes * if deleted { 2 } else { 1 };
        self.history_bytes += held_bytes;
        self.retained.push_back((key.table.clone(), held_bytes));
        if !self.wakes.iter().any(|wake| Arc::ptr_eq(wake, table.wake())) {
            self.wakes.push(table.wake().clone());
        }
        table.push(Arc::new(Event {
            revision,
            key,
            object: object.clone(),
            previous: previous.map(|stored| stored.object().clone()),
            deleted,
        }));
        object
    }

    fn evict(&mut self) {
        let bytes_max = self.limits.history_bytes(self.live_bytes);
        while self.history_bytes > bytes_max || self.retained.len() > self.limits.history_events_max {
            let Some((table, bytes)) = self.retained.pop_front() else {
                break;
            };
            self.history_bytes -= bytes;
            if let Some(table) = self.tables.get_mut(&table) {
                table.evict();
            }
        }
    }

    /// The one shared copy of the name of a table or namespace.
    fn name(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        if self.names.len() >= self.names_swept {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.names_swept = (self.names.len() * 2).max(64);
        }
        self.names.insert(name.clone());
        name.clone()
    }
}

/// Sets `metadata.resourceVersion`.
fn stamp(mut object: Arc<Object>, revision: Revision) -> Arc<Object> {
    Arc::make_mut(&mut object).set(&["metadata", "resourceVersion"], revision.to_string());
    object
}
