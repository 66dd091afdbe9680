//! A cluster whose store has no room: the agent does its work, and tells of it when it can.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cluster_client::{
    Api, Collection, DeleteOptions, Deleted, Discovery, List, ListOptions, Patch, Target, WatchOptions,
    WatchStream, WriteOptions,
};
use cluster_objects::{Object, Status, StatusReason};
use serde_json::json;
use support::{Cluster, Lab, SOON};
use tokio::sync::mpsc;

/// The API of a cluster that refuses what nodes write while its store is full.
struct FullStore {
    api: Arc<dyn Api>,
    is_full: Arc<AtomicBool>,
    /// When a deletion was refused.
    refused: mpsc::UnboundedSender<Instant>,
}

impl FullStore {
    fn check(&self) -> Result<(), Status> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Status::new(507, StatusReason::Unknown, "no room".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Api for FullStore {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.api.get(target).await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        self.api.list(collection, options).await
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.api.watch(collection, options).await
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.check()?;
        self.api.create(collection, object, options).await
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.check()?;
        self.api.post(target, body, options).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.check()?;
        self.api.update(target, object, options).await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.check()?;
        self.api.patch(target, patch, options).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        if let Err(status) = self.check() {
            let _ = self.refused.send(Instant::now());
            return Err(status);
        }
        self.api.delete(target, options).await
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        self.api.discovery().await
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        self.api.raw(path).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_goes_when_its_end_can_be_written_and_nothing_of_it_stays_till_then() {
    if !support::is_root() {
        return;
    }
    let lab = Lab::new();
    let api: Arc<dyn Api> = Arc::new(cluster_apiserver::LocalApi::in_memory().await.unwrap());
    let is_full = Arc::new(AtomicBool::new(false));
    let (refused, mut refusals) = mpsc::unbounded_channel();
    let full = FullStore {
        api: api.clone(),
        is_full: is_full.clone(),
        refused,
    };
    let node = support::start_node(&lab, Arc::new(full)).await;
    let cluster = Cluster { lab, api, node };
    let container = json!({ "name": "main", "image": "tug/hello:1.0" });
    cluster.pod("web", json!({ "containers": [container] })).await;
    cluster.until_ready("web").await;

    // The wish to delete was taken with the last room that there was.
    is_full.store(true, Ordering::SeqCst);
    let target = Target::namespaced("v1", "pods", "default", "web");
    cluster
        .api
        .delete(&target, &DeleteOptions::default())
        .await
        .unwrap();
    let mut next = async || {
        tokio::time::timeout(SOON, refusals.recv())
            .await
            .unwrap()
            .unwrap()
    };
    let first = next().await;
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new(), "its container is gone");
    assert!(cluster.api.get(&target).await.is_ok(), "and its object is not");
    let second = next().await;
    assert!(
        second - first > Duration::from_secs(1),
        "it is not tried again at once"
    );
    is_full.store(false, Ordering::SeqCst);
    cluster.until_gone("web").await;
    cluster.finish().await;
}
