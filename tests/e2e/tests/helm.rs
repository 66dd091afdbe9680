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
            &["get", "values", "demo", "-o", "json"][..],
            &["get", "manifest", "demo"],
            &["get", "notes", "demo"],
        ] {
            let (ours, theirs) = (self.lab.tug(arguments), self.helm(arguments));
            assert_eq!(ours.ok(), theirs.ok(), "{}", arguments.join(" "));
        }
        // Helm 3 shows what is uninstalled only when asked.
        let all: &[&str] = if self.program.ends_with("helm3") {
            &["-a"]
        } else {
            &[]
        };
        let list = [&["list", "-o", "json"], all].concat();
        assert_eq!(self.lab.tug(&list[..3]).ok(), self.helm(&list).ok(), "list");
        let history = ["history", "demo", "-o", "json"];
        let (mut ours, theirs) = (self.lab.tug(history).json(), self.helm(&history).json());
        if self.program.ends_with("helm3") {
            // Helm 3 does not tell where a revision returned to.
            for revision in ours.as_array_mut().into_iter().flatten() {
                revision.as_object_mut().unwrap().remove("rollback_revision");
            }
        }
        assert_eq!(ours, theirs, "history");
        // Ours tells more of the objects; of the release both must tell the same.
        let status = ["status", "demo", "-o", "json"];
        let (ours, theirs) = (self.lab.tug(status).json(), self.helm(&status).json());
        for pointer in [
            "/name",
            "/namespace",
            "/version",
            "/manifest",
            "/config",
            "/hooks/0/name",
            "/hooks/0/manifest",
            "/hooks/0/last_run/phase",
            "/info/status",
            "/info/description",
            "/info/notes",
            "/info/first_deployed",
            "/info/last_deployed",
        ] {
            assert_eq!(
                ours.pointer(pointer),
                theirs.pointer(pointer),
                "status: {pointer}"
            );
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

/// Who does a step.
#[derive(Clone, Copy)]
enum Who {
    Tug,
    Helm,
}

/// Twenty steps by turns; after each, both tools must say the same of the release.
fn twenty_steps(name: &str) {
    use Who::{Helm as Theirs, Tug as Ours};
    let Some(helm) = Helm::open(name) else { return };
    let (tug, program) = (test_support::tug(), helm.program.clone());
    let wait = ["--wait", "--timeout", "60s"];
    let steps: [(Who, &[&str]); 20] = [
        (Ours, &["install"]),
        (Theirs, &["upgrade", "--set", "replicaCount=2"]),
        (
            Ours,
            &[
                "upgrade",
                "--set",
                "replicaCount=1",
                "--set",
                "podAnnotations.turn=three",
            ],
        ),
        (Theirs, &["rollback", "demo", "1"]),
        (Ours, &["rollback", "demo", "2"]),
        (
            Ours,
            &["upgrade", "--reuse-values", "--set", "podLabels.turn=six"],
        ),
        (
            Theirs,
            &["upgrade", "--reuse-values", "--set", "podLabels.turn=seven"],
        ),
        (Ours, &["rollback", "demo"]),
        (Theirs, &["rollback", "demo"]),
        (Theirs, &["upgrade", "--description", "by the other one"]),
        (
            Ours,
            &["upgrade", "--description", "by this one", "--set", "a.b=c"],
        ),
        (Ours, &["uninstall", "demo", "--keep-history"]),
        (Theirs, &["rollback", "demo", "10"]),
        (
            Ours,
            &["upgrade", "--reset-then-reuse-values", "--set", "replicaCount=2"],
        ),
        (Theirs, &["uninstall", "demo", "--keep-history"]),
        (Ours, &["rollback", "demo", "13"]),
        (Theirs, &["upgrade", "--install", "--set", "replicaCount=1"]),
        (Ours, &["upgrade", "--install", "--history-max", "5"]),
        (Theirs, &["uninstall", "demo"]),
        (Theirs, &["install"]),
    ];
    for (number, (who, words)) in steps.into_iter().enumerate() {
        let (who, program) = match who {
            Ours => ("tug", &tug),
            Theirs => (name, &program),
        };
        let (action, rest) = (words[0], &words[1..]);
        let output = match action {
            "install" | "upgrade" => helm.deploy(program, action, rest),
            _ => {
                let mut command = helm.lab.command(program);
                command
                    .env("KUBECONFIG", helm.lab.kubeconfig())
                    .args(words)
                    .args(wait);
                helm.lab.run(command)
            }
        };
        assert!(
            output.code == 0,
            "step {}: {who} {}\n{}{}",
            number + 1,
            words.join(" "),
            output.stdout,
            output.stderr
        );
        if words != ["uninstall", "demo"] {
            helm.both_agree();
        }
    }
    helm.lab.tug(["uninstall", "demo"]).ok();
    assert_eq!(helm.helm(&["list", "-q"]).ok(), "");
}

#[test]
fn twenty_steps_by_turns_with_helm() {
    twenty_steps("helm");
}

#[test]
fn twenty_steps_by_turns_with_helm_3() {
    twenty_steps("helm3");
}

#[test]
fn a_record_in_several_secrets_is_read_by_helm() {
    use std::io::Read;
    let (Some(helm), Some(kubectl)) = (Helm::open("helm"), peer("kubectl")) else {
        return skip("`helm` or `kubectl` is not installed");
    };
    // What packing does not make smaller.
    let mut noise = Vec::new();
    let source = std::fs::File::open("/dev/urandom").unwrap();
    source.take(1_500_000).read_to_end(&mut noise).unwrap();
    std::fs::write(Path::new(&helm.chart).join("stray.bin"), noise).unwrap();
    let tug = test_support::tug();
    let chunks = || {
        let listed = helm
            .lab
            .client(&kubectl, ["get", "secrets", "-l", "owner=tug", "-o", "name"]);
        listed.ok().lines().count()
    };
    helm.deploy(&tug, "install", &[]).ok();
    assert!(chunks() > 1, "{}", chunks());
    helm.both_agree();
    let wait = ["--wait", "--timeout", "60s"];
    helm.helm(&[&["rollback", "demo", "1"], &wait[..]].concat()).ok();
    helm.both_agree();
    helm.deploy(&tug, "upgrade", &["--set", "replicaCount=2"]).ok();
    helm.both_agree();
    helm.lab.tug(["rollback", "demo", "1"]).ok();
    helm.lab.tug(["uninstall", "demo"]).ok();
    assert_eq!(chunks(), 0);
    assert_eq!(helm.helm(&["list", "-q"]).ok(), "");
}
