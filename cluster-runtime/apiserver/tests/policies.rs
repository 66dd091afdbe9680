//! Admission by what a namespace holds: limits, quota, pod security; and what is measured.

use std::sync::Arc;

use async_trait::async_trait;
use cluster_apiserver::{Body, Caller, LocalApi};
use cluster_client::{
    Api, ByteStream, Collection, Connection, ExecRequest, ExecSession, ListOptions, LogRequest, NodeStreams,
    NodeUsage, Patch, PodContainer, Target, Usage, WriteOptions,
};
use cluster_objects::{Object, Status};
use serde_json::{Value, json};

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn in_default(api_version: &str, resource: &str) -> Collection {
    Collection::namespaced(api_version, resource, "default")
}

fn pods() -> Collection {
    in_default("v1", "pods")
}

#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
fn pod(name: &str, resources: Value) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "demo", "resources": resources}]},
    }))
}

async fn create(api: &LocalApi, collection: &Collection, object: Object) -> Result<Arc<Object>, Status> {
    api.create(collection, object, &WriteOptions::default()).await
}

async fn quota(api: &LocalApi, name: &str, hard: Value) {
    let mut quota = Object::new("v1", "ResourceQuota", None, name);
    quota.set(&["spec", "hard"], hard);
    create(api, &in_default("v1", "resourcequotas"), quota)
        .await
        .unwrap();
}

async fn used(api: &LocalApi, name: &str) -> Value {
    let quota = api
        .get(&in_default("v1", "resourcequotas").target(name))
        .await
        .unwrap();
    quota.at(&["status", "used"]).cloned().unwrap_or_default()
}

#[tokio::test]
async fn limits_of_a_namespace_fill_in_and_refuse() {
    let api = LocalApi::in_memory().await.unwrap();
    let mut range = Object::new("v1", "LimitRange", None, "limits");
    let limit = json!({"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "500m"},
        "defaultRequest": {"cpu": "100m"}});
    range.set(&["spec", "limits"], json!([limit]));
    create(&api, &in_default("v1", "limitranges"), range)
        .await
        .unwrap();
    let made = create(&api, &pods(), pod("a", json!({}))).await.unwrap();
    assert_eq!(
        made.list(&["spec", "containers"])[0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made.text(&["status", "qosClass"]),
        Some("Burstable"),
        "the class is that of the filled-in pod"
    );
    let refused = create(&api, &pods(), pod("b", json!({"limits": {"cpu": "2"}})))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            403,
            "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
        )
    );
}

#[tokio::test]
async fn a_quota_counts_what_comes_and_refuses_what_is_too_much() {
    let api = LocalApi::in_memory().await.unwrap();
    quota(&api, "q", json!({"pods": "2", "requests.cpu": "1"})).await;
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let unsaid = create(&api, &pods(), pod("a", json!({}))).await.unwrap_err();
    assert_eq!(
        unsaid.message,
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: main"
    );
    create(&api, &pods(), pod("a", asks("600m"))).await.unwrap();
    assert_eq!(
        used(&api, "q").await,
        json!({"pods": "1", "requests.cpu": "600m"})
    );
    let refused = create(&api, &pods(), pod("b", asks("500m"))).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            403,
            "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, \
             limited: requests.cpu=1"
        )
    );
    create(&api, &pods(), pod("b", asks("400m"))).await.unwrap();
    let full = create(&api, &pods(), pod("c", asks("0"))).await.unwrap_err();
    assert!(
        full.message
            .ends_with("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        "{full}"
    );
    // A dry run takes nothing.
    quota(&api, "maps", json!({"count/configmaps": "1"})).await;
    let maps = in_default("v1", "configmaps");
    let dry = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    for _ in 0..3 {
        api.create(&maps, Object::new("v1", "ConfigMap", None, "m"), &dry)
            .await
            .unwrap();
    }
    create(&api, &maps, Object::new("v1", "ConfigMap", None, "m"))
        .await
        .unwrap();
    let again = create(&api, &maps, Object::new("v1", "ConfigMap", None, "n"))
        .await
        .unwrap_err();
    assert!(again.message.contains("count/configmaps=1"), "{again}");
}

