//! A client of etcd's key-value service that costs next to nothing: gRPC over HTTP/2, frames written by hand.
//!
//! On a small machine the client takes processor time from the server that it measures, so it does only what the
//! protocol asks for: requests are put together from ready pieces, and of answers the frames are counted, not decoded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::measure::Figures;
use crate::{KEYS, VALUE_BYTES};

/// Connections that many clients share, as those of one API server do.
const CONNECTIONS_MAX: usize = 16;

const FRAME_HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What is asked of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Put,
    /// A read as it is by default, which shows every write that was acknowledged before.
    Range,
    /// A read of what this member has.
    SerializableRange,
}

impl Call {
    fn method(self) -> &'static str {
        match self {
            Self::Put => "Put",
            Self::Range | Self::SerializableRange => "Range",
        }
    }

    /// Appends the message about a key, in the encoding of protocol buffers.
    fn put_message(self, out: &mut Vec<u8>, number: usize) {
        put_field(out, 1, key(number).as_bytes());
        match self {
            Self::Put => put_field(out, 2, &[b'x'; VALUE_BYTES]),
            Self::Range => {}
            Self::SerializableRange => out.extend_from_slice(&[7 << 3, 1]),
        }
    }

    /// Bytes that an answer has at least; an error has none.
    fn answer_bytes_min(self) -> usize {
        match self {
            Self::Put => 1,
            Self::Range | Self::SerializableRange => VALUE_BYTES,
        }
    }
}

/// Lets clients call one after the other for a while, each with numbers of its own.
pub(crate) async fn measure(address: &str, call: Call, clients: usize, during: Duration) -> Figures {
    let started = Instant::now();
    let connections = clients.min(CONNECTIONS_MAX);
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            let of_this_one = (number..clients).step_by(connections);
            let numbers = of_this_one.map(|client| client * 7919).collect();
            let address = address.to_owned();
            tokio::spawn(async move {
                let connection = Connection::open(&address, call, numbers).await;
                connection.run(Until::Time(started + during)).await
            })
        })
        .collect();
    let mut took_us = Vec::new();
    for task in tasks {
        took_us.extend(task.await.unwrap());
    }
    Figures::new(took_us, started.elapsed())
}

/// Writes every key.
pub(crate) async fn fill(address: &str) {
    let connection = Connection::open(address, Call::Put, vec![0, KEYS / 2]).await;
    connection.run(Until::Count(KEYS)).await;
}

/// Whether the service answers a write.
pub(crate) async fn answers(address: &str) -> bool {
    if TcpStream::connect(address).await.is_err() {
        return false;
    }
    let connection = Connection::open(address, Call::Put, vec![0]).await;
    tokio::time::timeout(Duration::from_secs(10), connection.run(Until::Count(1)))
        .await
        .is_ok()
}

/// When no further request is made.
#[derive(Clone, Copy)]
enum Until {
    Time(Instant),
    Count(usize),
}

struct Connection {
    stream: TcpStream,
    call: Call,
    /// What the head of every request is, compressed as HPACK has it, without any use of tables.
    head: Vec<u8>,
    /// The next number of each client.
    numbers: Vec<usize>,
    next_stream: u32,
    /// Which client waits for a stream, since when, and what it got.
    waiting: HashMap<u32, (usize, Instant, usize)>,
    out: Vec<u8>,
    took_us: Vec<u32>,
    asked: usize,
}

