//! A whole cluster in a test: API on a memory store, controllers, scheduler, and nodes that only pretend to run pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cluster_apiserver::LocalApi;
use cluster_client::{
    Api, Change, Collection, DeleteOptions, Informer, InformerOptions, ListOptions, ObjectKey, Patch, Target,
    WorkQueue, WorkQueueOptions, WriteOptions,
};
use cluster_controllers::{Controllers, ControllersOptions};
use cluster_objects::{Object, Status};
use cluster_scheduler::{Scheduler, SchedulerOptions};
use serde_json::{Value, json};

/// How long a test waits for what must happen soon.
const SOON: Duration = Duration::from_secs(20);

/// A running cluster. Dropping it ends its runtime tasks with the test's runtime.
pub(crate) struct Cluster {
    pub(crate) api: Arc<dyn Api>,
    pub(crate) controllers: Controllers,
    pub(crate) scheduler: Scheduler,
}

impl Cluster {
    /// Starts a cluster with nodes `n1`, `n2`, ..., each with 4 cores, 8 GiB and room for 110 pods.
    pub(crate) async fn start(nodes: usize) -> Self {
        let api = LocalApi::in_memory().await.expect("an API in memory");
        Self::start_on(Arc::new(api), nodes).await
    }

    /// Starts a cluster on an API.
    pub(crate) async fn start_on(api: Arc<dyn Api>, nodes: usize) -> Self {
        let options = ControllersOptions {
            root_certificate: Some("PEM".into()),
            ..ControllersOptions::default()
        };
        let cluster = Self {
            controllers: Controllers::start(api.clone(), options),
            scheduler: Scheduler::start(api.clone(), SchedulerOptions::default()),
            api,
        };
        for number in 1..=nodes {
            cluster.add_node(&format!("n{number}"), json!({})).await;
        }
        pretend_to_run_pods(cluster.api.clone());
        cluster.controllers.ready().await;
        cluster.scheduler.ready().await;
        cluster
    }

    pub(crate) async fn add_node(&self, name: &str, labels: Value) {
        let mut node = Object::new("v1", "Node", None, name);
        node.set(&["metadata", "labels"], labels);
        node.set(&["metadata", "labels", "kubernetes.io/hostname"], name);
        self.api
            .create(&Collection::all("v1", "nodes"), node, &WriteOptions::default())
            .await
            .expect("a node");
        let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady"}]);
        let status = json!({"status": {"capacity": amounts, "allocatable": amounts, "conditions": ready}});
        let target = Target::cluster_wide("v1", "nodes", name).subresource("status");
        self.api
            .patch(&target, Patch::Merge(status), &WriteOptions::default())
            .await
            .expect("the status of a node");
    }

    pub(crate) async fn create(&self, resource: &str, object: Value) -> Arc<Object> {
        let object = Object::from_value(object).expect("an object");
        let collection = Collection {
            namespace: object.namespace().map(str::to_owned),
            ..Collection::all(object.api_version(), resource)
        };
        let created = self
            .api
            .create(&collection, object, &WriteOptions::default())
            .await;
        created.expect("to be created")
    }

    pub(crate) async fn get(&self, target: &Target) -> Option<Arc<Object>> {
        match self.api.get(target).await {
            Ok(object) => Some(object),
            Err(status) if status.is_not_found() => None,
            Err(status) => panic!("cannot get {target:?}: {status}"),
        }
    }

    pub(crate) async fn list(&self, collection: &Collection) -> Vec<Arc<Object>> {
        let list = self.api.list(collection, &ListOptions::default()).await;
        list.expect("a list").items
    }

    pub(crate) async fn patch(&self, target: &Target, patch: Value) {
        self.try_patch(target, patch).await.expect("to be patched");
    }

    pub(crate) async fn try_patch(&self, target: &Target, patch: Value) -> Result<Arc<Object>, Status> {
        self.api
            .patch(target, Patch::Merge(patch), &WriteOptions::default())
            .await
    }

