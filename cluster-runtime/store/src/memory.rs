//! A store without a disk.

use std::sync::Arc;

use async_trait::async_trait;
use cluster_objects::Object;

use crate::proposal::check_transaction;
use crate::shared_tables::SharedTables;
use crate::tables::Tables;
use crate::{
    Committed, EventStream, Key, Limits, ListAnswer, Revision, Selection, Store, StoreError, StoreStatus,
    Transaction,
};

/// A store that keeps everything in memory and forgets it when dropped: for tests and simulations.
#[derive(Debug)]
pub struct MemoryStore {
    limits: Limits,
    tables: Arc<SharedTables>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new(limits: Limits) -> Self {
        Self {
            tables: Arc::new(SharedTables::new(limits.clone())),
            limits,
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.tables.change(Tables::close);
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn revision(&self) -> Revision {
        self.tables.revision()
    }

    fn status(&self) -> StoreStatus {
        StoreStatus::Ready
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.tables.get(key)
    }

    fn list(
        &self,
        selection: &Selection,
        at: Option<Revision>,
        after: Option<(&str, &str)>,
        limit: usize,
        keep: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<ListAnswer, StoreError> {
        self.tables.list(selection, at, after, limit, keep)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        check_transaction(&transaction, &self.limits, &self.tables)?;
        self.tables.apply(transaction)
    }

    async fn ensure_newest(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn watch(&self, selection: &Selection, after: Revision) -> Result<EventStream, StoreError> {
        self.tables.watch(selection, after)
    }
}
