//! What an administrator does with a cluster from a server of it: tokens, members, roles.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::http::{ConnectError, HttpApi, HttpConfig};
use cluster_objects::Status;
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::io::SyncIoBridge;

use crate::ask::{AskError, ask};
use crate::dir::{ClusterDir, ClusterSettings, SettingsError};
use crate::invitation::{KnownToken, TokenWish, create_token, revoke_token, tokens};
use crate::message::{self, MemberStatus, Reply, Request};
use crate::pki::{Authority, PkiError};
use crate::rescue::write_backup;
use crate::timing::{ChangeTimingError, Timing, TimingError, TimingWish, change_timing};
use crate::tls::{self, Credentials};
use crate::token::{ID_BYTES, JoinToken, Role, SECRET_BYTES};

/// How long a machine may take to become a server or an agent.
const ROLE_TIMEOUT: Duration = Duration::from_secs(60);
const ROLE_LOOK: Duration = Duration::from_millis(200);

/// Why an administrator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No cluster is in the folder.
    #[error("there is no cluster in `{folder}`")]
    NoCluster {
        /// The data folder.
        folder: String,
    },
    /// An agent has no rights over the cluster.
    #[error("this machine is an agent: its cluster is ruled from a server")]
    Agent,
    /// Other machines cannot reach this one.
    #[error("the cluster has no address that other machines reach")]
    NoAddress,
    /// The data folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Certificates and keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The API cannot be entered.
    #[error("the cluster cannot be entered")]
    Connect(#[from] ConnectError),
    /// The API refused.
    #[error("the cluster refused: {0}")]
    Refused(#[from] Status),
    /// A server did not answer, or would not.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The change was begun, and its end was not seen.
    #[error("the node `{node}` is not {wanted} after {} s", ROLE_TIMEOUT.as_secs())]
    Slow {
        /// The node.
        node: String,
        /// What it should have become.
        wanted: &'static str,
    },
    /// The backup's file.
    #[error("cannot write `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Times that do not go.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// Randomness, threads.
    #[error("the system refuses")]
    Io(#[from] io::Error),
}

/// A server's folder, and the right of its administrator.
struct Administration {
    dir: ClusterDir,
    settings: ClusterSettings,
    authority: Authority,
}

impl Administration {
    fn open(dir: &ClusterDir) -> Result<Self, AdminError> {
        let settings = dir.settings()?.ok_or_else(|| AdminError::NoCluster {
            folder: dir.path().display().to_string(),
        })?;
        if settings.role == Role::Agent {
            return Err(AdminError::Agent);
        }
        Ok(Self {
            authority: Authority::open(&dir.pki(), OffsetDateTime::now_utc())?,
            dir: dir.clone(),
            settings,
        })
    }

    async fn api(&self) -> Result<HttpApi, AdminError> {
        let config = HttpConfig {
            kubeconfigs: vec![self.dir.kubeconfig()],
            ..HttpConfig::default()
        };
        Ok(HttpApi::connect(&config).await?)
    }

    async fn ask(&self, request: &Request) -> Result<Reply, AdminError> {
        let server = SocketAddr::from((self.settings.api_address, self.settings.api_port));
        Ok(ask(&self.tls()?, &[server], request).await?)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, AdminError> {
        let administrator = self.authority.administrator(OffsetDateTime::now_utc())?;
        let administrator = Credentials::new(self.authority.certificate(), &administrator)?;
        let config = tls::client(self.authority.certificate(), &administrator, message::PROTOCOL)?;
        Ok(Arc::new(config))
    }

    async fn members(&self) -> Result<Vec<MemberStatus>, AdminError> {
        match self.ask(&Request::Members).await? {
            Reply::Members { members } => Ok(members),
            _ => Err(AskError::NoLeader.into()),
        }
    }

    /// Waits until the number of servers is another one.
    async fn changed(&self, before: usize, node: &str, wanted: &'static str) -> Result<(), AdminError> {
        let end = Instant::now() + ROLE_TIMEOUT;
        loop {
            // While the group changes, there may be no leader for a moment.
            let now = self.members().await.unwrap_or_default();
            if !now.is_empty() && now.iter().filter(|member| member.voter).count() != before {
                return Ok(());
            }
            if Instant::now() > end {
                let node = node.to_owned();
                return Err(AdminError::Slow { node, wanted });
            }
            sleep(ROLE_LOOK).await;
        }
    }
}

/// Carries one wish out, on this thread.
fn carry_out<T>(future: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

/// Makes a token by which other machines join the cluster of a running server.
pub fn add_token(dir: &ClusterDir, wish: &TokenWish) -> Result<JoinToken, AdminError> {
    let administration = Administration::open(dir)?;
    let own = administration
        .settings
        .advertised()
        .ok_or(AdminError::NoAddress)?;
    let mut random = [0; ID_BYTES + SECRET_BYTES];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| io::Error::other("there are no random bytes"))?;
    let authority = administration.authority.digest()?;
    carry_out(async {
        let api = administration.api().await?;
        let now = Timestamp::now();
        let token = create_token(&api, wish, vec![own], authority, random, now).await?;
        Ok(token)
    })
}

/// The tokens of a cluster.
pub fn list_tokens(dir: &ClusterDir) -> Result<Vec<KnownToken>, AdminError> {
    let administration = Administration::open(dir)?;
    carry_out(async { Ok(tokens(&administration.api().await?).await?) })
}

/// Takes a token back; `false` where there is none of that number. Who has joined by it stays.
pub fn remove_token(dir: &ClusterDir, name: &str) -> Result<bool, AdminError> {
    let administration = Administration::open(dir)?;
    carry_out(async { Ok(revoke_token(&administration.api().await?, name).await?) })
}

/// Changes the times of a running cluster, for all its machines; gives what they are from then on.
pub fn set_timing(dir: &ClusterDir, wish: TimingWish) -> Result<Timing, AdminError> {
    let administration = Administration::open(dir)?;
    carry_out(async {
        let api = administration.api().await?;
        change_timing(&api, wish).await.map_err(|error| match error {
            ChangeTimingError::Timing(error) => error.into(),
            ChangeTimingError::Status(status) => status.into(),
        })
    })
}

/// The servers of a cluster, as the one that leads sees them.
pub fn members(dir: &ClusterDir) -> Result<Vec<MemberStatus>, AdminError> {
    let administration = Administration::open(dir)?;
    carry_out(administration.members())
}

/// Makes an agent a server; returns when it has a vote. Its pods go on running.
pub fn promote(dir: &ClusterDir, node: &str) -> Result<(), AdminError> {
    let administration = Administration::open(dir)?;
    carry_out(async {
        let before = administration
            .members()
            .await?
            .iter()
            .filter(|member| member.voter)
            .count();
        let request = Request::Promote {
            node: node.to_owned(),
        };
        administration.ask(&request).await?;
        administration.changed(before, node, "a server").await
    })
}

/// Makes a server an agent, unless the rest could not decide anything without it. Its pods go on running.
pub fn demote(dir: &ClusterDir, node: &str) -> Result<(), AdminError> {
    let administration = Administration::open(dir)?;
    carry_out(async {
        let request = Request::Demote {
            node: node.to_owned(),
        };
        administration.ask(&request).await?;
        Ok(())
    })
}

/// Writes a backup of a running cluster to a file: consistent, of one revision, checked when it is restored.
///
/// Gives the revision and the bytes of the state. The cluster's keys are in the file.
pub fn backup(dir: &ClusterDir, path: &Path) -> Result<(u64, u64), AdminError> {
    let administration = Administration::open(dir)?;
    let server = SocketAddr::from((
        administration.settings.api_address,
        administration.settings.api_port,
    ));
    let config = administration.tls()?;
    carry_out(async {
        let unreachable = |source| AskError::Unreachable {
            address: server,
            source,
        };
        let mut stream = tls::connect(&config, server, tls::SERVER_NAME)
            .await
            .map_err(unreachable)?;
        message::write(&mut stream, &Request::Backup)
            .await
            .map_err(unreachable)?;
        let head = match message::read::<Reply>(&mut stream).await.map_err(unreachable)? {
            Some(Reply::Backup(head)) => head,
            Some(Reply::Refused(refusal)) => return Err(AskError::Refused(refusal).into()),
            _ => return Err(AskError::NoLeader.into()),
        };
        let (revision, path) = (head.revision, path.to_owned());
        let mut state = SyncIoBridge::new(stream);
        let writing = tokio::task::spawn_blocking(move || {
            let written = write_backup(&path, &head, &mut state);
            written.map_err(|source| AdminError::File { path, source })
        });
        let bytes = writing.await.map_err(io::Error::other)??;
        Ok((revision, bytes))
    })
}