    pub(crate) async fn delete(&self, target: &Target, options: DeleteOptions) {
        self.api.delete(target, &options).await.expect("to be deleted");
    }

    /// Waits until the condition holds of all objects of a collection.
    pub(crate) async fn until(
        &self,
        collection: &Collection,
        what: &str,
        condition: impl Fn(&[Arc<Object>]) -> bool,
    ) -> Vec<Arc<Object>> {
        let informer = Informer::start(self.api.clone(), collection.clone(), InformerOptions::default());
        let waiting = async {
            informer.synced().await;
            informer.wait_until(|informer| condition(&informer.list())).await;
        };
        if tokio::time::timeout(SOON, waiting).await.is_err() {
            let objects: Vec<String> = informer
                .list()
                .iter()
                .map(|object| {
                    let mut shown = (**object).clone();
                    shown.remove(&["metadata", "managedFields"]);
                    shown.into_value().to_string()
                })
                .collect();
            panic!("waited in vain until {what}; there is: {objects:#?}");
        }
        informer.list()
    }
}

/// A deployment of pods with the label `app: NAME`.
pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name),
        },
    })
}

/// A template of pods with the label `app: NAME`.
pub(crate) fn pod_template(name: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "hello:1", "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

/// Marks bound pods as running and ready (or as ended, where they are not to be restarted), and lets pods go that
/// are being deleted. A pod with the annotation `test/never-ready` runs and is never ready, one with `test/fails`
/// ends badly, and one with `test/stays` is held while being deleted.
fn pretend_to_run_pods(api: Arc<dyn Api>) {
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(WorkQueueOptions::default());
    let pods = Informer::start(
        api.clone(),
        Collection::all("v1", "pods"),
        InformerOptions::default(),
    );
    let added = queue.clone();
    pods.add_handler(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            added.add(ObjectKey::of(change.object()));
        }
    });
    let addresses = Arc::new(AtomicU32::new(0));
    tokio::spawn(async move {
        while let Some(key) = queue.next().await {
            let Some(pod) = pods.get_key(&key) else { continue };
            if let Err(status) = run_pod(&*api, &pod, &addresses).await
                && !status.is_not_found()
                && !status.is_conflict()
            {
                panic!("cannot pretend to run {}: {status}", pod.key());
            }
        }
    });
}

async fn run_pod(api: &dyn Api, pod: &Object, addresses: &AtomicU32) -> Result<(), Status> {
    if pod.text(&["spec", "nodeName"]).is_none_or(str::is_empty) {
        return Ok(());
    }
    let target = Target::of(&cluster_objects::GroupVersionResource::new("v1", "pods"), pod);
    if pod.deletion_timestamp().is_some() {
        if pod.annotation("test/stays").is_some() {
            return Ok(());
        }
        let now = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: Some(pod.uid().to_owned()),
            ..DeleteOptions::default()
        };
        return api.delete(&target, &now).await.map(drop);
    }
    let number = addresses.fetch_add(1, Ordering::Relaxed);
    let address = format!("10.1.{}.{}", number / 250, number % 250 + 1);
    let ends = pod
        .text(&["spec", "restartPolicy"])
        .is_some_and(|policy| policy != "Always");
    let phase = match (ends, pod.annotation("test/fails")) {
        (true, Some(_)) => "Failed",
        (true, None) => "Succeeded",
        (false, _) => "Running",
    };
    if pod.text(&["status", "phase"]) == Some(phase) {
        return Ok(());
    }
    let ready = phase == "Running" && pod.annotation("test/never-ready").is_none();
    let ready = if ready { "True" } else { "False" };
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": ready, "lastTransitionTime": now});
    let status = json!({
        "phase": phase, "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
        "conditions": [condition("Ready"), condition("ContainersReady")],
    });
    let options = WriteOptions::default();
    let patch = Patch::Merge(json!({"status": status}));
    api.patch(&target.subresource("status"), patch, &options)
        .await
        .map(drop)
}
