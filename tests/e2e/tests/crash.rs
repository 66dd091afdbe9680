//! The cluster's process is killed at any moment, or its disk is full: what was acknowledged is there, and containers
//! run on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use test_support::{Lab, Output, peer, repository, skip, until};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);

fn server_pid(lab: &Lab) -> String {
    lab.tug(["cluster", "status", "-o", "json"]).json()["pid"].to_string()
}

fn kill(lab: &Lab) {
    let mut kill = lab.command("kill");
    kill.args(["-9", &server_pid(lab)]);
    lab.run(kill).ok();
}

#[test]
fn running_containers_are_adopted_not_restarted() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug([
        "install",
        "hello",
        repository().join("charts/hello").to_str().unwrap(),
    ])
    .ok();
    let container = || -> Output {
        let fields = "{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} \
                      {.status.containerStatuses[0].restartCount} {.status.podIP}{end}";
        lab.client(&kubectl, ["get", "pods", "-o", &format!("jsonpath={fields}")])
    };
    let before = container();
    for _ in 0..3 {
        kill(&lab);
        // The data plane goes on without the server, but for node ports on loopback, which it forwards itself.
        lab.tug(["cluster", "start"]).ok();
        until("the service answers", LIMIT, || {
            lab.get(30080, "/").filter(|(code, _)| *code == 200)
        });
        assert_eq!(container().ok(), before.ok());
    }
    assert_eq!(lab.tug(["list", "-q"]).ok(), "hello\n");
}

/// Clients that write at the same time, each its own object.
const WRITERS: usize = 16;

/// What a writer knows of its object. Its changes have numbers; every seventh one is a deletion.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    acknowledged: u64,
    /// What the object holds after the last change of which the outcome is known; nothing where it is not there.
    known: Option<u64>,
    /// The number of the last change; it may be done or not.
    tried: u64,
}

/// What an object holds after a change.
fn state_after(change: u64) -> Option<u64> {
    (!change.is_multiple_of(7)).then_some(change)
}

/// Numbers that look random and are the same in every run.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Changes an object again and again until the server is gone.
async fn write(
    maps: Api<ConfigMap>,
    writer: usize,
    written: Arc<Mutex<Vec<Written>>>,
    done: mpsc::UnboundedSender<()>,
) {
    let name = format!("writer-{writer}");
    loop {
        let change = {
            let mut written = written.lock().unwrap();
            written[writer].tried += 1;
            written[writer].tried
        };
        let outcome = match state_after(change) {
            None => maps.delete(&name, &DeleteParams::default()).await.map(drop),
            Some(change) => {
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                    "data": {"change": change.to_string(), "filler": "x".repeat((change * 37 % 700) as usize)},
                });
                let as_writer = PatchParams::apply("writer").force();
                maps.patch(&name, &as_writer, &Patch::Apply(object))
                    .await
                    .map(drop)
            }
        };
        if outcome.is_err() {
            return;
        }
        {
            let written = &mut written.lock().unwrap()[writer];
            written.known = state_after(change);
            written.acknowledged += 1;
        }
        if done.send(()).is_err() {
            return;
        }
    }
}

/// Kills the server again and again while many write to it.
fn kill_while_writing(kills: usize) {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let mut written = vec![Written::default(); WRITERS];
    let mut seed = 20_261_122;
    let (mut acknowledged, mut unknown, mut unknown_done) = (0_u64, 0, 0);
    let mut longest_start = Duration::ZERO;
    for round in 0..kills {
        let pid = server_pid(&lab);
        let changes = next(&mut seed) % 100;
        let before = written.clone();
        written = lab.with_client(move |client| async move {
            let written = Arc::new(Mutex::new(before));
            let (done, mut changed) = mpsc::unbounded_channel();
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let maps = Api::default_namespaced(client.clone());
                    tokio::spawn(write(maps, writer, written.clone(), done.clone()))
                })
                .collect();
            for _ in 0..=changes {
                let change = tokio::time::timeout(LIMIT, changed.recv()).await;
                change.expect("the server answers");
            }
            let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
            assert!(killed.unwrap().success());
            for writer in writers {
                tokio::time::timeout(LIMIT, writer)
                    .await
                    .expect("a request ends with its server")
                    .unwrap();
            }
            let written = written.lock().unwrap();
            written.clone()
        });
        let begin = Instant::now();
        lab.tug(["cluster", "start"]).ok();
        longest_start = longest_start.max(begin.elapsed());
        let found = lab.with_client(|client| async {
            let maps: Api<ConfigMap> = Api::default_namespaced(client);
            maps.list(&ListParams::default()).await.unwrap().items
        });
        for (writer, known) in written.iter_mut().enumerate() {
            let name = format!("writer-{writer}");
            let object = found.iter().find(|map| map.metadata.name.as_ref() == Some(&name));
            let state = object.map(|map| map.data.as_ref().unwrap()["change"].parse().unwrap());
            let may_be = [known.known, state_after(known.tried)];
            assert!(
                may_be.contains(&state),
                "round {round}: {name} is {state:?} after {known:?}"
            );
            if may_be[0] != may_be[1] {
                unknown += 1;
                unknown_done += usize::from(state == may_be[1]);
            }
            known.known = state;
        }
        acknowledged = written.iter().map(|known| known.acknowledged).sum();
    }
    println_outcome(kills, acknowledged, unknown, unknown_done, longest_start);
    assert!(acknowledged > kills as u64 * 20, "{written:?}");
}

