//! The store beside etcd: writes and reads per second, one client and many, with every write synced.
//!
//! `cargo bench -p cluster-store` runs it; `etcd` is taken from the path, or from the variable `ETCD`, and left out
//! where it is absent. Both keep their data in the same folder and take turns, several rounds each; the median
//! round is printed.
//!
//! `cargo bench -p cluster-store -- start` measures only how long a store with many objects takes to open.
//!
//! `cargo bench -p cluster-store -- three` compares groups of three, each member a process of its own, with TLS
//! between the members and clients at the leader; `-- sealed` measures what encryption on disk costs.
//!
//! What is compared: each store in a process of its own, called by the same client over the same protocol (etcd's:
//! gRPC on loopback, up to 16 connections), with the same keys and values. A read shows every write that was
//! acknowledged before it; that is etcd's default, and its weaker `serializable` reads are measured besides. Ours
//! keeps a Kubernetes object around the value, as it does in a cluster.
//!
//! The lines "in this process" call the store as the API server does, without any protocol, beside the same figures
//! of etcd, which a Kubernetes API server has to call over gRPC. That is what a cluster gains by having its store
//! inside; it is no comparison of the stores.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod etcd;
mod group;
mod measure;
mod served;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Selection, StorageKey, Store, Transaction, Write,
};

use crate::etcd::Etcd;
use crate::group::Group;
use crate::measure::{Figures, measure, median, processor_time};
use crate::served::Served;
use crate::wire::Call;

const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 256;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const START_OBJECTS: usize = 100_000;

/// Who asks how many at a time.
const CLIENTS: [usize; 2] = [1, 256];

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
        ["--bench", "serve", dir] => runtime.block_on(served::serve(Path::new(dir))),
        ["--bench", "open", how, dir] => runtime.block_on(open(how, Path::new(dir))),
        ["--bench", "member", number, how, dir] => {
            runtime.block_on(group::member(number.parse().unwrap(), how, Path::new(dir)));
        }
        ["three", ..] => runtime.block_on(three()),
        ["sealed", ..] => runtime.block_on(sealed()),
        ["start", ..] => runtime.block_on(run(true)),
        _ => runtime.block_on(run(false)),
    }
}

async fn run(only_start: bool) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if only_start {
        return start(dir.path()).await;
    }
    let etcd = Etcd::start(&dir.path().join("etcd")).await;
    match &etcd {
        Some(etcd) => println!("{}", etcd.version),
        None => println!("etcd is not here: only the store is measured"),
    }
    println!(
        "{VALUE_BYTES}-byte values, {KEYS} keys, median of {ROUNDS} rounds of {} s",
        ROUND.as_secs()
    );
    let line = |what, clients| Comparison {
        what,
        clients,
        store: Vec::new(),
        etcd: Vec::new(),
    };
    let served = Served::start(&dir.path().join("served"));
    let calls = [
        ("write", Call::Put),
        ("read", Call::Range),
        ("read (etcd: serializable)", Call::SerializableRange),
    ];
    for (what, call) in calls {
        if call == Call::Range {
            wire::fill(&served.address).await;
            if let Some(etcd) = &etcd {
                wire::fill(&etcd.address).await;
            }
        }
        let mut lines = CLIENTS.map(|clients| line(what, clients));
        for _ in 0..ROUNDS {
            for comparison in &mut lines {
                comparison.take_turns(call, &served, etcd.as_ref()).await;
            }
        }
        lines.iter().for_each(Comparison::print);
        if call == Call::SerializableRange {
            continue;
        }
        // The same of etcd, beside the store without a protocol.
        for of_etcd in &mut lines {
            let inside = format!("inside-{what}-{}", of_etcd.clients);
            let mut inside_line = line(
                if call == Call::Put {
                    "write, in this process"
                } else {
                    "read, in this process"
                },
                of_etcd.clients,
            );
            inside_line.etcd = std::mem::take(&mut of_etcd.etcd);
            let store = RaftStore::open(RaftStoreConfig::new(dir.path().join(inside)))
                .await
                .unwrap();
            let store = Arc::new(store);
            fill(&store, call).await;
            for _ in 0..ROUNDS {
                inside_line.store.push(match call {
                    Call::Put => write_store(&store, of_etcd.clients).await,
                    _ => read_store(&store, of_etcd.clients).await,
                });
            }
            store.shutdown().await;
            inside_line.print();
        }
    }
    drop(served);
    drop(etcd);
    batches(dir.path()).await;
    start(dir.path()).await;
}

