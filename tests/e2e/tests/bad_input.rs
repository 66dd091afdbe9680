//! What cannot work is refused with one clear error, and nothing is left half-done.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use test_support::{Lab, Output, peer, repository, skip};

/// The errors of a command: a heading, and something to do about it.
fn refused(output: &Output, parts: &[&str]) {
    let errors = output.err();
    assert!(
        errors.starts_with("Error: ") || errors.contains("\nError: "),
        "{errors}"
    );
    assert_eq!(
        errors.matches("Error: ").count(),
        1,
        "one error, not several:\n{errors}"
    );
    for part in parts {
        assert!(errors.contains(part), "no `{part}` in\n{errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

fn copy_of_hello(lab: &Lab) -> std::path::PathBuf {
    let chart = lab.folder().join("hello");
    let mut copy = lab.command("cp");
    copy.arg("-r").arg(repository().join("charts/hello")).arg(&chart);
    lab.run(copy).ok();
    chart
}

#[test]
fn err_charts_that_cannot_be_read() {
    let Some(lab) = Lab::open() else { return };
    refused(&lab.tug(["install", "x", "./missing"]), &["missing"]);

    let chart = copy_of_hello(&lab);
    let path = chart.display().to_string();
    refused(
        &lab.tug(["install", "hello", &path, "-f", "nothing.yaml"]),
        &["nothing.yaml"],
    );
    fs::write(lab.folder().join("broken.yaml"), "a: [1,\nb: {").unwrap();
    refused(
        &lab.tug(["install", "hello", &path, "-f", "broken.yaml"]),
        &["broken.yaml"],
    );
    refused(&lab.tug(["install", "Not_A_Name", &path]), &["Not_A_Name"]);

    // Nothing of that has even started a cluster.
    assert!(!lab.data_dir().join("store").exists());

    refused(
        &lab.tug(["install", "hello", &path, "--set", "replicas=three"]),
        &["replicas", "integer"],
    );
    fs::write(chart.join("templates/service.yaml"), "kind: {{ .Values.greeting").unwrap();
    refused(
        &lab.tug(["install", "hello", &path]),
        &["templates/service.yaml:1"],
    );
    fs::write(
        chart.join("templates/service.yaml"),
        "kind: Service\n  metadata: {",
    )
    .unwrap();
    refused(&lab.tug(["install", "hello", &path]), &["templates/service.yaml"]);
    fs::write(chart.join("values.yaml"), "greeting: \"x\n").unwrap();
    refused(&lab.tug(["install", "hello", &path]), &["values.yaml"]);

    assert!(
        !lab.data_dir().join("store").exists(),
        "not even a cluster is started"
    );
}

#[test]
fn err_releases_that_are_not_there_or_taken() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let chart = repository().join("charts/hello").display().to_string();
    refused(&lab.tug(["upgrade", "nobody", &chart]), &["nobody"]);
    refused(&lab.tug(["rollback", "nobody"]), &["nobody"]);
    refused(&lab.tug(["uninstall", "nobody"]), &["nobody"]);
    lab.tug(["install", "hello", &chart]).ok();
    refused(&lab.tug(["install", "hello", &chart]), &["hello"]);
    refused(&lab.tug(["rollback", "hello", "7"]), &["7"]);
    // Another release that wants what the first one owns.
    refused(
        &lab.tug(["install", "hello2", &chart, "--set", "service.nodePort=30080"]),
        &["30080"],
    );
    assert_eq!(lab.tug(["list", "-q", "--deployed"]).ok(), "hello\n");
}

#[test]
fn err_a_taken_port_and_an_unwritable_folder() {
    let Some(lab) = Lab::open() else { return };
    // The lab's loopback is down until a cluster brings it up; binding needs no more than the address.
    let holder = lab
        .inside(|| std::net::TcpListener::bind("127.0.0.1:6443"))
        .unwrap();
    refused(&lab.tug(["cluster", "start"]), &["6443"]);
    drop(holder);

    let file = lab.folder().join("a-file");
    fs::write(&file, "").unwrap();
    let unwritable = file.join("data").display().to_string();
    refused(
        &lab.tug(["cluster", "start", "--data-dir", &unwritable]),
        &[&unwritable],
    );

    lab.tug(["cluster", "start"]).ok();
    lab.tug(["cluster", "start"]).ok();
}

#[test]
fn err_without_root_the_way_out_is_told() {
    let Some(lab) = Lab::open() else { return };
    // The binary where anybody can run it, and a home that is nobody's.
    let binary = lab.folder().join("tug");
    fs::copy(test_support::tug(), &binary).unwrap();
    fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let mut start = lab.command("setpriv");
    start
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["cluster", "start"]);
    refused(&lab.run(start), &["root", "sudo"]);
    let chart = repository().join("charts/hello");
    let mut template = lab.command("setpriv");
    template
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary);
    template.arg("template").arg("hello").arg(chart);
    assert!(
        lab.run(template).ok().contains("kind: Deployment"),
        "rendering needs no root"
    );
}

