//! What was acknowledged survives `kill -9` at any moment.
//!
//! The test starts itself again as a child that writes and prints what was acknowledged, and kills it. Set
//! `STORE_CRASH_ROUNDS` for more rounds than the usual ones.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cluster_objects::Object;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Revision, Selection, Store, Transaction, Write,
};
use tempfile::TempDir;

const CHILD_DIR: &str = "STORE_CRASH_CHILD_DIR";
const ROUNDS: &str = "STORE_CRASH_ROUNDS";
const ROUNDS_USUAL: u64 = 20;
const WRITERS: u64 = 16;

fn config(dir: &Path) -> RaftStoreConfig {
    let mut config = RaftStoreConfig::new(dir);
    // Small, so that segments are begun and removed and snapshots made all the time.
    config.segment_bytes = 64 << 10;
    config.snapshot_log_bytes = 256 << 10;
    config
}

fn key(writer: u64, slot: u64) -> Key {
    Key::new("configmaps", &format!("writer-{writer}"), &format!("slot-{slot}"))
}

/// Writes counters for ever, each with its pair in one transaction, and prints what was acknowledged.
async fn write_until_killed(dir: &Path) {
    let store = Arc::new(RaftStore::open(config(dir)).await.unwrap());
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            for count in store.revision().0.. {
                let slot = count % 10;
                let write = |name: u64| {
                    let key = key(writer, name);
                    let mut object = Object::new("v1", "ConfigMap", Some(&key.namespace), &key.name);
                    object.set(&["data", "count"], count);
                    object.set(&["data", "filler"], "x".repeat((count * 37 % 700) as usize));
                    Write {
                        key,
                        precondition: Precondition::None,
                        change: Change::Put(Arc::new(object)),
                    }
                };
                let writes = vec![write(slot), write(slot + 100)];
                let committed = store.commit(Transaction { writes }).await.unwrap();
                // One short line is written whole or not at all.
                let line = format!("{writer} {slot} {count} {}\n", committed.revision);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_being_killed() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return write_until_killed(Path::new(&dir)).await;
    }
    let rounds = std::env::var(ROUNDS).map_or(ROUNDS_USUAL, |rounds| rounds.parse().unwrap());
    let dir = TempDir::new().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut newest = Revision(0);
    for round in 0..rounds {
        let moment = if round % 5 == 4 {
            // Somewhere in the start.
            Moment::After(Duration::from_millis(round * 7919 % 100))
        } else {
            Moment::Acknowledged(round * 7919 % 500)
        };
        run_and_kill(dir.path(), moment, &mut acknowledged, &mut newest);
        let started = Instant::now();
        let store = RaftStore::open(config(dir.path())).await.unwrap();
        let took = started.elapsed();
        assert!(
            store.revision() >= newest,
            "round {round}: {} after {newest}",
            store.revision()
        );
        newest = store.revision();
        check(&store, &acknowledged, round);
        println!(
            "round {round}: {} slots, revision {newest}, opened in {took:?}",
            acknowledged.len()
        );
        store.shutdown().await;
    }
    assert!(
        acknowledged.len() as u64 == WRITERS * 10,
        "the child wrote something"
    );
}

/// When the child is killed.
#[derive(Clone, Copy)]
enum Moment {
    After(Duration),
    /// When so many writes were acknowledged; as many as are under way are not.
    Acknowledged(u64),
}

/// Runs the child, kills it, and takes in what it printed.
fn run_and_kill(
    dir: &Path,
    moment: Moment,
    acknowledged: &mut BTreeMap<(u64, u64), u64>,
    newest: &mut Revision,
) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "what_was_acknowledged_survives_being_killed",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
            if let [writer, slot, count, revision] = numbers[..] {
                sender.send((writer, slot, count, Revision(revision))).unwrap();
            }
        }
    });
    let mut take = |(writer, slot, count, revision)| {
        acknowledged.insert((writer, slot), count);
        *newest = (*newest).max(revision);
    };
    match moment {
        Moment::After(time) => std::thread::sleep(time),
        Moment::Acknowledged(count) => {
            for _ in 0..=count {
                take(
                    receiver
                        .recv_timeout(Duration::from_secs(60))
                        .expect("the child writes"),
                );
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    receiver.iter().for_each(take);
    reader.join().unwrap();
}

fn check(store: &RaftStore, acknowledged: &BTreeMap<(u64, u64), u64>, round: u64) {
    let count = |object: &Object| object.integer(&["data", "count"]).unwrap() as u64;
    for ((writer, slot), expected) in acknowledged {
        let object = store.get(&key(*writer, *slot));
        let found = object.map(|object| count(&object));
        // A later write may have been done without being acknowledged.
        assert!(
            found >= Some(*expected),
            "round {round}: {writer}/{slot}: {found:?} after {expected}"
        );
    }
    let everything = Selection {
        table: "configmaps".into(),
        namespace: None,
    };
    let all = store.list(&everything, None, None, 0, &|_| true).unwrap();
    for object in &all.objects {
        let (writer, slot) = object
            .namespace()
            .zip(object.name().strip_prefix("slot-"))
            .unwrap();
        let slot: u64 = slot.parse().unwrap();
        let pair = if slot < 100 { slot + 100 } else { slot - 100 };
        let pair = store.get(&Key::new("configmaps", writer, &format!("slot-{pair}")));
        let pair = pair.map(|pair| count(&pair));
        assert_eq!(pair, Some(count(object)), "round {round}: half a transaction");
    }
}