/// Three members beside three of etcd.
async fn three() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let etcd = Etcd::start_three(&dir.path().join("etcd")).await;
    match &etcd {
        Some(etcd) => println!(
            "three members, TLS between them, clients at the leader; {}",
            etcd[0].version
        ),
        None => println!("etcd is not here: only the store is measured"),
    }
    println!(
        "{VALUE_BYTES}-byte values, {KEYS} keys, median of {ROUNDS} rounds of {} s",
        ROUND.as_secs()
    );
    for how in ["sealed", "open"] {
        let group = Group::start(&dir.path().join(how), how);
        let what = if how == "sealed" {
            ["write, sealed on disk", "read, sealed on disk"]
        } else {
            ["write", "read"]
        };
        for (what, call) in what.into_iter().zip([Call::Put, Call::Range]) {
            if call == Call::Range {
                wire::fill(group.address()).await;
                if let Some(etcd) = &etcd {
                    wire::fill(&etcd[0].address).await;
                }
            }
            for clients in CLIENTS {
                let mut line = Comparison {
                    what,
                    clients,
                    store: Vec::new(),
                    etcd: Vec::new(),
                };
                for _ in 0..ROUNDS {
                    line.store
                        .push(round_of(group.address(), &group.processes(), call, clients).await);
                    if let Some(etcd) = &etcd {
                        let processes: Vec<u32> = etcd.iter().map(Etcd::process).collect();
                        line.etcd
                            .push(round_of(&etcd[0].address, &processes, call, clients).await);
                    }
                }
                line.print();
            }
        }
    }
}

/// A round of calls to a server of several processes.
async fn round_of(address: &str, processes: &[u32], call: Call, clients: usize) -> Figures {
    let used = || {
        processes
            .iter()
            .map(|process| processor_time(*process))
            .sum::<Duration>()
    };
    let before = used();
    let figures = wire::measure(address, call, clients, ROUND).await;
    figures.of_server(used() - before, ROUND)
}

/// What encryption costs: the same writes with a key and without, in turns.
async fn sealed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut stores = Vec::new();
    for (what, key) in [("open", None), ("sealed", Some(StorageKey::new(1, [7; 32])))] {
        let mut config = RaftStoreConfig::new(dir.path().join(what));
        config.encryption = key;
        stores.push((what, Arc::new(RaftStore::open(config).await.unwrap())));
    }
    for clients in CLIENTS {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for ((_, store), rounds) in stores.iter().zip(&mut rounds) {
                rounds.push(write_store(store, clients).await);
            }
        }
        for ((what, _), rounds) in stores.iter().zip(&rounds) {
            if let Some(figures) = median(rounds) {
                println!("write, in this process, {clients:3} clients, {what}: {figures}");
            }
        }
    }
    for (_, store) in stores {
        store.shutdown().await;
    }
}

async fn fill(store: &RaftStore, call: Call) {
    if call == Call::Put {
        return;
    }
    for chunk in 0..KEYS / 1000 {
        let transactions = (0..1000).map(|step| put(chunk * 1000 + step));
        let writes = transactions.flat_map(|transaction| transaction.writes).collect();
        store.commit(Transaction { writes }).await.unwrap();
    }
}

impl Comparison {
    /// A round of each.
    async fn take_turns(&mut self, call: Call, served: &Served, etcd: Option<&Etcd>) {
        let round = async |address: &str, process: u32| {
            let before = processor_time(process);
            let figures = wire::measure(address, call, self.clients, ROUND).await;
            figures.of_server(processor_time(process) - before, ROUND)
        };
        let of_store = round(&served.address, served.process()).await;
        let of_etcd = match etcd {
            Some(etcd) => Some(round(&etcd.address, etcd.process()).await),
            None => None,
        };
        self.store.push(of_store);
        self.etcd.extend(of_etcd);
    }

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

/// A config map that holds a value.
fn object(key: &Key, value: impl Into<String>) -> Arc<Object> {
    let mut object = Object::new("v1", "ConfigMap", Some(&key.namespace), &key.name);
    object.set(&["data", "value"], value.into());
    Arc::new(object)
}

/// The value that [`object`] put into it.
fn text_of(object: &Object) -> &str {
    object.text(&["data", "value"]).unwrap()
}

fn put(number: usize) -> Transaction {
    let key = key(number);
    let writes = vec![Write {
        change: Change::Put(object(&key, "x".repeat(VALUE_BYTES))),
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
    let processor = processor_time(std::process::id());
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
