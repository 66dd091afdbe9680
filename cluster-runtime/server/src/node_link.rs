//! The containers of a node on another machine: logs, commands and connections, over a connection for each.
//!
//! A call is one message and one answer (see [`crate::message`]); what follows are plain bytes for logs and connections,
//! and frames for commands: a kind (1 byte), a length (4 bytes), and so many bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use cluster_apiserver::{Protocol, SERVERS, User};
use cluster_client::{
    ByteStream, Connection, ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams, NodeUsage,
    PodContainer, TerminalSize,
};
use cluster_objects::Status;
use futures::StreamExt;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, duplex, split};
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::ReaderStream;

use crate::{message, tls};

/// Name of the protocol, for ALPN.
pub(crate) const PROTOCOL: &str = "tug-node/1";
/// Bytes of a stream that are on their way inside this process.
const PIPE_BYTES: usize = 64 << 10;
/// Longest frame that is taken.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// What a server asks a node for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Call {
    Logs(PodContainer, LogRequest),
    Exec(PodContainer, ExecRequest),
    Attach(PodContainer, ExecRequest),
    Connect(PodContainer, u16),
    Usage,
}

/// The node's answer, before whatever follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Done,
    Usage(NodeUsage),
    Refused(serde_json::Value),
}

/// Kinds of frames that go to the node.
const INPUT: u8 = 0;
const INPUT_ENDS: u8 = 1;
const RESIZE: u8 = 2;
/// Kinds of frames that come from it.
const OUTPUT: u8 = 0;
const ERRORS: u8 = 1;
const EXIT: u8 = 2;

/// A node on another machine.
pub(crate) struct RemoteNode {
    name: String,
    address: SocketAddr,
    /// Speaks [`PROTOCOL`] by a server's certificate.
    tls: Arc<ClientConfig>,
}

impl RemoteNode {
    pub(crate) fn new(name: &str, address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            tls,
        }
    }

    async fn call(&self, call: &Call) -> Result<(Box<dyn Connection>, Answer), Status> {
        let calling = async {
            let mut stream = tls::connect(&self.tls, self.address, &self.name).await?;
            message::write(&mut stream, call).await?;
            let answer = message::read::<Answer>(&mut stream).await?;
            let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            Ok::<_, io::Error>((stream, answer))
        };
        let unreachable = |error: io::Error| {
            let (name, address) = (&self.name, self.address);
            Status::unavailable(format!("cannot reach the node {name:?} at {address}: {error}"))
        };
        match calling.await.map_err(unreachable)? {
            (_, Answer::Refused(status)) => Err(Status::from_value(&status)),
            (stream, answer) => Ok((Box::new(stream), answer)),
        }
    }
}

#[async_trait]
impl NodeStreams for RemoteNode {
    async fn logs(&self, container: &PodContainer, request: &LogRequest) -> Result<ByteStream, Status> {
        let call = Call::Logs(container.clone(), request.clone());
        let (stream, _) = self.call(&call).await?;
        Ok(Box::pin(ReaderStream::new(stream)))
    }

