//! Running the real clients.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::server::TestServer;

/// Longest time that a client may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How a client ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The output of a client that had no complaint.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// What a client complained of.
    #[track_caller]
    pub(crate) fn err(self) -> String {
        assert_ne!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Whether a program is there; says so when a test is skipped for the lack of it.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return true;
    }
    assert!(
        std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
        "{program} is not installed"
    );
    println!("skipped: {program} is not installed");
    false
}

/// A client with a home of its own.
pub(crate) fn command(server: &TestServer, program: &str, arguments: &[&str]) -> Command {
    let home = server.home.path();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .env("KUBECONFIG", server.kubeconfig())
        .env("HELM_CACHE_HOME", home.join("helm-cache"))
        .env("HELM_CONFIG_HOME", home.join("helm-config"))
        .env("HELM_DATA_HOME", home.join("helm-data"))
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a client to its end.
pub(crate) async fn run(server: &TestServer, program: &str, arguments: &[&str], input: &str) -> Run {
    let mut command = command(server, program, arguments);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    tokio::spawn(async move {
        // A client that reads no input may be gone before it is written.
        _ = stdin.write_all(input.as_bytes()).await;
    });
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = ended
        .unwrap_or_else(|_| panic!("{program} {arguments:?} did not end"))
        .unwrap();
    let run = Run {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    };
    println!(
        "$ {program} {}\n{}{}",
        arguments.join(" "),
        run.stdout,
        run.stderr
    );
    run
}
