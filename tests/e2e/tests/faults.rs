//! Three servers of the real binary under faults: what concurrent clients see is linearizable, and the cluster heals.
//!
//! Which faults happen, to whom and how long, and what clients ask follows from a seed; when packets and processes get on
//! does not. `TUG_TEST_SEEDS` says how many seeds, 2 by default; a violation names its seed, and `TUG_TEST_SEED_FIRST`
//! begins with it. All seeds have one cluster, one after another: each begins with what the one before has healed to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{GetParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use test_history::{Operation, Random, Value, What, check};
use test_support::{Machines, peer, skip, until};
use tokio::time::{sleep, timeout};

const SEEDS: &str = "TUG_TEST_SEEDS";
const SEED_FIRST: &str = "TUG_TEST_SEED_FIRST";
const SEEDS_USUAL: u64 = 2;

const SERVERS: usize = 3;
const CLIENTS: u64 = 16;
const REGISTERS: u64 = 4;
/// MiB of the disk of a server; the log takes 64 of them at most before it is cut.
const DISK_MIB: u32 = 160;

/// Faults of a run, one after another.
const FAULTS: usize = 4;
/// How long one lasts; an election takes one and a half seconds.
const FAULT_MS: std::ops::Range<u64> = 800..2800;

/// How long there is none until the next.
const PAUSE_MS: std::ops::Range<u64> = 200..1200;

/// Longest wait of a client for an answer: some give up while the answer is under way.
const ANSWER_MS: std::ops::Range<u64> = 300..3000;
/// Longest wait for a cluster without faults.
const LIMIT: Duration = Duration::from_secs(60);

/// How reads are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Certain,
    /// What a server happens to have (`resourceVersion=0`), which may be of the past.
    OfWhateverIsThere,
}

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    /// Whoever leads by then.
    Leader,
    Server(usize),
}

/// What happens to a server. Clients reach it all the same, except where it is unplugged or killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The cluster is in two parts.
    CutOff,
    /// What it says is lost, what it is told is not.
    Mute,
    /// What it is told is lost, what it says is not.
    Deaf,
    /// It and the next hear each other only through the third.
    Apart,
    /// Its cable is pulled.
    Unplugged,
    /// So many packets in a hundred are lost between servers, and the line to it is slow.
    Weather { lost_percent: u64 },
    /// Its processes are killed, and it is started again.
    Killed,
    /// Its disk is full.
    FullDisk,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    fault: Fault,
    whom: Whom,
    lasts: Duration,
    pause: Duration,
}

fn plan(random: &mut Random) -> Vec<Step> {
    let step = |_| Step {
        fault: match random.below(9) {
            0 => Fault::CutOff,
            1 => Fault::Mute,
            2 => Fault::Deaf,
            3 => Fault::Apart,
            4 => Fault::Unplugged,
            5 => Fault::Weather {
                lost_percent: 5 + random.below(25),
            },
            6 | 7 => Fault::Killed,
            _ => Fault::FullDisk,
        },
        whom: match random.percent(60) {
            true => Whom::Leader,
            false => Whom::Server(random.below(SERVERS as u64) as usize),
        },
        lasts: within(random, &FAULT_MS),
        pause: within(random, &PAUSE_MS),
    };
    (0..FAULTS).map(step).collect()
}

fn within(random: &mut Random, milliseconds: &std::ops::Range<u64>) -> Duration {
    Duration::from_millis(milliseconds.start + random.below(milliseconds.end - milliseconds.start))
}

/// Three servers, each on a small disk.
fn start(machines: &Machines) {
    for machine in machines.all() {
        machine.small_disk(DISK_MIB);
    }
    let first = machines.get(0);
    first.tug(["cluster", "start", "--node-name", "m1"]).ok();
    let token = first.tug(["cluster", "token", "create", "--server"]);
    for (number, machine) in machines.all().iter().enumerate().skip(1) {
        let name = format!("m{}", number + 1);
        let join = ["cluster", "join", token.ok().trim(), "--node-name", &name];
        machine.tug(join).ok();
    }
}

