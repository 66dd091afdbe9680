//! Runtimes: one suite for all of them, and what only real containers show.

mod support;

use std::time::Duration;

use cluster_node::runtime::Runtime;
use support::{Lab, container, sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_its_output_is_logged() {
    if !support::is_root() {
        return;
    }
    let lab = Lab::new();
    let runtime = lab.runtime().await;
    runtime.create_sandbox(sandbox("web")).await.unwrap();
    let log = lab.log("web.log");
    let began = std::time::Instant::now();
    let spec = container(
        "web",
        "main",
        &lab.hello(),
        &log,
        &["sh", "-c", "echo hello; hostname; exit 3"],
    );
    let started = runtime.start_container(spec).await.unwrap();
    println!("started in {:?}", began.elapsed());
    let exit = tokio::time::timeout(support::SOON, runtime.wait(&started.id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(exit.code, 3);
    println!("ended after {:?}", began.elapsed());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains(" stdout F hello\n"), "{text}");
    assert!(text.contains(" stdout F web\n"), "{text}");
    let second = container(
        "web",
        "server",
        &lab.hello(),
        &lab.log("server.log"),
        &["/bin/hello"],
    );
    let second = runtime.start_container(second).await.unwrap();
    let exit = runtime
        .stop_container(&second.id, "SIGTERM", Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!((exit.code, exit.signal), (0, None));
    runtime.remove_sandbox("web").await.unwrap();
    assert_eq!(lab.leaks(), Vec::<String>::new());
}
