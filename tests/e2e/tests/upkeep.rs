//! What a cluster of several machines keeps up by itself: signs of life, certificates, and that each machine is there once.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use test_support::{Kubectl, Lab, Machines, peer, skip, token, until};

const LIMIT: Duration = Duration::from_secs(90);

fn is_ready(client: &Kubectl<&Lab>, node: &str) -> bool {
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    client.ok(&format!("get node {node} -o {ready}")) == "True"
}

fn lease(client: &Kubectl<&Lab>, node: &str, field: &str) -> String {
    client.ok(&format!(
        "get lease -n kube-node-lease {node} -o jsonpath={{.spec.{field}}}"
    ))
}

#[test]
fn a_changed_time_reaches_every_node_and_a_lost_machine_is_seen_by_it() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(2) else { return };
    machines.cluster(1);
    let server = machines.get(0);
    let client = Kubectl {
        lab: server,
        program: kubectl,
    };
    for node in ["m1", "m2"] {
        assert_eq!(lease(&client, node, "leaseDurationSeconds"), "15");
    }
    let wrong = server.tug(["cluster", "start", "--heartbeat", "10s"]);
    assert!(wrong.err().contains("a third of the second"), "{}", wrong.stderr);
    server.tug(["cluster", "start", "--node-grace", "4s"]).ok();
    until("both nodes know of it", LIMIT, || {
        let known = |node| lease(&client, node, "leaseDurationSeconds") == "4";
        (known("m1") && known("m2")).then_some(())
    });
    // Signs of life come at least each second; each three seconds at most before.
    let mut seen = lease(&client, "m2", "renewTime");
    for _ in 0..3 {
        let looked = Instant::now();
        seen = until("the agent's machine says that it lives", LIMIT, || {
            Some(lease(&client, "m2", "renewTime")).filter(|now| *now != seen)
        });
        assert!(
            looked.elapsed() < Duration::from_millis(2500),
            "{:?}",
            looked.elapsed()
        );
    }
    read_numbers(&machines, &client);
    machines.kill(1);
    machines.cut_off(1);
    let killed = Instant::now();
    until("the lost machine is seen to be", LIMIT, || {
        (!is_ready(&client, "m2")).then_some(())
    });
    println!("not ready after {} ms", killed.elapsed().as_millis());
    // At the earliest a sign of life before it was killed.
    let expected = Duration::from_millis(2500)..Duration::from_secs(9);
    assert!(expected.contains(&killed.elapsed()), "{:?}", killed.elapsed());
    assert!(is_ready(&client, "m1"));
    machines.plug_in(1);
    machines.get(1).tug(["cluster", "start"]).ok();
    until("it is back", LIMIT, || is_ready(&client, "m2").then_some(()));
    // Nonsense that is written by hand changes nothing.
    client.ok(r#"patch configmap -n kube-system tug-cluster -p {"data":{"node-grace":"soon"}}"#);
    client.ok("create configmap other --from-literal=a=b");
    assert_eq!(lease(&client, "m2", "leaseDurationSeconds"), "4");
}

/// Reads what the agent on the second machine measures: as an administrator, and as one who may and one who may not.
fn read_numbers(machines: &Machines, client: &Kubectl<&Lab>) {
    let agent = format!("https://{}:10250", machines.address(1));
    let text = client.ok(&format!("--server={agent} get --raw /metrics"));
    for line in [
        "# TYPE kubelet_running_pods gauge",
        "tug_node_heartbeats_total{outcome=\"taken\"} ",
        "node_memory_working_set_bytes ",
        "process_cpu_seconds_total ",
    ] {
        let is_there = text.lines().any(|found| found.starts_with(line));
        assert!(is_there, "no {line} in {text}");
    }
    for name in ["reader", "other"] {
        client.ok(&format!("create serviceaccount {name}"));
    }
    client.ok("create clusterrole reads-nodes --verb=get --resource=nodes/metrics");
    client.ok(
        "create clusterrolebinding reads-nodes --clusterrole=reads-nodes --serviceaccount=default:reader",
    );
    let authority = client.lab.data_dir().join("pki/ca.crt");
    let read = |name: &str| {
        let token = client.ok(&format!("create token {name}"));
        client.run(&format!(
            "--kubeconfig=/dev/null --server={agent} --token={token} --certificate-authority={} get --raw /metrics",
            authority.display()
        ))
    };
    let (reader, other) = (read("reader"), read("other"));
    assert!(reader.ok().contains("kubelet_running_pods"));
    assert!(other.code != 0, "{}", other.stdout);
}

