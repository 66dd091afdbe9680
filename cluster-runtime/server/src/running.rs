//! The parts of a machine, whatever it is in its cluster.

use std::path::PathBuf;
use std::sync::Arc;

use cluster_client::Api;
use tokio::net::TcpListener;

use crate::agent::AgentParts;
use crate::control::StopPods;
use crate::dir::{ClusterDir, ClusterSettings};
use crate::options::ClusterOptions;
use crate::parts::ServerParts;
use crate::serve::ServeError;
use crate::token::Role;

/// The running parts of a server or an agent.
pub(crate) enum Parts {
    Server(Box<ServerParts>),
    Agent(Box<AgentParts>),
}

impl Parts {
    pub(crate) async fn start(
        dir: &ClusterDir,
        settings: &ClusterSettings,
        options: &ClusterOptions,
        listener: TcpListener,
        program: PathBuf,
    ) -> Result<Self, ServeError> {
        match settings.role {
            Role::Server => {
                let parts = ServerParts::start(dir, settings, options, listener, program).await?;
                Ok(Self::Server(Box::new(parts)))
            }
            Role::Agent => {
                let parts = AgentParts::start(dir, settings, options, listener, program).await?;
                Ok(Self::Agent(Box::new(parts)))
            }
        }
    }

    pub(crate) fn api(&self) -> Arc<dyn Api> {
        match self {
            Self::Server(parts) => parts.api(),
            Self::Agent(parts) => parts.api(),
        }
    }

    /// Waits for a failure that only a new start helps against, if anything.
    pub(crate) async fn failed(&self) -> ServeError {
        match self {
            Self::Server(parts) => parts.failed().await,
            Self::Agent(parts) => parts.failed().await,
        }
    }

    pub(crate) async fn stop(self, pods: StopPods) {
        match self {
            Self::Server(parts) => parts.stop(pods).await,
            Self::Agent(parts) => parts.stop(pods).await,
        }
    }
}
