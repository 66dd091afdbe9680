//! What a data directory keeps from one process to the next, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_objects::Object;
use cluster_store::{
    Change, Key, OpenError, Precondition, RaftStore, RaftStoreConfig, Revision, Selection, Store, StoreError,
    StoreStatus, Transaction, Write,
};
use futures::StreamExt;
use tempfile::TempDir;

fn config(dir: &Path) -> RaftStoreConfig {
    let mut config = RaftStoreConfig::new(dir);
    config.segment_bytes = 32 << 10;
    config
}

async fn open(dir: &Path) -> RaftStore {
    RaftStore::open(config(dir)).await.unwrap()
}

fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

async fn put(store: &RaftStore, name: &str, value: &str) -> Revision {
    let mut object = Object::new("v1", "ConfigMap", Some("default"), name);
    object.set(&["data", "value"], value);
    commit(store, name, Change::Put(Arc::new(object))).await
}

async fn commit(store: &RaftStore, name: &str, change: Change) -> Revision {
    let writes = vec![Write {
        key: key(name),
        precondition: Precondition::None,
        change,
    }];
    store.commit(Transaction { writes }).await.unwrap().revision
}

fn everything() -> Selection {
    Selection {
        table: "configmaps".into(),
        namespace: None,
    }
}

fn shown(store: &RaftStore, at: Option<Revision>) -> Vec<Object> {
    let answer = store.list(&everything(), at, None, 0, &|_| true).unwrap();
    answer
        .objects
        .iter()
        .map(|object| Object::clone(object))
        .collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("log")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    paths
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("snapshots")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits until something holds, for as long as a test may take.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect(what);
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    for step in 0..300 {
        put(&store, &format!("n{}", step % 50), &"x".repeat(step)).await;
    }
    commit(&store, "n7", Change::Delete).await;
    let (before, revision) = (shown(&store, None), store.revision());
    store.shutdown().await;
    assert_eq!(store.status(), StoreStatus::Stopped);
    for _ in 0..3 {
        let store = open(dir.path()).await;
        assert_eq!(store.status(), StoreStatus::Ready);
        assert_eq!(
            (shown(&store, None), store.revision()),
            (before.clone(), revision)
        );
        store.shutdown().await;
    }
    let store = open(dir.path()).await;
    assert_eq!(put(&store, "new", "").await.0, revision.0 + 1);
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_log() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.snapshot_log_bytes = 200 << 10;
    let store = RaftStore::open(config).await.unwrap();
    let first = store.revision();
    for step in 0..600 {
        put(&store, &format!("n{}", step % 50), &"x".repeat(2000)).await;
    }
    until("a snapshot", || {
        snapshots(dir.path())
            .iter()
            .any(|path| path.extension().unwrap() == "snapshot")
    })
    .await;
    let before = segments(dir.path()).len();
    store.snapshot().await.unwrap();
    until("a short log", || segments(dir.path()).len() < 12).await;
    assert!(
        before > 12 && before < 90,
        "snapshots were made on the way too: {before}"
    );
    let before = shown(&store, None);
    let middle = Revision(store.revision().0 / 2);
    let (past, revision) = (shown(&store, Some(middle)), store.revision());
    store.shutdown().await;
    let store = open(dir.path()).await;
    assert_eq!(store.revision(), revision);
    assert_eq!(shown(&store, None), before);
    assert_eq!(shown(&store, Some(middle)), past, "the past is kept too");
    let events = store.watch(&everything(), first).unwrap().take(600);
    let revisions: Vec<u64> = events.map(|event| event.unwrap().revision.0).collect().await;
    assert_eq!(
        revisions,
        (first.0 + 1..=revision.0).collect::<Vec<_>>(),
        "and can be watched"
    );
}

#[tokio::test]
async fn a_store_stopped_while_it_writes_a_snapshot_opens_again() {
    let dir = TempDir::new().unwrap();
    for round in 0..5 {
        let store = Arc::new(open(dir.path()).await);
        for step in 0..40 {
            put(&store, &format!("n{}", round * 40 + step), &"x".repeat(20_000)).await;
        }
        let snapshot = tokio::spawn({
            let store = store.clone();
            async move { store.snapshot().await }
        });
        tokio::task::yield_now().await;
        store.shutdown().await;
        _ = snapshot.await.unwrap();
        let store = open(dir.path()).await;
        assert_eq!(shown(&store, None).len(), round * 40 + 40);
        store.shutdown().await;
    }
    until("only the snapshot is left", || snapshots(dir.path()).len() <= 1).await;
}

