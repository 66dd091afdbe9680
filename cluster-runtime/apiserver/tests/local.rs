//! The API in the process, on a store in memory.

use std::sync::Arc;

use cluster_apiserver::{Engine, EngineOptions, LocalApi};
use cluster_client::{
    Api, Collection, DeleteOptions, Deleted, ListOptions, Patch, Target, WatchEvent, WatchOptions,
    WatchStream, WriteOptions,
};
use cluster_objects::{Object, Status};
use cluster_store::{Limits, MemoryStore};
use futures::StreamExt;
use serde_json::{Value, json};

async fn api() -> LocalApi {
    LocalApi::in_memory().await.unwrap()
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn pods() -> Collection {
    Collection::namespaced("v1", "pods", "default")
}

fn config_maps() -> Collection {
    Collection::namespaced("v1", "configmaps", "default")
}

fn pod(name: &str) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "demo"}]},
    }))
}

fn config_map(name: &str, data: Value) -> Object {
    let mut object = Object::new("v1", "ConfigMap", None, name);
    object.set(&["data"], data);
    object
}

async fn create(api: &LocalApi, collection: &Collection, object: Object) -> Result<Arc<Object>, Status> {
    api.create(collection, object, &WriteOptions::default()).await
}

async fn merge(api: &LocalApi, target: &Target, patch: Value) -> Result<Arc<Object>, Status> {
    api.patch(target, Patch::Merge(patch), &WriteOptions::default())
        .await
}

/// The next change as `ADDED name`, without waiting longer than a test may.
async fn next(watch: &mut WatchStream) -> String {
    let limit = std::time::Duration::from_secs(10);
    let event = tokio::time::timeout(limit, watch.next())
        .await
        .expect("a change in time");
    match event.expect("the watch goes on") {
        WatchEvent::Added(object) => format!("ADDED {}", object.name()),
        WatchEvent::Modified(object) => format!("MODIFIED {}", object.name()),
        WatchEvent::Deleted(object) => format!("DELETED {}", object.name()),
        WatchEvent::Bookmark(_) => "BOOKMARK".to_owned(),
        WatchEvent::Error(status) => format!("ERROR {}", status.code),
    }
}

#[tokio::test]
async fn a_new_object_gets_identity_and_generation() {
    let api = api().await;
    let made = create(&api, &pods(), pod("web")).await.unwrap();
    assert_eq!(made.namespace(), Some("default"));
    assert_eq!(made.uid().len(), 36);
    assert_eq!(made.generation(), 1);
    assert!(made.text(&["metadata", "creationTimestamp"]).is_some());
    assert!(!made.resource_version().is_empty());
    assert_eq!(made.text(&["status", "phase"]), Some("Pending"));
    let read = api.get(&pods().target("web")).await.unwrap();
    assert!(Arc::ptr_eq(&made, &read));
}

#[tokio::test]
async fn a_name_is_made_from_its_prefix() {
    let api = api().await;
    let wish = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}}));
    let made = create(&api, &config_maps(), wish).await.unwrap();
    assert!(
        made.name().starts_with("web-") && made.name().len() == 9,
        "{}",
        made.name()
    );
}

#[tokio::test]
async fn err_creations_are_refused_in_kubernetes_words() {
    let api = api().await;
    create(&api, &config_maps(), config_map("a", json!({})))
        .await
        .unwrap();
    let elsewhere = Collection::namespaced("v1", "configmaps", "nowhere");
    let mut moved = config_map("b", json!({}));
    moved.set(&["metadata", "namespace"], "kube-system");
    for (collection, object, code, message) in [
        (
            config_maps(),
            config_map("a", json!({})),
            409,
            "configmaps \"a\" already exists",
        ),
        (
            elsewhere,
            config_map("a", json!({})),
            404,
            "namespaces \"nowhere\" not found",
        ),
        (
            config_maps(),
            moved,
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            config_maps(),
            config_map("", json!({})),
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            Collection::all("example.com/v1", "widgets"),
            config_map("a", json!({})),
            404,
            "the server could not find the requested resource",
        ),
    ] {
        let refused = create(&api, &collection, object).await.unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (code, message));
    }
}

