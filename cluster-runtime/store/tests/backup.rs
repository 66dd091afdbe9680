//! Backups taken while writes go on, what is restored from them, and a member that outlived its group.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Member, OpenError, Precondition, RaftStore, RaftStoreConfig, RestoreError, Revision,
    Selection, StorageKey, Store, StoreError, Transaction, Write, recover, restore,
};
use tempfile::TempDir;

mod switchboard;

use switchboard::{Switchboard, address_of};

fn key(number: u64) -> Key {
    Key::new("configmaps", "default", &format!("n{number}"))
}

fn put(key: Key, count: u64) -> Write {
    let mut object = Object::new("v1", "ConfigMap", Some("default"), &key.name);
    object.set(&["data", "count"], count);
    object.set(&["data", "filler"], "x".repeat((count * 37 % 900) as usize));
    Write {
        key,
        precondition: Precondition::None,
        change: Change::Put(Arc::new(object)),
    }
}

/// Writes a count at a place and at its pair, in one transaction.
async fn write(store: &RaftStore, place: u64, count: u64) -> Revision {
    let writes = vec![put(key(place), count), put(key(place + 100), count)];
    store.commit(Transaction { writes }).await.unwrap().revision
}

fn counts(store: &RaftStore) -> BTreeMap<String, i64> {
    let everything = Selection {
        table: "configmaps".into(),
        namespace: None,
    };
    let all = store.list(&everything, None, None, 0, &|_| true).unwrap().objects;
    let count = |object: &Arc<Object>| {
        (
            object.name().to_owned(),
            object.integer(&["data", "count"]).unwrap(),
        )
    };
    all.iter().map(count).collect()
}

