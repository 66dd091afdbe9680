//! What every runtime does alike.

use std::time::Duration;

use cluster_client::{ExecExit, ExecRequest};
use cluster_node::runtime::{ContainerId, ContainerSpec, NamespaceMode, Runtime, RuntimeError, SandboxSpec};
use tokio::io::AsyncReadExt;

use super::{SOON, sandbox};

/// Runs a command; gives its exit and what it printed.
pub async fn run(runtime: &dyn Runtime, id: &ContainerId, command: &[&str]) -> (ExecExit, String) {
    let request = ExecRequest {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    };
    let session = runtime.exec(id, &request).await.unwrap();
    let mut printed = String::new();
    for stream in [session.stdout, session.stderr].into_iter().flatten() {
        let mut stream = stream;
        stream.read_to_string(&mut printed).await.unwrap();
    }
    (
        tokio::time::timeout(SOON, session.exit).await.unwrap().unwrap(),
        printed,
    )
}

/// The suite. `spec` makes a container of a name that runs until it is stopped.
pub async fn check(runtime: &dyn Runtime, spec: impl Fn(&str) -> ContainerSpec) {
    let refused = |outcome: Result<_, RuntimeError>| outcome.err().map(|error| error.to_string());
    let exists = |error: &RuntimeError| matches!(error, RuntimeError::Exists { .. });

    let made = runtime.create_sandbox(sandbox("pod")).await.unwrap();
    assert_eq!(made.spec, sandbox("pod"));
    assert!(
        runtime
            .create_sandbox(sandbox("pod"))
            .await
            .is_err_and(|error| exists(&error))
    );

    let mut lost = spec("lost");
    lost.sandbox = "nowhere".into();
    assert_eq!(
        refused(runtime.start_container(lost).await.map(drop)).unwrap(),
        "no sandbox `nowhere`"
    );
    let mut idle = spec("idle");
    idle.process.args.clear();
    assert_eq!(
        refused(runtime.start_container(idle).await.map(drop)).unwrap(),
        "no command specified"
    );

    let first = runtime.start_container(spec("first")).await.unwrap();
    assert!(first.is_running());
    assert!(
        runtime
            .start_container(spec("first"))
            .await
            .is_err_and(|error| exists(&error))
    );
    let listed = runtime.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0].containers.len(),
        1,
        "a refused container leaves nothing: {listed:?}"
    );
    assert_eq!(listed[0].containers[0].id, first.id);

    let (exit, printed) = run(runtime, &first.id, &["echo", "hi", "there"]).await;
    assert_eq!(exit, ExecExit::Code(0));
    assert!(printed.contains("hi there"), "{printed}");
    assert_eq!(run(runtime, &first.id, &["false"]).await.0, ExecExit::Code(1));
    assert!(runtime.usage(&first.id).await.unwrap().pids > 0);
    runtime.disk_usage(&first.id).await.unwrap();

    let waiting = runtime.wait(&first.id);
    let stopping = runtime.stop_container(&first.id, "SIGTERM", Duration::from_secs(10));
    let (waited, stopped) = tokio::time::timeout(SOON, async { tokio::join!(waiting, stopping) })
        .await
        .unwrap();
    let exit = stopped.unwrap();
    assert_eq!(waited.unwrap(), exit);
    assert_eq!(exit.code, 0);
    assert_eq!(
        runtime
            .stop_container(&first.id, "SIGTERM", Duration::ZERO)
            .await
            .unwrap(),
        exit
    );
    assert!(!runtime.list().await.unwrap()[0].containers[0].is_running());
    let request = ExecRequest {
        command: vec!["echo".into()],
        ..ExecRequest::default()
    };
    let exec = runtime.exec(&first.id, &request).await;
    assert!(matches!(exec.err(), Some(RuntimeError::NotRunning { .. })));
    assert!(matches!(
        runtime.usage(&first.id).await,
        Err(RuntimeError::NotRunning { .. })
    ));

    runtime.remove_container(&first.id).await.unwrap();
    runtime.remove_container(&first.id).await.unwrap();
    assert_eq!(runtime.list().await.unwrap()[0].containers, []);
    assert!(matches!(
        runtime.disk_usage(&first.id).await,
        Err(RuntimeError::NotFound { .. })
    ));
    assert!(matches!(
        runtime.wait(&first.id).await,
        Err(RuntimeError::NotFound { .. })
    ));

    let killed = runtime.start_container(spec("killed")).await.unwrap();
    let exit = runtime
        .stop_container(&killed.id, "SIGTERM", Duration::ZERO)
        .await
        .unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));

    runtime.start_container(spec("last")).await.unwrap();
    runtime.remove_sandbox("pod").await.unwrap();
    runtime.remove_sandbox("pod").await.unwrap();
    assert_eq!(runtime.list().await.unwrap(), []);
}

/// Whose processes a container sees: its own, those of another, or all of its sandbox. For runtimes with real ones.
pub async fn check_processes(runtime: &dyn Runtime, spec: impl Fn(&str) -> ContainerSpec) {
    let seen = async |id: &ContainerId| {
        let (exit, listed) = run(runtime, id, &["ls", "/proc"]).await;
        assert_eq!(exit, ExecExit::Code(0), "{listed}");
        let numbers = listed
            .split_whitespace()
            .filter(|name| name.parse::<u32>().is_ok());
        // One of them is the command itself.
        numbers.count() - 1
    };
    let ends = async |id: &ContainerId| {
        let waited = tokio::time::timeout(SOON, runtime.wait(id)).await;
        waited.unwrap().unwrap().code
    };
    let spec = |name: &str| {
        let mut spec = spec(name);
        spec.process.args = ["/bin/hello", "sleep", "infinity"].map(str::to_owned).into();
        spec
    };
    let start = async |spec: ContainerSpec| runtime.start_container(spec).await.unwrap();

    runtime.create_sandbox(sandbox("pod")).await.unwrap();
    let target = start(spec("target")).await;
    let joining = |name: &str| ContainerSpec {
        processes_of: Some(target.id.clone()),
        ..spec(name)
    };
    let other = start(spec("other")).await;
    let guest = start(joining("guest")).await;
    assert_eq!(seen(&other.id).await, 1);
    assert_eq!((seen(&guest.id).await, seen(&target.id).await), (2, 2));
    runtime.stop_container(&guest.id, "SIGTERM", SOON).await.unwrap();
    assert_eq!(seen(&target.id).await, 1, "a guest goes alone");
    let last = start(joining("last")).await;
    runtime.stop_container(&target.id, "SIGTERM", SOON).await.unwrap();
    assert_eq!(ends(&last.id).await, 137, "guests end with whom they joined");
    assert!(runtime.start_container(joining("late")).await.is_err());
    runtime.remove_sandbox("pod").await.unwrap();

    let shared = SandboxSpec {
        pid: NamespaceMode::Shared,
        ..sandbox("pod")
    };
    let made = runtime.create_sandbox(shared).await.unwrap();
    assert_eq!(made.containers, []);
    let (one, two) = (start(spec("one")).await, start(spec("two")).await);
    // The third is what holds them together.
    assert_eq!((seen(&one.id).await, seen(&two.id).await), (3, 3));
    assert_eq!(runtime.list().await.unwrap()[0].containers.len(), 2);
    runtime.stop_container(&one.id, "SIGTERM", SOON).await.unwrap();
    assert_eq!(seen(&two.id).await, 2, "each container ends alone");
    runtime
        .stop_container(&two.id, "SIGTERM", Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(ends(&two.id).await, 137);
    runtime.remove_sandbox("pod").await.unwrap();
    assert_eq!(runtime.list().await.unwrap(), []);
}
