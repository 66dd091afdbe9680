//! A real engine: images pushed and pulled by docker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use test_support::{skip, until};

use crate::host::{Done, Host, client};

const LIMIT: Duration = Duration::from_secs(90);

/// An engine of its own, without networks, whose mounts nobody else sees.
struct Engine {
    folder: tempfile::TempDir,
    docker: PathBuf,
    child: Child,
}

impl Engine {
    fn start() -> Option<Self> {
        let (docker, dockerd) = (client("docker")?, client("dockerd")?);
        let unshare = client("unshare")?;
        // Paths of sockets are short.
        let folder = tempfile::Builder::new().prefix("tug-dk-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("daemon.json"), "{}").unwrap();
        let mut command = Command::new(unshare);
        command.arg("--mount").arg(dockerd);
        for (flag, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(flag).arg(at(name));
        }
        let child = command
            .arg("--host")
            .arg(format!("unix://{}", at("s").display()))
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-masq=false",
            ])
            .arg("--storage-driver=vfs")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut engine = Self {
            folder,
            docker,
            child,
        };
        let is_up = until("the engine answers or ends", LIMIT, || {
            if engine.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            engine.run(&["version"]).success.then_some(true)
        });
        if !is_up {
            let log = fs::read_to_string(engine.at("log")).unwrap();
            skip(&format!("the engine does not start here: {log}"));
            return None;
        }
        Some(engine)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(&self.docker);
        command
            .arg("--host")
            .arg(format!("unix://{}", self.at("s").display()))
            .arg("--config")
            .arg(self.at("client"))
            .args(arguments);
        crate::host::run_at(self.folder.path(), command)
    }

    /// An image of one file.
    fn import(&self, tag: &str) {
        let source = self.at("image");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("greeting"), "hello").unwrap();
        let archive = self.at("image.tar");
        let made = Command::new("tar")
            .arg("-C")
            .arg(&source)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(made.unwrap().success());
        self.run(&["import", &text(&archive), tag]).ok();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It ends what it started.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn docker_pushes_and_pulls_what_skopeo_then_reads() {
    let Some(skopeo) = client("skopeo") else { return };
    let Some(engine) = Engine::start() else { return };
    let host = Host::start(&[]);
    let image = format!("{}/library/hello:v1", host.address);
    engine.import(&image);
    let id = engine
        .run(&["inspect", "--format", "{{.Id}}", &image])
        .ok()
        .to_owned();
    let pushed = engine.run(&["push", &image]);
    let digest = pushed.ok().split("digest: ").nth(1).unwrap();
    let digest = digest.split(' ').next().unwrap().to_owned();
    let again = engine.run(&["push", &image]);
    assert!(again.ok().contains("Layer already exists"), "{}", again.stdout);
    engine.run(&["rmi", &image]).ok();
    for reference in [image.clone(), format!("{}/library/hello@{digest}", host.address)] {
        engine.run(&["pull", &reference]).ok();
        let found = engine.run(&["inspect", "--format", "{{.Id}}", &reference]);
        assert_eq!(found.ok(), id);
    }
    let seen = host.run(
        &skopeo,
        [
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{image}"),
        ],
    );
    assert_eq!(seen.ok().trim(), digest);
    engine
        .run(&["pull", &format!("{}/library/none:v1", host.address)])
        .err();
}

#[test]
fn docker_logs_in_and_gets_its_rights_alone() {
    let Some(engine) = Engine::start() else { return };
    for how in ["basic", "token"] {
        let host = Host::start_guarded(Some(how), false);
        let registry = host.address.to_string();
        let login = |user: &str, password: &str| {
            engine.run(&["login", &registry, "--username", user, "--password", password])
        };
        let (ours, others) = (
            format!("{registry}/team/hello:v1"),
            format!("{registry}/other/hello:v1"),
        );
        engine.import(&ours);
        engine.import(&others);
        engine.run(&["push", &ours]).err();
        login("alice", "wrong").err();
        login("bob", "b-secret").ok();
        engine.run(&["push", &ours]).err();
        login("alice", "a-secret").ok();
        engine.run(&["push", &ours]).ok();
        engine.run(&["push", &others]).err();
        login("bob", "b-secret").ok();
        engine.run(&["pull", &ours]).ok();
        engine.run(&["logout", &registry]).ok();
        engine.run(&["rmi", &ours]).ok();
        engine.run(&["pull", &ours]).err();
    }
}