/// Which server leads, as one of them sees it.
fn leader(machines: &Machines) -> Option<usize> {
    machines.all().iter().find_map(|machine| {
        let status = machine.tug(["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
        let servers = status["servers"].as_array()?;
        let leader = servers.iter().find(|server| server["leader"] == true)?;
        let address = leader["address"].as_str()?;
        (0..SERVERS).find(|number| address.starts_with(&format!("{}:", machines.address(*number))))
    })
}

/// Lets faults happen, one at a time.
fn trouble(machines: &Machines, steps: &[Step]) {
    for step in steps {
        let server = match step.whom {
            Whom::Server(server) => server,
            Whom::Leader => leader(machines).unwrap_or_default(),
        };
        let next = (server + 1) % SERVERS;
        let others = || (0..SERVERS).filter(|other| *other != server);
        match step.fault {
            Fault::CutOff => others().for_each(|other| {
                machines.block(server, other);
                machines.block(other, server);
            }),
            Fault::Mute => others().for_each(|other| machines.block(server, other)),
            Fault::Deaf => others().for_each(|other| machines.block(other, server)),
            Fault::Apart => {
                machines.block(server, next);
                machines.block(next, server);
            }
            Fault::Unplugged => machines.cut_off(server),
            Fault::Weather { lost_percent } => {
                machines.lose(lost_percent);
                machines.slow_down(server);
            }
            Fault::Killed => machines.kill(server),
            Fault::FullDisk => machines.fill_disk(server),
        }
        // A fault is nothing to wait for: it lasts.
        std::thread::sleep(step.lasts);
        match step.fault {
            Fault::FullDisk => machines.empty_disk(server),
            Fault::Killed => drop(machines.get(server).tug(["cluster", "start"]).ok().to_owned()),
            _ => machines.calm(),
        }
        std::thread::sleep(step.pause);
    }
}

/// What clients did, by register.
#[derive(Default)]
struct History {
    clock: AtomicU64,
    values: AtomicU64,
    operations: Mutex<BTreeMap<u64, Vec<Operation>>>,
}

impl History {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A value that was never written.
    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Notes what was begun; `what` is nothing where it came to nothing, or where its outcome is not known.
    fn note(&self, register: u64, begun: u64, what: What, is_known: bool) {
        let ended = is_known.then(|| self.now());
        let mut operations = self.operations.lock().unwrap();
        operations
            .entry(register)
            .or_default()
            .push(Operation { begun, ended, what });
    }
}

fn name(seed: u64, register: u64) -> String {
    format!("s{seed}-r{register}")
}

fn config_map(name: &str, value: u64) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    let filler = ("filler".to_owned(), "x".repeat(200));
    map.data = Some([("value".to_owned(), value.to_string()), filler].into());
    map
}

fn value_of(map: &ConfigMap) -> Value {
    map.data.as_ref()?.get("value")?.parse().ok()
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// One client, which asks one server after another until it is told to stop.
async fn use_registers(
    servers: &[Api<ConfigMap>],
    seed: u64,
    history: &History,
    mut random: Random,
    reads: Reads,
    stop: &AtomicBool,
) {
    // Of each register, what was seen last.
    let mut seen: BTreeMap<u64, ConfigMap> = BTreeMap::new();
    while !stop.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(random.below(20))).await;
        let register = random.below(REGISTERS);
        let name = name(seed, register);
        let server = &servers[random.below(servers.len() as u64) as usize];
        let limit = within(&mut random, &ANSWER_MS);
        let begun = history.now();
        if random.percent(50) {
            let parameters = match reads {
                Reads::Certain => GetParams::default(),
                Reads::OfWhateverIsThere => GetParams::any(),
            };
            match timeout(limit, server.get_with(&name, &parameters)).await {
                Ok(Ok(map)) => {
                    history.note(register, begun, What::Read(value_of(&map)), true);
                    seen.insert(register, map);
                }
                Ok(Err(error)) if is(&error, 404) => history.note(register, begun, What::Read(None), true),
                _ => {}
            }
            continue;
        }
        let value = history.value();
        let mut map = config_map(&name, value);
        let mut what = What::Write(Some(value));
        let known = seen.get(&register).filter(|_| random.percent(60));
        let from = known.map(value_of);
        if let (Some(known), Some(from)) = (known, from) {
            map.metadata.resource_version = known.resource_version();
            let to = Some(value);
            what = What::Swap { from, to };
        }
        match timeout(limit, server.replace(&name, &PostParams::default(), &map)).await {
            Ok(Ok(map)) => {
                history.note(register, begun, what, true);
                seen.insert(register, map);
            }
            Ok(Err(error)) if is(&error, 409) && from.is_some() => {
                history.note(register, begun, What::Differed(from.flatten()), true);
                seen.remove(&register);
            }
            Ok(Err(error)) if is(&error, 404) => history.note(register, begun, What::Read(None), true),
            _ => history.note(register, begun, what, false),
        }
    }
}

