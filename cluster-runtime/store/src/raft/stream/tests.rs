use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::raft::stream::frame::{FrameReader, read_preface, write_frame};
use crate::raft::stream::{Connect, Stream, StreamTransport};
use crate::raft::transport::Transport;

/// Gives the other ends of what it connects to the test.
struct Pipes {
    made: mpsc::UnboundedSender<DuplexStream>,
    refusals: AtomicU64,
}

#[async_trait]
impl Connect for Pipes {
    async fn connect(&self, _: u64, _: &str) -> io::Result<Box<dyn Stream>> {
        let refuses = |left: u64| left.checked_sub(1);
        if self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses)
            .is_ok()
        {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(4096);
        self.made.send(theirs).unwrap();
        Ok(Box::new(ours))
    }
}

fn transport(refusals: u64) -> (Arc<StreamTransport>, mpsc::UnboundedReceiver<DuplexStream>) {
    let (made, pipes) = mpsc::unbounded_channel();
    let refusals = AtomicU64::new(refusals);
    let transport = StreamTransport::new(Arc::new(Pipes { made, refusals }));
    (Arc::new(transport), pipes)
}

async fn send(transport: &StreamTransport, message: &[u8]) -> Result<Vec<u8>, String> {
    let sent = timeout(
        Duration::from_secs(20),
        transport.send(2, "there", message.to_vec()),
    )
    .await;
    sent.expect("an answer or an error")
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn many_requests_are_under_way_on_one_connection() {
    let (transport, mut pipes) = transport(0);
    let mut asked = Vec::new();
    for number in 0..40_u32 {
        let transport = transport.clone();
        asked.push(tokio::spawn(async move {
            let message = [vec![9], number.to_le_bytes().to_vec(), vec![0; 2000]].concat();
            (send(&transport, &message).await.unwrap(), message)
        }));
    }
    let mut pipe = pipes.recv().await.unwrap();
    read_preface(&mut pipe).await.unwrap();
    let (reader, mut writer) = tokio::io::split(pipe);
    let mut frames = FrameReader::new(reader);
    let mut requests = Vec::new();
    while requests.len() < 40 {
        requests.push(frames.next().await.unwrap().unwrap());
    }
    // The last one first.
    for request in requests.iter().rev() {
        write_frame(&mut writer, request.number, &request.body)
            .await
            .unwrap();
    }
    for asked in asked {
        let (answer, message) = asked.await.unwrap();
        assert_eq!(answer, message);
    }
    assert!(pipes.try_recv().is_err(), "one connection was enough");
}

#[tokio::test]
async fn a_connection_that_broke_is_made_anew() {
    let (transport, mut pipes) = transport(1);
    assert!(
        send(&transport, &[9])
            .await
            .unwrap_err()
            .contains("connection refused")
    );
    for round in 0..3 {
        let asking = transport.clone();
        let asked = tokio::spawn(async move { send(&asking, &[9]).await });
        let mut pipe = pipes.recv().await.unwrap();
        read_preface(&mut pipe).await.unwrap();
        let request = FrameReader::new(&mut pipe).next().await.unwrap().unwrap();
        if round == 1 {
            drop(pipe);
            assert!(asked.await.unwrap().unwrap_err().contains("the connection broke"));
            continue;
        }
        write_frame(&mut pipe, request.number, b"yes").await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), b"yes");
        drop(pipe);
        // It is known only when it is used.
        while send(&transport, &[9]).await.is_ok() {}
        while pipes.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_answers_is_given_up() {
    let (transport, mut pipes) = transport(0);
    let mut silent = Vec::new();
    for _ in 0..5 {
        let given_up = timeout(Duration::from_millis(20), transport.send(2, "there", vec![9])).await;
        assert!(given_up.is_err());
        silent.extend(pipes.try_recv());
    }
    assert_eq!(silent.len(), 1, "it is kept as long as it may answer");
    let asking = transport.clone();
    let asked = tokio::spawn(async move { send(&asking, &[9]).await });
    let mut pipe = pipes.recv().await.unwrap();
    read_preface(&mut pipe).await.unwrap();
    let request = FrameReader::new(&mut pipe).next().await.unwrap().unwrap();
    write_frame(&mut pipe, request.number, b"yes").await.unwrap();
    pipe.flush().await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), b"yes");
}
