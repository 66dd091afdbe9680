//! Releases from the command line: plans, sets of releases, drift, locks, and a cluster that goes away.

use std::fs;
use std::time::Duration;

use test_support::{Lab, peer, skip, until};

const LIMIT: Duration = Duration::from_secs(60);

/// Writes a chart of one config map that holds a text, and whatever else is given.
fn write_chart(lab: &Lab, name: &str, more: &[(&str, &str)]) -> String {
    let chart = lab.folder().join(name);
    fs::create_dir_all(chart.join("templates")).unwrap();
    let files = [
        ("Chart.yaml", format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n")),
        ("values.yaml", "text: hello\n".to_owned()),
        (
            "templates/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  text: {{ .Values.text }}\n".to_owned(),
        ),
    ];
    for (path, text) in files {
        fs::write(chart.join(path), text).unwrap();
    }
    for (path, text) in more {
        fs::write(chart.join(path), text).unwrap();
    }
    chart.display().to_string()
}

#[test]
fn a_plan_is_shown_saved_and_carried_out_once() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let chart = write_chart(&lab, "parcel", &[]);
    let plan = lab.tug(["plan", "web", &chart]);
    assert_eq!(plan.code, 2, "{}", plan.stderr);
    assert!(
        plan.stdout.contains("+ ConfigMap/web in default"),
        "{}",
        plan.stdout
    );
    assert_eq!(lab.tug(["list", "-q"]).ok(), "", "a plan changes nothing");
    lab.tug(["install", "web", &chart]).ok();
    assert_eq!(lab.tug(["plan", "web", &chart]).ok(), "Nothing would change.\n");

    let file = lab.folder().join("plan.json").display().to_string();
    let plan = lab.tug(["plan", "web", &chart, "--set", "text=ahoy", "--out", &file]);
    assert_eq!(plan.code, 2, "{}", plan.stderr);
    assert!(
        plan.stdout.contains(r#"~ data.text: "hello" -> "ahoy""#),
        "{}",
        plan.stdout
    );
    assert_eq!(
        lab.tug(["apply", &file]).ok(),
        "Release \"web\" is at revision 2.\n"
    );
    let refused = lab.tug(["apply", &file]);
    let expected =
        "Error: APPLY FAILED: the plan is out of date: it starts from revision 1, and there is revision 2";
    assert!(refused.err().starts_with(expected), "{}", refused.stderr);

    let diff = lab.tug(["diff", "revision", "web", "1", "2"]);
    assert_eq!(diff.code, 2);
    assert!(
        diff.stdout.contains(r#"~ data.text: "hello" -> "ahoy""#),
        "{}",
        diff.stdout
    );
    assert_eq!(
        lab.tug(["diff", "revision", "web", "2", "2"]).ok(),
        "The manifests are the same.\n"
    );
    let json = lab.tug(["diff", "web", &chart, "-o", "json"]);
    assert_eq!(
        json.code, 0,
        "none given are the old ones: {}{}",
        json.stdout, json.stderr
    );
    let refused = lab.tug(["apply", &chart]);
    assert!(
        refused.err().starts_with("Error: cannot read"),
        "{}",
        refused.stderr
    );
}

#[test]
fn drift_is_shown_and_corrected() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    let chart = write_chart(&lab, "parcel", &[]);
    lab.tug(["install", "web", &chart]).ok();
    assert_eq!(
        lab.tug(["status", "web", "--drift"]).ok(),
        "The objects are as the release made them.\n"
    );
    lab.client(
        &kubectl,
        ["patch", "cm", "web", "-p", r#"{"data":{"text":"mine"}}"#],
    )
    .ok();
    let drift = lab.tug(["status", "web", "--drift"]);
    assert_eq!(drift.code, 2, "{}", drift.stderr);
    assert!(
        drift.stdout.contains(r#"~ data.text: "mine" -> "hello""#),
        "{}",
        drift.stdout
    );
    let refused = lab.tug(["upgrade", "web", &chart]);
    assert!(
        refused.err().contains("Hint: `--force-conflicts`"),
        "{}",
        refused.stderr
    );
    lab.tug(["upgrade", "web", &chart, "--correct-drift"]).ok();
    lab.tug(["status", "web", "--drift"]).ok();
}

#[test]
fn a_set_of_releases_is_brought_about_from_any_state() {
    let Some(lab) = Lab::open() else { return };
    write_chart(&lab, "parcel", &[]);
    let file = lab.folder().join("releases.yaml");
    let path = file.display().to_string();
    let declare = |text: &str| fs::write(&file, text).unwrap();
    declare(
        "releases:\n- name: front\n  chart: parcel\n  needs: [back]\n- name: back\n  namespace: shop\n  chart: parcel\n  \
         values: {text: ahoy}\n- name: old\n  state: absent\n",
    );
    let mut lines: Vec<String> = lab
        .tug(["apply", "-f", &path])
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    // Releases that do not need each other end in any order.
    lines.sort();
    assert_eq!(
        lines,
        [
            "back: installed, revision 1",
            "front: installed, revision 1",
            "old: not there, as declared"
        ]
    );
    let again = lab.tug(["apply", "-f", &path]);
    assert!(
        again.ok().contains("front: unchanged, revision 1"),
        "{}",
        again.stdout
    );
    declare(
        "releases:\n- name: front\n  state: absent\n- name: back\n  namespace: shop\n  chart: parcel\n  values: {text: \
         changed}\n",
    );
    let changed = lab.tug(["apply", "-f", &path]);
    assert!(
        changed.ok().contains("back: upgraded, revision 2"),
        "{}",
        changed.stdout
    );
    assert!(changed.ok().contains("front: removed"), "{}", changed.stdout);

    for (text, expected) in [
        ("releases: [{name: a}]", "release `a` names no chart"),
        (
            "releases: [{name: a, chart: parcel, needs: [b]}]",
            "`a` needs `b`, which is not in the file",
        ),
        (
            "releases: [{name: a, chart: parcel, needs: [b]}, {name: b, chart: parcel, needs: [a]}]",
            "releases need each other: a -> b -> a",
        ),
        (
            "releases: [{name: a, chart: parcel}, {name: a, chart: parcel}]",
            "release `a` stands there twice",
        ),
        ("releases: [{name: a, chat: parcel}]", "not a file of releases"),
        ("releases: [{name: A_b, chart: parcel}]", "invalid release name"),
    ] {
        declare(text);
        let refused = lab.tug(["apply", "-f", &path]);
        assert!(refused.err().contains(expected), "{}", refused.stderr);
    }
}

#[test]
fn err_a_cluster_that_goes_away_while_it_is_waited_for() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let pod = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: slow\nspec:\n  selector: {matchLabels: {app: slow}}\n  \
        template:\n    metadata: {labels: {app: slow}}\n    spec:\n      nodeSelector: {no: such}\n      containers: [{name: \
        main, image: 'tug/hello:1.0'}]\n";
    let slow = write_chart(&lab, "slow", &[("templates/slow.yaml", pod)]);
    let plain = write_chart(&lab, "plain", &[]);
    lab.tug(["install", "web", &plain]).ok();
    let mut client = lab.command(test_support::tug());
    client.args(["upgrade", "web", &slow, "--timeout", "20s"]);
    client
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    let waiting = lab.inside(move || client.spawn()).unwrap();
    until("the new revision", LIMIT, || {
        let listed = lab.tug(["list", "-o", "json"]).json();
        (listed[0]["revision"] == "2").then_some(())
    });
    let pid = lab.tug(["cluster", "status", "-o", "json"]).json()["pid"].to_string();
    let mut kill = lab.command("kill");
    kill.args(["-9", &pid]);
    lab.run(kill).ok();
    let ended = waiting.wait_with_output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.starts_with("Error: "), "{said}");
    lab.tug(["cluster", "start"]).ok();
    // Whatever was recorded, the next command works.
    lab.tug(["upgrade", "web", &plain]).ok();
    let history = lab.tug(["history", "web", "-o", "json"]).json();
    let deployed = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|revision| revision["status"] == "deployed");
    assert_eq!(deployed.count(), 1, "{history}");
    lab.tug(["uninstall", "web"]).ok();
}

