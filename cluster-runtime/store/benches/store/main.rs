//! The store beside etcd: writes and reads per second, one client and many, with every write synced.
//!
//! `cargo bench -p cluster-store` runs it; `etcd` is taken from the path, or from the variable `ETCD`, and left out
//! where it is absent. Both keep their data in the same folder and take turns, several rounds each; the median
//! round is printed.
//!
//! `cargo bench -p cluster-store -- start` measures only how long a store with many objects takes to open.
//!
//! What is compared: the store is called in this process, as the API server calls it, and etcd over gRPC from this
//! process, as a Kubernetes API server calls it (requests are encoded by hand, with no client library between, and
//! the clients share 16 connections). So etcd's figures hold the cost of its protocol on both sides, ours have no
//! such cost.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod etcd;
mod measure;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Selection, Store, Transaction, Write,
};

use crate::etcd::Etcd;
use crate::measure::{Figures, measure, median};

const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 256;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const START_OBJECTS: usize = 100_000;

/// One line of the table.
struct Comparison {
    what: &'static str,
    clients: usize,
    store: Vec<Figures>,
    etcd: Vec<Figures>,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: measures only under `cargo bench`");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--bench", "open", how, dir] => runtime.block_on(open(how, Path::new(dir))),
        ["start", ..] => runtime.block_on(run(true)),
        _ => runtime.block_on(run(false)),
    }
}

async fn run(only_start: bool) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if only_start {
        return start(dir.path()).await;
    }
    let store = RaftStore::open(RaftStoreConfig::new(dir.path().join("store")))
        .await
        .unwrap();
    let store = Arc::new(store);
    let etcd = Etcd::start(&dir.path().join("etcd")).await;
    if etcd.is_none() {
        println!("etcd is not here: only the store is measured");
    }
    let line = |what, clients| Comparison {
        what,
        clients,
        store: Vec::new(),
        etcd: Vec::new(),
    };
    let mut writes = [line("write", 1), line("write", 256)];
    let mut reads = [line("read", 1), line("read", 256)];
    for _ in 0..ROUNDS {
        for comparison in &mut writes {
            comparison
                .store
                .push(write_store(&store, comparison.clients).await);
            if let Some(etcd) = &etcd {
                comparison.etcd.push(etcd.write(comparison.clients).await);
            }
        }
    }
    for key in 0..KEYS {
        store.commit(put(key)).await.unwrap();
    }
    if let Some(etcd) = &etcd {
        etcd.fill().await;
    }
    for _ in 0..ROUNDS {
        for comparison in &mut reads {
            comparison
                .store
                .push(read_store(&store, comparison.clients).await);
            if let Some(etcd) = &etcd {
                comparison.etcd.push(etcd.read(comparison.clients, false).await);
            }
        }
    }
    let mut serializable = line("read (etcd: serializable)", 256);
    if let Some(etcd) = &etcd {
        for _ in 0..ROUNDS {
            serializable.store.push(read_store(&store, 256).await);
            serializable.etcd.push(etcd.read(256, true).await);
        }
    }
    println!(
        "{VALUE_BYTES}-byte values, {KEYS} keys, median of {ROUNDS} rounds of {} s",
        ROUND.as_secs()
    );
    for comparison in writes.iter().chain(&reads).chain([&serializable]) {
        comparison.print();
    }
    store.shutdown().await;
    drop(etcd);
    batches(dir.path()).await;
    start(dir.path()).await;
}

impl Comparison {
    fn print(&self) {
        let Some(store) = median(&self.store) else {
            return;
        };
        print!("{:26} {:3} clients: store {store}", self.what, self.clients);
        match median(&self.etcd) {
            Some(etcd) => println!("; etcd {etcd}; ratio {:.2}", store.per_second / etcd.per_second),
            None => println!(),
        }
    }
}

fn key(number: usize) -> Key {
    Key::new("configmaps", "default", &format!("key-{:06}", number % KEYS))
}

fn object(key: &Key) -> Arc<Object> {
    let mut object = Object::new("v1", "ConfigMap", Some(&key.namespace), &key.name);
    object.set(&["data", "value"], "x".repeat(VALUE_BYTES));
    Arc::new(object)
}

fn put(number: usize) -> Transaction {
    let key = key(number);
    let writes = vec![Write {
        change: Change::Put(object(&key)),
        precondition: Precondition::None,
        key,
    }];
    Transaction { writes }
}

