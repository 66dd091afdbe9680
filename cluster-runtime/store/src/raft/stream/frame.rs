//! How messages share a stream.
//!
//! ```text
//! preface   once, from whoever connects: `tug raft` and the version of what follows
//! frame     length of the body (4 bytes), number of the request (8 bytes), body
//! ```
//!
//! An answer bears the number of its request; answers come in any order.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a connection begins with; the last byte is the version.
const PREFACE: [u8; 9] = *b"tug raft\x01";

/// Bytes of a body, at most: the biggest entry of a log, and room for what stands around it.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

const HEADER_BYTES: usize = 12;

/// Memory that a body is given before it came.
const RESERVED_BYTES: usize = 64 << 10;

/// A message and the request that it belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) body: Vec<u8>,
}

/// Takes frames from a stream.
pub(crate) struct FrameReader<R> {
    stream: R,
    header: [u8; HEADER_BYTES],
    filled: usize,
    body: Vec<u8>,
}

/// Says who we are, as the one who connects does.
pub(crate) async fn write_preface(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&PREFACE).await
}

/// Reads what the one who connected says.
pub(crate) async fn read_preface(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    let (name, version) = preface.split_at(PREFACE.len() - 1);
    if name != &PREFACE[..name.len()] {
        return Err(invalid("the other side is no member of a store".to_owned()));
    }
    if version != &PREFACE[name.len()..] {
        let reason = format!(
            "the other side speaks version {} of the protocol, this one {}",
            version[0],
            PREFACE[name.len()]
        );
        return Err(invalid(reason));
    }
    Ok(())
}

/// Writes a frame; a stream that gathers has to be flushed after it.
pub(crate) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    number: u64,
    body: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok();
    let length = length.filter(|_| body.len() <= BODY_BYTES_MAX);
    let length = length.ok_or_else(|| invalid(format!("a message of {} bytes is too long", body.len())))?;
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..].copy_from_slice(&number.to_le_bytes());
    stream.write_all(&header).await?;
    stream.write_all(body).await
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            header: [0; HEADER_BYTES],
            filled: 0,
            body: Vec::new(),
        }
    }

    /// The next frame, nothing at the end of the stream; what was read is kept when the call is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        while self.filled < HEADER_BYTES {
            match self.stream.read(&mut self.header[self.filled..]).await? {
                0 if self.filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.filled += count,
            }
        }
        let [a, b, c, d, number @ ..] = self.header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BODY_BYTES_MAX {
            return Err(invalid(format!("a message of {length} bytes is too long")));
        }
        while self.body.len() < length {
            let left = length - self.body.len();
            self.body.reserve(left.min(RESERVED_BYTES));
            let mut rest = (&mut self.stream).take(left as u64);
            if rest.read_buf(&mut self.body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.filled = 0;
        Ok(Some(Frame {
            number: u64::from_le_bytes(number),
            body: std::mem::take(&mut self.body),
        }))
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_written() {
        let bodies = [vec![], vec![7], vec![9; 300_000]];
        let mut written = Vec::new();
        for (number, body) in bodies.iter().enumerate() {
            write_frame(&mut written, number as u64, body).await.unwrap();
        }
        for chunk in [1, 5, 4096, usize::MAX] {
            let (mut ours, theirs) = tokio::io::duplex(8192);
            let bytes = written.clone();
            let writing = tokio::spawn(async move {
                for chunk in bytes.chunks(chunk.min(bytes.len())) {
                    ours.write_all(chunk).await.unwrap();
                }
            });
            let mut reader = FrameReader::new(theirs);
            for (number, body) in bodies.iter().enumerate() {
                let (number, body) = (number as u64, body.clone());
                assert_eq!(reader.next().await.unwrap(), Some(Frame { number, body }));
            }
            writing.await.unwrap();
            assert_eq!(reader.next().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn err_a_stream_that_is_no_members() {
        let told = async |mut bytes: &[u8]| read_preface(&mut bytes).await.map_err(|error| error.to_string());
        assert_eq!(told(b"tug raft\x01").await, Ok(()));
        let error = "the other side speaks version 2 of the protocol, this one 1";
        assert_eq!(told(b"tug raft\x02").await, Err(error.to_owned()));
        let error = "the other side is no member of a store";
        assert_eq!(told(b"GET / HTTP/1.1").await, Err(error.to_owned()));
        assert!(told(b"tug").await.is_err());
    }

    #[tokio::test]
    async fn err_a_frame_that_is_cut_off_or_too_long() {
        let mut written = Vec::new();
        write_frame(&mut written, 3, b"body").await.unwrap();
        for length in 1..written.len() {
            assert!(
                FrameReader::new(&written[..length]).next().await.is_err(),
                "cut at {length}"
            );
        }
        let mut endless = [0xff; HEADER_BYTES + 8];
        endless[3] = 0x7f;
        let error = FrameReader::new(&endless[..]).next().await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
