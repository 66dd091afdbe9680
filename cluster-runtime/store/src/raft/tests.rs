use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cluster_objects::Object;
use tempfile::TempDir;

use crate::parts;
use crate::{
    Change, Committed, Key, Precondition, RaftStore, RaftStoreConfig, Store, StoreError, StoreStatus,
    Transaction, Transport, TransportError, Write,
};

fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

async fn put(store: &RaftStore, name: &str) -> Result<Committed, StoreError> {
    let writes = vec![Write {
        key: key(name),
        precondition: Precondition::None,
        change: Change::Put(Arc::new(Object::new("v1", "ConfigMap", Some("default"), name))),
    }];
    store.commit(Transaction { writes }).await
}

#[tokio::test]
async fn err_a_write_that_fails_leaves_a_store_that_can_be_read() {
    let dir = TempDir::new().unwrap();
    let is_full = Arc::new(AtomicBool::new(false));
    let full = is_full.clone();
    let mut config = RaftStoreConfig::new(dir.path());
    config.before_write = Some(Arc::new(move || {
        if full.load(Ordering::SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }));
    let store = RaftStore::open(config.clone()).await.unwrap();
    put(&store, "before").await.unwrap();
    is_full.store(true, Ordering::SeqCst);
    for name in ["during", "later"] {
        let error = put(&store, name).await.unwrap_err();
        assert!(matches!(error, StoreError::Storage { .. }), "{error}");
        assert!(store.get(&key(name)).is_none(), "what was refused is not there");
    }
    assert!(store.get(&key("before")).is_some());
    let reason = "storage failed: no storage space".to_owned();
    assert_eq!(store.status(), StoreStatus::ReadOnly { reason });
    let failed = tokio::time::timeout(std::time::Duration::from_secs(10), store.failed()).await;
    assert!(failed.expect("it is told").contains("no storage space"));
    is_full.store(false, Ordering::SeqCst);
    assert!(
        put(&store, "after").await.is_err(),
        "only a new start can tell what the disk holds"
    );
    store.shutdown().await;

    let store = RaftStore::open(config.clone()).await.unwrap();
    assert!(store.get(&key("before")).is_some() && store.get(&key("during")).is_none());
    put(&store, "after").await.unwrap();
    store.shutdown().await;

    is_full.store(true, Ordering::SeqCst);
    let store = RaftStore::open(config).await.unwrap();
    assert!(store.get(&key("after")).is_some(), "it opens on a full disk");
    assert!(put(&store, "never").await.is_err());
}

#[tokio::test]
async fn parts_without_a_marker_are_swept_and_with_one_they_are_kept() {
    let dir = TempDir::new().unwrap();
    let mut config = RaftStoreConfig::new(dir.path());
    config.limits.entry_bytes_max = 2_000;
    let transaction = |prefix: &str| Transaction {
        writes: (0..10)
            .map(|number| {
                let name = format!("{prefix}-{number}");
                let mut object = Object::new("v1", "ConfigMap", Some("default"), &name);
                object.set(&["data", "text"], "x".repeat(1_000));
                Write {
                    key: key(&name),
                    precondition: Precondition::Absent,
                    change: Change::Put(Arc::new(object)),
                }
            })
            .collect(),
    };
    let left = |store: &RaftStore| {
        let parts = store.list(&parts::all(), None, None, 0, &|_| true).unwrap();
        parts.objects.len()
    };
    let store = RaftStore::open(config.clone()).await.unwrap();
    store.commit(transaction("done")).await.unwrap();
    // As one that dies before its marker.
    let staged = store.stage(transaction("lost"), "dead").await.unwrap();
    assert!(staged.len() > 1 && left(&store) == staged.len());
    assert!(store.get(&key("lost-0")).is_none(), "what is staged is not seen");
    store.shutdown().await;

    let store = RaftStore::open(config.clone()).await.unwrap();
    assert_eq!(left(&store), 0);
    for number in 0..10 {
        assert!(
            store.get(&key(&format!("done-{number}"))).is_some(),
            "from the log"
        );
        assert!(store.get(&key(&format!("lost-{number}"))).is_none());
    }
    // Who was taken for dead while it lived learns so from its marker.
    let staged = store.stage(transaction("late"), "slow").await.unwrap();
    store.commit(transaction("other")).await.unwrap();
    let error = store.commit(parts::marker(&staged)).await.unwrap_err();
    assert!(matches!(error, StoreError::PreconditionFailed { .. }), "{error}");
    store.shutdown().await;
}

/// Reaches nobody.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(&self, member: u64, _: &str, _: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let reason = "there is nobody".to_owned();
        Err(TransportError { member, reason })
    }
}

#[tokio::test]
async fn a_group_of_one_does_nothing_while_it_is_idle() {
    let dir = TempDir::new().unwrap();
    let mut config = RaftStoreConfig::new(dir.path());
    config.transport = Some(Arc::new(Nowhere));
    let store = RaftStore::open(config).await.unwrap();
    put(&store, "a").await.unwrap();
    store.ensure_newest().await.unwrap();
    // Raft tells after each thing that it does, also after a tick.
    let mut metrics = store.running.raft.metrics();
    let mut changes = 0;
    while tokio::time::timeout(Duration::from_secs(1), metrics.changed())
        .await
        .is_ok()
    {
        changes += 1;
        assert!(changes < 10, "it ticks");
    }
    // With another member there is someone to hear from.
    let added = tokio::time::timeout(Duration::from_secs(1), store.add_member(2, "nowhere")).await;
    assert!(added.is_err(), "it cannot be reached");
    metrics.mark_unchanged();
    let is_awake = tokio::time::timeout(Duration::from_secs(10), metrics.changed()).await;
    is_awake.expect("it ticks").unwrap();
    store.shutdown().await;
}