#[test]
fn unlock_says_whether_anybody_is_at_work() {
    let Some(lab) = Lab::open() else { return };
    let chart = write_chart(&lab, "parcel", &[]);
    lab.tug(["install", "web", &chart]).ok();
    assert_eq!(lab.tug(["unlock", "web"]).ok(), "Nobody is at work on \"web\".\n");
    assert!(lab.tug(["unlock", "moon"]).err().contains("release: not found"));
}

#[test]
fn what_cannot_be_changed_is_made_anew_when_told_to() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: once\nspec:\n  template:\n    spec:\n      \
        restartPolicy: Never\n      containers: [{name: main, image: 'tug/hello:1.0', env: [{name: A, value: {{ .Values.text }}}]}]\n";
    let chart = write_chart(&lab, "parcel", &[("templates/job.yaml", job)]);
    lab.tug(["install", "web", &chart]).ok();
    let change = ["web", &chart, "--set", "text=ahoy"];
    let plan = |more: &[&str]| lab.tug([&["plan", "--detailed"], &change[..], more].concat());
    let refused = plan(&[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for part in [
        "~ Job/once",
        "field is immutable",
        "`--force-replace` deletes this one",
    ] {
        assert!(refused.stdout.contains(part), "{}", refused.stdout);
    }
    let error = lab.tug([&["upgrade"], &change[..]].concat());
    assert!(
        error.err().contains("Hint: `--force-replace` deletes the object"),
        "{}",
        error.stderr
    );
    let shown = plan(&["--force-replace"]);
    for part in [
        "± Job/once",
        "! it is deleted and made anew",
        "! its pods are stopped",
        "1 to recreate",
    ] {
        assert!(shown.stdout.contains(part), "{}", shown.stdout);
    }
    lab.tug([&["upgrade", "--force-replace"], &change[..]].concat())
        .ok();
    assert_eq!(lab.tug(["plan", "web", &chart]).ok(), "Nothing would change.\n");
}

#[test]
fn a_release_bigger_than_one_entry_of_the_log_is_one_transaction() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let maps = "{{- range $n := until 40 }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: big-{{ $n }}\n  labels: \
        {part: big}\ndata:\n  text: {{ repeat 50000 $.Values.text }}\n{{- end }}\n";
    let chart = write_chart(&lab, "parcel", &[("templates/maps.yaml", maps)]);
    let installed = lab.tug(["install", "web", &chart, "--set", "text=abcdefghij"]);
    assert!(
        installed.ok().contains("STATUS: deployed"),
        "{}",
        installed.stdout
    );
    assert_eq!(installed.stderr, "", "nothing was applied one by one");
    let path = "jsonpath={range .items[*]}{.metadata.resourceVersion}{\"\\n\"}{end}";
    let versions = lab.client(&kubectl, ["get", "cm", "-l", "part=big", "-o", path]);
    let mut versions: Vec<u64> = versions.ok().lines().map(|line| line.parse().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions.len(), 40);
    assert_eq!(versions[39] - versions[0], 39, "nothing came between them");
    // One object that is refused refuses all.
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong\ndata:\n  a: [1]\n";
    fs::write(std::path::Path::new(&chart).join("templates/wrong.yaml"), wrong).unwrap();
    lab.tug(["upgrade", "web", &chart, "--set", "text=jihgfedcba"])
        .err();
    let path = "jsonpath={range .items[*]}{.metadata.resourceVersion}{\"\\n\"}{end}";
    let after = lab.client(&kubectl, ["get", "cm", "-l", "part=big", "-o", path]);
    assert_eq!(after.ok().lines().count(), 40);
    assert!(
        after
            .ok()
            .lines()
            .all(|line| versions.contains(&line.parse().unwrap()))
    );
    lab.tug(["uninstall", "web"]).ok();
}

