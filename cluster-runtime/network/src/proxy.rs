//! Services balanced in user space: a listener for each address and port, which joins connections to backends.
//!
//! It stands in where the kernel's tables cannot be used, and always for node ports on loopback.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::table::{Frontends, Protocol};

/// Connecting to one backend; the next one is tried after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A UDP client that is silent for so long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(60);
/// Datagrams that wait for a backend's socket; more are dropped, as UDP may.
const UDP_QUEUE: usize = 64;
/// Clients of one UDP port at a time; datagrams of more are dropped.
const UDP_CLIENTS_MAX: usize = 4096;

/// Where connections to a listener go; changed while it listens.
type Backends = Arc<RwLock<Vec<SocketAddrV4>>>;

/// The listeners of a node.
#[derive(Default)]
pub(crate) struct Proxy {
    listeners: HashMap<(Ipv4Addr, u16, Protocol), Listener>,
}

struct Listener {
    backends: Backends,
    _task: AbortOnDropHandle<()>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}:{port}/{}", .protocol.as_str())]
pub(crate) struct ListenError {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    #[source]
    pub(crate) source: io::Error,
}

impl Proxy {
    /// Listens on exactly these; open connections of listeners that go are closed. Gives those that failed.
    pub(crate) async fn apply(&mut self, wanted: Frontends) -> Vec<ListenError> {
        self.listeners.retain(|key, _| wanted.contains_key(key));
        let mut failures = Vec::new();
        for (key, backends) in wanted {
            if let Some(listener) = self.listeners.get(&key) {
                *listener.backends.write().unwrap_or_else(PoisonError::into_inner) = backends;
                continue;
            }
            let (address, port, protocol) = key;
            match listen(SocketAddr::from((address, port)), protocol, backends).await {
                Ok(listener) => {
                    self.listeners.insert(key, listener);
                }
                Err(source) => failures.push(ListenError {
                    address,
                    port,
                    protocol,
                    source,
                }),
            }
        }
        failures
    }
}

async fn listen(
    address: SocketAddr,
    protocol: Protocol,
    backends: Vec<SocketAddrV4>,
) -> io::Result<Listener> {
    let backends: Backends = Arc::new(RwLock::new(backends));
    let task = match protocol {
        Protocol::Tcp => tokio::spawn(forward_tcp(TcpListener::bind(address).await?, backends.clone())),
        Protocol::Udp => tokio::spawn(forward_udp(UdpSocket::bind(address).await?, backends.clone())),
    };
    Ok(Listener {
        backends,
        _task: AbortOnDropHandle::new(task),
    })
}

async fn forward_tcp(listener: TcpListener, backends: Backends) {
    let mut connections = tokio::task::JoinSet::new();
    let mut turn = 0_usize;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else {
                    // Out of file descriptors: let running connections end before taking more.
                    connections.join_next().await;
                    continue;
                };
                turn = turn.wrapping_add(1);
                connections.spawn(join(client, in_turn(&backends, turn)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// All backends, beginning with the one whose turn it is.
fn in_turn(backends: &Backends, turn: usize) -> Vec<SocketAddrV4> {
    let mut list = backends.read().unwrap_or_else(PoisonError::into_inner).clone();
    if !list.is_empty() {
        let first = turn % list.len();
        list.rotate_left(first);
    }
    list
}

async fn join(mut client: TcpStream, backends: Vec<SocketAddrV4>) {
    for backend in backends {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(backend)).await;
        let Ok(Ok(mut server)) = connected else { continue };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        // An error ends both halves; either side has seen it.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        return;
    }
    // No backend: closing with a reset tells the client at once.
    let _ = client.set_zero_linger();
}

async fn forward_udp(socket: UdpSocket, backends: Backends) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, (SocketAddrV4, mpsc::Sender<Vec<u8>>)> = HashMap::new();
    let mut turn = 0_usize;
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        turn = turn.wrapping_add(1);
        let present = in_turn(&backends, turn);
        // A client whose backend is gone is led to another.
        clients.retain(|_, (backend, queue)| !queue.is_closed() && present.contains(backend));
        let Some(next) = present.first().copied() else {
            continue;
        };
        if !clients.contains_key(&client) && clients.len() >= UDP_CLIENTS_MAX {
            continue;
        }
        let (_, queue) = clients.entry(client).or_insert_with(|| {
            let (queue, datagrams) = mpsc::channel(UDP_QUEUE);
            tokio::spawn(relay_udp(socket.clone(), client, next, datagrams));
            (next, queue)
        });
        let _ = queue.try_send(buffer[..length].to_vec());
    }
}

