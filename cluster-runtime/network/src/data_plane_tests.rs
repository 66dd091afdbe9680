//! Links, rules and listeners on the real kernel, in network namespaces of the test's own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::conntrack::{self, Flows};
use crate::link::{Links, gateway};
use crate::policy::{PolicyObjects, policy_removal_script, policy_script};
use crate::proxy::Proxy;
use crate::sync::{frontends, run_nft};
use crate::table::tests::object;
use crate::table::{Protocol, ServicePort};
use crate::{NetworkConfig, affinity, ruleset};

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 7);
const EMPTY_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 8);
const NODE_PORT: u16 = 30080;

/// What a pod shall do: connect, or send a datagram, always from the same port.
enum Order {
    Connect(SocketAddrV4),
    Send(SocketAddrV4),
}

/// A thread in a network namespace of its own that serves its name on port 80 and connects where it is told.
struct Pod {
    namespace: PathBuf,
    orders: tokio::sync::mpsc::UnboundedSender<(Order, tokio::sync::oneshot::Sender<String>)>,
}

impl Pod {
    fn start(name: &'static str) -> Self {
        let (ready, made) = mpsc::channel();
        let (orders, mut received) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
                let task = nix::unistd::gettid();
                ready
                    .send(PathBuf::from(format!("/proc/self/task/{task}/ns/net")))
                    .unwrap();
                tokio::spawn(async move {
                    while let Ok((mut client, _)) = listener.accept().await {
                        let _ = client.write_all(name.as_bytes()).await;
                    }
                });
                let datagrams = UdpSocket::bind("0.0.0.0:80").await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok((_, from)) = datagrams.recv_from(&mut buffer).await {
                        let _ = datagrams.send_to(name.as_bytes(), from).await;
                    }
                });
                let own = std::sync::Arc::new(UdpSocket::bind("0.0.0.0:0").await.unwrap());
                while let Some((order, answer)) = received.recv().await {
                    let own = own.clone();
                    // Beside the others: one that waits for an answer must not keep the next.
                    tokio::spawn(async move {
                        let answered = match order {
                            Order::Connect(target) => ask(target).await,
                            Order::Send(target) => say(&own, target).await,
                        };
                        let _: Result<(), String> = tokio::sync::oneshot::Sender::send(answer, answered);
                    });
                }
            });
        });
        Self {
            namespace: made.recv().unwrap(),
            orders,
        }
    }

    /// Asks somebody who may not answer.
    async fn ask_briefly(&self, target: SocketAddrV4) -> String {
        let answered = tokio::time::timeout(Duration::from_millis(500), self.ask(target));
        answered.await.unwrap_or_else(|_| "no answer".into())
    }

    async fn ask(&self, target: SocketAddrV4) -> String {
        self.order(Order::Connect(target)).await
    }

    async fn say(&self, target: SocketAddrV4) -> String {
        self.order(Order::Send(target)).await
    }

    async fn order(&self, order: Order) -> String {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.orders.send((order, answer)).unwrap();
        answered.await.unwrap()
    }
}

/// What a server says to a new connection, or why there is none.
async fn ask(target: SocketAddrV4) -> String {
    let asked = async {
        let mut text = String::new();
        TcpStream::connect(target)
            .await?
            .read_to_string(&mut text)
            .await?;
        Ok::<_, std::io::Error>(text)
    };
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => error.kind().to_string(),
        Err(_) => "no answer".into(),
    }
}

fn nft() -> Option<PathBuf> {
    ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// Runs a check in a fresh network namespace; says why where that is not possible.
fn in_fresh_namespace(check: impl AsyncFnOnce() + Send + 'static) {
    let run = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            let required = std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_some();
            assert!(!required, "no network namespace: {error}");
            println!("skipped: cannot make a network namespace: {error}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check());
    });
    run.join().unwrap();
}

fn config(nft: Option<PathBuf>, state_dir: &Path) -> NetworkConfig {
    NetworkConfig {
        state_dir: state_dir.to_owned(),
        nft,
        ..crate::config::tests::config()
    }
}

