//! The server itself: every part wired to the others, started in order and stopped in reverse.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use cluster_client::http::ConnectError;
use cluster_network::NetworkError;
use cluster_node::NodeError;
use cluster_objects::Status;
use cluster_store::{OpenError, StoreError};
use nix::unistd::setsid;
use tokio::net::TcpListener;

use crate::ask::AskError;
use crate::control::{READY, StopPods};
use crate::dir::{ClusterDir, ClusterSettings, SettingsError};
use crate::lock::{ServerLock, ServerProcess};
use crate::only_one::{check_unserved, listen_as_known};
use crate::options::{ClusterOptions, OptionsError};
use crate::pki::PkiError;
use crate::role;
use crate::running::Parts;
use crate::stop_signals::StopSignals;
use crate::token::Role;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What was wished for.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Another server has the folder.
    #[error("another server already uses `{}`", .dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A file of the folder.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The API's address.
    #[error("the API cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// What failed.
        source: io::Error,
    },
    /// The store of the cluster's objects.
    #[error("the cluster's store cannot be opened")]
    Store(#[from] OpenError),
    /// The network of the node.
    #[error("the node's network cannot be brought up")]
    Network(#[from] NetworkError),
    /// The agent of the node.
    #[error("the node cannot start")]
    Node(#[from] NodeError),
    /// The objects that every cluster has.
    #[error("the cluster's own objects cannot be made")]
    Bootstrap(#[from] Status),
    /// Another server did not do what was asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The state of the cluster cannot be read as it is now.
    #[error("the cluster's state cannot be read")]
    Read(#[from] StoreError),
    /// The servers cannot be entered.
    #[error("the cluster cannot be entered")]
    Connect(#[from] ConnectError),
    /// The folder is of another cluster than the server that was asked.
    #[error(
        "{server} and this machine do not belong to one cluster: certificates in `{}` are of another; bring back those that \
         this machine got when it joined, or delete the folder by `tug cluster delete` and join anew",
        .folder.join("pki").display()
    )]
    OtherCluster {
        /// The server.
        server: SocketAddr,
        /// The data folder.
        folder: PathBuf,
    },
    /// The folder has files of two clusters.
    #[error(
        "certificates in `{}` do not belong to one cluster: bring back those that this machine got when it joined, or delete the \
         folder by `tug cluster delete` and join anew", .folder.join("pki").display()
    )]
    MixedFolder {
        /// The data folder.
        folder: PathBuf,
    },
    /// A part of the folder is not there.
    #[error(
        "the data folder `{}` is not whole: `{missing}` is missing; copy all of it, or restore a backup into an empty folder \
         by `tug cluster restore`, or delete it by `tug cluster delete` and join anew",
        .folder.display()
    )]
    Incomplete {
        /// The data folder.
        folder: PathBuf,
        /// What of it.
        missing: &'static str,
    },
    /// A write to the disk failed, other than for want of room.
    #[error(
        "the disk below `{}` failed: {reason}; what it holds is checked when the server is started again", .folder.display()
    )]
    Disk {
        /// The folder of the state.
        folder: PathBuf,
        /// What failed.
        reason: String,
    },
    /// Another machine goes by the name of this one.
    #[error(
        "another machine goes by the name of this one, and lives (its mark is {by}): `{}` is a copy of its folder, or it joined \
         by the name after this one; one machine has a folder and a name: delete this one by `tug cluster delete` and join anew \
         by another name, or stop the other", .folder.display()
    )]
    Superseded {
        /// The data folder.
        folder: PathBuf,
        /// Where the other works.
        by: String,
    },
    /// The machine is not where the cluster knows it.
    #[error(
        "this machine does not have the address {address}, by which the cluster knows the folder `{}`: if it is a copy of \
         another machine's, delete it by `tug cluster delete` and join anew; if the machine moved, give it that address again, \
         or join anew", .folder.display()
    )]
    Elsewhere {
        /// The address.
        address: SocketAddr,
        /// The data folder.
        folder: PathBuf,
    },
    /// The server of another machine has the place of this one.
    #[error(
        "the server of this folder, member {member} of its cluster, is served by another machine, as {by} knows: `{}` is a copy \
         of that one's folder; delete it by `tug cluster delete` and join anew, or stop the other first", .folder.display()
    )]
    Served {
        /// Its number in the group.
        member: u64,
        /// Who says so.
        by: SocketAddr,
        /// The data folder.
        folder: PathBuf,
    },
    /// Threads, signals or pipes.
    #[error("the server cannot run")]
    Io(#[from] io::Error),
}