#[tokio::test]
async fn only_changes_of_the_wish_count_as_generations() {
    let api = api().await;
    let collection = Collection::namespaced("apps/v1", "deployments", "default");
    let deployment = object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "demo"}]},
            },
        },
        "status": {"replicas": 9},
    }));
    let made = create(&api, &collection, deployment).await.unwrap();
    assert_eq!(made.at(&["status", "replicas"]), None);
    let target = collection.target("web");
    let labelled = merge(&api, &target, json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .unwrap();
    assert_eq!(labelled.generation(), 1);
    let scaled = merge(&api, &target, json!({"spec": {"replicas": 3}}))
        .await
        .unwrap();
    assert_eq!(scaled.generation(), 2);
    let status = target.clone().subresource("status");
    let observed = merge(
        &api,
        &status,
        json!({"spec": {"replicas": 5}, "status": {"replicas": 3}}),
    )
    .await
    .unwrap();
    assert_eq!(observed.generation(), 2);
    assert_eq!(observed.integer(&["spec", "replicas"]), Some(3));
    assert_eq!(observed.integer(&["status", "replicas"]), Some(3));
    let through_scale = target.clone().subresource("scale");
    let scale = merge(&api, &through_scale, json!({"spec": {"replicas": 7}}))
        .await
        .unwrap();
    assert_eq!(scale.kind(), "Scale");
    assert_eq!(scale.text(&["status", "selector"]), Some("app=web"));
    let now = api.get(&target).await.unwrap();
    assert_eq!(
        (now.integer(&["spec", "replicas"]), now.generation()),
        (Some(7), 3)
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_revision() {
    let api = api().await;
    let made = create(&api, &config_maps(), config_map("a", json!({"k": "v"})))
        .await
        .unwrap();
    let target = config_maps().target("a");
    let again = api
        .update(&target, Object::clone(&made), &WriteOptions::default())
        .await
        .unwrap();
    assert_eq!(again.resource_version(), made.resource_version());
    let same = merge(&api, &target, json!({"data": {"k": "v"}})).await.unwrap();
    assert_eq!(same.resource_version(), made.resource_version());
    let other = merge(&api, &target, json!({"data": {"k": "w"}})).await.unwrap();
    assert_ne!(other.resource_version(), made.resource_version());
}

#[tokio::test]
async fn err_a_stale_update_is_a_conflict() {
    let api = api().await;
    let made = create(&api, &config_maps(), config_map("a", json!({})))
        .await
        .unwrap();
    let target = config_maps().target("a");
    merge(&api, &target, json!({"data": {"k": "v"}})).await.unwrap();
    let refused = api
        .update(&target, Object::clone(&made), &WriteOptions::default())
        .await
        .unwrap_err();
    assert!(refused.is_conflict(), "{refused}");
    let mut unconditional = Object::clone(&made);
    unconditional.remove(&["metadata", "resourceVersion"]);
    unconditional.set(&["data", "other"], "v");
    api.update(&target, unconditional, &WriteOptions::default())
        .await
        .unwrap();
    let mut other = config_map("a", json!({}));
    other.set(&["metadata", "uid"], "another");
    let refused = api
        .update(&target, other, &WriteOptions::default())
        .await
        .unwrap_err();
    assert!(
        refused.message.contains("UID in precondition: another"),
        "{refused}"
    );
}

#[tokio::test]
async fn writers_that_meet_lose_nothing() {
    let api = api().await;
    create(&api, &config_maps(), config_map("a", json!({})))
        .await
        .unwrap();
    let target = config_maps().target("a");
    let writers = (0..8).map(|writer| {
        let (api, target) = (api.clone(), target.clone());
        tokio::spawn(async move {
            for round in 0..5 {
                let key = format!("{writer}-{round}");
                merge(&api, &target, json!({"data": {key: "v"}})).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let data = api.get(&target).await.unwrap();
    assert_eq!(
        data.at(&["data"])
            .and_then(Value::as_object)
            .map(serde_json::Map::len),
        Some(40)
    );
}

#[tokio::test]
async fn a_watch_follows_objects_into_and_out_of_its_selection() {
    let api = api().await;
    create(&api, &config_maps(), config_map("old", json!({})))
        .await
        .unwrap();
    let options = WatchOptions {
        label_selector: "tier=front".to_owned(),
        resource_version: api
            .list(&config_maps(), &ListOptions::default())
            .await
            .unwrap()
            .resource_version,
        ..WatchOptions::default()
    };
    let mut watch = api.watch(&config_maps(), &options).await.unwrap();
    let target = config_maps().target("old");
    merge(&api, &target, json!({"metadata": {"labels": {"tier": "front"}}}))
        .await
        .unwrap();
    merge(&api, &target, json!({"data": {"k": "v"}})).await.unwrap();
    merge(&api, &target, json!({"metadata": {"labels": {"tier": "back"}}}))
        .await
        .unwrap();
    merge(&api, &target, json!({"metadata": {"labels": {"tier": "front"}}}))
        .await
        .unwrap();
    api.delete(&target, &DeleteOptions::default()).await.unwrap();
    for expected in [
        "ADDED old",
        "MODIFIED old",
        "DELETED old",
        "ADDED old",
        "DELETED old",
    ] {
        assert_eq!(next(&mut watch).await, expected);
    }
}

#[tokio::test]
async fn a_watch_from_nowhere_starts_with_what_is_there() {
    let api = api().await;
    create(&api, &config_maps(), config_map("a", json!({})))
        .await
        .unwrap();
    let mut watch = api.watch(&config_maps(), &WatchOptions::default()).await.unwrap();
    assert_eq!(next(&mut watch).await, "ADDED a");
    create(&api, &config_maps(), config_map("b", json!({})))
        .await
        .unwrap();
    assert_eq!(next(&mut watch).await, "ADDED b");
}

#[tokio::test]
async fn a_pod_is_bound_once_and_goes_with_its_node_agent() {
    let api = api().await;
    create(&api, &pods(), pod("web")).await.unwrap();
    let target = pods().target("web");
    let binding = |node: &str| {
        object(json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }))
    };
    let bind = target.clone().subresource("binding");
    api.post(&bind, binding("n1"), &WriteOptions::default())
        .await
        .unwrap();
    let bound = api.get(&target).await.unwrap();
    assert_eq!(bound.text(&["spec", "nodeName"]), Some("n1"));
    assert_eq!(bound.list(&["status", "conditions"])[0]["type"], "PodScheduled");
    let refused = api
        .post(&bind, binding("n2"), &WriteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"n1\""
    );
    let Deleted::Marked(marked) = api.delete(&target, &DeleteOptions::default()).await.unwrap() else {
        panic!("a pod on a node is marked");
    };
    assert!(marked.deletion_timestamp().is_some());
    assert_eq!(
        marked.integer(&["metadata", "deletionGracePeriodSeconds"]),
        Some(30)
    );
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    assert!(matches!(api.delete(&target, &now).await.unwrap(), Deleted::Gone));
    assert!(api.get(&target).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn evictions_spend_the_disruption_budget() {
    let api = api().await;
    let budgets = Collection::namespaced("policy/v1", "poddisruptionbudgets", "default");
    let budget = object(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"tier": "front"}}},
    }));
    create(&api, &budgets, budget).await.unwrap();
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 1, "currentHealthy": 2, "expectedPods": 2,
    }});
    merge(&api, &budgets.target("web").subresource("status"), status)
        .await
        .unwrap();
    for name in ["a", "b"] {
        let mut pod = pod(name);
        pod.set(&["metadata", "labels", "tier"], "front");
        pod.set(&["spec", "nodeName"], "n1");
        create(&api, &pods(), pod).await.unwrap();
        let target = pods().target(name).subresource("status");
        let ready = json!([{"type": "Ready", "status": "True"}]);
        merge(
            &api,
            &target,
            json!({"status": {"phase": "Running", "conditions": ready}}),
        )
        .await
        .unwrap();
    }
    let evict = async |name: &str| {
        let eviction = Object::new("policy/v1", "Eviction", Some("default"), name);
        let target = pods().target(name).subresource("eviction");
        api.post(&target, eviction, &WriteOptions::default()).await
    };
    evict("a").await.unwrap();
    let evicted = api.get(&pods().target("a")).await.unwrap();
    assert!(evicted.deletion_timestamp().is_some());
    let reasons: Vec<&Value> = evicted
        .list(&["status", "conditions"])
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert!(reasons.contains(&&json!("EvictionByEvictionAPI")), "{reasons:?}");
    let refused = evict("b").await.unwrap_err();
    assert_eq!(refused.code, 429);
    assert_eq!(
        refused.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(
        refused.causes[0].message,
        "The disruption budget web needs 1 healthy pods and has 2 currently"
    );
    assert!(
        api.get(&pods().target("b"))
            .await
            .unwrap()
            .deletion_timestamp()
            .is_none()
    );
    // A pod that is not ready disrupts nobody where enough others are.
    let unready = json!([{"type": "Ready", "status": "False"}]);
    let target = pods().target("b").subresource("status");
    merge(&api, &target, json!({"status": {"conditions": unready}}))
        .await
        .unwrap();
    evict("b").await.unwrap();
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let api = api().await;
    let mut held = config_map("a", json!({}));
    held.set(
        &["metadata", "finalizers"],
        vec!["example.com/a", "example.com/b"],
    );
    create(&api, &config_maps(), held).await.unwrap();
    let target = config_maps().target("a");
    let deleted = api.delete(&target, &DeleteOptions::default()).await.unwrap();
    assert!(matches!(deleted, Deleted::Marked(_)));
    let refused = merge(
        &api,
        &target,
        json!({"metadata": {"finalizers": ["example.com/c"]}}),
    )
    .await
    .unwrap_err();
    assert!(
        refused.message.contains("no new finalizers can be added"),
        "{refused}"
    );
    merge(
        &api,
        &target,
        json!({"metadata": {"finalizers": ["example.com/a"]}}),
    )
    .await
    .unwrap();
    assert!(api.get(&target).await.is_ok());
    merge(&api, &target, json!({"metadata": {"finalizers": null}}))
        .await
        .unwrap();
    assert!(api.get(&target).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_namespace_is_closed_before_it_goes() {
    let api = api().await;
    let namespaces = Collection::all("v1", "namespaces");
    let made = create(&api, &namespaces, Object::new("v1", "Namespace", None, "shop"))
        .await
        .unwrap();
    assert_eq!(made.label("kubernetes.io/metadata.name"), Some("shop"));
    assert_eq!(made.list(&["spec", "finalizers"]), [json!("kubernetes")]);
    let target = namespaces.target("shop");
    let Deleted::Marked(marked) = api.delete(&target, &DeleteOptions::default()).await.unwrap() else {
        panic!("a namespace is marked");
    };
    assert_eq!(marked.text(&["status", "phase"]), Some("Terminating"));
    let immortal = api
        .delete(&namespaces.target("default"), &DeleteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        immortal.message,
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
    let shop = Collection::namespaced("v1", "configmaps", "shop");
    let refused = create(&api, &shop, config_map("late", json!({})))
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "configmaps \"late\" is forbidden: unable to create new content in namespace shop because it is being terminated"
    );
    let again = api.delete(&target, &DeleteOptions::default()).await.unwrap_err();
    assert!(again.is_conflict(), "{again}");
    let mut emptied = Object::clone(&marked);
    emptied.set(&["spec", "finalizers"], Vec::<String>::new());
    api.update(
        &target.clone().subresource("finalize"),
        emptied,
        &WriteOptions::default(),
    )
    .await
    .unwrap();
    assert!(api.get(&target).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let api = api().await;
    let services = Collection::namespaced("v1", "services", "default");
    let service = |name: &str, address: Option<&str>| {
        let mut service = object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}], "type": "NodePort"},
        }));
        if let Some(address) = address {
            service.set(&["spec", "clusterIP"], address);
        }
        service
    };
    let web = create(&api, &services, service("web", Some("10.43.0.10")))
        .await
        .unwrap();
    assert_eq!(web.text(&["spec", "clusterIP"]), Some("10.43.0.10"));
    let port = web.list(&["spec", "ports"])[0]["nodePort"].as_i64().unwrap();
    assert!((30000..=32767).contains(&port));
    let refused = create(&api, &services, service("other", Some("10.43.0.10")))
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "Service \"other\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: failed to allocate IP \
         10.43.0.10: provided IP is already allocated"
    );
    api.delete(&services.target("web"), &DeleteOptions::default())
        .await
        .unwrap();
    create(&api, &services, service("other", Some("10.43.0.10")))
        .await
        .unwrap();
}

