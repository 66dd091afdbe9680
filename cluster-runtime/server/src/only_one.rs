//! A data folder is one machine's: a copy of it that is started elsewhere must not speak in its name.
//!
//! Nothing that is in a folder tells it from its copy, so others are asked before anything of it is opened. What is not seen
//! here, as of a copy that is started while nobody of the cluster can be reached, is seen by the node's lease later
//! ([`cluster_node::claim`]).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::Api;
use futures::future::join_all;
use rustls::ClientConfig;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::ask::ask;
use crate::dir::{ClusterDir, ClusterSettings};
use crate::handshake::shake_hands;
use crate::message::{Reply, Request};
use crate::serve::{ServeError, listen};
use crate::server_list::follow_servers;
use crate::token::Role;

/// Time for a machine to take a connection and answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// A member that was not heard of for so long was heard of before this start: it was this one, or it is gone.
const HEARD_MAX: Duration = Duration::from_secs(2);
/// A member that lives is heard of several times meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(700);
/// How often it has to be heard of anew.
const LOOKS: usize = 4;

/// Takes an address that the cluster knows the machine by, which it may not have any more.
pub(crate) async fn listen_as_known(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    address: SocketAddr,
) -> Result<TcpListener, ServeError> {
    listen(address).await.map_err(|error| match error {
        ServeError::Listen { address, source }
            if settings.served
                && source.kind() == io::ErrorKind::AddrNotAvailable
                && settings.advertised() == Some(address) =>
        {
            ServeError::Elsewhere {
                address,
                folder: dir.path().to_owned(),
            }
        }
        error => error,
    })
}

/// Refuses to start a server where another one of the cluster answers by the address that it would be known by.
///
/// Nothing of this machine listens there yet.
pub(crate) async fn check_unserved(dir: &ClusterDir, settings: &ClusterSettings) -> Result<(), ServeError> {
    let Some(address) = settings.advertised().filter(|_| settings.role == Role::Server) else {
        return Ok(());
    };
    let pki = dir.pki();
    let asked = tokio::task::spawn_blocking(move || shake_hands(address, &pki, ANSWER_TIMEOUT)).await;
    match asked.map_err(io::Error::other)? {
        Ok(()) => Err(ServeError::Served {
            member: settings.member,
            by: address,
            folder: dir.path().to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// Refuses to start a server of whose member another server hears while this one does not say anything yet.
pub(crate) async fn check_alone(
    dir: &ClusterDir,
    settings: &ClusterSettings,
    tls: &Arc<ClientConfig>,
) -> Result<(), ServeError> {
    if !settings.served {
        return Ok(());
    }
    let own = settings.advertised();
    let mut others = dir.peers();
    others.extend(&settings.servers);
    others.sort_unstable();
    others.dedup();
    others.retain(|other| Some(*other) != own);
    let member = settings.member;
    let heard = || async {
        let questions = others.iter().map(|other| async move {
            let at = [*other];
            let request = Request::Heard { member };
            match timeout(ANSWER_TIMEOUT, ask(tls, &at, &request)).await {
                Ok(Ok(Reply::Heard { ago_ms: Some(ago) })) => Some((Duration::from_millis(ago), *other)),
                _ => None,
            }
        });
        join_all(questions).await.into_iter().flatten().min()
    };
    let Some((_, mut by)) = heard().await.filter(|(ago, _)| *ago < HEARD_MAX) else {
        return Ok(());
    };
    // It may be what was heard of this machine's server before it was ended; where packets are lost, that comes late, too.
    // One that lives is heard of all the time.
    for _ in 0..LOOKS {
        sleep(LOOK_AGAIN).await;
        match heard().await {
            Some((ago, other)) if ago < LOOK_AGAIN => by = other,
            _ => return Ok(()),
        }
    }
    Err(ServeError::Served {
        member,
        by,
        folder: dir.path().to_owned(),
    })
}

/// Keeps the list of the other servers for the next start.
pub(crate) async fn keep_peers(dir: ClusterDir, own: Option<SocketAddr>, api: Arc<dyn Api>) {
    let mut known = dir.peers();
    let keep = |mut servers: Vec<SocketAddr>| {
        servers.retain(|server| Some(*server) != own);
        if servers != known {
            if let Err(error) = dir.save_peers(&servers) {
                tracing::warn!(%error, "the list of servers cannot be kept");
            }
            known = servers;
        }
    };
    follow_servers(api, keep).await;
}
