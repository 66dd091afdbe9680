//! A group of three in one process: members are added, catch up by log and by snapshot, and one is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Revision, Selection, Store, StoreError,
    StoreStatus, Transaction, Write,
};
use futures::StreamExt;
use tempfile::TempDir;

mod switchboard;

use switchboard::Switchboard;

async fn open(board: &Arc<Switchboard>, dir: &Path, member: u64) -> Arc<RaftStore> {
    let mut config = RaftStoreConfig::new(dir.join(member.to_string()));
    config.segment_bytes = 64 << 10;
    board.open(board.member(member, config)).await
}

async fn put(store: &RaftStore, name: &str, value: &str) -> Result<Revision, StoreError> {
    let key = Key::new("configmaps", "default", name);
    let mut object = Object::new("v1", "ConfigMap", Some("default"), name);
    object.set(&["data", "value"], value);
    let writes = vec![Write {
        key,
        precondition: Precondition::None,
        change: Change::Put(Arc::new(object)),
    }];
    store
        .commit(Transaction { writes })
        .await
        .map(|committed| committed.revision)
}

fn everything() -> Selection {
    Selection {
        table: "configmaps".into(),
        namespace: None,
    }
}

fn shown(store: &RaftStore) -> Vec<Object> {
    let answer = store.list(&everything(), None, None, 0, &|_| true).unwrap();
    answer
        .objects
        .iter()
        .map(|object| Object::clone(object))
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_three_agrees_and_outlives_its_leader() {
    let dir = TempDir::new().unwrap();
    let board = Arc::new(Switchboard::default());
    let first = open(&board, dir.path(), 1).await;
    // Larger than a piece that is sent at once, and out of the log, so that others need the snapshot.
    for step in 0..300 {
        put(&first, &format!("old-{step}"), &"x".repeat(10_000))
            .await
            .unwrap();
    }
    first.snapshot().await.unwrap();
    let second = open(&board, dir.path(), 2).await;
    let third = open(&board, dir.path(), 3).await;
    assert_eq!(second.status(), StoreStatus::NoLeader);
    let mut events = second.watch(&everything(), Revision(0)).unwrap();
    first.add_member(2, "address-of-2").await.unwrap();
    first.add_member(3, "address-of-3").await.unwrap();
    first.set_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    let newest = put(&first, "new", "value").await.unwrap();
    first.ensure_newest().await.unwrap();
    for store in [&second, &third] {
        until("the others to follow", || store.revision() == newest).await;
        assert_eq!(shown(store), shown(&first));
        let error = put(store, "refused", "").await.unwrap_err();
        assert_eq!(error.to_string(), "not the leader: member 1 leads");
    }
    let first_event = events.next().await.unwrap();
    assert!(
        matches!(first_event, Err(StoreError::SlowWatcher)),
        "a snapshot took the place of the events"
    );

    first.shutdown().await;
    until("a new leader", || {
        second.status() == StoreStatus::Ready || third.status() == StoreStatus::Ready
    })
    .await;
    let leader = if second.status() == StoreStatus::Ready {
        &second
    } else {
        &third
    };
    let after = put(leader, "after", "value").await.unwrap();
    assert!(after > newest);
    drop(first);
    let first = open(&board, dir.path(), 1).await;
    until("the first to follow", || first.revision() == after).await;
    assert_eq!(shown(&first), shown(leader));

    for store in [&first, &second, &third] {
        store.shutdown().await;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

/// The others may not have missed it, so that it leads on without an election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_opened_again_at_once_reads_what_it_had_acknowledged() {
    let dir = TempDir::new().unwrap();
    // The others say that it leads before they say what they have of its log.
    let board = Arc::new(Switchboard {
        latency: Duration::from_millis(10),
        ..Switchboard::default()
    });
    let mut stores = Vec::new();
    for member in 1..=3 {
        stores.push(open(&board, dir.path(), member).await);
    }
    for member in [2, 3] {
        let address = switchboard::address_of(member);
        stores[0].add_member(member, &address).await.unwrap();
    }
    stores[0].set_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    for round in 0..20 {
        let mut leader = 0;
        until("a leader", || {
            let ready = stores
                .iter()
                .position(|store| store.status() == StoreStatus::Ready);
            leader = ready.unwrap_or(leader);
            ready.is_some()
        })
        .await;
        // Several, since it is told late what of its own log is committed.
        for step in 0..5 {
            let name = format!("{round}-{step}");
            put(&stores[leader], &name, "value").await.unwrap();
        }
        // What a crash at this moment leaves, and not what a store puts in order when it is stopped.
        let own = dir.path().join((leader + 1).to_string());
        let left = dir.path().join("left");
        copy(&own, &left);
        stores[leader].shutdown().await;
        fs::remove_dir_all(&own).unwrap();
        fs::rename(&left, &own).unwrap();
        stores[leader] = open(&board, dir.path(), leader as u64 + 1).await;
        stores[leader].ensure_newest().await.unwrap();
        let last = Key::new("configmaps", "default", &format!("{round}-4"));
        assert!(stores[leader].get(&last).is_some(), "round {round}");
    }
    for store in stores {
        store.shutdown().await;
    }
}
