//! Ports of pods over WebSocket: SPDY in a tunnel, as `kubectl` has it, or a pair of channels for each port.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use axum::response::Response;
use bytes::Bytes;
use cluster_client::{NodeStreams, PodContainer};
use cluster_objects::{Object, Status};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::handle::Call;
use super::exec::upgrade;
use super::spdy::{Frame, FrameReader, HeaderReader, HeaderWriter, SpdyError};
use super::{container_of, node_of};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";

/// Connections to the pod over one WebSocket.
const CONNECTIONS_MAX: usize = 256;
/// Pieces that wait on each way.
const PIECES_MAX: usize = 16;
/// Bytes that are sent at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Opens the way to ports of a pod.
pub(super) async fn open(call: &mut Call<'_>, pod: &Object) -> Result<Response, Status> {
    let Some(node) = node_of(call, pod)? else {
        return Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            pod.name()
        )));
    };
    let ports = call
        .parameters
        .all("ports")
        .iter()
        .flat_map(|ports| ports.split(','));
    let ports: Result<Vec<u16>, _> = ports.map(str::parse).collect();
    let ports = ports.map_err(|_| Status::bad_request("ports must be numbers from 1 to 65535"))?;
    let upgrade = upgrade(call, &[TUNNEL, CHANNELS]).await?;
    let is_tunnel = upgrade.selected_protocol().is_some_and(|chosen| chosen == TUNNEL);
    if !is_tunnel && (ports.is_empty() || ports.len() > usize::from(u8::MAX / 2)) {
        return Err(Status::bad_request("query parameter \"ports\" is required"));
    }
    let pod = Pod {
        node,
        container: container_of(pod, String::new()),
    };
    let stop = call.server.stop.clone();
    Ok(upgrade.on_upgrade(move |socket| async move {
        let serve = async {
            if is_tunnel {
                tunnel(socket, pod).await;
            } else {
                channels(socket, pod, &ports).await;
            }
        };
        tokio::select! {
            () = serve => {}
            () = stop.cancelled() => {}
        }
    }))
}

#[derive(Clone)]
struct Pod {
    node: Arc<dyn NodeStreams>,
    container: PodContainer,
}

/// Where the bytes of one connection go to: a stream or a channel of the client's.
#[derive(Clone)]
struct Outlet {
    messages: mpsc::Sender<Message>,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Stream(u32),
    Channel(u8),
}

impl Outlet {
    /// Sends data; `false` when the client is gone.
    async fn send(&self, data: &[u8], fin: bool) -> bool {
        let bytes = match self.framing {
            Framing::Stream(stream) => {
                let data = Bytes::copy_from_slice(data);
                Frame::Data { stream, fin, data }.encode()
            }
            // Channels have no end of their own.
            Framing::Channel(_) if data.is_empty() => return true,
            Framing::Channel(channel) => [&[channel], data].concat().into(),
        };
        self.messages.send(Message::Binary(bytes)).await.is_ok()
    }
}

