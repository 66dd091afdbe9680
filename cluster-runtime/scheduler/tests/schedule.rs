//! The decision for one pod: what each filter says, what each score prefers.

use std::sync::Arc;

use cluster_objects::Object;
use cluster_scheduler::{Chance, ClusterState, Helps, PodInfo, Profile, Refusals, schedule};
use serde_json::{Value, json};

/// A node with 4 cores, 8 GiB and room for 3 pods; `extra` is merged into its labels, allocatable and spec.
fn node(name: &str, extra: &Value) -> Arc<Object> {
    let mut node = Object::new("v1", "Node", None, name);
    node.set(&["metadata", "labels"], json!({"kubernetes.io/hostname": name}));
    node.set(
        &["status", "allocatable"],
        json!({"cpu": "4", "memory": "8Gi", "pods": "3"}),
    );
    merge(&mut node, &["metadata", "labels"], &extra["labels"]);
    merge(&mut node, &["status", "allocatable"], &extra["allocatable"]);
    merge(&mut node, &["spec"], &extra["spec"]);
    Arc::new(node)
}

fn merge(object: &mut Object, path: &[&str], fields: &Value) {
    for (key, value) in fields.as_object().into_iter().flatten() {
        let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
        object.set(&path, value.clone());
    }
}

/// A pod with this spec, and with its name up to the first dash as label `app`.
fn pod(name: &str, spec: &Value) -> PodInfo {
    let mut pod = Object::new("v1", "Pod", Some("default"), name);
    pod.set(&["metadata", "uid"], name);
    let app = name.split('-').next().unwrap_or_default();
    pod.set(&["metadata", "labels", "app"], app);
    pod.set(&["spec"], spec.clone());
    PodInfo::new(&Arc::new(pod))
}

fn requests(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
}

/// A cluster of these nodes, with these pods on them.
fn cluster(nodes: &[Arc<Object>], placed: &[(&str, PodInfo)]) -> ClusterState {
    let mut state = ClusterState::new();
    nodes.iter().for_each(|node| state.put_node(node));
    for (node, pod) in placed {
        state.put_pod(pod, &(*node).into());
    }
    state
}

fn decide(state: &ClusterState, pod: &PodInfo) -> Result<String, Refusals> {
    let placement = schedule(state, pod, Profile::Spread, Chance::default())?;
    Ok(placement.node.to_string())
}

/// `expected` is the name of a node, or what the pod is told.
fn check(state: &ClusterState, pod: &PodInfo, expected: &str) {
    // With and without counts that are kept, the answer is the same.
    let mut remembering = state.clone();
    remembering.remember_choices(pod);
    for state in [state, &remembering] {
        let found = decide(state, pod).unwrap_or_else(|refusals| refusals.to_string());
        assert_eq!(found, expected, "{}", pod.key);
    }
}

