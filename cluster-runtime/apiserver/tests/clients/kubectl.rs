//! The real `kubectl`.

use std::process::Stdio;
use std::time::Duration;

use cluster_client::{Api, Collection, Patch, Target, WriteOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::program::{self, Run, command, is_there};
use crate::server::TestServer;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: main
        image: demo:1
        ports:
        - containerPort: 80
";

async fn kubectl(server: &TestServer, arguments: &str) -> Run {
    kubectl_with(server, arguments, "").await
}

async fn kubectl_with(server: &TestServer, arguments: &str, input: &str) -> Run {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    program::run(server, "kubectl", &arguments, input).await
}

/// Writes a status as a controller would.
async fn set_status(server: &TestServer, target: Target, status: Value) {
    let target = target.subresource("status");
    let patch = Patch::Merge(json!({"status": status}));
    server
        .api
        .patch(&target, patch, &WriteOptions::default())
        .await
        .unwrap();
}

fn web() -> Target {
    Target::namespaced("apps/v1", "deployments", "default", "web")
}

async fn with_deployment() -> TestServer {
    let server = TestServer::start().await;
    kubectl_with(&server, "apply -f -", DEPLOYMENT).await.ok();
    server
}

#[tokio::test]
async fn get_prints_what_is_there() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    let out = kubectl(&server, "get deployments").await.ok();
    assert!(
        out.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2"),
        "{out}"
    );
    let out = kubectl(&server, "get deploy -o wide").await.ok();
    assert!(out.contains("CONTAINERS") && out.contains("demo:1"), "{out}");
    let out = kubectl(&server, "get deploy web -o yaml").await.ok();
    assert!(
        out.contains("kind: Deployment") && out.contains("  replicas: 2"),
        "{out}"
    );
    let out = kubectl(&server, "get deploy web -o jsonpath={.spec.replicas}")
        .await
        .ok();
    assert_eq!(out, "2");
    let out = kubectl(&server, "get deploy,svc,cm,secret,events,nodes,pods,rs -A")
        .await
        .ok();
    assert!(out.contains("deployment.apps/web"), "{out}");
    let out = kubectl(&server, "get all -o name").await.ok();
    assert_eq!(out, "deployment.apps/web\n");
    let out = kubectl(
        &server,
        "get deploy -l app=web --no-headers -o custom-columns=N:.metadata.name",
    )
    .await
    .ok();
    assert_eq!(out, "web\n");
    let out = kubectl(&server, "get deploy missing").await.err();
    assert_eq!(
        out,
        "Error from server (NotFound): deployments.apps \"missing\" not found\n"
    );
    let out = kubectl(&server, "get --raw /readyz").await.ok();
    assert_eq!(out, "ok");
    let out = kubectl(&server, "get ns").await.ok();
    assert!(out.contains("kube-system") && out.contains("Active"), "{out}");
}

#[tokio::test]
async fn describe_tells_more() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    let out = kubectl(&server, "describe deployment web").await.ok();
    assert!(out.contains("Image:") && out.contains("2 desired"), "{out}");
    let out = kubectl(&server, "describe ns default").await.ok();
    assert!(out.contains("Status:       Active"), "{out}");
}

#[tokio::test]
async fn apply_changes_only_what_changed() {
    if !is_there("kubectl") {
        return;
    }
    let server = TestServer::start().await;
    for side in ["", " --server-side"] {
        let applied = if side.is_empty() { "" } else { "serverside-applied" };
        let created = if side.is_empty() { "created" } else { applied };
        let out = kubectl_with(&server, &format!("apply -f -{side}"), DEPLOYMENT)
            .await
            .ok();
        assert_eq!(out, format!("deployment.apps/web {created}\n"));
        let again = if side.is_empty() { "unchanged" } else { applied };
        let before = server.api.engine().revision();
        let out = kubectl_with(&server, &format!("apply -f -{side}"), DEPLOYMENT)
            .await
            .ok();
        assert_eq!(out, format!("deployment.apps/web {again}\n"));
        assert_eq!(server.api.engine().revision(), before);
        let bigger = DEPLOYMENT
            .replace("replicas: 2", "replicas: 3")
            .replace("demo:1", "demo:2");
        let configured = if side.is_empty() { "configured" } else { applied };
        let out = kubectl_with(&server, &format!("apply -f -{side}"), &bigger)
            .await
            .ok();
        assert_eq!(out, format!("deployment.apps/web {configured}\n"));
        let now = server.api.get(&web()).await.unwrap();
        assert_eq!(now.integer(&["spec", "replicas"]), Some(3));
        assert_eq!(
            now.at(&["spec", "template", "spec", "containers"]).unwrap()[0]["image"],
            "demo:2"
        );
        assert_eq!(now.generation(), 2);
        kubectl(&server, "delete deploy web").await.ok();
    }
}