async fn write_store(store: &Arc<RaftStore>, clients: usize) -> Figures {
    let store = store.clone();
    let write = move |number| {
        let store = store.clone();
        async move {
            store.commit(put(number)).await.unwrap();
        }
    };
    measure(clients, ROUND, write).await
}

async fn read_store(store: &Arc<RaftStore>, clients: usize) -> Figures {
    let store = store.clone();
    let keys: Arc<Vec<Key>> = Arc::new((0..KEYS).map(key).collect());
    let read = move |number: usize| {
        let (store, keys) = (store.clone(), keys.clone());
        async move {
            assert!(store.get(&keys[number % KEYS]).is_some());
        }
    };
    measure(clients, ROUND, read).await
}

/// How many objects are written when each transaction holds many.
async fn batches(dir: &Path) {
    let config = RaftStoreConfig::new(dir.join("batches"));
    let store = Arc::new(RaftStore::open(config).await.unwrap());
    let shared = store.clone();
    let write = move |number: usize| {
        let store = shared.clone();
        async move {
            let transactions = (0..100).map(|step| put(number * 100 + step));
            let writes = transactions.flat_map(|transaction| transaction.writes).collect();
            store.commit(Transaction { writes }).await.unwrap();
        }
    };
    let figures = measure(16, ROUND, write).await;
    println!(
        "16 clients, 100 objects in a transaction: {:.0} objects/s",
        figures.per_second * 100.0
    );
    store.shutdown().await;
}

/// How long a store with many objects takes to open, from the log alone and from a snapshot.
async fn start(dir: &Path) {
    let dir = dir.join("start");
    let store = RaftStore::open(RaftStoreConfig::new(&dir)).await.unwrap();
    for chunk in 0..START_OBJECTS / 1000 {
        let write = |step: usize| {
            let key = Key::new("pods", "default", &format!("pod-{}", chunk * 1000 + step));
            Write {
                change: Change::Put(pod(&key)),
                precondition: Precondition::Absent,
                key,
            }
        };
        let writes = (0..1000).map(write).collect();
        store.commit(Transaction { writes }).await.unwrap();
    }
    store.shutdown().await;
    drop(store);
    // Processes of their own, as after a crash.
    for how in [
        "as they were left",
        "again",
        "again, then a snapshot is made",
        "after the snapshot",
    ] {
        let program = std::env::current_exe().unwrap();
        let mut opening = std::process::Command::new(program);
        opening.args(["--bench", "open", how]).arg(&dir);
        assert!(opening.status().unwrap().success());
    }
}

/// Opens a store and says what that took.
async fn open(how: &str, dir: &Path) {
    let started = Instant::now();
    let store = RaftStore::open(RaftStoreConfig::new(dir)).await.unwrap();
    let took = started.elapsed();
    let processor = measure::processor_time();
    let selection = Selection {
        table: "pods".into(),
        namespace: None,
    };
    let listing = Instant::now();
    let pods = store.list(&selection, None, None, 0, &|_| true).unwrap().objects;
    let bytes = serde_json::to_vec(&*pods[0]).unwrap().len();
    println!(
        "start with {} pods of {bytes} bytes, {how}: {took:.2?} (processor time {processor:.2?}, list of all \
         {:.0?}, resident {} MiB)",
        pods.len(),
        listing.elapsed(),
        measure::resident_mib(),
    );
    if how.ends_with("is made") {
        store.snapshot().await.unwrap();
    }
    store.shutdown().await;
}

/// A pod of usual size.
fn pod(key: &Key) -> Arc<Object> {
    let mut pod = Object::new("v1", "Pod", Some(&key.namespace), &key.name);
    pod.set(&["metadata", "uid"], "11111111-2222-3333-4444-555555555555");
    pod.set(&["metadata", "creationTimestamp"], "2030-01-01T00:00:00Z");
    pod.set(&["metadata", "labels", "app.kubernetes.io/name"], "web");
    pod.set(&["metadata", "labels", "pod-template-hash"], "5d4f8c7b9");
    let container = serde_json::json!({
        "name": "web", "image": "registry.example/web:1.2.3", "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    });
    pod.set(&["spec", "containers"], vec![container]);
    pod.set(&["spec", "nodeName"], "node-17");
    pod.set(&["spec", "restartPolicy"], "Always");
    pod.set(&["spec", "serviceAccountName"], "default");
    pod.set(&["status", "phase"], "Running");
    pod.set(&["status", "podIP"], "10.42.0.17");
    Arc::new(pod)
}
