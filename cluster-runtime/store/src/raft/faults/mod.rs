//! Three members under faults: histories of concurrent clients are linearizable, and the group heals.
//!
//! A run follows from a seed: what the network loses and delays, who is cut off, killed and opened again, whose disk
//! refuses, and what the clients ask. `TUG_TEST_SEEDS` says how many seeds, 4 by default; a violation names its seed,
//! and `TUG_TEST_SEED_FIRST` begins with it.

mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_objects::Object;
use futures::StreamExt;
use tempfile::TempDir;
use test_history::{Operation, Random, Value, What, check};
use tokio::time::{sleep, timeout};

use crate::raft::faults::network::{Network, Port, Weather};
use crate::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Revision, Selection, Store, StoreError,
    Transaction, Write,
};

const SEEDS: &str = "TUG_TEST_SEEDS";
const SEED_FIRST: &str = "TUG_TEST_SEED_FIRST";
const SEEDS_USUAL: u64 = 4;

/// Runs at the same time.
const TOGETHER: usize = 4;

const MEMBERS: [u64; 3] = [1, 2, 3];
const CLIENTS: u64 = 6;
const REGISTERS: u64 = 6;

/// Faults of a run, one after another.
const FAULTS: u64 = 12;

/// How long one lasts at most; longer than an election takes.
const FAULT_MS_MAX: u64 = 2500;

/// How long a group may take to heal.
const HEAL_MAX: Duration = Duration::from_secs(30);

/// How reads are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Certain,
    /// Broken on purpose.
    OfWhateverIsThere,
}

/// The members, of which any may be down.
struct Group {
    dir: TempDir,
    network: Arc<Network>,
    stores: Mutex<BTreeMap<u64, Arc<RaftStore>>>,
    /// Whose disk refuses to be written.
    broken: BTreeMap<u64, Arc<AtomicBool>>,
}

impl Group {
    async fn start(seed: u64) -> Self {
        let group = Self {
            dir: TempDir::new().unwrap(),
            network: Network::new(seed),
            stores: Mutex::default(),
            broken: MEMBERS.map(|member| (member, Arc::default())).into(),
        };
        for member in MEMBERS {
            group.open(member).await;
        }
        let first = group.store(1).unwrap();
        for member in [2, 3] {
            first.add_member(member, &member.to_string()).await.unwrap();
        }
        first.set_voters(BTreeSet::from(MEMBERS)).await.unwrap();
        group
    }

