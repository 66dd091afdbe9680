//! Agent, shims and containers are killed at any moment, in the middle of starts, ends and pulls: every pod comes to what
//! it should be, and nothing is left of those that are gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use test_support::{Kubectl, Lab, Output, Registry, until};

const LIMIT: Duration = Duration::from_secs(300);
const REGISTRY: &str = Registry::ADDRESS;

/// Pods with everything that is made for a pod: claims, config maps, secrets, memory, a part of a volume.
const WORKLOADS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {greeting: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes:
      - {name: words, configMap: {name: words}}
      - {name: memory, emptyDir: {medium: Memory}}
      - {name: disk, emptyDir: {}}
      containers:
      - name: web
        image: tug/hello:1.0
        readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}
        volumeMounts:
        - {name: words, mountPath: /words}
        - {name: words, mountPath: /one-word, subPath: greeting}
        - {name: memory, mountPath: /memory}
        - {name: disk, mountPath: /disk}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: db, image: 'tug/hello:1.0', volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: inner}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
";

/// What the machine holds for the pods of a lab.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    sandboxes: usize,
    containers: usize,
    /// Mounts below the data folder.
    mounts: usize,
    /// Control groups of pods and containers, as many as the tree has most of.
    groups: usize,
    /// Links of pods on the host's side.
    links: usize,
    /// Shims that run.
    shims: usize,
    /// Folders of pods and of their logs.
    folders: usize,
    /// Chains of services, and pods under policies.
    rules: (usize, usize),
    /// Layers of images that containers hold.
    leases: usize,
}

fn entries(path: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(path).into_iter().flatten().flatten();
    listed.map(|entry| entry.path()).collect()
}

fn held(lab: &Lab) -> Held {
    let data = lab.data_dir();
    let run = data.join("node/run");
    let text = data.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let shims = entries(Path::new("/proc")).into_iter().filter(|process| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("__shim") && line.contains(&text)
    });
    let mut list = lab.command("ip");
    list.args(["-oneline", "link", "show", "type", "veth"]);
    let links = lab.run(list).ok().lines().count();
    let mut list = lab.command("nft");
    list.args(["list", "ruleset"]);
    let rules = lab.run(list).ok().to_owned();
    let kubernetes = 1;
    Held {
        sandboxes: entries(&run.join("sandboxes")).len(),
        containers: entries(&run.join("containers")).len(),
        mounts: mounts.lines().filter(|line| line.contains(&text)).count(),
        groups: groups(&run),
        links,
        shims: shims.count(),
        folders: entries(&data.join("node/pods")).len() + entries(&data.join("node/logs")).len(),
        rules: (
            rules.matches("chain service_").count() - kubernetes,
            rules.matches("jump ingress_").count(),
        ),
        leases: entries(&data.join("images/leases")).len(),
    }
}

/// Control groups of the lab's containers. They have the lab's own sign in their path, which its containers tell.
fn groups(run: &Path) -> usize {
    let sign = SIGN.get_or_init(|| {
        let spec = entries(&run.join("containers")).into_iter().find_map(|folder| {
            let text = fs::read_to_string(folder.join("spec.json")).ok()?;
            let (_, rest) = text.split_once("\"cgroup\":\"/")?;
            Some(rest.split('/').next()?.to_owned())
        });
        spec.expect("a container runs")
    });
    let trees = entries(Path::new("/sys/fs/cgroup"))
        .into_iter()
        .chain([PathBuf::from("/sys/fs/cgroup")]);
    let of_tree = |tree: PathBuf| {
        let pods = entries(&tree.join(sign)).into_iter().filter(|path| path.is_dir());
        pods.map(|pod| 1 + entries(&pod).iter().filter(|path| path.is_dir()).count())
            .sum::<usize>()
    };
    trees.map(of_tree).max().unwrap_or(0)
}

static SIGN: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let index = self.below(list.len().max(1) as u64);
        list.get(usize::try_from(index).unwrap())
    }
}

/// A registry with an image to pull; `None`, with a word, where something is not installed.
fn registry(lab: &Lab) -> Option<Registry> {
    let archive = lab.folder().join("box.tar");
    let mut build = lab.command("python3");
    build
        .arg(test_support::repository().join("scripts/build-image.py"))
        .args(["--name", "box:1", "--out"])
        .arg(&archive)
        .args(["--", "sleep", "100000"]);
    lab.run(build).ok();
    Registry::start(lab, &[("box:1", &archive)])
}

fn kill(lab: &Lab, pid: &str) {
    let mut kill = lab.command("kill");
    kill.args(["-9", pid]);
    // It may have ended by itself a moment before.
    lab.run(kill);
}

fn kill_server(lab: &Lab) {
    let pid = lab.tug(["cluster", "status", "-o", "json"]).json()["pid"].to_string();
    kill(lab, &pid);
}

/// The pid of a shim, or of the first process of its container.
fn pid_of(container: &Path, of_shim: bool) -> Option<String> {
    if of_shim {
        return fs::read_to_string(container.join("shim.lock")).ok();
    }
    let started = fs::read_to_string(container.join("started.json")).ok()?;
    let (_, rest) = started.split_once("\"pid\":")?;
    Some(rest.split([',', '}']).next()?.to_owned())
}

