//! The real kubectl for those who run a cluster: rollouts, nodes, limits, use of resources, reaching into pods.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use test_support::{Kubectl, peer, skip, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A lab with a cluster, and with the image `test/box:1`, which holds a busybox.
fn open() -> Option<Kubectl> {
    if peer("busybox").is_none() {
        skip("`busybox` is not installed, from which the image is made");
        return None;
    }
    let kubectl = Kubectl::open()?;
    kubectl.lab.tug(["cluster", "start"]).ok();
    kubectl.lab.load_image("test/box:1", ["--", "sh"]);
    Some(kubectl)
}

fn node(kubectl: &Kubectl) -> String {
    let name = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}");
    name.ok().to_owned()
}

/// A deployment of pods that sleep.
fn sleepers(kubectl: &Kubectl, name: &str, replicas: u32) {
    let pods = deployment(name, replicas, "sleep 100000", "{}");
    kubectl.feed("apply -f -", &pods).ok();
    kubectl
        .run(&format!("rollout status deploy/{name} --timeout=60s"))
        .ok();
}

fn deployment(name: &str, replicas: u32, script: &str, resources: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: test/box:1
        imagePullPolicy: Never
        command: [sh, -c, '{script}']
        resources: {resources}
"
    )
}

#[test]
fn a_rollout_is_paused_looked_at_and_undone() {
    let Some(kubectl) = open() else { return };
    let run = |arguments: &str| kubectl.run(arguments);
    sleepers(&kubectl, "web", 1);
    run("annotate deploy/web kubernetes.io/change-cause=first").ok();
    run("rollout pause deploy/web").ok();
    run("set env deploy/web COLOUR=blue").ok();
    run("set resources deploy/web --requests=cpu=10m").ok();
    assert_eq!(
        run("get rs -l app=web -o name").ok().lines().count(),
        1,
        "nothing rolls out while paused"
    );
    run("annotate deploy/web --overwrite kubernetes.io/change-cause=second").ok();
    run("rollout resume deploy/web").ok();
    run("rollout status deploy/web --timeout=60s").ok();
    let history = run("rollout history deploy/web");
    assert!(
        history.ok().contains("first") && history.stdout.contains("second"),
        "{}",
        history.stdout
    );
    assert!(
        run("rollout history deploy/web --revision=2")
            .ok()
            .contains("COLOUR:\tblue")
    );
    run("rollout undo deploy/web --to-revision=1").ok();
    run("rollout status deploy/web --timeout=60s").ok();
    assert_eq!(
        run("get deploy web -o jsonpath={.spec.template.spec.containers[0].env}").ok(),
        ""
    );
    run("rollout restart deploy/web").ok();
    run("rollout status deploy/web --timeout=60s").ok();
    assert!(
        run("scale deploy/web --current-replicas=5 --replicas=1")
            .err()
            .contains("Expected replicas to be 5, was 1")
    );
}

#[test]
fn a_node_is_cordoned_tainted_and_drained() {
    let Some(kubectl) = open() else { return };
    let run = |arguments: &str| kubectl.run(arguments);
    let node = node(&kubectl);
    sleepers(&kubectl, "web", 2);
    run("create pdb web --selector=app=web --min-available=2").ok();
    until("the budget is counted", LIMIT, || {
        (run("get pdb web -o jsonpath={.status.currentHealthy}").ok() == "2").then_some(())
    });
    run(&format!("cordon {node}")).ok();
    assert!(run("get nodes").ok().contains("Ready,SchedulingDisabled"));
    let held = run(&format!("drain {node} --ignore-daemonsets --timeout=3s"));
    assert!(
        held.err()
            .contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{}",
        held.stderr
    );
    run("delete pdb web").ok();
    let drained = run(&format!("drain {node} --ignore-daemonsets --timeout=60s"));
    assert!(drained.ok().contains("drained"), "{}", drained.stdout);
    until("the new pods wait", LIMIT, || {
        let pods = run("get pods -l app=web --no-headers");
        (pods.ok().matches("Pending").count() == 2).then_some(())
    });
    let why = run("events --types=Warning");
    assert!(why.ok().contains("were unschedulable"), "{}", why.stdout);
    run(&format!("uncordon {node}")).ok();
    run("rollout status deploy/web --timeout=60s").ok();

    run(&format!("taint nodes {node} colour=red:NoExecute")).ok();
    until("pods that do not tolerate it leave", LIMIT, || {
        run("get pods -l app=web --field-selector=status.phase=Running -o name")
            .ok()
            .is_empty()
            .then_some(())
    });
    run(&format!("taint nodes {node} colour-")).ok();
    run("rollout status deploy/web --timeout=60s").ok();
}

