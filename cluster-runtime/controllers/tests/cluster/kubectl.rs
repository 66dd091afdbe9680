//! The real kubectl against a whole cluster: what it waits for, rolls back and drains.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_apiserver::{ApiServer, LocalApi, TokenTable, User};
use cluster_client::Collection;
use cluster_objects::Object;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, deployment, pod_template};

/// Longest time that a client may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A cluster that kubectl can reach.
struct Reachable {
    cluster: Cluster,
    home: TempDir,
    stop: CancellationToken,
}

impl Drop for Reachable {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn kubectl_is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file()) {
        return true;
    }
    assert!(
        std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
        "kubectl is not installed"
    );
    println!("skipped: kubectl is not installed");
    false
}

impl Reachable {
    async fn start(nodes: usize) -> Self {
        let api = LocalApi::in_memory().await.expect("an API in memory");
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .expect("names")
            .self_signed(&key)
            .expect("a certificate");
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .expect("a TLS server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut tokens = TokenTable::default();
        tokens.insert(
            "letmein",
            User::authenticated("admin", ["system:masters".to_owned()]),
        );
        let stop = CancellationToken::new();
        let server = ApiServer::new(api.engine().clone()).tokens(tokens);
        tokio::spawn(server.serve(listener, tls, stop.clone()));

        let home = TempDir::new().expect("a folder");
        let authority = home.path().join("ca.crt");
        std::fs::write(&authority, certificate.pem()).expect("to be written");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{address}"), "certificate-authority": authority.display().to_string(),
            }}],
            "users": [{"name": "admin", "user": {"token": "letmein"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        std::fs::write(home.path().join("config"), config.to_string()).expect("to be written");
        Self {
            cluster: Cluster::start_on(Arc::new(api), nodes).await,
            home,
            stop,
        }
    }

    /// Runs kubectl and gives what it printed.
    async fn kubectl(&self, arguments: &str) -> String {
        let running = Command::new("kubectl")
            .args(arguments.split(' '))
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("config"))
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, running).await;
        let output = output
            .unwrap_or_else(|_| panic!("kubectl {arguments} does not end"))
            .expect("kubectl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments}: {stdout}{stderr}");
        stdout
    }

    fn write(&self, name: &str, object: &Value) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, object.to_string()).expect("to be written");
        path
    }
}

