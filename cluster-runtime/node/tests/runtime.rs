//! Runtimes: one suite for all of them, and what only real containers show.

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster_client::{ExecExit, ExecRequest, TerminalSize};
use cluster_node::runtime::{
    Container, ContainerId, ContainerSpec, EmbeddedRuntime, LogLimits, MountSpec, NamespaceMode, Runtime,
    RuntimeError, SandboxSpec, SeccompProfile, SimulatedRuntime,
};
use support::conformance::{self, run};
use support::{Lab, SOON, container, sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn the_simulated_runtime_conforms() {
    let runtime = SimulatedRuntime::default();
    conformance::check(&runtime, |name| {
        let image = cluster_node::image::Image {
            name: "none".into(),
            id: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                .parse()
                .unwrap(),
            digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                .parse()
                .unwrap(),
            config: Default::default(),
            layers: Vec::new(),
        };
        container("pod", name, &image, Path::new("/nowhere"), &["serve"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_runtime_conforms() {
    let Some(bench) = Bench::new().await else { return };
    let image = bench.lab.hello();
    let spec = |name: &str| container("pod", name, &image, &bench.lab.log(name), &["/bin/hello"]);
    conformance::check(&bench.runtime, spec).await;
    conformance::check_processes(&bench.runtime, spec).await;
    assert_eq!(bench.lab.leaks(), Vec::<String>::new());
}

/// A lab with a runtime and a sandbox `web`.
struct Bench {
    lab: Lab,
    runtime: EmbeddedRuntime,
}

impl Bench {
    async fn new() -> Option<Self> {
        if !support::is_root() {
            return None;
        }
        let lab = Lab::new();
        let runtime = lab.runtime().await;
        Some(Self { lab, runtime })
    }

    async fn with_sandbox() -> Option<Self> {
        let bench = Self::new().await?;
        bench.runtime.create_sandbox(sandbox("web")).await.unwrap();
        Some(bench)
    }

    fn spec(&self, name: &str, args: &[&str]) -> ContainerSpec {
        container("web", name, &self.lab.hello(), &self.lab.log(name), args)
    }

    async fn start(&self, spec: ContainerSpec) -> Container {
        self.runtime.start_container(spec).await.unwrap()
    }

    /// Runs a container to its end; gives its exit code and what it printed.
    async fn complete(&self, spec: ContainerSpec) -> (i32, String) {
        let log = spec.log.clone();
        let started = self.start(spec).await;
        let exit = tokio::time::timeout(SOON, self.runtime.wait(&started.id))
            .await
            .unwrap()
            .unwrap();
        (exit.code, content(&log))
    }

    /// Waits until a container has no process but its first.
    async fn until_alone(&self, id: &ContainerId) {
        let alone = async {
            while self.runtime.usage(id).await.unwrap().pids > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, alone)
            .await
            .expect("commands end with their clients");
    }

    async fn finish(self) {
        self.runtime.remove_sandbox("web").await.unwrap();
        assert_eq!(self.lab.leaks(), Vec::<String>::new());
    }
}

/// What a log holds, without times and streams.
fn content(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_its_own_name_environment_and_exit_code() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let mut spec = bench.spec("main", &["sh", "-c", "hostname; echo $COLOR; pwd; exit 3"]);
    spec.process.env.push("COLOR=red".into());
    spec.process.cwd = "/made/for/it".into();
    assert_eq!(bench.complete(spec).await, (3, "web\nred\n/made/for/it\n".into()));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_groups_are_as_asked() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let id = |name: &str, image_user: &str, uid, groups: Vec<u32>| {
        let mut spec = bench.spec(name, &["id"]);
        spec.process.user.image_user = image_user.into();
        spec.process.user.uid = uid;
        spec.process.user.groups = groups;
        spec
    };
    let one = bench.complete(id("one", "nobody", None, vec![2000])).await;
    assert_eq!(one, (0, "uid=65534 gid=65534 groups=2000,65534\n".into()));
    let two = bench.complete(id("two", "", Some(1234), vec![])).await;
    assert_eq!(two, (0, "uid=1234 gid=0 groups=0\n".into()));
    let failed = bench
        .runtime
        .start_container(id("three", "ghost", None, vec![]))
        .await
        .unwrap_err();
    assert_eq!(
        failed.to_string(),
        "unable to find user ghost: no matching entries in passwd file"
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_calls_are_filtered_as_asked() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    let status = ["cat", "/proc/self/status"];
    let (_, plain) = bench.complete(bench.spec("plain", &status)).await;
    assert_eq!(field(&plain, "Seccomp:"), "0");
    for (name, no_new_privileges, uid) in [
        ("one", false, None),
        ("two", true, None),
        ("three", false, Some(1234)),
    ] {
        let mut spec = bench.spec(name, &status);
        spec.seccomp = SeccompProfile::RuntimeDefault;
        spec.process.no_new_privileges = no_new_privileges;
        spec.process.user.uid = uid;
        let (code, found) = bench.complete(spec).await;
        assert_eq!((code, field(&found, "Seccomp:").as_str()), (0, "2"), "{name}");
        assert_eq!(
            field(&found, "NoNewPrivs:"),
            if no_new_privileges { "1" } else { "0" }
        );
        // What was needed to put the filter on is given up again.
        assert_eq!(field(&found, "CapBnd:"), field(&plain, "CapBnd:"), "{name}");
        let effective = if uid.is_some() {
            "0000000000000000"
        } else {
            &field(&plain, "CapEff:")
        };
        assert_eq!(field(&found, "CapEff:"), effective, "{name}");
    }
    // A profile of one's own, which commands are under as well.
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    let mut spec = bench.spec("own", &["sh", "-c", "mkdir /made; sleep 60"]);
    spec.seccomp = SeccompProfile::Profile(profile);
    let running = bench.start(spec).await;
    let (exit, said) = run(&bench.runtime, &running.id, &["mkdir", "/made"]).await;
    assert_eq!(exit, ExecExit::Code(1));
    assert!(said.contains("os error 28"), "{said}");
    let mut broken = bench.spec("broken", &["true"]);
    broken.seccomp = SeccompProfile::Profile(serde_json::json!({ "defaultAction": "SCMP_ACT_DANCE" }));
    let refused = bench
        .runtime
        .start_container(broken)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("the seccomp profile cannot be read"),
        "{refused}"
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn err_programs_that_cannot_run_are_named() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    for (name, program, expected) in [
        ("a", "nope", "exec: \"nope\": executable file not found in $PATH"),
        (
            "b",
            "/no/such",
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        ("c", "/etc", "exec: \"/etc\": is a directory"),
        ("d", "/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let failed = bench
            .runtime
            .start_container(bench.spec(name, &[program]))
            .await
            .unwrap_err();
        assert_eq!(failed.to_string(), expected);
    }
    let running = bench.start(bench.spec("main", &["sleep", "60"])).await;
    let (exit, _) = run(&bench.runtime, &running.id, &["nope"]).await;
    assert_eq!(
        exit,
        ExecExit::Failed("exec: \"nope\": executable file not found in $PATH".into())
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_is_seen_and_nothing_else_can_be_written() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let volume = bench.lab.dir.path().join("volume");
    fs::create_dir_all(volume.join("inner")).unwrap();
    fs::write(volume.join("inner/file"), "content\n").unwrap();
    fs::write(bench.lab.dir.path().join("secret"), "outside\n").unwrap();
    std::os::unix::fs::symlink("../../secret", volume.join("escape")).unwrap();
    let mount = |sub_path: &str, target: &str, read_only| MountSpec {
        source: volume.clone(),
        sub_path: sub_path.into(),
        target: target.into(),
        read_only,
        ..MountSpec::default()
    };
    let script = "cat /whole/inner/file; cat /part/file; cat /one; echo x > /whole/new; echo y > /part/new; \
                  echo z > /root-file; echo t > /tmp/t; ls /deep/er";
    let mut spec = bench.spec("main", &["sh", "-c", script]);
    spec.read_only_root = true;
    spec.mounts = vec![
        mount("", "/whole", false),
        mount("inner", "/part", true),
        mount("inner/file", "/one", true),
        mount("other/folder", "/deep/er", false),
    ];
    let (code, printed) = bench.complete(spec).await;
    let expected = "content\ncontent\ncontent\n\
        sh: /part/new: Read-only file system (os error 30)\n\
        sh: /root-file: Read-only file system (os error 30)\n\
        sh: /tmp/t: Read-only file system (os error 30)\n";
    assert_eq!((code, printed.as_str()), (0, expected));
    assert!(volume.join("other/folder").is_dir());
    assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "x\n");
    let mut spec = bench.spec("escaping", &["cat", "/seen"]);
    spec.mounts = vec![mount("escape", "/seen", true)];
    let failed = bench.runtime.start_container(spec).await;
    assert!(failed.is_err(), "a link led out of its volume");
    let mut spec = bench.spec("climbing", &["cat", "/seen"]);
    spec.mounts = vec![mount("../secret", "/seen", true)];
    assert!(
        bench
            .runtime
            .start_container(spec)
            .await
            .unwrap_err()
            .to_string()
            .contains("leads out of its volume")
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_sandbox_share_network_and_memory_but_not_processes() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let server = bench.start(bench.spec("server", &["/bin/hello"])).await;
    let asking = bench.spec(
        "asking",
        &[
            "sh",
            "-c",
            "get http://127.0.0.1/x && ls /proc && touch /dev/shm/seen",
        ],
    );
    let deadline = Instant::now() + SOON;
    let mut attempt = 0;
    loop {
        let mut spec = asking.clone();
        spec.attempt = attempt;
        spec.id = ContainerId::of("web", "asking", attempt);
        spec.log = bench.lab.log(&format!("asking-{attempt}"));
        let (code, printed) = bench.complete(spec).await;
        if code == 0 {
            assert!(printed.contains("path: /x"), "{printed}");
            assert!(printed.contains("\n1\n"), "{printed}");
            break;
        }
        assert!(Instant::now() < deadline, "{printed}");
        attempt += 1;
    }
    assert_eq!(
        run(&bench.runtime, &server.id, &["ls", "/dev/shm"]).await.1,
        "seen\n"
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let mut spec = bench.spec("hungry", &["sh", "-c", "cat /dev/zero > /dev/shm/big"]);
    spec.resources.memory_bytes = 16 << 20;
    spec.resources.cpu_limit_millis = 500;
    let started = bench.start(spec).await;
    let exit = tokio::time::timeout(SOON, bench.runtime.wait(&started.id))
        .await
        .unwrap()
        .unwrap();
    assert!(exit.oom_killed, "{exit:?}");
    // The first process, its child, and no grandchild.
    let mut spec = bench.spec("forking", &["sh", "-c", "/bin/sh -c /bin/echo"]);
    spec.resources.pids_max = 2;
    let (_, printed) = bench.complete(spec).await;
    assert!(printed.contains("Resource temporarily unavailable"), "{printed}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_take_input_and_end_with_their_client() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let running = bench.start(bench.spec("main", &["sleep", "600"])).await;
    let request = ExecRequest {
        command: vec!["cat".into()],
        stdin: true,
        stdout: true,
        ..ExecRequest::default()
    };
    let session = bench.runtime.exec(&running.id, &request).await.unwrap();
    let mut stdin = session.stdin.unwrap();
    stdin.write_all(b"through the pipe\n").await.unwrap();
    drop(stdin);
    let mut printed = String::new();
    session
        .stdout
        .unwrap()
        .read_to_string(&mut printed)
        .await
        .unwrap();
    assert_eq!(printed, "through the pipe\n");
    assert_eq!(session.exit.await.unwrap(), ExecExit::Code(0));

    let request = ExecRequest {
        command: vec!["sleep".into(), "600".into()],
        ..ExecRequest::default()
    };
    let session = bench.runtime.exec(&running.id, &request).await.unwrap();
    drop(session);
    bench.until_alone(&running.id).await;
    bench.finish().await;
}

/// Callers give up at any moment of a command's start; the container goes while the helper is still at it.
#[tokio::test(flavor = "multi_thread")]
async fn commands_that_are_starting_when_their_container_goes_leave_nothing() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    for round in 0..12 {
        let container = bench
            .start(bench.spec(&format!("c{round}"), &["sleep", "600"]))
            .await;
        let request = ExecRequest {
            command: vec!["sleep".to_owned(), "600".to_owned()],
            ..ExecRequest::default()
        };
        for patience in [0, 4 * round, 8 * round] {
            let given_up = tokio::time::timeout(
                Duration::from_millis(patience),
                bench.runtime.exec(&container.id, &request),
            );
            drop(given_up.await);
        }
        if round % 3 == 0 {
            bench.until_alone(&container.id).await;
        }
        bench.runtime.remove_container(&container.id).await.unwrap();
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_with_a_terminal_knows_its_size() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let running = bench.start(bench.spec("main", &["sleep", "600"])).await;
    let request = ExecRequest {
        command: vec!["sh".into()],
        stdin: true,
        stdout: true,
        tty: true,
        ..ExecRequest::default()
    };
    let session = bench.runtime.exec(&running.id, &request).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin.unwrap(), session.stdout.unwrap());
    session
        .resize
        .unwrap()
        .send(TerminalSize {
            width: 100,
            height: 40,
        })
        .await
        .unwrap();
    let mut seen = String::new();
    read_until(&mut stdout, &mut seen, "$ ").await;
    stdin.write_all(b"hostname\nexit 5\n").await.unwrap();
    read_until(&mut stdout, &mut seen, "web\r\n").await;
    assert_eq!(
        tokio::time::timeout(SOON, session.exit).await.unwrap().unwrap(),
        ExecExit::Code(5)
    );
    bench.finish().await;
}

async fn read_until(from: &mut (impl tokio::io::AsyncRead + Unpin), seen: &mut String, wanted: &str) {
    let reading = async {
        let mut piece = [0; 1024];
        while !seen.contains(wanted) {
            let length = from.read(&mut piece).await.unwrap();
            assert!(length > 0, "ended with {seen:?}");
            seen.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
    };
    if tokio::time::timeout(SOON, reading).await.is_err() {
        panic!("no {wanted:?} in {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_join_and_leave_the_main_process() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let request = ExecRequest {
        stdin: true,
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    };
    for tty in [false, true] {
        let mut spec = bench.spec(if tty { "terminal" } else { "pipe" }, &["sh"]);
        spec.process.tty = tty;
        spec.stdin = true;
        let log = spec.log.clone();
        let running = bench.start(spec).await;
        let session = bench
            .runtime
            .attach(
                &running.id,
                &ExecRequest {
                    tty,
                    ..request.clone()
                },
            )
            .await
            .unwrap();
        let (mut stdin, mut stdout) = (session.stdin.unwrap(), session.stdout.unwrap());
        let mut seen = String::new();
        stdin.write_all(b"echo one\n").await.unwrap();
        read_until(&mut stdout, &mut seen, if tty { "one\r\n" } else { "one\n" }).await;
        drop((stdin, stdout, session.exit));
        let session = bench
            .runtime
            .attach(
                &running.id,
                &ExecRequest {
                    tty,
                    ..request.clone()
                },
            )
            .await
            .unwrap();
        let mut stdin = session.stdin.unwrap();
        stdin.write_all(b"echo two; exit 4\n").await.unwrap();
        assert_eq!(
            tokio::time::timeout(SOON, session.exit).await.unwrap().unwrap(),
            ExecExit::Code(4),
            "{tty}"
        );
        let logged = content(&log);
        assert!(logged.contains("one") && logged.contains("two"), "{logged}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_runtime_takes_over_what_runs_and_what_has_ended() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let running = bench.start(bench.spec("running", &["/bin/hello"])).await;
    let ended = bench.start(bench.spec("ended", &["sh", "-c", "exit 7"])).await;
    bench.runtime.wait(&ended.id).await.unwrap();
    let Bench { lab, runtime } = bench;
    drop(runtime);
    let runtime = lab.runtime().await;
    let sandboxes = runtime.list().await.unwrap();
    assert_eq!(sandboxes.len(), 1);
    let [first, second] = sandboxes[0].containers.as_slice() else {
        panic!("{sandboxes:?}")
    };
    assert_eq!(
        (first.name.as_str(), first.exit.as_ref().map(|exit| exit.code)),
        ("ended", Some(7))
    );
    assert_eq!(
        (second.name.as_str(), second.pid, second.started),
        ("running", running.pid, running.started)
    );
    assert_eq!(run(&runtime, &running.id, &["echo", "still"]).await.1, "still\n");
    let exit = runtime
        .stop_container(&running.id, "SIGTERM", Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(exit.code, 0);
    Bench { lab, runtime }.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_shim_is_killed_counts_as_ended_and_leaves_nothing() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let one = bench.start(bench.spec("one", &["sleep", "600"])).await;
    let two = bench.start(bench.spec("two", &["sleep", "600"])).await;
    kill_shim(&bench.lab, &one.id);
    let exit = tokio::time::timeout(SOON, bench.runtime.wait(&one.id))
        .await
        .unwrap()
        .unwrap();
    assert!(exit.unseen, "{exit:?}");
    assert_eq!(exit.code, 137);
    // The same while nobody looks.
    let Bench { lab, runtime } = bench;
    drop(runtime);
    kill_shim(&lab, &two.id);
    let runtime = lab.runtime().await;
    let exit = tokio::time::timeout(SOON, runtime.wait(&two.id))
        .await
        .unwrap()
        .unwrap();
    assert!(exit.unseen, "{exit:?}");
    for pid in [one.pid, two.pid] {
        let gone = async {
            while Path::new(&format!("/proc/{pid}/exe")).exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, gone)
            .await
            .expect("the processes of a lost container end");
    }
    Bench { lab, runtime }.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_processes_are_held_by_one_that_collects_the_orphans() {
    let Some(bench) = Bench::new().await else { return };
    let Some(image) = bench.lab.busybox() else { return };
    let shared = || SandboxSpec {
        pid: NamespaceMode::Shared,
        ..sandbox("web")
    };
    bench.runtime.create_sandbox(shared()).await.unwrap();
    let spec = |name: &str, args: &[&str]| container("web", name, &image, &bench.lab.log(name), args);
    let main = bench.start(spec("main", &["sleep", "600"])).await;
    let command = ["sh", "-c", "(sleep 0.1 &); ps -o pid,comm"];
    let (_, before) = run(&bench.runtime, &main.id, &command).await;
    assert!(before.lines().any(|line| line.trim() == "1 pause"), "{before}");
    let gone = async {
        while run(&bench.runtime, &main.id, &["ps"])
            .await
            .1
            .contains("sleep 0.1")
        {}
        let (_, after) = run(&bench.runtime, &main.id, &["ps", "-o", "comm,stat"]).await;
        assert_eq!(after.matches("sleep").count(), 1, "an orphan stays: {after}");
    };
    tokio::time::timeout(SOON, gone).await.unwrap();

    // A new runtime knows it, though nobody sees it.
    let Bench { lab, runtime } = bench;
    drop(runtime);
    let runtime = lab.runtime().await;
    assert_eq!(runtime.list().await.unwrap()[0].containers.len(), 1);
    let mut next = container("web", "next", &image, &lab.log("next"), &["sleep", "600"]);
    let next_container = runtime.start_container(next.clone()).await.unwrap();
    let (_, listed) = run(&runtime, &next_container.id, &["ps", "-o", "comm"]).await;
    assert_eq!(listed.matches("sleep").count(), 2, "{listed}");

    // When it goes all go, and the sandbox has to be made again.
    kill_shim(&lab, &ContainerId::of("web", "", 0));
    for id in [&main.id, &next_container.id] {
        let exit = tokio::time::timeout(SOON, runtime.wait(id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(exit.code, 137);
    }
    next.id = ContainerId::of("web", "next", 1);
    let lost = async {
        // The end of the shim is noticed a moment later: until then one may start, or find nobody to join.
        loop {
            match runtime.start_container(next.clone()).await {
                Err(RuntimeError::NotFound { what: "sandbox", .. }) => return,
                _ => {
                    next.attempt += 1;
                    next.id = ContainerId::of("web", "next", 1 + next.attempt);
                }
            }
        }
    };
    tokio::time::timeout(SOON, lost)
        .await
        .expect("a sandbox without its holder is gone");
    assert_eq!(lab.leaks(), Vec::<String>::new());
    runtime.create_sandbox(shared()).await.unwrap();
    runtime.start_container(next).await.unwrap();
    Bench { lab, runtime }.finish().await;
}

fn kill_shim(lab: &Lab, id: &ContainerId) {
    let folder = lab.config().root.join("containers").join(id.as_str());
    let pid: i32 = fs::read_to_string(folder.join("shim.lock"))
        .unwrap()
        .parse()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_containers_start_side_by_side() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let began = Instant::now();
    let started = names
        .iter()
        .map(|name| bench.start(bench.spec(name, &["sleep", "600"])));
    let started = futures::future::join_all(started).await;
    println!("20 containers in {:?}", began.elapsed());
    assert!(started.iter().all(Container::is_running));
    for container in started.iter().take(3) {
        println!("shim: {}", memory(&bench.lab, &container.id));
    }
    let began = Instant::now();
    bench.finish().await;
    println!("gone in {:?}", began.elapsed());
}

/// Memory of a shim that is its own.
fn memory(lab: &Lab, id: &ContainerId) -> String {
    let folder = lab.config().root.join("containers").join(id.as_str());
    let pid = fs::read_to_string(folder.join("shim.lock")).unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("Private") || line.starts_with("Pss:"));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_rotated_while_it_is_written() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let line = format!("echo {};", "0123456789".repeat(10));
    let script = format!("{} echo last", line.repeat(600));
    let mut spec = bench.spec("talking", &["sh", "-c", &script]);
    spec.log_limits = LogLimits {
        bytes_max: 20_000,
        files_max: 3,
    };
    let log = spec.log.clone();
    let (code, newest) = bench.complete(spec).await;
    assert_eq!(code, 0);
    assert!(newest.ends_with("last\n"), "{newest}");
    let files = fs::read_dir(log.parent().unwrap()).unwrap().count();
    assert_eq!(files, 3);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_may_use_the_machine_and_sets_its_own_kernel_parameters() {
    let Some(bench) = Bench::new().await else { return };
    let mut own = sandbox("web");
    own.sysctls.insert("net.core.somaxconn".into(), "777".into());
    bench.runtime.create_sandbox(own).await.unwrap();
    let read = bench.spec("read", &["cat", "/proc/sys/net/core/somaxconn"]);
    assert_eq!(bench.complete(read).await, (0, "777\n".into()));
    bench.runtime.remove_sandbox("web").await.unwrap();
    let mut host = sandbox("web");
    host.network = NamespaceMode::Host;
    host.pid = NamespaceMode::Host;
    let made = bench.runtime.create_sandbox(host).await.unwrap();
    assert_eq!(made.netns, None);
    let mut spec = bench.spec("host", &["sh", "-c", "ls /proc/self/ns; hostname"]);
    spec.id = ContainerId::of("web", "host", 1);
    let (code, printed) = bench.complete(spec).await;
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(code == 0 && printed.ends_with(&name), "{printed}");
    bench.runtime.remove_sandbox("web").await.unwrap();
    let mut foreign = sandbox("web");
    foreign.sysctls.insert("kernel.panic".into(), "1".into());
    assert!(bench.runtime.create_sandbox(foreign).await.is_err());
    assert_eq!(bench.lab.leaks(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_shell_catches_signals_and_leaves_no_orphans() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let Some(image) = bench.lab.busybox() else { return };
    let script = "trap 'echo bye; exit 6' TERM; sleep 600 & echo up; while :; do sleep 0.05; done";
    let spec = container(
        "web",
        "main",
        &image,
        &bench.lab.log("main"),
        &["sh", "-c", script],
    );
    let log = spec.log.clone();
    let running = bench.start(spec).await;
    let up = async {
        while !content(&log).contains("up") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, up).await.unwrap();
    let exit = bench
        .runtime
        .stop_container(&running.id, "TERM", SOON)
        .await
        .unwrap();
    assert_eq!((exit.code, content(&log).as_str()), (6, "up\nbye\n"));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_shell_sees_its_terminal_and_takes_archives() {
    let Some(bench) = Bench::with_sandbox().await else {
        return;
    };
    let Some(image) = bench.lab.busybox() else { return };
    let running = bench
        .start(container(
            "web",
            "main",
            &image,
            &bench.lab.log("main"),
            &["sleep", "600"],
        ))
        .await;
    let request = ExecRequest {
        command: vec!["sh".into()],
        stdin: true,
        stdout: true,
        tty: true,
        ..ExecRequest::default()
    };
    let session = bench.runtime.exec(&running.id, &request).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin.unwrap(), session.stdout.unwrap());
    session
        .resize
        .as_ref()
        .unwrap()
        .send(TerminalSize {
            width: 101,
            height: 43,
        })
        .await
        .unwrap();
    let mut seen = String::new();
    read_until(&mut stdout, &mut seen, "# ").await;
    stdin
        .write_all(b"while [ \"$(stty size)\" != '43 101' ]; do :; done; echo si''zed; exit\n")
        .await
        .unwrap();
    read_until(&mut stdout, &mut seen, "sized").await;
    drop((stdin, stdout));

    // As `kubectl cp` does.
    let unpack = ExecRequest {
        command: vec!["tar".into(), "xf".into(), "-".into(), "-C".into(), "/tmp".into()],
        stdin: true,
        ..ExecRequest::default()
    };
    let archive = support::archive::tar(&[("big".into(), vec![b'x'; 3 << 20])]);
    let session = bench.runtime.exec(&running.id, &unpack).await.unwrap();
    let mut stdin = session.stdin.unwrap();
    stdin.write_all(&archive).await.unwrap();
    drop(stdin);
    assert_eq!(
        tokio::time::timeout(SOON, session.exit).await.unwrap().unwrap(),
        ExecExit::Code(0)
    );
    let (_, printed) = run(&bench.runtime, &running.id, &["sh", "-c", "cat /tmp/big | wc -c"]).await;
    assert_eq!(printed.trim(), (3 << 20).to_string());
    let (_, printed) = run(&bench.runtime, &running.id, &["cat", "/tmp/big"]).await;
    assert_eq!(printed.len(), 3 << 20);
    bench.finish().await;
}
