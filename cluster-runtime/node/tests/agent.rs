//! The whole agent on an API server in memory, with real containers of the built-in image.

mod support;

use std::time::{Duration, Instant};

use cluster_client::{ExecExit, ExecRequest, LogRequest, NodeStreams, Patch, PodContainer, Target};
use cluster_objects::Object;
use futures::StreamExt;
use serde_json::{Value, json};
use support::{Cluster, SOON, condition, start_node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn cluster() -> Option<Cluster> {
    if support::is_root() {
        Some(Cluster::start().await)
    } else {
        None
    }
}

/// A container of the built-in image.
fn hello(name: &str, args: &[&str]) -> Value {
    json!({ "name": name, "image": "tug/hello:1.0", "command": args })
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
fn one(container: Value) -> Value {
    json!({ "containers": [container] })
}

fn with(mut container: Value, key: &str, value: Value) -> Value {
    container[key] = value;
    container
}

fn container_of(pod: &Object, name: &str) -> PodContainer {
    PodContainer {
        namespace: "default".into(),
        pod: pod.name().into(),
        uid: pod.uid().into(),
        container: name.into(),
    }
}

/// The status of a container.
fn status<'a>(pod: &'a Object, name: &str) -> &'a Value {
    let all = pod
        .list(&["status", "initContainerStatuses"])
        .iter()
        .chain(pod.list(&["status", "containerStatuses"]));
    let found = all.into_iter().find(|status| status["name"] == name);
    found.unwrap_or(&Value::Null)
}

