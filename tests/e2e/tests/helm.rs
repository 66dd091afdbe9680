//! The real helm on the bundled cluster, alone and taking turns with tug.

use std::path::{Path, PathBuf};

use test_support::{Lab, Output, peer, skip};

struct Helm {
    lab: Lab,
    program: PathBuf,
    chart: String,
}

impl Helm {
    /// A lab with a running cluster and a chart that `helm create` wrote.
    fn open(name: &str) -> Option<Self> {
        let Some(program) = peer(name) else {
            skip(&format!("`{name}` is not installed"));
            return None;
        };
        let lab = Lab::open()?;
        lab.tug(["cluster", "start"]).ok();
        lab.client(&program, ["create", "demo"]).ok();
        let chart = lab.folder().join("demo").display().to_string();
        Some(Self { lab, program, chart })
    }

    fn helm(&self, arguments: &[&str]) -> Output {
        self.lab.client(&self.program, arguments)
    }

    /// Installs or upgrades the chart with the image that needs no registry.
    fn deploy(&self, program: &Path, action: &str, more: &[&str]) -> Output {
        let image = ["--set", "image.repository=tug/hello", "--set", "image.tag=1.0"];
        let mut command = self.lab.command(program);
        command.env("KUBECONFIG", self.lab.kubeconfig());
        command
            .args([action, "demo", &self.chart, "--wait", "--timeout", "60s"])
            .args(image)
            .args(more);
        self.lab.run(command)
    }

    /// What both tools say of the release must be the same.
    fn both_agree(&self) {
        for arguments in [
            &["list", "-o", "json"][..],
            &["history", "demo", "-o", "json"],
            &["get", "values", "demo", "-o", "json"],
            &["get", "manifest", "demo"],
        ] {
            let (ours, theirs) = (self.lab.tug(arguments), self.helm(arguments));
            assert_eq!(ours.ok(), theirs.ok(), "{}", arguments.join(" "));
        }
    }
}

fn life_of_a_release(name: &str) {
    let Some(helm) = Helm::open(name) else { return };
    let program = helm.program.clone();
    helm.deploy(&program, "install", &[]).ok();
    assert!(helm.helm(&["list"]).ok().contains("deployed"));
    helm.deploy(&program, "upgrade", &["--set", "replicaCount=2"])
        .ok();
    helm.helm(&["rollback", "demo", "1", "--wait", "--timeout", "60s"])
        .ok();
    assert!(helm.helm(&["history", "demo"]).ok().contains("Rollback to 1"));
    helm.both_agree();
    helm.helm(&["uninstall", "demo"]).ok();
    assert_eq!(helm.helm(&["list", "-q"]).ok(), "");
}

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    life_of_a_release("helm");
}

#[test]
fn helm_3_installs_upgrades_rolls_back_and_uninstalls() {
    life_of_a_release("helm3");
}

#[test]
fn helm_and_tug_take_turns_on_one_release() {
    let Some(helm) = Helm::open("helm") else { return };
    let (tug, program) = (test_support::tug(), helm.program.clone());
    helm.deploy(&tug, "install", &[]).ok();
    helm.both_agree();
    helm.deploy(&program, "upgrade", &["--set", "replicaCount=2"])
        .ok();
    helm.both_agree();
    helm.deploy(&tug, "upgrade", &["--set", "replicaCount=1"]).ok();
    helm.both_agree();
    helm.helm(&["rollback", "demo", "2", "--wait", "--timeout", "60s"])
        .ok();
    helm.both_agree();
    helm.lab.tug(["rollback", "demo", "1"]).ok();
    helm.both_agree();
    helm.lab.tug(["uninstall", "demo"]).ok();
    assert_eq!(helm.helm(&["list", "-q"]).ok(), "");
}