/// What a run came to.
struct Outcome {
    operations: usize,
    unknown: usize,
    violations: Vec<String>,
    healed: Duration,
}

fn run(machines: &Machines, seed: u64, steps: &[Step], reads: Reads) -> Outcome {
    let history = Arc::new(History::default());
    let stop = Arc::new(AtomicBool::new(false));
    let of_registers = history.clone();
    machines.with_clients(1, move |clients| async move {
        let server = Api::default_namespaced(clients[0].clone());
        for register in 0..REGISTERS {
            create(&server, seed, register, &of_registers).await;
        }
    });
    std::thread::scope(|scope| {
        let of_clients = (history.clone(), stop.clone());
        let clients = scope.spawn(move || {
            machines.with_clients(SERVERS, move |clients| async move {
                let servers: Vec<_> = clients.into_iter().map(Api::default_namespaced).collect();
                let (history, stop) = of_clients;
                let clients = (0..CLIENTS).map(|client| {
                    let random = Random::new(seed * 1000 + client);
                    use_registers(&servers, seed, &history, random, reads, &stop)
                });
                join_all(clients).await;
            });
        });
        trouble(machines, steps);
        stop.store(true, Ordering::SeqCst);
        clients.join().unwrap();
    });
    let healed = heal(machines, seed, &history);
    let operations = std::mem::take(&mut *history.operations.lock().unwrap());
    let mut violations = Vec::new();
    for (register, operations) in &operations {
        if let Err(part) = check(operations) {
            let part: Vec<String> = part.iter().map(|operation| format!("{operation:?}")).collect();
            violations.push(format!(
                "seed {seed}, register {register}, {steps:?}:\n  {}",
                part.join("\n  ")
            ));
        }
    }
    let all = || operations.values().flatten();
    Outcome {
        operations: all().count(),
        unknown: all().filter(|operation| operation.ended.is_none()).count(),
        violations,
        healed,
    }
}

/// Makes a register, which is there from then on.
async fn create(server: &Api<ConfigMap>, seed: u64, register: u64, history: &History) {
    let (begun, value) = (history.now(), history.value());
    let map = config_map(&name(seed, register), value);
    let made = timeout(LIMIT, server.create(&PostParams::default(), &map)).await;
    made.expect("in time")
        .expect("a cluster without faults takes writes");
    let to = Some(value);
    history.note(register, begun, What::Swap { from: None, to }, true);
}

fn all_same<T: PartialEq>(items: &[T]) -> bool {
    items.windows(2).all(|pair| pair[0] == pair[1])
}

/// What a server shows of a map: its name, version and value.
type Shown = (String, Option<String>, Option<u64>);

/// What each server shows, one after the other.
async fn look(servers: &[Api<ConfigMap>], seed: u64, history: &History) -> Vec<Vec<Shown>> {
    let mut shown = Vec::new();
    for server in servers {
        let begun = history.now();
        let list = timeout(LIMIT, server.list(&ListParams::default())).await;
        let list = list.expect("in time").expect("a healed cluster is read");
        for register in 0..REGISTERS {
            let name = name(seed, register);
            let map = list.items.iter().find(|map| map.name_any() == name);
            history.note(register, begun, What::Read(map.and_then(value_of)), true);
        }
        let all = list.items.iter();
        let all = all.map(|map| (map.name_any(), map.resource_version(), value_of(map)));
        shown.push(all.collect());
    }
    shown
}

