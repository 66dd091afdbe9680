//! A disk that is really full: a small file system in a mount namespace of its own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Store, StoreError, StoreStatus, Transaction, Write,
};
use tempfile::TempDir;

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

async fn fill(dir: &Path) {
    let store = RaftStore::open(config(dir)).await.unwrap();
    let mut written = 0;
    let error = loop {
        match put(&store, written).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the disk never gets full");
    };
    assert!(
        matches!(&error, StoreError::Storage { reason } if reason.contains("No space left")),
        "{error}"
    );
    assert!(matches!(store.status(), StoreStatus::ReadOnly { reason } if reason.contains("No space left")));
    assert!(
        written > 100 && store.get(&key(written - 1)).is_some(),
        "reads are served"
    );
    store.shutdown().await;
    drop(store);

    let store = RaftStore::open(config(dir)).await.unwrap();
    assert!(
        (0..written).all(|number| store.get(&key(number)).is_some()),
        "still full, it opens and serves"
    );
    store.shutdown().await;
    drop(store);

    let mount = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(dir)
        .status()
        .unwrap();
    assert!(mount.success());
    let store = RaftStore::open(config(dir)).await.unwrap();
    assert_eq!(store.status(), StoreStatus::Ready);
    put(&store, written).await.unwrap();
    assert!((0..=written).all(|number| store.get(&key(number)).is_some()));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        fill(Path::new(&dir)).await;
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
        .args(["a_full_disk_is_survived", "--exact", "--nocapture"])
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