#[test]
fn err_every_filter_says_why_it_refuses() {
    let tainted = json!({"spec": {"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]}});
    let nodes = [
        node("n1", &json!({"spec": {"unschedulable": true}})),
        node("n2", &tainted),
        node("n3", &json!({"allocatable": {"cpu": "1"}})),
    ];
    let state = cluster(&nodes, &[]);
    let mixed = "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), \
                 1 node(s) were unschedulable.";
    check(&state, &pod("web", &requests("2", "1Gi")), mixed);

    let state = cluster(&[node("n1", &json!({}))], &[]);
    let one = |spec: &Value, why: &str| {
        check(
            &state,
            &pod("web", spec),
            &format!("0/1 nodes are available: {why}."),
        );
    };
    one(&requests("5", "9Gi"), "1 Insufficient cpu, 1 Insufficient memory");
    let affinity = "1 node(s) didn't match Pod's node affinity/selector";
    one(&json!({"nodeSelector": {"disk": "ssd"}}), affinity);
    one(
        &json!({"nodeName": "n9"}),
        "1 node(s) didn't match the requested node name",
    );
    let gpu = json!({"containers": [{"resources": {"requests": {"nvidia.com/gpu": 1}}}]});
    one(&gpu, "1 Insufficient nvidia.com/gpu");
    let claim = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
    one(&claim, "persistentvolumeclaim \"data\" not found");
    let lonely = company("podAffinity", "db", "kubernetes.io/hostname");
    one(&lonely, "1 node(s) didn't match pod affinity rules");
    check(
        &ClusterState::new(),
        &pod("web", &json!({})),
        "no nodes available to schedule pods",
    );
}

#[test]
fn what_is_taken_is_not_given_again() {
    let listening = json!({"containers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let busy = [
        ("n1", pod("a", &requests("3", "1Gi"))),
        ("n2", pod("b", &listening)),
    ];
    let nodes = [node("n1", &json!({})), node("n2", &json!({}))];
    let mut state = cluster(&nodes, &busy);
    check(&state, &pod("big", &requests("2", "1Gi")), "n2");
    let port = |address: &str| json!({"containers": [{"ports": [{"hostPort": 80, "hostIP": address}]}]});
    check(&state, &pod("port", &port("")), "n1");
    check(&state, &pod("port", &port("127.0.0.1")), "n1");
    let full = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't have free ports for the requested \
                pod ports.";
    let mut both = port("");
    both["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    check(&state, &pod("both", &both), full);
    state.remove_pod(&pod("a", &json!({})).key);
    check(&state, &pod("both", &both), "n1");

    for name in ["c", "d", "e"] {
        state.put_pod(&pod(name, &json!({})), &"n1".into());
    }
    state.remove_node("n2");
    check(
        &state,
        &pod("web", &json!({})),
        "0/1 nodes are available: 1 Too many pods.",
    );
}

fn zones() -> [Arc<Object>; 4] {
    let of = |name: &str, zone: &str| node(name, &json!({"labels": {"zone": zone}}));
    [
        of("a1", "a"),
        of("a2", "a"),
        of("b1", "b"),
        node("lost", &json!({})),
    ]
}

fn company(kind: &str, app: &str, key: &str) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

#[test]
fn pods_go_where_their_company_is_and_keep_away_from_others() {
    let state = cluster(&zones(), &[("b1", pod("db-0", &json!({})))]);
    check(&state, &pod("web", &company("podAffinity", "db", "zone")), "b1");
    let away = company("podAntiAffinity", "db", "zone");
    let found = decide(&state, &pod("web", &away)).expect("a node");
    assert_ne!(found, "b1");
    // The first of its kind may go anywhere in the topology, the next must follow it.
    let together = company("podAffinity", "team", "zone");
    let found = decide(&cluster(&zones(), &[]), &pod("team-0", &together)).expect("a node");
    assert_ne!(found, "lost");
    let state = cluster(&zones(), &[("b1", pod("team-0", &together))]);
    check(&state, &pod("team-1", &together), "b1");
}

#[test]
fn pods_that_refuse_company_are_left_alone() {
    let alone = pod("alone-0", &company("podAntiAffinity", "web", "zone"));
    let mut state = cluster(&zones()[..3], &[("a1", alone.clone())]);
    check(&state, &pod("web", &json!({})), "b1");
    state.remove_node("b1");
    let refused = "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.";
    check(&state, &pod("web", &json!({})), refused);
    state.remove_pod(&alone.key);
    assert!(decide(&state, &pod("web", &json!({}))).is_ok());

    let each = company("podAntiAffinity", "each", "kubernetes.io/hostname");
    let mut state = cluster(&zones()[..2], &[]);
    for number in 0..2 {
        let pod = Arc::new(pod(&format!("each-{number}"), &each));
        state.remember_choices(&pod);
        let node = decide(&state, &pod).expect("a node");
        state.put_pod(&pod, &node.as_str().into());
    }
    let refused = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.";
    check(&state, &pod("each-2", &each), refused);
}

#[test]
fn pods_are_spread_evenly_over_a_topology() {
    let constraint = |unsatisfiable: &str| {
        json!({"containers": [{"name": "main"}], "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": unsatisfiable,
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]})
    };
    let mut state = cluster(&zones(), &[]);
    let mut in_b = 0;
    for number in 0..6 {
        let pod = Arc::new(pod(&format!("web-{number}"), &constraint("DoNotSchedule")));
        state.remember_choices(&pod);
        let node = decide(&state, &pod).expect("a node");
        in_b += usize::from(node == "b1");
        state.put_pod(&pod, &node.as_str().into());
    }
    assert_eq!(in_b, 3);
    // Zone b is full now, and zone a may not have more; a node outside the topology has no place in it.
    state.put_pod(&pod("web-6", &json!({})), &"a2".into());
    let refused = "0/4 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints \
                   (missing required label), 2 node(s) didn't match pod topology spread constraints.";
    check(&state, &pod("web-7", &constraint("DoNotSchedule")), refused);
    assert!(decide(&state, &pod("web-7", &constraint("ScheduleAnyway"))).is_ok());
}

#[test]
fn the_profile_decides_between_free_and_full_nodes() {
    let nodes = [node("full", &json!({})), node("free", &json!({}))];
    let state = cluster(&nodes, &[("full", pod("a", &requests("2", "4Gi")))]);
    let placed = |profile| {
        let placement = schedule(
            &state,
            &pod("web", &requests("1", "2Gi")),
            profile,
            Chance::default(),
        );
        placement.expect("a node").node.to_string()
    };
    assert_eq!(placed(Profile::Spread), "free");
    assert_eq!(placed(Profile::Binpack), "full");
}

#[test]
fn wishes_are_honoured_where_they_can_be() {
    let avoided = json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}});
    let nodes = [
        node("n1", &avoided),
        node("n2", &json!({})),
        node("n3", &json!({"labels": {"disk": "ssd"}})),
    ];
    check(&cluster(&nodes[..2], &[]), &pod("web", &json!({})), "n2");
    let expression = json!({"key": "disk", "operator": "In", "values": ["ssd"]});
    let wish = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference": {"matchExpressions": [expression]}},
    ]}}});
    check(&cluster(&nodes, &[]), &pod("web", &wish), "n3");
    let term =
        json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}});
    let liked = json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "podAffinityTerm": term},
    ]}}});
    let placed = [("n2", pod("db-0", &json!({})))];
    check(&cluster(&nodes[1..], &placed), &pod("web", &liked), "n2");
}

#[test]
fn refusals_tell_which_changes_may_help() {
    let state = cluster(&[node("n1", &json!({}))], &[]);
    let refusals = |spec: &Value| decide(&state, &pod("web", spec)).expect_err("refused");
    let helped = |refusals: &Refusals| -> Vec<Helps> {
        let changes = [Helps::Node, Helps::PodGone, Helps::PodPlaced, Helps::Volume];
        changes
            .into_iter()
            .filter(|change| refusals.are_helped_by(*change))
            .collect()
    };
    assert_eq!(
        helped(&refusals(&requests("9", "1Gi"))),
        [Helps::Node, Helps::PodGone]
    );
    assert_eq!(
        helped(&refusals(&json!({"nodeSelector": {"a": "b"}}))),
        [Helps::Node]
    );
    let lonely = company("podAffinity", "db", "kubernetes.io/hostname");
    assert_eq!(
        helped(&refusals(&lonely)),
        [Helps::Node, Helps::PodGone, Helps::PodPlaced]
    );
    let homeless = decide(&ClusterState::new(), &pod("web", &json!({}))).expect_err("refused");
    assert_eq!(helped(&homeless), [Helps::Node]);
}
