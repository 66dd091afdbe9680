//! Streams of commands and containers: the engine's one stream becomes two, and both ways have an end.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};

const BUFFER_BYTES: usize = 64 * 1024;

pub(super) type EngineOutput = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
pub(super) type EngineInput = Pin<Box<dyn AsyncWrite + Send>>;

/// What a client is given of the output.
pub(super) struct Readers {
    pub stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    pub stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
}

/// The other ends, which are filled.
pub(super) struct Writers {
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
}

/// Makes pipes for the streams that are wanted.
pub(super) fn pipes(stdout: bool, stderr: bool) -> (Readers, Writers) {
    let pipe = |wanted: bool| {
        let (reader, writer) = tokio::io::duplex(BUFFER_BYTES);
        let reader: Pin<Box<dyn AsyncRead + Send>> = Box::pin(reader);
        if wanted {
            (Some(reader), Some(writer))
        } else {
            (None, None)
        }
    };
    let (out_reader, out_writer) = pipe(stdout);
    let (error_reader, error_writer) = pipe(stderr);
    let readers = Readers {
        stdout: out_reader,
        stderr: error_reader,
    };
    let writers = Writers {
        stdout: out_writer,
        stderr: error_writer,
    };
    (readers, writers)
}

impl Writers {
    /// Hands output on until it ends. A client that does not read any more is let go.
    pub(super) async fn fill(mut self, mut output: EngineOutput) {
        while let Some(Ok(piece)) = output.next().await {
            let (target, bytes) = match piece {
                LogOutput::StdErr { message } => (&mut self.stderr, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => (&mut self.stdout, message),
                LogOutput::StdIn { .. } => continue,
            };
            if let Some(writer) = target
                && writer.write_all(&bytes).await.is_err()
            {
                *target = None;
            }
        }
    }
}

/// The input as a client has it: dropping it closes the engine's.
pub(super) fn input(mut engine: EngineInput) -> Pin<Box<dyn AsyncWrite + Send>> {
    let (ours, mut theirs) = tokio::io::duplex(BUFFER_BYTES);
    tokio::spawn(async move {
        if tokio::io::copy(&mut theirs, &mut engine).await.is_ok() {
            let _ = engine.shutdown().await;
        }
    });
    Box::pin(ours)
}