#[tokio::test]
async fn pods_have_the_priority_of_their_class_and_no_other() {
    let api = LocalApi::in_memory().await.unwrap();
    let class = |name: &str, value: i64, more: Value| {
        let mut class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
        });
        class
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let classes = Collection::all("scheduling.k8s.io/v1", "priorityclasses");
        let (api, class) = (api.clone(), object(class));
        async move { create(&api, &classes, class).await.unwrap() }
    };
    let with = |name: &str, spec: Value| {
        let mut pod = pod(name, json!({}));
        for (key, value) in spec.as_object().unwrap() {
            pod.set(&["spec", key], value.clone());
        }
        let api = api.clone();
        async move { create(&api, &pods(), pod).await }
    };
    let of = |pod: &Object| {
        let spec = &pod.fields()["spec"];
        json!([
            spec["priorityClassName"],
            spec["priority"],
            spec["preemptionPolicy"]
        ])
    };
    let plain = with("plain", json!({})).await.unwrap();
    assert_eq!(of(&plain), json!([null, 0, "PreemptLowerPriority"]));
    class("high", 1000, json!({"preemptionPolicy": "Never"})).await;
    let high = with("high", json!({"priorityClassName": "high"})).await.unwrap();
    assert_eq!(of(&high), json!(["high", 1000, "Never"]));
    class("usual", 7, json!({"globalDefault": true})).await;
    let usual = with("usual", json!({"priority": 7})).await.unwrap();
    assert_eq!(of(&usual), json!(["usual", 7, "PreemptLowerPriority"]));

    // As the admission plug-in of Kubernetes words it.
    for (spec, why) in [
        (
            json!({"priorityClassName": "none"}),
            "no PriorityClass with name none was found",
        ),
        (
            json!({"priorityClassName": "high", "priority": 5}),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed \
             1000 from the given PriorityClass name",
        ),
        (
            json!({"preemptionPolicy": "Never"}),
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller \
             computed PreemptLowerPriority from the given PriorityClass name",
        ),
    ] {
        let refused = with("refused", spec).await.unwrap_err();
        assert_eq!(refused.code, 403);
        assert_eq!(refused.message, format!("pods \"refused\" is forbidden: {why}"));
    }
}

#[tokio::test]
async fn requests_at_the_same_time_never_share_the_last_place() {
    let api = LocalApi::in_memory().await.unwrap();
    quota(&api, "q", json!({"count/configmaps": "5"})).await;
    let tries = (0..20).map(|number| {
        let api = api.clone();
        tokio::spawn(async move {
            let map = Object::new("v1", "ConfigMap", None, &format!("m-{number}"));
            create(&api, &in_default("v1", "configmaps"), map).await.is_ok()
        })
    });
    let mut made = 0;
    for outcome in tries.collect::<Vec<_>>() {
        made += u32::from(outcome.await.unwrap());
    }
    let listed = api
        .list(&in_default("v1", "configmaps"), &ListOptions::default())
        .await
        .unwrap();
    assert_eq!((made, listed.items.len()), (5, 5));
    assert_eq!(used(&api, "q").await, json!({"count/configmaps": "5"}));
}

#[tokio::test]
async fn a_transaction_is_counted_as_a_whole() {
    let api = LocalApi::in_memory().await.unwrap();
    quota(&api, "q", json!({"count/configmaps": "2"})).await;
    let operations = |names: &[&str]| {
        let one = |name: &&str| {
            json!({"create": {"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default"}}})
        };
        names.iter().map(one).collect::<Vec<Value>>()
    };
    let transact = async |names: &'static [&'static str]| {
        let mut transaction = Object::new("tug.dev/v1", "Transaction", None, "t");
        transaction.set(&["spec", "operations"], operations(names));
        create(&api, &Collection::all("tug.dev/v1", "transactions"), transaction).await
    };
    let refused = transact(&["a", "b", "c"]).await.unwrap_err();
    assert!(refused.message.contains("exceeded quota: q"), "{refused}");
    let listed = api
        .list(&in_default("v1", "configmaps"), &ListOptions::default())
        .await
        .unwrap();
    assert!(listed.items.is_empty());
    transact(&["a", "b"]).await.unwrap();
    assert_eq!(used(&api, "q").await, json!({"count/configmaps": "2"}));
}

async fn label(api: &LocalApi, labels: Value) -> Result<Vec<String>, Status> {
    let target = Target::cluster_wide("v1", "namespaces", "default");
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    let caller = Caller::system("test");
    let written = api
        .engine()
        .patch(&caller, &target, patch, &WriteOptions::default(), &[])
        .await?;
    Ok(written.warnings)
}

#[tokio::test]
async fn a_namespace_says_how_safe_its_pods_must_be() {
    let api = LocalApi::in_memory().await.unwrap();
    create(&api, &pods(), pod("before", json!({}))).await.unwrap();
    let warnings = label(&api, json!({"pod-security.kubernetes.io/enforce": "restricted"}))
        .await
        .unwrap();
    assert_eq!(
        warnings[0],
        "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\""
    );
    assert!(
        warnings[1].starts_with("before: allowPrivilegeEscalation != false, "),
        "{warnings:?}"
    );
    let refused = create(&api, &pods(), pod("web", json!({}))).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            403,
            "pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false \
             (container \"main\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities \
             (container \"main\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or \
             container \"main\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \
             \"main\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        )
    );
    // A template is taken, with a warning.
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": pod("x", json!({})).at(&["spec"])});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    let caller = Caller::system("test");
    let written = api
        .engine()
        .create(
            &caller,
            &in_default("apps/v1", "deployments"),
            Body::from(object(deployment)),
            &WriteOptions::default(),
        )
        .await
        .unwrap();
    let warned = written
        .warnings
        .iter()
        .any(|one| one.starts_with("would violate PodSecurity \"restricted:latest\": "));
    assert!(warned, "{:?}", written.warnings);
    let wrong = label(&api, json!({"pod-security.kubernetes.io/enforce": "strict"}))
        .await
        .unwrap_err();
    assert!(
        wrong
            .message
            .contains("must be one of privileged, baseline, restricted"),
        "{wrong}"
    );
    label(&api, json!({"pod-security.kubernetes.io/enforce": "baseline"}))
        .await
        .unwrap();
    create(&api, &pods(), pod("web", json!({}))).await.unwrap();
    let mut host = pod("host", json!({}));
    host.set(&["spec", "hostNetwork"], true);
    let refused = create(&api, &pods(), host).await.unwrap_err();
    assert!(
        refused
            .message
            .contains("\"baseline:latest\": host namespaces (hostNetwork=true)"),
        "{refused}"
    );
}