#[tokio::test]
async fn apply_on_the_server_finds_conflicts() {
    if !is_there("kubectl") {
        return;
    }
    let server = TestServer::start().await;
    kubectl_with(
        &server,
        "apply -f - --server-side --field-manager=one",
        DEPLOYMENT,
    )
    .await
    .ok();
    let other = DEPLOYMENT.replace("replicas: 2", "replicas: 5");
    let refused = kubectl_with(&server, "apply -f - --server-side --field-manager=two", &other)
        .await
        .err();
    assert!(
        refused.contains("conflict with \"one\"") && refused.contains(".spec.replicas"),
        "{refused}"
    );
    let forced = "apply -f - --server-side --field-manager=two --force-conflicts";
    kubectl_with(&server, forced, &other).await.ok();
    let now = server.api.get(&web()).await.unwrap();
    assert_eq!(now.integer(&["spec", "replicas"]), Some(5));
}

#[tokio::test]
async fn diff_shows_changes_and_makes_none() {
    if !is_there("kubectl") || !is_there("diff") {
        return;
    }
    let server = with_deployment().await;
    let same = kubectl_with(&server, "diff -f -", DEPLOYMENT).await;
    assert_eq!((same.code, same.stdout.as_str()), (0, ""), "{}", same.stderr);
    let before = server.api.engine().revision();
    for side in ["", " --server-side --force-conflicts"] {
        let bigger = DEPLOYMENT.replace("replicas: 2", "replicas: 3");
        let differs = kubectl_with(&server, &format!("diff -f -{side}"), &bigger).await;
        assert_eq!(differs.code, 1, "{}", differs.stderr);
        assert!(
            differs.stdout.contains("-  replicas: 2\n+  replicas: 3"),
            "{}",
            differs.stdout
        );
    }
    assert_eq!(server.api.engine().revision(), before);
}

#[tokio::test]
async fn small_changes_arrive() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    for (arguments, expected) in [
        ("scale deploy web --replicas=4", "deployment.apps/web scaled\n"),
        ("label deploy web tier=front", "deployment.apps/web labeled\n"),
        (
            "annotate deploy web note=hello",
            "deployment.apps/web annotated\n",
        ),
        (
            "set image deploy/web main=demo:7",
            "deployment.apps/web image updated\n",
        ),
        (
            r#"patch deploy web --type=json -p [{"op":"add","path":"/metadata/labels/x","value":"y"}]"#,
            "deployment.apps/web patched\n",
        ),
        (
            r#"patch deploy web --type=merge -p {"metadata":{"labels":{"x":null}}}"#,
            "deployment.apps/web patched\n",
        ),
        (
            r#"patch deploy web -p {"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:1"}]}}}}"#,
            "deployment.apps/web patched\n",
        ),
        (
            "set env deploy/web -c main A=b",
            "deployment.apps/web env updated\n",
        ),
        ("rollout restart deploy web", "deployment.apps/web restarted\n"),
        ("rollout pause deploy web", "deployment.apps/web paused\n"),
        ("rollout resume deploy web", "deployment.apps/web resumed\n"),
        (
            "autoscale deploy web --max=5",
            "horizontalpodautoscaler.autoscaling/web autoscaled\n",
        ),
        ("expose deploy web --port=80", "service/web exposed\n"),
        (
            "create configmap web --from-literal=a=b",
            "configmap/web created\n",
        ),
        (
            "create secret generic web --from-literal=a=b",
            "secret/web created\n",
        ),
        ("create ns shop", "namespace/shop created\n"),
        ("create sa robot", "serviceaccount/robot created\n"),
        ("create job once --image=demo", "job.batch/once created\n"),
        (
            "create ingress web --rule=example.com/*=web:80",
            "ingress.networking.k8s.io/web created\n",
        ),
        (
            "create role reader --verb=get --resource=pods",
            "role.rbac.authorization.k8s.io/reader created\n",
        ),
        ("run one --image=demo", "pod/one created\n"),
        ("auth can-i delete pods", "yes\n"),
    ] {
        assert_eq!(kubectl(&server, arguments).await.ok(), expected);
    }
    let now = server.api.get(&web()).await.unwrap();
    assert_eq!(now.integer(&["spec", "replicas"]), Some(4));
    assert_eq!(now.label("tier"), Some("front"));
    assert_eq!(now.label("x"), None);
    let containers = now
        .at(&["spec", "template", "spec", "containers"])
        .and_then(Value::as_array)
        .unwrap();
    let images: Vec<&Value> = containers.iter().map(|container| &container["image"]).collect();
    assert_eq!(images.len(), 2, "{images:?}");
    assert!(
        images.contains(&&json!("demo:7")) && images.contains(&&json!("side:1")),
        "{images:?}"
    );
    let out = kubectl(&server, "auth whoami").await.ok();
    assert!(out.contains("admin") && out.contains("system:masters"), "{out}");
}

