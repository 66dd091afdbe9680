//! The connection to an engine, and what it says when it refuses.

use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerState;
use bollard::{API_DEFAULT_VERSION, Docker};
use jiff::Timestamp;

use super::super::api::{ContainerExit, RuntimeError};
use crate::causes::with_causes;

/// Where engines listen, the likelier first.
pub const ENGINE_SOCKETS: &[&str] = &[
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
];

/// What an answer may take that comes at once, as far as an engine knows that.
const ANSWER_SECONDS_MAX: u64 = 120;
/// What an answer may take that comes when something has happened.
const HAPPENING: Duration = Duration::from_secs(24 * 3600);
const KILLED: i32 = 137;
const SIGKILL: i32 = 9;

/// An engine, and its own name for itself.
pub(super) struct Engine {
    /// For questions that are answered at once.
    pub docker: Docker,
    /// For those that are answered when something happens.
    pub patient: Docker,
    /// As `docker://20.10.24`.
    pub version: String,
}

impl Engine {
    /// Connects to the engine behind a socket, in the newest version of the API that both sides speak.
    pub(super) async fn connect(socket: &Path) -> Result<Self, RuntimeError> {
        let failed = |error: Error| {
            let action = format!("reach the container engine at `{}`", socket.display());
            RuntimeError::machine(action, words(&error))
        };
        let address = format!("unix://{}", socket.display());
        let docker =
            Docker::connect_with_unix(&address, ANSWER_SECONDS_MAX, API_DEFAULT_VERSION).map_err(failed)?;
        let docker = docker.negotiate_version().await.map_err(failed)?;
        let version = docker.version().await.map_err(failed)?;
        let is_podman = version
            .components
            .iter()
            .flatten()
            .any(|part| part.name.contains("Podman"));
        let name = if is_podman { "podman" } else { "docker" };
        Ok(Self {
            patient: docker.clone().with_timeout(HAPPENING),
            docker,
            version: format!("{name}://{}", version.version.unwrap_or_default()),
        })
    }
}

/// What an error says, without the words about how it came.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => with_causes(other),
    }
}

/// Whether the engine knows of no such thing.
pub(super) fn is_not_found(error: &Error) -> bool {
    is_status(error, 404)
}

/// Whether the engine refuses because of what is there already.
pub(super) fn is_conflict(error: &Error) -> bool {
    is_status(error, 409)
}

fn is_status(error: &Error, code: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == code)
}

/// Why a container did not start: what its first program has to do with it, as the other runtime says it.
pub(super) fn start_failure(error: &Error) -> RuntimeError {
    let text = words(error);
    let reason = match text.find("exec: \"") {
        Some(at) => text[at..].trim_end_matches(": unknown").to_owned(),
        None => text,
    };
    RuntimeError::Start { reason }
}

/// How a container ended, by the state that the engine shows.
pub(super) fn exit_of(state: &ContainerState) -> ContainerExit {
    let code = state
        .exit_code
        .and_then(|code| i32::try_from(code).ok())
        .unwrap_or(KILLED);
    let finished = state.finished_at.as_deref().and_then(|text| text.parse().ok());
    ContainerExit {
        code,
        // The engine only tells the code; nothing else but the kill, which no program can catch, has a sure sign.
        signal: (code == KILLED).then_some(SIGKILL),
        oom_killed: state.oom_killed.unwrap_or(false),
        finished: finished.unwrap_or_else(Timestamp::now),
        unseen: false,
    }
}

/// A container that is gone without anybody having seen its end.
pub(super) fn lost() -> ContainerExit {
    ContainerExit {
        code: KILLED,
        signal: None,
        oom_killed: false,
        finished: Timestamp::now(),
        unseen: true,
    }
}
