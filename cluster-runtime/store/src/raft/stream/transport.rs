//! The asking side: connections that stay, and are made anew when they broke.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::raft::message::is_bulk;
use crate::raft::stream::frame::{FrameReader, write_frame, write_preface};
use crate::raft::transport::{Transport, TransportError};

/// How long a connection may take to be made, with all that its making includes.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long an answer may take. Most requests are given up much sooner by whoever asks; the last part of a snapshot is
/// answered when it is installed.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Requests of one connection that wait for an answer at a time; more wait before they are sent.
const IN_FLIGHT_MAX: usize = 64;

/// Requests given up one after another without any answer, after which a connection is taken for dead.
const SILENT_MAX: u32 = 5;

/// A connected stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Makes connections to members.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Connects to a member at the address that it was added to the group with.
    ///
    /// The other side is to be handed to [`crate::RaftStore::serve_peer`]. That it is the member that is meant, and
    /// may be trusted, is made certain here.
    async fn connect(&self, member: u64, address: &str) -> io::Result<Box<dyn Stream>>;
}

/// Carries messages over byte streams: two for each member, one of which is for snapshots alone.
///
/// A connection is made when it is needed, stays, and is made anew after it broke. Many requests may be under way on
/// it.
pub struct StreamTransport {
    connect: Arc<dyn Connect>,
    links: Mutex<HashMap<(u64, Purpose), Link>>,
}

/// What a connection is for: snapshots, which are long, must not hold up heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    Usual,
    Bulk,
}

/// The way to a member.
struct Link {
    address: String,
    connection: Connecting,
}

type Connecting = Shared<BoxFuture<'static, Result<Arc<Connection>, Arc<str>>>>;

impl StreamTransport {
    /// Takes what makes connections.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            links: Mutex::default(),
        }
    }

    /// The connection that is there or being made, or a new one.
    fn connection(&self, member: u64, address: &str, purpose: Purpose) -> Connecting {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&(member, purpose))
            && link.address == address
            && link.connection.peek().is_none_or(is_usable)
        {
            return link.connection.clone();
        }
        let (connect, of_link) = (self.connect.clone(), address.to_owned());
        // A task of its own: whoever needs it may give up before it is there, and the next one finds it.
        let task = tokio::spawn(async move { open(&*connect, member, &of_link, purpose).await });
        let connection = async move {
            let connected = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            connected.map_err(|error| Arc::from(error.to_string()))
        };
        let connection = connection.boxed().shared();
        let link = Link {
            address: address.to_owned(),
            connection: connection.clone(),
        };
        links.insert((member, purpose), link);
        connection
    }
}

fn is_usable(connected: &Result<Arc<Connection>, Arc<str>>) -> bool {
    connected
        .as_ref()
        .is_ok_and(|connection| !connection.waiting().is_closed)
}

async fn open(
    connect: &dyn Connect,
    member: u64,
    address: &str,
    purpose: Purpose,
) -> io::Result<Arc<Connection>> {
    let connecting = async {
        let stream = connect.connect(member, address).await?;
        let (reader, writer) = tokio::io::split(stream);
        let mut writer = BufWriter::new(writer);
        write_preface(&mut writer).await?;
        Ok(Connection::new(reader, writer, purpose))
    };
    let too_long = |_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "connecting took too long",
        ))
    };
    timeout(CONNECT_MAX, connecting).await.unwrap_or_else(too_long)
}

#[async_trait]
impl Transport for StreamTransport {
    async fn send(&self, member: u64, address: &str, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let purpose = if is_bulk(&message) {
            Purpose::Bulk
        } else {
            Purpose::Usual
        };
        let failed = |reason: String| TransportError { member, reason };
        let connection = self.connection(member, address, purpose).await;
        let connection = connection.map_err(|reason| failed(reason.to_string()))?;
        connection
            .call(message)
            .await
            .map_err(|error| failed(error.to_string()))
    }
}