/// Runs a server until it is told to stop.
///
/// Prints one line on stdout, `ready` or why not, for whoever waits for it; what it says afterwards goes to the log.
/// SIGTERM and SIGINT stop it and leave its containers running, SIGUSR1 stops them as well; while it starts, each of the three
/// ends it at once, and containers stay. `program` is this program, which containers are run by.
pub fn serve(dir: &ClusterDir, options: &ClusterOptions, program: PathBuf) -> Result<(), ServeError> {
    // Whoever started it may go away with its terminal; a leader of a session already is what it would become.
    let _ = setsid();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(dir, options, program));
    if let Err(error) = &outcome {
        announce(&describe(error));
    }
    outcome
}

/// An error with its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let texts = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    texts.collect::<Vec<_>>().join(": ").replace('\n', " ")
}

/// Tells whoever waits; nobody may, and then nothing is lost.
#[expect(
    clippy::print_stdout,
    reason = "the line is the protocol between the server and its starter"
)]
fn announce(line: &str) {
    println!("{line}");
    let _ = io::stdout().flush();
}

async fn run(dir: &ClusterDir, options: &ClusterOptions, program: PathBuf) -> Result<(), ServeError> {
    dir.create()?;
    let lock_path = dir.lock();
    let lock = ServerLock::try_take(&lock_path).map_err(|source| ServeError::File {
        path: lock_path.clone(),
        source,
    })?;
    let mut lock = lock.ok_or_else(|| ServeError::Locked {
        dir: dir.path().to_owned(),
    })?;
    let kept = dir.settings()?;
    let is_new = kept.is_none();
    let mut settings = options.settle(kept)?;
    dir.check_whole(&settings)?;
    // The port is taken first: what fails most often leaves nothing behind.
    if !is_new {
        check_unserved(dir, &settings).await?;
    }
    let mut listener = listen_as_known(dir, &settings, entrance(&settings)).await?;
    if is_new {
        dir.save_settings(&settings)?;
    }
    let mut signals = StopSignals::listen()?;
    let mut is_first = true;
    loop {
        // A start may wait for long, for servers of other machines for one; what it has done by then is as after a crash.
        let parts = tokio::select! {
            parts = Parts::start(dir, &settings, options, listener, program.clone()) => parts?,
            _ = signals.next() => {
                tracing::info!("told to stop while it was starting");
                return Ok(());
            }
        };
        let url = format!("https://{}", entrance(&settings));
        let process = ServerProcess {
            pid: std::process::id(),
            api: Some(url.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        lock.announce(&process).map_err(|source| ServeError::File {
            path: lock_path.clone(),
            source,
        })?;
        if !settings.served {
            // From now on, a folder without its state or its keys is one that lost them.
            settings.served = true;
            dir.save_settings(&settings)?;
        }
        tracing::info!(api = url, role = settings.role.as_str(), "this machine is ready");
        if std::mem::take(&mut is_first) {
            announce(READY);
        }
        let next = tokio::select! {
            pods = signals.next() => Next::Stop(pods),
            error = parts.failed() => Next::Fail(error),
            settings = role::changed(dir.clone(), settings.clone(), parts.api()) => Next::Become(settings),
        };
        match next {
            Next::Stop(pods) => {
                tracing::info!(?pods, "stopping");
                parts.stop(pods).await;
                return Ok(());
            }
            Next::Fail(error) => {
                tracing::error!(error = describe(&error), "this machine stops");
                parts.stop(StopPods::Keep).await;
                return Err(error);
            }
            Next::Become(other) => {
                tracing::info!(role = other.role.as_str(), "this machine becomes something else");
                parts.stop(StopPods::Keep).await;
                settings = other;
                if settings.role == Role::Agent {
                    role::forget_server(dir)?;
                }
                listener = listen(entrance(&settings)).await?;
            }
        }
    }
}

/// Why a machine's parts are stopped.
enum Next {
    Stop(StopPods),
    Fail(ServeError),
    Become(ClusterSettings),
}

/// Where a machine is called first of all: a server by its administrator, an agent by servers.
fn entrance(settings: &ClusterSettings) -> SocketAddr {
    let address = match settings.role {
        Role::Server => settings.api_address,
        Role::Agent => settings.advertise_address.unwrap_or(Ipv4Addr::LOCALHOST),
    };
    SocketAddr::from((address, settings.api_port))
}

/// Takes an address for the API.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}
