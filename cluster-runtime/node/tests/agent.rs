//! The whole agent on an API server in memory, with real containers of the built-in image.

mod support;

use std::time::Instant;

use serde_json::json;
use support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_comes_up_and_goes_without_a_trace() {
    if !support::is_root() {
        return;
    }
    let cluster = Cluster::start().await;
    let began = Instant::now();
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 80 } });
    let container = json!({ "name": "main", "image": "tug/hello:1.0", "readinessProbe": probe });
    cluster.pod("web", json!({ "containers": [container] })).await;
    let pod = cluster.until_ready("web").await;
    println!("ready after {:?}", began.elapsed());
    assert_eq!(pod.text(&["status", "phase"]), Some("Running"));
    assert_eq!(pod.text(&["status", "podIP"]), Some("127.0.0.1"));
    println!("{:#}", pod.at(&["status"]).unwrap());
    let began = Instant::now();
    cluster.delete("web").await;
    println!("gone after {:?}", began.elapsed());
    println!("{:#?}", cluster.events("web").await);
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new());
    cluster.finish().await;
}
