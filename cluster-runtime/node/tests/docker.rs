//! The docker runtime on Docker's engine: what the conformance suite does not ask.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cluster_client::{ExecExit, ExecRequest};
use cluster_node::runtime::{
    Container, ContainerSpec, DockerConfig, DockerRuntime, MountSpec, NamespaceMode, Runtime, RuntimeError,
    SandboxSpec,
};
use support::conformance::{self, run};
use support::{Lab, SOON, container, sandbox};
use test_support::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A lab with an engine and a runtime on it. The engine ends before the lab's folder goes.
struct Bench {
    runtime: DockerRuntime,
    engine: Engine,
    lab: Lab,
}

impl Bench {
    async fn new() -> Option<Self> {
        Self::on(|folder| Engine::docker(folder, Engine::NO_NETWORKS)).await
    }

    async fn on(engine: fn(&Path) -> Option<Engine>) -> Option<Self> {
        if !support::is_root() {
            return None;
        }
        let lab = Lab::new();
        let engine = engine(lab.dir.path())?;
        let runtime = open(&lab, &engine).await;
        Some(Self { runtime, engine, lab })
    }

    fn spec(&self, name: &str, args: &[&str]) -> ContainerSpec {
        container("pod", name, &self.lab.hello(), &self.lab.log(name), args)
    }
}

async fn open(lab: &Lab, engine: &Engine) -> DockerRuntime {
    let config = DockerConfig {
        root: lab.dir.path().join("docker"),
        socket: engine.socket(),
        images: lab.store.clone(),
    };
    DockerRuntime::open(config).await.unwrap()
}

