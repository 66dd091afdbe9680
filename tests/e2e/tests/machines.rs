//! A cluster of several machines: joined by a token, served by any of three servers, and alive without one of them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster_server::JoinToken;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{GetParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use test_support::{Kubectl, Lab, Machines, peer, repository, skip, token, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A stateful set of one, on the fourth machine, that leaves a silent node after a second.
const SLOT: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: slot}
spec:
  serviceName: slot
  selector: {matchLabels: {app: slot}}
  template:
    metadata: {labels: {app: slot}}
    spec:
      nodeSelector: {kubernetes.io/hostname: m4}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers:
      - name: hello
        image: tug/hello:1.0
        imagePullPolicy: IfNotPresent
"#;

fn members(lab: &Lab) -> Vec<serde_json::Value> {
    let status = lab.tug(["cluster", "status", "-o", "json"]).json();
    status["servers"].as_array().cloned().unwrap_or_default()
}

/// The machine whose server leads, as one of them sees it.
fn leader(machines: &Machines, seen_from: usize) -> Option<usize> {
    let members = members(machines.get(seen_from));
    let leader = members.iter().find(|member| member["leader"] == true)?;
    let address = leader["address"].as_str()?;
    let is_at = |number: &usize| address.starts_with(&format!("{}:", machines.address(*number)));
    (0..machines.all().len()).find(is_at)
}

fn hello() -> String {
    repository().join("charts/hello").display().to_string()
}

/// Installs one hello on each machine, by any server.
fn install_everywhere(lab: &Lab, client: &Kubectl<&Lab>, count: usize) {
    let replicas = format!("replicas={count}");
    lab.tug(["install", "hello", &hello(), "--set", &replicas]).ok();
    let nodes = client.ok("get pods -o jsonpath={.items[*].spec.nodeName}");
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), count, "{nodes:?}");
}

#[test]
fn machines_join_and_serve_pods_of_one_another() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(3) else { return };
    machines.cluster(2);
    let client = |number: usize| Kubectl {
        lab: machines.get(number),
        program: kubectl.clone(),
    };
    let second = client(1);
    let nodes = second.ok("get nodes -o jsonpath={.items[*].metadata.name}");
    assert_eq!(nodes, "m1 m2 m3");
    // What is written through one server is read through another at once.
    for number in 0..20 {
        let (writer, reader) = (client(number % 2), client((number + 1) % 2));
        writer.ok(&format!("create configmap c{number} --from-literal=n={number}"));
        assert_eq!(
            reader.ok(&format!("get configmap c{number} -o jsonpath={{.data.n}}")),
            number.to_string()
        );
    }
    install_everywhere(machines.get(1), &second, 3);
    // The service answers on every machine, whichever machine its pod is on.
    for (number, machine) in machines.all().iter().enumerate() {
        for _ in 0..6 {
            let address = (machines.address(number), 30080).into();
            let (code, text) = machine.inside(move || test_support::get(address, "/")).unwrap();
            assert_eq!((code, text.contains("Hello from tug")), (200, true), "{text}");
        }
    }
    // Logs and commands reach the pod of the agent through a server that is not its own.
    let pod = second.ok("get pods -o jsonpath={.items[?(@.spec.nodeName==\"m3\")].metadata.name}");
    let first = client(0);
    assert!(first.run(&format!("logs {pod}")).code == 0);
    let listing = first.run(&format!("exec {pod} -- /no-such-program"));
    assert!(
        listing.code != 0 && !listing.stderr.contains("not connected"),
        "{}",
        listing.stderr
    );
    first.ok("top nodes");
    // Each part tells what it measures, and every line can be read.
    let (of_leader, of_follower) = (first.ok("get --raw /metrics"), second.ok("get --raw /metrics"));
    check_measurements(&of_leader);
    check_measurements(&of_follower);
    for part in [
        "tug_store_is_leader 1",
        "tug_store_term ",
        "tug_store_applied_entries ",
        "tug_store_voters 2",
        "tug_store_member_lag_entries{member=\"1\"} 0",
        "tug_controllers_running 1",
        "workqueue_depth{name=\"",
        "scheduler_pending_pods 0",
        "tug_node_answers{node=\"m3\"} 1",
        "tug_node_cpu_seconds_total{node=\"m1\"} ",
        "tug_node_containers{node=\"m3\"} ",
        "apiserver_request_total{",
    ] {
        assert!(of_leader.contains(&format!("\n{part}")), "{part}: {of_leader}");
    }
    for part in ["tug_store_is_leader 0", "tug_controllers_running 0"] {
        assert!(
            of_follower.contains(&format!("\n{part}")),
            "{part}: {of_follower}"
        );
    }
}

