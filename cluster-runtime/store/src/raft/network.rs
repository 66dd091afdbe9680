//! The other members as openraft sees them, and what is done with their messages.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, Vote};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::codec::Malformed;
use crate::raft::batcher::{LogGrowth, Room};
use crate::raft::health::Health;
use crate::raft::leadership::Leadership;
use crate::raft::message::{Request, Response, SnapshotPart, SnapshotPartHeader};
use crate::raft::read_index::Ask;
use crate::raft::state_machine::Snapshots;
use crate::raft::transport::{Transport, TransportError};
use crate::raft::types::{Raft, Snapshot, SnapshotFile, TypeConfig};
use crate::seal::Sealer;
use crate::snapshot::{Bodies, Frames, ReadSnapshotError};

/// Bytes of a snapshot that are sent at once.
const PART_BYTES: usize = 256 << 10;

/// What the log has around an entry, at most.
const ENTRY_BYTES: usize = 512;

/// How soon a member that could not be reached is tried again.
const BACKOFF: Duration = Duration::from_millis(200);

/// Makes the way to each member.
pub(crate) struct Peers {
    transport: Option<Arc<dyn Transport>>,
    /// Where the transport runs: it may need what the log's own runtime does not have.
    runtime: Handle,
    /// Opens the snapshots that are sent.
    sealer: Option<Arc<Sealer>>,
    /// When each member answered last.
    heard: Mutex<HashMap<u64, Instant>>,
    /// When each member asked something last.
    called: Mutex<HashMap<u64, Instant>>,
}

/// The way to one member.
pub(crate) struct Peer {
    peers: Arc<Peers>,
    member: u64,
    address: String,
}

/// Why a member did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the member answered: {0}")]
    Failed(String),
    #[error("the member answered something else than it was asked")]
    OtherAnswer,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Snapshot(#[from] ReadSnapshotError),
}

impl Peers {
    pub(crate) fn new(
        transport: Option<Arc<dyn Transport>>,
        runtime: Handle,
        sealer: Option<Arc<Sealer>>,
    ) -> Self {
        Self {
            transport,
            runtime,
            sealer,
            heard: Mutex::default(),
            called: Mutex::default(),
        }
    }

    pub(crate) fn peer(self: &Arc<Self>, member: u64, address: String) -> Peer {
        Peer {
            peers: self.clone(),
            member,
            address,
        }
    }

    /// How long ago a member answered last, if it ever did.
    pub(crate) fn silent(&self, member: u64) -> Option<Duration> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&member).map(Instant::elapsed)
    }

    /// How long ago something was heard of a member, an answer or a question, if it ever was.
    pub(crate) fn unheard(&self, member: u64) -> Option<Duration> {
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let called = called.get(&member).map(Instant::elapsed);
        let silent = self.silent(member);
        silent.into_iter().chain(called).min()
    }

    fn note_called(&self, member: Option<u64>) {
        if let Some(member) = member {
            let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
            called.insert(member, Instant::now());
        }
    }

    fn note_heard(&self, member: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(member, Instant::now());
    }
}

/// Openraft asks for a factory of its own.
pub(crate) struct PeerFactory(pub(crate) Arc<Peers>);

impl RaftNetworkFactory<TypeConfig> for PeerFactory {
    type Network = Peer;

    async fn new_client(&mut self, member: u64, node: &BasicNode) -> Peer {
        self.0.peer(member, node.addr.clone())
    }
}