#[test]
fn a_chart_with_definitions_of_its_own_is_planned_before_it_is_installed() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: craters.moon.dev}\n\
        spec:\n  group: moon.dev\n  scope: Namespaced\n  names: {kind: Crater, plural: craters}\n  versions:\n  - name: v1\n    \
        served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, \
        x-kubernetes-preserve-unknown-fields: true}}\n";
    let crater = "apiVersion: moon.dev/v1\nkind: Crater\nmetadata: {name: deep}\nspec: {meters: 12}\n";
    fs::create_dir_all(lab.folder().join("moon/crds")).unwrap();
    let files = [
        ("crds/craters.yaml", definition),
        ("templates/crater.yaml", crater),
    ];
    let chart = write_chart(&lab, "moon", &files);
    let file = lab.folder().join("plan.json").display().to_string();
    let plan = lab.tug(["plan", "web", &chart, "--out", &file]);
    assert_eq!(plan.code, 2, "{}", plan.stderr);
    for part in [
        "+ CustomResourceDefinition/craters.moon.dev",
        "+ Crater/deep in default",
    ] {
        assert!(plan.stdout.contains(part), "{}", plan.stdout);
    }
    lab.tug(["install", "web", &chart, "--dry-run=server"]).ok();
    lab.tug(["apply", &file]).ok();
    assert_eq!(lab.tug(["plan", "web", &chart]).ok(), "Nothing would change.\n");
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    if peer("script").is_none() {
        return skip("`script` is not installed");
    }
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let slow = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: slow\nspec:\n  nodeSelector: {no: such}\n  containers: [{name: main, \
        image: 'tug/hello:1.0'}]\n";
    let chart = write_chart(&lab, "slow", &[("templates/slow.yaml", slow)]);
    let install = |name: &str| {
        format!(
            "{} install {name} {chart} --timeout 2s",
            test_support::tug().display()
        )
    };
    let mut terminal = lab.command("script");
    terminal
        .env("TERM", "xterm")
        .args(["-qec", &install("one"), "/dev/null"]);
    let shown = lab.run(terminal);
    assert!(
        shown.stdout.contains("0 of 1 ready; Pod/slow"),
        "{}",
        shown.stdout
    );
    lab.tug(["uninstall", "one"]).ok();
    let mut piped = lab.command("sh");
    piped.args(["-c", &install("one")]);
    let silent = lab.run(piped);
    assert!(!silent.err().contains("ready; Pod/slow") && silent.stderr.contains("Pod/slow not ready"));
}

