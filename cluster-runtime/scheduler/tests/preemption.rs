//! Preemption: who goes for whom, and what everybody is told.

use std::sync::Arc;
use std::time::Duration;

use cluster_apiserver::LocalApi;
use cluster_client::{Api, Collection, DeleteOptions, ListOptions, Target, WriteOptions};
use cluster_objects::Object;
use cluster_scheduler::{
    Chance, ClusterState, PodInfo, Profile, Scheduler, SchedulerOptions, preempt, schedule,
};
use serde_json::{Value, json};

fn node(name: &str, extra: &Value) -> Arc<Object> {
    let mut node = Object::new("v1", "Node", None, name);
    node.set(
        &["metadata", "labels"],
        json!({"kubernetes.io/hostname": name, "zone": "a"}),
    );
    node.set(
        &["status", "allocatable"],
        json!({"cpu": "4", "memory": "8Gi", "pods": "10"}),
    );
    node.set(&["spec"], extra.clone());
    Arc::new(node)
}

/// A pod that asks for so many cores; `extra` is merged into its spec.
fn object(name: &str, priority: i64, cpu: &str, extra: &Value) -> Object {
    let mut pod = Object::new("v1", "Pod", Some("default"), name);
    pod.set(&["metadata", "uid"], name);
    pod.set(
        &["metadata", "labels", "app"],
        name.split('-').next().unwrap_or_default(),
    );
    pod.set(&["spec", "priority"], priority);
    let requests = json!({"cpu": cpu});
    pod.set(
        &["spec", "containers"],
        json!([{"name": "main", "image": "x", "resources": {"requests": requests}}]),
    );
    for (key, value) in extra.as_object().into_iter().flatten() {
        pod.set(&["spec", key.as_str()], value.clone());
    }
    pod
}

fn pod(name: &str, priority: i64, cpu: &str) -> PodInfo {
    PodInfo::new(&Arc::new(object(name, priority, cpu, &json!({}))))
}

fn cluster(nodes: &[&str], placed: &[(&str, PodInfo)]) -> ClusterState {
    let mut state = ClusterState::new();
    for name in nodes {
        state.put_node(&node(name, &json!({})));
    }
    for (node, pod) in placed {
        state.put_pod(pod, &(*node).into());
    }
    state
}

/// `expected` is `node: victims`, or why there are none.
fn check(state: &mut ClusterState, pod: &PodInfo, expected: &str) {
    let before = schedule(state, pod, Profile::Spread, Chance::default());
    let found = match preempt(state, pod, 0) {
        Ok(preemption) => {
            let victims: Vec<&str> = preemption
                .victims
                .iter()
                .map(|victim| &*victim.key.name)
                .collect();
            format!("{}: {}", preemption.node, victims.join(" "))
        }
        Err(why) => why,
    };
    assert_eq!(found, expected);
    let after = schedule(state, pod, Profile::Spread, Chance::default());
    assert_eq!(before, after, "trying changes nothing");
}

#[test]
fn no_more_pods_go_than_must_and_the_least_important_first() {
    let mut state = cluster(
        &["n1"],
        &[
            ("n1", pod("low-1", 1, "2")),
            ("n1", pod("low-2", 2, "1")),
            ("n1", pod("high", 50, "1")),
        ],
    );
    check(&mut state, &pod("new", 10, "1"), "n1: low-1");
    check(&mut state, &pod("new", 10, "3"), "n1: low-2 low-1");
    check(&mut state, &pod("new", 100, "4"), "n1: high low-2 low-1");
}

#[test]
fn the_node_that_costs_least_is_freed() {
    let mut state = cluster(
        &["n1", "n2", "n3"],
        &[
            ("n1", pod("a", 5, "4")),
            ("n2", pod("b", 3, "4")),
            ("n3", pod("c-1", 3, "2")),
            ("n3", pod("c-2", 3, "2")),
        ],
    );
    // The lowest of the highest priorities, then the fewest.
    check(&mut state, &pod("new", 10, "3"), "n2: b");
    state.remove_pod(&pod("b", 3, "4").key);
    state.put_pod(&pod("b", 4, "4"), &"n2".into());
    check(&mut state, &pod("new", 10, "3"), "n3: c-1 c-2");
}

