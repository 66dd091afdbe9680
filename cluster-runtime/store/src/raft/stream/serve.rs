//! The answering side of a connection.

use std::io;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};

use crate::raft::network::Receiver;
use crate::raft::stream::Stream;
use crate::raft::stream::frame::{FrameReader, read_preface, write_frame};

/// Requests of one connection that are answered at a time; more are not read.
const IN_FLIGHT_MAX: usize = 64;

/// Answers requests until the stream ends.
pub(crate) async fn serve_peer(receiver: &Receiver, stream: impl Stream) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let mut writer = BufWriter::new(writer);
    read_preface(&mut reader).await?;
    let mut frames = FrameReader::new(reader);
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((number, answer)) = answers.next(), if !answers.is_empty() => {
                write_frame(&mut writer, number, Vec::as_slice(&answer)).await?;
                writer.flush().await?;
            }
            frame = frames.next(), if answers.len() < IN_FLIGHT_MAX => {
                let Some(frame) = frame? else {
                    return Ok(());
                };
                answers.push(async move { (frame.number, receiver.answer(&frame.body).await) });
            }
        }
    }
}
