//! What agent and shim say to each other: lines of JSON, and open files, over a unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cluster_client::TerminalSize;
use jiff::Timestamp;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::api::ContainerExit;

const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const FILES_MAX: usize = 3;

/// What the shim of a container is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Request {
    /// Say when the container has ended. Stays open until then.
    Watch,
    /// Send a signal to the first process.
    Signal(i32),
    /// Kill every process.
    Kill,
    /// The terminal has another size.
    Resize(Size),
    /// Join the streams. The files come along: input, output, errors, as far as they are wanted.
    Attach {
        /// Whether an input comes along.
        stdin: bool,
        /// Whether an output comes along.
        stdout: bool,
        /// Whether a file for errors comes along.
        stderr: bool,
    },
}

/// What the shim answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    /// Done.
    Done,
    /// The container has ended.
    Exited(ContainerExit),
    /// It could not be done.
    Failed(String),
}

/// What the shim says about a container that it was told to start.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum StartAnswer {
    /// It runs.
    Started(Started),
    /// It could not be started.
    Failed(String),
}

/// A container that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Started {
    /// Its first process.
    pub pid: i32,
    /// When that process began, in the kernel's clock ticks since boot: with the pid it names one process for good.
    pub start_ticks: u64,
    /// When it began.
    pub started: Timestamp,
    /// The shim.
    pub shim_pid: u32,
}

/// A command to run in a container. Its input, output and errors come along as files, unless it has a terminal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecCommand {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// What the helper of a command says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ExecAnswer {
    /// It runs; with a terminal its file comes along.
    Running,
    /// It has ended with this code.
    Exited(i32),
    /// It could not be run.
    Failed(String),
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl From<TerminalSize> for Size {
    fn from(size: TerminalSize) -> Self {
        Self {
            width: size.width,
            height: size.height,
        }
    }
}

/// Sends one message as a line, with files.
pub(super) fn send(socket: impl AsFd, message: &impl Serialize, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !along.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("too many files for one message"));
    }
    let mut sent = 0;
    while sent < line.len() {
        let piece = [IoSlice::new(&line[sent..])];
        sent += rustix::net::sendmsg(&socket, &piece, &mut along, SendFlags::NOSIGNAL)?;
        along.clear();
    }
    Ok(())
}

/// Receives messages from a socket that blocks.
pub(super) struct Receiver<S> {
    pub(super) socket: S,
    buffer: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl<S: AsFd> Receiver<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The next message and the files that came up to it; `None` when the other side has closed.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// A message that has arrived already.
    pub(super) fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let message = serde_json::from_slice(&line).map_err(io::Error::other)?;
        Ok(Some((message, std::mem::take(&mut self.files))))
    }

    /// A file that came along with something that is no message of ours.
    pub(super) fn take_file(&mut self) -> Option<OwnedFd> {
        self.files.pop()
    }

    /// Reads what is there; 0 at the end.
    pub(super) fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("a message without end"));
        }
        let mut piece = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut slices = [IoSliceMut::new(&mut piece)];
            match rustix::net::recvmsg(&self.socket, &mut slices, &mut along, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("more files than a message may have"));
        }
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.buffer.extend_from_slice(&piece[..received.bytes]);
        Ok(received.bytes)
    }
}
