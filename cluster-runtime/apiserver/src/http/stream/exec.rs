//! Commands in containers over WebSocket, in the protocols `v4.channel.k8s.io` and `v5.channel.k8s.io`.
//!
//! Every message is binary and starts with the number of its channel. The streams and their numbers are those of
//! `k8s.io/apimachinery/pkg/util/remotecommand`.

use std::pin::Pin;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::Bytes;
use cluster_client::{ExecExit, ExecRequest, ExecSession, TerminalSize};
use cluster_objects::{Object, Status};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::handle::Call;
use super::{container, container_of, node_of};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In version 5: the client closes the channel whose number follows.
const CLOSE: u8 = 255;

/// Bytes of output that are sent at once.
const PIECE_BYTES: usize = 32 * 1024;

/// How long a client may take to close its side after the end.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Runs a command in a container, or attaches to its main process.
pub(super) async fn open(call: &mut Call<'_>, pod: &Object, attach: bool) -> Result<Response, Status> {
    let query = &call.parameters;
    let is_set = |name: &str| query.flag(name) == Some(true);
    let request = ExecRequest {
        command: query.all("command").to_vec(),
        stdin: is_set("stdin"),
        stdout: is_set("stdout"),
        stderr: is_set("stderr") && !is_set("tty"),
        tty: is_set("tty"),
    };
    if !request.stdin && !request.stdout && !request.stderr {
        return Err(Status::bad_request(
            "you must specify at least one of stdin, stdout, stderr",
        ));
    }
    if !attach && request.command.is_empty() {
        return Err(Status::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    let container = container::choose(pod, query.text("container"))?;
    let Some(node) = node_of(call, pod)? else {
        return Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            pod.name()
        )));
    };
    let upgrade = upgrade(call, &["v5.channel.k8s.io", "v4.channel.k8s.io"]).await?;
    let container = container_of(pod, container);
    let session = if attach {
        node.attach(&container, &request).await
    } else {
        node.exec(&container, &request).await
    };
    let stop = call.server.stop.clone();
    // From here on a refusal travels inside the WebSocket, where the client looks for it.
    Ok(upgrade.on_upgrade(move |socket| async move {
        match session {
            Ok(session) => run(socket, session, stop).await,
            Err(status) => {
                let (mut sink, _) = socket.split();
                end(&mut sink, &status.to_value()).await;
            }
        }
    }))
}

