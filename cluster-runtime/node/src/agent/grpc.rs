//! The health check of gRPC: one call over HTTP/2, written by hand, since nothing else here speaks it as a client.
//!
//! See the [health checking protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md) and
//! [HTTP/2](https://www.rfc-editor.org/rfc/rfc9113). Headers of the answer are not read: what counts is in its data.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_BYTES_MAX: usize = 64 * 1024;
const FRAMES_MAX: usize = 64;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const SERVING: u64 = 1;

/// Asks a server whether a service of it serves; the empty name stands for the server.
pub(crate) async fn check_health(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    service: &str,
) -> io::Result<()> {
    let mut opening = PREFACE.to_vec();
    put_frame(&mut opening, SETTINGS, 0, 0, &[]);
    put_frame(&mut opening, HEADERS, END_HEADERS, 1, &headers(authority));
    put_frame(&mut opening, DATA, END_STREAM, 1, &request(service));
    connection.write_all(&opening).await?;
    let mut answer = Vec::new();
    for _ in 0..FRAMES_MAX {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame that is too long"));
        }
        let mut payload = vec![0; length];
        connection.read_exact(&mut payload).await?;
        let (kind, flags, stream) = (head[3], head[4], head[8]);
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let mut settled = Vec::new();
                put_frame(&mut settled, SETTINGS, ACK, 0, &[]);
                connection.write_all(&settled).await?;
            }
            PING if flags & ACK == 0 => {
                let mut answered = Vec::new();
                put_frame(&mut answered, PING, ACK, 0, &payload);
                connection.write_all(&answered).await?;
            }
            DATA if stream == 1 => {
                answer.extend_from_slice(unpadded(&payload, flags));
                if let Some(status) = status_in(&answer) {
                    return verdict(status);
                }
            }
            HEADERS if flags & END_STREAM != 0 => {
                return Err(io::Error::other(
                    "this server does not implement the grpc health protocol",
                ));
            }
            RESET | GO_AWAY => return Err(io::Error::other("the server closed the call")),
            _ => {}
        }
    }
    Err(io::Error::other("no answer among many frames"))
}

fn verdict(status: u64) -> io::Result<()> {
    let name = match status {
        SERVING => return Ok(()),
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };
    Err(io::Error::other(format!(
        "service unhealthy (responded with {name:?})"
    )))
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend([kind, flags, 0, 0, 0, stream]);
    out.extend_from_slice(payload);
}

/// The headers of the call, each a literal that is not remembered.
fn headers(authority: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/1.37"),
    ] {
        out.push(0);
        for text in [name, value] {
            // All of them are shorter than 127 bytes, where one byte is the length.
            let text = &text.as_bytes()[..text.len().min(126)];
            out.push(u8::try_from(text.len()).unwrap_or(0));
            out.extend_from_slice(text);
        }
    }
    out
}

/// The message `HealthCheckRequest`, in the frame of gRPC.
fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    out.append(&mut message);
    out
}

fn unpadded(payload: &[u8], flags: u8) -> &[u8] {
    match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => {
            &rest[..rest.len().saturating_sub(usize::from(*padding))]
        }
        _ => payload,
    }
}

/// The status in a `HealthCheckResponse`, once all of it is there.
fn status_in(answer: &[u8]) -> Option<u64> {
    let length = u32::from_be_bytes(answer.get(1..5)?.try_into().ok()?);
    let message = answer.get(5..5 + usize::try_from(length).ok()?)?;
    match message.split_first() {
        Some((0x08, number)) => {
            let bytes = number.iter().take(10).enumerate();
            Some(bytes.fold(0, |value, (at, byte)| value | u64::from(byte & 0x7f) << (7 * at)))
        }
        // The first of its values is not written.
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers a call with these frames, and gives what the client makes of them.
    async fn answered(frames: &[(u8, u8, &[u8])]) -> Result<(), String> {
        let (client, mut server) = tokio::io::duplex(64 * 1024);
        let mut answer = Vec::new();
        for (kind, flags, payload) in frames {
            let stream = u8::from(matches!(*kind, DATA | HEADERS));
            put_frame(&mut answer, *kind, *flags, stream, payload);
        }
        server.write_all(&answer).await.unwrap();
        server.shutdown().await.unwrap();
        check_health(client, "10.0.0.1:9000", "app")
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_status_is_read_from_the_data() {
        let message = |status: u8| [0, 0, 0, 0, 2, 8, status];
        let good = answered(&[
            (SETTINGS, 0, &[]),
            (HEADERS, END_HEADERS, b"?"),
            (DATA, 0, &message(1)),
        ])
        .await;
        assert_eq!(good, Ok(()));
        let split = message(1);
        let parts = answered(&[(DATA, 0, &split[..3]), (PING, 0, &[0; 8]), (DATA, 0, &split[3..])]).await;
        assert_eq!(parts, Ok(()));
        for (frames, expected) in [
            (
                vec![(DATA, 0, message(2).to_vec())],
                "service unhealthy (responded with \"NOT_SERVING\")",
            ),
            (
                vec![(DATA, 0, vec![0, 0, 0, 0, 0])],
                "service unhealthy (responded with \"UNKNOWN\")",
            ),
            (
                vec![(HEADERS, 5, vec![])],
                "this server does not implement the grpc health protocol",
            ),
            (vec![(GO_AWAY, 0, vec![0; 8])], "the server closed the call"),
        ] {
            let frames: Vec<_> = frames
                .iter()
                .map(|(kind, flags, bytes)| (*kind, *flags, bytes.as_slice()))
                .collect();
            assert_eq!(answered(&frames).await.unwrap_err(), expected);
        }
        assert!(answered(&[]).await.is_err());
    }

    #[test]
    fn a_request_names_the_service() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    }
}
