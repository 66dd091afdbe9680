//! The client is killed at any moment of an upgrade: the cluster has the old revision or the new one, never a part of
//! one, and the next upgrade goes through without being told to.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use test_support::{Lab, peer, skip, until};

/// Objects of the release.
const OBJECTS: usize = 40;

/// Writes a chart of many small objects that all say which revision they are of.
fn write_chart(lab: &Lab, hook: bool) -> String {
    let chart = lab.folder().join("many");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: many\nversion: 1.0.0\n",
    )
    .unwrap();
    fs::write(chart.join("values.yaml"), "round: 0\n").unwrap();
    let objects = format!(
        "{{{{- range $n := until {OBJECTS} }}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: part-{{{{ $n }}}}\n  \
         labels: {{part-of: many}}\ndata:\n  revision: {{{{ $.Release.Revision | quote }}}}\n  round: {{{{ $.Values.round | quote }}}}\n{{{{- end }}}}\n"
    );
    fs::write(chart.join("templates/objects.yaml"), objects).unwrap();
    // Something to wait for, after the objects are committed.
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: none\nspec:\n  replicas: 0\n  selector: \
        {matchLabels: {app: none}}\n  template:\n    metadata: {labels: {app: none}, annotations: {round: {{ .Values.round | \
        quote }}}}\n    spec: {containers: [{name: none, image: none}]}\n";
    fs::write(chart.join("templates/deployment.yaml"), deployment).unwrap();
    if hook {
        let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: before\n  annotations: {helm.sh/hook: pre-upgrade}\n";
        fs::write(chart.join("templates/hook.yaml"), hook).unwrap();
    }
    chart.display().to_string()
}

/// Numbers that look random and are the same in every run.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn kill_at_random_moments(kills: usize, hook: bool) {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    let chart = write_chart(&lab, hook);
    lab.tug(["install", "many", &chart]).ok();
    let begin = Instant::now();
    lab.tug(["upgrade", "many", &chart]).ok();
    // Long enough that some kills come too late.
    let longest = begin.elapsed() * 5 / 4;
    let mut seed = 20_261_121;
    let (mut done, mut undone) = (0, 0);
    for round in 1..=kills {
        let before = last_revision(&lab);
        let mut client = lab.command(test_support::tug());
        client.args(["upgrade", "many", &chart, "--set", &format!("round={round}")]);
        client
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = lab.inside(move || client.spawn()).unwrap();
        let micros = u64::try_from(longest.as_micros()).unwrap();
        let moment = Duration::from_micros(next(&mut seed) % micros.max(1));
        // The moment is the input of this test.
        std::thread::sleep(moment);
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();

        // The server may still be at the request of the dead client: look until nothing moves meanwhile.
        let (listed, history) = until("a quiet cluster", Duration::from_secs(20), || {
            let before = lab.tug(["history", "many", "-o", "json"]).json();
            let listed = lab
                .client(&kubectl, ["get", "cm", "-l", "part-of=many", "-o", "json"])
                .json();
            let after = lab.tug(["history", "many", "-o", "json"]).json();
            (before == after).then_some((listed, after))
        });
        let said: Vec<(&Value, &Value)> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| (&object["data"]["revision"], &object["data"]["round"]))
            .collect();
        assert_eq!(said.len(), OBJECTS, "round {round}");
        let first = said[0];
        assert!(
            said.iter().all(|other| *other == first),
            "round {round}, killed after {moment:?}: a part of a revision is applied: {said:?}"
        );
        // The record agrees with the objects.
        let deployed: Vec<&Value> = history
            .as_array()
            .unwrap()
            .iter()
            .filter(|revision| revision["status"] == "deployed")
            .collect();
        assert_eq!(deployed.len(), 1, "round {round}: {history}");
        assert_eq!(
            first.0.as_str().unwrap(),
            deployed[0]["revision"].to_string(),
            "round {round}: {history}"
        );
        if deployed[0]["revision"].as_u64() == Some(before) {
            undone += 1;
        } else {
            done += 1;
        }
        // And the next upgrade goes through, at once.
        let begin = Instant::now();
        lab.tug([
            "upgrade",
            "many",
            &chart,
            "--set",
            &format!("round=after-{round}"),
        ])
        .ok();
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "round {round}: it waited"
        );
    }
    println_outcome(kills, done, undone);
    if kills >= 20 {
        assert!(
            done > 0 && undone > 0,
            "the moments are too much alike: {done} done, {undone} not"
        );
    }
}

#[expect(
    clippy::print_stdout,
    reason = "figures for who looks at the output of the test"
)]
fn println_outcome(kills: usize, done: usize, undone: usize) {
    println!("{kills} kills: {done} revisions were made, {undone} were not, none in part");
}

fn last_revision(lab: &Lab) -> u64 {
    let history = lab.tug(["history", "many", "-o", "json"]).json();
    let revisions = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|revision| revision["status"] == "deployed");
    revisions
        .map(|revision| revision["revision"].as_u64().unwrap())
        .max()
        .unwrap()
}

#[test]
fn a_killed_upgrade_is_done_or_not_done() {
    kill_at_random_moments(20, false);
}

#[test]
fn a_killed_upgrade_with_hooks_is_taken_over() {
    kill_at_random_moments(8, true);
}

/// `cargo test -p test-e2e --test interrupted -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn two_hundred_killed_upgrades() {
    kill_at_random_moments(200, false);
}
