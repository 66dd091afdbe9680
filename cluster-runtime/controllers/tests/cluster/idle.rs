//! A cluster in which nothing happens asks and writes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster_apiserver::LocalApi;
use cluster_client::{Api, Gate, RoutedApi};
use serde_json::{Value, json};

use crate::harness::{Cluster, deployment, pod_template};

const HOUR: Duration = Duration::from_secs(3600);

fn object(api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
}

fn workload(kind: &str, name: &str) -> Value {
    let selector = json!({"matchLabels": {"app": name}});
    let spec = json!({"serviceName": name, "selector": selector, "template": pod_template(name)});
    object("apps/v1", kind, name, &spec)
}

/// The clock of the runtime is paused: it moves on only when no task has anything to do, so that an hour passes at
/// once in a cluster that is idle, and never in one that is busy.
#[tokio::test(start_paused = true)]
async fn an_idle_cluster_asks_and_writes_nothing() {
    let local: Arc<dyn Api> = Arc::new(LocalApi::in_memory().await.expect("an API in memory"));
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let counting = Gate::new(local, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let cluster = Cluster::start_on(Arc::new(RoutedApi(counting)), 2).await;
    cluster.create("deployments", deployment("web", 3)).await;
    cluster
        .create("statefulsets", workload("StatefulSet", "db"))
        .await;
    cluster.create("daemonsets", workload("DaemonSet", "agent")).await;
    let service = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]});
    cluster
        .create("services", object("v1", "Service", "web", &service))
        .await;
    let mut template = pod_template("once");
    template["spec"]["restartPolicy"] = json!("Never");
    cluster
        .create(
            "jobs",
            object("batch/v1", "Job", "once", &json!({"template": template})),
        )
        .await;
    let seldom = json!({"schedule": "0 0 29 2 *", "jobTemplate": {"spec": {"template": template}}});
    cluster
        .create("cronjobs", object("batch/v1", "CronJob", "seldom", &seldom))
        .await;
    let budget = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    cluster
        .create(
            "poddisruptionbudgets",
            object("policy/v1", "PodDisruptionBudget", "web", &budget),
        )
        .await;
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    cluster
        .create(
            "persistentvolumeclaims",
            object("v1", "PersistentVolumeClaim", "never", &claim),
        )
        .await;
    let mut hungry = deployment("hungry", 1);
    hungry["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "where"});
    cluster.create("deployments", hungry).await;

    tokio::time::sleep(HOUR).await;
    let before = requests.load(Ordering::Relaxed);
    assert!(before > 0);
    tokio::time::sleep(10 * HOUR).await;
    assert_eq!(requests.load(Ordering::Relaxed), before);
}