/// What a log holds, without times.
fn content(path: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_runtime_conforms() {
    let Some(bench) = Bench::new().await else { return };
    assert!(
        bench.runtime.version().starts_with("docker://"),
        "{}",
        bench.runtime.version()
    );
    conformance::check(&bench.runtime, |name| bench.spec(name, &["/bin/hello"])).await;
    conformance::check_processes(&bench.runtime, |name| bench.spec(name, &["/bin/hello"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_runtime_conforms_on_podman() {
    let Some(bench) = Bench::on(Engine::podman).await else {
        return;
    };
    conformance::check(&bench.runtime, |name| bench.spec(name, &["/bin/hello"])).await;
    conformance::check_processes(&bench.runtime, |name| bench.spec(name, &["/bin/hello"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_shares_what_it_should_and_is_found_again() {
    let Some(bench) = Bench::new().await else { return };
    let (lab, runtime) = (&bench.lab, &bench.runtime);
    let spec = SandboxSpec {
        pid: NamespaceMode::Shared,
        hostname: "web-0".into(),
        sysctls: [("net.ipv4.ip_forward_use_pmtu".to_owned(), "1".to_owned())].into(),
        ..sandbox("pod")
    };
    let made = runtime.create_sandbox(spec).await.unwrap();
    assert!(made.netns.as_ref().is_some_and(|path| path.exists()), "{made:?}");

    // Mounts below a volume stay in it, and users and limits are as asked.
    let volume = lab.dir.path().join("volume");
    fs::create_dir_all(volume.join("inner")).unwrap();
    fs::write(volume.join("inner/file"), "inside\n").unwrap();
    fs::write(lab.dir.path().join("secret"), "outside\n").unwrap();
    std::os::unix::fs::symlink("../../secret", volume.join("escape")).unwrap();
    let mut first = bench.spec(
        "first",
        &[
            "sh",
            "-c",
            "cat /data/file; hostname; id; cat /nothing; sleep infinity",
        ],
    );
    first.process.user.uid = Some(1234);
    first.process.user.groups = vec![2000];
    first.resources.memory_bytes = 64 << 20;
    first.mounts = vec![MountSpec {
        source: volume.clone(),
        sub_path: "inner".into(),
        target: "/data".into(),
        ..MountSpec::default()
    }];
    let mut escaping = bench.spec("escaping", &["cat", "/secret"]);
    escaping.mounts = vec![MountSpec {
        source: volume,
        sub_path: "escape".into(),
        target: "/secret".into(),
        ..MountSpec::default()
    }];
    let refused = runtime.start_container(escaping).await;
    assert!(refused.is_err(), "a link leads out of the volume: {refused:?}");
    let missing = runtime
        .start_container(bench.spec("missing", &["nope"]))
        .await
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "exec: \"nope\": executable file not found in $PATH"
    );

    let first = runtime.start_container(first).await.unwrap();
    let log = lab.log("first");
    let expected = [
        "stdout F inside",
        "stdout F web-0",
        "stdout F uid=1234 gid=0 groups=0,2000",
        "stderr F cat: /nothing: No such file or directory (os error 2)",
    ];
    let said = tokio::time::timeout(SOON, async {
        while content(&log).len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    said.await.unwrap_or_else(|_| panic!("{:?}", content(&log)));
    let mut found = content(&log);
    found.sort_by_key(|line| !line.starts_with("stdout"));
    assert_eq!(found, expected);

    // The second sees the first: processes are shared.
    let second = runtime
        .start_container(bench.spec("second", &["/bin/hello"]))
        .await
        .unwrap();
    let (_, processes) = run(runtime, &second.id, &["ls", "/proc"]).await;
    let count = processes
        .split_whitespace()
        .filter(|name| name.parse::<u32>().is_ok())
        .count();
    assert!(count >= 3, "{processes}");

    // Input reaches a command, and its end as well.
    let request = ExecRequest {
        command: vec!["cat".into()],
        stdin: true,
        stdout: true,
        ..ExecRequest::default()
    };
    let mut session = runtime.exec(&second.id, &request).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"to and fro\n").await.unwrap();
    drop(stdin);
    let mut back = String::new();
    session
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut back)
        .await
        .unwrap();
    assert_eq!(back, "to and fro\n");
    assert_eq!(session.exit.await.unwrap(), ExecExit::Code(0));

    // Another agent on the same folder finds all of it.
    let again = open(lab, &bench.engine).await;
    let listed = again.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].netns, made.netns);
    let mut names: Vec<&str> = listed[0].containers.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "second"]);
    assert!(listed[0].containers.iter().all(Container::is_running));
    let exit = again.stop_container(&first.id, "SIGTERM", SOON).await.unwrap();
    assert_eq!(exit.code, 143);
    again.remove_sandbox("pod").await.unwrap();
    assert_eq!(open(lab, &bench.engine).await.list().await.unwrap(), []);
    // No line is written twice.
    let mut found = content(&log);
    found.sort_by_key(|line| !line.starts_with("stdout"));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_the_engine_has_ended_can_be_made_again() {
    let Some(bench) = Bench::new().await else { return };
    let runtime = &bench.runtime;
    let made = runtime.create_sandbox(sandbox("pod")).await.unwrap();
    let first = runtime
        .start_container(bench.spec("first", &["/bin/hello"]))
        .await
        .unwrap();
    // What holds the sandbox is the only process that waits for ever.
    let holder = std::fs::read_dir("/proc").unwrap().flatten().find(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let same_network = || {
            let of = |path: std::path::PathBuf| {
                fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::ino(&found))
            };
            of(process.path().join("ns/net")).ok() == of(made.netns.clone().unwrap()).ok()
        };
        line.starts_with(b"/bin/hello\0pause") && same_network()
    });
    let pid = holder.unwrap().file_name().to_string_lossy().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let mut tries = 0;
    // The engine notices in its own time.
    let lost = loop {
        match runtime
            .start_container(bench.spec(&format!("next-{tries}"), &["/bin/hello"]))
            .await
        {
            Err(RuntimeError::NotFound { what: "sandbox", .. }) => break true,
            _ if tries > 50 => break false,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        tries += 1;
    };
    assert!(lost);
    assert!(matches!(
        runtime.wait(&first.id).await,
        Err(RuntimeError::NotFound { .. })
    ));
    runtime.create_sandbox(sandbox("pod")).await.unwrap();
    runtime
        .start_container(bench.spec("first", &["/bin/hello"]))
        .await
        .unwrap();
    runtime.remove_sandbox("pod").await.unwrap();
    assert_eq!(runtime.list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn err_an_engine_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = DockerConfig {
        root: dir.path().join("docker"),
        socket: dir.path().join("nobody.sock"),
        images: cluster_node::image::ImageStore::open(dir.path().join("images")).unwrap(),
    };
    let error = DockerRuntime::open(config).await.err().unwrap().to_string();
    assert!(error.contains("nobody.sock"), "{error}");
}