    async fn open(&self, member: u64) {
        let broken = self.broken[&member].clone();
        broken.store(false, Ordering::SeqCst);
        let mut config = RaftStoreConfig::new(self.dir.path().join(member.to_string()));
        config.member = member;
        config.address = member.to_string();
        config.bootstrap = member == 1;
        let network = self.network.clone();
        config.transport = Some(Arc::new(Port { network, member }));
        // Small, so that segments and snapshots come and go, and who was away needs a snapshot.
        config.segment_bytes = 16 << 10;
        config.snapshot_log_bytes = 32 << 10;
        config.before_write = Some(Arc::new(move || {
            if broken.load(Ordering::SeqCst) {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }));
        let store = Arc::new(RaftStore::open(config).await.unwrap());
        self.network.connect(member, &store);
        self.stores.lock().unwrap().insert(member, store);
    }

    /// Ends a member as a crash does: what is not on the disk by now never comes there.
    async fn kill(&self, member: u64) {
        self.broken[&member].store(true, Ordering::SeqCst);
        self.network.disconnect(member);
        let store = self.stores.lock().unwrap().remove(&member);
        if let Some(store) = store {
            store.shutdown().await;
        }
    }

    fn store(&self, member: u64) -> Option<Arc<RaftStore>> {
        self.stores.lock().unwrap().get(&member).cloned()
    }

    fn leader(&self) -> Option<u64> {
        let stores = self.stores.lock().unwrap();
        let leads = |store: &RaftStore| store.leadership().borrow().is_self;
        stores
            .iter()
            .find(|(_, store)| leads(store))
            .map(|(member, _)| *member)
    }
}

/// Lets faults happen, one at a time.
async fn trouble(group: &Group, random: &mut Random) {
    for _ in 0..FAULTS {
        let member = match (random.percent(50), group.leader()) {
            (true, Some(leader)) => leader,
            _ => MEMBERS[random.below(3) as usize],
        };
        let others = MEMBERS.into_iter().filter(|other| *other != member);
        let lasts = Duration::from_millis(300 + random.below(FAULT_MS_MAX - 300));
        let cut = Weather {
            is_cut: true,
            ..Weather::default()
        };
        match random.below(7) {
            // Cut off, both ways or only one.
            fault @ 0..3 => {
                for other in others {
                    if fault < 2 {
                        group.network.set_weather(member, other, cut);
                    }
                    if fault != 1 {
                        group.network.set_weather(other, member, cut);
                    }
                }
                sleep(lasts).await;
            }
            // Two that hear each other only through the third.
            3 => {
                let other = MEMBERS[(member % 3) as usize];
                group.network.set_weather(member, other, cut);
                group.network.set_weather(other, member, cut);
                sleep(lasts).await;
            }
            4 => {
                let weather = Weather {
                    is_cut: false,
                    lost_percent: random.below(25),
                    delay_ms_max: random.below(120),
                    doubled_percent: random.below(20),
                };
                for from in MEMBERS {
                    for to in MEMBERS {
                        group.network.set_weather(from, to, weather);
                    }
                }
                sleep(lasts).await;
            }
            5 => {
                group.kill(member).await;
                sleep(lasts / 2).await;
                group.open(member).await;
            }
            _ => {
                group.broken[&member].store(true, Ordering::SeqCst);
                sleep(lasts / 2).await;
                group.kill(member).await;
                group.open(member).await;
            }
        }
        group.network.clear();
        sleep(Duration::from_millis(random.below(400))).await;
    }
}

/// What clients did, by register.
#[derive(Default)]
struct History {
    clock: AtomicU64,
    values: AtomicU64,
    operations: Mutex<BTreeMap<u64, Vec<Operation>>>,
}

fn key(register: u64) -> Key {
    Key::new("configmaps", "default", &format!("r{register}"))
}

fn value_of(object: Option<&Object>) -> Value {
    Some(object?.integer(&["data", "value"])? as u64)
}

/// Asks for one thing after another until it is told to stop.
async fn use_registers(
    group: &Group,
    history: &History,
    mut random: Random,
    reads: Reads,
    stop: &AtomicBool,
) {
    // Of each register, the revision and value seen last.
    let mut seen: BTreeMap<u64, (Revision, Value)> = BTreeMap::new();
    while !stop.load(Ordering::SeqCst) {
        sleep(Duration::from_micros(random.below(8000))).await;
        let register = random.below(REGISTERS);
        let Some(store) = group.store(MEMBERS[random.below(3) as usize]) else {
            continue;
        };
        let begun = history.clock.fetch_add(1, Ordering::SeqCst);
        let (known, what) = if random.percent(50) {
            if reads == Reads::Certain && store.ensure_newest().await.is_err() {
                continue;
            }
            let object = store.get(&key(register));
            let value = value_of(object.as_deref());
            if let Some(object) = &object {
                seen.insert(
                    register,
                    (Revision(object.resource_version().parse().unwrap()), value),
                );
            }
            (true, What::Read(value))
        } else {
            let to = Some(history.values.fetch_add(1, Ordering::SeqCst) + 1);
            let swaps = seen.get(&register).filter(|_| random.percent(60)).copied();
            let (precondition, what) = match swaps {
                Some((revision, from)) => (Precondition::At(revision), What::Swap { from, to }),
                None => (Precondition::None, What::Write(to)),
            };
            match write(group, store, register, to, precondition).await {
                Some(Ok(revision)) => {
                    seen.insert(register, (revision, to));
                    (true, what)
                }
                Some(Err(StoreError::PreconditionFailed { current, .. })) => {
                    let (found, from) = (value_of(current.as_deref()), swaps.and_then(|(_, from)| from));
                    seen.remove(&register);
                    (true, What::Refused { from, found })
                }
                Some(Err(StoreError::OutcomeUnknown { .. } | StoreError::Storage { .. })) => (false, what),
                // Not done.
                Some(Err(_)) => continue,
                None => (false, what),
            }
        };
        let ended = known.then(|| history.clock.fetch_add(1, Ordering::SeqCst));
        let mut operations = history.operations.lock().unwrap();
        operations
            .entry(register)
            .or_default()
            .push(Operation { begun, ended, what });
    }
}

/// Writes through whichever member, as an API server does: to the leader that it names. Nothing when that took too long.
async fn write(
    group: &Group,
    mut store: Arc<RaftStore>,
    register: u64,
    to: Value,
    precondition: Precondition,
) -> Option<Result<Revision, StoreError>> {
    let key = key(register);
    let mut object = Object::new("v1", "ConfigMap", Some("default"), &key.name);
    object.set(&["data", "value"], to);
    object.set(&["data", "filler"], "x".repeat(200));
    let writes = vec![Write {
        key,
        precondition,
        change: Change::Put(Arc::new(object)),
    }];
    let transaction = Transaction { writes };
    for _ in 0..3 {
        let outcome = timeout(Duration::from_secs(8), store.commit(transaction.clone())).await;
        match outcome {
            Ok(Err(StoreError::NotLeader { leader, .. })) => {
                match leader.and_then(|leader| group.store(leader)) {
                    Some(leader) => store = leader,
                    None => break,
                }
            }
            Ok(outcome) => return Some(outcome.map(|committed| committed.revision)),
            Err(_) => return None,
        }
    }
    Some(Err(StoreError::NotLeader {
        leader: None,
        address: None,
    }))
}

/// What a run came to.
struct Outcome {
    operations: usize,
    unknown: usize,
    snapshot_parts: usize,
    violations: Vec<String>,
    healed: Duration,
}

async fn run(seed: u64, reads: Reads) -> Outcome {
    let group = Group::start(seed).await;
    let history = History::default();
    let stop = AtomicBool::new(false);
    let clients = (0..CLIENTS).map(|client| {
        let random = Random::new(seed * 1000 + client);
        use_registers(&group, &history, random, reads, &stop)
    });
    let faults = async {
        trouble(&group, &mut Random::new(seed)).await;
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(futures::future::join_all(clients), faults);
    let healed = heal(&group).await;
    let operations = history.operations.into_inner().unwrap();
    let mut violations = Vec::new();
    for (register, operations) in &operations {
        if let Err(part) = check(operations) {
            let part: Vec<String> = part.iter().map(|operation| format!("{operation:?}")).collect();
            violations.push(format!(
                "seed {seed}, register {register}:\n  {}",
                part.join("\n  ")
            ));
        }
    }
    let all = || operations.values().flatten();
    Outcome {
        operations: all().count(),
        unknown: all().filter(|operation| operation.ended.is_none()).count(),
        snapshot_parts: group.network.snapshot_parts.load(Ordering::SeqCst),
        violations,
        healed,
    }
}

/// Waits until the group serves again and all members hold the same, and ends it.
async fn heal(group: &Group) -> Duration {
    let started = Instant::now();
    let newest = timeout(HEAL_MAX, async {
        loop {
            let store = group.leader().and_then(|leader| group.store(leader));
            if let Some(store) = store
                && let Some(Ok(revision)) = write(group, store, REGISTERS, Some(0), Precondition::None).await
            {
                return revision;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let newest = newest.await.expect("the group takes writes again");
    let healed = started.elapsed();
    let everything = Selection {
        table: "configmaps".into(),
        namespace: None,
    };
    let mut shown = Vec::new();
    for member in MEMBERS {
        let store = group.store(member).expect("all are open in the end");
        let certain = timeout(HEAL_MAX, async { while store.ensure_newest().await.is_err() {} });
        certain.await.expect("the members read again");
        assert!(store.revision() >= newest, "member {member} is behind");
        let list = store.list(&everything, Some(newest), None, 0, &|_| true).unwrap();
        shown.push(list.objects);
    }
    for member in MEMBERS {
        group.kill(member).await;
    }
    assert!(
        shown.iter().all(|other| *other == shown[0]),
        "the members hold the same"
    );
    healed
}

async fn run_all(seeds: std::ops::Range<u64>, reads: Reads) -> Vec<Outcome> {
    let runs = futures::stream::iter(seeds).map(|seed| tokio::spawn(run(seed, reads)));
    let runs: Vec<_> = runs.buffer_unordered(TOGETHER).collect().await;
    runs.into_iter()
        .map(|run| run.expect("a run that ends"))
        .collect()
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_faults_are_linearizable() {
    let first = number(SEED_FIRST, 1);
    let started = Instant::now();
    let outcomes = run_all(first..first + number(SEEDS, SEEDS_USUAL), Reads::Certain).await;
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let healed = outcomes
        .iter()
        .map(|outcome| outcome.healed)
        .max()
        .unwrap_or_default();
    println!(
        "{} seeds in {:.0?}: {} operations, {} of unknown outcome, {} parts of snapshots sent, \
         {} violations; healed in {healed:.1?} at most",
        outcomes.len(),
        started.elapsed(),
        sum(|outcome| outcome.operations),
        sum(|outcome| outcome.unknown),
        sum(|outcome| outcome.snapshot_parts),
        sum(|outcome| outcome.violations.len()),
    );
    let violations: Vec<&str> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.violations)
        .map(String::as_str)
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(
        sum(|outcome| outcome.operations) > 100 * outcomes.len(),
        "the clients get on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_reads_of_the_past_are_found() {
    let outcomes = run_all(1..3, Reads::OfWhateverIsThere).await;
    let violations: usize = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
    assert!(
        violations > 0,
        "a store that reads of the past passes for a good one"
    );
}
