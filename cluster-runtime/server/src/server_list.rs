//! An agent's way to the servers: one port on loopback that leads to a server that works.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_client::{Api, Collection, Informer, InformerOptions};
use rustls::ClientConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ask::ask;
use crate::bootstrap::API_SERVICE;
use crate::message::Request;
use crate::task::Task;

/// Time for a server to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions whether the server in use works.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Time for the answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The servers that an agent knows, the one in use first.
pub(crate) struct ServerList {
    known: Mutex<Vec<SocketAddr>>,
    /// Another number whenever connections have to go to another server.
    turn: watch::Sender<u64>,
}

impl ServerList {
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            known: Mutex::new(servers),
            turn: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers, the one in use first.
    pub(crate) fn all(&self) -> Vec<SocketAddr> {
        self.lock().clone()
    }

    /// Takes note of the servers there are now; `false` where nothing is new. The one in use stays the first.
    pub(crate) fn replace(&self, servers: &[SocketAddr]) -> bool {
        let mut known = self.lock();
        let mut fresh: Vec<SocketAddr> = known
            .iter()
            .filter(|known| servers.contains(known))
            .copied()
            .collect();
        let kept = fresh.len();
        let added = servers.iter().filter(|server| !known.contains(server));
        fresh.extend(added);
        let is_new = kept != known.len() || fresh.len() != kept;
        if is_new && !fresh.is_empty() {
            *known = fresh;
        }
        is_new
    }

    /// Puts a server that does not work behind the others, and cuts connections to it off.
    fn put_back(&self, server: SocketAddr) {
        let mut known = self.lock();
        if known.first() == Some(&server) {
            known.rotate_left(1);
            drop(known);
            tracing::warn!(%server, "the server does not answer: another one is used");
            self.turn.send_modify(|turn| *turn += 1);
        }
    }
}

/// The port, and what serves it.
pub(crate) struct ServerProxy {
    pub(crate) address: SocketAddr,
    task: Task,
}

impl ServerProxy {
    /// Takes a free port on loopback. `tls` speaks the cluster's own protocol by the node's certificate.
    pub(crate) async fn start(servers: Arc<ServerList>, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = Task::spawn(async move {
            tokio::join!(accept(listener, servers.clone()), check(servers, tls));
        });
        Ok(Self { address, task })
    }

    pub(crate) async fn stop(self) {
        self.task.stop().await;
    }
}

async fn accept(listener: TcpListener, servers: Arc<ServerList>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => _ = connections.spawn(pass(stream, servers.clone())),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes one connection on to the first server that takes it.
async fn pass(mut stream: TcpStream, servers: Arc<ServerList>) {
    let mut turn = servers.turn.subscribe();
    for server in servers.all() {
        let Ok(Ok(mut other)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await else {
            servers.put_back(server);
            continue;
        };
        if stream
            .set_nodelay(true)
            .and_then(|()| other.set_nodelay(true))
            .is_err()
        {
            return;
        }
        turn.mark_unchanged();
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut other) => {}
            _ = turn.changed() => {}
        }
        return;
    }
}

/// Asks the server in use, again and again, whether it knows who leads: one that is cut off from the others does not.
///
/// It is a sign of life as that of a node, the other way round.
async fn check(servers: Arc<ServerList>, tls: Arc<ClientConfig>) {
    loop {
        sleep(CHECK_EVERY).await;
        let Some(server) = servers.all().first().copied() else {
            continue;
        };
        let in_use = [server];
        let answer = timeout(CHECK_TIMEOUT, ask(&tls, &in_use, &Request::Ping)).await;
        if !matches!(answer, Ok(Ok(_))) {
            servers.put_back(server);
        }
    }
}

/// Tells where the servers of the cluster are, now and after each change.
pub(crate) async fn follow_servers(api: Arc<dyn Api>, mut tell: impl FnMut(Vec<SocketAddr>)) {
    let slices = Collection::namespaced("discovery.k8s.io/v1", "endpointslices", "default");
    let options = InformerOptions {
        field_selector: format!("metadata.name={API_SERVICE}"),
        ..InformerOptions::default()
    };
    let slices = Informer::start(api, slices, options);
    slices.synced().await;
    let mut changes = slices.changes();
    loop {
        changes.mark_unchanged();
        if let Some(slice) = slices.get("default", API_SERVICE) {
            let port = slice
                .list(&["ports"])
                .first()
                .and_then(|port| port["port"].as_u64());
            let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
            let addresses = slice.list(&["endpoints"]).iter().filter_map(|endpoint| {
                let address = endpoint["addresses"][0].as_str()?.parse().ok()?;
                Some(SocketAddr::new(address, port))
            });
            tell(addresses.collect());
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(ports: &[u16]) -> Vec<SocketAddr> {
        ports
            .iter()
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
            .collect()
    }

    #[test]
    fn the_server_in_use_stays_the_first_until_it_fails() {
        let list = ServerList::new(servers(&[1, 2]));
        assert!(list.replace(&servers(&[3, 2, 1])));
        assert_eq!(list.all(), servers(&[1, 2, 3]));
        assert!(!list.replace(&servers(&[1, 2, 3])));
        let turns = list.turn.subscribe();
        list.put_back(servers(&[2])[0]);
        assert!(!turns.has_changed().unwrap());
        list.put_back(servers(&[1])[0]);
        assert!(turns.has_changed().unwrap());
        assert_eq!(list.all(), servers(&[2, 3, 1]));
        // Nobody is forgotten for the last one.
        assert!(list.replace(&[]));
        assert_eq!(list.all(), servers(&[2, 3, 1]));
    }
}
