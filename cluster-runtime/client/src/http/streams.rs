//! Commands in containers, over WebSocket; the protocol is the `kube` crate's.

use cluster_objects::Status;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as KubeStatus;
use kube::api::{AttachParams, AttachedProcess, TerminalSize as KubeSize};
use tokio::sync::{mpsc, oneshot};

use crate::{ExecExit, ExecRequest, ExecSession, Target, TerminalSize};

/// Bytes that wait in each stream.
const BUFFER_BYTES: usize = 64 * 1024;
/// Sizes of a terminal that wait to be sent.
const RESIZES_WAITING_MAX: usize = 8;

/// Runs a command in a container, or joins its main process where the subresource is `attach`.
pub(super) async fn open(
    client: &kube::Client,
    target: &Target,
    container: &str,
    request: &ExecRequest,
) -> Result<ExecSession, kube::Error> {
    let namespace = target.namespace.as_deref().unwrap_or("default");
    let pods = kube::Api::<Pod>::namespaced(client.clone(), namespace);
    let wanted = AttachParams {
        container: Some(container.to_owned()),
        stdin: request.stdin,
        stdout: request.stdout,
        // A terminal has one output.
        stderr: request.stderr && !request.tty,
        tty: request.tty,
        max_stdin_buf_size: Some(BUFFER_BYTES),
        max_stdout_buf_size: Some(BUFFER_BYTES),
        max_stderr_buf_size: Some(BUFFER_BYTES),
    };
    let process = if target.subresource == Some("attach") {
        pods.attach(&target.name, &wanted).await?
    } else {
        pods.exec(&target.name, request.command.clone(), &wanted).await?
    };
    Ok(session(process))
}

fn session(mut process: AttachedProcess) -> ExecSession {
    let stdin = process.stdin();
    let stdout = process.stdout();
    let stderr = process.stderr();
    let sizes = process.terminal_size();
    let status = process.take_status();
    let (resize, mut resized) = mpsc::channel::<TerminalSize>(RESIZES_WAITING_MAX);
    let has_terminal = sizes.is_some();
    if let Some(mut sizes) = sizes {
        tokio::spawn(async move {
            while let Some(TerminalSize { width, height }) = resized.recv().await {
                if sizes.send(KubeSize { width, height }).await.is_err() {
                    return;
                }
            }
        });
    }
    let (mut sender, exit) = oneshot::channel();
    tokio::spawn(async move {
        let ended = async {
            match status {
                Some(status) => status.await,
                None => None,
            }
        };
        tokio::select! {
            status = ended => {
                // Whoever does not want to know has dropped the session.
                let _ = sender.send(exit_of(status.as_ref()));
                // What was read before the end is still on its way to who reads it.
                let _ = process.join().await;
            }
            // Dropping the process ends the connection, and with it the command.
            () = sender.closed() => {}
        }
    });
    ExecSession {
        stdin: stdin.map(|stream| Box::pin(stream) as _),
        stdout: stdout.map(|stream| Box::pin(stream) as _),
        stderr: stderr.map(|stream| Box::pin(stream) as _),
        resize: has_terminal.then_some(resize),
        exit,
    }
}

/// How it ended, by the error channel's status.
fn exit_of(status: Option<&KubeStatus>) -> ExecExit {
    let Some(status) = status else {
        return ExecExit::Failed("the connection was lost".to_owned());
    };
    if status.status.as_deref() == Some("Success") {
        return ExecExit::Code(0);
    }
    let details = status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten());
    let code = details
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_ref()?.parse().ok());
    match code {
        Some(code) => ExecExit::Code(code),
        None => ExecExit::Failed(status.message.clone().unwrap_or_default()),
    }
}

/// A refusal in the API's own words, where it is one.
pub(super) fn refusal(error: &kube::Error) -> Option<Status> {
    match error {
        kube::Error::Api(status) => Some(Status::from_value(&serde_json::to_value(status).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_error_channel_tells_how_it_ended() {
        let check = |status: serde_json::Value, expected: ExecExit| {
            let status: KubeStatus = serde_json::from_value(status).unwrap();
            assert_eq!(exit_of(Some(&status)), expected);
        };
        check(json!({"status": "Success"}), ExecExit::Code(0));
        check(
            json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "…",
                   "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}}),
            ExecExit::Code(7),
        );
        check(
            json!({"status": "Failure", "message": "no such file"}),
            ExecExit::Failed("no such file".to_owned()),
        );
        assert_eq!(
            exit_of(None),
            ExecExit::Failed("the connection was lost".to_owned())
        );
    }
}
