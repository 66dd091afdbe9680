//! Logs, commands and ports, on a node made up for the test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{
    Api, ByteStream, Collection, Connection, ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams,
    PodContainer, WriteOptions,
};
use cluster_objects::{Object, Status};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, duplex};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::program::{self, Run, command, is_there};
use crate::server::TestServer;

/// A node whose containers say what they were asked.
struct FakeNode;

#[async_trait]
impl NodeStreams for FakeNode {
    async fn logs(&self, container: &PodContainer, request: &LogRequest) -> Result<ByteStream, Status> {
        if request.previous {
            return Err(Status::bad_request(format!(
                "previous terminated container {:?} in pod {:?} not found",
                container.container, container.pod
            )));
        }
        let mut lines: Vec<String> = (1..=3)
            .map(|line| format!("{} {line}\n", container.container))
            .collect();
        if let Some(tail) = request.tail_lines {
            lines.drain(..lines.len().saturating_sub(tail as usize));
        }
        let lines = lines.into_iter().map(|line| Ok(Bytes::from(line)));
        Ok(Box::pin(futures::stream::iter(lines)))
    }

    /// `upper`: input in capitals. `exit N`: ends with N. Anything else: shows the command.
    async fn exec(&self, _container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status> {
        let (stdin, mut input) = duplex(1024);
        let (mut output, stdout) = duplex(1024);
        let (mut errors, stderr) = duplex(1024);
        let (sender, exit) = oneshot::channel();
        let command = request.command.clone();
        tokio::spawn(async move {
            let code = match command.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["upper"] => {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = input.read(&mut buffer).await {
                        output
                            .write_all(&buffer[..length].to_ascii_uppercase())
                            .await
                            .unwrap();
                    }
                    0
                }
                ["exit", code] => {
                    errors.write_all(b"it failed\n").await.unwrap();
                    code.parse().unwrap()
                }
                other => {
                    output.write_all(format!("{other:?}\n").as_bytes()).await.unwrap();
                    0
                }
            };
            _ = sender.send(ExecExit::Code(code));
        });
        Ok(ExecSession {
            stdin: request.stdin.then(|| Box::pin(stdin) as _),
            stdout: request.stdout.then(|| Box::pin(stdout) as _),
            stderr: request.stderr.then(|| Box::pin(stderr) as _),
            resize: None,
            exit,
        })
    }

    async fn attach(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status> {
        let request = ExecRequest {
            command: vec!["attached".to_owned()],
            ..request.clone()
        };
        self.exec(container, &request).await
    }

    /// Port 7 sends back what it gets; no other is open.
    async fn connect(&self, _container: &PodContainer, port: u16) -> Result<Box<dyn Connection>, Status> {
        if port != 7 {
            return Err(Status::internal("connection refused"));
        }
        let (ours, theirs) = duplex(1024);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(theirs);
            _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Ok(Box::new(ours))
    }
}

/// A server with a pod `web` of the containers `main` and `side` on a made-up node.
async fn with_pod() -> TestServer {
    let server = TestServer::start().await;
    server.api.engine().nodes().register("n1", Arc::new(FakeNode));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "annotations": {"kubectl.kubernetes.io/default-container": "main"}},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "main", "image": "demo", "stdin": true}, {"name": "side", "image": "demo"}],
        },
    });
    let pods = Collection::namespaced("v1", "pods", "default");
    let pod = Object::from_value(pod).unwrap();
    let options = WriteOptions::default();
    server.api.create(&pods, pod, &options).await.unwrap();
    let running = json!({"status": {
        "phase": "Running",
        "containerStatuses": [
            {"name": "main", "ready": true, "state": {"running": {}}, "image": "", "imageID": "", "restartCount": 0},
            {"name": "side", "ready": true, "state": {"running": {}}, "image": "", "imageID": "", "restartCount": 0},
        ],
    }});
    let status = pods.target("web").subresource("status");
    server
        .api
        .patch(&status, cluster_client::Patch::Merge(running), &options)
        .await
        .unwrap();
    server
}

async fn kubectl(server: &TestServer, arguments: &str, input: &str) -> Run {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    program::run(server, "kubectl", &arguments, input).await
}

#[tokio::test]
async fn logs_are_read() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_pod().await;
    assert_eq!(
        kubectl(&server, "logs web", "").await.ok(),
        "main 1\nmain 2\nmain 3\n"
    );
    assert_eq!(
        kubectl(&server, "logs -f web -c side --tail=1", "").await.ok(),
        "side 3\n"
    );
    let refused = kubectl(&server, "logs web --previous", "").await.err();
    assert!(
        refused.contains("previous terminated container \"main\" in pod \"web\" not found"),
        "{refused}"
    );
    let refused = kubectl(&server, "logs web -c other", "").await.err();
    assert!(
        refused.contains("container other is not valid for pod web"),
        "{refused}"
    );
}

#[tokio::test]
async fn commands_run_with_input_output_and_exit_code() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_pod().await;
    assert_eq!(
        kubectl(&server, "exec web -- echo hello", "").await.ok(),
        "[\"echo\", \"hello\"]\n"
    );
    let long = "hello\n".repeat(20_000);
    let out = kubectl(&server, "exec -i web -- upper", &long).await.ok();
    assert_eq!(out, long.to_uppercase());
    let failed = kubectl(&server, "exec web -- exit 3", "").await;
    assert_eq!((failed.code, failed.stdout.as_str()), (3, ""));
    assert_eq!(failed.stderr, "it failed\ncommand terminated with exit code 3\n");
    let attached = kubectl(&server, "attach web -c main", "").await;
    assert_eq!(attached.stdout, "[\"attached\"]\n", "{}", attached.stderr);
    let refused = kubectl(&server, "exec missing -- echo", "").await.err();
    assert!(refused.contains("pods \"missing\" not found"), "{refused}");
}

#[tokio::test]
async fn ports_are_forwarded() {
    if !is_there("kubectl") {
        return;
    }
    let server = with_pod().await;
    let mut child = command(&server, "kubectl", &["port-forward", "pod/web", ":7", ":8"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut address = async || {
        loop {
            // `Forwarding from 127.0.0.1:38651 -> 7`; where there is IPv6, a second line for each port.
            let line = lines.next_line().await.unwrap().expect("a line for each port");
            let address = line
                .strip_prefix("Forwarding from ")
                .unwrap_or_else(|| panic!("{line}"));
            if address.starts_with("127.") {
                return address.split(' ').next().unwrap().to_owned();
            }
        }
    };
    let (open, closed) = (address().await, address().await);
    let limit = Duration::from_secs(30);
    for _ in 0..3 {
        let mut connection = TcpStream::connect(&open).await.unwrap();
        let sent = "hello ".repeat(50_000);
        let (mut read, mut write) = connection.split();
        let send = async {
            write.write_all(sent.as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut received = String::new();
        let both = async { tokio::join!(send, read.read_to_string(&mut received)) };
        tokio::time::timeout(limit, both).await.unwrap().1.unwrap();
        assert_eq!(received.len(), sent.len());
    }
    let mut connection = TcpStream::connect(&closed).await.unwrap();
    let mut received = Vec::new();
    tokio::time::timeout(limit, connection.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(received, b"");
    child.kill().await.unwrap();
}