/// The serial number of the certificate that somebody shows.
fn serial(seen_from: &Lab, address: &str) -> Option<String> {
    let mut command = seen_from.command("sh");
    let script = format!(
        "timeout 5 openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    command.args(["-c", &script]);
    let shown = seen_from.run(command);
    (shown.code == 0).then(|| shown.stdout.trim().to_owned())
}

/// A watch in the background, which ends with this.
struct Watch(Child);

impl Watch {
    fn start(lab: &Lab, kubectl: &std::path::Path, into: &std::path::Path) -> Self {
        let file = std::fs::File::create(into).expect("a file for what the watch shows");
        let mut command = lab.command(kubectl);
        command
            .env("KUBECONFIG", lab.kubeconfig())
            .args(["get", "configmaps", "--watch", "-o", "name"])
            .stdout(file)
            .stderr(Stdio::null());
        Self(
            lab.inside(move || command.spawn())
                .expect("`kubectl` can be started"),
        )
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn certificates_are_renewed_on_every_machine_while_watches_and_writes_go_on() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    if peer("openssl").is_none() {
        return skip("`openssl` is not installed");
    }
    let Some(machines) = Machines::open(4) else { return };
    machines.cluster(3);
    let client = |number: usize| Kubectl {
        lab: machines.get(number),
        program: kubectl.clone(),
    };
    // Certificates are good for half a minute, and made anew after ten seconds.
    machines
        .get(0)
        .tug(["cluster", "start", "--certificate-validity", "30s"])
        .ok();
    let places: Vec<String> = (0..4)
        .map(|number| {
            let port = if number < 3 { 6443 } else { 10250 };
            format!("{}:{port}", machines.address(number))
        })
        .collect();
    let serials = || {
        places
            .iter()
            .map(|place| serial(machines.get(0), place))
            .collect()
    };
    let first: Vec<Option<String>> = until("all show certificates", LIMIT, || {
        Some(serials()).filter(|shown: &Vec<Option<String>>| shown.iter().all(Option::is_some))
    });
    let shown_by_watch = machines.get(1).folder().join("watched");
    let watch = Watch::start(machines.get(1), &kubectl, &shown_by_watch);
    let started = Instant::now();
    let mut seen = first.clone();
    let mut renewals = [0_u32; 4];
    let mut written = Vec::new();
    // Longer than any certificate of the beginning is good.
    until("every certificate was renewed, and again", LIMIT, || {
        let name = format!("written-{}", written.len());
        client(written.len() % 3).ok(&format!("create configmap {name} --from-literal=a=b"));
        written.push(name);
        let now: Vec<Option<String>> = serials();
        for ((now, seen), renewals) in now.iter().zip(&mut seen).zip(&mut renewals) {
            if now.is_some() && now != seen {
                seen.clone_from(now);
                *renewals += 1;
            }
        }
        let is_over = renewals.iter().all(|count| *count >= 3) && started.elapsed() > Duration::from_secs(45);
        is_over.then_some(())
    });
    println!(
        "{renewals:?} renewals in {:?}, {} writes",
        started.elapsed(),
        written.len()
    );
    until("the watch of the beginning shows the last write", LIMIT, || {
        let shown = std::fs::read_to_string(&shown_by_watch).unwrap_or_default();
        let shows = |name: &String| shown.lines().any(|line| line == format!("configmap/{name}"));
        written.iter().all(shows).then_some(())
    });
    drop(watch);
    for node in ["m1", "m2", "m3", "m4"] {
        assert!(is_ready(&client(0), node), "{node}");
    }
    // Servers reach the agent, and the other way round.
    assert!(client(2).ok("top nodes").contains("m4"));
    machines
        .get(0)
        .tug(["cluster", "start", "--certificate-validity", "8760h"])
        .ok();
}

/// Copies the data folder of a machine to another, as it is while the first goes on.
fn copy_folder(machines: &Machines, from: usize, to: usize) {
    let mut copy = machines.get(to).command("cp");
    copy.arg("-a")
        .arg(machines.get(from).data_dir())
        .arg(machines.get(to).data_dir());
    // What comes and goes meanwhile, as sockets do, may be missing.
    machines.get(to).run(copy);
}

#[test]
fn err_a_copy_of_a_data_folder_is_refused_while_the_machine_of_the_folder_lives() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(machines) = Machines::open(5) else { return };
    let (first, other) = (machines.get(0), machines.get(4));
    first.tug(["cluster", "start", "--node-name", "m1"]).ok();
    for (number, kind) in [(1, Some("--server")), (2, Some("--server")), (3, None)] {
        let token = token(first, kind.as_slice());
        let name = format!("m{}", number + 1);
        machines
            .get(number)
            .tug(["cluster", "join", &token, "--node-name", &name])
            .ok();
    }
    let client = Kubectl {
        lab: first,
        program: kubectl,
    };
    client.ok("create configmap before --from-literal=a=b");
    let refused = |reasons: [&str; 2]| {
        let started = other.tug(["cluster", "start"]);
        for reason in reasons {
            assert!(started.err().contains(reason), "{reason}: {}", started.stderr);
        }
    };
    let holder = |node: &str| {
        client.ok(&format!(
            r"get lease -n kube-node-lease {node} -o jsonpath={{.metadata.annotations.tug\.dev/held-by}}"
        ))
    };
    let way_out = "tug cluster delete";
    // An agent's, that of the server that leads, and that of one that does not.
    let served = "is served by another machine";
    for (number, without_address, reason) in [
        (
            3,
            "does not have the address",
            "goes by the name of this one, and lives",
        ),
        (0, served, served),
        (1, served, served),
    ] {
        let node = format!("m{}", number + 1);
        let before = holder(&node);
        assert!(!before.is_empty());
        copy_folder(&machines, number, 4);
        refused([without_address, way_out]);
        machines.pretend(4, number);
        refused([reason, way_out]);
        // Again, and nothing has changed by it.
        refused([reason, way_out]);
        assert_eq!(holder(&node), before);
        assert!(is_ready(&client, &node));
        std::fs::remove_dir_all(other.data_dir()).unwrap();
        machines.pretend_no_more(4, number);
        client.ok(&format!("create configmap after-{node} --from-literal=a=b"));
    }
    let status = first.tug(["cluster", "status", "-o", "json"]).json();
    let servers = status["servers"].as_array().unwrap();
    let follow = |server: &&serde_json::Value| server["leader"] == true || server["lag"].is_u64();
    assert_eq!(servers.iter().filter(follow).count(), 3, "{status}");
    // The folder itself is moved: its machine has stopped, and the cluster has its pods' word for nothing else.
    machines.get(3).tug(["cluster", "stop"]).ok();
    copy_folder(&machines, 3, 4);
    machines.pretend(4, 3);
    let started = Instant::now();
    other.tug(["cluster", "start"]).ok();
    println!("a folder that was moved starts after {:?}", started.elapsed());
    until("the moved node is ready", LIMIT, || {
        is_ready(&client, "m4").then_some(())
    });
    let reason = "goes by the name of this one, and lives";
    let started = machines.get(3).tug(["cluster", "start"]);
    assert!(started.err().contains(reason), "{}", started.stderr);
}