async fn services_lead_to_pods(nft: Option<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(nft, folder.path());
    let links = Links::connect(&config.bridge).unwrap();
    links.ensure_bridge(&config).await.unwrap();
    links.ensure_bridge(&config).await.unwrap();

    let (one, two) = (Pod::start("one"), Pod::start("two"));
    let [first, second] = [2, 3].map(|n| config.pod_subnet.nth(n).unwrap());
    for (pod, link, address) in [(&one, "tug0a", first), (&two, "tug0b", second)] {
        links
            .attach(link, &pod.namespace, address, gateway(config.pod_subnet))
            .await
            .unwrap();
    }
    let port = |cluster_ip, node_port, backends: &[Ipv4Addr]| ServicePort {
        name: "shop/web:http".into(),
        cluster_ips: [cluster_ip].into(),
        port: 8000,
        node_port,
        protocol: Protocol::Tcp,
        backends: backends
            .iter()
            .map(|address| SocketAddrV4::new(*address, 80))
            .collect(),
        affinity_seconds: None,
    };
    let table = [
        port(SERVICE, Some(NODE_PORT), &[first, second]),
        port(EMPTY_SERVICE, None, &[]),
    ];
    let mut proxy = Proxy::default();
    let failures = proxy.apply(frontends(&config, &table)).await;
    assert!(failures.is_empty(), "{failures:?}");
    if let Some(nft) = &config.nft {
        run_nft(nft, &ruleset::script(&config, &table)).await.unwrap();
        // Setting the same again must go through as well.
        run_nft(nft, &ruleset::script(&config, &table)).await.unwrap();
    }

    assert_eq!(ask(SocketAddrV4::new(first, 80)).await, "one");
    assert_eq!(one.ask(SocketAddrV4::new(second, 80)).await, "two");
    let service = SocketAddrV4::new(SERVICE, 8000);
    let both: std::collections::BTreeSet<String> = ["one".into(), "two".into()].into();
    let mut seen = [(); 3].map(|()| std::collections::BTreeSet::new());
    // Forty tries: both are seen but once in 2^39 runs.
    for _ in 0..40 {
        seen[0].insert(ask(service).await);
    }
    for _ in 0..40 {
        seen[1].insert(one.ask(service).await);
    }
    for _ in 0..40 {
        seen[2].insert(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, NODE_PORT)).await);
    }
    assert_eq!(seen, [(); 3].map(|()| both.clone()));
    let bridge_node_port = SocketAddrV4::new(gateway(config.pod_subnet), NODE_PORT);
    assert!(both.contains(&two.ask(bridge_node_port).await));
    let refused = ["connection refused", "connection reset"];
    let from_host = ask(SocketAddrV4::new(EMPTY_SERVICE, 8000)).await;
    assert!(refused.contains(&from_host.as_str()), "{from_host}");
    let from_pod = one.ask(SocketAddrV4::new(EMPTY_SERVICE, 8000)).await;
    assert!(refused.contains(&from_pod.as_str()), "{from_pod}");

    if let Some(nft) = &config.nft {
        let changed = [
            port(SERVICE, Some(NODE_PORT), &[second]),
            port(EMPTY_SERVICE, None, &[]),
        ];
        let update = ruleset::update_script(&config, &table, &changed).unwrap();
        run_nft(nft, &update).await.unwrap();
        for _ in 0..20 {
            assert_eq!(ask(service).await, "two");
        }
    }

    if config.nft.is_some() {
        datagrams_follow_the_backends(&config, [&one, &two], [first, second]).await;
        clients_stay(&config, &one, [first, second]).await;
        policies_close(&config, &one, &two, [first, second]).await;
    }

    links.remove("tug0a").await.unwrap();
    links.remove("tug0a").await.unwrap();
    links.remove_bridge().await.unwrap();
    if let Some(nft) = &config.nft {
        run_nft(nft, &ruleset::removal_script(&config)).await.unwrap();
        run_nft(nft, &affinity::removal_script(&config)).await.unwrap();
    }
    links.remove_service_route(&config).await.unwrap();
}

