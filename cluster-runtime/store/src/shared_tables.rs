//! The tables behind their lock: what both stores do for readers.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use cluster_objects::Object;

use crate::tables::Tables;
use crate::watch::watch;
use crate::{Committed, EventStream, Key, Limits, ListAnswer, Revision, Selection, StoreError, Transaction};

/// Tables that many read and one changes.
///
/// The lock is held for one object, for a handful of events, or to share the root of a table; walking a table
/// happens outside of it.
#[derive(Debug)]
pub(crate) struct SharedTables {
    tables: RwLock<Tables>,
}

impl SharedTables {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::of(Tables::new(limits))
    }

    pub(crate) fn of(tables: Tables) -> Self {
        Self {
            tables: RwLock::new(tables),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read().revision()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        // Decoded, where that is still to do, without the lock.
        let stored = self.read().stored(key).cloned();
        stored.map(|stored| stored.object().clone())
    }

    pub(crate) fn list(
        &self,
        selection: &Selection,
        at: Option<Revision>,
        after: Option<(&str, &str)>,
        limit: usize,
        keep: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<ListAnswer, StoreError> {
        let (view, at) = {
            let tables = self.read();
            let newest = tables.revision();
            let at = at.unwrap_or(newest);
            if at > newest {
                return Err(StoreError::Future { asked: at, newest });
            }
            let Some(table) = tables.table(&selection.table) else {
                return Ok(ListAnswer {
                    revision: at,
                    objects: Vec::new(),
                    more: false,
                });
            };
            if at < table.compacted() {
                return Err(StoreError::Compacted {
                    asked: at,
                    oldest: table.compacted(),
                });
            }
            (table.view(), at)
        };
        Ok(view.list(selection.namespace.as_ref(), at, after, limit, keep))
    }

    pub(crate) fn watch(
        self: &Arc<Self>,
        selection: &Selection,
        after: Revision,
    ) -> Result<EventStream, StoreError> {
        watch(self.clone(), selection.clone(), after)
    }

    /// Changes the tables, then tells the watchers.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        let (outcome, wakes) = {
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            let outcome = change(&mut tables);
            (outcome, tables.take_wakes())
        };
        for wake in wakes {
            wake.send_replace(());
        }
        outcome
    }

    pub(crate) fn apply(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        self.change(|tables| tables.apply(transaction))
    }
}
