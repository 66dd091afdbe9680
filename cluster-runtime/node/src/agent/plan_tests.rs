//! Tables of plans: what is wanted, what is seen, and the steps that follow.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::Backoff;
use cluster_objects::Object;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::observed::{
    Condemned, CutShort, Ended, Ground, ImageFailure, ImageState, Instance, InstanceState, Observed, Refusal,
    Removal, Running,
};
use super::plan::{Step, plan};
use super::pod::Pod;
use super::status::{phase_of, status_of};
use crate::image::Image;
use crate::runtime::ContainerId;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(10),
    max: Duration::from_secs(300),
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

/// What is seen, put together step by step; the present is second 1000.
#[derive(Clone)]
struct Scene {
    pod: Value,
    seen: Observed,
}

/// A pod of these containers; `i:` before a name is an init container, `s:` a sidecar, `e:` an ephemeral one.
fn scene(containers: &str) -> Scene {
    let (mut main, mut init, mut ephemeral) = (Vec::new(), Vec::new(), Vec::new());
    for name in containers.split(' ') {
        match name.split_once(':') {
            Some(("i", name)) => init.push(json!({ "name": name, "image": "img:1" })),
            Some(("e", name)) => ephemeral.push(json!({ "name": name, "image": "img:1" })),
            Some((_, name)) => {
                init.push(json!({ "name": name, "image": "img:1", "restartPolicy": "Always" }));
            }
            None => main.push(json!({ "name": name, "image": "img:1" })),
        }
    }
    let pod = json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u1" },
        "spec": { "containers": main, "initContainers": init, "ephemeralContainers": ephemeral },
    });
    Scene {
        pod,
        seen: Observed::new(at(1000)),
    }
}

impl Scene {
    fn spec(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.pod["spec"][key] = value.into();
        self
    }

    fn deleted(mut self, grace: i64) -> Self {
        self.pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        self.pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self
    }

    fn ready(mut self) -> Self {
        self.seen.ground = Ground::Ready {
            ips: vec!["10.1.0.5".parse().unwrap()],
        };
        self
    }

    fn ground(mut self, ground: Ground) -> Self {
        self.seen.ground = ground;
        self
    }

    fn image(mut self, name: &str) -> Self {
        let image = Image {
            name: "docker.io/library/img:1".into(),
            id: DIGEST.parse().unwrap(),
            digest: DIGEST.parse().unwrap(),
            config: Default::default(),
            layers: Vec::new(),
        };
        self.seen
            .images
            .insert(name.into(), ImageState::Present(Box::new(image)));
        self
    }

    fn state(mut self, name: &str, attempt: u32, state: InstanceState) -> Self {
        let last = (attempt > 0).then(|| ended_with(1, at(900)));
        self.seen.containers.insert(
            name.into(),
            Instance {
                attempt,
                state,
                last,
                level: attempt,
            },
        );
        self
    }

    fn starting(self, name: &str) -> Self {
        self.state(name, 0, InstanceState::Starting)
    }

    fn running(self, name: &str) -> Self {
        let state = InstanceState::Running(running(name));
        self.state(name, 0, state)
    }

    /// Ended with a code, so many seconds ago, after so many restarts.
    fn ended(self, name: &str, code: i32, ago: i64, attempt: u32) -> Self {
        self.state(
            name,
            attempt,
            InstanceState::Ended(ended_with(code, at(1000 - ago))),
        )
    }

    fn change(mut self, change: impl FnOnce(&mut Observed)) -> Self {
        change(&mut self.seen);
        self
    }

    fn read(&self) -> Pod {
        Pod::read(Arc::new(Object::from_value(self.pod.clone()).unwrap())).unwrap()
    }

    fn steps(&self) -> Vec<String> {
        plan(&self.read(), &self.seen, &BACKOFF)
            .into_iter()
            .map(|step| shown(&step))
            .collect()
    }
}

fn running(name: &str) -> Running {
    Running {
        id: ContainerId::of("u1", name, 0),
        image_id: "img".into(),
        stop_signal: "SIGTERM".into(),
        started: at(100),
        is_started: true,
        is_ready: true,
        condemned: None,
        stop_until: None,
    }
}