/// A client that keeps its port is answered by the backend that is there, not by the one that was.
async fn datagrams_follow_the_backends(config: &NetworkConfig, pods: [&Pod; 2], addresses: [Ipv4Addr; 2]) {
    let nft = config.nft.as_ref().unwrap();
    let service = |backends: &[Ipv4Addr]| {
        [ServicePort {
            name: "shop/names:-".into(),
            cluster_ips: [SERVICE].into(),
            port: 53,
            node_port: Some(NODE_PORT),
            protocol: Protocol::Udp,
            backends: backends
                .iter()
                .map(|address| SocketAddrV4::new(*address, 80))
                .collect(),
            affinity_seconds: None,
        }]
    };
    let (old, new) = (service(&addresses[..1]), service(&addresses[1..]));
    run_nft(nft, &ruleset::script(config, &old)).await.unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let by_node_port = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let targets = [
        (&socket, SocketAddrV4::new(SERVICE, 53)),
        (
            &by_node_port,
            SocketAddrV4::new(gateway(config.pod_subnet), NODE_PORT),
        ),
    ];
    let answers = async || {
        let mut answers = Vec::new();
        for (socket, target) in targets {
            answers.push(say(socket, target).await);
        }
        answers.push(pods[1].say(targets[0].1).await);
        answers
    };
    assert_eq!(answers().await, ["one"; 3]);
    let update = ruleset::update_script(config, &old, &new).unwrap();
    run_nft(nft, &update).await.unwrap();
    assert_eq!(answers().await, ["one"; 3], "the kernel remembers");
    let flows = Flows::changed(Some(&old), &new).unwrap();
    assert_eq!(conntrack::forget(&flows).unwrap(), 3);
    assert_eq!(answers().await, ["two"; 3]);
    assert_eq!(conntrack::forget(&flows).unwrap(), 0, "others are left alone");
    // Without a backend, and without a service, nobody answers.
    let none = service(&[]);
    run_nft(nft, &ruleset::script(config, &none)).await.unwrap();
    let flows = Flows::changed(Some(&new), &none).unwrap();
    assert_eq!(conntrack::forget(&flows).unwrap(), 3);
    assert_ne!(answers().await[0], "two");
}