/// Writes with many clients, takes a backup in the midst of it, and restores it.
async fn back_up_and_restore(backup_key: Option<StorageKey>, dir_key: Option<StorageKey>) {
    let dir = TempDir::new().unwrap();
    let mut config = RaftStoreConfig::new(dir.path().join("first"));
    config.segment_bytes = 64 << 10;
    config.encryption.clone_from(&dir_key);
    let store = Arc::new(RaftStore::open(config).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(Mutex::new(BTreeMap::new()));
    let total = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..8)
        .map(|place| {
            let (store, stop, done, total) = (store.clone(), stop.clone(), done.clone(), total.clone());
            tokio::spawn(async move {
                for count in 1.. {
                    write(&store, place, count).await;
                    done.lock().unwrap().insert(place, count as i64);
                    total.fetch_add(1, Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                }
            })
        })
        .collect();
    let wait_for = async |more: u64| {
        let target = total.load(Ordering::SeqCst) + more;
        while total.load(Ordering::SeqCst) < target {
            tokio::task::yield_now().await;
        }
    };
    wait_for(300).await;
    let before = done.lock().unwrap().clone();
    let (backup, revision) = store.backup(Vec::new(), backup_key.clone()).await.unwrap();
    wait_for(100).await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(store.revision() > revision, "writes went on");
    store.shutdown().await;

    let mut config = RaftStoreConfig::new(dir.path().join("second"));
    config.member = 7;
    config.address = "elsewhere".to_owned();
    config.encryption = dir_key;
    if backup_key.is_some() {
        let error = restore(&config, &backup[..], None).unwrap_err();
        assert!(matches!(error, RestoreError::KeyMissing), "{error}");
        assert!(!config.dir.exists());
        let other = StorageKey::new(1, [9; 32]);
        let error = restore(&config, &backup[..], Some(other)).unwrap_err();
        assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
    }
    assert_eq!(restore(&config, &backup[..], backup_key).unwrap(), revision);
    let store = RaftStore::open(config).await.unwrap();
    assert_eq!(store.revision(), revision, "the very same");
    let address = "elsewhere".to_owned();
    let alone = Member {
        number: 7,
        address,
        is_voter: true,
    };
    assert_eq!(store.members(), [alone]);
    let counts = counts(&store);
    for (place, count) in before {
        assert!(
            counts[&format!("n{place}")] >= count,
            "what was acknowledged before is there"
        );
        assert_eq!(
            counts[&format!("n{place}")],
            counts[&format!("n{}", place + 100)],
            "half a transaction"
        );
    }
    assert_eq!(write(&store, 1, 1).await, Revision(revision.0 + 2));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_during_writes_restores_to_one_revision() {
    let key = || Some(StorageKey::new(1, [7; 32]));
    back_up_and_restore(None, None).await;
    back_up_and_restore(key(), Some(StorageKey::new(2, [8; 32]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_a_backup_that_is_not_whole() {
    let dir = TempDir::new().unwrap();
    let store = RaftStore::open(RaftStoreConfig::new(dir.path().join("first")))
        .await
        .unwrap();
    for place in 0..20 {
        write(&store, place, place).await;
    }
    for (number, backup_key) in [None, Some(StorageKey::new(1, [7; 32]))].into_iter().enumerate() {
        let (backup, revision) = store.backup(Vec::new(), backup_key.clone()).await.unwrap();
        let config = RaftStoreConfig::new(dir.path().join(format!("restored-{number}")));
        let restored = |bytes: &[u8]| restore(&config, bytes, backup_key.clone());
        for length in (0..backup.len()).step_by(61).chain([backup.len() - 1]) {
            assert!(restored(&backup[..length]).is_err(), "cut at {length}");
        }
        for place in (0..backup.len()).step_by(17) {
            let mut flipped = backup.clone();
            flipped[place] ^= 1 << (place % 8);
            let error = restored(&flipped).unwrap_err();
            assert!(!matches!(error, RestoreError::NotEmpty { .. }), "{error}");
        }
        assert!(!config.dir.exists(), "nothing was begun");
        assert_eq!(restored(&backup).unwrap(), revision);
        assert!(matches!(restored(&backup), Err(RestoreError::NotEmpty { .. })));
    }
    store.snapshot().await.unwrap();
    store.shutdown().await;
    let snapshots = std::fs::read_dir(dir.path().join("first/snapshots")).unwrap();
    let snapshot = std::fs::read(snapshots.last().unwrap().unwrap().path()).unwrap();
    let config = RaftStoreConfig::new(dir.path().join("of-a-snapshot"));
    let error = restore(&config, &snapshot[..], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is no whole backup: it is something else of a store"
    );
}

fn config(dir: &Path, member: u64, board: &Arc<Switchboard>) -> RaftStoreConfig {
    let mut config = RaftStoreConfig::new(dir.join(member.to_string()));
    // Every member has a key of its own.
    config.encryption = Some(StorageKey::new(member as u32, [member as u8; 32]));
    board.member(member, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_left_becomes_a_group_of_its_own() {
    let dir = TempDir::new().unwrap();
    let board = Arc::new(Switchboard::default());
    let mut stores = Vec::new();
    for member in 1..=3 {
        stores.push(board.open(config(dir.path(), member, &board)).await);
    }
    for place in 0..5 {
        write(&stores[0], place, 1).await;
    }
    stores[0].snapshot().await.unwrap();
    for member in [2, 3] {
        stores[0].add_member(member, &address_of(member)).await.unwrap();
    }
    stores[0].set_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    let mut newest = Revision(0);
    for place in 0..20 {
        newest = write(&stores[0], place, 2).await;
    }
    stores[1].ensure_newest().await.unwrap();
    let error = recover(&config(dir.path(), 2, &board)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    for store in stores.drain(..) {
        store.shutdown().await;
    }

    let report = recover(&config(dir.path(), 2, &board)).unwrap();
    assert_eq!(report.revision, newest);
    let mut before = Revision(report.goes_on_at.0);
    assert!(before.0 > newest.0 + 1_000_000);
    let dropped: Vec<u64> = report.dropped.iter().map(|member| member.number).collect();
    assert_eq!(dropped, [1, 3]);
    assert!(
        report.committed_index <= report.last_index && report.last_index > 20,
        "{report:?}"
    );
    for _ in 0..2 {
        let store = RaftStore::open(config(dir.path(), 2, &board)).await.unwrap();
        assert_eq!(counts(&store).len(), 40);
        assert_eq!(store.members().len(), 1);
        store.ensure_newest().await.unwrap();
        // Revisions that others may have had are not given again, and who knows one begins anew.
        let all = Selection {
            table: "configmaps".into(),
            namespace: None,
        };
        let watched = store.watch(&all, Revision(newest.0 + 5)).map(|_| ());
        assert!(
            matches!(watched, Err(StoreError::Compacted { .. })),
            "{watched:?}"
        );
        let after = write(&store, 1, 3).await;
        assert_eq!(after, Revision(before.0 + 2));
        before = after;
        store.shutdown().await;
    }
    // Once more changes nothing.
    assert_eq!(recover(&config(dir.path(), 2, &board)).unwrap().revision, before);
    let nobody = config(dir.path(), 9, &board);
    assert!(recover(&nobody).is_err() && !nobody.dir.exists());
}