/// Checks a text as Prometheus reads it: a head before the numbers of a name, names and labels of its form, numbers.
fn check_measurements(text: &str) {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        let begins = letters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        begins && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let (mut helped, mut typed) = (String::new(), String::new());
    let mut count = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && !help.is_empty(), "{line}");
            name.clone_into(&mut helped);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, helped, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            name.clone_into(&mut typed);
        } else {
            let (what, number) = line.rsplit_once(' ').expect(line);
            number
                .parse::<f64>()
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            let (name, labels) = what
                .split_once('{')
                .map_or((what, None), |(name, rest)| (name, Some(rest)));
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                is_name(name) && (name == typed || family == Some(&typed)),
                "{line}"
            );
            for label in labels
                .into_iter()
                .flat_map(|labels| labels.trim_end_matches('}').split(','))
            {
                let (name, value) = label.split_once('=').expect(line);
                assert!(
                    is_name(name) && value.len() > 1 && value.starts_with('"') && value.ends_with('"'),
                    "{line}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 20, "{text}");
}

#[test]
fn writes_go_on_without_the_server_that_led_and_without_a_machine_its_pods_run_elsewhere() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(4) else { return };
    machines.cluster(3);
    let client = Kubectl {
        lab: machines.get(1),
        program: kubectl,
    };
    install_everywhere(machines.get(1), &client, 4);
    let containers = || {
        client.ok("get pods -o jsonpath={range.items[*]}{.metadata.uid}:{.status.containerStatuses[0].restartCount},{end}")
    };
    let before = containers();
    assert_eq!(leader(&machines, 1), Some(0));
    let pid = machines.get(0).tug(["cluster", "status", "-o", "json"]).json()["pid"].to_string();
    client.ok("create configmap last --from-literal=a=b");
    let mut kill = machines.get(0).command("kill");
    kill.args(["-9", &pid]);
    machines.get(0).run(kill).ok();
    let killed = Instant::now();
    until("writes go on", LIMIT, || {
        (client
            .run("create configmap next --from-literal=a=b --request-timeout=3s")
            .code
            == 0)
            .then_some(())
    });
    println!("writes again after {} ms", killed.elapsed().as_millis());
    client.ok("get configmap last");
    assert_eq!(containers(), before, "no pod was disturbed");
    // The server comes back and follows.
    machines.get(0).tug(["cluster", "start"]).ok();
    until("all three servers follow", LIMIT, || {
        let members = members(machines.get(1));
        let follow = members
            .iter()
            .filter(|member| member["leader"] == true || member["lag"].is_u64())
            .count();
        (follow == 3).then_some(())
    });
    until("the node is ready again", LIMIT, || {
        let ready = "get node m1 -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        (client.ok(ready) == "True").then_some(())
    });
    // A machine is gone: its node is seen to be, and what tolerates no such node runs elsewhere.
    let patience = r#"{"spec":{"template":{"spec":{"tolerations":[
        {"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":1},
        {"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":1}]}}}}"#;
    let patience: String = patience.split_whitespace().collect();
    client.ok(&format!("patch deployment hello -p {patience}"));
    client.ok("rollout status deployment hello --timeout=60s");
    let slot = || client.ok("get pod slot-0 -o jsonpath={.metadata.uid}:{.metadata.deletionTimestamp}");
    client.feed("apply -f -", SLOT).ok();
    client.ok("rollout status statefulset slot --timeout=60s");
    let in_slot = slot();
    machines.kill(3);
    machines.cut_off(3);
    let killed = Instant::now();
    until("four pods run on the others", LIMIT, || {
        let running = "get pods --field-selector=status.phase=Running -o jsonpath={range.items[*]}{.spec.nodeName}:{.status.containerStatuses[0].ready}:{.metadata.deletionTimestamp},{end}";
        let pods = client.ok(running);
        let alive = pods
            .split(',')
            .filter(|pod| pod.ends_with(":true:") && !pod.starts_with("m4"));
        (alive.count() == 4).then_some(())
    });
    println!("its pods run elsewhere after {} ms", killed.elapsed().as_millis());
    // Whether the machine is dead or cut off nobody can know: its slot is to be left, and nobody else has it meanwhile.
    let uid = in_slot.trim_end_matches(':').to_owned();
    let leaving = slot();
    assert!(
        leaving.starts_with(&uid) && leaving.len() > uid.len() + 1,
        "{leaving}"
    );
    machines.plug_in(3);
    machines.get(3).tug(["cluster", "start"]).ok();
    until(
        "the slot is taken anew once the machine has said that it is free",
        LIMIT,
        || {
            let now =
                client.run("get pod slot-0 -o jsonpath={.metadata.uid}:{.status.containerStatuses[0].ready}");
            (!now.stdout.starts_with(&uid) && now.stdout.ends_with(":true")).then_some(())
        },
    );
}

