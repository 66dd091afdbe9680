//! An API that counts what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cluster_client::{
    Api, Collection, DeleteOptions, Deleted, Discovery, List, ListOptions, Patch, Target, WatchOptions,
    WatchStream, WriteOptions,
};
use cluster_objects::{Object, Status};

/// Counts the requests to another API.
pub(crate) struct Counting {
    inner: Arc<dyn Api>,
    requests: AtomicUsize,
}

impl Counting {
    pub(crate) fn new(inner: Arc<dyn Api>) -> Self {
        Self {
            inner,
            requests: AtomicUsize::new(0),
        }
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn counted(&self) -> &Arc<dyn Api> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

#[async_trait]
impl Api for Counting {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.counted().get(target).await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        self.counted().list(collection, options).await
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.counted().watch(collection, options).await
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.counted().create(collection, object, options).await
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.counted().post(target, body, options).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.counted().update(target, object, options).await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.counted().patch(target, patch, options).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.counted().delete(target, options).await
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        self.counted().discovery().await
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        self.counted().raw(path).await
    }
}