async fn logs(cluster: &Cluster, pod: &Object, name: &str, request: LogRequest) -> String {
    let stream = cluster
        .node
        .logs(&container_of(pod, name), &request)
        .await
        .unwrap();
    let pieces = stream.map(|piece| piece.unwrap()).collect::<Vec<_>>();
    let pieces = tokio::time::timeout(SOON, pieces).await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

async fn exec(cluster: &Cluster, pod: &Object, name: &str, command: &[&str]) -> (ExecExit, String) {
    let request = ExecRequest {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    };
    let session = cluster
        .node
        .exec(&container_of(pod, name), &request)
        .await
        .unwrap();
    let mut printed = String::new();
    for mut stream in [session.stdout, session.stderr].into_iter().flatten() {
        stream.read_to_string(&mut printed).await.unwrap();
    }
    (session.exit.await.unwrap(), printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_comes_up_and_goes_without_a_trace() {
    let Some(cluster) = cluster().await else { return };
    let began = Instant::now();
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 80 } });
    let container = with(
        json!({ "name": "main", "image": "tug/hello:1.0" }),
        "readinessProbe",
        probe,
    );
    cluster.pod("web", one(container)).await;
    let pod = cluster.until_ready("web").await;
    println!("ready after {:?}", began.elapsed());
    assert_eq!(pod.text(&["status", "phase"]), Some("Running"));
    assert_eq!(pod.text(&["status", "podIP"]), Some("127.0.0.1"));
    assert_eq!(pod.text(&["status", "qosClass"]), Some("BestEffort"));
    assert!(
        status(&pod, "main")["containerID"]
            .as_str()
            .unwrap()
            .starts_with("tug://")
    );
    cluster
        .until_event("web", "Started", "Started container main")
        .await;
    for (reason, message) in [
        (
            "Pulled",
            "Container image \"tug/hello:1.0\" already present on machine",
        ),
        ("Created", "Created container: main"),
    ] {
        cluster.until_event("web", reason, message).await;
    }

    let mut connection = cluster.node.connect(&container_of(&pod, ""), 80).await.unwrap();
    connection.write_all(b"GET /x HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("Hello from tug\npod: web\npath: /x\n"),
        "{answer}"
    );

    let began = Instant::now();
    cluster.delete("web").await;
    println!("gone after {:?}", began.elapsed());
    cluster
        .until_event("web", "Killing", "Stopping container main")
        .await;
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new());
    assert!(!cluster.lab.dir.path().join("pods").join(pod.uid()).exists());
    assert_eq!(
        std::fs::read_dir(cluster.lab.dir.path().join("logs"))
            .unwrap()
            .count(),
        0
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_registers_itself_and_renews_its_lease() {
    let Some(cluster) = cluster().await else { return };
    let node = cluster
        .api
        .get(&Target::cluster_wide("v1", "nodes", "n1"))
        .await
        .unwrap();
    assert_eq!(node.label("kubernetes.io/hostname"), Some("n1"));
    assert_eq!(
        node.text(&["status", "nodeInfo", "kubeletVersion"]),
        Some("v1.37.0+tug.0")
    );
    assert_eq!(
        node.text(&["status", "nodeInfo", "containerRuntimeVersion"]),
        Some("tug://0.1.0")
    );
    assert_eq!(node.text(&["status", "capacity", "pods"]), Some("250"));
    assert_eq!(condition(&node, "Ready"), "True");
    let lease = Target::namespaced("coordination.k8s.io/v1", "leases", "kube-node-lease", "n1");
    let renewed = async {
        while cluster.api.get(&lease).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, renewed).await.unwrap();
    let lease = cluster.api.get(&lease).await.unwrap();
    assert_eq!(lease.text(&["spec", "holderIdentity"]), Some("n1"));
    assert_eq!(lease.owner_references()[0].uid, node.uid());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_and_sidecars_come_first_and_hooks_are_run() {
    let Some(cluster) = cluster().await else { return };
    let shared = json!([{ "name": "shared", "mountPath": "/shared" }]);
    let mounted = |container| with(container, "volumeMounts", shared.clone());
    let say = |words: &str| format!("echo {words} >> /shared/log");
    let first = mounted(hello("first", &["sh", "-c", &say("first")]));
    let side = mounted(hello("side", &["sh", "-c", &format!("{}; serve", say("side"))]));
    let mut side = with(side, "restartPolicy", json!("Always"));
    side["startupProbe"] = json!({ "tcpSocket": { "port": 80 } });
    let main = mounted(hello(
        "main",
        &["sh", "-c", &format!("{}; sleep 600", say("main"))],
    ));
    let main = with(
        main,
        "lifecycle",
        json!({
            "postStart": { "exec": { "command": ["sh", "-c", say("hook")] } },
            "preStop": { "exec": { "command": ["sh", "-c", "cp /shared/log /keep/log || cat /shared/log > /keep/log; echo stopped >> /keep/log"] } },
        }),
    );
    let keep = cluster.lab.dir.path().join("keep");
    let mut main = main;
    main["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "keep", "mountPath": "/keep" }));
    cluster
        .pod(
            "ordered",
            json!({
                "initContainers": [first, side], "containers": [main], "terminationGracePeriodSeconds": 5,
                "volumes": [
                    { "name": "shared", "emptyDir": {} },
                    { "name": "keep", "hostPath": { "path": keep, "type": "DirectoryOrCreate" } },
                ],
            }),
        )
        .await;
    let pod = cluster.until_ready("ordered").await;
    assert_eq!(
        status(&pod, "first")["state"]["terminated"]["reason"],
        "Completed"
    );
    assert_eq!(status(&pod, "first")["ready"], true);
    assert_eq!(status(&pod, "side")["started"], true);
    let (_, log) = exec(&cluster, &pod, "main", &["cat", "/shared/log"]).await;
    let mut lines: Vec<&str> = log.lines().collect();
    // The hook runs beside the main process.
    lines[2..].sort_unstable();
    assert_eq!(lines, ["first", "side", "hook", "main"]);
    cluster.delete("ordered").await;
    assert!(
        std::fs::read_to_string(keep.join("log"))
            .unwrap()
            .ends_with("stopped\n")
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_crashes_is_restarted_with_growing_waits() {
    let Some(cluster) = cluster().await else { return };
    let crash = hello(
        "main",
        &[
            "sh",
            "-c",
            "echo attempt; echo because > /dev/termination-log; exit 9",
        ],
    );
    cluster.pod("crashing", one(crash)).await;
    let looping = |pod: &Object| {
        status(pod, "main")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && status(pod, "main")["restartCount"].as_i64() >= Some(2)
    };
    let pod = cluster.until("crashing", looping).await;
    let ended = &status(&pod, "main")["lastState"]["terminated"];
    assert_eq!(
        (&ended["exitCode"], &ended["reason"], &ended["message"]),
        (&json!(9), &json!("Error"), &json!("because\n"))
    );
    assert_eq!(pod.text(&["status", "phase"]), Some("Running"));
    cluster
        .until_event(
            "crashing",
            "BackOff",
            "Back-off restarting failed container main in pod crashing_default(",
        )
        .await;
    let previous = LogRequest {
        previous: true,
        ..LogRequest::default()
    };
    assert_eq!(logs(&cluster, &pod, "main", previous).await, "attempt\n");
    cluster.delete("crashing").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_end_say_how() {
    let Some(cluster) = cluster().await else { return };
    let ends = |policy: &str, code: u32| {
        let container = hello("main", &["sh", "-c", &format!("echo out; exit {code}")]);
        json!({ "containers": [container], "restartPolicy": policy })
    };
    cluster.pod("good", ends("Never", 0)).await;
    cluster.pod("bad", ends("Never", 3)).await;
    let phase = |wanted: &'static str| move |pod: &Object| pod.text(&["status", "phase"]) == Some(wanted);
    let good = cluster.until("good", phase("Succeeded")).await;
    assert_eq!(
        status(&good, "main")["state"]["terminated"]["reason"],
        "Completed"
    );
    let conditions = good.list(&["status", "conditions"]);
    assert!(
        conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["reason"] == "PodCompleted")
    );
    let bad = cluster.until("bad", phase("Failed")).await;
    assert_eq!(status(&bad, "main")["state"]["terminated"]["exitCode"], 3);
    assert_eq!(logs(&cluster, &bad, "main", LogRequest::default()).await, "out\n");
    cluster.delete("good").await;
    cluster.delete("bad").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_container_is_restarted_and_an_unready_one_is_not() {
    let Some(cluster) = cluster().await else { return };
    let probe = |file: &str| json!({ "exec": { "command": ["cat", file] }, "periodSeconds": 1, "failureThreshold": 1 });
    let main = hello(
        "main",
        &["sh", "-c", "touch /tmp/alive; touch /tmp/ready; sleep 600"],
    );
    let mut main = with(main, "readinessProbe", probe("/tmp/ready"));
    main["livenessProbe"] = probe("/tmp/alive");
    cluster
        .pod(
            "watched",
            json!({ "containers": [main], "terminationGracePeriodSeconds": 1 }),
        )
        .await;
    let pod = cluster.until_ready("watched").await;
    exec(&cluster, &pod, "main", &["rm", "/tmp/ready"]).await;
    let pod = cluster
        .until("watched", |pod| condition(pod, "Ready") == "False")
        .await;
    assert_eq!(status(&pod, "main")["restartCount"], 0);
    cluster
        .until_event("watched", "Unhealthy", "Readiness probe failed: cat: /tmp/ready")
        .await;
    exec(&cluster, &pod, "main", &["touch", "/tmp/ready"]).await;
    cluster.until_ready("watched").await;
    exec(&cluster, &pod, "main", &["rm", "/tmp/alive"]).await;
    let pod = cluster
        .until("watched", |pod| status(pod, "main")["restartCount"] == 1)
        .await;
    cluster
        .until_event(
            "watched",
            "Killing",
            "Container main failed liveness probe, will be restarted",
        )
        .await;
    assert_eq!(pod.text(&["status", "phase"]), Some("Running"));
    cluster.until_ready("watched").await;
    cluster.delete("watched").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_comes_as_variables_and_files_and_files_follow_changes() {
    let Some(cluster) = cluster().await else { return };
    let named = |kind: &str, name: &str, data: Value| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "data": data });
    cluster
        .create(
            "configmaps",
            named(
                "ConfigMap",
                "conf",
                json!({ "color": "red", "file.txt": "first" }),
            ),
        )
        .await;
    cluster
        .create("secrets", named("Secret", "pass", json!({ "word": "czNjcmV0" })))
        .await;
    let env = json!([
        { "name": "COLOR", "valueFrom": { "configMapKeyRef": { "name": "conf", "key": "color" } } },
        { "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "pass", "key": "word" } } },
        { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
        { "name": "ALL", "value": "$(COLOR)-$(WORD)" },
    ]);
    let mut main = with(
        hello("main", &["sh", "-c", "echo $ALL $IP $HOSTNAME; sleep 600"]),
        "env",
        env,
    );
    main["volumeMounts"] = json!([
        { "name": "conf", "mountPath": "/conf" },
        { "name": "all", "mountPath": "/all" },
        { "name": "conf", "mountPath": "/one", "subPath": "color" },
    ]);
    let volumes = json!([
        { "name": "conf", "configMap": { "name": "conf" } },
        { "name": "all", "projected": { "sources": [
            { "secret": { "name": "pass", "items": [{ "key": "word", "path": "deep/word", "mode": 0o400 }] } },
            { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.name" } }] } },
        ] } },
    ]);
    let spec = json!({ "containers": [main], "volumes": volumes, "terminationGracePeriodSeconds": 1 });
    cluster.pod("configured", spec).await;
    let pod = cluster.until_ready("configured").await;
    let first = LogRequest {
        follow: true,
        limit_bytes: Some(32),
        ..LogRequest::default()
    };
    assert_eq!(
        logs(&cluster, &pod, "main", first).await,
        "red-s3cret 127.0.0.1 configured\n"
    );
    for (path, expected) in [
        ("/conf/file.txt", "first"),
        ("/all/deep/word", "s3cret"),
        ("/all/labels", "configured"),
        ("/one", "red"),
    ] {
        assert_eq!(
            exec(&cluster, &pod, "main", &["cat", path]).await,
            (ExecExit::Code(0), expected.to_owned())
        );
    }
    assert!(
        exec(&cluster, &pod, "main", &["touch", "/conf/new"])
            .await
            .1
            .contains("Read-only file system")
    );
    let patch = Patch::Merge(json!({ "data": { "file.txt": "second" } }));
    let target = Target::namespaced("v1", "configmaps", "default", "conf");
    cluster
        .api
        .patch(&target, patch, &Default::default())
        .await
        .unwrap();
    let changed =
        async { while exec(&cluster, &pod, "main", &["cat", "/conf/file.txt"]).await.1 != "second" {} };
    tokio::time::timeout(SOON, changed)
        .await
        .expect("the file follows the config map");
    cluster.delete("configured").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn err_what_is_missing_is_told_and_mended_when_it_comes() {
    let Some(cluster) = cluster().await else { return };
    let env = json!([{ "name": "X", "valueFrom": { "configMapKeyRef": { "name": "late", "key": "x" } } }]);
    cluster
        .pod(
            "no-config",
            one(with(hello("main", &["sleep", "600"]), "env", env)),
        )
        .await;
    let waiting = |reason: &'static str| {
        move |pod: &Object| status(pod, "main")["state"]["waiting"]["reason"] == reason
    };
    let pod = cluster
        .until("no-config", waiting("CreateContainerConfigError"))
        .await;
    assert_eq!(
        status(&pod, "main")["state"]["waiting"]["message"],
        "configmap \"late\" not found"
    );
    cluster
        .until_event("no-config", "Failed", "Error: configmap \"late\" not found")
        .await;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "late" }, "data": { "x": "1" } });
    cluster.create("configmaps", map).await;
    cluster.until_ready("no-config").await;

    let mut volume = one(hello("main", &["sleep", "600"]));
    volume["volumes"] = json!([{ "name": "v", "secret": { "secretName": "none" } }]);
    cluster.pod("no-volume", volume).await;
    cluster
        .until_event(
            "no-volume",
            "FailedMount",
            "MountVolume.SetUp failed for volume \"v\" : secret \"none\" not found",
        )
        .await;

    let never = with(
        json!({ "name": "main", "image": "nowhere/none:1" }),
        "imagePullPolicy",
        json!("Never"),
    );
    cluster.pod("no-image", one(never)).await;
    cluster.until("no-image", waiting("ErrImageNeverPull")).await;
    cluster
        .until_event("no-image", "Failed", "is not present with pull policy of Never")
        .await;

    cluster
        .pod("no-name", one(json!({ "name": "main", "image": "Not A Name" })))
        .await;
    cluster.until("no-name", waiting("InvalidImageName")).await;

    cluster
        .pod(
            "no-program",
            json!({ "containers": [hello("main", &["nope"])], "restartPolicy": "Never" }),
        )
        .await;
    let pod = cluster
        .until("no-program", |pod| {
            pod.text(&["status", "phase"]) == Some("Failed")
        })
        .await;
    let ended = &status(&pod, "main")["state"]["terminated"];
    assert_eq!(
        (&ended["reason"], &ended["exitCode"]),
        (&json!("StartError"), &json!(128))
    );
    assert!(
        ended["message"]
            .as_str()
            .unwrap()
            .contains("exec: \"nope\": executable file not found in $PATH"),
        "{ended}"
    );

    let root = with(
        hello("main", &["sleep", "600"]),
        "securityContext",
        json!({ "runAsNonRoot": true }),
    );
    cluster.pod("no-root", one(root)).await;
    let pod = cluster
        .until("no-root", waiting("CreateContainerConfigError"))
        .await;
    let message = status(&pod, "main")["state"]["waiting"]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.starts_with("container has runAsNonRoot and image will run as root (pod: \"no-root_default("),
        "{message}"
    );
    for name in [
        "no-config",
        "no-volume",
        "no-image",
        "no-name",
        "no-program",
        "no-root",
    ] {
        cluster.delete(name).await;
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_to_the_end_and_shown_in_part() {
    let Some(cluster) = cluster().await else { return };
    let main = hello("main", &["sh", "-c", "echo one; echo two; sleep 0.3; echo three"]);
    cluster
        .pod(
            "talking",
            json!({ "containers": [main], "restartPolicy": "Never" }),
        )
        .await;
    let pod = cluster
        .until("talking", |pod| pod.text(&["status", "phase"]) == Some("Running"))
        .await;
    let follow = LogRequest {
        follow: true,
        ..LogRequest::default()
    };
    assert_eq!(logs(&cluster, &pod, "main", follow).await, "one\ntwo\nthree\n");
    let last = LogRequest {
        tail_lines: Some(1),
        timestamps: true,
        ..LogRequest::default()
    };
    let line = logs(&cluster, &pod, "main", last).await;
    let (time, text) = line.split_once(' ').unwrap();
    assert!(
        time.parse::<jiff::Timestamp>().is_ok() && text == "three\n",
        "{line}"
    );
    let missing = cluster
        .node
        .logs(&container_of(&pod, "other"), &LogRequest::default())
        .await
        .err()
        .unwrap();
    assert_eq!(
        (missing.code, missing.message.contains("is waiting to start")),
        (400, true)
    );
    cluster.delete("talking").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_takes_over_running_pods_and_removes_what_belongs_to_nobody() {
    let Some(cluster) = cluster().await else { return };
    for name in ["kept", "dropped"] {
        let probe = json!({ "tcpSocket": { "port": 80 }, "periodSeconds": 1 });
        cluster
            .pod(
                name,
                one(with(hello("main", &["hello"]), "readinessProbe", probe)),
            )
            .await;
    }
    let before = cluster.until_ready("kept").await;
    let dropped = cluster.until_ready("dropped").await;
    let Cluster { lab, api, node } = cluster;
    node.stop().await;
    drop(node);
    // While no agent runs, one pod is deleted for good.
    let target = Target::namespaced("v1", "pods", "default", "dropped");
    let at_once = cluster_client::DeleteOptions {
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    api.delete(&target, &at_once).await.unwrap();
    let node = start_node(&lab, api.clone()).await;
    let cluster = Cluster { lab, api, node };
    assert!(
        !cluster
            .lab
            .leaks()
            .iter()
            .any(|leak| leak.contains(dropped.uid())),
        "{:#?}",
        cluster.lab.leaks()
    );
    let after = cluster.until_ready("kept").await;
    assert_eq!(
        status(&after, "main"),
        status(&before, "main"),
        "it was not restarted"
    );
    assert_eq!(
        after.at(&["status", "conditions"]),
        before.at(&["status", "conditions"])
    );
    assert_eq!(
        exec(&cluster, &after, "main", &["echo", "still"]).await.1,
        "still\n"
    );
    let text = logs(&cluster, &after, "main", LogRequest::default()).await;
    assert!(text.contains("listens on port 80"), "{text}");
    // Its end is seen, and it is restarted.
    exec(&cluster, &after, "main", &["sh", "-c", "kill 1"]).await;
    cluster.delete("kept").await;
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_finds_what_ended_meanwhile() {
    let Some(cluster) = cluster().await else { return };
    let main = hello("main", &["sh", "-c", "cat /wait/fifo; exit 5"]);
    let wait = cluster.lab.dir.path().join("wait");
    std::fs::create_dir(&wait).unwrap();
    nix::unistd::mkfifo(&wait.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut spec = one(with(
        main,
        "volumeMounts",
        json!([{ "name": "wait", "mountPath": "/wait" }]),
    ));
    spec["volumes"] = json!([{ "name": "wait", "hostPath": { "path": wait } }]);
    spec["restartPolicy"] = "Never".into();
    cluster.pod("ending", spec).await;
    cluster.until_ready("ending").await;
    let Cluster { lab, api, node } = cluster;
    node.stop().await;
    drop(node);
    let fifo = wait.join("fifo");
    tokio::task::spawn_blocking(move || std::fs::write(fifo, "now\n"))
        .await
        .unwrap()
        .unwrap();
    let node = start_node(&lab, api.clone()).await;
    let cluster = Cluster { lab, api, node };
    let pod = cluster
        .until("ending", |pod| pod.text(&["status", "phase"]) == Some("Failed"))
        .await;
    assert_eq!(status(&pod, "main")["state"]["terminated"]["exitCode"], 5);
    assert_eq!(status(&pod, "main")["restartCount"], 0);
    cluster.delete("ending").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_change_is_not_written() {
    let Some(cluster) = cluster().await else { return };
    cluster.pod("idle", one(hello("main", &["hello"]))).await;
    let before = cluster.until_ready("idle").await;
    // Others take their time meanwhile.
    for name in ["one", "two"] {
        cluster
            .pod(
                name,
                json!({ "containers": [hello("main", &["true"])], "restartPolicy": "Never" }),
            )
            .await;
        cluster
            .until(name, |pod| pod.text(&["status", "phase"]) == Some("Succeeded"))
            .await;
    }
    let target = Target::namespaced("v1", "pods", "default", "idle");
    let after = cluster.api.get(&target).await.unwrap();
    assert_eq!(after.resource_version(), before.resource_version());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_come_up_together() {
    let Some(cluster) = cluster().await else { return };
    let began = Instant::now();
    let names: Vec<String> = (0..20).map(|number| format!("pod-{number}")).collect();
    for name in &names {
        cluster.pod(name, one(hello("main", &["hello"]))).await;
    }
    futures::future::join_all(names.iter().map(|name| cluster.until_ready(name))).await;
    println!("20 pods ready after {:?}", began.elapsed());
    let began = Instant::now();
    futures::future::join_all(names.iter().map(|name| cluster.delete(name))).await;
    println!("20 pods gone after {:?}", began.elapsed());
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_stop_is_killed_when_its_time_is_over() {
    let Some(cluster) = cluster().await else { return };
    // A shell of ours that waits for a child does not pass the signal on; the child has its own process.
    let main = with(
        hello("main", &["sh", "-c", "sleep 600"]),
        "lifecycle",
        json!({
            "preStop": { "exec": { "command": ["sleep", "600"] } },
        }),
    );
    cluster
        .pod(
            "stubborn",
            json!({ "containers": [main], "terminationGracePeriodSeconds": 1 }),
        )
        .await;
    cluster.until_ready("stubborn").await;
    let began = Instant::now();
    cluster.delete("stubborn").await;
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    cluster.until_event("stubborn", "FailedPreStopHook", "").await;
    cluster.finish().await;
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_converge_and_nothing_leaks_after_kills_at_random() {
    let Some(cluster) = cluster().await else { return };
    let names: Vec<String> = (0..4).map(|number| format!("pod-{number}")).collect();
    for name in &names {
        let spec = json!({ "containers": [hello("main", &["hello"])], "terminationGracePeriodSeconds": 1 });
        cluster.pod(name, spec).await;
    }
    futures::future::join_all(names.iter().map(|name| cluster.until_ready(name))).await;
    let Cluster { lab, api, mut node } = cluster;
    let mut dice = Dice(7);
    for _ in 0..24 {
        let running: Vec<String> = std::fs::read_dir(lab.config().root.join("containers"))
            .unwrap()
            .map(|entry| entry.unwrap().path().display().to_string())
            .filter(|folder| !std::path::Path::new(&format!("{folder}/exit.json")).exists())
            .collect();
        match (dice.below(3), running.get(dice.below(running.len().max(1)))) {
            (0, _) => {
                // The agent goes and comes back; what it was doing stays as it was.
                node.stop().await;
                node = start_node(&lab, api.clone()).await;
            }
            (what, Some(folder)) => {
                let pid = if what == 1 {
                    std::fs::read_to_string(format!("{folder}/shim.lock")).ok()
                } else {
                    let started = std::fs::read_to_string(format!("{folder}/started.json")).ok();
                    let started = started.and_then(|text| serde_json::from_str::<Value>(&text).ok());
                    started.map(|started| started["pid"].to_string())
                };
                let pid = pid
                    .and_then(|pid| pid.trim().parse().ok())
                    .and_then(rustix::process::Pid::from_raw);
                if let Some(pid) = pid {
                    // It may have ended a moment ago.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            (_, None) => {}
        }
    }
    let cluster = Cluster { lab, api, node };
    // Each is deleted and made anew once, so that what is seen as ready is ready now.
    for name in &names {
        cluster.delete(name).await;
        cluster.pod(name, one(hello("main", &["hello"]))).await;
    }
    futures::future::join_all(names.iter().map(|name| cluster.until_ready(name))).await;
    futures::future::join_all(names.iter().map(|name| cluster.delete(name))).await;
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_container_looks_into_a_pod_that_runs() {
    let Some(cluster) = cluster().await else { return };
    let pod = json!({ "containers": [hello("web", &["/bin/hello"]), hello("side", &["sleep", "infinity"])] });
    cluster.pod("pod", pod).await;
    cluster.until_ready("pod").await;
    let target = Target::namespaced("v1", "pods", "default", "pod").subresource("ephemeralcontainers");
    let add = async |container: Value| {
        let patch = Patch::Strategic(json!({ "spec": { "ephemeralContainers": [container] } }));
        cluster.api.patch(&target, patch, &Default::default()).await
    };
    let debugger = with(
        hello("debug", &["sh", "-c", "ls /proc"]),
        "targetContainerName",
        json!("side"),
    );
    add(debugger).await.unwrap();
    let state = |pod: &Object, name: &str| {
        let mut statuses = pod.list(&["status", "ephemeralContainerStatuses"]).iter();
        let found = statuses.find(|one| one["name"] == name);
        found.map_or(Value::Null, |one| one["state"].clone())
    };
    let pod = cluster
        .until("pod", |pod| state(pod, "debug")["terminated"]["exitCode"] == 0)
        .await;
    let said = logs(&cluster, &pod, "debug", LogRequest::default()).await;
    let processes = said.split_whitespace().filter(|name| name.parse::<u32>().is_ok());
    assert_eq!(processes.count(), 2, "{said}");

    // One more, for commands; what is there stays as it is.
    add(hello("shell", &["sleep", "infinity"])).await.unwrap();
    let pod = cluster
        .until("pod", |pod| state(pod, "shell")["running"].is_object())
        .await;
    assert_eq!(
        exec(&cluster, &pod, "shell", &["echo", "inside"]).await.1,
        "inside\n"
    );
    let refused = add(json!({ "name": "shell", "image": "tug/hello:2.0" }))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("existing ephemeral containers \"shell\" may not be changed"),
        "{refused}"
    );
    assert_eq!(condition(&pod, "Ready"), "True");

    // The agent finds them again, and starts none of them a second time.
    cluster.node.stop().await;
    let node = start_node(&cluster.lab, cluster.api.clone()).await;
    let cluster = Cluster { node, ..cluster };
    let pod = cluster.until_ready("pod").await;
    assert_eq!(
        exec(&cluster, &pod, "shell", &["echo", "again"]).await.1,
        "again\n"
    );
    assert!(
        state(&pod, "debug")["terminated"].is_object(),
        "{:#}",
        state(&pod, "debug")
    );
    cluster.delete("pod").await;
    cluster.finish().await;
}
