//! Pods that take more of the node than they may, or than there is: who goes says why, and the others live on.

mod support;

use std::time::Duration;

use cluster_client::Target;
use cluster_node::EvictionThresholds;
use cluster_objects::Object;
use serde_json::{Value, json};
use support::archive::{self, gzip, layer, parts};
use support::{Cluster, Lab, condition};

const MIB: usize = 1 << 20;

/// A node that looks often, with these thresholds.
async fn cluster(lab: Lab, thresholds: &str) -> Cluster {
    let eviction: EvictionThresholds = thresholds.parse().unwrap();
    let start = Cluster::start_with(lab, |config| {
        config.eviction = eviction;
        config.housekeeping = Duration::from_millis(200);
        config.pressure_stays = Duration::from_secs(1);
    });
    start.await
}

/// A container of busybox that does something and then waits.
fn shell(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": "busybox:test", "command": ["sh", "-c", format!("trap exit TERM; {script}; sleep 600 & wait")] })
}

fn with_limit(mut container: Value, limit: &str) -> Value {
    container["resources"] = json!({ "limits": { "ephemeral-storage": limit } });
    container
}

fn message_of(pod: &Object) -> &str {
    assert_eq!(pod.text(&["status", "reason"]), Some("Evicted"), "{pod:?}");
    pod.text(&["status", "message"]).unwrap()
}