#[tokio::test]
async fn new_objects_have_a_status_that_typed_clients_can_read() {
    let api = LocalApi::in_memory().await.unwrap();
    let mut service = Object::new("v1", "Service", None, "web");
    service.set(&["spec", "ports"], json!([{"port": 80}]));
    let made = create(&api, &in_default("v1", "services"), service)
        .await
        .unwrap();
    assert_eq!(made.at(&["status"]), Some(&json!({"loadBalancer": {}})));
    let event = object(json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "lastTimestamp": "2026-01-02T03:04:05Z",
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"}, "reason": "Because",
    }));
    create(&api, &in_default("v1", "events"), event).await.unwrap();
    let new = api
        .get(&in_default("events.k8s.io/v1", "events").target("e"))
        .await
        .unwrap();
    assert_eq!(new.text(&["eventTime"]), Some("2026-01-02T03:04:05.000000Z"));
}

/// A node on which one container uses half a core.
struct BusyNode {
    uid: String,
    start: tokio::time::Instant,
}

#[async_trait]
impl NodeStreams for BusyNode {
    async fn logs(&self, _: &PodContainer, _: &LogRequest) -> Result<ByteStream, Status> {
        Err(Status::unavailable("none"))
    }
    async fn exec(&self, _: &PodContainer, _: &ExecRequest) -> Result<ExecSession, Status> {
        Err(Status::unavailable("none"))
    }
    async fn attach(&self, _: &PodContainer, _: &ExecRequest) -> Result<ExecSession, Status> {
        Err(Status::unavailable("none"))
    }
    async fn connect(&self, _: &PodContainer, _: u16) -> Result<Box<dyn Connection>, Status> {
        Err(Status::unavailable("none"))
    }
    async fn usage(&self) -> Result<NodeUsage, Status> {
        let of = PodContainer {
            namespace: "default".into(),
            pod: "web".into(),
            uid: self.uid.clone(),
            container: "main".into(),
        };
        let usage = Usage {
            cpu_nanoseconds: u64::try_from(self.start.elapsed().as_nanos()).unwrap() / 2,
            working_set_bytes: 10 << 20,
        };
        Ok(NodeUsage {
            node: usage,
            containers: vec![(of, usage)],
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_pods_and_nodes_use_is_measured_when_asked() {
    let api = LocalApi::in_memory().await.unwrap();
    create(
        &api,
        &Collection::all("v1", "nodes"),
        Object::new("v1", "Node", None, "n1"),
    )
    .await
    .unwrap();
    let made = create(&api, &pods(), pod("web", json!({}))).await.unwrap();
    create(&api, &pods(), pod("idle", json!({}))).await.unwrap();
    let node = BusyNode {
        uid: made.uid().to_owned(),
        start: tokio::time::Instant::now(),
    };
    api.engine().nodes().register("n1", Arc::new(node));
    let measured = in_default("metrics.k8s.io/v1beta1", "pods");
    let listed = api.list(&measured, &ListOptions::default()).await.unwrap();
    let names: Vec<&str> = listed.items.iter().map(|metrics| metrics.name()).collect();
    assert_eq!(names, ["web"]);
    let containers = json!([{"name": "main", "usage": {"cpu": "500000000n", "memory": "10240Ki"}}]);
    let one = api.get(&measured.target("web")).await.unwrap();
    assert_eq!(one.at(&["containers"]), Some(&containers));
    assert_eq!(one.text(&["window"]), Some("1s"));
    assert!(
        api.get(&measured.target("idle"))
            .await
            .unwrap_err()
            .is_not_found()
    );
    let node = api
        .get(&Target::cluster_wide("metrics.k8s.io/v1beta1", "nodes", "n1"))
        .await
        .unwrap();
    assert_eq!(
        (node.kind(), node.at(&["usage", "cpu"])),
        ("NodeMetrics", Some(&json!("500000000n")))
    );
    let refused = create(
        &api,
        &measured,
        Object::new("metrics.k8s.io/v1beta1", "PodMetrics", None, "x"),
    )
    .await;
    assert_eq!(refused.unwrap_err().code, 405);
}