/// The WebSocket that the client wants, in one of the protocols that both sides speak.
pub(super) async fn upgrade(
    call: &mut Call<'_>,
    protocols: &[&'static str],
) -> Result<WebSocketUpgrade, Status> {
    let upgrade = WebSocketUpgrade::from_request_parts(&mut call.parts, &()).await;
    let upgrade = upgrade.map_err(|_| {
        Status::bad_request(
            "unable to upgrade: this server streams over WebSocket, the request asks for none",
        )
    })?;
    let upgrade = upgrade.protocols(protocols.iter().copied());
    if upgrade.selected_protocol().is_none() {
        return Err(Status::bad_request(format!(
            "unable to upgrade: unable to negotiate protocol: server supports [{}]",
            protocols.join(" ")
        )));
    }
    Ok(upgrade)
}

type Sink = SplitSink<WebSocket, Message>;

/// Carries bytes both ways until the command ends, the client goes or the server stops.
async fn run(socket: WebSocket, session: ExecSession, stop: CancellationToken) {
    let (mut sink, source) = socket.split();
    let ExecSession {
        stdin,
        mut stdout,
        mut stderr,
        resize,
        exit,
    } = session;
    // An empty message tells the client that the streams are there.
    let first = match (&stdout, &stderr) {
        (Some(_), _) => STDOUT,
        (None, Some(_)) => STDERR,
        (None, None) => ERROR,
    };
    if sink.send(message(first, &[])).await.is_err() {
        return;
    }
    let input = tokio::spawn(read_input(source, stdin, resize));
    let mut client = AbortOnDrop(input);
    let mut exit = exit;
    let mut ended: Option<ExecExit> = None;
    let (mut out, mut err) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        if stdout.is_none() && stderr.is_none() && ended.is_some() {
            break;
        }
        tokio::select! {
            read = read(&mut stdout, &mut out) => {
                if !forward(&mut sink, STDOUT, read, &out, &mut stdout).await {
                    return;
                }
            }
            read = read(&mut stderr, &mut err) => {
                if !forward(&mut sink, STDERR, read, &err, &mut stderr).await {
                    return;
                }
            }
            exited = &mut exit, if ended.is_none() => {
                ended = Some(exited.unwrap_or_else(|_| ExecExit::Failed("the node gave the command up".to_owned())));
            }
            // The client is gone: dropping the session ends the command.
            _ = &mut client.0 => return,
            () = stop.cancelled() => return,
        }
    }
    let status = exit_status(&ended.unwrap_or(ExecExit::Code(0)));
    end(&mut sink, &status).await;
    // Input that is still on its way is read and thrown away: closing a connection with unread bytes resets it, and
    // the client would lose the end of the output and the status.
    tokio::select! {
        _ = tokio::time::timeout(LINGER_MAX, &mut client.0) => {}
        () = stop.cancelled() => {}
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Output = Option<Pin<Box<dyn AsyncRead + Send>>>;

async fn read(output: &mut Output, buffer: &mut [u8]) -> std::io::Result<usize> {
    match output {
        Some(output) => output.read(buffer).await,
        None => std::future::pending().await,
    }
}

/// Sends what was read; `false` when the client is gone. At its end the output is taken away.
async fn forward(
    sink: &mut Sink,
    channel: u8,
    read: std::io::Result<usize>,
    buffer: &[u8],
    output: &mut Output,
) -> bool {
    match read {
        Ok(0) | Err(_) => {
            *output = None;
            true
        }
        Ok(length) => sink.send(message(channel, &buffer[..length])).await.is_ok(),
    }
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(1 + data.len());
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(Bytes::from(bytes))
}

/// Sends how it ended and closes.
async fn end(sink: &mut Sink, status: &Value) {
    let close = CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    };
    // A client that is gone needs no answer.
    if sink
        .send(message(ERROR, status.to_string().as_bytes()))
        .await
        .is_ok()
    {
        _ = sink.send(Message::Close(Some(close))).await;
    }
}

/// Carries what the client sends to the command, until the client goes.
async fn read_input(
    mut source: SplitStream<WebSocket>,
    mut stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(Ok(received)) = source.next().await {
        let bytes = match received {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match bytes.split_first() {
            Some((&STDIN, data)) => {
                let Some(open) = &mut stdin else { continue };
                let written = async {
                    open.write_all(data).await?;
                    open.flush().await
                };
                if written.await.is_err() {
                    // The command has closed its input; its output may still come.
                    stdin = None;
                }
            }
            Some((&CLOSE, [STDIN, ..])) => {
                if let Some(mut open) = stdin.take() {
                    _ = open.shutdown().await;
                }
            }
            Some((&RESIZE, data)) => {
                if let (Some(resize), Some(size)) = (&resize, terminal_size(data)) {
                    _ = resize.send(size).await;
                }
            }
            _ => {}
        }
    }
}

fn terminal_size(data: &[u8]) -> Option<TerminalSize> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let size: Size = serde_json::from_slice(data).ok()?;
    Some(TerminalSize {
        width: size.width,
        height: size.height,
    })
}

/// How a command ended, as the error channel tells it.
fn exit_status(exit: &ExecExit) -> Value {
    match exit {
        ExecExit::Code(0) => json!({"metadata": {}, "status": "Success"}),
        ExecExit::Code(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExecExit::Failed(why) => {
            Status::internal(format!("error executing command in container: {why}")).to_value()
        }
    }
}
