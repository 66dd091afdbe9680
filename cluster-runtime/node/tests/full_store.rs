//! A cluster whose store has no room: the agent does its work, and tells of it when it can.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_client::{Api, DeleteOptions, Gate, RoutedApi, Target, Verb};
use cluster_objects::{Status, StatusReason};
use serde_json::json;
use support::{Cluster, Lab, SOON};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_goes_when_its_end_can_be_written_and_nothing_of_it_stays_till_then() {
    if !support::is_root() {
        return;
    }
    let lab = Lab::new();
    let api: Arc<dyn Api> = Arc::new(cluster_apiserver::LocalApi::in_memory().await.unwrap());
    let is_full = Arc::new(AtomicBool::new(false));
    let (refused, mut refusals) = mpsc::unbounded_channel();
    let is_refused = is_full.clone();
    let full = Gate::new(api.clone(), move |verb: Verb| {
        if !verb.is_write() || !is_refused.load(Ordering::SeqCst) {
            return Ok(());
        }
        if verb == Verb::Delete {
            let _ = refused.send(Instant::now());
        }
        Err(Status::new(507, StatusReason::Unknown, "no room".to_owned()))
    });
    let node = support::start_node(&lab, Arc::new(RoutedApi(full))).await;
    let cluster = Cluster { lab, api, node };
    let container = json!({ "name": "main", "image": "tug/hello:1.0" });
    cluster.pod("web", json!({ "containers": [container] })).await;
    cluster.until_ready("web").await;

    // The wish to delete was taken with the last room that there was.
    is_full.store(true, Ordering::SeqCst);
    let target = Target::namespaced("v1", "pods", "default", "web");
    cluster
        .api
        .delete(&target, &DeleteOptions::default())
        .await
        .unwrap();
    let mut next = async || {
        tokio::time::timeout(SOON, refusals.recv())
            .await
            .unwrap()
            .unwrap()
    };
    let first = next().await;
    assert_eq!(cluster.lab.leaks(), Vec::<String>::new(), "its container is gone");
    assert!(cluster.api.get(&target).await.is_ok(), "and its object is not");
    let second = next().await;
    assert!(
        second - first > Duration::from_secs(1),
        "it is not tried again at once"
    );
    is_full.store(false, Ordering::SeqCst);
    cluster.until_gone("web").await;
    cluster.finish().await;
}