fn ended_with(code: i32, finished: Timestamp) -> Ended {
    Ended {
        id: Some(ContainerId::of("u1", "c", 0)),
        image_id: "img".into(),
        code,
        signal: None,
        reason: if code == 0 { "Completed" } else { "Error" },
        message: String::new(),
        started: Some(finished - SignedDuration::from_secs(1)),
        finished,
    }
}

/// A step in short: `start main 0`, `stop main 30`, `wait 5` (seconds from now).
fn shown(step: &Step) -> String {
    match step {
        Step::MakeGround => "ground".into(),
        Step::FetchImage { container } => format!("fetch {container}"),
        Step::Start { container, attempt } => format!("start {container} {attempt}"),
        Step::Stop {
            container,
            grace_seconds,
            ..
        } => format!("stop {container} {grace_seconds}"),
        Step::LeaveGround => "leave".into(),
        Step::Remove => "remove".into(),
        Step::WaitUntil(until) => format!("wait {}", until.duration_since(at(1000)).as_secs()),
    }
}

fn check(scene: &Scene, expected: &[&str]) {
    assert_eq!(scene.steps(), expected, "{:#} {:#?}", scene.pod, scene.seen);
}

#[test]
fn what_does_not_depend_on_each_other_begins_together() {
    check(&scene("a b"), &["ground", "fetch a", "fetch b"]);
    check(&scene("a").ground(Ground::Making), &["fetch a"]);
    check(&scene("a").ready(), &["fetch a"]);
    check(&scene("a").image("a").ground(Ground::Making), &[]);
    check(&scene("a b").image("a").ready(), &["start a 0", "fetch b"]);
    check(&scene("a b").starting("a").running("b").ready(), &[]);
    let failed = |until| Ground::Failed {
        message: "no".into(),
        failures: 1,
        until,
    };
    check(&scene("a").image("a").ground(failed(at(1005))), &["wait 5"]);
    check(&scene("a").image("a").ground(failed(at(999))), &["ground"]);
}

#[test]
fn init_containers_go_one_after_the_other_and_sidecars_stay() {
    let two = scene("i:one i:two main").ready();
    check(&two, &["fetch one"]);
    check(&two.clone().image("one"), &["start one 0"]);
    check(&two.clone().running("one"), &[]);
    check(&two.clone().ended("one", 0, 5, 0), &["fetch two"]);
    check(
        &two.clone().ended("one", 0, 5, 0).ended("two", 0, 1, 0),
        &["fetch main"],
    );
    let side = scene("i:one s:side main").ready().ended("one", 0, 5, 0);
    check(&side, &["fetch side"]);
    let coming = side.clone().running("side").change(|seen| {
        seen.running_mut("side", 0).unwrap().is_started = false;
    });
    check(&coming, &[]);
    check(&side.clone().running("side"), &["fetch main"]);
    // A sidecar that ends beside running containers is started again, whatever its code and the policy.
    let lost = side
        .clone()
        .spec("restartPolicy", "Never")
        .running("main")
        .ended("side", 0, 1, 0);
    check(&lost, &["fetch side"]);
    check(&lost.clone().image("side"), &["start side 1"]);
}

#[test]
fn a_failed_init_container_follows_the_policy() {
    let failed = scene("i:one main").ready().ended("one", 1, 1, 0);
    check(&failed, &["fetch one"]);
    check(&failed.clone().spec("restartPolicy", "OnFailure"), &["fetch one"]);
    let never = failed.spec("restartPolicy", "Never");
    check(&never, &["leave"]);
    assert_eq!(phase_of(&never.read(), &never.seen), "Failed");
}

#[test]
fn ended_containers_follow_the_policy() {
    let one = |policy: &str, code| {
        scene("a")
            .ready()
            .spec("restartPolicy", policy)
            .ended("a", code, 1, 0)
    };
    check(&one("Always", 0), &["fetch a"]);
    check(&one("Always", 1), &["fetch a"]);
    check(&one("OnFailure", 1), &["fetch a"]);
    check(&one("OnFailure", 0), &["leave"]);
    check(&one("Never", 1), &["leave"]);
    check(&one("Never", 0).ground(Ground::Left), &[]);
    // The pod has ended when all have.
    check(
        &scene("a b")
            .ready()
            .spec("restartPolicy", "Never")
            .ended("a", 0, 1, 0)
            .running("b"),
        &[],
    );
    // A sidecar does not keep the pod up.
    let side = scene("s:side a")
        .ready()
        .spec("restartPolicy", "Never")
        .ended("a", 0, 1, 0)
        .running("side");
    check(&side, &["stop side 30"]);
    for (policy, code, phase) in [
        ("Always", 0, "Running"),
        ("OnFailure", 0, "Succeeded"),
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 1, "Running"),
    ] {
        let scene = one(policy, code);
        assert_eq!(phase_of(&scene.read(), &scene.seen), phase, "{policy} {code}");
    }
}