#[tokio::test]
async fn the_deepest_object_is_read_back() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut value = serde_json::Value::Null;
    for _ in 0..119 {
        value = serde_json::json!({ "deeper": value });
    }
    let object = Arc::new(Object::from_value(value).unwrap());
    commit(&store, "log", Change::Put(object.clone())).await;
    store.shutdown().await;
    let store = open(dir.path()).await;
    commit(&store, "snapshot", Change::Put(object)).await;
    store.snapshot().await.unwrap();
    let before = shown(&store, None);
    store.shutdown().await;
    assert_eq!(shown(&open(dir.path()).await, None), before);
}

#[tokio::test]
async fn watches_end_when_the_store_stops() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let mut events = store.watch(&everything(), store.revision()).unwrap();
    put(&store, "a", "").await;
    store.shutdown().await;
    assert_eq!(&*events.next().await.unwrap().unwrap().key.name, "a");
    assert!(matches!(
        events.next().await,
        Some(Err(StoreError::Unavailable { .. }))
    ));
    assert!(events.next().await.is_none());
    let writes = vec![];
    let error = store.commit(Transaction { writes }).await.unwrap_err();
    assert_eq!(error.to_string(), "unavailable: the store was stopped");
}

#[tokio::test]
async fn commits_under_way_are_done_or_refused_when_the_store_stops() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(open(dir.path()).await);
    let mut writers = Vec::new();
    for writer in 0..50 {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let object = Object::new("v1", "ConfigMap", Some("default"), "x");
            let writes = vec![Write {
                key: key(&format!("n{writer}")),
                precondition: Precondition::None,
                change: Change::Put(Arc::new(object)),
            }];
            (writer, store.commit(Transaction { writes }).await)
        }));
    }
    tokio::task::yield_now().await;
    store.shutdown().await;
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for writer in writers {
        match writer.await.unwrap() {
            (writer, Ok(_)) => done.push(writer),
            (writer, Err(StoreError::Unavailable { .. })) => refused.push(writer),
            (_, Err(error)) => assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error}"),
        }
    }
    let store = open(dir.path()).await;
    for writer in done {
        assert!(store.get(&key(&format!("n{writer}"))).is_some());
    }
    for writer in refused {
        assert!(store.get(&key(&format!("n{writer}"))).is_none());
    }
}

#[tokio::test]
async fn err_a_directory_in_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let error = RaftStore::open(config(dir.path())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is in use by another process", dir.path().display())
    );
    put(&store, "a", "").await;
    store.shutdown().await;
    assert!(open(dir.path()).await.get(&key("a")).is_some());
}

#[tokio::test]
async fn err_a_newer_format_is_refused() {
    let dir = TempDir::new().unwrap();
    open(dir.path()).await.shutdown().await;
    fs::write(dir.path().join("format"), r#"{"format":3,"owner":"somebody"}"#).unwrap();
    let error = RaftStore::open(config(dir.path())).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::NewerFormat {
                found: 3,
                supported: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn err_the_directory_of_another_member_is_refused() {
    let dir = TempDir::new().unwrap();
    open(dir.path()).await.shutdown().await;
    let mut config = config(dir.path());
    config.member = 2;
    let error = RaftStore::open(config).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::OtherMember {
                found: 1,
                asked: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn err_an_unwritable_place_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = RaftStore::open(config(&file.join("data"))).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test]
async fn err_damage_is_told_with_its_place() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    for name in ["a", "b", "c"] {
        put(&store, name, "value").await;
    }
    store.shutdown().await;
    let segment = segments(dir.path()).remove(0);
    let whole = fs::read(&segment).unwrap();
    let place = whole.windows(5).position(|bytes| bytes == b"value").unwrap();
    let mut flipped = whole.clone();
    flipped[place] ^= 1;
    fs::write(&segment, flipped).unwrap();
    match RaftStore::open(config(dir.path())).await.unwrap_err() {
        OpenError::Damaged { path, offset, .. } => {
            assert_eq!(path, segment);
            assert!((offset as usize) < place && place < offset as usize + 500);
        }
        error => panic!("{error}"),
    }
    fs::write(&segment, whole).unwrap();
    assert_eq!(
        shown(&open(dir.path()).await, None).len(),
        3,
        "nothing was changed meanwhile"
    );
}

#[tokio::test]
async fn err_a_damaged_or_missing_snapshot_is_noticed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    for step in 0..200 {
        put(&store, &format!("n{step}"), &"value".repeat(1000)).await;
    }
    let before = segments(dir.path()).len();
    store.snapshot().await.unwrap();
    until("a shorter log", || segments(dir.path()).len() < before).await;
    store.shutdown().await;
    let path = snapshots(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    assert!(matches!(
        RaftStore::open(config(dir.path())).await,
        Err(OpenError::Damaged { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        RaftStore::open(config(dir.path())).await,
        Err(OpenError::Incomplete { .. })
    ));
    fs::write(&path, whole).unwrap();
    assert_eq!(shown(&open(dir.path()).await, None).len(), 200);
}