impl Connection {
    async fn open(address: &str, call: Call, numbers: Vec<usize>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // No table for headers, no pushes, and windows that are never exhausted.
        let settings = [(1_u16, 0_u32), (2, 0), (4, i32::MAX as u32)];
        put_frame_header(&mut out, settings.len() * 6, SETTINGS, 0, 0);
        for (name, value) in settings {
            out.extend_from_slice(&name.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        put_window(&mut out, 1 << 30);
        Self {
            stream,
            call,
            head: head(call, address),
            numbers,
            next_stream: 1,
            waiting: HashMap::new(),
            out,
            took_us: Vec::new(),
            asked: 0,
        }
    }

    /// Lets every client call until it is enough; gives how long each call took.
    async fn run(mut self, until: Until) -> Vec<u32> {
        for client in 0..self.numbers.len() {
            self.ask(client, until);
        }
        let mut input = vec![0; 256 << 10];
        let mut filled = 0;
        while !self.waiting.is_empty() {
            self.stream.write_all(&self.out).await.unwrap();
            self.out.clear();
            let count = self.stream.read(&mut input[filled..]).await.unwrap();
            assert!(count > 0, "the connection was closed");
            filled += count;
            let taken = self.take(&input[..filled], until);
            input.copy_within(taken..filled, 0);
            filled -= taken;
        }
        self.took_us
    }

    fn ask(&mut self, client: usize, until: Until) {
        let now = Instant::now();
        let enough = match until {
            Until::Time(end) => now >= end,
            Until::Count(count) => self.asked >= count,
        };
        if enough {
            return;
        }
        self.asked += 1;
        let number = self.numbers[client];
        self.numbers[client] += 1;
        let stream = self.next_stream;
        self.next_stream += 2;
        put_frame_header(&mut self.out, self.head.len(), HEADERS, END_HEADERS, stream);
        self.out.extend_from_slice(&self.head);
        let start = self.out.len();
        put_frame_header(&mut self.out, 0, DATA, END_STREAM, stream);
        // A message is preceded by a byte for no compression and its length.
        self.out.extend_from_slice(&[0; 5]);
        self.call.put_message(&mut self.out, number);
        let bytes = self.out.len() - start - FRAME_HEADER_BYTES;
        self.out[start..start + 3].copy_from_slice(&(bytes as u32).to_be_bytes()[1..]);
        let message = start + FRAME_HEADER_BYTES;
        self.out[message + 1..message + 5].copy_from_slice(&(bytes as u32 - 5).to_be_bytes());
        self.waiting.insert(stream, (client, now, 0));
    }

    /// Takes in the frames that are there whole; gives how many bytes those are.
    fn take(&mut self, input: &[u8], until: Until) -> usize {
        let mut taken = 0;
        let mut data = 0;
        while let Some(header) = input.get(taken..taken + FRAME_HEADER_BYTES) {
            let bytes = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let start = taken + FRAME_HEADER_BYTES;
            let Some(body) = input.get(start..start + bytes) else {
                break;
            };
            taken = start + bytes;
            match kind {
                DATA => {
                    data += bytes;
                    if let Some((.., answer)) = self.waiting.get_mut(&stream) {
                        *answer += bytes;
                    }
                }
                SETTINGS if flags & ACK == 0 => put_frame_header(&mut self.out, 0, SETTINGS, ACK, 0),
                PING if flags & ACK == 0 => {
                    put_frame_header(&mut self.out, bytes, PING, ACK, 0);
                    self.out.extend_from_slice(body);
                }
                RESET | GO_AWAY => panic!("the server ended a stream: frame {kind}, {body:?}"),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                self.answered(stream, until);
            }
        }
        if data > 0 {
            put_window(&mut self.out, data as u32);
        }
        taken
    }

    fn answered(&mut self, stream: u32, until: Until) {
        let (client, since, bytes) = self.waiting.remove(&stream).unwrap();
        assert!(bytes >= self.call.answer_bytes_min(), "{:?} failed", self.call);
        self.took_us.push(since.elapsed().as_micros() as u32);
        self.ask(client, until);
    }
}

/// The head of a request: static entries of HPACK's table, and literals that are not to be remembered.
fn head(call: Call, address: &str) -> Vec<u8> {
    const POST: u8 = 0x80 | 3;
    const HTTP: u8 = 0x80 | 6;
    const AUTHORITY: u8 = 1;
    const PATH: u8 = 4;
    let mut head = vec![POST, HTTP];
    let path = format!("/etcdserverpb.KV/{}", call.method());
    for (name, value) in [(PATH, path.as_str()), (AUTHORITY, address)] {
        head.push(name);
        put_text(&mut head, value);
    }
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        head.push(0);
        put_text(&mut head, name);
        put_text(&mut head, value);
    }
    head
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "longer ones are encoded otherwise");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn put_frame_header(out: &mut Vec<u8>, bytes: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&(bytes as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Lets the server send so many bytes more.
fn put_window(out: &mut Vec<u8>, bytes: u32) {
    const WINDOW_UPDATE: u8 = 8;
    put_frame_header(out, 4, WINDOW_UPDATE, 0, 0);
    out.extend_from_slice(&bytes.to_be_bytes());
}

fn key(number: usize) -> String {
    format!("/registry/configmaps/default/key-{:06}", number % KEYS)
}

/// Appends a byte-string field of a protocol buffer.
pub(crate) fn put_field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    put_number(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Appends a number of a protocol buffer.
pub(crate) fn put_number(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}
