//! Why a registry did not give or take a chart.

use repo_index::{Digest, OciReferenceError};

use super::docker_config::DockerConfigError;
use crate::http::HttpError;

/// Why a registry did not give or take a chart.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The server did not answer, or said no.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The registry does not let us in.
    #[error("{registry} refuses access to `{repository}`: {status}")]
    Unauthorized {
        /// The registry's host.
        registry: String,
        /// The path.
        repository: String,
        /// What it says.
        status: String,
    },
    /// Nothing is there.
    #[error("{reference}: not found")]
    NotFound {
        /// Where it should be.
        reference: String,
    },
    /// The reference is none.
    #[error(transparent)]
    Reference(#[from] OciReferenceError),
    /// Logins cannot be read or kept.
    #[error(transparent)]
    Config(#[from] DockerConfigError),
    /// The answer is not what the specification says.
    #[error("{registry} gives an answer that cannot be understood: {reason}")]
    Answer {
        /// The registry's host.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came is not what was promised.
    #[error("{what} has the digest {found}, and {wanted} was expected")]
    Digest {
        /// Which blob or manifest.
        what: String,
        /// The digest that it must have.
        wanted: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// What is there is no chart.
    #[error("{reference} is no chart: {reason}")]
    NoChart {
        /// Where.
        reference: String,
        /// Why it is none.
        reason: String,
    },
    /// The place to push to does not suit the chart.
    #[error("cannot push to {reference}: {reason}")]
    PushPlace {
        /// Where.
        reference: String,
        /// Why not.
        reason: String,
    },
}

impl RegistryError {
    /// The registry could not be asked.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_offline())
    }
}
