//! The seam for what is spoken besides HTTP on the port of the API.

use async_trait::async_trait;
use cluster_client::Connection;

use crate::user::User;

/// Serves connections of one protocol, which clients ask for by its name in the TLS handshake.
#[async_trait]
pub trait Protocol: Send + Sync + 'static {
    /// Serves a connection to its end; it is dropped when the server stops.
    ///
    /// `user` is whom the client's certificate names, which the handshake has checked; `None` for a client without one.
    async fn serve(&self, connection: Box<dyn Connection>, user: Option<&User>);
}