/// Config maps that a watch is to show, one after the other.
const WATCHED: usize = 150;
/// So many of them are there when the leader is killed.
const BEFORE: usize = 50;
/// A server that cannot answer says so in this time.
const REFUSAL: Duration = Duration::from_secs(10);

fn watched_map(number: usize) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(format!("watched-{number:03}"));
    map.metadata.labels = Some(BTreeMap::from([("of".to_owned(), "watch".to_owned())]));
    map
}

/// Makes it, however often that fails.
async fn create(server: &Api<ConfigMap>, map: &ConfigMap) {
    loop {
        match server.create(&PostParams::default(), map).await {
            Ok(_) => return,
            // The one before was done, and its answer was lost.
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Names in the order in which a watch shows them, until all have come, and how often it was begun. Where it ends, it goes on
/// after what was seen last, at the next of the servers.
async fn watch(servers: &[Api<ConfigMap>], mut version: String) -> (Vec<String>, usize) {
    let (mut seen, mut begun) = (Vec::new(), 0);
    let parameters = WatchParams::default().labels("of=watch");
    while seen.len() < WATCHED {
        let server = &servers[begun % servers.len()];
        begun += 1;
        let Ok(events) = server.watch(&parameters, &version).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut events = pin!(events);
        while seen.len() < WATCHED
            && let Some(Ok(event)) = events.next().await
        {
            match event {
                WatchEvent::Added(map) => {
                    version = map.resource_version().expect("objects have one");
                    seen.push(map.name_any());
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                other => panic!("{other:?}"),
            }
        }
    }
    (seen, begun)
}

#[test]
fn watches_miss_nothing_when_the_leader_is_killed_and_what_is_there_is_read_without_a_quorum() {
    let Some(machines) = Machines::open(3) else { return };
    machines.cluster(3);
    assert_eq!(leader(&machines, 1), Some(0));
    let written = Arc::new(AtomicUsize::new(0));
    let expected: Vec<String> = (0..WATCHED)
        .map(|number| watched_map(number).name_any())
        .collect();
    std::thread::scope(|scope| {
        let counts = written.clone();
        let watching = scope.spawn(|| {
            machines.with_clients(3, |clients| async move {
                let servers: Vec<Api<ConfigMap>> = clients.into_iter().map(Api::default_namespaced).collect();
                let list = servers[1].list_metadata(&ListParams::default()).await.unwrap();
                let version = list.metadata.resource_version.unwrap();
                let write = async {
                    for number in 0..WATCHED {
                        create(&servers[1], &watched_map(number)).await;
                        counts.store(number + 1, Ordering::SeqCst);
                    }
                };
                // One at a server that stays, one at the leader, which is killed.
                let (stays, leads) = ([servers[2].clone()], [servers[0].clone(), servers[2].clone()]);
                let all = async {
                    tokio::join!(
                        write,
                        watch(&stays, version.clone()),
                        watch(&leads, version.clone())
                    )
                };
                let all = tokio::time::timeout(LIMIT, all).await;
                let ((), stayed, moved) = all.expect("the watches show all in time");
                (stayed, moved)
            })
        });
        until("some are there", LIMIT, || {
            (written.load(Ordering::SeqCst) >= BEFORE).then_some(())
        });
        machines.kill(0);
        let (stayed, moved) = watching.join().unwrap();
        assert_eq!(
            stayed,
            (expected.clone(), 1),
            "at a server that stays, nothing ends"
        );
        assert_eq!(moved.0, expected);
        assert!(moved.1 > 1, "the watch at the leader has ended with it");
    });
    // The follower goes as well: what is left leads no more, and says so.
    let leads = until("somebody leads", LIMIT, || leader(&machines, 1));
    machines.kill(3 - leads);
    let (listed, one, certain, written) = machines.with_clients(3, move |clients| async move {
        let left: Api<ConfigMap> = Api::default_namespaced(clients[leads].clone());
        let any = ListParams::default().match_any().labels("of=watch");
        let listed = left.list(&any).await.unwrap().items.len();
        let one = left.get_with("watched-000", &GetParams::any()).await.is_ok();
        let certain = tokio::time::timeout(REFUSAL, left.get("watched-000")).await;
        let new = watched_map(WATCHED);
        let written = tokio::time::timeout(REFUSAL, left.create(&PostParams::default(), &new)).await;
        (listed, one, certain.map(drop_value), written.map(drop_value))
    });
    assert_eq!((listed, one), (WATCHED, true));
    for (what, outcome) in [("a read that must be of now", certain), ("a write", written)] {
        match outcome {
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 503 | 504) => {
                println!("{what}: {}", status.message);
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    machines.get(0).tug(["cluster", "start"]).ok();
    machines.with_clients(3, move |clients| async move {
        let left: Api<ConfigMap> = Api::default_namespaced(clients[leads].clone());
        let new = watched_map(WATCHED + 1);
        let written = tokio::time::timeout(LIMIT, create(&left, &new)).await;
        written.expect("two are enough");
    });
}

fn drop_value<T>(outcome: Result<T, kube::Error>) -> Result<(), kube::Error> {
    outcome.map(|_| ())
}

#[test]
fn servers_come_and_go_while_pods_run() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(3) else { return };
    machines.cluster(1);
    let client = Kubectl {
        lab: machines.get(0),
        program: kubectl.clone(),
    };
    install_everywhere(machines.get(0), &client, 3);
    let containers = || {
        client.ok("get pods -o jsonpath={range.items[*]}{.metadata.uid}:{.status.containerStatuses[0].restartCount},{end}")
    };
    // A node is drained: what is on it goes elsewhere, and nothing comes.
    let preview = machines
        .get(0)
        .tug(["node", "drain", "m3", "--dry-run"])
        .ok()
        .to_owned();
    assert!(preview.contains("leaves"), "{preview}");
    machines
        .get(0)
        .tug(["node", "drain", "m3", "--timeout", "60s"])
        .ok();
    until("three pods run on two nodes", LIMIT, || {
        let nodes =
            client.ok("get pods --field-selector=status.phase=Running -o jsonpath={.items[*].spec.nodeName}");
        (nodes.split(' ').count() == 3 && !nodes.contains("m3")).then_some(())
    });
    machines.get(0).tug(["node", "uncordon", "m3"]).ok();
    let before = containers();
    machines.get(0).tug(["cluster", "promote", "m2"]).ok();
    machines.get(0).tug(["cluster", "promote", "m3"]).ok();
    let voters = |lab: &Lab| {
        members(lab)
            .iter()
            .filter(|member| member["voter"] == true)
            .count()
    };
    until("the third is a server", LIMIT, || {
        (voters(machines.get(2)) == 3).then_some(())
    });
    assert_eq!(containers(), before);
    // The one that made the cluster goes; the others serve on.
    machines.get(2).tug(["cluster", "demote", "m1"]).ok();
    until("two servers are left", LIMIT, || {
        (voters(machines.get(2)) == 2).then_some(())
    });
    let other = Kubectl {
        lab: machines.get(2),
        program: kubectl,
    };
    let until_agent = |lab: &Lab| {
        until("the machine is an agent", LIMIT, || {
            let status = lab.tug(["cluster", "status", "-o", "json"]).json();
            (status["role"] == "agent").then_some(())
        });
    };
    until_agent(machines.get(0));
    other.ok("create configmap after --from-literal=a=b");
    let after = other.ok("get pods -o jsonpath={range.items[*]}{.metadata.uid}:{.status.containerStatuses[0].restartCount},{end}");
    assert_eq!(after, before);
    let status = machines.get(0).tug(["cluster", "token", "create"]);
    assert!(
        status.code != 0 && status.stderr.contains("agent"),
        "{}",
        status.stderr
    );
    // Its role is written down before it is that: to stop in between is to stop.
    machines.get(2).tug(["cluster", "demote", "m2"]).ok();
    until_agent(machines.get(1));
    machines.get(1).tug(["cluster", "stop"]).ok();
}

#[test]
fn err_who_may_not_join_is_told_why_and_leaves_nothing() {
    let Some(machines) = Machines::open(3) else { return };
    let (first, second, other) = (machines.get(0), machines.get(1), machines.get(2));
    first.tug(["cluster", "start", "--node-name", "m1"]).ok();
    let good = token(first, &[]);
    let refused = |token: &str, arguments: &[&str], reason: &str| {
        let join: Vec<&str> = ["cluster", "join", token]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let output = second.tug(join);
        assert!(
            output.code != 0 && output.stderr.contains(reason),
            "{}",
            output.stderr
        );
        assert!(!second.data_dir().join("cluster.json").exists(), "{reason}");
    };
    refused("tug-agent-nonsense", &[], "incomplete");
    refused(&good[..good.len() - 4], &[], "incomplete");
    refused(&good, &["--node-name", "m1"], "is in the cluster already");
    refused(&token(first, &["--ttl", "1ms"]), &[], "has expired");
    let once = token(first, &["--uses", "1"]);
    other.tug(["cluster", "join", &once, "--node-name", "m3"]).ok();
    refused(&once, &["--node-name", "m2"], "used up");
    let listed = first.tug(["cluster", "token", "list", "-o", "json"]).json();
    let names: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["name"].as_str().unwrap().to_owned())
        .collect();
    for name in names {
        first.tug(["cluster", "token", "revoke", &name]).ok();
    }
    refused(&good, &["--node-name", "m2"], "was revoked");
    // A cluster with another authority at the same address.
    first.tug(["cluster", "delete"]).ok();
    first.tug(["cluster", "start", "--node-name", "m1"]).ok();
    refused(&good, &["--node-name", "m2"], "another cluster");
    first.tug(["cluster", "stop"]).ok();
    refused(&good, &["--node-name", "m2"], "cannot join");
    let again = other.tug(["cluster", "join", &good]);
    assert!(
        again.stderr.contains("belongs to a cluster already"),
        "{}",
        again.stderr
    );
}

#[test]
fn a_backup_made_during_writes_is_a_cluster_again() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(2) else { return };
    let (first, empty) = (machines.get(0), machines.get(1));
    first.tug(["cluster", "start", "--node-name", "m1"]).ok();
    let client = |lab| Kubectl {
        lab,
        program: kubectl.clone(),
    };
    let file = first.folder().join("backup").display().to_string();
    std::thread::scope(|scope| {
        let writer = client(first);
        let writes = scope.spawn(move || {
            for number in 0..20 {
                writer.ok(&format!("create configmap c{number} --from-literal=n={number}"));
            }
        });
        first.tug(["cluster", "backup", &file]).ok();
        writes.join().unwrap();
    });
    // Consistent: of writes made one after the other, the first so many are there.
    empty
        .tug(["cluster", "restore", &file, "--advertise-address", "192.0.2.2"])
        .ok();
    empty.tug(["cluster", "start"]).ok();
    let names = client(empty).ok("get configmaps -o jsonpath={.items[*].metadata.name}");
    let there: Vec<bool> = (0..20)
        .map(|number| names.split(' ').any(|name| name == format!("c{number}")))
        .collect();
    let count = there.iter().filter(|there| **there).count();
    assert!(there[..count].iter().all(|there| *there), "{there:?}");
    client(empty).ok("create configmap after --from-literal=a=b");
    let again = empty.tug(["cluster", "restore", &file]);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    // A backup that lost a byte is none.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() - 100;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    empty.tug(["cluster", "delete"]).ok();
    let damaged = empty.tug(["cluster", "restore", &file]);
    assert!(
        damaged.code != 0 && damaged.stderr.contains("backup"),
        "{}",
        damaged.stderr
    );
}

#[test]
fn a_server_goes_on_alone_when_the_others_are_lost() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(3) else { return };
    machines.cluster(3);
    let last = machines.get(2);
    let client = Kubectl {
        lab: last,
        program: kubectl,
    };
    client.ok("create configmap before --from-literal=a=b");
    client.ok("get configmap before");
    for number in [0, 1] {
        machines.kill(number);
        machines.cut_off(number);
    }
    until("nobody can write", LIMIT, || {
        (client
            .run("create configmap lost --from-literal=a=b --request-timeout=2s")
            .code
            != 0)
            .then_some(())
    });
    let unsure = last.tug(["cluster", "recover"]);
    assert!(
        unsure.code != 0 && unsure.stderr.contains("--force"),
        "{}",
        unsure.stderr
    );
    let running = last.tug(["cluster", "recover", "--force"]);
    assert!(running.stderr.contains("the cluster runs"), "{}", running.stderr);
    last.tug(["cluster", "stop", "--keep-pods"]).ok();
    let told = last.tug(["cluster", "recover", "--force"]);
    assert!(
        told.code == 0 && told.stderr.contains("192.0.2.1"),
        "{}",
        told.stderr
    );
    last.tug(["cluster", "start"]).ok();
    client.ok("get configmap before");
    client.ok("create configmap after --from-literal=a=b");
    for number in [0, 1] {
        machines.plug_in(number);
    }
}

/// Joins with a clock that is off, as `faketime` has it.
fn join_at(lab: &Lab, offset: &str, token: &str) -> test_support::Output {
    let mut join = lab.command("faketime");
    join.args(["-f", offset]).arg(test_support::tug());
    join.args(["cluster", "join", token, "--node-name", "m2"]);
    lab.run(join)
}

/// Whether a program names no dynamic loader, which would stand before all else in it.
fn is_static(program: &Path) -> bool {
    let mut head = [0; 4096];
    let mut file = std::fs::File::open(program).unwrap();
    file.read_exact(&mut head).unwrap();
    !head.windows(8).any(|word| word == b"ld-linux")
}

#[test]
fn err_a_token_that_was_changed_and_a_clock_that_is_off() {
    if peer("faketime").is_none() {
        return skip("`faketime` is not installed");
    }
    if is_static(&test_support::tug()) {
        return skip(
            "`faketime` changes the clock of programs that load C's library, and a release build has it in it",
        );
    }
    let Some(machines) = Machines::open(2) else { return };
    let (first, second) = (machines.get(0), machines.get(1));
    first.tug(["cluster", "start", "--node-name", "m1"]).ok();
    let good = token(first, &["--uses", "1"]);
    let changed = |change: fn(&mut JoinToken)| {
        let mut token: JoinToken = good.parse().unwrap();
        change(&mut token);
        token.to_string()
    };
    let join = |token: &str| second.tug(["cluster", "join", token, "--node-name", "m2"]);
    let cases = [
        (
            join(&changed(|token| token.secret[0] ^= 1)),
            "the token is not known",
        ),
        (join(&changed(|token| token.id[0] ^= 1)), "the token is not known"),
        (join(&changed(|token| token.authority[0] ^= 1)), "another cluster"),
        (join_at(second, "+1h", &good), "s ahead of the server's"),
        (join_at(second, "-3000s", &good), "s behind the server's"),
        // Before the server's certificate was good.
        (
            join_at(second, "-2h", &good),
            "not good at the time that this machine has",
        ),
    ];
    for (output, reason) in &cases {
        assert!(output.err().contains(reason), "{reason}: {}", output.stderr);
        assert!(output.stderr.contains("Hint: "), "{}", output.stderr);
    }
    assert!(!second.data_dir().join("cluster.json").exists());
    // None of them used the token up; what one becomes is what the cluster knows, whatever the token says.
    let joined = join(&good.replacen("agent", "server", 1));
    assert!(
        joined.ok().contains("as agent") || joined.stderr.contains("as agent"),
        "{joined:?}"
    );
    let again = machines.get(1).tug(["cluster", "join", &good]);
    assert!(
        again.err().contains("belongs to a cluster already"),
        "{}",
        again.stderr
    );
}

#[test]
fn err_a_folder_that_is_not_whole_newer_or_of_another_cluster() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(4) else { return };
    let (server, agent, other) = (machines.get(0), machines.get(1), machines.get(2));
    server.tug(["cluster", "start", "--node-name", "m1"]).ok();
    agent
        .tug(["cluster", "join", &token(server, &[]), "--node-name", "m2"])
        .ok();
    other.tug(["cluster", "start", "--node-name", "m1"]).ok();
    let of_other = machines.get(3);
    of_other
        .tug(["cluster", "join", &token(other, &[]), "--node-name", "m2"])
        .ok();
    let client = Kubectl {
        lab: server,
        program: kubectl,
    };
    client.ok("create configmap before --from-literal=a=b");
    for lab in [server, other] {
        lab.tug(["cluster", "stop"]).ok();
    }
    let sh = |lab: &Lab, script: &str| {
        let mut command = lab.command("sh");
        command.args(["-ec", script]);
        lab.run(command).ok();
    };
    let newer = "sed -i 's/\"format\": *1/\"format\": 9/' data/cluster.json";
    let other_pki = format!("rm -r data/pki; cp -a {}/pki data/", other.data_dir().display());
    let pki_of_other = of_other.data_dir().join("pki").display().to_string();
    let other_node = format!("cp {pki_of_other}/node.pem data/pki/");
    let other_authority = format!("cp {pki_of_other}/* data/pki/");
    let refused = |lab: &Lab, damage: &str, reason: &str, way_out: &str| {
        sh(lab, &format!("cp -a data whole; {damage}"));
        let started = lab.tug(["cluster", "start"]);
        assert!(
            started.err().contains(reason) && started.stderr.contains(way_out),
            "{damage}: {}",
            started.stderr
        );
        sh(lab, "rm -r data; mv whole data");
    };
    for (damage, reason, way_out) in [
        (newer, "written by a newer tug", "start that one"),
        ("truncate -s 20 data/cluster.json", "cannot read", ""),
        ("rm -r data/store", "`store/format` is missing", "cluster restore"),
        ("rm -r data/store/log", "is incomplete", ""),
        ("rm data/store/vote", "is incomplete", ""),
        ("rm data/pki/ca.key", "`pki/ca.key` is missing", "cluster restore"),
        ("rm -r data/pki", "is missing", "cluster restore"),
        (
            "sed -i 's/\"format\": *2/\"format\":9/' data/store/format",
            "has format 9",
            "tug that wrote it",
        ),
        (other_pki.as_str(), "key", ""),
    ] {
        refused(server, damage, reason, way_out);
    }
    server.tug(["cluster", "start"]).ok();
    client.ok("get configmap before");
    agent.tug(["cluster", "stop"]).ok();
    for (damage, reason, way_out) in [
        (newer, "written by a newer tug", ""),
        ("rm data/pki/node.pem", "`pki/node.pem` is missing", "join anew"),
        // Its own authority, and what another machine is known by in the other cluster.
        (other_node.as_str(), "do not belong to one cluster", "join anew"),
        (
            other_authority.as_str(),
            "do not belong to one cluster",
            "join anew",
        ),
    ] {
        refused(agent, damage, reason, way_out);
    }
    agent.tug(["cluster", "start"]).ok();
    until("both nodes are ready", LIMIT, || {
        let ready =
            client.ok("get nodes -o jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}");
        (ready == "True True").then_some(())
    });
}