impl Peer {
    pub(crate) async fn call(&self, request: &Request) -> Result<Response, CallError> {
        let (member, address) = (self.member, self.address.clone());
        let unreachable = |reason: &str| TransportError {
            member,
            reason: reason.to_owned(),
        };
        let transport = self
            .peers
            .transport
            .clone()
            .ok_or_else(|| unreachable("this member has no transport"))?;
        let message = request.encode();
        let call = self
            .peers
            .runtime
            .spawn(async move { transport.send(member, &address, message).await });
        // A call that openraft no longer waits for ends with it.
        let mut call = AbortOnDrop(call);
        let answer = (&mut call.0)
            .await
            .map_err(|error| unreachable(&error.to_string()))??;
        self.peers.note_heard(member);
        match Response::decode(&answer)? {
            Response::Failed(reason) => Err(CallError::Failed(reason)),
            response => Ok(response),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote<u64>,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<u64>, CallError> {
        let mut bodies = Bodies::open(&snapshot.snapshot.path, self.peers.sealer.clone())?;
        let mut next = bodies.next()?;
        let mut first = 0;
        loop {
            let mut part = Vec::new();
            let mut bytes = 0;
            while bytes < PART_BYTES
                && let Some(body) = next.take()
            {
                bytes += body.len();
                part.push(body);
                next = bodies.next()?;
            }
            let header = SnapshotPartHeader {
                vote,
                meta: snapshot.meta.clone(),
                first,
                is_last: next.is_none(),
            };
            first += part.len() as u64;
            let bodies = part;
            match self
                .call(&Request::Snapshot(SnapshotPart { header, bodies }))
                .await?
            {
                Response::SnapshotPart if next.is_some() => {}
                Response::Snapshot(response) => return Ok(response),
                _ => return Err(CallError::OtherAnswer),
            }
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type RpcError = RPCError<u64, BasicNode, RaftError<u64>>;

fn rpc_error(error: &CallError) -> RpcError {
    // Openraft waits before it asks again.
    RPCError::Unreachable(Unreachable::new(error))
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RpcError> {
        match self.call(&Request::Append(request)).await {
            Ok(Response::Append(response)) => Ok(response),
            Ok(_) => Err(rpc_error(&CallError::OtherAnswer)),
            Err(error) => Err(rpc_error(&error)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RpcError> {
        match self.call(&Request::Vote(request)).await {
            Ok(Response::Vote(response)) => Ok(response),
            Ok(_) => Err(rpc_error(&CallError::OtherAnswer)),
            Err(error) => Err(rpc_error(&error)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => {
                sent.map_err(|error| StreamingError::Network(NetworkError::new(&error)))
            }
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

/// Answers what other members ask.
pub(crate) struct Receiver {
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<Peers>,
    pub(crate) snapshots: Arc<Snapshots>,
    /// The snapshot that is being received.
    pub(crate) incoming: Mutex<Option<Incoming>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) growth: Arc<LogGrowth>,
    pub(crate) room: Room,
    pub(crate) health: Health,
}

pub(crate) struct Incoming {
    snapshot_id: String,
    vote: Vote<u64>,
    file: Arc<File>,
    place: SnapshotFile,
    /// Number of the frame that is expected.
    next: u64,
}

impl Receiver {
    pub(crate) async fn answer(&self, message: &[u8]) -> Vec<u8> {
        let response = match Request::decode(message) {
            Ok(Request::Append(request)) => {
                self.peers.note_called(request.vote.leader_id().voted_for());
                self.append(request, message.len()).await
            }
            Ok(Request::Vote(request)) => {
                self.peers.note_called(request.vote.leader_id().voted_for());
                let answer = self.raft.vote(request).await;
                answer.map(Response::Vote).map_err(|error| error.to_string())
            }
            Ok(Request::Snapshot(part)) => self.take_snapshot_part(part).await,
            Ok(Request::ReadIndex) => self.read_index().await,
            Err(error) => Err(error.to_string()),
        };
        response.unwrap_or_else(Response::Failed).encode()
    }

    /// Takes entries, if the log has room for them: a full disk refuses what it is sent, and harms nothing.
    async fn append(
        &self,
        mut request: AppendEntriesRequest<TypeConfig>,
        message_bytes: usize,
    ) -> Result<Response, String> {
        let mut missing = None;
        if !request.entries.is_empty() {
            let bytes = message_bytes + request.entries.len() * ENTRY_BYTES;
            missing = self
                .room
                .reserve(bytes as u64)
                .await
                .err()
                .map(|error| error.to_string());
            self.health.set_room(missing.clone());
        }
        if missing.is_some() {
            // What is left of it is a heartbeat, without which this member would call for an election.
            request.entries.clear();
        }
        let answer = self.raft.append_entries(request).await;
        if let Some(missing) = missing
            && !matches!(answer, Ok(AppendEntriesResponse::HigherVote(_)))
        {
            return Err(missing);
        }
        if self.growth.is_enough() {
            // It fails only where the log failed too, and that is told to those who ask.
            _ = self.raft.trigger().snapshot().await;
        }
        answer.map(Response::Append).map_err(|error| error.to_string())
    }

    /// Answers where this member leads; it does not ask another one in turn.
    async fn read_index(&self) -> Result<Response, String> {
        if !self.leadership.borrow().is_self {
            return Err("it does not lead".to_owned());
        }
        let (reply, answer) = oneshot::channel();
        let is_reader = false;
        let stopped = "the store was stopped".to_owned();
        if self.asks.send(Ask { reply, is_reader }).await.is_err() {
            return Err(stopped);
        }
        let answer = answer.await.map_err(|_| stopped)?;
        answer.map(Response::ReadIndex).map_err(|error| error.to_string())
    }

    async fn take_snapshot_part(&self, part: SnapshotPart) -> Result<Response, String> {
        let SnapshotPartHeader {
            vote,
            meta,
            first,
            is_last,
        } = part.header;
        let (file, place) = self
            .place(&meta.snapshot_id, vote, first)
            .map_err(|error| error.to_string())?;
        let count = part.bodies.len() as u64;
        let sealer = self.snapshots.sealer.clone();
        let into = file.clone();
        let write = tokio::task::spawn_blocking(move || {
            let mut frames = Frames::continuing(&*into, sealer.as_deref(), first);
            part.bodies.iter().try_for_each(|body| frames.put(body))
        });
        let written = write.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| error.to_string())?;
        if !is_last {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            // Another transfer may have begun meanwhile.
            if let Some(incoming) = incoming.as_mut().filter(|now| Arc::ptr_eq(&now.file, &file)) {
                incoming.next = first + count;
            }
            return Ok(Response::SnapshotPart);
        }
        {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            incoming.take_if(|now| Arc::ptr_eq(&now.file, &file));
        }
        let path = place.path.clone();
        let snapshot = Snapshot {
            meta,
            snapshot: Box::new(place),
        };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        // Moved away where it was of use.
        _ = std::fs::remove_file(path);
        installed
            .map(Response::Snapshot)
            .map_err(|error| error.to_string())
    }

    /// The file that a piece belongs to, which is written nowhere else; the first piece of a snapshot begins a new one.
    fn place(&self, id: &str, vote: Vote<u64>, first: u64) -> io::Result<(Arc<File>, SnapshotFile)> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if first == 0 {
            if let Some(before) = incoming.take() {
                std::fs::remove_file(&before.place.path)?;
            }
            let place = self.snapshots.incoming();
            *incoming = Some(Incoming {
                snapshot_id: id.to_owned(),
                vote,
                file: Arc::new(File::create(&place.path)?),
                place,
                next: 0,
            });
        }
        match incoming.as_mut() {
            Some(incoming)
                if incoming.snapshot_id == id && incoming.vote == vote && incoming.next == first =>
            {
                // Taken: a piece that comes twice is refused the second time.
                incoming.next = u64::MAX;
                Ok((incoming.file.clone(), incoming.place.clone()))
            }
            _ => Err(io::Error::other("this piece of a snapshot was not expected")),
        }
    }
}
