//! Asking a server of the cluster, whichever leads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::message::{self, Refusal, Reply, Request};
use crate::tls::{self, SERVER_NAME};

/// Servers that may name another one as the leader, one after the other.
const REDIRECTS_MAX: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server took the connection, or none of the right authority.
    #[error("cannot reach the server at {address}")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The server will not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Servers name each other, or answer something else.
    #[error("the servers do not agree on who leads")]
    NoLeader,
}

/// Asks one of the servers, and the one that it names in its stead.
///
/// The first that is reached counts; `tls` must speak [`message::PROTOCOL`].
pub(crate) async fn ask(
    tls: &Arc<ClientConfig>,
    servers: &[SocketAddr],
    request: &Request,
) -> Result<Reply, AskError> {
    let mut outcome = Err(AskError::NoLeader);
    for server in servers {
        outcome = follow(tls, *server, request).await;
        if !matches!(outcome, Err(AskError::Unreachable { .. })) {
            break;
        }
    }
    outcome
}

async fn follow(
    tls: &Arc<ClientConfig>,
    mut address: SocketAddr,
    request: &Request,
) -> Result<Reply, AskError> {
    for _ in 0..REDIRECTS_MAX {
        let reply = exchange(tls, address, request).await;
        match reply.map_err(|source| AskError::Unreachable { address, source })? {
            Reply::Elsewhere { address: other } => address = other,
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => return Ok(reply),
        }
    }
    Err(AskError::NoLeader)
}

async fn exchange(tls: &Arc<ClientConfig>, address: SocketAddr, request: &Request) -> io::Result<Reply> {
    let mut stream = tls::connect(tls, address, SERVER_NAME).await?;
    message::write(&mut stream, request).await?;
    let reply = message::read(&mut stream).await?;
    reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection"))
}