/// Carries bytes between the client and a port of the pod, until both sides are done; then ends both outlets.
async fn forward(pod: Pod, port: u16, mut input: mpsc::Receiver<Bytes>, data: Outlet, error: Outlet) {
    match pod.node.connect(&pod.container, port).await {
        Ok(connection) => {
            let (mut read, mut write) = tokio::io::split(connection);
            let to_pod = async {
                while let Some(bytes) = input.recv().await {
                    if write.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                // The pod may have closed first.
                _ = write.shutdown().await;
            };
            let to_client = async {
                let mut buffer = vec![0; PIECE_BYTES];
                while let Ok(length @ 1..) = read.read(&mut buffer).await {
                    if !data.send(&buffer[..length], false).await {
                        return;
                    }
                }
            };
            // What the client still sends is of no use once the pod has closed.
            tokio::select! {
                () = async { tokio::join!(to_pod, std::future::pending::<()>()); } => {}
                () = to_client => {}
            }
        }
        Err(status) => {
            let text = format!(
                "error forwarding port {port} to pod {}, uid {}: {status}",
                pod.container.pod, pod.container.uid
            );
            error.send(text.as_bytes(), false).await;
        }
    }
    data.send(&[], true).await;
    error.send(&[], true).await;
}

/// Starts a task that writes messages to the client, so that reading never waits for writing.
fn writer(
    mut sink: futures::stream::SplitSink<WebSocket, Message>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Sender<Message> {
    let (sender, mut messages) = mpsc::channel(PIECES_MAX);
    tasks.spawn(async move {
        while let Some(message) = messages.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        // Without an answer the client is gone.
        _ = sink.close().await;
    });
    sender
}

/// A pair of channels for each port: data, then errors; the first message of each names the port.
async fn channels(socket: WebSocket, pod: Pod, ports: &[u16]) {
    let (sink, mut source) = socket.split();
    let mut tasks = JoinSet::new();
    let messages = writer(sink, &mut tasks);
    let mut inputs = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let outlet = |channel: usize| Outlet {
            messages: messages.clone(),
            framing: Framing::Channel(channel as u8),
        };
        let (data, error) = (outlet(2 * index), outlet(2 * index + 1));
        for outlet in [&data, &error] {
            if !outlet.send(&port.to_le_bytes(), false).await {
                return;
            }
        }
        let (sender, input) = mpsc::channel(PIECES_MAX);
        inputs.push(sender);
        tasks.spawn(forward(pod.clone(), *port, input, data, error));
    }
    drop(messages);
    let read = async {
        while let Some(Ok(message)) = source.next().await {
            let Message::Binary(bytes) = message else { continue };
            let Some((channel, data)) = bytes.split_first() else {
                continue;
            };
            let data_channel = channel % 2 == 0;
            if let Some(input) = inputs.get(usize::from(channel / 2)).filter(|_| data_channel) {
                // A connection that has ended takes nothing more.
                _ = input.send(bytes.slice_ref(data)).await;
            }
        }
    };
    tokio::select! {
        () = read => {}
        // When every connection has ended, the writer ends too.
        () = async { while tasks.join_next().await.is_some() {} } => {}
    }
}

/// SPDY inside the WebSocket.
async fn tunnel(socket: WebSocket, pod: Pod) {
    let (sink, source) = socket.split();
    let mut tasks = JoinSet::new();
    let messages = writer(sink, &mut tasks);
    let mut tunnel = Tunnel {
        pod,
        messages,
        connections: tasks,
        replies: HeaderWriter::default(),
        errors: HashMap::new(),
        inputs: HashMap::new(),
    };
    if let Err(error) = tunnel.run(source).await {
        tracing::debug!(%error, "port forwarding ended");
    }
}

struct Tunnel {
    pod: Pod,
    messages: mpsc::Sender<Message>,
    connections: JoinSet<()>,
    replies: HeaderWriter,
    /// Error streams that wait for their data stream, by the id of their request.
    errors: HashMap<String, u32>,
    /// Where the data of each data stream goes.
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
}

impl Tunnel {
    async fn run(&mut self, mut source: SplitStream<WebSocket>) -> Result<(), SpdyError> {
        let mut frames = FrameReader::default();
        let mut headers = HeaderReader::default();
        while let Some(Ok(message)) = source.next().await {
            let Message::Binary(bytes) = message else { continue };
            frames.feed(&bytes);
            while let Some(frame) = frames.frame()? {
                let goes_on = match frame {
                    Frame::Open {
                        stream,
                        headers: block,
                        ..
                    } => {
                        let headers = headers.read(&block)?;
                        self.open(stream, &headers).await
                    }
                    Frame::Data { stream, fin, data } => {
                        self.data(stream, data, fin).await;
                        true
                    }
                    Frame::Reset { stream } => {
                        self.inputs.remove(&stream);
                        true
                    }
                    Frame::Ping(id) => self.send(&Frame::Ping(id)).await,
                    Frame::GoAway => false,
                    Frame::Reply { .. } | Frame::Ignored => true,
                };
                if !goes_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send(&self, frame: &Frame) -> bool {
        self.messages.send(Message::Binary(frame.encode())).await.is_ok()
    }

    /// Takes a new stream. An error stream comes before the data stream of the same request.
    async fn open(&mut self, stream: u32, headers: &HashMap<String, String>) -> bool {
        let header = |name: &str| headers.get(name).map_or("", String::as_str);
        let request = header("requestid").to_owned();
        // Connections that have ended make room.
        while self.connections.try_join_next().is_some() {}
        let port: Option<u16> = header("port").parse().ok().filter(|port| *port > 0);
        let pair = match (header("streamtype"), port) {
            ("error", Some(_)) if self.errors.len() < CONNECTIONS_MAX => {
                self.errors.insert(request, stream);
                None
            }
            ("data", Some(port)) if self.connections.len() <= CONNECTIONS_MAX => {
                let Some(error) = self.errors.remove(&request) else {
                    return self.send(&Frame::Reset { stream }).await;
                };
                Some((port, error))
            }
            _ => return self.send(&Frame::Reset { stream }).await,
        };
        let headers = self.replies.empty();
        if !self.send(&Frame::Reply { stream, headers }).await {
            return false;
        }
        if let Some((port, error)) = pair {
            let outlet = |stream| Outlet {
                messages: self.messages.clone(),
                framing: Framing::Stream(stream),
            };
            let (sender, input) = mpsc::channel(PIECES_MAX);
            self.inputs.insert(stream, sender);
            let forward = forward(self.pod.clone(), port, input, outlet(stream), outlet(error));
            self.connections.spawn(forward);
        }
        true
    }

    async fn data(&mut self, stream: u32, data: Bytes, fin: bool) {
        if let Some(input) = self.inputs.get(&stream)
            && !data.is_empty()
            && input.send(data).await.is_err()
        {
            // The connection has ended; its streams were ended then.
            self.inputs.remove(&stream);
        }
        if fin {
            self.inputs.remove(&stream);
        }
    }
}
