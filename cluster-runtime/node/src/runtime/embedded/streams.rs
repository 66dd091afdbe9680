//! The agent's side of the streams of commands, and of those who join a container.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use cluster_client::{ExecExit, ExecRequest, TerminalSize};
use rustix::pipe::PipeFlags;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

use super::protocol::{ExecAnswer, Receiver, Size};
use super::terminal::{Terminal, resize};

/// Pipes for the streams that are wanted: input, output, errors.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) ours: [Option<OwnedFd>; 3],
    pub(super) theirs: [Option<OwnedFd>; 3],
}

impl Streams {
    pub(super) fn new(request: &ExecRequest) -> io::Result<Self> {
        let mut streams = Self::default();
        let wanted = [request.stdin, request.stdout, request.stderr && !request.tty];
        for (number, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            let (ours, theirs) = if number == 0 { (write, read) } else { (read, write) };
            streams.ours[number] = Some(ours);
            streams.theirs[number] = Some(theirs);
        }
        Ok(streams)
    }
}

pub(super) fn writer(file: OwnedFd) -> io::Result<std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>> {
    Ok(Box::pin(pipe::Sender::from_owned_fd(file)?))
}

pub(super) fn reader(file: OwnedFd) -> io::Result<std::pin::Pin<Box<dyn tokio::io::AsyncRead + Send>>> {
    Ok(Box::pin(pipe::Receiver::from_owned_fd(file)?))
}

/// The agent's side of the control socket of a command. Files come through it, so it is read by `recvmsg`.
pub(super) struct ExecControl {
    receiver: Receiver<UnixStream>,
}

impl ExecControl {
    pub(super) fn new(socket: StdUnixStream) -> io::Result<Self> {
        Ok(Self {
            receiver: Receiver::new(UnixStream::from_std(socket)?),
        })
    }

    pub(super) async fn receive(&mut self) -> io::Result<Option<(ExecAnswer, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.receiver.take()? {
                return Ok(Some(message));
            }
            self.receiver.socket.readable().await?;
            match self.receiver.fill() {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Tells tokio that the socket is empty, so that the next wait waits.
                    let empty = self.receiver.socket.try_io(tokio::io::Interest::READABLE, || {
                        Err::<(), _>(io::ErrorKind::WouldBlock.into())
                    });
                    debug_assert!(empty.is_err());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for the end of a command. When nobody wants to know any more, the socket closes, and the helper kills it.
pub(super) async fn attend_command(
    mut control: ExecControl,
    mut child: Child,
    mut exit: oneshot::Sender<ExecExit>,
) {
    let told = tokio::select! {
        answer = control.receive() => match answer {
            Ok(Some((ExecAnswer::Exited(code), _))) => Some(ExecExit::Code(code)),
            Ok(Some((ExecAnswer::Failed(reason), _))) => Some(ExecExit::Failed(reason)),
            _ => Some(ExecExit::Failed("the helper of the command was killed".to_owned())),
        },
        () = exit.closed() => None,
    };
    drop(control);
    if let Some(told) = told {
        let _ = exit.send(told);
    }
    let _ = child.wait().await;
}

pub(super) async fn resize_as_asked(terminal: Terminal, mut asked: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = asked.recv().await {
        if resize(&terminal, Size::from(size)).is_err() {
            return;
        }
    }
}