#[tokio::test]
async fn pages_of_a_list_show_one_revision() {
    let api = api().await;
    for name in ["a", "b", "c"] {
        create(&api, &config_maps(), config_map(name, json!({})))
            .await
            .unwrap();
    }
    let mut options = ListOptions {
        limit: 2,
        ..ListOptions::default()
    };
    let first = api.list(&config_maps(), &options).await.unwrap();
    create(&api, &config_maps(), config_map("d", json!({})))
        .await
        .unwrap();
    options.continue_token = first.continue_token.clone();
    let second = api.list(&config_maps(), &options).await.unwrap();
    let names: Vec<&str> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|item| item.name())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(first.resource_version, second.resource_version);
    assert_eq!(second.continue_token, "");
}

#[tokio::test]
async fn both_versions_of_events_are_one_table() {
    let api = api().await;
    let event = object(json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reason": "Started", "message": "Started container", "type": "Normal",
    }));
    create(&api, &Collection::namespaced("v1", "events", "default"), event)
        .await
        .unwrap();
    let newer = Collection::namespaced("events.k8s.io/v1", "events", "default");
    let options = ListOptions {
        field_selector: "regarding.name=web".to_owned(),
        ..ListOptions::default()
    };
    let list = api.list(&newer, &options).await.unwrap();
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].api_version(), "events.k8s.io/v1");
    assert_eq!(list.items[0].text(&["note"]), Some("Started container"));
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_changes_nothing() {
    let api = api().await;
    let dry = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    let shown = api
        .create(&config_maps(), config_map("a", json!({})), &dry)
        .await
        .unwrap();
    assert!(!shown.uid().is_empty());
    assert!(
        api.get(&config_maps().target("a"))
            .await
            .unwrap_err()
            .is_not_found()
    );
    create(&api, &config_maps(), config_map("a", json!({})))
        .await
        .unwrap();
    let refused = api
        .create(&config_maps(), config_map("a", json!({})), &dry)
        .await
        .unwrap_err();
    assert!(refused.is_already_exists());
    let patched = api
        .patch(
            &config_maps().target("a"),
            Patch::Merge(json!({"data": {"k": "v"}})),
            &dry,
        )
        .await
        .unwrap();
    assert_eq!(patched.text(&["data", "k"]), Some("v"));
    let options = DeleteOptions {
        dry_run: true,
        ..DeleteOptions::default()
    };
    api.delete(&config_maps().target("a"), &options).await.unwrap();
    assert_eq!(
        api.get(&config_maps().target("a"))
            .await
            .unwrap()
            .text(&["data", "k"]),
        None
    );
}

