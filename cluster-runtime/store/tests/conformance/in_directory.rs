//! A replicated store in a directory that goes away with it.

use std::sync::Arc;

use async_trait::async_trait;
use cluster_objects::Object;
use cluster_store::{
    Committed, EventStream, Key, Limits, ListAnswer, RaftStore, RaftStoreConfig, Revision, Selection, Store,
    StoreError, StoreStatus, Transaction,
};
use tempfile::TempDir;

pub(crate) struct InDirectory {
    store: RaftStore,
    _dir: TempDir,
}

impl InDirectory {
    pub(crate) async fn open(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = RaftStoreConfig::new(dir.path());
        config.limits = limits;
        config.segment_bytes = 64 << 10;
        Self {
            store: RaftStore::open(config).await.unwrap(),
            _dir: dir,
        }
    }
}

#[async_trait]
impl Store for InDirectory {
    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn status(&self) -> StoreStatus {
        self.store.status()
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.store.get(key)
    }

    fn list(
        &self,
        selection: &Selection,
        at: Option<Revision>,
        after: Option<(&str, &str)>,
        limit: usize,
        keep: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<ListAnswer, StoreError> {
        self.store.list(selection, at, after, limit, keep)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        self.store.commit(transaction).await
    }

    async fn ensure_newest(&self) -> Result<(), StoreError> {
        self.store.ensure_newest().await
    }

    fn watch(&self, selection: &Selection, after: Revision) -> Result<EventStream, StoreError> {
        self.store.watch(selection, after)
    }
}