#[test]
fn use_of_resources_is_shown_and_drives_autoscaling() {
    let Some(kubectl) = open() else { return };
    let run = |arguments: &str| kubectl.run(arguments);
    let resources = "{requests: {cpu: 10m, memory: 8Mi}, limits: {cpu: 100m}}";
    kubectl
        .feed(
            "apply -f -",
            &deployment("busy", 1, "while :; do :; done", resources),
        )
        .ok();
    run("rollout status deploy/busy --timeout=60s").ok();
    let nodes = run("top nodes");
    assert!(
        nodes.ok().contains("CPU(cores)") && nodes.stdout.contains(&node(&kubectl)),
        "{}",
        nodes.stdout
    );
    let pods = until("the pod is seen at work", LIMIT, || {
        let pods = run("top pods --containers --no-headers");
        let cores = pods
            .stdout
            .split_whitespace()
            .nth(2)?
            .strip_suffix('m')?
            .parse::<u32>()
            .ok()?;
        (cores >= 20).then_some(pods)
    });
    assert!(
        pods.ok().contains("busy-") && pods.stdout.contains("main"),
        "{}",
        pods.stdout
    );

    run("autoscale deploy/busy --min=1 --max=3 --cpu=50%").ok();
    until("the autoscaler adds replicas", LIMIT, || {
        (run("get deploy busy -o jsonpath={.spec.replicas}").ok() == "3").then_some(())
    });
    let shown = run("describe hpa busy");
    assert!(
        shown.ok().contains("SuccessfulRescale") || shown.stdout.contains("SucceededRescale"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("resource cpu on pods"), "{}", shown.stdout);
    let one = run(
        "get horizontalpodautoscalers.v1.autoscaling busy -o jsonpath={.spec.targetCPUUtilizationPercentage}",
    );
    assert_eq!(one.ok(), "50");
}

#[test]
fn a_namespace_has_limits_quota_and_rules_of_safety() {
    let Some(kubectl) = open() else { return };
    let run = |arguments: &str| kubectl.run(arguments);
    run("create namespace shop").ok();
    run("create quota few -n shop --hard=pods=2,requests.cpu=1").ok();
    let range = "
apiVersion: v1
kind: LimitRange
metadata: {name: usual, namespace: shop}
spec: {limits: [{type: Container, defaultRequest: {cpu: 100m}, max: {cpu: \"2\"}, default: {cpu: \"1\"}}]}
";
    kubectl.feed("apply -f -", range).ok();
    kubectl
        .feed("apply -n shop -f -", &deployment("web", 3, "sleep 100000", "{}"))
        .ok();
    until("as many pods run as may", LIMIT, || {
        (run("get deploy web -n shop -o jsonpath={.status.readyReplicas}").ok() == "2").then_some(())
    });
    let told = run("describe quota few -n shop");
    let lines: Vec<Vec<&str>> = told
        .ok()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(lines.contains(&vec!["pods", "2", "2"]), "{}", told.stdout);
    assert!(
        lines.contains(&vec!["requests.cpu", "200m", "1"]),
        "{}",
        told.stdout
    );
    let why = until("the set tells why", LIMIT, || {
        let why = run("events -n shop --types=Warning");
        why.ok().contains("exceeded quota").then_some(why)
    });
    assert!(
        why.stdout
            .contains("exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2"),
        "{}",
        why.stdout
    );
    run("scale deploy/web -n shop --replicas=0").ok();
    until("what went is free again", LIMIT, || {
        let used = run("get quota few -n shop -o jsonpath={.status.used.pods}/{.status.used.requests\\.cpu}");
        (used.ok() == "0/0").then_some(())
    });

    run("label namespace shop pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/warn=restricted").ok();
    let refused = run("run strong -n shop --image=test/box:1 --privileged");
    assert!(
        refused.err().contains(
            "violates PodSecurity \"baseline:latest\": privileged (container \"strong\" must not set"
        ),
        "{}",
        refused.stderr
    );
    let warned = run("run weak -n shop --image=test/box:1 --image-pull-policy=Never -- sleep 1");
    warned.ok();
    assert!(
        warned
            .stderr
            .contains("would violate PodSecurity \"restricted:latest\""),
        "{}",
        warned.stderr
    );
}

/// What is printed when something is typed.
fn typed(kubectl: &Kubectl, arguments: &[&str], text: &[u8]) -> String {
    let mut command = kubectl.lab.command(&kubectl.program);
    command
        .env("KUBECONFIG", kubectl.lab.kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = kubectl.lab.inside(move || command.spawn()).unwrap();
    running.stdin.take().unwrap().write_all(text).unwrap();
    let answered = running.wait_with_output().unwrap();
    String::from_utf8_lossy(&answered.stdout).into_owned()
}

#[test]
fn pods_are_reached_copied_to_and_debugged() {
    let Some(kubectl) = open() else { return };
    let run = |arguments: &str| kubectl.run(arguments);
    run("run box --image=test/box:1 --image-pull-policy=Never --port=8080 --command -- sleep 100000").ok();
    run("run tool --image=test/box:1 --image-pull-policy=Never --command -- sleep 100000").ok();
    run("wait pod/tool --for=condition=Ready --timeout=60s").ok();

    let here = kubectl.lab.folder().join("here.txt");
    std::fs::write(&here, "carried").unwrap();
    run(&format!("cp {} tool:/tmp/there.txt", here.display())).ok();
    assert_eq!(run("exec tool -- cat /tmp/there.txt").ok(), "carried");
    let back = kubectl.lab.folder().join("back.txt");
    run(&format!("cp tool:/tmp/there.txt {}", back.display())).ok();
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "carried");

    let count = [
        "exec",
        "-i",
        "tool",
        "--",
        "sh",
        "-c",
        "cat > /tmp/piped && wc -c < /tmp/piped",
    ];
    assert_eq!(typed(&kubectl, &count, &[b'x'; 200_000]).trim(), "200000");

    // A container more in the pod that runs, with the processes of another.
    let debugger = "--image=test/box:1 --target=tool --quiet";
    run(&format!(
        "debug tool {debugger} --container=look -- ps -o pid,args"
    ))
    .ok();
    let seen = until("the debugger has looked", LIMIT, || {
        let seen = run("logs tool -c look");
        (seen.code == 0 && seen.stdout.contains("ps -o")).then_some(seen.stdout)
    });
    assert!(seen.contains("1 sleep 100000"), "{seen}");
    let shell = format!("debug -i tool {debugger} --container=shell -- sh");
    let shell: Vec<&str> = shell.split_whitespace().collect();
    let inside = typed(&kubectl, &shell, b"cat /proc/1/cmdline; echo; hostname; exit\n");
    assert!(
        inside.starts_with("sleep\0") && inside.ends_with("tool\n"),
        "{inside}"
    );
    run(&format!(
        "debug tool {debugger} --container=stays -- sleep 100000"
    ))
    .ok();
    until("commands run in it", LIMIT, || {
        (run("exec tool -c stays -- echo here").stdout.trim() == "here").then_some(())
    });
    let told = run("describe pod tool");
    assert!(told.ok().contains("Ephemeral Containers:\n"), "{}", told.stdout);
    let nobody = run("debug tool --image=test/box:1 --target=nobody -- sh");
    assert!(
        nobody
            .err()
            .contains("targetContainerName: Not found: \"nobody\""),
        "{}",
        nobody.stderr
    );

    // A copy of the pod, whose containers share their processes.
    let copy = run("debug tool --copy-to=tool-copy --image=test/box:1 --container=look -- sleep 100001");
    copy.ok();
    run("wait pod/tool-copy --for=condition=Ready --timeout=60s").ok();
    let seen = run("exec tool-copy -c look -- ps -o pid,args");
    for process in ["1 /pause", "sleep 100000", "sleep 100001"] {
        assert!(seen.ok().contains(process), "no {process} in {}", seen.stdout);
    }
    run("label pods --all checked=yes").ok();
    assert_eq!(
        run("get pods -l checked=yes,run!=box --no-headers -o name")
            .ok()
            .lines()
            .count(),
        2
    );
    run("delete pods --all --force --grace-period=0").ok();
}

#[test]
fn the_api_tells_about_itself() {
    let Some(kubectl) = open() else { return };
    let run = |arguments: &str| kubectl.run(arguments);
    let resources = run("api-resources --no-headers -o wide");
    for kind in [
        "HorizontalPodAutoscaler",
        "PodMetrics",
        "NodeMetrics",
        "CustomResourceDefinition",
        "Event",
    ] {
        assert!(
            resources.ok().contains(kind),
            "no {kind} in\n{}",
            resources.stdout
        );
    }
    assert!(
        run("explain cronjob.spec.jobTemplate.spec.template.spec.containers.resources.limits")
            .ok()
            .contains("FIELD: limits")
    );
    assert!(run("auth can-i --list").ok().contains("*.*"));
    assert_eq!(run("auth can-i delete nodes --as=nobody").stdout.trim(), "no");
    assert_eq!(run("create token default").ok().matches('.').count(), 2);
    assert!(
        run("get --raw /metrics")
            .ok()
            .contains("apiserver_request_total{")
    );
    assert!(run("get --raw /openapi/v2").ok().contains("\"swagger\":\"2.0\""));
    let view = until("roles that are made of others show their rules", LIMIT, || {
        let view = run("get clusterrole view -o json").json();
        (view["rules"].as_array()?.len() > 3).then_some(view)
    });
    let text = view["rules"].to_string();
    assert!(
        text.contains("metrics.k8s.io") && !text.contains("secrets"),
        "{text}"
    );
    kubectl
        .feed(
            "create -f -",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: old}}",
        )
        .ok();
    let changed = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: new}}";
    let diff = kubectl.feed("diff -f -", changed);
    assert!(
        diff.code == 1 && diff.stdout.contains("+  k: new"),
        "{}{}",
        diff.stdout,
        diff.stderr
    );
    kubectl.feed("replace -f -", changed).ok();
    assert_eq!(run("get cm a -o jsonpath={.data.k}").ok(), "new");
    kubectl.feed("replace --force -f -", changed).ok();
    let stale = run("get cm a -o yaml").ok().replace("new", "newer");
    run("annotate cm a touched=yes").ok();
    let conflict = kubectl.feed("replace -f -", &stale);
    assert!(
        conflict.err().contains("the object has been modified"),
        "{}",
        conflict.stderr
    );
    let dump = run("cluster-info dump");
    assert!(dump.ok().contains("\"kind\": \"NodeList\""));
}