/// Waits until every pod is ready and no other is there.
fn converge(kubectl: &Kubectl, pods: usize) {
    let fields = "{range .items[*]}{.metadata.deletionTimestamp}/{.status.conditions[?(@.type==\"Ready\")].status} {end}";
    until("every pod is ready", LIMIT, || {
        let listed: Output = kubectl.args(&["get", "pods", "-o", &format!("jsonpath={fields}")]);
        let states: Vec<&str> = listed.stdout.split_whitespace().collect();
        (states.len() == pods && states.iter().all(|state| *state == "/True")).then_some(())
    });
}

/// What a machine holds for so many pods of one container.
fn expected(pods: usize, services: usize, ruled: usize, now: &Held) -> Held {
    Held {
        sandboxes: pods,
        // One that was restarted keeps the container before it until the next one runs.
        containers: pods,
        mounts: now.mounts,
        groups: 2 * pods + usize::from(pods > 0),
        links: pods,
        shims: pods,
        folders: 2 * pods,
        rules: (services, ruled),
        leases: pods,
    }
}

fn kill_at_random(kills: u64) {
    let Some(kubectl) = Kubectl::open() else { return };
    let lab = &kubectl.lab;
    lab.tug(["cluster", "start"]).ok();
    let Some(_registry) = registry(&kubectl.lab) else {
        return;
    };
    kubectl.feed("apply -f -", WORKLOADS).ok();
    kubectl.run("rollout status deployment/web --timeout=120s").ok();
    kubectl.run("rollout status statefulset/db --timeout=120s").ok();
    let mut chance = Chance(20_261_122);
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pulled = 0;
    for round in 0..kills {
        let containers = entries(&lab.data_dir().join("node/run/containers"));
        let moment = Duration::from_millis(chance.below(250));
        let kind = match chance.below(6) {
            0 => {
                // In the middle of an end and a start.
                let pods = kubectl.run("get pods -l app=web -o name").ok().to_owned();
                let pods: Vec<&str> = pods.lines().collect();
                for _ in 0..3 {
                    if let Some(pod) = chance.one_of(&pods) {
                        kubectl.run(&format!("delete {pod} --wait=false --ignore-not-found"));
                    }
                }
                // The random moment is the point of it.
                std::thread::sleep(moment);
                kill_server(lab);
                "server while pods end and start"
            }
            1 => {
                pulled += 1;
                lab.tug(["image", "rm", &format!("{REGISTRY}/box:1")]);
                let run = format!(
                    "run puller-{pulled} --image={REGISTRY}/box:1 --image-pull-policy=Always --restart=Always \
                     --labels=app=puller"
                );
                kubectl.run(&run).ok();
                std::thread::sleep(moment / 2);
                kill_server(lab);
                "server while an image is pulled"
            }
            2 => {
                kill_server(lab);
                "server"
            }
            3 | 4 => {
                let Some(pid) = chance.one_of(&containers).and_then(|one| pid_of(one, true)) else {
                    continue;
                };
                kill(lab, pid.trim());
                "shim"
            }
            _ => {
                let Some(pid) = chance.one_of(&containers).and_then(|one| pid_of(one, false)) else {
                    continue;
                };
                kill(lab, &pid);
                "container"
            }
        };
        *done.entry(kind).or_default() += 1;
        if kind.starts_with("server") {
            lab.tug(["cluster", "start"]).ok();
        }
        // Those that pull are gone in time, so that the machine is not full of them.
        if round % 5 == 4 {
            kubectl
                .run("delete pods -l app=puller --wait=false --grace-period=1")
                .ok();
        }
        if round % 10 == 9 {
            // Fresh pods have no waits between restarts yet.
            kubectl.run("rollout restart deployment/web statefulset/db").ok();
        }
    }
    kubectl
        .run("delete pods -l app=puller --wait=false --grace-period=1")
        .ok();
    converge(&kubectl, 8);
    // The container before a restarted one is removed in the background.
    until_held(lab, "exactly what runs is held", |now| {
        *now == expected(8, 1, 2, now)
    });
    kubectl.run(
        "delete deployment,statefulset,service,networkpolicy,configmap web db inner words --ignore-not-found",
    );
    kubectl.run("delete deployment/web statefulset/db service/web networkpolicy/inner configmap/words --ignore-not-found");
    kubectl.run("delete pvc --all").ok();
    let nothing = until_held(lab, "nothing is held", |now| {
        now.mounts == 0 && *now == expected(0, 0, 0, now)
    });
    println_outcome(&done, &nothing);
}

/// Waits until the machine holds what it should; what it held meanwhile stands in the output of a test that fails.
#[expect(clippy::print_stdout, reason = "for who looks at why the test failed")]
fn until_held(lab: &Lab, what: &str, is_right: impl Fn(&Held) -> bool) -> Held {
    let mut before = None;
    until(what, LIMIT, || {
        let now = held(lab);
        if before.as_ref() != Some(&now) {
            println!("{what}: {now:?}");
        }
        let right = is_right(&now);
        before = Some(now);
        before.take_if(|_| right)
    })
}

#[expect(
    clippy::print_stdout,
    reason = "figures for who looks at the output of the test"
)]
fn println_outcome(done: &BTreeMap<&str, usize>, nothing: &Held) {
    println!("killed {done:?}; afterwards {nothing:?}");
}

/// `TUG_TEST_KILLS=100 cargo test -p test-e2e --test kills -- --nocapture` kills as often as that.
#[test]
fn nothing_is_leaked_by_random_kills() {
    let asked = std::env::var("TUG_TEST_KILLS");
    kill_at_random(asked.map_or(8, |kills| kills.parse().expect("TUG_TEST_KILLS is a number")));
}