async fn until_failed(cluster: &Cluster, name: &str) -> std::sync::Arc<Object> {
    cluster
        .until(name, |pod| pod.text(&["status", "phase"]) == Some("Failed"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_holds_more_than_it_may_is_evicted() {
    if !support::is_root() {
        return;
    }
    let cluster = cluster(Lab::new(), "").await;
    if cluster.lab.busybox().is_none() {
        return;
    }
    let write = "head -c 3000000 /dev/zero > ";
    let noise = "head -c 3000000 /dev/zero | cat";
    let shared = |container: Value| {
        let mut container = container;
        container["volumeMounts"] = json!([{ "name": "cache", "mountPath": "/cache" }]);
        json!({ "containers": [container], "volumes": [{ "name": "cache", "emptyDir": {} }] })
    };
    let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    let own = "Container main exceeded its local ephemeral storage limit \"1Mi\". ";
    let cases = [
        (
            "layer",
            json!({ "containers": [with_limit(shell("main", &format!("{write} /big")), "1Mi")] }),
            whole,
        ),
        (
            "log",
            json!({ "containers": [with_limit(shell("main", noise), "1Mi")] }),
            whole,
        ),
        (
            "volume",
            shared(with_limit(shell("main", &format!("{write} /cache/big")), "1Mi")),
            whole,
        ),
        (
            "one-of-two",
            json!({ "containers": [
                with_limit(shell("main", &format!("{write} /big")), "1Mi"),
                with_limit(shell("other", ":"), "100Mi"),
            ] }),
            own,
        ),
    ];
    cluster
        .pod(
            "modest",
            json!({ "containers": [with_limit(shell("main", "echo a > /small"), "1Mi")] }),
        )
        .await;
    for (name, spec, expected) in cases {
        cluster.pod(name, spec).await;
        let pod = until_failed(&cluster, name).await;
        assert_eq!(message_of(&pod), expected, "{name}");
        assert_eq!(
            condition(&pod, "DisruptionTarget"),
            "",
            "it went for what it did itself"
        );
        cluster.until_event(name, "Evicted", expected).await;
        cluster.delete(name).await;
    }
    let modest = cluster.until_ready("modest").await;
    assert_eq!(
        modest.list(&["status", "containerStatuses"])[0]["restartCount"],
        0
    );
    cluster.delete("modest").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fills_the_disk_goes_and_leaves_its_room_to_others() {
    if !support::is_root() {
        return;
    }
    let cluster = cluster(Lab::on_small_disk(64), "nodefs.available<30%").await;
    if cluster.lab.busybox().is_none() {
        return;
    }
    cluster
        .pod(
            "quiet",
            json!({ "containers": [shell("main", "head -c 1000000 /dev/zero > /some")] }),
        )
        .await;
    cluster.until_ready("quiet").await;
    let node = cluster
        .until_node(|node| condition(node, "DiskPressure") == "False")
        .await;
    assert_eq!(
        node.text(&["status", "capacity", "ephemeral-storage"]),
        Some("64Mi")
    );
    assert_eq!(
        node.text(&["status", "allocatable", "ephemeral-storage"]),
        Some("45875Ki")
    );

    // Into its own files, until there is no room at all; into a volume, beyond the threshold.
    let volume = json!([{ "name": "cache", "emptyDir": {} }]);
    let mounts = json!([{ "name": "cache", "mountPath": "/cache" }]);
    for (name, script) in [
        ("layer", "cat /dev/zero > /big"),
        ("volume", "head -c 50000000 /dev/zero > /cache/big"),
    ] {
        let mut container = shell("main", script);
        container["volumeMounts"] = mounts.clone();
        cluster
            .pod(name, json!({ "containers": [container], "volumes": volume }))
            .await;
        let pressed = cluster
            .until_node(|node| condition(node, "DiskPressure") == "True")
            .await;
        let told = pressed.list(&["status", "conditions"]).iter();
        let mut told = told.filter(|condition| condition["type"] == "DiskPressure");
        assert_eq!(told.next().unwrap()["reason"], "KubeletHasDiskPressure");
        let pod = until_failed(&cluster, name).await;
        let message = message_of(&pod).to_owned();
        let begins =
            "The node was low on resource: ephemeral-storage. Threshold quantity: 20132659, available: ";
        assert!(message.starts_with(begins), "{message}");
        let names_it = message.contains("Container main was using ")
            && message.ends_with(", request is 0, has larger consumption of ephemeral-storage. ");
        assert_eq!(names_it, name == "layer", "{message}");
        assert_eq!(condition(&pod, "DisruptionTarget"), "True");
        cluster.until_event(name, "Evicted", &message).await;
        // The room comes back before anybody deletes the pod.
        cluster
            .until_node(|node| condition(node, "DiskPressure") == "False")
            .await;
        cluster
            .pod("next", json!({ "containers": [shell("main", ":")] }))
            .await;
        cluster.until_ready("next").await;
        cluster.delete("next").await;
        cluster.delete(name).await;
    }
    for reason in [
        "EvictionThresholdMet",
        "NodeHasDiskPressure",
        "NodeHasNoDiskPressure",
    ] {
        cluster.until_event("n1", reason, "").await;
    }
    let quiet = cluster.until_ready("quiet").await;
    assert_eq!(quiet.list(&["status", "containerStatuses"])[0]["restartCount"], 0);
    cluster.delete("quiet").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_nobody_uses_go_before_pods() {
    if !support::is_root() {
        return;
    }
    let cluster = cluster(Lab::on_small_disk(64), "nodefs.available<30%").await;
    cluster
        .pod(
            "web",
            json!({ "containers": [{ "name": "main", "image": "tug/hello:1.0" }] }),
        )
        .await;
    cluster.until_ready("web").await;
    // Below the threshold with the image, above it without.
    let text: String = std::iter::repeat_n('x', 20 * MIB).collect();
    let plain = layer(&[archive::file("big", text.leak())]);
    let image = parts(gzip(&plain), &plain, &json!({ "Cmd": ["x"] }));
    let archive = archive::tar(&archive::oci(&image, "big:1"));
    cluster.lab.store.load(archive.as_slice()).unwrap();
    assert!(cluster.lab.store.resolve("big:1").is_ok());
    std::fs::write(cluster.lab.dir.path().join("ballast"), vec![1; 25 * MIB]).unwrap();
    cluster
        .until_event(
            "n1",
            "EvictionThresholdMet",
            "Attempting to reclaim ephemeral-storage",
        )
        .await;
    cluster.until_event("n1", "NodeHasNoDiskPressure", "").await;
    assert!(
        cluster.lab.store.resolve("big:1").is_err(),
        "the image is still there"
    );
    let web = cluster.until_ready("web").await;
    assert_eq!(condition(&web, "DisruptionTarget"), "");
    cluster.delete("web").await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_memory_lets_all_go_but_the_systems_own() {
    if !support::is_root() {
        return;
    }
    // No machine has all of its memory left.
    let cluster = cluster(Lab::new(), "memory.available<100%").await;
    cluster
        .until_node(|node| condition(node, "MemoryPressure") == "True")
        .await;
    let hello = || json!({ "name": "main", "image": "tug/hello:1.0" });
    let mut asking = hello();
    asking["resources"] = json!({ "requests": { "memory": "1Ki" } });
    let of_class =
        |container: Value, class: &str| json!({ "containers": [container], "priorityClassName": class });
    cluster
        .pod("critical", of_class(hello(), "system-node-critical"))
        .await;
    cluster.until_ready("critical").await;

    cluster.pod("none", json!({ "containers": [hello()] })).await;
    let refused = until_failed(&cluster, "none").await;
    assert_eq!(message_of(&refused), "The node had condition: [MemoryPressure]. ");
    assert_eq!(
        refused.at(&["status", "containerStatuses", "0", "containerID"]),
        None
    );

    cluster.pod("asking", json!({ "containers": [asking] })).await;
    let evicted = until_failed(&cluster, "asking").await;
    let message = message_of(&evicted);
    let begins = "The node was low on resource: memory. Threshold quantity: ";
    assert!(message.starts_with(begins), "{message}");
    cluster
        .until_event("n1", "EvictionThresholdMet", "Attempting to reclaim memory")
        .await;

    let critical = cluster.until_ready("critical").await;
    assert_eq!(condition(&critical, "DisruptionTarget"), "");
    let target = Target::cluster_wide("v1", "nodes", "n1");
    let node = cluster.api.get(&target).await.unwrap();
    assert_eq!(node.text(&["status", "allocatable", "memory"]), Some("0"));
    for name in ["critical", "none", "asking"] {
        cluster.delete(name).await;
    }
    cluster.finish().await;
}