#[tokio::test]
async fn err_revisions_that_are_no_longer_kept_are_expired() {
    let limits = Limits {
        history_events_max: 4,
        ..Limits::default()
    };
    let engine = Engine::new(Arc::new(MemoryStore::new(limits)), EngineOptions::default());
    engine.bootstrap().await.unwrap();
    let api = LocalApi::new(engine, "test");
    create(&api, &config_maps(), config_map("a", json!({})))
        .await
        .unwrap();
    create(&api, &config_maps(), config_map("b", json!({})))
        .await
        .unwrap();
    let page = ListOptions {
        limit: 1,
        ..ListOptions::default()
    };
    let first = api.list(&config_maps(), &page).await.unwrap();
    for round in 0..20 {
        let data = json!({"data": {"round": round.to_string()}});
        merge(&api, &config_maps().target("a"), data).await.unwrap();
    }
    let options = WatchOptions {
        resource_version: first.resource_version.clone(),
        ..WatchOptions::default()
    };
    let mut watch = api.watch(&config_maps(), &options).await.unwrap();
    assert_eq!(next(&mut watch).await, "ERROR 410");
    assert!(watch.next().await.is_none());
    let next_page = ListOptions {
        continue_token: first.continue_token,
        ..page
    };
    let refused = api.list(&config_maps(), &next_page).await.unwrap_err();
    assert_eq!(refused.code, 410);
}

