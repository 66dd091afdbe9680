//! Terminals: taking one over from libcontainer, and using one without blocking.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::paths::ShortPath;
use super::protocol::{Receiver, Size};
use crate::async_file;

/// Where libcontainer hands over the terminal that it makes.
pub(super) struct ConsoleSocket {
    listener: UnixListener,
}

impl ConsoleSocket {
    pub(super) fn bind(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(Self {
            listener: UnixListener::bind(ShortPath::new(folder, name)?.as_path())?,
        })
    }

    /// Waits for the terminal. Call it when the container was created: by then it has been sent.
    pub(super) fn take(self) -> io::Result<OwnedFd> {
        let (socket, _) = self.listener.accept()?;
        let mut receiver = Receiver::new(socket);
        receiver.fill()?;
        receiver
            .take_file()
            .ok_or_else(|| io::Error::other("no terminal came through the console socket"))
    }
}

/// Sets the size of a terminal.
pub(super) fn resize(terminal: impl AsFd, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).map_err(io::Error::from)
}

/// The agent's side of a terminal. Clones share it.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    /// Takes over the file of a terminal; must be called within a runtime.
    pub(super) fn new(file: OwnedFd) -> io::Result<Self> {
        Ok(Self(Arc::new(async_file::register(file)?)))
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let mut piece = [0; 8192];
            let room = piece.len().min(into.remaining());
            match guard
                .try_io(|file| rustix::io::read(file.get_ref(), &mut piece[..room]).map_err(Into::into))
            {
                Ok(Ok(length)) => {
                    into.put_slice(&piece[..length]);
                    return Poll::Ready(Ok(()));
                }
                // How a terminal says that nobody has its other side open.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(done) =
                guard.try_io(|file| rustix::io::write(file.get_ref(), bytes).map_err(Into::into))
            {
                return Poll::Ready(done);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The end of input, as a person types it: Control-D.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(context, &[4]))?;
        Poll::Ready(Ok(()))
    }
}
