//! Frames: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1>, section 2.2.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Biggest frame that is taken.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Length of the head of a frame.
const HEAD: usize = 8;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// Why bytes are no SPDY.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum SpdyError {
    #[error("a frame of {0} bytes is too big")]
    TooBig(usize),
    #[error("version {0} of SPDY is not spoken here")]
    Version(u16),
    #[error("a frame is too short")]
    Short,
    #[error("headers cannot be read")]
    Headers,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Frame {
    /// A new stream with its compressed headers; `fin` when its maker sends nothing more.
    Open { stream: u32, fin: bool, headers: Bytes },
    /// The other side takes a stream.
    Reply { stream: u32, headers: Bytes },
    /// Data of a stream; `fin` when its sender sends nothing more.
    Data { stream: u32, fin: bool, data: Bytes },
    /// A stream is given up.
    Reset { stream: u32 },
    /// To be sent back as it is.
    Ping(u32),
    /// The other side opens no more streams.
    GoAway,
    /// A frame that nothing follows from: settings, window updates, headers, priorities.
    Ignored,
}

/// Cuts bytes as they come into frames.
#[derive(Default)]
pub(in super::super) struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// Takes more bytes.
    pub(in super::super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, when all of it has come.
    pub(in super::super) fn frame(&mut self) -> Result<Option<Frame>, SpdyError> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let mut head = &head[..];
        let first = head.get_u32();
        let rest = head.get_u32();
        let (flags, length) = ((rest >> 24) as u8, (rest & 0x00ff_ffff) as usize);
        if length > FRAME_BYTES_MAX {
            return Err(SpdyError::TooBig(length));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(HEAD + length).freeze();
        body.advance(HEAD);
        read(first, flags, body).map(Some)
    }
}

fn read(first: u32, flags: u8, mut body: Bytes) -> Result<Frame, SpdyError> {
    let fin = flags & FLAG_FIN != 0;
    if first >> 31 == 0 {
        return Ok(Frame::Data {
            stream: first,
            fin,
            data: body,
        });
    }
    let version = ((first >> 16) & 0x7fff) as u16;
    if version != VERSION {
        return Err(SpdyError::Version(version));
    }
    let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| SpdyError::Short);
    Ok(match (first & 0xffff) as u16 {
        SYN_STREAM => {
            let stream = number(&mut body)? & 0x7fff_ffff;
            // The stream that it belongs to, its priority and slot say nothing here.
            number(&mut body)?;
            body.try_get_u16().map_err(|_| SpdyError::Short)?;
            Frame::Open {
                stream,
                fin,
                headers: body,
            }
        }
        SYN_REPLY => Frame::Reply {
            stream: number(&mut body)? & 0x7fff_ffff,
            headers: body,
        },
        RST_STREAM => Frame::Reset {
            stream: number(&mut body)? & 0x7fff_ffff,
        },
        PING => Frame::Ping(number(&mut body)?),
        GOAWAY => Frame::GoAway,
        _ => Frame::Ignored,
    })
}

impl Frame {
    /// Writes the frame; nothing for [`Frame::Ignored`].
    pub(in super::super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Data { stream, fin, data } => {
                out.put_u32(stream & 0x7fff_ffff);
                put_length(&mut out, *fin, data.len());
                out.put_slice(data);
            }
            Self::Open { stream, fin, headers } => {
                put_control(&mut out, SYN_STREAM, *fin, 10 + headers.len());
                out.put_u32(*stream);
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(headers);
            }
            Self::Reply { stream, headers } => {
                put_control(&mut out, SYN_REPLY, false, 4 + headers.len());
                out.put_u32(*stream);
                out.put_slice(headers);
            }
            Self::Reset { stream } => {
                const CANCEL: u32 = 5;
                put_control(&mut out, RST_STREAM, false, 8);
                out.put_u32(*stream);
                out.put_u32(CANCEL);
            }
            Self::Ping(id) => {
                put_control(&mut out, PING, false, 4);
                out.put_u32(*id);
            }
            Self::GoAway => {
                put_control(&mut out, GOAWAY, false, 8);
                out.put_u64(0);
            }
            Self::Ignored => {}
        }
        out.freeze()
    }
}

fn put_control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_length(out, fin, length);
}

fn put_length(out: &mut BytesMut, fin: bool, length: usize) {
    let flags = if fin { FLAG_FIN } else { 0 };
    // Lengths are those of frames that were read or of pieces that were cut small.
    out.put_u32(u32::from(flags) << 24 | (length as u32 & 0x00ff_ffff));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_come() {
        let frames = [
            Frame::Open {
                stream: 1,
                fin: true,
                headers: Bytes::from_static(b"abc"),
            },
            Frame::Data {
                stream: 1,
                fin: false,
                data: Bytes::from_static(b"hello"),
            },
            Frame::Ping(7),
            Frame::Reset { stream: 3 },
            Frame::GoAway,
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().to_vec()).collect();
        let mut reader = FrameReader::default();
        let mut read = Vec::new();
        for byte in bytes {
            reader.feed(&[byte]);
            read.extend(reader.frame().unwrap());
        }
        assert_eq!(read, frames);
    }

    #[test]
    fn err_other_versions_and_giants_are_refused() {
        let mut reader = FrameReader::default();
        reader.feed(&[0x80, 2, 0, 6, 0, 0, 0, 0]);
        assert_eq!(reader.frame(), Err(SpdyError::Version(2)));
        let mut reader = FrameReader::default();
        reader.feed(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]);
        assert_eq!(reader.frame(), Err(SpdyError::TooBig(0x00ff_ffff)));
        let mut reader = FrameReader::default();
        reader.feed(&[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0]);
        assert_eq!(reader.frame(), Err(SpdyError::Short));
    }
}