impl fmt::Debug for StreamTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTransport").finish_non_exhaustive()
    }
}

/// A connection with what waits for answers on it.
struct Connection {
    outgoing: mpsc::Sender<(u64, Vec<u8>)>,
    waiting: Arc<Mutex<Waiting>>,
    next_number: AtomicU64,
    places: Semaphore,
    /// Requests given up since something was last heard.
    silent: Arc<AtomicU32>,
    purpose: Purpose,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Waiting {
    is_closed: bool,
    replies: HashMap<u64, oneshot::Sender<Vec<u8>>>,
}

/// A request that waits; given up when dropped before its answer came.
struct Asked<'a> {
    connection: &'a Connection,
    number: u64,
}

impl Connection {
    fn new(
        reader: ReadHalf<Box<dyn Stream>>,
        writer: BufWriter<WriteHalf<Box<dyn Stream>>>,
        purpose: Purpose,
    ) -> Arc<Self> {
        let (outgoing, queue) = mpsc::channel(IN_FLIGHT_MAX);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let silent = Arc::new(AtomicU32::new(0));
        let closing = waiting.clone();
        let writing = tokio::spawn(async move {
            if let Err(error) = write(writer, queue).await {
                tracing::debug!(%error, "a connection to a member broke");
            }
            close(&closing);
        });
        let (closing, heard) = (waiting.clone(), silent.clone());
        let reading = tokio::spawn(async move {
            if let Err(error) = read(reader, &closing, &heard).await {
                tracing::debug!(%error, "a connection to a member broke");
            }
            close(&closing);
        });
        Arc::new(Self {
            outgoing,
            waiting,
            next_number: AtomicU64::new(0),
            places: Semaphore::new(IN_FLIGHT_MAX),
            silent,
            purpose,
            tasks: [writing, reading],
        })
    }

    async fn call(&self, message: Vec<u8>) -> io::Result<Vec<u8>> {
        let broken = || io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke");
        let too_long = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer came");
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let (reply, answer) = oneshot::channel();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        {
            let mut waiting = self.waiting();
            if waiting.is_closed {
                return Err(broken());
            }
            waiting.replies.insert(number, reply);
        }
        let _asked = Asked {
            connection: self,
            number,
        };
        self.outgoing
            .send((number, message))
            .await
            .map_err(|_| broken())?;
        let answer = timeout(ANSWER_MAX, answer).await.map_err(too_long)?;
        answer.map_err(|_| broken())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        close(&self.waiting);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let connection = self.connection;
        let is_unanswered = connection.waiting().replies.remove(&self.number).is_some();
        if is_unanswered
            && connection.purpose == Purpose::Usual
            && connection.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_MAX
        {
            // The other side may be gone without a word.
            connection.end();
        }
    }
}

/// Tells all who wait that no answer will come.
fn close(waiting: &Mutex<Waiting>) {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.is_closed = true;
    waiting.replies.clear();
}

async fn write(
    mut stream: BufWriter<WriteHalf<Box<dyn Stream>>>,
    mut queue: mpsc::Receiver<(u64, Vec<u8>)>,
) -> io::Result<()> {
    while let Some((number, body)) = queue.recv().await {
        write_frame(&mut stream, number, &body).await?;
        while let Ok((number, body)) = queue.try_recv() {
            write_frame(&mut stream, number, &body).await?;
        }
        stream.flush().await?;
    }
    Ok(())
}

async fn read(
    stream: ReadHalf<Box<dyn Stream>>,
    waiting: &Mutex<Waiting>,
    silent: &AtomicU32,
) -> io::Result<()> {
    let mut frames = FrameReader::new(BufReader::new(stream));
    while let Some(frame) = frames.next().await? {
        silent.store(0, Ordering::Relaxed);
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = waiting.replies.remove(&frame.number) {
            // Who no longer waits does not want to know.
            _ = reply.send(frame.body);
        }
    }
    Ok(())
}
