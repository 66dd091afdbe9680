//! What an API server asks of a node: logs, commands and connections of its pods.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use cluster_objects::Status;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// A node that gives access to the containers of its pods.
#[async_trait]
pub trait NodeStreams: Send + Sync + 'static {
    /// Reads the log of a container.
    async fn logs(&self, container: &PodContainer, request: &LogRequest) -> Result<ByteStream, Status>;

    /// Runs a command in a container.
    async fn exec(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status>;

    /// Joins the streams of a container's main process. The command of the request is not used.
    async fn attach(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status>;

    /// Connects to a TCP port inside the pod's network namespace; `container.container` is not used.
    async fn connect(&self, container: &PodContainer, port: u16) -> Result<Box<dyn Connection>, Status>;

    /// What the node and its running containers use now. A node that does not measure answers with 503.
    async fn usage(&self) -> Result<NodeUsage, Status> {
        Err(Status::unavailable(
            "the node does not measure what its containers use",
        ))
    }
}

/// What a node and its containers use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUsage {
    /// The node as a whole.
    pub node: Usage,
    /// Each running container.
    pub containers: Vec<(PodContainer, Usage)>,
}

/// What is used of processor and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since some start, in nanoseconds; it only grows.
    pub cpu_nanoseconds: u64,
    /// Bytes of memory that cannot be given back easily.
    pub working_set_bytes: u64,
}

/// One container of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodContainer {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
}

/// Which lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Go on as lines are written.
    pub follow: bool,
    /// The container before its last restart.
    pub previous: bool,
    /// Begin each line with its RFC 3339 time.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines of the last so many seconds.
    pub since_seconds: Option<u64>,
    /// Only lines from this time on, RFC 3339.
    pub since_time: Option<String>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A command to run, and which streams to join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether the client wants output.
    pub stdout: bool,
    /// Whether the client wants errors; with a terminal they come with the output.
    pub stderr: bool,
    /// Whether the command gets a terminal.
    pub tty: bool,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecExit {
    /// It ended with this code; 128 + N when signal N killed it.
    Code(i32),
    /// It could not be run.
    Failed(String),
}

/// A running command. Dropping it ends the command.
pub struct ExecSession {
    /// Input of the command; dropping it closes the input.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Output of the command.
    pub stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Errors of the command.
    pub stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// New sizes of the terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// How it ended.
    pub exit: oneshot::Receiver<ExecExit>,
}

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A two-way connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}