    async fn exec(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status> {
        let call = Call::Exec(container.clone(), request.clone());
        let (stream, _) = self.call(&call).await?;
        Ok(session(stream, request))
    }

    async fn attach(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status> {
        let call = Call::Attach(container.clone(), request.clone());
        let (stream, _) = self.call(&call).await?;
        Ok(session(stream, request))
    }

    async fn connect(&self, container: &PodContainer, port: u16) -> Result<Box<dyn Connection>, Status> {
        let (stream, _) = self.call(&Call::Connect(container.clone(), port)).await?;
        Ok(stream)
    }

    async fn usage(&self) -> Result<NodeUsage, Status> {
        match self.call(&Call::Usage).await? {
            (_, Answer::Usage(usage)) => Ok(usage),
            _ => Err(Status::internal("the node answered something else")),
        }
    }
}

/// The caller's ends of a command's streams.
fn session(stream: Box<dyn Connection>, request: &ExecRequest) -> ExecSession {
    let (reader, writer) = split(stream);
    let (stdin, input) = duplex(PIPE_BYTES);
    let (output, stdout) = duplex(PIPE_BYTES);
    let (errors, stderr) = duplex(PIPE_BYTES);
    let (resize, sizes) = mpsc::channel(4);
    let (exited, exit) = oneshot::channel();
    let input = request.stdin.then_some(input);
    let sending = send_input(writer, input, sizes);
    let receiving = receive_output(reader, output, errors, exited);
    tokio::spawn(async move {
        tokio::pin!(sending, receiving);
        let ended = tokio::select! {
            ended = &mut receiving => ended,
            ended = &mut sending => match ended {
                Ok(()) => receiving.await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a command on another node was cut off");
        }
    });
    ExecSession {
        stdin: request.stdin.then(|| Box::pin(stdin) as _),
        stdout: request.stdout.then(|| Box::pin(stdout) as _),
        stderr: (request.stderr && !request.tty).then(|| Box::pin(stderr) as _),
        resize: request.tty.then_some(resize),
        exit,
    }
}

/// Sends input and sizes until both end; the connection stays open for what comes back.
async fn send_input(
    mut writer: impl AsyncWrite + Unpin,
    mut input: Option<impl AsyncRead + Unpin>,
    mut sizes: mpsc::Receiver<TerminalSize>,
) -> io::Result<()> {
    let mut bytes = vec![0; PIPE_BYTES];
    let mut resizable = true;
    while input.is_some() || resizable {
        let read = async {
            match &mut input {
                Some(input) => input.read(&mut bytes).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            count = read => match count? {
                0 => {
                    input = None;
                    write_frame(&mut writer, INPUT_ENDS, &[]).await?;
                }
                count => write_frame(&mut writer, INPUT, &bytes[..count]).await?,
            },
            size = sizes.recv(), if resizable => match size {
                Some(size) => write_frame(&mut writer, RESIZE, &serde_json::to_vec(&size)?).await?,
                None => resizable = false,
            },
        }
    }
    // Dropping the half would leave the connection open, and so it does; the other half closes it.
    std::future::pending().await
}

/// Passes output on until the command has ended, or nobody wants to know how it does.
async fn receive_output(
    mut reader: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    mut errors: impl AsyncWrite + Unpin,
    mut exited: oneshot::Sender<ExecExit>,
) -> io::Result<()> {
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut reader) => frame?,
            () = exited.closed() => return Ok(()),
        };
        match frame {
            // Somebody who reads no further misses nothing.
            Some((OUTPUT, bytes)) => _ = output.write_all(&bytes).await,
            Some((ERRORS, bytes)) => _ = errors.write_all(&bytes).await,
            Some((EXIT, bytes)) => {
                drop((output, errors));
                _ = exited.send(serde_json::from_slice(&bytes)?);
                return Ok(());
            }
            Some(_) => {}
            None => {
                _ = exited.send(ExecExit::Failed("the connection to the node was lost".to_owned()));
                return Ok(());
            }
        }
    }
}

async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(bytes.len() + 5);
    frame.push(kind);
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    writer.write_all(&frame).await?;
    writer.flush().await
}

async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
    let kind = match reader.read_u8().await {
        Ok(kind) => kind,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = reader.read_u32().await?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame is longer than allowed",
        ));
    }
    let mut bytes = vec![0; length as usize];
    reader.read_exact(&mut bytes).await?;
    Ok(Some((kind, bytes)))
}

/// A node's side: it answers servers, and nobody else.
#[derive(Default)]
pub(crate) struct NodeService {
    node: OnceLock<Arc<dyn NodeStreams>>,
}

impl NodeService {
    /// Says which node it is; until then calls are cut off.
    pub(crate) fn set(&self, node: Arc<dyn NodeStreams>) {
        // It is set once for each start.
        let _ = self.node.set(node);
    }