#[expect(
    clippy::print_stdout,
    reason = "figures for who looks at the output of the test"
)]
fn println_outcome(
    kills: usize,
    acknowledged: u64,
    unknown: usize,
    unknown_done: usize,
    longest_start: Duration,
) {
    println!(
        "{kills} kills during {acknowledged} changes: none that was acknowledged is lost; of {unknown} under way \
         {unknown_done} were done; the longest start took {longest_start:.2?}"
    );
}

/// `TUG_TEST_KILLS=200 cargo test -p test-e2e --test crash kill_9 -- --nocapture` kills as often as that.
#[test]
fn everything_acknowledged_survives_kill_9() {
    let asked = std::env::var("TUG_TEST_KILLS");
    kill_while_writing(asked.map_or(6, |kills| kills.parse().expect("TUG_TEST_KILLS is a number")));
}

/// Makes config maps, big ones and then small ones, until there is no room for either; gives how many there are then,
/// and the last refusal.
async fn fill(client: Client, first: usize) -> (usize, Box<kube::core::Status>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut bytes = 500_000;
    for number in first..first + 1000 {
        let mut refusal = None;
        while bytes > 1000 {
            let map = ConfigMap {
                data: Some([("filler".to_owned(), "x".repeat(bytes))].into()),
                ..config_map(number)
            };
            match maps.create(&PostParams::default(), &map).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) => refusal = Some(status),
                Err(error) => panic!("{error}"),
            }
            bytes /= 10;
        }
        if let Some(refusal) = refusal.filter(|_| bytes <= 1000) {
            return (number, refusal);
        }
    }
    panic!("the disk never gets full");
}

fn config_map(number: usize) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(format!("map-{number}"));
    map
}

fn count(lab: &Lab) -> usize {
    lab.with_client(|client| async {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let listed = maps.list_metadata(&ListParams::default()).await.unwrap();
        let ours = |map: &&kube::core::PartialObjectMeta<ConfigMap>| {
            map.metadata
                .name
                .as_ref()
                .is_some_and(|name| name.starts_with("map-"))
        };
        listed.items.iter().filter(ours).count()
    })
}

#[test]
fn err_a_full_disk_makes_the_cluster_read_only() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.small_disk(80);
    let ballast = lab.data_dir().join("ballast");
    let path = ballast.clone();
    lab.inside(move || std::fs::write(path, vec![1; 24 << 20]))
        .unwrap();
    lab.tug(["cluster", "start"]).ok();
    let store = lab.data_dir().join("store").display().to_string();

    let (written, refusal) = lab.with_client(|client| fill(client, 0));
    assert!(written > 5, "{written}");
    assert_eq!(refusal.code, 507, "{refusal:?}");
    assert!(
        refusal.message.contains(&store) && refusal.message.contains("No space left"),
        "{refusal:?}"
    );
    // Whoever writes is told the same, and whoever reads is served.
    let refused = lab.client(&kubectl, ["create", "cm", "small"]);
    assert!(refused.err().contains(&store), "{}", refused.stderr);
    let ready = || lab.client(&kubectl, ["get", "--raw", "/readyz?verbose"]);
    assert!(
        ready().err().contains("[-]store failed: read-only"),
        "{}",
        ready().stderr
    );
    assert_eq!(count(&lab), written);

    // Room is noticed without a restart.
    let path = ballast.clone();
    lab.inside(move || std::fs::remove_file(path)).unwrap();
    until("room is noticed", LIMIT, || (ready().code == 0).then_some(()));
    lab.client(&kubectl, ["create", "cm", "small"]).ok();
    let (written, refusal) = lab.with_client(move |client| fill(client, written));
    assert_eq!(refusal.code, 507, "{refusal:?}");
    assert_eq!(count(&lab), written);

    // Killed and started on the full disk, it has everything.
    kill(&lab);
    lab.tug(["cluster", "start"]).ok();
    assert_eq!(count(&lab), written);
    lab.client(&kubectl, ["get", "cm", "small"]).ok();
}