#[tokio::test]
async fn rollout_status_waits_for_the_status() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    let mut child = command(
        &server,
        "kubectl",
        &["rollout", "status", "deploy/web", "--timeout=60s"],
    )
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    assert!(first.contains("Waiting for deployment"), "{first}");
    let condition = json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"});
    let status = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "conditions": [condition],
    });
    set_status(&server, web(), status).await;
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }
    assert_eq!(last, "deployment \"web\" successfully rolled out");
    assert!(child.wait().await.unwrap().success());
    kubectl(&server, "wait deploy/web --for=condition=Available --timeout=10s")
        .await
        .ok();
    kubectl(
        &server,
        "wait deploy/web --for=jsonpath={.status.readyReplicas}=2 --timeout=10s",
    )
    .await
    .ok();
}

#[tokio::test]
async fn wait_ends_when_the_object_is_gone() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    let mut waiting = command(
        &server,
        "kubectl",
        &["wait", "deploy/web", "--for=delete", "--timeout=60s"],
    )
    .spawn()
    .unwrap();
    let out = kubectl(&server, "delete deploy web").await.ok();
    assert!(out.starts_with("deployment.apps \"web\" deleted"), "{out}");
    let ended = tokio::time::timeout(Duration::from_secs(60), waiting.wait())
        .await
        .unwrap();
    assert!(ended.unwrap().success());
    kubectl(&server, "create ns shop").await.ok();
    let deleting = command(&server, "kubectl", &["delete", "ns", "shop"])
        .spawn()
        .unwrap();
    // What the namespace controller does when the namespace is empty.
    let shop = Target::cluster_wide("v1", "namespaces", "shop");
    let marked = loop {
        let found = server.api.get(&shop).await.unwrap();
        if found.deletion_timestamp().is_some() {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let mut emptied = cluster_objects::Object::clone(&marked);
    emptied.set(&["spec", "finalizers"], Vec::<String>::new());
    let finalize = shop.clone().subresource("finalize");
    server
        .api
        .update(&finalize, emptied, &WriteOptions::default())
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), deleting.wait_with_output())
        .await
        .unwrap();
    assert!(ended.unwrap().status.success());
}

#[tokio::test]
async fn get_watch_prints_changes() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    let mut child = command(&server, "kubectl", &["get", "deploy", "-w"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for expected in ["NAME", "web    0/2"] {
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(expected), "{line}");
    }
    kubectl(&server, "scale deploy web --replicas=3").await.ok();
    let line = lines.next_line().await.unwrap().unwrap();
    assert!(line.starts_with("web    0/3"), "{line}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn explain_and_api_resources_know_the_kinds() {
    if !is_there("kubectl") {
        return;
    }
    let server = TestServer::start().await;
    let out = kubectl(&server, "explain deployment.spec").await.ok();
    assert!(
        out.contains("FIELD: spec <DeploymentSpec>") && out.contains("replicas\t<integer>"),
        "{out}"
    );
    let out = kubectl(&server, "api-resources").await.ok();
    assert!(out.contains("deployments") && out.contains("deploy"), "{out}");
    let out = kubectl(&server, "api-versions").await.ok();
    assert!(out.contains("apps/v1\n"), "{out}");
    let out = kubectl(&server, "version").await.ok();
    assert!(out.contains("Server Version: v1.37.0+tug.0"), "{out}");
    let out = kubectl(&server, "cluster-info").await.ok();
    assert!(out.contains("is running at"), "{out}");
}

#[tokio::test]
async fn err_bad_manifests_are_refused() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_deployment().await;
    let unknown = DEPLOYMENT.replace("  replicas: 2", "  replicass: 2");
    let refused = kubectl_with(&server, "apply -f -", &unknown).await.err();
    assert!(refused.contains("unknown field \"spec.replicass\""), "{refused}");
    let mistyped = DEPLOYMENT.replace("replicas: 2", "replicas: many");
    kubectl_with(&server, "apply -f -", &mistyped).await.err();
    let elsewhere = kubectl_with(&server, "apply -n nowhere -f -", DEPLOYMENT)
        .await
        .err();
    assert!(
        elsewhere.contains("namespaces \"nowhere\" not found"),
        "{elsewhere}"
    );
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 1.2.3.4, ports: [{port: 80}]}";
    let refused = kubectl_with(&server, "create -f -", service).await.err();
    assert!(refused.contains("is not in the valid range"), "{refused}");
}

#[tokio::test]
async fn events_and_pages_are_listed() {
    if !is_there("kubectl") {
        return;
    }
    let server = TestServer::start().await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"}, "reason": "Started", "type": "Normal",
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "default"}, "message": "Started container",
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    let events = Collection::namespaced("v1", "events", "default");
    let event = cluster_objects::Object::from_value(event).unwrap();
    server
        .api
        .create(&events, event, &WriteOptions::default())
        .await
        .unwrap();
    let out = kubectl(&server, "get events").await.ok();
    assert!(
        out.contains("pod/web") && out.contains("Started container"),
        "{out}"
    );
    let out = kubectl(&server, "events --for pod/web").await.ok();
    assert!(out.contains("Started container"), "{out}");
    for index in 0..7 {
        kubectl(&server, &format!("create cm map-{index}")).await.ok();
    }
    let out = kubectl(&server, "get cm --chunk-size=3 -o name").await.ok();
    assert_eq!(out.lines().count(), 7, "{out}");
}