/// Carries one client's datagrams to a backend and the answers back, until both are silent.
async fn relay_udp(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    backend: SocketAddrV4,
    mut datagrams: mpsc::Receiver<Vec<u8>>,
) {
    let Ok(server) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await else {
        return;
    };
    if server.connect(backend).await.is_err() {
        return;
    }
    let mut buffer = vec![0; 65_536];
    loop {
        let step = tokio::time::timeout(UDP_IDLE, async {
            tokio::select! {
                datagram = datagrams.recv() => match datagram {
                    Some(datagram) => server.send(&datagram).await.is_ok(),
                    None => false,
                },
                answer = server.recv(&mut buffer) => match answer {
                    Ok(length) => socket.send_to(&buffer[..length], client).await.is_ok(),
                    Err(_) => false,
                },
            }
        });
        if !matches!(step.await, Ok(true)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that answers each connection with its own port.
    async fn backend() -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            unreachable!()
        };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.write_all(address.port().to_string().as_bytes()).await;
            }
        });
        address
    }

    async fn ask(port: u16) -> io::Result<String> {
        let mut text = String::new();
        TcpStream::connect(("127.0.0.1", port))
            .await?
            .read_to_string(&mut text)
            .await?;
        Ok(text)
    }

    async fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    #[tokio::test]
    async fn connections_go_to_backends_in_turn_and_skip_dead_ones() {
        let (one, two) = (backend().await, backend().await);
        let dead = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port().await);
        let port = free_port().await;
        let key = (Ipv4Addr::LOCALHOST, port, Protocol::Tcp);
        let mut proxy = Proxy::default();
        assert!(proxy.apply([(key, vec![one, two, dead])].into()).await.is_empty());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..6 {
            seen.insert(ask(port).await.unwrap());
        }
        assert_eq!(
            seen,
            [one, two]
                .iter()
                .map(|backend| backend.port().to_string())
                .collect()
        );

        proxy.apply([(key, vec![two])].into()).await;
        assert_eq!(ask(port).await.unwrap(), two.port().to_string());
        proxy.apply([(key, Vec::new())].into()).await;
        assert!(ask(port).await.is_err());
    }

    #[tokio::test]
    async fn err_a_taken_port_is_reported() {
        let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = holder.local_addr().unwrap().port();
        let failures = Proxy::default()
            .apply([((Ipv4Addr::LOCALHOST, port, Protocol::Tcp), vec![])].into())
            .await;
        assert_eq!(
            failures[0].to_string(),
            format!("cannot listen on 127.0.0.1:{port}/tcp")
        );
    }

    /// A server that answers each datagram with its own port.
    async fn udp_backend() -> SocketAddrV4 {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = server.local_addr().unwrap() else {
            unreachable!()
        };
        tokio::spawn(async move {
            let mut buffer = [0; 16];
            while let Ok((_, from)) = server.recv_from(&mut buffer).await {
                let _ = server.send_to(address.port().to_string().as_bytes(), from).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn datagrams_are_answered_by_a_backend_that_is_there() {
        let (one, two) = (udp_backend().await, udp_backend().await);
        let port = {
            let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            free.local_addr().unwrap().port()
        };
        let mut proxy = Proxy::default();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let key = (Ipv4Addr::LOCALHOST, port, Protocol::Udp);
        for backend in [one, two] {
            proxy.apply([(key, vec![backend])].into()).await;
            client.connect(("127.0.0.1", port)).await.unwrap();
            client.send(b"ping").await.unwrap();
            let mut buffer = [0; 16];
            let length = client.recv(&mut buffer).await.unwrap();
            let answer = std::str::from_utf8(&buffer[..length]).unwrap();
            assert_eq!(answer, backend.port().to_string());
        }
    }
}