#[test]
fn waits_between_restarts_double_up_to_the_longest() {
    for (restarts, expected) in [
        (0, "fetch a"),
        (1, "wait 8"),
        (2, "wait 18"),
        (3, "wait 38"),
        (5, "wait 158"),
        (9, "wait 298"),
    ] {
        check(&scene("a").ready().ended("a", 1, 2, restarts), &[expected]);
    }
    check(
        &scene("a").ready().image("a").ended("a", 1, 11, 1),
        &["start a 2"],
    );
}

#[test]
fn images_that_cannot_be_had_are_tried_again() {
    let failed = |at_second, until| {
        scene("a").ready().change(move |seen| {
            let failure = ImageFailure {
                reason: "ErrImagePull",
                message: "no".into(),
                failures: 1,
                at: at(at_second),
                until: at(until),
            };
            seen.images.insert("a".into(), ImageState::Failed(failure));
        })
    };
    let reason = |scene: &Scene| {
        let status = status_of(&scene.read(), &scene.seen, &BACKOFF, "10.0.0.1");
        status["containerStatuses"][0]["state"]["waiting"]["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let fresh = failed(1000, 1010);
    check(&fresh, &["wait 1"]);
    assert_eq!(reason(&fresh), "ErrImagePull");
    let waiting = failed(995, 1005);
    check(&waiting, &["wait 5"]);
    assert_eq!(reason(&waiting), "ImagePullBackOff");
    check(&failed(980, 990), &["fetch a"]);
}

#[test]
fn what_cannot_be_made_is_tried_again() {
    let refused = |until| {
        let reason = "CreateContainerConfigError";
        let message = "configmap \"x\" not found".to_owned();
        scene("a").ready().state(
            "a",
            0,
            InstanceState::Refused(Refusal {
                reason,
                message,
                failures: 1,
                until: at(until),
            }),
        )
    };
    check(&refused(1003), &["wait 3"]);
    check(&refused(999), &["fetch a"]);
    check(&refused(999).image("a"), &["start a 0"]);
    let status = status_of(&refused(1003).read(), &refused(1003).seen, &BACKOFF, "");
    assert_eq!(
        status["containerStatuses"][0]["state"],
        json!({ "waiting": { "reason": "CreateContainerConfigError", "message": "configmap \"x\" not found" } })
    );
}

#[test]
fn a_condemned_container_is_stopped_once() {
    let condemned = scene("a b").ready().running("a").running("b").change(|seen| {
        let message = "unhealthy".to_owned();
        seen.running_mut("a", 0).unwrap().condemned = Some(Condemned {
            message,
            grace_seconds: Some(3),
        });
    });
    check(&condemned, &["stop a 3"]);
    check(
        &condemned.change(|seen| seen.running_mut("a", 0).unwrap().stop_until = Some(at(1003))),
        &[],
    );
}

#[test]
fn a_deleted_pod_stops_in_order_and_goes() {
    let all = scene("s:first s:second a b")
        .ready()
        .running("first")
        .running("second")
        .running("a")
        .running("b");
    check(&all.clone().deleted(30), &["stop a 30", "stop b 30"]);
    let stopping = all.clone().deleted(30).change(|seen| {
        seen.stop_began = Some(at(1000));
        for name in ["a", "b"] {
            seen.running_mut(name, 0).unwrap().stop_until = Some(at(1030));
        }
    });
    check(&stopping, &[]);
    // A shorter wish comes through, a longer one does not.
    check(&stopping.clone().deleted(5), &["stop a 5", "stop b 5"]);
    check(&stopping.clone().deleted(60), &[]);
    let mains_gone = stopping
        .clone()
        .ended("a", 0, 0, 0)
        .ended("b", 0, 0, 0)
        .change(|seen| seen.stop_began = Some(at(990)));
    check(&mains_gone, &["stop second 20"]);
    check(&mains_gone.clone().ended("second", 0, 0, 0), &["stop first 20"]);
    let late = mains_gone.change(|seen| seen.stop_began = Some(at(900)));
    check(&late, &["stop second 2"]);
    let ended = late.ended("second", 0, 0, 0).ended("first", 0, 0, 0);
    check(&ended, &["remove"]);
    check(&ended.clone().change(|seen| seen.removal = Removal::Running), &[]);
    check(
        &ended
            .clone()
            .change(|seen| seen.removal = Removal::Again(at(1007))),
        &["wait 7"],
    );
    check(
        &ended.change(|seen| seen.removal = Removal::Again(at(999))),
        &["remove"],
    );
}

#[test]
fn what_is_being_made_is_not_removed_under_its_hands() {
    check(&scene("a").deleted(30).ground(Ground::Making), &[]);
    check(&scene("a").deleted(30).ready().starting("a"), &[]);
    check(&scene("a").deleted(30), &["remove"]);
}

#[test]
fn a_pod_past_its_deadline_fails() {
    let late = scene("a")
        .ready()
        .spec("activeDeadlineSeconds", 60)
        .running("a")
        .change(|seen| seen.began = at(900));
    check(&late.clone().change(|seen| seen.began = at(990)), &["wait 50"]);
    let late = late.change(|seen| {
        seen.cut_short = Some(CutShort {
            reason: "DeadlineExceeded",
            message: "too late".into(),
            grace_seconds: None,
            disrupted: false,
        });
    });
    check(&late, &["stop a 30"]);
    let ended = late.ended("a", 143, 0, 0);
    check(&ended, &["leave"]);
    assert_eq!(phase_of(&ended.read(), &ended.seen), "Failed");
    let status = status_of(&ended.read(), &ended.seen, &BACKOFF, "");
    assert_eq!(status["reason"], "DeadlineExceeded");
}

#[test]
fn an_evicted_pod_has_little_time_and_says_that_it_went_for_others() {
    let evicted = scene("a").ready().running("a").change(|seen| {
        seen.cut_short = Some(CutShort {
            reason: "Evicted",
            message: "The node was low on resource: memory. ".into(),
            grace_seconds: Some(1),
            disrupted: true,
        });
    });
    check(&evicted, &["stop a 1"]);
    let gone = evicted.ended("a", 137, 0, 0);
    check(&gone, &["leave"]);
    let status = status_of(&gone.read(), &gone.seen, &BACKOFF, "");
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Failed"), &json!("Evicted"))
    );
    let conditions = status["conditions"].as_array().unwrap();
    let told = conditions
        .iter()
        .find(|condition| condition["type"] == "DisruptionTarget");
    let told = told.unwrap();
    assert_eq!(told["reason"], "TerminationByKubelet");
    assert_eq!(told["message"], status["message"]);
}

#[test]
fn a_pod_that_comes_under_pressure_waits_for_the_next_look() {
    let held = scene("a").change(|seen| seen.held_until = Some(at(1010)));
    check(&held, &["wait 10"]);
    check(&held.clone().deleted(30), &["remove"]);
    check(
        &held.change(|seen| seen.held_until = None),
        &["ground", "fetch a"],
    );
}

#[test]
fn a_pod_that_ended_before_is_not_run_again() {
    let before = scene("a").change(|seen| seen.ended_before = true);
    check(&before, &[]);
    check(&before.clone().ready(), &["leave"]);
    check(&before.deleted(30), &["remove"]);
}

/// The reason or kind of each container's state, and what the whole says.
fn summary(scene: &Scene) -> String {
    let status = status_of(&scene.read(), &scene.seen, &BACKOFF, "10.0.0.1");
    let state = |container: &Value| {
        let (kind, state) = container["state"].as_object().unwrap().iter().next().unwrap();
        let reason = state["reason"].as_str().unwrap_or(kind).to_owned();
        let last = &container["lastState"]["terminated"]["reason"];
        last.as_str()
            .map_or(reason.clone(), |last| format!("{reason} after {last}"))
    };
    let all = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|key| status[key].as_array());
    let states: Vec<String> = all.flatten().map(state).collect();
    let conditions = status["conditions"].as_array().unwrap().iter();
    let holding: Vec<&str> = conditions
        .filter(|condition| condition["status"] == "True")
        .map(|condition| condition["type"].as_str().unwrap())
        .collect();
    format!(
        "{} [{}] {}",
        status["phase"].as_str().unwrap(),
        states.join(", "),
        holding.join(" ")
    )
}