    async fn answer(&self, mut stream: Box<dyn Connection>) -> io::Result<()> {
        let Some(node) = self.node.get() else {
            return Ok(());
        };
        let Some(call) = message::read::<Call>(&mut stream).await? else {
            return Ok(());
        };
        match call {
            Call::Usage => match node.usage().await {
                Ok(usage) => message::write(&mut stream, &Answer::Usage(usage)).await,
                Err(status) => refuse(&mut stream, &status).await,
            },
            Call::Logs(container, request) => match node.logs(&container, &request).await {
                Ok(mut lines) => {
                    message::write(&mut stream, &Answer::Done).await?;
                    let (mut reader, mut writer) = split(stream);
                    // Nothing is sent to a log: the end of that direction is the caller going away.
                    let gone = async { _ = reader.read_u8().await };
                    let passing = async {
                        while let Some(bytes) = lines.next().await {
                            writer.write_all(&bytes?).await?;
                            writer.flush().await?;
                        }
                        writer.shutdown().await
                    };
                    tokio::select! {
                        passed = passing => passed,
                        () = gone => Ok(()),
                    }
                }
                Err(status) => refuse(&mut stream, &status).await,
            },
            Call::Connect(container, port) => match node.connect(&container, port).await {
                Ok(mut connection) => {
                    message::write(&mut stream, &Answer::Done).await?;
                    copy_bidirectional(&mut stream, &mut connection).await.map(drop)
                }
                Err(status) => refuse(&mut stream, &status).await,
            },
            Call::Exec(container, request) => {
                let session = node.exec(&container, &request).await;
                serve_session(stream, session).await
            }
            Call::Attach(container, request) => {
                let session = node.attach(&container, &request).await;
                serve_session(stream, session).await
            }
        }
    }
}

#[async_trait]
impl Protocol for NodeService {
    async fn serve(&self, connection: Box<dyn Connection>, user: Option<&User>) {
        if !user.is_some_and(|user| user.is_in(SERVERS)) {
            tracing::warn!(?user, "somebody who is no server asked for containers");
            return;
        }
        if let Err(error) = self.answer(connection).await {
            tracing::debug!(%error, "a call to this node was cut off");
        }
    }
}

async fn refuse(stream: &mut (impl AsyncWrite + Unpin), status: &Status) -> io::Result<()> {
    message::write(stream, &Answer::Refused(status.to_value())).await
}

/// Passes the streams of a command on until it ends, or the caller goes away, which ends it.
async fn serve_session(
    mut stream: Box<dyn Connection>,
    session: Result<ExecSession, Status>,
) -> io::Result<()> {
    let ExecSession {
        mut stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = match session {
        Ok(session) => session,
        Err(status) => return refuse(&mut stream, &status).await,
    };
    message::write(&mut stream, &Answer::Done).await?;
    let (mut reader, mut writer) = split(stream);
    let (frames, mut outgoing) = mpsc::channel::<(u8, Bytes)>(4);
    let pass = |kind: u8, stream: Option<std::pin::Pin<Box<dyn AsyncRead + Send>>>| {
        let frames = frames.clone();
        async move {
            let Some(stream) = stream else { return };
            let mut chunks = ReaderStream::with_capacity(stream, PIPE_BYTES);
            while let Some(Ok(bytes)) = chunks.next().await {
                if frames.send((kind, bytes)).await.is_err() {
                    return;
                }
            }
        }
    };
    let output = async {
        let (out, err) = (pass(OUTPUT, stdout), pass(ERRORS, stderr));
        tokio::join!(out, err);
        // How it ended is told after everything that it wrote.
        let exit = exit
            .await
            .unwrap_or_else(|_| ExecExit::Failed("the command was lost".to_owned()));
        let text = serde_json::to_vec(&exit).unwrap_or_default();
        _ = frames.send((EXIT, text.into())).await;
    };
    let writing = async {
        while let Some((kind, bytes)) = outgoing.recv().await {
            write_frame(&mut writer, kind, &bytes).await?;
            if kind == EXIT {
                break;
            }
        }
        writer.shutdown().await
    };
    let input = async {
        while let Some((kind, bytes)) = read_frame(&mut reader).await? {
            match (kind, &mut stdin) {
                // A command that reads no further is no fault.
                (INPUT, Some(stdin)) => _ = stdin.write_all(&bytes).await,
                (INPUT_ENDS, _) => stdin = None,
                (RESIZE, _) => {
                    if let (Some(resize), Ok(size)) = (&resize, serde_json::from_slice(&bytes)) {
                        _ = resize.send(size).await;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        ((), written) = async { tokio::join!(output, writing) } => written,
        gone = input => gone,
    }
}
