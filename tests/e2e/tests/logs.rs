//! `tug logs`: what all pods of a release print, also those that come later.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use test_support::{Lab, tug, until};

const LIMIT: Duration = Duration::from_secs(60);

const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-web}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 0
      initContainers:
      - {name: prepare, image: "tug/hello:1.0", command: [echo, prepared]}
      containers:
      - {name: main, image: "tug/hello:1.0", command: [sh, -c, "echo {{ .Values.text }}; echo more; sleep infinity"]}
      - {name: side, image: "tug/hello:1.0", command: [sh, -c, "echo beside; sleep infinity"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: {{ .Release.Name }}-once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: job, image: "tug/hello:1.0", command: [echo, worked]}
---
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-alone}
spec:
  containers:
  - {name: falls, image: "tug/hello:1.0", command: [sh, -c, "echo fell; exit 1"]}
"#;

/// A command that goes on, with its lines as they come.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = lab.command(tug());
        command.args(arguments).stdout(Stdio::piped());
        let mut child = lab.inside(move || command.spawn()).unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Waits for a line with all of these parts.
    fn until(&self, parts: &[&str]) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line with {parts:?}"));
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn logs_of_a_release_are_those_of_all_its_pods() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let chart = lab.folder().join("pods");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: pods\nversion: 1.0.0\n",
    )
    .unwrap();
    fs::write(chart.join("values.yaml"), "text: hello\n").unwrap();
    fs::write(chart.join("templates/pods.yaml"), PODS).unwrap();
    let chart = chart.display().to_string();
    for release in ["one", "two"] {
        lab.tug(["install", release, &chart]).ok();
    }
    let logs = until("all have printed", LIMIT, || {
        let logs = lab.tug(["logs", "one"]);
        let all = ["prepared", "hello", "more", "beside", "worked", "fell"];
        all.iter()
            .all(|said| logs.ok().contains(said))
            .then_some(logs.stdout)
    });
    let line = |said: &str| logs.lines().find(|line| line.ends_with(said)).unwrap();
    for (said, writer) in [
        ("hello", "/main"),
        ("beside", "/side"),
        ("prepared", "/prepare"),
        ("worked", "/job"),
    ] {
        let (name, _) = line(said).split_once(" | ").unwrap();
        assert!(
            name.starts_with("one-") && name.trim_end().ends_with(writer),
            "{name}"
        );
    }
    assert!(!logs.contains("two-"), "another release's: {logs}");

    let last = lab.tug(["logs", "one", "-c", "main", "--tail", "1", "--no-log-prefix"]);
    assert_eq!(last.ok(), "more\n");
    assert_eq!(
        lab.tug(["logs", "one", "-c", "main", "--since", "2100-01-01T00:00:00Z"])
            .ok(),
        ""
    );
    until("it was started again", LIMIT, || {
        let before = lab.tug(["logs", "one", "-c", "falls", "--previous"]);
        (before.ok() == "one-alone/falls | fell\n").then_some(())
    });

    let following = Following::start(&lab, &["logs", "-f", "one", "-c", "main"]);
    following.until(&["/main", "| hello"]);
    // The pod that falls has perhaps fallen too often to be waited for.
    lab.tug(["upgrade", "one", &chart, "--set", "text=ahoy", "--no-wait"])
        .ok();
    let later = following.until(&["/main", "| ahoy"]);
    assert!(
        !logs.contains(later.split('/').next().unwrap()),
        "another pod: {later}"
    );

    let unknown = lab.tug(["logs", "three"]);
    assert!(unknown.err().contains("three"), "{}", unknown.stderr);
    let nobody = lab.tug(["logs", "one", "-c", "nobody"]);
    assert!(
        nobody.ok().is_empty() && nobody.stderr.contains("No container of `one`"),
        "{}",
        nobody.stderr
    );
}