/// Waits until every server takes writes again and all are in the group, and looks at what each of them shows in the end.
fn heal(machines: &Machines, seed: u64, history: &Arc<History>) -> Duration {
    let started = Instant::now();
    let history = history.clone();
    let healed = machines.with_clients(SERVERS, move |clients| async move {
        let servers: Vec<Api<ConfigMap>> = clients.into_iter().map(Api::default_namespaced).collect();
        for (number, server) in servers.iter().enumerate() {
            let map = config_map(&format!("s{seed}-healed-{number}"), 1);
            let mut last = "no answer yet".to_owned();
            let written = async {
                loop {
                    let parameters = PostParams::default();
                    let created = timeout(LIMIT / 4, server.create(&parameters, &map)).await;
                    match created {
                        Ok(Ok(_)) => return,
                        // Whether the one before was done may not be known.
                        Ok(Err(error)) if is(&error, 409) => return,
                        Ok(Err(error)) => last = error.to_string(),
                        Err(_) => last = format!("no answer within {} s", (LIMIT / 4).as_secs()),
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            };
            if timeout(LIMIT, written).await.is_err() {
                return Err(format!("server {} takes no write, at last: {last}", number + 1));
            }
        }
        let healed = started.elapsed();
        let looked = Instant::now();
        let mut shown = look(&servers, seed, &history).await;
        // A write whose outcome is not known may come between the looks at two servers, as long as it was under way.
        while !all_same(&shown) && looked.elapsed() < LIMIT {
            shown = look(&servers, seed, &history).await;
        }
        Ok((healed, shown))
    });
    let (healed, shown) = healed.unwrap_or_else(|reason| {
        panic!(
            "seed {seed}: the cluster does not heal: {reason}\n{}",
            describe(machines)
        )
    });
    assert!(
        all_same(&shown),
        "seed {seed}: the servers show the same: {shown:?}"
    );
    until("all three servers follow", LIMIT, || {
        let status = machines.get(0).tug(["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
        let follows = |server: &&serde_json::Value| server["leader"] == true || server["lag"].is_u64();
        let servers = status["servers"].as_array()?;
        (servers.iter().filter(follows).count() == SERVERS).then_some(())
    });
    healed
}

/// What servers say of themselves.
fn describe(machines: &Machines) -> String {
    let describe = |machine: &test_support::Lab| {
        let status = machine.tug(["cluster", "status"]);
        // Who leads, by its own word, and how far each of them is.
        let metrics = peer("kubectl").map(|kubectl| {
            let metrics = machine.client(&kubectl, ["get", "--raw", "/metrics", "--request-timeout=5s"]);
            let of_store = metrics
                .stdout
                .lines()
                .filter(|line| line.starts_with("tug_store"));
            of_store.map(|line| format!("{line}\n")).collect::<String>()
        });
        let mut tail = machine.command("tail");
        tail.args(["-n", "40"]).arg(machine.data_dir().join("server.log"));
        format!(
            "{}{}{}{}",
            status.stdout,
            status.stderr,
            metrics.unwrap_or_default(),
            machine.run(tail).stdout
        )
    };
    machines.all().iter().map(describe).collect()
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

#[test]
fn histories_under_faults_are_linearizable_and_reads_of_the_past_are_found() {
    for program in ["nft", "tc"] {
        if peer(program).is_none() {
            return skip(&format!("`{program}` is not installed"));
        }
    }
    let Some(machines) = Machines::open(SERVERS as u8) else {
        return;
    };
    start(&machines);
    let first = number(SEED_FIRST, 1);
    let started = Instant::now();
    let mut outcomes = Vec::new();
    for seed in first..first + number(SEEDS, SEEDS_USUAL) {
        let steps = plan(&mut Random::new(seed));
        let outcome = run(&machines, seed, &steps, Reads::Certain);
        println!(
            "seed {seed}, after {:.0?}: {} operations, {} of unknown outcome, {} violations, healed in {:.1?}: {:?}",
            started.elapsed(),
            outcome.operations,
            outcome.unknown,
            outcome.violations.len(),
            outcome.healed,
            steps
                .iter()
                .map(|step| (step.fault, step.whom))
                .collect::<Vec<_>>(),
        );
        // At once: what comes after may not come to its end.
        outcome
            .violations
            .iter()
            .for_each(|violation| println!("{violation}"));
        outcomes.push(outcome);
    }
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let healed = outcomes.iter().map(|outcome| outcome.healed).max();
    println!(
        "{} seeds in {:.0?}: {} operations, {} of unknown outcome, {} violations; healed in {:.1?} at most",
        outcomes.len(),
        started.elapsed(),
        sum(|outcome| outcome.operations),
        sum(|outcome| outcome.unknown),
        sum(|outcome| outcome.violations.len()),
        healed.unwrap_or_default(),
    );
    let violations = outcomes.iter().flat_map(|outcome| &outcome.violations);
    let violations: Vec<&str> = violations.map(String::as_str).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(
        sum(|outcome| outcome.operations) > 50 * outcomes.len(),
        "the clients get on"
    );
    // The same with reads that may be of the past, as they are from a leader that does not know yet that it is none.
    let step = Step {
        fault: Fault::CutOff,
        whom: Whom::Leader,
        lasts: Duration::from_secs(4),
        pause: Duration::ZERO,
    };
    let broken = run(&machines, 0, &[step], Reads::OfWhateverIsThere);
    assert!(
        !broken.violations.is_empty(),
        "reads of the past pass for good ones"
    );
}