/// Writes a chart of these templates, each a name and a text.
fn write_chart(lab: &Lab, templates: &[(&str, &str)]) -> String {
    let chart = lab.folder().join("parcel");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: parcel\nversion: 1.0.0\n",
    )
    .unwrap();
    for (name, text) in templates {
        fs::write(chart.join("templates").join(name), text).unwrap();
    }
    chart.display().to_string()
}

const MAP: (&str, &str) = (
    "map.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}\"}\ndata: {revision: \"{{ .Release.Revision }}\"}\n",
);

#[test]
fn err_a_chart_that_fails_half_way_through_its_hooks() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let hook = |name: &str, weight: u32, spec: &str| {
        format!(
            "metadata:\n  name: {name}\n  annotations: {{helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: \
             '{weight}'}}\n{spec}"
        )
    };
    let first = format!(
        "apiVersion: v1\nkind: ConfigMap\n{}",
        hook("first", 1, "data: {}\n")
    );
    let pod = "spec:\n  restartPolicy: Never\n  containers: [{name: main, image: 'example.invalid/no/such:1', imagePullPolicy: Never}]\n";
    let second = format!("apiVersion: v1\nkind: Pod\n{}", hook("second", 2, pod));
    let third = format!(
        "apiVersion: v1\nkind: ConfigMap\n{}",
        hook("third", 3, "data: {}\n")
    );
    let chart = write_chart(
        &lab,
        &[MAP, ("a.yaml", &first), ("b.yaml", &second), ("c.yaml", &third)],
    );
    refused(
        &lab.tug(["install", "web", &chart]),
        &["failed pre-install: Pod/second", "ErrImageNeverPull"],
    );
    assert_eq!(lab.tug(["list", "-q", "--failed"]).ok(), "web\n");
    fs::remove_file(lab.folder().join("parcel/templates/b.yaml")).unwrap();
    lab.tug(["upgrade", "web", &chart]).ok();
    fs::write(lab.folder().join("parcel/templates/b.yaml"), &second).unwrap();
    refused(
        &lab.tug(["upgrade", "web", &chart]),
        &["failed pre-upgrade: Pod/second"],
    );
    let status = lab.tug(["history", "web", "-o", "json"]).json();
    let states: Vec<&str> = status
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["failed", "deployed", "failed"]);
    lab.tug(["rollback", "web", "2", "--no-hooks"]).ok();
    lab.tug(["uninstall", "web"]).ok();
}

#[test]
fn err_a_record_that_is_broken() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let chart = write_chart(&lab, &[MAP]);
    for _ in 0..2 {
        lab.tug(["upgrade", "--install", "web", &chart]).ok();
    }
    let broken = r#"{"data":{"release":"bm90aGluZw=="}}"#;
    lab.client(
        &kubectl,
        ["patch", "secret", "sh.helm.release.v1.web.v2", "-p", broken],
    )
    .ok();
    for command in [
        &["status", "web"][..],
        &["get", "values", "web"],
        &["history", "web"],
    ] {
        refused(&lab.tug(command), &["sh.helm.release.v1.web.v2"]);
    }
    let upgraded = lab.tug(["upgrade", "web", &chart]);
    assert!(upgraded.ok().contains("REVISION: 3"), "{}", upgraded.stdout);
    assert!(
        upgraded.stderr.contains("revision 1 is taken for what is there"),
        "{}",
        upgraded.stderr
    );
    lab.tug(["uninstall", "web"]).ok();
    assert_eq!(lab.tug(["list", "-q", "-a"]).ok(), "");
}

#[test]
fn err_two_clients_at_once() {
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let chart = write_chart(&lab, &[MAP]);
    lab.tug(["install", "web", &chart]).ok();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = lab.command(test_support::tug());
            client.args(["upgrade", "web", &chart]);
            client
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped());
            lab.inside(move || client.spawn()).unwrap()
        })
        .collect();
    let mut done = 0;
    for client in clients {
        let ended = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        if ended.status.success() {
            done += 1;
        } else {
            let expected =
                "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress";
            assert!(said.starts_with(expected), "{said}");
        }
    }
    assert!(done > 0, "one of them goes through");
    lab.tug(["upgrade", "web", &chart]).ok();
    let history = lab.tug(["history", "web", "-o", "json"]).json();
    let deployed = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["status"] == "deployed");
    assert_eq!(deployed.count(), 1, "{history}");
}
