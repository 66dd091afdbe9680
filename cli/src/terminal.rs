//! The terminal as the other end of a command in a container.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::pin::pin;

use cluster_client::{ExecExit, ExecSession, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Pieces of input that wait to be sent.
const PIECES_WAITING_MAX: usize = 16;
const PIECE_BYTES: usize = 32 * 1024;

/// Whether somebody sits at both ends: types, and sees what comes.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A terminal that hands every key on, until dropped.
struct RawMode(Termios);

impl RawMode {
    fn enter() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no repair.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Joins the terminal, or what stands in its place, to a command, until that ends. With `tty` every key is handed on.
pub(crate) async fn join(session: ExecSession, tty: bool) -> ExecExit {
    let raw = if tty { RawMode::enter() } else { None };
    let ExecSession {
        stdin,
        stdout,
        stderr,
        resize,
        mut exit,
    } = session;
    let input = async {
        if let Some(mut stdin) = stdin {
            let mut pieces = read_stdin();
            while let Some(piece) = pieces.recv().await {
                if stdin.write_all(&piece).await.is_err() || stdin.flush().await.is_err() {
                    // The command reads no more; what it says, and how it ends, is still to come.
                    return std::future::pending().await;
                }
            }
            // Its end is the end of the command's input.
            let _ = stdin.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let sizes = async {
        if let Some(resize) = resize {
            follow_size(resize).await;
        }
        std::future::pending::<()>().await;
    };
    let output = async {
        let mut copies = pin!(async { tokio::join!(copy(stdout, io::stdout()), copy(stderr, io::stderr())) });
        let lost = || ExecExit::Failed("the connection was lost".to_owned());
        tokio::select! {
            _ = &mut copies => exit.await.unwrap_or_else(|_| lost()),
            ended = &mut exit => match ended.unwrap_or_else(|_| lost()) {
                // What was said before the end is still on its way.
                ended @ ExecExit::Code(_) => {
                    copies.await;
                    ended
                }
                // Where a connection is lost the streams have no end.
                failed @ ExecExit::Failed(_) => failed,
            },
        }
    };
    let ended = tokio::select! {
        ended = output => ended,
        () = input => ExecExit::Code(0),
        () = sizes => ExecExit::Code(0),
    };
    drop(raw);
    ended
}

/// Copies what comes as it comes; a closed end stops nothing but the copying.
async fn copy(from: Option<impl AsyncRead + Unpin>, mut to: impl Write) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        if to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// Reads the standard input in a thread of its own, which ends with the process.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut stdin = io::stdin().lock();
        while let Ok(length) = stdin.read(&mut buffer)
            && length > 0
            && sender.blocking_send(buffer[..length].to_vec()).is_ok()
        {}
    });
    pieces
}

/// Tells the size of the terminal, and each new one.
async fn follow_size(resize: mpsc::Sender<TerminalSize>) {
    let Ok(mut changes) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())
    else {
        return;
    };
    loop {
        if let Ok(size) = tcgetwinsize(io::stdout().as_fd()) {
            let size = TerminalSize {
                width: size.ws_col,
                height: size.ws_row,
            };
            if resize.send(size).await.is_err() {
                return;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}