#[test]
fn pods_whose_budget_does_not_let_them_go_are_spared() {
    let budget = |app: &str, allowed: i64, going: Value| {
        let mut budget = Object::new("policy/v1", "PodDisruptionBudget", Some("default"), app);
        budget.set(&["spec", "selector", "matchLabels", "app"], app);
        budget.set(&["status", "disruptionsAllowed"], allowed);
        budget.set(&["status", "disruptedPods"], going);
        budget
    };
    let mut state = cluster(
        &["n1", "n2"],
        &[("n1", pod("kept", 1, "4")), ("n2", pod("a", 9, "4"))],
    );
    check(&mut state, &pod("new", 10, "1"), "n1: kept");
    // Against a budget counts more than the priority of who goes ...
    state.put_budget(&budget("kept", 0, json!({})));
    check(&mut state, &pod("new", 10, "1"), "n2: a");
    // ... unless every way is against one; what goes already is not counted again.
    state.put_budget(&budget("a", 0, json!({})));
    check(&mut state, &pod("new", 10, "1"), "n1: kept");
    state.put_budget(&budget("a", 0, json!({"a": "2026-01-01T00:00:00Z"})));
    check(&mut state, &pod("new", 10, "1"), "n2: a");

    let mut state = cluster(&["n1"], &[("n1", pod("w-1", 1, "2")), ("n1", pod("v-1", 2, "2"))]);
    check(&mut state, &pod("new", 10, "2"), "n1: w-1");
    state.put_budget(&budget("w", 0, json!({})));
    check(&mut state, &pod("new", 10, "2"), "n1: v-1");
    state.put_budget(&budget("w", 1, json!({})));
    check(&mut state, &pod("new", 10, "2"), "n1: w-1");
}

#[test]
fn err_what_pods_that_go_do_not_help_is_told() {
    let mut state = cluster(&["n1"], &[("n1", pod("equal", 10, "4"))]);
    let no_victims = "0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    check(&mut state, &pod("new", 10, "1"), no_victims);
    let elsewhere = object("new", 99, "1", &json!({"nodeSelector": {"disk": "ssd"}}));
    let not_helpful = "0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    check(&mut state, &PodInfo::new(&Arc::new(elsewhere)), not_helpful);
    let never = object("new", 99, "1", &json!({"preemptionPolicy": "Never"}));
    check(
        &mut state,
        &PodInfo::new(&Arc::new(never)),
        "not eligible due to preemptionPolicy=Never.",
    );
    check(
        &mut state,
        &pod("new", 99, "5"),
        "0/1 nodes are available: 1 Insufficient cpu.",
    );
}

#[test]
fn pods_that_refuse_company_go_too() {
    let term = json!({"labelSelector": {"matchLabels": {"app": "new"}}, "topologyKey": "zone"});
    let alone =
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let alone = PodInfo::new(&Arc::new(object("alone", 1, "1", &alone)));
    let mut state = cluster(&["n1"], &[("n1", alone), ("n1", pod("quiet", 1, "1"))]);
    check(&mut state, &pod("new", 10, "1"), "n1: alone");
}

#[test]
fn room_that_was_made_is_kept_from_the_less_important() {
    let mut state = cluster(&["n1"], &[("n1", pod("old", 1, "2"))]);
    let important = pod("important", 10, "2");
    state.nominate(&important, "n1");
    let decide = |state: &ClusterState, pod: &PodInfo| {
        schedule(state, pod, Profile::Spread, Chance::default()).map(|placement| placement.node.to_string())
    };
    assert!(decide(&state, &pod("lesser", 5, "1")).is_err());
    assert_eq!(decide(&state, &pod("greater", 20, "1")).as_deref(), Ok("n1"));
    assert_eq!(decide(&state, &important).as_deref(), Ok("n1"));
    state.forget_nomination(&important.key);
    assert_eq!(decide(&state, &pod("lesser", 5, "1")).as_deref(), Ok("n1"));
}