#[test]
fn statuses_are_worded_as_the_kubelet_words_them() {
    let all = "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled";
    for (scene, expected) in [
        (
            scene("a"),
            "Pending [ContainerCreating] Initialized PodScheduled".to_owned(),
        ),
        (
            scene("i:one a"),
            "Pending [ContainerCreating, PodInitializing] PodScheduled".to_owned(),
        ),
        (
            scene("i:one i:two a").ready().running("one"),
            "Pending [running, PodInitializing, PodInitializing] PodReadyToStartContainers PodScheduled"
                .to_owned(),
        ),
        (
            scene("a").ready().running("a"),
            format!("Running [running] {all}"),
        ),
        (
            scene("s:side a").ready().running("side").running("a"),
            format!("Running [running, running] {all}"),
        ),
        (
            scene("a b").ready().running("a").starting("b"),
            "Pending [running, ContainerCreating] PodReadyToStartContainers Initialized PodScheduled"
                .to_owned(),
        ),
        (
            scene("a").ready().ended("a", 1, 2, 1),
            "Running [CrashLoopBackOff after Error] PodReadyToStartContainers Initialized PodScheduled"
                .to_owned(),
        ),
        (
            scene("a").spec("restartPolicy", "Never").ended("a", 0, 2, 0),
            "Succeeded [Completed] Initialized PodScheduled".to_owned(),
        ),
        (
            scene("a").spec("restartPolicy", "Never").ended("a", 3, 2, 0),
            "Failed [Error] Initialized PodScheduled".to_owned(),
        ),
    ] {
        assert_eq!(summary(&scene), expected, "{:#}", scene.pod);
    }
}