fn pods() -> Collection {
    Collection::namespaced("v1", "pods", "default")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_are_followed_paused_undone_and_listed() {
    if !kubectl_is_there() {
        return;
    }
    let test = Reachable::start(2).await;
    test.write("web.json", &deployment("web", 3));
    test.kubectl("apply -f web.json").await;
    let done = "deployment \"web\" successfully rolled out\n";
    assert!(
        test.kubectl("rollout status deployment/web")
            .await
            .ends_with(done)
    );
    test.kubectl("set image deployment/web main=hello:2").await;
    assert!(
        test.kubectl("rollout status deployment/web")
            .await
            .ends_with(done)
    );
    test.kubectl("annotate deployment/web kubernetes.io/change-cause=second")
        .await;
    let template = "jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(
        test.kubectl(&format!("get deployment/web -o {template}")).await,
        "hello:2"
    );

    test.kubectl("rollout undo deployment/web").await;
    assert!(
        test.kubectl("rollout status deployment/web")
            .await
            .ends_with(done)
    );
    assert_eq!(
        test.kubectl(&format!("get deployment/web -o {template}")).await,
        "hello:1"
    );
    let history = test.kubectl("rollout history deployment/web").await;
    let lines: Vec<Vec<&str>> = history
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[2..4],
        [vec!["2", "second"], vec!["3", "<none>"]],
        "{history}"
    );
    test.kubectl("rollout undo deployment/web --to-revision=2").await;
    test.kubectl("rollout status deployment/web").await;
    assert_eq!(
        test.kubectl(&format!("get deployment/web -o {template}")).await,
        "hello:2"
    );

    test.kubectl("rollout pause deployment/web").await;
    test.kubectl("set image deployment/web main=hello:3").await;
    test.kubectl("scale deployment/web --replicas=5").await;
    test.kubectl("wait deployment/web --for=jsonpath={.status.readyReplicas}=5 --timeout=30s")
        .await;
    let images = "jsonpath={.items[*].spec.containers[0].image}";
    assert_eq!(
        test.kubectl(&format!("get pods -o {images}")).await,
        ["hello:2"; 5].join(" ")
    );
    test.kubectl("rollout resume deployment/web").await;
    assert!(
        test.kubectl("rollout status deployment/web")
            .await
            .ends_with(done)
    );
    test.kubectl("rollout restart deployment/web").await;
    test.kubectl("rollout status deployment/web").await;
    test.kubectl("wait deployment/web --for=condition=Available --timeout=30s")
        .await;
    let described = test.kubectl("describe deployment/web").await;
    for part in [
        "NewReplicaSetAvailable",
        "5 desired | 5 updated | 5 total | 5 available | 0 unavailable",
        "ScalingReplicaSet",
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }

    test.kubectl("delete deployment/web --cascade=foreground --timeout=30s")
        .await;
    assert_eq!(test.kubectl("get replicasets,pods -o name").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_and_jobs_are_waited_for() {
    if !kubectl_is_there() {
        return;
    }
    let test = Reachable::start(2).await;
    let workload = |kind: &str, name: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": pod_template(name)},
        })
    };
    test.write("db.json", &workload("StatefulSet", "db"));
    let mut agent = workload("DaemonSet", "agent");
    agent["spec"]
        .as_object_mut()
        .expect("a map")
        .remove("serviceName");
    test.write("agent.json", &agent);
    test.kubectl("apply -f db.json -f agent.json").await;
    test.kubectl("scale statefulset/db --replicas=3").await;
    test.kubectl("rollout status statefulset/db").await;
    test.kubectl("rollout status daemonset/agent").await;
    for set in ["statefulset/db", "daemonset/agent"] {
        test.kubectl(&format!("set image {set} main=hello:2")).await;
        test.kubectl(&format!("rollout status {set}")).await;
        test.kubectl(&format!("rollout undo {set}")).await;
        test.kubectl(&format!("rollout status {set}")).await;
        let history = test.kubectl(&format!("rollout history {set}")).await;
        assert!(history.contains("\n2 ") && history.contains("\n3 "), "{history}");
    }
    let images = "jsonpath={.items[*].spec.containers[0].image}";
    assert_eq!(
        test.kubectl(&format!("get pods -o {images}")).await,
        ["hello:1"; 5].join(" ")
    );

    test.kubectl("create job count --image=hello:1 -- count").await;
    test.kubectl("wait job/count --for=condition=Complete --timeout=30s")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_keeps_the_budget() {
    if !kubectl_is_there() {
        return;
    }
    let test = Reachable::start(2).await;
    test.write("web.json", &deployment("web", 4));
    test.kubectl("apply -f web.json").await;
    test.kubectl("create poddisruptionbudget web --selector=app=web --min-available=3")
        .await;
    test.kubectl("rollout status deployment/web").await;
    let counted = "jsonpath={.status.disruptionsAllowed}=1";
    test.kubectl(&format!("wait pdb/web --for={counted} --timeout=30s"))
        .await;
    test.kubectl("drain n1 --timeout=50s").await;
    let moved = |pods: &[Arc<Object>]| {
        let ready = pods.iter().filter(|pod| pod.text(&["status", "podIP"]).is_some());
        ready
            .filter(|pod| pod.text(&["spec", "nodeName"]) == Some("n2"))
            .count()
            == 4
    };
    test.cluster.until(&pods(), "all pods moved", moved).await;
    assert!(test.kubectl("get node n1").await.contains("SchedulingDisabled"));
    test.kubectl("uncordon n1").await;
    test.kubectl("create namespace shop").await;
    test.kubectl("create deployment cart --image=hello:1 --replicas=2 -n shop")
        .await;
    test.kubectl("rollout status deployment/cart -n shop").await;
    test.kubectl("expose deployment/cart --port=80 -n shop").await;
    let slice = "get endpointslices -n shop -o jsonpath={.items[0].endpoints[*].conditions.ready}";
    test.kubectl("wait endpointslices --all -n shop --for=jsonpath={.endpoints[1].conditions.ready}=true")
        .await;
    assert_eq!(test.kubectl(slice).await, "true true");
    test.kubectl("delete namespace shop --timeout=30s").await;
}
