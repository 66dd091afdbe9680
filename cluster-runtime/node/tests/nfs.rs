//! Volumes on NFS servers. What a kernel without NFS says is shown everywhere; a mount needs a kernel with it, and an
//! export that `TUG_TEST_NFS=SERVER:/PATH` names and that this machine may write to as root.

mod support;

use cluster_client::{Collection, ExecExit, ExecRequest, NodeStreams, PodContainer};
use serde_json::{Value, json};
use support::Cluster;

fn spec(volume: &Value) -> Value {
    let container = json!({
        "name": "main", "image": "tug/hello:1.0", "command": ["sleep", "600"],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
    });
    let mut volume = volume.clone();
    volume["name"] = "data".into();
    json!({ "containers": [container], "volumes": [volume] })
}

#[tokio::test(flavor = "multi_thread")]
async fn err_a_volume_that_cannot_be_mounted_says_why() {
    if !support::is_root() {
        return;
    }
    let cluster = Cluster::start().await;
    let nfs = json!({ "server": "127.0.0.1", "path": "/nowhere" });
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "far" },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany"], "mountOptions": ["port=1"],
            "nfs": nfs.clone(), "storageClassName": "",
        },
    });
    let volume = cluster_objects::Object::from_value(volume).unwrap();
    let volumes = Collection::all("v1", "persistentvolumes");
    cluster
        .api
        .create(&volumes, volume, &Default::default())
        .await
        .unwrap();
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "far" },
        "spec": {
            "volumeName": "far", "storageClassName": "", "accessModes": ["ReadWriteMany"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    cluster.create("persistentvolumeclaims", claim).await;
    let kinds = [
        ("plain", json!({ "nfs": nfs }), "127.0.0.1:2049"),
        (
            "claimed",
            json!({ "persistentVolumeClaim": { "claimName": "far" } }),
            "127.0.0.1:1",
        ),
    ];
    for (name, volume, address) in kinds {
        cluster.pod(name, spec(&volume)).await;
        let why = if known.contains("nfs") {
            format!("cannot reach the NFS server {address}")
        } else {
            "this kernel has no NFS client: load its module `nfs`".to_owned()
        };
        cluster.until_event(name, "FailedMount", &why).await;
        cluster.delete(name).await;
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_writes_to_an_export_and_leaves_it_as_it_is() {
    let export = std::env::var("TUG_TEST_NFS").unwrap_or_default();
    let Some((server, path)) = export.rsplit_once(":/") else {
        println!("skipped: needs TUG_TEST_NFS=SERVER:/PATH, an export that root may write to");
        return;
    };
    if !support::is_root() {
        return;
    }
    let cluster = Cluster::start().await;
    let nfs = json!({ "server": server, "path": format!("/{path}") });
    let file = format!("/data/tug-test-{}", std::process::id());
    let run = async |pod: &cluster_objects::Object, command: &[&str]| {
        let container = PodContainer {
            namespace: "default".into(),
            pod: pod.name().into(),
            uid: pod.uid().into(),
            container: "main".into(),
        };
        let request = ExecRequest {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            ..ExecRequest::default()
        };
        let session = cluster.node.exec(&container, &request).await.unwrap();
        session.exit.await.unwrap()
    };
    cluster.pod("first", spec(&json!({ "nfs": nfs.clone() }))).await;
    let first = cluster.until_ready("first").await;
    assert_eq!(
        run(&first, &["/bin/hello", "touch", &file]).await,
        ExecExit::Code(0)
    );
    cluster.delete("first").await;

    let mut read_only = nfs.clone();
    read_only["readOnly"] = true.into();
    cluster.pod("second", spec(&json!({ "nfs": read_only }))).await;
    let second = cluster.until_ready("second").await;
    assert_eq!(
        run(&second, &["/bin/hello", "cat", &file]).await,
        ExecExit::Code(0)
    );
    assert_ne!(
        run(&second, &["/bin/hello", "rm", &file]).await,
        ExecExit::Code(0)
    );
    cluster.delete("second").await;

    cluster.pod("third", spec(&json!({ "nfs": nfs }))).await;
    let third = cluster.until_ready("third").await;
    assert_eq!(run(&third, &["/bin/hello", "rm", &file]).await, ExecExit::Code(0));
    cluster.delete("third").await;
    cluster.finish().await;
}
