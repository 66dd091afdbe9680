//! A disk that is really full: a small file system in a mount namespace of its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Store, StoreError, StoreStatus, Transaction, Write,
};
use tempfile::TempDir;

mod switchboard;

use switchboard::{Switchboard, address_of};

const CHILD_DIR: &str = "STORE_FULL_DISK_DIR";
const REQUIRED: &str = "TUG_TEST_REQUIRE_PEERS";
/// What the child prints in the end; a test program that ran nothing ends well too.
const PASSED: &str = "the full disk was survived";

fn config(dir: &Path) -> RaftStoreConfig {
    let mut config = RaftStoreConfig::new(dir.join("data"));
    config.segment_bytes = 128 << 10;
    config
}

fn key(number: usize) -> Key {
    Key::new("configmaps", "default", &format!("n{number}"))
}

async fn put(store: &RaftStore, number: usize) -> Result<(), StoreError> {
    let key = key(number);
    let mut object = Object::new("v1", "ConfigMap", Some("default"), &key.name);
    object.set(&["data", "value"], "x".repeat(10_000));
    let writes = vec![Write {
        key,
        precondition: Precondition::None,
        change: Change::Put(Arc::new(object)),
    }];
    store.commit(Transaction { writes }).await.map(|_| ())
}

/// Writes until the store refuses; gives how many were written in all.
async fn fill(store: &RaftStore, mut written: usize) -> usize {
    let before = written;
    let error = loop {
        match put(store, written).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the disk never gets full");
    };
    let told = error.to_string();
    assert!(matches!(&error, StoreError::NoRoom { .. }), "{told}");
    assert!(told.contains("No space left") && told.contains("/data"), "{told}");
    assert!(matches!(store.status(), StoreStatus::ReadOnly { reason } if reason == told));
    assert!(written > before + 50, "{before} {written}");
    check(store, written, "reads are served");
    written
}

fn check(store: &RaftStore, written: usize, what: &str) {
    for number in 0..written {
        assert!(
            store.get(&key(number)).is_some(),
            "{what}: {number} of {written} is missing"
        );
    }
    assert!(
        store.get(&key(written)).is_none(),
        "{what}: what was refused is not there"
    );
}

/// Waits until writes are taken again.
async fn until_ready(store: &RaftStore) {
    let waiting = async {
        while store.status() != StoreStatus::Ready {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("room is noticed");
}

async fn survive(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 1500 << 10]).unwrap();
    let store = RaftStore::open(config(dir)).await.unwrap();
    let written = fill(&store, 0).await;
    // It stays so, whoever asks, and a snapshot that has no room either changes nothing.
    for _ in 0..3 {
        assert!(matches!(
            put(&store, written).await,
            Err(StoreError::NoRoom { .. })
        ));
    }
    assert!(matches!(store.snapshot().await, Err(StoreError::NoRoom { .. })));
    check(&store, written, "still");

    fs::remove_file(&ballast).unwrap();
    until_ready(&store).await;
    let written = fill(&store, written).await;
    store.shutdown().await;
    drop(store);

    // Still full, it opens and serves.
    let store = RaftStore::open(config(dir)).await.unwrap();
    check(&store, written, "opened on a full disk");
    store.shutdown().await;
    drop(store);

    let mount = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(dir)
        .status()
        .unwrap();
    assert!(mount.success());
    let store = RaftStore::open(config(dir)).await.unwrap();
    until_ready(&store).await;
    put(&store, written).await.unwrap();
    store.snapshot().await.unwrap();
    check(&store, written + 1, "with room");
    store.shutdown().await;
}

/// A log that grew by changes of a few objects is replaced by a small snapshot, and makes the room that it lacks.
async fn heal(dir: &Path) {
    let mut config = config(dir);
    // What is left when no further segment fits is enough for the snapshot, as it is with segments of usual size.
    config.segment_bytes = 1 << 20;
    let store = RaftStore::open(config.clone()).await.unwrap();
    let mut refused = 0;
    for step in 0..1_000 {
        match put(&store, step % 10).await {
            Ok(()) => {}
            Err(StoreError::NoRoom { .. }) => {
                refused += 1;
                until_ready(&store).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "twice as much was written as the disk holds");
    store.shutdown().await;
    drop(store);
    let store = RaftStore::open(config).await.unwrap();
    check(&store, 10, "after a restart");
    store.shutdown().await;
}

/// A member whose disk is full stays behind, harms nobody, and catches up when there is room.
async fn follow(dir: &Path) {
    let roomy = TempDir::new_in("/tmp").unwrap();
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 1500 << 10]).unwrap();
    let board = Arc::new(Switchboard::default());
    let mut stores = Vec::new();
    for member in 1..=3 {
        let dir = if member == 2 {
            dir.to_owned()
        } else {
            roomy.path().join(member.to_string())
        };
        stores.push(board.open(board.member(member, config(&dir))).await);
    }
    let [first, second, third] = &stores[..] else {
        unreachable!()
    };
    for member in [2, 3] {
        first.add_member(member, &address_of(member)).await.unwrap();
    }
    first.set_voters([1, 2, 3].into()).await.unwrap();
    let mut written = 0;
    while !matches!(second.status(), StoreStatus::ReadOnly { .. }) {
        put(first, written).await.unwrap();
        written += 1;
        assert!(written < 10_000, "the disk never gets full");
    }
    for _ in 0..200 {
        put(first, written).await.unwrap();
        written += 1;
    }
    third.ensure_newest().await.unwrap();
    check(third, written, "the others go on");
    assert!(second.get(&key(0)).is_some() && second.get(&key(written - 1)).is_none());
    let error = put(second, written).await.unwrap_err();
    assert!(
        matches!(error, StoreError::NotLeader { leader: Some(1), .. }),
        "{error}"
    );

    fs::remove_file(&ballast).unwrap();
    let mount = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(dir)
        .status()
        .unwrap();
    assert!(mount.success());
    let newest = first.revision();
    let waiting = async {
        while second.revision() < newest || second.status() != StoreStatus::Following {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it catches up");
    check(second, written, "with room");
    for store in &stores {
        store.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_a_full_disk_stays_behind_and_catches_up() {
    on_a_small_disk("a_member_with_a_full_disk_stays_behind_and_catches_up", follow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived() {
    on_a_small_disk("a_full_disk_is_survived", survive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_full_of_log_is_healed_by_a_snapshot() {
    on_a_small_disk("a_disk_full_of_log_is_healed_by_a_snapshot", heal).await;
}

/// Runs one test of this program again, as a child with a small file system of its own, where it is checked.
#[expect(
    clippy::print_stdout,
    reason = "the output of a test is where its reader looks"
)]
async fn on_a_small_disk(test: &str, check: impl AsyncFnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        check(Path::new(&dir)).await;
        println!("{PASSED}");
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut child = Command::new("unshare");
    child.args([
        "--mount",
        "sh",
        "-c",
        r#"mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@""#,
    ]);
    child.arg(dir.path()).arg(std::env::current_exe().unwrap());
    child
        .args([test, "--exact", "--nocapture"])
        .env(CHILD_DIR, dir.path());
    let output = match Command::new("unshare").args(["--mount", "true"]).output() {
        Ok(probe) if probe.status.success() => child.output().unwrap(),
        _ => {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "cannot make a mount namespace"
            );
            println!("skipped: cannot make a mount namespace (it takes root)");
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains(PASSED),
        "{said}\n{errors}"
    );
}
