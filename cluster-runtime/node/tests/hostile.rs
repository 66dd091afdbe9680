//! Pods that cannot be what they ask for: each says why in its status or in an event, and the node lives on.

mod support;

use std::os::unix::fs::symlink;

use cluster_client::{ExecExit, ExecRequest, NodeStreams, PodContainer};
use serde_json::{Value, json};
use support::Cluster;
use support::archive::{self, Item, Parts, file, gzip, layer, parts};
use support::registry::{MANIFEST, Registry};

async fn cluster() -> Option<Cluster> {
    if !support::is_root() {
        return None;
    }
    // Also without TLS the client of registries asks for a provider when it is made.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Some(Cluster::start().await)
}

fn hello(args: &[&str]) -> Value {
    json!({ "name": "main", "image": "tug/hello:1.0", "command": args })
}

fn image_of(items: &[Item]) -> Parts {
    let plain = layer(items);
    parts(gzip(&plain), &plain, &json!({ "Cmd": ["x"] }))
}

fn reason(pod: &cluster_objects::Object) -> Value {
    let state = pod
        .list(&["status", "containerStatuses"])
        .first()
        .map(|status| &status["state"]);
    let reasons = state.map(|state| [&state["waiting"]["reason"], &state["terminated"]["reason"]]);
    let known = reasons.into_iter().flatten().find(|reason| !reason.is_null());
    known.cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn err_images_of_strangers() {
    let Some(cluster) = cluster().await else { return };
    let good = image_of(&[file("motd", "pulled\n")]);
    let lying = {
        let mut registry = Registry::of(&good);
        let mut changed = good.layer.clone();
        *changed.last_mut().unwrap() ^= 1;
        registry.blob(&good.layer, &changed);
        registry
    };
    let torn = {
        let mut registry = Registry::of(&good);
        registry.manifest("latest", MANIFEST, &good.manifest[..10]);
        registry
    };
    let of = |items: &[Item]| Registry::of(&image_of(items));
    for (name, registry, why) in [
        ("lies", lying, "igest"),
        ("torn", torn, "manifest"),
        ("empty", Registry::default(), "manifest unknown"),
        (
            "outside",
            of(&[file("../outside", "x")]),
            "leads out of the layer",
        ),
        (
            "absolute",
            of(&[archive::link("d", "/nowhere"), file("d/x", "1")]),
            "cannot open the folder of",
        ),
        ("whiteout", of(&[file(".wh...", "")]), "a whiteout of no name"),
    ] {
        let (address, _) = registry.serve().await;
        let container = json!({ "name": "main", "image": format!("{address}/app") });
        cluster.pod(name, json!({ "containers": [container] })).await;
        cluster.until(name, |pod| reason(pod) == "ErrImagePull").await;
        cluster.until_event(name, "Failed", why).await;
        cluster.delete(name).await;
    }
    // One that never answers keeps nobody else waiting, and its pod can go.
    let silent = Registry {
        hangs: true,
        ..Registry::default()
    };
    let (address, _) = silent.serve().await;
    let container = json!({ "name": "main", "image": format!("{address}/app") });
    cluster.pod("silent", json!({ "containers": [container] })).await;
    cluster.until_event("silent", "Pulling", "Pulling image").await;
    cluster
        .pod("good", json!({ "containers": [hello(&["sleep", "600"])] }))
        .await;
    cluster.until_ready("good").await;
    cluster.delete("silent").await;
    cluster.delete("good").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn err_pods_that_ask_for_what_cannot_be() {
    let Some(cluster) = cluster().await else { return };
    let with = |key: &str, value: Value| {
        let mut spec = json!({ "containers": [hello(&["sleep", "600"])] });
        spec[key] = value;
        spec
    };
    let volume = |source: Value| {
        let mut source = source;
        source["name"] = "v".into();
        with("volumes", json!([source]))
    };
    // What says so is an event of the pod.
    for (name, spec, event, why) in [
        (
            "runtime",
            with("runtimeClassName", json!("gvisor")),
            "FailedCreatePodSandBox",
            "no container runtime `gvisor`",
        ),
        (
            "sysctl",
            with(
                "securityContext",
                json!({ "sysctls": [{ "name": "kernel.hostname", "value": "x" }] }),
            ),
            "FailedCreatePodSandBox",
            "is the machine's",
        ),
        (
            "long",
            {
                let mut spec = with("setHostnameAsFQDN", json!(true));
                spec["subdomain"] = "s".repeat(60).into();
                spec
            },
            "FailedCreatePodSandBox",
            "is too long (64 characters is the max",
        ),
        (
            "secret",
            volume(json!({ "secret": { "secretName": "none" } })),
            "FailedMount",
            "secret \"none\" not found",
        ),
        (
            "claim",
            volume(json!({ "persistentVolumeClaim": { "claimName": "none" } })),
            "FailedMount",
            "persistentvolumeclaim \"none\" not found",
        ),
        (
            "path",
            volume(json!({ "hostPath": { "path": "/no/such", "type": "Directory" } })),
            "FailedMount",
            "/no/such",
        ),
        (
            "odd",
            volume(json!({ "iscsi": { "targetPortal": "10.0.0.1", "iqn": "iqn.a:b", "lun": 0 } })),
            "FailedMount",
            "volumes of the type `iscsi` are not supported",
        ),
    ] {
        cluster.pod(name, spec).await;
        cluster.until_event(name, event, why).await;
        cluster.delete(name).await;
    }
    // What says so is the status of the container.
    let shared = cluster.lab.dir.path().join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    symlink("../../etc", shared.join("escape")).unwrap();
    let escaping = json!({
        "containers": [{
            "name": "main", "image": "tug/hello:1.0", "command": ["sleep", "600"],
            "volumeMounts": [{ "name": "v", "mountPath": "/v", "subPath": "escape" }],
        }],
        "volumes": [{ "name": "v", "hostPath": { "path": shared } }],
    });
    let profile = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "none.json" } });
    let profile_above =
        json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "../up.json" } });
    for (name, spec, expected, why) in [
        ("escape", escaping, "StartError", "cannot mount"),
        (
            "profile",
            with("securityContext", profile),
            "CreateContainerConfigError",
            "cannot load seccomp profile",
        ),
        (
            "above",
            with("securityContext", profile_above),
            "CreateContainerConfigError",
            "not below the folder",
        ),
    ] {
        cluster.pod(name, spec).await;
        cluster.until_event(name, "Failed", why).await;
        cluster
            .until(name, |pod| {
                let before = pod.list(&["status", "containerStatuses"]).first();
                let before = before.map(|status| &status["lastState"]["terminated"]["reason"]);
                reason(pod) == expected || before.is_some_and(|before| before == expected)
            })
            .await;
        cluster.delete(name).await;
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn err_probes_that_never_answer() {
    let Some(cluster) = cluster().await else { return };
    let probe = json!({ "exec": { "command": ["sleep", "600"] }, "timeoutSeconds": 1, "periodSeconds": 1 });
    let mut container = hello(&["sleep", "600"]);
    container["readinessProbe"] = probe;
    cluster.pod("silent", json!({ "containers": [container] })).await;
    cluster
        .until_event("silent", "Unhealthy", "timed out after 1s")
        .await;
    cluster.delete("silent").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_outgrows_its_limit_evicts_its_pod() {
    let Some(cluster) = cluster().await else { return };
    let mut container = hello(&["sh", "-c", "cat /bin/hello > /data/big; sleep 600"]);
    container["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
    let spec = json!({
        "containers": [container], "terminationGracePeriodSeconds": 1,
        "volumes": [{ "name": "data", "emptyDir": { "sizeLimit": "64Ki" } }],
    });
    cluster.pod("big", spec).await;
    let pod = cluster
        .until("big", |pod| pod.text(&["status", "phase"]) == Some("Failed"))
        .await;
    assert_eq!(pod.text(&["status", "reason"]), Some("Evicted"));
    let message = pod.text(&["status", "message"]).unwrap();
    assert!(
        message.starts_with("Usage of EmptyDir volume \"data\" exceeds the limit \"64Ki\""),
        "{message}"
    );
    cluster.delete("big").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_of_an_image_decides_who_is_ready() {
    let Some(cluster) = cluster().await else { return };
    let program = std::fs::read(cluster.lab.hello().layers[0].join("bin/hello")).unwrap();
    let items = [
        archive::folder("bin/"),
        Item {
            mode: 0o755,
            content: program,
            ..file("bin/hello", "")
        },
    ];
    let plain = layer(&items);
    let check =
        json!({ "Test": ["CMD", "/bin/hello", "cat", "/ready"], "Interval": 1_000_000_000, "Retries": 1 });
    let process = json!({ "Cmd": ["/bin/hello", "sleep", "infinity"], "Healthcheck": check });
    let image = parts(gzip(&plain), &plain, &process);
    let archive = archive::tar(&archive::oci(&image, "health:1"));
    cluster.lab.store.load(archive.as_slice()).unwrap();
    let container = json!({ "name": "main", "image": "health:1" });
    cluster.pod("web", json!({ "containers": [container] })).await;
    cluster
        .until_event("web", "Unhealthy", "Readiness probe failed")
        .await;
    let pod = cluster
        .until("web", |pod| pod.text(&["status", "phase"]) == Some("Running"))
        .await;
    assert_eq!(pod.list(&["status", "containerStatuses"])[0]["ready"], false);
    let container = PodContainer {
        namespace: "default".into(),
        pod: "web".into(),
        uid: pod.uid().into(),
        container: "main".into(),
    };
    let touch = ExecRequest {
        command: ["/bin/hello", "touch", "/ready"].map(str::to_owned).to_vec(),
        ..ExecRequest::default()
    };
    let session = cluster.node.exec(&container, &touch).await.unwrap();
    assert_eq!(session.exit.await.unwrap(), ExecExit::Code(0));
    cluster.until_ready("web").await;
    cluster.delete("web").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn err_bombs_harm_their_pod_alone() {
    let Some(cluster) = cluster().await else { return };
    if cluster.lab.busybox().is_none() {
        return;
    }
    cluster
        .pod("quiet", json!({ "containers": [hello(&["sleep", "600"])] }))
        .await;
    cluster.until_ready("quiet").await;
    let bombs = [
        ("forks", "while :; do sleep 600 & done", "can't fork"),
        ("memory", "cat /dev/zero > /data/file", "No space left on device"),
        (
            "words",
            "head -c 20000000 /dev/zero; echo; echo out of breath; exit 1",
            "out of breath",
        ),
    ];
    for (name, script, last_words) in bombs {
        let container = json!({
            "name": "main", "image": "busybox:test", "command": ["sh", "-c", script],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        });
        let volume = json!({ "name": "data", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } });
        let spec = json!({ "containers": [container], "volumes": [volume], "restartPolicy": "Never" });
        cluster.pod(name, spec).await;
        let pod = cluster
            .until(name, |pod| pod.text(&["status", "phase"]) == Some("Failed"))
            .await;
        let ended = &pod.list(&["status", "containerStatuses"])[0]["state"]["terminated"];
        let message = ended["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(last_words),
            "{name}: {:?}",
            message.trim_matches(char::from(0))
        );
        cluster.delete(name).await;
    }
    let quiet = cluster.until_ready("quiet").await;
    assert_eq!(quiet.list(&["status", "containerStatuses"])[0]["restartCount"], 0);
    cluster.delete("quiet").await;
    cluster.finish().await;
}