/// Waits for an object to be as wished, with a limit.
async fn wait_for(api: &LocalApi, target: &Target, wished: impl Fn(&Object) -> bool) -> Arc<Object> {
    for _ in 0..500 {
        if let Ok(object) = api.get(target).await
            && wished(&object)
        {
            return object;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!(
        "{} did not become as wished: {:?}",
        target.name,
        api.get(target).await
    );
}

async fn create(api: &LocalApi, api_version: &str, plural: &str, mut object: Object) -> Arc<Object> {
    object.remove(&["metadata", "uid"]);
    let collection = Collection {
        resource: cluster_objects::GroupVersionResource::new(api_version, plural),
        namespace: object.namespace().map(str::to_owned),
    };
    api.create(&collection, object, &WriteOptions::default())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victims_are_told_marked_and_deleted_and_the_pod_takes_their_place() {
    let api = LocalApi::in_memory().await.unwrap();
    create(
        &api,
        "v1",
        "serviceaccounts",
        Object::new("v1", "ServiceAccount", Some("default"), "default"),
    )
    .await;
    let made = create(&api, "v1", "nodes", Object::new("v1", "Node", None, "n1")).await;
    let mut told = Object::clone(&made);
    told.set(
        &["status"],
        node("n1", &json!({}))
            .at(&["status"])
            .cloned()
            .unwrap_or_default(),
    );
    let status = Target::cluster_wide("v1", "nodes", "n1").subresource("status");
    api.update(&status, told, &WriteOptions::default()).await.unwrap();
    let mut class = Object::new("scheduling.k8s.io/v1", "PriorityClass", None, "high");
    class.set(&["value"], 1000);
    create(&api, "scheduling.k8s.io/v1", "priorityclasses", class).await;
    let scheduler = Scheduler::start(Arc::new(api.clone()), SchedulerOptions::default());

    let target = |name: &str| Target::namespaced("v1", "pods", "default", name);
    let is_bound = |pod: &Object| pod.text(&["spec", "nodeName"]) == Some("n1");
    create(&api, "v1", "pods", object("low", 0, "3", &json!({}))).await;
    wait_for(&api, &target("low"), is_bound).await;
    let mut high = object("high", 0, "3", &json!({"priorityClassName": "high"}));
    high.remove(&["spec", "priority"]);
    let high = create(&api, "v1", "pods", high).await;
    assert_eq!(high.integer(&["spec", "priority"]), Some(1000));

    let low = wait_for(&api, &target("low"), |pod| pod.deletion_timestamp().is_some()).await;
    let marked = low
        .list(&["status", "conditions"])
        .iter()
        .find(|one| one["type"] == "DisruptionTarget");
    assert_eq!(
        marked.map(|one| &one["reason"]),
        Some(&json!("PreemptionByScheduler"))
    );
    wait_for(&api, &target("high"), |pod| {
        pod.text(&["status", "nominatedNodeName"]) == Some("n1")
    })
    .await;
    // What its kubelet does once the containers have ended.
    let gone = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    api.delete(&target("low"), &gone).await.unwrap();
    wait_for(&api, &target("high"), is_bound).await;

    let events = Collection::namespaced("v1", "events", "default");
    let mut found = Vec::new();
    for _ in 0..250 {
        let list = api.list(&events, &ListOptions::default()).await.unwrap();
        found = list
            .items
            .iter()
            .map(|event| {
                let text = |path: &[&str]| event.text(path).unwrap_or_default().to_owned();
                (
                    text(&["involvedObject", "name"]),
                    text(&["reason"]),
                    text(&["message"]),
                )
            })
            .collect();
        if found.iter().any(|(_, reason, _)| reason == "Preempted") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let preempted = format!("Preempted by pod {} on node n1", high.uid());
    assert!(
        found.contains(&("low".into(), "Preempted".into(), preempted)),
        "{found:?}"
    );
    let refused = "0/1 nodes are available: 1 Insufficient cpu.";
    assert!(
        found.contains(&("high".into(), "FailedScheduling".into(), refused.into())),
        "{found:?}"
    );
    scheduler.stop().await;
}