#[test]
fn err_what_will_not_become_ready_ends_the_wait_with_the_reason() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let pod = |policy: &str, image: &str| {
        format!("spec: {{{policy} containers: [{{name: main, image: '{image}', imagePullPolicy: Never}}]}}")
    };
    let deployment = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: busy}}\nspec:\n  selector: {{matchLabels: {{app: busy}}}}\n  \
             template:\n    metadata: {{labels: {{app: busy}}}}\n    {}\n",
            pod("", image)
        )
    };
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: busy}}\nspec:\n  template:\n    {}\n",
        pod("restartPolicy: Never,", "tug/hello:1.0")
    );
    let check = |object: &str, namespace: &str, expected: &[&str]| {
        let chart = write_chart(&lab, "busy", &[("templates/busy.yaml", object)]);
        let begin = std::time::Instant::now();
        let wait = ["--wait-for-jobs", "--timeout", "2m"];
        let failed = lab.tug([&["install", "busy", &chart, "-n", namespace][..], &wait].concat());
        for part in expected {
            assert!(failed.err().contains(part), "no `{part}` in {}", failed.stderr);
        }
        assert!(begin.elapsed() < LIMIT, "it waited for the time to run out");
        lab.tug(["uninstall", "busy", "-n", namespace]).ok();
    };
    lab.client(&kubectl, ["create", "namespace", "narrow"]).ok();
    let quota = ["create", "quota", "small", "--hard=pods=0", "-n", "narrow"];
    lab.client(&kubectl, quota).ok();
    let over = "exceeded quota: small";
    check(
        &deployment("tug/hello:1.0"),
        "narrow",
        &["Deployment/busy failed", over],
    );
    check(&job, "narrow", &["Job/busy failed", over]);
    let missing = deployment("example.invalid/no/such:1");
    check(
        &missing,
        "default",
        &["Deployment/busy failed", "ErrImageNeverPull"],
    );
}
