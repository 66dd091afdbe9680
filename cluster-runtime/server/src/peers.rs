//! Connections between members of the group of servers.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_apiserver::{Protocol, SERVERS, User};
use cluster_client::Connection;
use cluster_store::{Connect, RaftStore, Stream};
use rustls::ClientConfig;

use crate::tls::{self, SERVER_NAME};

/// Name of the protocol, for ALPN.
pub(crate) const PROTOCOL: &str = "tug-store/1";

/// Connects to other members by a server's certificate.
pub(crate) struct PeerConnector {
    pub(crate) tls: Arc<ClientConfig>,
}

#[async_trait]
impl Connect for PeerConnector {
    async fn connect(&self, _member: u64, address: &str) -> io::Result<Box<dyn Stream>> {
        let address = address.parse().map_err(io::Error::other)?;
        Ok(Box::new(tls::connect(&self.tls, address, SERVER_NAME).await?))
    }
}

/// Takes connections of other members.
pub(crate) struct PeerServer {
    pub(crate) store: Arc<RaftStore>,
}

#[async_trait]
impl Protocol for PeerServer {
    async fn serve(&self, connection: Box<dyn Connection>, user: Option<&User>) {
        if !user.is_some_and(|user| user.is_in(SERVERS)) {
            tracing::warn!(?user, "somebody who is no server wanted to speak to the store");
            return;
        }
        if let Err(error) = self.store.serve_peer(connection).await {
            tracing::debug!(%error, "the connection of another server ended");
        }
    }
}