/// What is answered to a datagram.
async fn say(socket: &UdpSocket, target: SocketAddrV4) -> String {
    let asked = async {
        socket.send_to(b"who?", target).await?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    match tokio::time::timeout(Duration::from_millis(500), asked).await {
        Ok(answer) => answer.unwrap_or_else(|error| error.kind().to_string()),
        Err(_) => "no answer".into(),
    }
}

/// A client of a service with affinity stays with one backend, also while others come and go.
async fn clients_stay(config: &NetworkConfig, client: &Pod, addresses: [Ipv4Addr; 2]) {
    let nft = config.nft.as_ref().unwrap();
    let service = |backends: &[Ipv4Addr]| ServicePort {
        name: "shop/web:sticky".into(),
        cluster_ips: [Ipv4Addr::new(10, 43, 0, 9)].into(),
        port: 8000,
        node_port: Some(NODE_PORT + 1),
        protocol: Protocol::Tcp,
        backends: backends
            .iter()
            .map(|address| SocketAddrV4::new(*address, 80))
            .collect(),
        affinity_seconds: Some(60),
    };
    let target = SocketAddrV4::new(Ipv4Addr::new(10, 43, 0, 9), 8000);
    let both = [service(&addresses)];
    // Pods that are led to themselves are the other table's.
    run_nft(nft, &ruleset::script(config, &both)).await.unwrap();
    run_nft(nft, &affinity::script(config, None, &both))
        .await
        .unwrap();
    let chosen = client.ask(target).await;
    assert!(["one", "two"].contains(&chosen.as_str()), "{chosen}");
    for _ in 0..20 {
        assert_eq!(client.ask(target).await, chosen);
    }
    // Without the other backend, and with it again, it is still there; without its own it is led to the other.
    let (own, other) = if chosen == "one" {
        (addresses[0], addresses[1])
    } else {
        (addresses[1], addresses[0])
    };
    let alone = [service(&[own])];
    run_nft(nft, &affinity::script(config, Some(&both), &alone))
        .await
        .unwrap();
    run_nft(nft, &affinity::script(config, Some(&alone), &both))
        .await
        .unwrap();
    for _ in 0..20 {
        assert_eq!(client.ask(target).await, chosen);
    }
    let left = [service(&[other])];
    run_nft(nft, &affinity::script(config, Some(&both), &left))
        .await
        .unwrap();
    let moved = client.ask(target).await;
    assert!(
        moved != chosen && ["one", "two"].contains(&moved.as_str()),
        "{moved}"
    );
    run_nft(nft, &affinity::script(config, Some(&left), &[]))
        .await
        .unwrap();
}

/// Policies stop new connections between pods, and let go on what is there.
async fn policies_close(config: &NetworkConfig, one: &Pod, two: &Pod, addresses: [Ipv4Addr; 2]) {
    let nft = config.nft.as_ref().unwrap();
    let [first, second] = addresses.map(|address| SocketAddrV4::new(address, 80));
    let pods = ["one", "two"].map(|name| {
        object(json!({"metadata": {"namespace": "shop", "name": name, "uid": name, "labels": {"app": name}}}))
    });
    let namespaces = [object(json!({"metadata": {"name": "shop"}}))];
    let attached = [("one".to_owned(), addresses[0]), ("two".to_owned(), addresses[1])].into();
    let enforce = async |spec: serde_json::Value| {
        let policy = object(json!({"metadata": {"namespace": "shop", "name": "p"}, "spec": spec}));
        let script = policy_script(
            config,
            PolicyObjects {
                policies: &[policy],
                pods: &pods,
                namespaces: &namespaces,
                attached: &attached,
            },
        );
        run_nft(nft, &script)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{script}"));
    };
    let two_is = |rest: serde_json::Value| {
        let mut spec = rest;
        spec["podSelector"] = json!({"matchLabels": {"app": "two"}});
        spec
    };
    enforce(two_is(json!({}))).await;
    assert_eq!(one.ask_briefly(second).await, "no answer");
    assert_eq!(
        two.ask(first).await,
        "one",
        "what it asks itself is not what it is asked"
    );
    assert_eq!(ask(second).await, "two", "the node reaches its pods");
    let from_one = json!({"from": [{"podSelector": {"matchLabels": {"app": "one"}}}]});
    enforce(two_is(json!({"ingress": [from_one]}))).await;
    assert_eq!(one.ask(second).await, "two");
    for (ports, expected) in [
        (json!([{"port": 80}]), "two"),
        (json!([{"port": 70, "endPort": 90}]), "two"),
        (
            json!([{"port": 81}, {"protocol": "UDP", "port": 80}]),
            "no answer",
        ),
    ] {
        enforce(two_is(json!({"ingress": [{"ports": ports}]}))).await;
        assert_eq!(one.ask_briefly(second).await, expected, "{ports}");
    }
    for (except, expected) in [
        (json!([]), "two"),
        (json!([format!("{}/32", addresses[0])]), "no answer"),
    ] {
        let block = json!({"cidr": "10.42.0.0/16", "except": except});
        enforce(two_is(json!({"ingress": [{"from": [{"ipBlock": block}]}]}))).await;
        assert_eq!(one.ask_briefly(second).await, expected, "{except}");
    }
    enforce(two_is(json!({"policyTypes": ["Egress"]}))).await;
    assert_eq!(two.ask_briefly(first).await, "no answer");
    assert_eq!(one.ask(second).await, "two", "answers pass");
    run_nft(nft, &policy_removal_script(config)).await.unwrap();
    assert_eq!(two.ask(first).await, "one");
}

#[test]
fn services_lead_to_pods_by_the_kernel() {
    let Some(nft) = nft() else {
        assert!(
            std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
            "`nft` is missing"
        );
        println!("skipped: the `nft` program is not installed");
        return;
    };
    in_fresh_namespace(async move || services_lead_to_pods(Some(nft)).await);
}

#[test]
fn services_lead_to_pods_by_the_proxy() {
    in_fresh_namespace(async move || services_lead_to_pods(None).await);
}
