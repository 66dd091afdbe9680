//! The real kubectl against the bundled cluster, verb by verb.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use test_support::{Kubectl, peer, repository, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A lab with a cluster on which the release `hello` runs.
fn open() -> Option<Kubectl> {
    let kubectl = Kubectl::open()?;
    let chart = repository().join("charts/hello");
    kubectl.lab.tug(["install", "hello", chart.to_str()?]).ok();
    Some(kubectl)
}

fn pod(kubectl: &Kubectl) -> String {
    let pods =
        kubectl.run("get pods -l app.kubernetes.io/instance=hello -o jsonpath={.items[0].metadata.name}");
    pods.ok().to_owned()
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: tug/hello:1.0
        env: [{name: PORT, value: \"8080\"}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
";

#[test]
fn kubectl_reads_tables_and_objects() {
    let Some(kubectl) = open() else { return };
    kubectl.run("get --raw /readyz").ok();
    let everything = kubectl.run("get nodes,pods,deploy,rs,svc,cm,secret,events -A");
    for column in [
        "STATUS",
        "READY",
        "UP-TO-DATE",
        "CLUSTER-IP",
        "DATA",
        "TYPE",
        "REASON",
        "ROLES",
        "RESTARTS",
    ] {
        assert!(
            everything.ok().contains(column),
            "no column {column} in\n{}",
            everything.stdout
        );
    }
    let pod = pod(&kubectl);
    let wide = kubectl.run("get pods -o wide");
    assert!(
        wide.ok().contains("NOMINATED NODE") && wide.stdout.contains("Running"),
        "{}",
        wide.stdout
    );
    assert!(
        kubectl
            .run(&format!("get pod {pod} -o yaml"))
            .ok()
            .contains("podIP: 10.42.")
    );
    assert_eq!(
        kubectl
            .run("get deploy hello -o jsonpath={.status.readyReplicas}")
            .ok(),
        "1"
    );
    assert_eq!(
        kubectl.run("get cm -l app.kubernetes.io/name=hello -o name").ok(),
        "configmap/hello\n"
    );

    let described = kubectl.run(&format!("describe pod {pod}"));
    assert!(described.ok().contains("Started container hello") || described.stdout.contains("Started"));
    kubectl.run("describe node").ok();
    kubectl.run("describe deploy,svc,cm").ok();
    assert!(
        kubectl
            .run("explain deployment.spec")
            .ok()
            .contains("minReadySeconds")
    );
    assert!(kubectl.run("api-resources").ok().contains("deployments"));
    assert!(kubectl.run("version").ok().contains("+tug."));
    assert!(
        kubectl
            .run("get pod nothing")
            .err()
            .contains("pods \"nothing\" not found")
    );
}

#[test]
fn kubectl_reaches_into_containers() {
    let Some(kubectl) = open() else { return };
    let pod = pod(&kubectl);
    kubectl.lab.get(30080, "/seen-in-the-log");

    // Followed: the line comes while kubectl still runs.
    let mut follow = kubectl.lab.command(&kubectl.program);
    follow
        .env("KUBECONFIG", kubectl.lab.kubeconfig())
        .args(["logs", "-f", &pod])
        .stdout(Stdio::piped());
    let mut following = kubectl.lab.inside(move || follow.spawn()).unwrap();
    let mut output = following.stdout.take().unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains("/seen-in-the-log") {
        let length = output.read(&mut buffer).unwrap();
        assert!(length > 0, "the log ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    following.kill().unwrap();
    following.wait().unwrap();

    let printed = kubectl.args(&["exec", &pod, "--", "/bin/echo", "from", "inside"]);
    assert_eq!(printed.ok(), "from inside\n");
    assert_eq!(
        kubectl.args(&["exec", &pod, "--", "/bin/cat", "/nothing"]).code,
        1
    );

    // With input and, where `script` can make one, a terminal.
    let mut shell = kubectl.lab.command(&kubectl.program);
    shell
        .env("KUBECONFIG", kubectl.lab.kubeconfig())
        .args(["exec", "-i", &pod, "--", "/bin/sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = kubectl.lab.inside(move || shell.spawn()).unwrap();
    running
        .stdin
        .take()
        .unwrap()
        .write_all(b"echo typed\nexit\n")
        .unwrap();
    let answered = running.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&answered.stdout).contains("typed"));
    if peer("script").is_some() {
        let mut terminal = kubectl.lab.command("script");
        let typed = format!(
            "{} exec -it {pod} -- /bin/echo on a terminal",
            kubectl.program.display()
        );
        terminal
            .env("KUBECONFIG", kubectl.lab.kubeconfig())
            .args(["-qec", &typed, "/dev/null"]);
        assert!(kubectl.lab.run(terminal).ok().contains("on a terminal\r\n"));
    }
}

#[test]
fn kubectl_changes_objects() {
    let Some(kubectl) = open() else { return };
    let file = kubectl.file("web.yaml", DEPLOYMENT);
    assert_eq!(
        kubectl.run(&format!("apply -f {file}")).ok(),
        "deployment.apps/web created\n"
    );
    assert_eq!(
        kubectl.run(&format!("apply -f {file}")).ok(),
        "deployment.apps/web unchanged\n"
    );
    kubectl.run("rollout status deploy/web --timeout=60s").ok();

    kubectl.run("scale deploy/web --replicas=3").ok();
    kubectl
        .run("wait deploy/web --for=jsonpath={.status.readyReplicas}=3 --timeout=60s")
        .ok();
    kubectl.run("scale deploy/web --replicas=1").ok();

    kubectl.run("set env deploy/web COLOUR=blue").ok();
    kubectl.run("rollout status deploy/web --timeout=60s").ok();
    assert!(kubectl.run("rollout history deploy/web").ok().contains('2'));
    kubectl.run("rollout undo deploy/web").ok();
    kubectl.run("rollout status deploy/web --timeout=60s").ok();
    assert_eq!(
        kubectl
            .run("get deploy web -o jsonpath={.spec.template.spec.containers[0].env[*].name}")
            .ok(),
        "PORT"
    );

    for (kind, patch) in [
        ("strategic", r#"{"metadata":{"labels":{"one":"1"}}}"#),
        ("merge", r#"{"metadata":{"labels":{"two":"2"}}}"#),
        (
            "json",
            r#"[{"op":"add","path":"/metadata/labels/three","value":"3"}]"#,
        ),
    ] {
        kubectl
            .args(&["patch", "deploy", "web", "--type", kind, "-p", patch])
            .ok();
    }
    let labels = kubectl.run("get deploy web -o jsonpath={.metadata.labels}");
    assert_eq!(
        labels.json(),
        serde_json::json!({"app": "web", "one": "1", "two": "2", "three": "3"})
    );
    // An editor that changes one line.
    let editor = kubectl.file("edit.sh", "sed -i 's/one: \"1\"/one: \"edited\"/' \"$1\"\n");
    let mut edit = kubectl.lab.command(&kubectl.program);
    edit.env("KUBECONFIG", kubectl.lab.kubeconfig())
        .env("KUBE_EDITOR", format!("sh {editor}"));
    edit.args(["edit", "deploy", "web"]);
    kubectl.lab.run(edit).ok();
    assert_eq!(
        kubectl
            .run("get deploy web -o jsonpath={.metadata.labels.one}")
            .ok(),
        "edited"
    );

    kubectl.run("delete deploy web --wait=true --timeout=60s").ok();
    kubectl.run("wait pod -l app=web --for=delete --timeout=60s").ok();
}

#[test]
fn kubectl_applies_on_the_server() {
    let Some(kubectl) = open() else { return };
    let file = kubectl.file("web.yaml", DEPLOYMENT);
    let applied = kubectl.run(&format!("apply --server-side -f {file}"));
    assert_eq!(applied.ok(), "deployment.apps/web serverside-applied\n");
    kubectl.run("scale deploy/web --replicas=2").ok();
    let conflict = kubectl.run(&format!("apply --server-side -f {file}"));
    assert!(conflict.err().contains(".spec.replicas"), "{}", conflict.stderr);
    kubectl
        .run(&format!("apply --server-side --force-conflicts -f {file}"))
        .ok();
    assert_eq!(
        kubectl.run("get deploy web -o jsonpath={.spec.replicas}").ok(),
        "1"
    );
    let unknown = kubectl.file("typo.yaml", &DEPLOYMENT.replace("replicas:", "replicsa:"));
    let refused = kubectl.run(&format!("apply -f {unknown}"));
    assert!(
        refused.err().contains("unknown field \"spec.replicsa\""),
        "{}",
        refused.stderr
    );
}

#[test]
fn kubectl_watches() {
    let Some(kubectl) = open() else { return };
    let mut watch = kubectl.lab.command(&kubectl.program);
    watch
        .env("KUBECONFIG", kubectl.lab.kubeconfig())
        .args([
            "get",
            "cm",
            "-w",
            "--no-headers",
            "-o",
            "custom-columns=N:.metadata.name",
        ])
        .stdout(Stdio::piped());
    let mut watching = kubectl.lab.inside(move || watch.spawn()).unwrap();
    let mut output = watching.stdout.take().unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if send
                .send(String::from_utf8_lossy(&buffer[..length]).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
    let mut seen = String::new();
    let mut wait_for = |name: &str| {
        until(&format!("the watch shows `{name}`"), LIMIT, || {
            seen.extend(receive.try_iter());
            seen.contains(name).then_some(())
        });
    };
    wait_for("hello");
    kubectl.run("create cm appears").ok();
    wait_for("appears");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_namespace_goes_with_everything_in_it() {
    let Some(kubectl) = open() else { return };
    kubectl.run("create namespace short").ok();
    let file = kubectl.file("web.yaml", DEPLOYMENT);
    kubectl.run(&format!("apply -n short -f {file}")).ok();
    kubectl
        .run("rollout status -n short deploy/web --timeout=60s")
        .ok();
    kubectl.run("delete namespace short --timeout=60s").ok();
    assert_eq!(kubectl.run("get all,cm -n short -o name").ok(), "");
}
