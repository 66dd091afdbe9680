//! What cannot work is refused with one clear error, and nothing is left half-done.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use test_support::{Lab, Output, repository};

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