#[tokio::test]
async fn version_and_health_are_served() {
    let api = api().await;
    let version: Value = serde_json::from_slice(&api.raw("/version").await.unwrap()).unwrap();
    assert_eq!(version["gitVersion"], "v1.37.0+tug.0");
    assert_eq!(api.raw("/readyz").await.unwrap(), b"ok");
    assert_eq!(api.raw("/nothing").await.unwrap_err().code, 404);
    let discovery = api.discovery().await.unwrap();
    assert!(
        discovery
            .resource_of("apps", "v1", "Deployment")
            .is_some_and(|found| found.namespaced)
    );
}

/// Creates a transaction of these operations; gives the outcomes as words, or the refusal.
async fn transact(api: &LocalApi, operations: Value, dry_run: bool) -> Result<Vec<String>, Status> {
    let request = object(json!({
        "apiVersion": "tug.dev/v1", "kind": "Transaction", "metadata": {"name": "t"},
        "spec": {"operations": operations},
    }));
    let options = WriteOptions {
        dry_run,
        field_manager: "helm".to_owned(),
        ..WriteOptions::default()
    };
    let collection = Collection::all("tug.dev/v1", "transactions");
    let answer = api.create(&collection, request, &options).await?;
    let results = answer.list(&["status", "results"]).iter();
    Ok(results
        .map(|result| result["outcome"].as_str().unwrap_or_default().to_owned())
        .collect())
}

fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

#[tokio::test]
async fn a_transaction_changes_all_its_objects_at_consecutive_revisions() {
    let api = api().await;
    create(&api, &config_maps(), config_map("old", json!({})))
        .await
        .unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let mut inside = config("inside", &json!({}));
    inside["metadata"]["namespace"] = "shop".into();
    let operations = json!([
        // What comes later sees what comes before: the namespace is there for its object.
        {"create": namespace},
        {"apply": inside},
        {"apply": config("a", &json!({"k": "1"})), "force": true},
        {"apply": config("a", &json!({"k": "2"}))},
        {"delete": config("old", &json!({}))},
        {"delete": config("never", &json!({}))},
    ]);
    let before = api.engine().revision().0;
    let outcomes = transact(&api, operations.clone(), true).await.unwrap();
    let expected = ["created", "created", "created", "configured", "deleted", "absent"];
    assert_eq!(outcomes, expected);
    assert_eq!(api.engine().revision().0, before, "a dry run changes nothing");
    assert_eq!(transact(&api, operations, false).await.unwrap(), expected);
    assert_eq!(
        api.engine().revision().0,
        before + 4,
        "one revision for each object that changed"
    );
    let stored = api.get(&config_maps().target("a")).await.unwrap();
    assert_eq!(stored.text(&["data", "k"]), Some("2"));
    assert!(
        api.get(&config_maps().target("old"))
            .await
            .unwrap_err()
            .is_not_found()
    );
    let same = json!([{"apply": config("a", &json!({"k": "2"}))}]);
    assert_eq!(transact(&api, same, false).await.unwrap(), ["unchanged"]);
}

#[tokio::test]
async fn err_one_refused_operation_refuses_the_transaction() {
    let api = api().await;
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30999}]}})
    };
    for (bad, part) in [
        (
            json!({"apply": config("b", &json!({"k": [1]}))}),
            "ConfigMap in version",
        ),
        (json!({"create": config("a", &json!({}))}), "already exists"),
        (
            json!({"apply": {"apiVersion": "moon/v1", "kind": "Crater", "metadata": {"name": "c"}}}),
            "no objects of kind",
        ),
        (
            json!({"apply": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}}),
            "must say its namespace",
        ),
        (json!({"update": config("never", &json!({}))}), "not found"),
        // The port is taken by the service before it.
        (json!({"apply": service("second")}), "already allocated"),
    ] {
        let before = api.engine().revision();
        let operations = json!([{"apply": config("a", &json!({}))}, {"apply": service("first")}, bad]);
        let refused = transact(&api, operations, false).await.unwrap_err();
        assert!(refused.message.contains(part), "{refused}");
        let cause = refused.causes.last().unwrap();
        assert_eq!(
            (cause.reason.as_str(), cause.field.as_str()),
            ("OperationRefused", "spec.operations[2]")
        );
        assert_eq!(api.engine().revision(), before, "nothing of it is done");
    }
    // And the port is free again.
    transact(&api, json!([{"apply": service("first")}]), false)
        .await
        .unwrap();
}

#[tokio::test]
async fn err_what_is_no_transaction() {
    let api = api().await;
    for (operations, part) in [
        (json!([]), "must have 1 to"),
        (json!([7]), "must be an object"),
        (json!([{}]), "must have one of"),
        (
            json!([{"apply": config("a", &json!({})), "delete": config("a", &json!({}))}]),
            "must have one of",
        ),
        (
            json!([{"create": config("a", &json!({})), "force": true}]),
            "`force` is not known beside `create`",
        ),
        (
            json!([{"delete": {"kind": "ConfigMap"}}]),
            "must name its apiVersion and kind",
        ),
        (
            json!([{"delete": config("a", &json!({})), "options": {"propagationPolicy": "x"}}]),
            "no propagation policy",
        ),
    ] {
        let refused = transact(&api, operations, false).await.unwrap_err();
        assert!(refused.message.contains(part), "{refused}");
    }
}