#[test]
fn a_crash_loop_tells_how_long_it_waits() {
    let scene = scene("a").ready().ended("a", 1, 2, 6);
    let status = status_of(&scene.read(), &scene.seen, &BACKOFF, "");
    assert_eq!(
        status["containerStatuses"][0]["state"]["waiting"]["message"],
        "back-off 5m0s restarting failed container=a pod=web_default(u1)"
    );
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let with = |resources: Value| {
        let mut scene = scene("a");
        scene.pod["spec"]["containers"][0]["resources"] = resources;
        super::status::qos_class(&scene.read())
    };
    assert_eq!(with(json!({})), "BestEffort");
    assert_eq!(
        with(json!({ "limits": { "cpu": "1", "memory": "1Gi" } })),
        "Guaranteed"
    );
    assert_eq!(
        with(
            json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1000m", "memory": "1024Mi" } })
        ),
        "Guaranteed"
    );
    assert_eq!(
        with(json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m" } })),
        "Burstable"
    );
    assert_eq!(with(json!({ "requests": { "memory": "1Gi" } })), "Burstable");
}

#[test]
fn an_ephemeral_container_runs_once_beside_the_others() {
    let base = || scene("a e:debug").ready();
    check(&base().running("a"), &["fetch debug"]);
    check(&base().running("a").image("debug"), &["start debug 0"]);
    check(&scene("i:x a e:debug").ready().running("x"), &["fetch debug"]);
    check(&base().running("a").running("debug"), &[]);
    check(&base().running("a").ended("debug", 1, 500, 0), &[]);
    let done = base().spec("restartPolicy", "Never").ended("a", 0, 1, 0);
    check(&done.clone().running("debug"), &["stop debug 30"]);
    check(&done.ended("debug", 0, 1, 0), &["leave"]);
    check(
        &base().running("a").running("debug").deleted(7),
        &["stop a 7", "stop debug 7"],
    );

    let scene = base().running("a").running("debug");
    let status = status_of(&scene.read(), &scene.seen, &BACKOFF, "10.0.0.1");
    let shown = &status["ephemeralContainerStatuses"][0];
    assert_eq!(
        (&shown["name"], &shown["ready"]),
        (&json!("debug"), &json!(false))
    );
    assert!(
        shown["state"]["running"].is_object() && shown.get("started").is_none(),
        "{shown}"
    );
    assert_eq!(status["containerStatuses"].as_array().unwrap().len(), 1);
    assert_eq!(phase_of(&scene.read(), &scene.seen), "Running");
    let ready = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["type"] == "Ready");
    assert_eq!(ready.unwrap()["status"], "True", "nobody waits for it");
}
